//! What answers mean, protocol by protocol.

use http::HeaderMap;
use http::StatusCode;
use http::header::RETRY_AFTER;
use wire::otlp::{Signal, response_from_json, response_from_protobuf};
use wire::remote_write::WRITTEN_HEADERS;

use super::{Answer, Protocol, wire_signal};
use crate::cli::WriteVersion;

/// Bytes of a refusal's text that are kept as an example.
const EXAMPLE_BYTES: usize = 200;
/// How the answer of a query begins when it was answered; Prometheus and Loki both write it so.
const SUCCESS: &[u8] = b"{\"status\":\"success\"";

/// Reads an HTTP answer to a request of `items`.
pub(super) fn http(
    protocol: Protocol,
    items: u64,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body[..body.len().min(EXAMPLE_BYTES)]).trim().to_owned();
        return Answer::Refused {
            status: format!("{status}: {text}"),
            retry_hint: headers.contains_key(RETRY_AFTER),
        };
    }
    match protocol {
        Protocol::Otlp { signal, is_json } => otlp(wire_signal(signal), is_json, body),
        Protocol::RemoteWrite(WriteVersion::V2) => {
            let header = headers.get(WRITTEN_HEADERS[0]).and_then(|value| value.to_str().ok());
            match header.and_then(|value| value.parse::<u64>().ok()) {
                Some(written) if written >= items => Answer::Accepted,
                Some(written) => Answer::Partial {
                    rejected: items - written,
                    message: format!("{written} of {items} samples were written"),
                },
                // What knows only version 1 finds nothing in a request of version 2, and takes it all the same.
                None => Answer::Partial {
                    rejected: items,
                    message: format!("the answer has no {}: nothing was written", WRITTEN_HEADERS[0]),
                },
            }
        }
        Protocol::Queries if !body.starts_with(SUCCESS) => {
            Answer::Unanswered { reason: "the answer is not one of a query API".to_owned() }
        }
        Protocol::RemoteWrite(WriteVersion::V1) | Protocol::LokiPush(_) | Protocol::Queries => {
            Answer::Accepted
        }
    }
}

/// Reads the body of a successful OTLP answer.
pub(super) fn otlp(signal: Signal, is_json: bool, body: &[u8]) -> Answer {
    let partial = match is_json {
        true => response_from_json(signal, body),
        false => response_from_protobuf(body),
    };
    match partial {
        Ok(Some(partial)) if partial.rejected > 0 => {
            Answer::Partial { rejected: partial.rejected, message: partial.message }
        }
        Ok(_) => Answer::Accepted,
        Err(error) => Answer::Unanswered { reason: format!("unreadable answer: {error}") },
    }
}

#[cfg(test)]
mod tests;

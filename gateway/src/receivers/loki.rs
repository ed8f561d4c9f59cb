//! The `loki` receiver: `/loki/api/v1/push` (also `/api/prom/push`) and `/otlp/v1/logs` as Loki serves them.
//!
//! Without an endpoint it is mounted on `server.loki`, where Loki's clients send. Statuses and texts:
//! pkg/loghttp/push/push.go and pkg/distributor/http.go; partial acceptance stores what is valid and answers 400.

mod legacy;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::post;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Request, StatusCode, request};
use model::{AppendReport, Signal};
use pipelines::{ComponentConfig, ConfigError, PipelineError, Stability};
use runtime::Reservation;
use serde::Deserialize;
use wire::compression::{CompressionError, Encoding};
use wire::loki_push::{self, PushRequest};
use wire::loki_to_otlp::{self, Translated};

use super::decoding::{self, DecodeError};
use super::push::{Door, Refused};
use super::{ApiServer, Listener, Mount, NotSupported, Receiver, ReceiverContext, ReceiverFactory, otlp};
use crate::server::{ServeSettings, router_handler};

pub(super) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "loki", signals: &[Signal::Logs], stability: Stability::Beta, create };

/// Cap on a body as sent (distributor.max-recv-msg-size), bytes.
const BODY_BYTES_MAX: u64 = 100 << 20;
/// Cap on a body after decompression, bytes. Loki allows 5000 MiB, which one request could take from everybody else.
const DECODED_BYTES_MAX: usize = 256 << 20;
/// Status for a tenant's own limit.
const THROTTLED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
const LEGACY_PATH: &str = "/api/prom/push";
const PUSH_PATHS: [&str; 2] = ["/loki/api/v1/push", LEGACY_PATH];
const OTLP_PATH: &str = "/otlp/v1/logs";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// A listener of its own; without it the receiver is mounted on `server.loki`.
    protocols: Option<Protocols>,
    /// Only `true`: entries keep their time. The collector's default, to put the time of arrival in its place, is
    /// refused rather than ignored.
    use_incoming_timestamp: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Protocols {
    http: Option<HttpConfig>,
    grpc: NotSupported,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpConfig {
    /// `host:port`. Default `localhost:3500`.
    endpoint: String,
    include_metadata: NotSupported,
    tls: NotSupported,
    auth: NotSupported,
    cors: NotSupported,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:3500".to_owned(),
            include_metadata: NotSupported,
            tls: NotSupported,
            auth: NotSupported,
            cors: NotSupported,
        }
    }
}

fn create(config: &ComponentConfig<'_>, context: &ReceiverContext) -> Result<Receiver, ConfigError> {
    let Config { protocols, use_incoming_timestamp } = config.parse()?;
    if use_incoming_timestamp == Some(false) {
        return Err(ConfigError::at(
            "use_incoming_timestamp",
            "only true is supported: entries keep their time",
        ));
    }
    let door = Door::new(Signal::Logs, config.id, context, BODY_BYTES_MAX, THROTTLED);
    let routes = push_routes(&Arc::new(door)).merge(otlp::loki_routes(config.id, context, OTLP_PATH));
    let mut receiver = Receiver::default();
    match protocols {
        None => receiver.mounts.push(Mount {
            server: ApiServer::Loki,
            paths: PUSH_PATHS.into_iter().chain([OTLP_PATH]).collect(),
            routes,
        }),
        Some(Protocols { http, .. }) => receiver.listeners.push(Listener {
            what: "Loki push",
            endpoint: http.unwrap_or_default().endpoint,
            settings: ServeSettings::default(),
            handler: router_handler(routes),
        }),
    }
    Ok(receiver)
}

fn push_routes(door: &Arc<Door>) -> Router {
    let mut routes = Router::new();
    for path in PUSH_PATHS {
        let door = Arc::clone(door);
        let handler = move |request: Request<Body>| {
            let door = Arc::clone(&door);
            async move {
                let (head, mut body) = request.into_parts();
                match handle(&door, &head, &mut body).await {
                    Ok(()) => StatusCode::NO_CONTENT.into_response(),
                    Err(refused) => {
                        door.discard(&head, &mut body).await;
                        refused.into_response()
                    }
                }
            }
        };
        routes = routes.route(path, post(handler));
    }
    routes
}

async fn handle(door: &Door, head: &request::Parts, body: &mut Body) -> Result<(), Refused> {
    let address = door.address(head)?;
    let form = PushForm::of(head)?;
    // Compressed bodies may grow a lot: none is decoded on the async threads.
    let decode = move |bytes, reservation: &mut Reservation| form.decode(bytes, reservation);
    let (translated, reservation) = door.decoded(head, body, 0, decode).await?;
    let mut report = translated.report;
    let items = std::mem::take(&mut report.stored);
    door.count_refused(report.rejected_count());
    if items > 0 {
        report.merge(door.deliver(address, head, translated.payload.into(), items, reservation).await?);
    }
    answer(&report)
}

/// What the headers say about a push body.
#[derive(Clone, Copy)]
struct PushForm {
    encoding: Encoding,
    is_json: bool,
    /// The path is that of clients from before Loki 1.0.
    is_legacy: bool,
}

impl PushForm {
    fn of(head: &request::Parts) -> Result<Self, Refused> {
        let text = |name| {
            head.headers.get(name).map_or("", |value: &http::HeaderValue| value.to_str().unwrap_or("?"))
        };
        let encoding = match text(CONTENT_ENCODING) {
            // The proto form is always in a snappy block; the header only says so.
            "" | "snappy" => Encoding::Identity,
            "gzip" => Encoding::Gzip,
            "deflate" => Encoding::RawDeflate,
            other => return Err(Refused::bad_request(format!("Content-Encoding {other:?} not supported"))),
        };
        let media_type = text(CONTENT_TYPE).split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if media_type.is_empty() {
            return Err(Refused::bad_request("mime: no media type"));
        }
        if !media_type.bytes().all(|b| b.is_ascii_graphic()) || media_type.matches('/').count() > 1 {
            return Err(Refused::bad_request("mime: expected token after slash"));
        }
        let is_legacy = head.uri.path().ends_with(LEGACY_PATH);
        Ok(Self { encoding, is_json: media_type == "application/json", is_legacy })
    }

    fn decode(self, body: bytes::Bytes, reservation: &mut Reservation) -> Result<Translated, Refused> {
        let mut unpack = |encoding, body: bytes::Bytes| {
            decoding::decode(encoding, &body, DECODED_BYTES_MAX, reservation).map_err(|error| match error {
                DecodeError::NoMemory(error) => from_pipeline(&error),
                DecodeError::Wrong(error) => from_compression(&error),
            })
        };
        let settings = loki_to_otlp::Settings::default();
        let plain = unpack(self.encoding, body)?;
        let legacy = if self.is_json && self.is_legacy { legacy::decode(&plain) } else { Ok(None) };
        let of_columns =
            |request: PushRequest| (loki_to_otlp::translate(&request, &settings), request.streams.len());
        let outcome = if let Some(request) = legacy.map_err(Refused::bad_request)? {
            Ok(of_columns(request))
        } else if self.is_json {
            loki_push::decode_json(&plain).map(of_columns)
        } else {
            loki_to_otlp::translate_proto(&unpack(Encoding::Snappy, plain)?, &settings)
        };
        let (translated, streams) = outcome.map_err(|error| Refused::bad_request(error.to_string()))?;
        if streams == 0 {
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, loki_push::NO_STREAMS));
        }
        Ok(translated)
    }
}

/// Refusal of streams past the number that a tenant may have: another time there may be room.
const STREAM_LIMIT: &str = "stream_limit";

/// 204, or 400 with the reasons of what was not stored; the rest is stored all the same. 429 when some of it may be
/// stored later: the senders of Loki push all of it again then, and what is there already is kept once.
fn answer(report: &AppendReport) -> Result<(), Refused> {
    if report.rejected_count() == 0 {
        return Ok(());
    }
    let is_later = report.rejected.iter().any(|rejection| rejection.reason == STREAM_LIMIT);
    let status = if is_later { THROTTLED } else { StatusCode::BAD_REQUEST };
    Err(Refused::new(status, told(report)))
}

/// Why entries were refused, in the form of Loki's grouped errors (pkg/util/errors.go); of each reason the first entry's
/// text, where Loki has every text that differs.
fn told(report: &AppendReport) -> String {
    match report.rejected.as_slice() {
        [only] if only.count == 1 => only.message.clone(),
        several => {
            let like =
                several.iter().map(|refused| format!("{} errors like: {}", refused.count, refused.message));
            like.collect::<Vec<_>>().join("; ")
        }
    }
}

fn from_compression(error: &CompressionError) -> Refused {
    let status = match error {
        CompressionError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Refused::new(status, error.to_string())
}

/// Loki's clients send again after 429 and 5xx.
fn from_pipeline(error: &PipelineError) -> Refused {
    Refused::of_pipeline(error, THROTTLED)
}

#[cfg(test)]
mod tests;

//! The status that ends a gRPC answer, in its trailers or, without a message, in its head (grpc/grpc
//! doc/PROTOCOL-HTTP2.md). A broken one never fails: the code decides, the rest is a help.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;

use crate::rpc_status::Status;

/// Binary headers come with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The status in a head or in trailers, if there is one; a code that is no number is 2 (unknown).
pub fn status(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get("grpc-status")?.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(2);
    let text = headers.get("grpc-message").map_or_else(String::new, |text| percent_decoded(text.as_bytes()));
    let mut status = Status::new(code, text);
    let details = headers.get("grpc-status-details-bin").and_then(|text| BASE64.decode(text).ok());
    if let Some(details) = details.and_then(|bytes| Status::from_protobuf(&bytes).ok()) {
        status.retry_delay = details.retry_delay;
    }
    Some(status)
}

/// What is no escape stays as it is.
fn percent_decoded(text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let hex = |index: usize| text.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        match (text[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests;

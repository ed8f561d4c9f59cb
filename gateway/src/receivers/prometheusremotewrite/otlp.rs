//! OTLP metrics where Prometheus takes them: `POST /api/v1/otlp/v1/metrics` (storage/remote/write_otlp_handler.go).
//!
//! Protobuf or JSON, gzip or nothing, 200 with an empty body, plain text for what is refused: not what the
//! specification of OTLP says, but what clients of this path know. Of a request with bad points the good ones are stored
//! and 400 is answered, where Prometheus stores nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, request};
use model::Signal;
use runtime::Reservation;
use wire::compression::Encoding;
use wire::otlp;

use super::{BODY_BYTES_MAX, from_decoding};
use crate::receivers::decoding;
use crate::receivers::push::{Door, Refused};

pub(super) const PATH: &str = "/api/v1/otlp/v1/metrics";

const JSON: &str = "application/json";
/// Plain bodies above this are checked off the async threads.
const INLINE_BYTES_MAX: usize = 64 << 10;

const PROTOBUF: &str = "application/x-protobuf";

pub(super) fn routes(door: &Arc<Door>) -> Router {
    let door = Arc::clone(door);
    let handler = move |request: Request<Body>| {
        let door = Arc::clone(&door);
        async move {
            let (head, mut body) = request.into_parts();
            match export(&door, &head, &mut body).await {
                Ok(()) => StatusCode::OK.into_response(),
                Err(refused) => {
                    door.discard(&head, &mut body).await;
                    refused.into_response() as Response
                }
            }
        }
    };
    Router::new().route(PATH, post(handler))
}

async fn export(door: &Door, head: &request::Parts, body: &mut Body) -> Result<(), Refused> {
    let text = |name| head.headers.get(name).map_or("", |value: &HeaderValue| value.to_str().unwrap_or("?"));
    let is_json = match text(CONTENT_TYPE) {
        JSON => true,
        PROTOBUF => false,
        other => {
            let message = format!("unsupported content type: {other}, supported: [{JSON}, {PROTOBUF}]");
            return Err(Refused::bad_request(message));
        }
    };
    let encoding = match text(CONTENT_ENCODING) {
        "" => Encoding::Identity,
        "gzip" => Encoding::Gzip,
        other => {
            let message =
                format!("unsupported compression: {other}. Only \"gzip\" or no compression supported");
            return Err(Refused::bad_request(message));
        }
    };
    let decode = move |bytes: bytes::Bytes, reservation: &mut Reservation| {
        let plain = decoding::decode(encoding, &bytes, BODY_BYTES_MAX, reservation).map_err(from_decoding)?;
        let protobuf = match is_json {
            true => otlp::json::to_protobuf(Signal::Metrics, &plain).map(bytes::Bytes::from),
            false => Ok(plain),
        };
        let checked = protobuf.and_then(|protobuf| otlp::check(Signal::Metrics, protobuf));
        checked.map_err(|error| Refused::bad_request(error.to_string()))
    };
    // What is compressed may grow a thousand times.
    let inline_bytes_max = if encoding == Encoding::Identity { INLINE_BYTES_MAX } else { 0 };
    let address = door.address(head)?;
    let (checked, reservation) = door.decoded(head, body, inline_bytes_max, decode).await?;
    let mut report = checked.report;
    door.count_refused(report.rejected_count());
    if checked.items > 0 {
        report.merge(door.deliver(address, head, checked.payload, checked.items, reservation).await?);
    }
    let reasons = report.rejected.iter().filter(|rejection| rejection.count > 0);
    let reasons: Vec<&str> = reasons.map(|rejection| rejection.message.as_str()).collect();
    if reasons.is_empty() { Ok(()) } else { Err(Refused::bad_request(reasons.join("\n"))) }
}

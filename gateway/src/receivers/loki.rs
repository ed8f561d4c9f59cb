//! The `loki` receiver: `/loki/api/v1/push` (also `/api/prom/push`) and `/otlp/v1/logs` as Loki serves them.
//!
//! Without an endpoint it is mounted on `server.loki`, where Loki's clients send. Statuses and texts:
//! pkg/loghttp/push/push.go and pkg/distributor/http.go; partial acceptance stores what is valid and answers 400.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{Request, StatusCode, request};
use model::{AppendReport, ErrorKind, Signal};
use pipelines::{Batch, ComponentConfig, ConfigError, Consumer, ReceiverMetrics, Stability};
use runtime::{MemoryBudget, Reservation};
use serde::Deserialize;
use wire::compression::{CompressionError, Encoding};
use wire::loki_push::{self, PushRequest};
use wire::loki_to_otlp;

use super::decoding::{self, DecodeError};
use super::{
    ApiServer, Listener, Mount, NotSupported, Receiver, ReceiverContext, ReceiverFactory, client, otlp,
    tenant,
};
use crate::server::body::{self, Announced, BodyError, ReadBody};
use crate::server::{ServeSettings, router_handler};

pub(super) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "loki", signals: &[Signal::Logs], stability: Stability::Beta, create };

/// Cap on a body as sent (distributor.max-recv-msg-size), bytes.
const BODY_BYTES_MAX: u64 = 100 << 20;
/// Cap on a body after decompression, bytes. Loki allows 5000 MiB, which one request could take from everybody else.
const DECODED_BYTES_MAX: usize = 256 << 20;
const PUSH_PATHS: [&str; 2] = ["/loki/api/v1/push", "/api/prom/push"];
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
    let push = Push {
        entry: context.entries.get(Signal::Logs).cloned(),
        metrics: ReceiverMetrics::new(config.id, "http"),
        budget: Arc::clone(&context.budget),
        context: context.clone(),
    };
    let routes = push_routes(Arc::new(push)).merge(otlp::loki_routes(config.id, context, OTLP_PATH));
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

/// What the push handler needs.
struct Push {
    entry: Option<Arc<dyn Consumer>>,
    metrics: ReceiverMetrics,
    budget: Arc<MemoryBudget>,
    context: ReceiverContext,
}

/// A refused push: a status and a text.
struct Refused {
    status: StatusCode,
    message: String,
    retry_after_seconds: Option<u64>,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after_seconds: None }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.message + "\n").into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn push_routes(push: Arc<Push>) -> Router {
    let mut routes = Router::new();
    for path in PUSH_PATHS {
        let push = Arc::clone(&push);
        let handler = move |request: Request<Body>| {
            let push = Arc::clone(&push);
            async move {
                let (head, mut body) = request.into_parts();
                match handle(&push, &head, &mut body).await {
                    Ok(()) => StatusCode::NO_CONTENT.into_response(),
                    Err(refused) => {
                        body::discard(&head, &mut body, BODY_BYTES_MAX).await;
                        refused.into_response()
                    }
                }
            }
        };
        routes = routes.route(path, post(handler));
    }
    routes
}

async fn handle(push: &Push, head: &request::Parts, body: &mut Body) -> Result<(), Refused> {
    let Some(entry) = &push.entry else {
        return Err(Refused::new(StatusCode::NOT_FOUND, "no pipeline takes logs from this receiver"));
    };
    let tenant = tenant(&head.headers).map_err(Refused::bad_request)?;
    let form = PushForm::of(head)?;
    let read = body::read(&head.headers, body, Announced::Header, BODY_BYTES_MAX, &push.budget).await;
    let ReadBody { bytes, mut reservation } = read.map_err(from_body)?;
    // The reservation goes with the work, which may outlive a request whose client has left.
    let decode = move || {
        let request = form.decode(bytes, &mut reservation)?;
        Ok((loki_to_otlp::translate(&request, &Default::default()), reservation))
    };
    let decoded = push.context.tasks.spawn_blocking("loki_push_decode", decode).await;
    let (translated, mut reservation) =
        decoded.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    let mut report = translated.report;
    let items = std::mem::take(&mut report.stored);
    push.metrics.count_refused(Signal::Logs, report.rejected_count());
    if items > 0 {
        let payload = bytes::Bytes::from(translated.payload);
        if let Err(error) = pipelines::resize(&mut reservation, payload.len() as u64) {
            push.metrics.count_refused(Signal::Logs, items);
            return Err(from_pipeline(&error));
        }
        let batch = Batch {
            signal: Signal::Logs,
            tenant,
            payload,
            items,
            client: client(head, false),
            reservation: Some(Arc::new(reservation)),
        };
        let outcome = entry.consume(batch).await;
        push.metrics.count(Signal::Logs, items, &outcome);
        report.merge(outcome.map_err(|error| from_pipeline(&error))?);
    }
    answer(&report)
}

/// What the headers say about a push body.
#[derive(Clone, Copy)]
struct PushForm {
    encoding: Encoding,
    is_json: bool,
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
        Ok(Self { encoding, is_json: media_type == "application/json" })
    }

    fn decode(self, body: bytes::Bytes, reservation: &mut Reservation) -> Result<PushRequest, Refused> {
        let mut unpack = |encoding, body: bytes::Bytes| {
            decoding::decode(encoding, &body, DECODED_BYTES_MAX, reservation).map_err(|error| match error {
                DecodeError::NoMemory(error) => from_pipeline(&error),
                DecodeError::Wrong(error) => from_compression(&error),
            })
        };
        let plain = unpack(self.encoding, body)?;
        let request = if self.is_json {
            loki_push::decode_json(&plain)
        } else {
            loki_push::decode_proto(&unpack(Encoding::Snappy, plain)?)
        };
        let request = request.map_err(|error| Refused::bad_request(error.to_string()))?;
        if request.streams.is_empty() {
            return Err(Refused::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "error at least one valid stream is required for ingestion",
            ));
        }
        Ok(request)
    }
}

/// 204, or 400 with the reasons of what was not stored; the rest is stored all the same.
fn answer(report: &AppendReport) -> Result<(), Refused> {
    if report.rejected_count() == 0 {
        return Ok(());
    }
    let reasons: Vec<&str> = report.rejected.iter().map(|rejection| rejection.message.as_str()).collect();
    Err(Refused::bad_request(reasons.join("\n")))
}

fn from_body(error: BodyError) -> Refused {
    match error {
        BodyError::OutOfMemory => from_pipeline(&pipelines::refusal()),
        BodyError::TooLarge { .. } => Refused::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        BodyError::Idle | BodyError::Slow => Refused::new(StatusCode::REQUEST_TIMEOUT, error.to_string()),
        BodyError::Broken(_) => Refused::bad_request(error.to_string()),
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
fn from_pipeline(error: &pipelines::PipelineError) -> Refused {
    let status = match error.kind() {
        ErrorKind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        kind if kind.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Closed | ErrorKind::Canceled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let hint = error.retry_after().map(|after| after.as_secs().max(1));
    let retry_after_seconds = hint.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
    Refused { retry_after_seconds, ..Refused::new(status, error.to_string()) }
}

#[cfg(test)]
mod tests;

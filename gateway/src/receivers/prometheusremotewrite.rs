//! The `prometheusremotewrite` receiver: remote write 1.0 and 2.0 at `/api/v1/write` (also `/api/v1/receive`), and OTLP
//! metrics at Prometheus' path, `/api/v1/otlp/v1/metrics`.
//!
//! Without an endpoint it is mounted on `server.prometheus`, where Prometheus' clients send. Statuses, headers and texts:
//! storage/remote/write_handler.go and client_golang's exp/api/remote. A request becomes OTLP whose metrics are marked as
//! series that keep their names and labels (`wire::remote_write_to_otlp`), so that every processor and exporter takes it.
//!
//! One difference from Prometheus on purpose: of a version 1 request with a bad sample the good ones are stored, as the
//! specification allows, and 400 is answered all the same.

mod otlp;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, request};
use model::{AppendReport, ErrorKind, Signal};
use pipelines::{Batch, ComponentConfig, ConfigError, Consumer, PipelineError, ReceiverMetrics, Stability};
use runtime::{MemoryBudget, Reservation, Tasks};
use serde::Deserialize;
use wire::compression::{CompressionError, Encoding};
use wire::remote_write::{MEDIA_TYPE, Version, WRITTEN_HEADERS};
use wire::remote_write_to_otlp::{self, Translated};

use super::decoding::{self, DecodeError};
use super::{
    ApiServer, Listener, Mount, NotSupported, Receiver, ReceiverContext, ReceiverFactory, client, tenant,
};
use crate::server::body::{self, Announced, BodyError};
use crate::server::{ServeSettings, router_handler};

pub(super) const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "prometheusremotewrite",
    signals: &[Signal::Metrics],
    stability: Stability::Beta,
    create,
};

/// Cap on a body, as sent and after decompression, bytes (`maxDecodedSize`, `decodeReadLimit`).
const BODY_BYTES_MAX: usize = 32 << 20;
/// Bodies above this are decoded off the async threads: about 500 series, 300 µs.
const INLINE_BYTES_MAX: usize = 16 << 10;
const WRITE_PATHS: [&str; 2] = ["/api/v1/write", "/api/v1/receive"];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// `host:port` of a listener of its own; without it the receiver is mounted on `server.prometheus`.
    endpoint: Option<String>,
    include_metadata: NotSupported,
    tls: NotSupported,
    auth: NotSupported,
    cors: NotSupported,
}

fn create(config: &ComponentConfig<'_>, context: &ReceiverContext) -> Result<Receiver, ConfigError> {
    let Config { endpoint, .. } = config.parse()?;
    let door = Arc::new(Door {
        entry: context.entries.get(Signal::Metrics).cloned(),
        metrics: ReceiverMetrics::new(config.id, "http"),
        budget: Arc::clone(&context.budget),
        tasks: context.tasks.clone(),
    });
    let routes = write_routes(&door).merge(otlp::routes(&door));
    let mut receiver = Receiver::default();
    match endpoint {
        None => receiver.mounts.push(Mount {
            server: ApiServer::Prometheus,
            paths: WRITE_PATHS.into_iter().chain([otlp::PATH]).collect(),
            routes,
        }),
        Some(endpoint) => receiver.listeners.push(Listener {
            what: "Remote write",
            endpoint,
            settings: ServeSettings::default(),
            handler: router_handler(routes),
        }),
    }
    Ok(receiver)
}

/// What the handlers need.
struct Door {
    entry: Option<Arc<dyn Consumer>>,
    metrics: ReceiverMetrics,
    budget: Arc<MemoryBudget>,
    tasks: Tasks,
}

/// A refused request: a status and a text.
#[derive(Debug)]
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

impl Door {
    /// Reads a body and runs `work` on it, away from the async threads if there is much to do. The reservation goes with
    /// the work, which may outlive a request whose client has left.
    async fn decoded<T: Send + 'static>(
        &self,
        head: &request::Parts,
        body: &mut Body,
        work: impl FnOnce(bytes::Bytes, &mut Reservation) -> Result<T, Refused> + Send + 'static,
    ) -> Result<(T, Reservation), Refused> {
        let limit = BODY_BYTES_MAX as u64;
        let read = body::read(&head.headers, body, Announced::Header, limit, &self.budget).await;
        let body::ReadBody { bytes, mut reservation } = read.map_err(from_body)?;
        let is_small = bytes.len() <= INLINE_BYTES_MAX;
        let work = move || work(bytes, &mut reservation).map(|done| (done, reservation));
        if is_small {
            return work();
        }
        let done = self.tasks.spawn_blocking("remote_write_decode", work).await;
        done.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
    }

    /// Sends a payload through the pipelines.
    async fn deliver(
        &self,
        head: &request::Parts,
        payload: bytes::Bytes,
        items: u64,
        mut reservation: Reservation,
    ) -> Result<AppendReport, Refused> {
        let Some(entry) = &self.entry else {
            return Err(Refused::new(StatusCode::NOT_FOUND, "no pipeline takes metrics from this receiver"));
        };
        let tenant = tenant(&head.headers).map_err(Refused::bad_request)?;
        if let Err(error) = pipelines::resize(&mut reservation, payload.len() as u64) {
            self.metrics.count_refused(Signal::Metrics, items);
            return Err(from_pipeline(&error));
        }
        let batch = Batch {
            signal: Signal::Metrics,
            tenant,
            payload,
            items,
            client: client(head, false),
            reservation: Some(Arc::new(reservation)),
        };
        let outcome = entry.consume(batch).await;
        self.metrics.count(Signal::Metrics, items, &outcome);
        outcome.map_err(|error| from_pipeline(&error))
    }
}

fn write_routes(door: &Arc<Door>) -> Router {
    let mut routes = Router::new();
    for path in WRITE_PATHS {
        let door = Arc::clone(door);
        let handler = move |request: Request<Body>| {
            let door = Arc::clone(&door);
            async move {
                let (head, mut body) = request.into_parts();
                let answer = write(&door, &head, &mut body).await;
                if answer.status() != StatusCode::NO_CONTENT {
                    body::discard(&head, &mut body, BODY_BYTES_MAX as u64).await;
                }
                answer
            }
        };
        routes = routes.route(path, any(handler));
    }
    routes
}

async fn write(door: &Door, head: &request::Parts, body: &mut Body) -> Response {
    if head.method != Method::POST {
        return Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed").into_response();
    }
    let version = match version(&head.headers) {
        Ok(version) => version,
        Err(refused) => return refused.into_response(),
    };
    let mut written = None;
    let outcome = store(door, head, body, version, &mut written).await;
    let mut response = match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => refused.into_response(),
    };
    if version == Version::V2
        && let Some(written) = written
    {
        let counts = [written.samples, written.histograms, written.exemplars];
        for (name, count) in WRITTEN_HEADERS.into_iter().zip(counts) {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
    response
}

/// What a version 2 sender is told.
#[derive(Default)]
struct Written {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

async fn store(
    door: &Door,
    head: &request::Parts,
    body: &mut Body,
    version: Version,
    written: &mut Option<Written>,
) -> Result<(), Refused> {
    let decode = move |bytes: bytes::Bytes, reservation: &mut Reservation| {
        let plain =
            decoding::decode(Encoding::Snappy, &bytes, BODY_BYTES_MAX, reservation).map_err(from_decoding)?;
        Ok(remote_write_to_otlp::translate(version, &plain))
    };
    let (translated, reservation) = door.decoded(head, body, decode).await?;
    // From here on a sender of version 2 is told what was written, be it nothing.
    let written = written.insert(Written::default());
    let translated = translated.map_err(|error| Refused::bad_request(error.to_string()))?;
    let Translated { payload, items, histograms, exemplars, report: mut refused } = translated;
    door.metrics.count_refused(Signal::Metrics, refused.rejected_count());
    if version == Version::V1 {
        // As in Prometheus: such series are counted and left out, and the others tell what the answer is.
        refused.rejected.retain(|rejection| rejection.reason != "invalid_labels");
    }
    if items > 0 {
        let report = door.deliver(head, payload.into(), items, reservation).await?;
        // The report does not tell samples from histograms; requests that mix them are rare.
        let lost = report.rejected_count().min(items);
        let samples = items - histograms;
        let lost_samples = lost.min(samples);
        *written = Written {
            samples: samples - lost_samples,
            histograms: histograms - (lost - lost_samples),
            exemplars: if lost == items { 0 } else { exemplars },
        };
        refused.merge(report);
    }
    let reasons: Vec<&str> = refused
        .rejected
        .iter()
        .filter(|rejection| rejection.count > 0 || rejection.reason == remote_write_to_otlp::EMPTY_SERIES)
        .map(|rejection| rejection.message.as_str())
        .collect();
    if reasons.is_empty() { Ok(()) } else { Err(Refused::bad_request(reasons.join("\n"))) }
}

/// The version that the headers ask for; the compression is looked at first, as upstream does.
fn version(headers: &HeaderMap) -> Result<Version, Refused> {
    let text = |name| headers.get(name).map_or("", |value: &HeaderValue| value.to_str().unwrap_or("?"));
    let unsupported = |message| Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    let encoding = text(CONTENT_ENCODING);
    if !matches!(encoding, "" | "snappy") {
        return Err(unsupported(format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        )));
    }
    let content_type = match text(CONTENT_TYPE) {
        "" => MEDIA_TYPE,
        content_type => content_type,
    };
    Version::from_content_type(content_type).map_err(unsupported)
}

fn from_body(error: BodyError) -> Refused {
    match error {
        BodyError::OutOfMemory => from_pipeline(&pipelines::refusal()),
        BodyError::TooLarge { .. } => Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("request body exceeds the {BODY_BYTES_MAX} bytes limit"),
        ),
        BodyError::Idle | BodyError::Slow => Refused::new(StatusCode::REQUEST_TIMEOUT, error.to_string()),
        BodyError::Broken(_) => Refused::bad_request(error.to_string()),
    }
}

fn from_decoding(error: DecodeError) -> Refused {
    match error {
        DecodeError::NoMemory(error) => from_pipeline(&error),
        DecodeError::Wrong(CompressionError::TooLarge { cap_bytes }) => {
            Refused::bad_request(format!("decoded size exceeds the {cap_bytes} bytes limit"))
        }
        DecodeError::Wrong(error) => Refused::bad_request(error.to_string()),
    }
}

/// Senders try again after 5xx; 429 makes many of them drop the request.
fn from_pipeline(error: &PipelineError) -> Refused {
    let status = match error.kind() {
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

//! The `prometheusremotewrite` receiver: remote write 1.0 and 2.0 at `/api/v1/write` (also `/api/v1/receive`), and OTLP
//! metrics at Prometheus' path, `/api/v1/otlp/v1/metrics`.
//!
//! Without an endpoint it is mounted on `server.prometheus`, where Prometheus' clients send. Statuses, headers and texts:
//! storage/remote/write_handler.go and client_golang's exp/api/remote. A request goes to pipelines that lead to a store alone
//! as it came. For others it becomes OTLP whose metrics are marked as series that keep their names and labels
//! (`wire::remote_write_to_otlp`), so that every processor and exporter takes it.
//!
//! One difference from Prometheus on purpose: of a version 1 request with a bad sample the good ones are stored, as the
//! specification allows, and 400 is answered all the same.

mod otlp;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, request};
use model::{AppendReport, Signal};
use pipelines::{ComponentConfig, ConfigError, PipelineError, Stability};
use runtime::Reservation;
use serde::Deserialize;
use storage_api::reject_reason::INVALID_HISTOGRAM;
use wire::compression::{CompressionError, Encoding};
use wire::remote_write::{self, Contents, MEDIA_TYPE, Version, WRITTEN_HEADERS};
use wire::remote_write_to_otlp::{self, Translated};

use super::decoding::{self, DecodeError};
use super::push::{Door, Refused};
use super::{ApiServer, Listener, Mount, NotSupported, Receiver, ReceiverContext, ReceiverFactory};
use crate::server::{ServeSettings, router_handler};

pub(super) const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "prometheusremotewrite",
    signals: &[Signal::Metrics],
    stability: Stability::Beta,
    create,
};

/// Cap on a body, as sent and after decompression, bytes (`maxDecodedSize`, `decodeReadLimit`).
const BODY_BYTES_MAX: usize = 32 << 20;
/// Bodies above this are decoded off the async threads: snappy expands at most 21 times, so about 500 series, 300 µs.
const INLINE_BYTES_MAX: usize = 2 << 10;
/// Bytes of OTLP that a request may become, which repeats a series' labels with each of its samples.
const PAYLOAD_BYTES_MAX: usize = 256 << 20;
/// Status for a tenant's own limit: senders try again after 5xx; 429 makes many of them drop the request.
const THROTTLED: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
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
    let door = Arc::new(Door::new(Signal::Metrics, config.id, context, BODY_BYTES_MAX as u64, THROTTLED));
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
                    door.discard(&head, &mut body).await;
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

/// A request that the pipelines can take.
struct Prepared {
    payload: Bytes,
    /// Whether the payload is OTLP; else it is what was sent.
    is_otlp: bool,
    contents: Contents,
    /// What was left out already.
    refused: AppendReport,
}

async fn store(
    door: &Door,
    head: &request::Parts,
    body: &mut Body,
    version: Version,
    written: &mut Option<Written>,
) -> Result<(), Refused> {
    let address = door.address(head)?;
    let is_taken = address.takes_remote_write();
    let decode = move |bytes: Bytes, reservation: &mut Reservation| {
        let plain =
            decoding::decode(Encoding::Snappy, &bytes, BODY_BYTES_MAX, reservation).map_err(from_decoding)?;
        match is_taken.then(|| remote_write::contents(version, &plain)) {
            Some(Ok(contents)) if contents.points() + contents.families > 0 => Ok(Ok(Prepared {
                payload: plain,
                is_otlp: false,
                contents,
                refused: AppendReport::default(),
            })),
            Some(Err(error)) => Ok(Err(error)),
            _ => translated(version, &plain, reservation),
        }
    };
    let (prepared, reservation) = door.decoded(head, body, INLINE_BYTES_MAX, decode).await?;
    // From here on a sender of version 2 is told what was written, be it nothing.
    let written = written.insert(Written::default());
    let prepared = prepared.map_err(|error| Refused::bad_request(error.to_string()))?;
    let Prepared { payload, is_otlp, contents, mut refused } = prepared;
    door.count_refused(refused.rejected_count());
    let items = contents.points();
    if items + contents.families > 0 {
        let report = match is_otlp {
            true => door.deliver(address, head, payload, items, reservation).await?,
            false => door.deliver_remote_write(address, head, version, payload, items, reservation).await?,
        };
        *written = Written::of(&contents, &report);
        refused.merge(report);
    }
    if version == Version::V1 {
        // As in Prometheus: such series are counted and left out, and the others tell what the answer is.
        refused.rejected.retain(|rejection| rejection.reason != remote_write::INVALID_LABELS);
    }
    let reasons: Vec<&str> = refused
        .rejected
        .iter()
        .filter(|rejection| rejection.count > 0 || rejection.reason == remote_write::EMPTY_SERIES)
        .map(|rejection| rejection.message.as_str())
        .collect();
    if reasons.is_empty() { Ok(()) } else { Err(Refused::bad_request(reasons.join("\n"))) }
}

impl Written {
    /// What was written of a request, given what was refused. The report tells samples from histograms by its reasons
    /// only where histograms are at fault; requests that mix them are rare.
    fn of(contents: &Contents, report: &AppendReport) -> Self {
        let lost = report.rejected_count().min(contents.points());
        let faulty = report.rejected.iter().filter(|rejection| rejection.reason == INVALID_HISTOGRAM);
        let faulty = faulty.map(|rejection| rejection.count).sum::<u64>().min(contents.histograms).min(lost);
        let lost_samples = (lost - faulty).min(contents.samples);
        Self {
            samples: contents.samples - lost_samples,
            histograms: contents.histograms - (lost - lost_samples),
            exemplars: if lost == contents.points() { 0 } else { contents.exemplars },
        }
    }
}

/// The request as OTLP, for pipelines that take nothing else. `reservation` grows with it.
fn translated(
    version: Version,
    plain: &[u8],
    reservation: &mut Reservation,
) -> Result<Result<Prepared, wire::DecodeError>, Refused> {
    let mut refusal = None;
    let translated = remote_write_to_otlp::translate(version, plain, |bytes| {
        refusal = match bytes {
            bytes if bytes > PAYLOAD_BYTES_MAX => Some(too_many_labels()),
            bytes => pipelines::resize(reservation, (plain.len() + bytes) as u64)
                .err()
                .map(|error| from_pipeline(&error)),
        };
        refusal.is_none()
    });
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    Ok(translated.map(|Translated { payload, items, histograms, exemplars, report }| Prepared {
        payload: payload.into(),
        is_otlp: true,
        contents: Contents { samples: items - histograms, histograms, exemplars, families: 0 },
        refused: report,
    }))
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

fn too_many_labels() -> Refused {
    Refused::bad_request(format!(
        "the samples of the request with their labels have more than {PAYLOAD_BYTES_MAX} bytes; send fewer samples of a \
         series at a time"
    ))
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

fn from_pipeline(error: &PipelineError) -> Refused {
    Refused::of_pipeline(error, THROTTLED)
}

#[cfg(test)]
mod tests;

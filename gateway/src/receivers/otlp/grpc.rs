//! OTLP over gRPC: the three Export methods and the health service.
//!
//! The server side of a unary call is small (one length-prefixed message in, one out, a status in the trailers; gRPC
//! over HTTP2, "PROTOCOL-HTTP2.md"), and doing it here keeps the hot path short: the message is a slice of the HTTP/2
//! frame, admission knows its length from the first five bytes, and decompression is the one that the HTTP side uses.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::StreamBody;
use model::{AppendReport, Signal};
use tonic::Code;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Service;
use wire::grpc::{PREFIX_BYTES, announced, prefix};

use super::answer::{self, Refusal};
use super::ingest::{Export, Ingest, Payload};
use crate::receivers::{client, tenant};
use crate::server::Handler;
use crate::server::auth::ServerAuth;
use crate::server::body::{self, Announced, BodyError, ReadBody};

/// The Export services (opentelemetry/proto/collector/*/v1/*_service.proto).
const SERVICES: [(&str, Signal); 3] = [
    ("opentelemetry.proto.collector.metrics.v1.MetricsService", Signal::Metrics),
    ("opentelemetry.proto.collector.logs.v1.LogsService", Signal::Logs),
    ("opentelemetry.proto.collector.trace.v1.TraceService", Signal::Traces),
];
const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// Compressions of messages that are taken, by their gRPC names.
const ENCODINGS: [&str; 3] = ["gzip", "zstd", "snappy"];
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip,zstd,snappy");

/// A handler that serves `ingest`; messages may have `message_bytes_max` bytes after decompression.
pub(super) fn handler(
    ingest: Arc<Ingest>,
    auth: Option<Arc<dyn ServerAuth>>,
    message_bytes_max: u64,
) -> Handler {
    let (_, health) = tonic_health::server::health_reporter();
    handler_with_health(ingest, auth, message_bytes_max, health)
}

fn handler_with_health<H: Health>(
    ingest: Arc<Ingest>,
    auth: Option<Arc<dyn ServerAuth>>,
    message_bytes_max: u64,
    health: HealthServer<H>,
) -> Handler {
    Arc::new(move |request: Request<Body>| {
        let ingest = Arc::clone(&ingest);
        let (auth, mut health) = (auth.clone(), health.clone());
        Box::pin(async move {
            if let Some(auth) = auth
                && let Err(error) = auth.authenticate(request.headers()).await
            {
                return refused(&Refusal::new(Code::Unauthenticated, error.message));
            }
            if request.uri().path().strip_prefix('/').is_some_and(|path| path.starts_with(HEALTH_SERVICE)) {
                let answer: Result<_, Infallible> = health.call(request).await;
                return answer.unwrap_or_else(|never| match never {}).map(Body::new);
            }
            answer(&ingest, message_bytes_max, request).await
        })
    })
}

async fn answer(ingest: &Ingest, message_bytes_max: u64, request: Request<Body>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    if head.method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(b"application/grpc") {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let exported = match deadline(&head.headers) {
        None => export(ingest, message_bytes_max, &head, &mut body).await,
        Some(deadline) => {
            let export = export(ingest, message_bytes_max, &head, &mut body);
            let late = || Refusal::new(Code::DeadlineExceeded, "context deadline exceeded");
            tokio::time::timeout(deadline, export).await.unwrap_or_else(|_| Err(late()))
        }
    };
    match exported {
        Ok(report) => success(answer::response_protobuf(&report)),
        Err(refusal) => refused(&refusal),
    }
}

async fn export(
    ingest: &Ingest,
    message_bytes_max: u64,
    head: &request::Parts,
    body: &mut Body,
) -> Result<AppendReport, Refusal> {
    let signal = method_signal(head.uri.path(), ingest)?;
    let encoding = message_encoding(&head.headers)?;
    let tenant = tenant(&head.headers).map_err(Refusal::invalid)?;
    let limit = message_bytes_max + PREFIX_BYTES as u64;
    let read = body::read(&head.headers, body, Announced::GrpcPrefix, limit, &ingest.budget).await;
    let ReadBody { bytes, mut reservation } = read.map_err(|error| match error {
        BodyError::TooLarge { length, .. } => too_large(length, message_bytes_max),
        error => Refusal::from_body(error),
    })?;
    let (compressed, message) = single_message(&bytes)?;
    let message = match (compressed, encoding) {
        (false, _) => message,
        (true, None) => {
            return Err(Refusal::new(
                Code::Internal,
                "grpc: compressed flag set with identity or empty encoding",
            ));
        }
        (true, Some(encoding)) => {
            let decoded = ingest.decode(encoding, message, message_bytes_max as usize, reservation).await?;
            reservation = decoded.reservation;
            decoded.bytes
        }
    };
    drop(bytes);
    let client = client(head, ingest.include_metadata);
    let payload = Payload::Protobuf(message);
    ingest.export(Export { signal, tenant, client, payload, reservation }).await
}

/// The signal of a method's path; texts of grpc-go (server.go handleStream).
fn method_signal(path: &str, ingest: &Ingest) -> Result<Signal, Refusal> {
    let unimplemented = |message: String| Err(Refusal::new(Code::Unimplemented, message));
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
        return unimplemented(format!("malformed method name: {path:?}"));
    };
    let signal = SERVICES.iter().find(|(name, signal)| *name == service && ingest.takes(*signal));
    match signal {
        None => unimplemented(format!("unknown service {service}")),
        Some((_, signal)) if method == "Export" => Ok(*signal),
        Some(_) => unimplemented(format!("unknown method {method} for service {service}")),
    }
}

fn message_encoding(headers: &HeaderMap) -> Result<Option<&'static str>, Refusal> {
    let Some(value) = headers.get("grpc-encoding") else { return Ok(None) };
    let name = value.to_str().unwrap_or("?");
    if name == "identity" {
        return Ok(None);
    }
    ENCODINGS.iter().find(|encoding| **encoding == name).map(|encoding| Some(*encoding)).ok_or_else(|| {
        Refusal::new(
            Code::Unimplemented,
            format!("grpc: Decompressor is not installed for grpc-encoding {name:?}"),
        )
    })
}

/// Whether the message is compressed, and the message, of a body that holds exactly one.
fn single_message(body: &Bytes) -> Result<(bool, Bytes), Refusal> {
    let internal = |message: &str| Err(Refusal::new(Code::Internal, message));
    let Some((flag, length)) = announced(body) else {
        return internal(if body.is_empty() {
            "grpc: no message in a unary request"
        } else {
            "unexpected EOF"
        });
    };
    let compressed = match flag {
        0 => false,
        1 => true,
        flag => return internal(&format!("grpc: received unexpected payload format {flag}")),
    };
    let message = body.slice(PREFIX_BYTES..);
    match message.len().cmp(&(length as usize)) {
        std::cmp::Ordering::Less => internal("unexpected EOF"),
        std::cmp::Ordering::Greater => internal("grpc: more than one message in a unary request"),
        std::cmp::Ordering::Equal => Ok((compressed, message)),
    }
}

fn too_large(length: Option<u64>, max: u64) -> Refusal {
    let length = length.map_or_else(String::new, |length| format!("{} vs. ", length - PREFIX_BYTES as u64));
    Refusal::new(Code::ResourceExhausted, format!("grpc: received message larger than max ({length}{max})"))
}

/// `grpc-timeout`: up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

fn success(message: Vec<u8>) -> Response<Body> {
    let mut data = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    let length = u32::try_from(message.len()).expect("an answer has some hundred bytes");
    data.extend_from_slice(&prefix(false, length));
    data.extend_from_slice(&message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(data.freeze()), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-accept-encoding", ACCEPT_ENCODING);
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response: Response<Body> = refusal.to_grpc_status().into_http();
    response.headers_mut().insert("grpc-accept-encoding", ACCEPT_ENCODING);
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

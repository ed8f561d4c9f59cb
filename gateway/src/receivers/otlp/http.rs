//! OTLP over HTTP/1.1 and HTTP/2: `POST /v1/{metrics,logs,traces}`, protobuf or JSON, any of the encodings.
//!
//! Statuses and texts: otlpreceiver/otlphttp.go and its tests; limits and retry hints: the OTLP specification.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, request};
use model::{AppendReport, Signal};
use tonic::Code;

use super::answer::{Encoding, Refusal};
use super::ingest::{Export, Ingest, Payload};
use crate::receivers::{client, tenant};
use crate::server::auth::{AuthError, refuse_in_text};
use crate::server::body::{self, Announced, ReadBody};

/// `Content-Encoding`s that are taken (confighttp).
pub(super) const ENCODINGS: [&str; 8] =
    ["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"];

/// How requests are taken.
#[derive(Clone)]
pub(super) struct HttpSettings {
    pub(super) paths: Vec<(Signal, String)>,
    /// Cap on a body as sent and after decompression.
    pub(super) body_bytes_max: u64,
    /// `Content-Encoding`s that are taken.
    pub(super) encodings: Vec<&'static str>,
    /// Headers that every answer gets.
    pub(super) response_headers: HeaderMap,
    /// Whose answers are given.
    pub(super) dialect: Dialect,
}

/// Whose answers are given to the same requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The collector's: an export response, statuses in the request's notation.
    Otlp,
    /// Loki's: 204 or a status in protobuf; 400 if some items were refused, 503 in place of 500.
    Loki,
}

/// The routes of those signals that a pipeline takes.
pub(super) fn router(ingest: &Arc<Ingest>, settings: HttpSettings) -> Router {
    let settings = Arc::new(settings);
    let mut router = Router::new();
    for (signal, path) in settings.paths.iter().filter(|(signal, _)| ingest.takes(*signal)) {
        let (ingest, settings, signal) = (Arc::clone(ingest), Arc::clone(&settings), *signal);
        let handler = move |request: Request<Body>| {
            let (ingest, settings) = (Arc::clone(&ingest), Arc::clone(&settings));
            async move { handle(&ingest, &settings, signal, request).await }
        };
        router = router.route(path, any(handler));
    }
    router
}

/// 401 with a status in the notation of the request.
pub(super) fn refuse_unauthenticated(head: &request::Parts, error: &AuthError) -> Response {
    let encoding = media_type(&head.headers).as_deref().and_then(Encoding::of_media_type);
    match encoding {
        Some(encoding) => encoding.refusal(&Refusal::new(Code::Unauthenticated, &error.message)),
        None => refuse_in_text(head, error),
    }
}

/// `GET /`, which load balancers ask to see whether the port lives, and the text of any other path.
pub(super) fn front_page() -> Router {
    Router::new()
        .route("/", get(|| async { "OTLP/HTTP: POST to /v1/metrics, /v1/logs or /v1/traces\n" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
}

async fn handle(
    ingest: &Ingest,
    settings: &HttpSettings,
    signal: Signal,
    request: Request<Body>,
) -> Response {
    let (head, mut body) = request.into_parts();
    let mut answer = match encoding_of(&head) {
        Err(refusal) => refusal.into_response(),
        Ok(encoding) => match export(ingest, settings, signal, encoding, &head, &mut body).await {
            Ok(report) => success(settings.dialect, encoding, signal, &report),
            Err(refusal) => match settings.dialect {
                Dialect::Otlp => encoding.refusal(&refusal),
                Dialect::Loki => loki_refusal(&refusal),
            },
        },
    };
    if !answer.status().is_success() {
        body::discard(&head, &mut body, settings.body_bytes_max).await;
    }
    answer.headers_mut().extend(settings.response_headers.clone());
    answer
}

fn success(dialect: Dialect, encoding: Encoding, signal: Signal, report: &AppendReport) -> Response {
    match dialect {
        Dialect::Otlp => encoding.success(signal, report),
        Dialect::Loki if report.rejected_count() == 0 => StatusCode::NO_CONTENT.into_response(),
        Dialect::Loki => {
            let reasons: Vec<&str> =
                report.rejected.iter().map(|rejection| rejection.message.as_str()).collect();
            loki_refusal(&Refusal::invalid(reasons.join("\n")))
        }
    }
}

fn loki_refusal(refusal: &Refusal) -> Response {
    let mut response = Encoding::Protobuf.refusal(refusal);
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// A status, a header and a text.
type PlainAnswer = (StatusCode, [(HeaderName, &'static str); 1], &'static str);

/// The encoding that a request speaks, or the plain-text answer for one that speaks none.
fn encoding_of(head: &request::Parts) -> Result<Encoding, PlainAnswer> {
    let plain = [(CONTENT_TYPE, "text/plain")];
    if head.method != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, plain, "405 method not allowed, supported: [POST]"));
    }
    media_type(&head.headers).as_deref().and_then(Encoding::of_media_type).ok_or((
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        plain,
        "415 unsupported media type, supported: [application/json, application/x-protobuf]",
    ))
}

/// The media type without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
}

async fn export(
    ingest: &Ingest,
    settings: &HttpSettings,
    signal: Signal,
    encoding: Encoding,
    head: &request::Parts,
    body: &mut Body,
) -> Result<AppendReport, Refusal> {
    let content_encoding = content_encoding(&head.headers, settings)?;
    let tenant = tenant(&head.headers).map_err(Refusal::invalid)?;
    let limit = settings.body_bytes_max;
    let read = body::read(&head.headers, body, Announced::Header, limit, &ingest.budget).await;
    let mut read = read.map_err(Refusal::from_body)?;
    if !content_encoding.is_empty() {
        read = ingest.decode(content_encoding, read.bytes, limit as usize, read.reservation).await?;
    }
    let ReadBody { bytes, reservation } = read;
    let payload = match encoding {
        Encoding::Protobuf => Payload::Protobuf(bytes),
        Encoding::Json => Payload::Json(bytes),
    };
    let client = client(head, ingest.include_metadata);
    ingest.export(Export { signal, tenant, client, payload, reservation }).await
}

fn content_encoding(headers: &HeaderMap, settings: &HttpSettings) -> Result<&'static str, Refusal> {
    let asked = match headers.get(CONTENT_ENCODING) {
        None => "",
        Some(value) => value.to_str().map_or("?", str::trim),
    };
    let asked = if asked.eq_ignore_ascii_case("identity") { "" } else { asked };
    let taken = settings.encodings.iter().find(|encoding| encoding.eq_ignore_ascii_case(asked));
    taken.copied().or(asked.is_empty().then_some("")).ok_or_else(|| {
        let have: Vec<_> =
            settings.encodings.iter().filter(|encoding| !encoding.is_empty()).copied().collect();
        Refusal::invalid(format!("unsupported Content-Encoding: {asked}, supported: {}", have.join(", ")))
    })
}

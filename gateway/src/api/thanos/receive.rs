//! `/api/v1/receive` of a process that routes writes to a hash ring (pkg/receive/handler.go, `receiveHTTP`): tenant and
//! replica from headers, remote write of both versions from the body, and a status by what the members answered. Members
//! know version 1.0 only, so that 2.0 is written anew, as later versions of Thanos do (handler_writev2.go).

use std::sync::Arc;

use axum::Router as Routes;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, request};
use model::{ErrorKind, TenantId};
use runtime::{MemoryBudget, Reservation, Tasks};
use thanos::{Router, ThanosError};
use wire::compression::Encoding;
use wire::remote_write::{Version, Version1, WRITTEN_HEADERS, to_version_1};

use crate::receivers::decoding::{self, DecodeError};
use crate::server::body::{self, Announced, BodyError, ReadBody};

/// Cap on a body, as sent and after decompression, bytes.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Bodies above this are decompressed off the async threads.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// Whose series they are, and which replica of them, from 1 (`--receive.tenant-header`, `--receive.replica-header`).
const TENANT: &str = "thanos-tenant";
const REPLICA: &str = "thanos-replica";

/// Takes writes for a router.
pub struct Receive {
    /// Where they go.
    pub router: Arc<Router>,
    /// Room for bodies.
    pub budget: Arc<MemoryBudget>,
    /// Where bodies are decompressed.
    pub tasks: Tasks,
}

/// A request of version 1, with the room it takes.
struct Read {
    request: Bytes,
    /// Samples, histograms and exemplars in it, of which senders of version 2 are told.
    written: [u64; 3],
    _reservation: Reservation,
}

/// A write that was refused before it was routed.
struct Refused(StatusCode, String);

/// The routes.
pub fn routes(receive: Arc<Receive>) -> Routes {
    let handler = move |request: Request<Body>| {
        let receive = Arc::clone(&receive);
        async move {
            let (head, mut body) = request.into_parts();
            let answer = receive.write(&head, &mut body).await;
            if answer.status() != StatusCode::OK {
                body::discard(&head, &mut body, BODY_BYTES_MAX as u64).await;
            }
            answer
        }
    };
    let ready = || async { "OK\n" };
    Routes::new()
        .route("/api/v1/receive", any(handler))
        .route("/-/ready", any(ready))
        .route("/-/healthy", any(ready))
}

impl Receive {
    async fn write(&self, head: &request::Parts, body: &mut Body) -> Response {
        let (tenant, replica) = match self.checked(head) {
            Ok(checked) => checked,
            Err(refused) => return refused.into_response(),
        };
        let version = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Thanos does not look at it; what is not named is version 1.
        let version = version.and_then(|text| Version::from_content_type(text).ok()).unwrap_or(Version::V1);
        let Read { request, written, _reservation } = match self.read(head, body, version).await {
            Ok(read) => read,
            Err(refused) => return refused.into_response(),
        };
        let (mut response, written) = match self.router.route(&tenant, replica, request).await {
            Ok(()) => (StatusCode::OK.into_response(), written),
            Err(error) => (of_router(&error).into_response(), [0; 3]),
        };
        if version == Version::V2 {
            for (name, count) in WRITTEN_HEADERS.into_iter().zip(written) {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
            }
        }
        response
    }

    /// Tenant and replica of a request.
    fn checked(&self, head: &request::Parts) -> Result<(String, u64), Refused> {
        if head.method != Method::POST {
            return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed".to_owned()));
        }
        let bad = |text: String| Refused(StatusCode::BAD_REQUEST, text);
        let tenant = text(&head.headers, TENANT).map_err(bad)?;
        if !tenant.is_empty() {
            TenantId::new(tenant).map_err(|error| bad(error.to_string()))?;
        }
        let replica = match text(&head.headers, REPLICA).map_err(bad)? {
            "" => 0,
            number => number.parse().map_err(|_| bad("could not parse replica header".to_owned()))?,
        };
        Ok((tenant.to_owned(), replica))
    }

    /// The body as a request of version 1.
    async fn read(&self, head: &request::Parts, body: &mut Body, version: Version) -> Result<Read, Refused> {
        let read = body::read(&head.headers, body, Announced::Header, BODY_BYTES_MAX as u64, &self.budget);
        let ReadBody { bytes, mut reservation } = read.await.map_err(of_body)?;
        let is_small = bytes.len() <= INLINE_BYTES_MAX;
        let decode = move || {
            let plain = decoding::decode(Encoding::Snappy, &bytes, BODY_BYTES_MAX, &mut reservation);
            let plain = plain.map_err(of_decoding)?;
            if version == Version::V1 {
                return Ok(Read { request: plain, written: [0; 3], _reservation: reservation });
            }
            let bad = |error: wire::DecodeError| Refused(StatusCode::BAD_REQUEST, error.to_string());
            let Version1 { bytes, samples, histograms, exemplars } =
                to_version_1(&plain, BODY_BYTES_MAX).map_err(bad)?;
            pipelines::resize(&mut reservation, bytes.len() as u64)
                .map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
            let written = [samples, histograms, exemplars];
            Ok(Read { request: bytes.into(), written, _reservation: reservation })
        };
        if is_small {
            return decode();
        }
        let done = self.tasks.spawn_blocking("receive-decompress", decode).await;
        done.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
    }
}

/// A header's text; empty when it is absent.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    let Some(value) = headers.get(name) else { return Ok("") };
    value.to_str().map_err(|_| format!("header {name} is not plain ASCII text"))
}

fn of_body(error: BodyError) -> Refused {
    let status = match error {
        BodyError::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Idle | BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken(_) => StatusCode::BAD_REQUEST,
    };
    Refused(status, error.to_string())
}

fn of_decoding(error: DecodeError) -> Refused {
    match error {
        DecodeError::NoMemory(error) => Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        DecodeError::Wrong(error) => {
            Refused(StatusCode::BAD_REQUEST, format!("snappy decode error: {error}"))
        }
    }
}

/// Statuses of Thanos' receive: 409 is final, 503 is tried again.
fn of_router(error: &ThanosError) -> Refused {
    let status = match error.kind() {
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refused(status, error.to_string())
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        let mut response = (status, text + "\n").into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, 1.into());
        }
        response
    }
}

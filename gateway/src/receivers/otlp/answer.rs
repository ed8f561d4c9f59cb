//! Answers to export requests: partial success, and refusals as gRPC statuses or `google.rpc.Status` bodies.
//!
//! Mapping of errors: otlpreceiver/internal/errors. Invariant ANSWER-1: a refusal that may pass carries a retry hint,
//! because without one the OTLP specification lets clients drop the data.

use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use model::{AppendReport, Signal};
use pipelines::{PipelineError, RETRY_AFTER_REFUSAL};
use tonic::Code;
use wire::compression::CompressionError;
use wire::otlp::{PartialSuccess, response_to_json, response_to_protobuf};
use wire::rpc_status;

use crate::server::body::BodyError;

/// How bodies of a request and its answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// Why an export request failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: Code,
    /// The HTTP status, if it is not the one that belongs to the code.
    http: Option<StatusCode>,
    pub(crate) message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, http: None, message: message.into(), retry_after: None }
    }

    /// The request is wrong: 400, INVALID_ARGUMENT.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// No pipeline takes the signal: 404, UNIMPLEMENTED.
    pub(super) fn not_wired(signal: Signal) -> Self {
        Self::new(Code::Unimplemented, format!("no pipeline takes {signal} from this receiver"))
    }

    /// A pipeline did not take the batch.
    pub(super) fn from_pipeline(error: &PipelineError) -> Self {
        use model::ErrorKind;
        let code = match error.kind() {
            kind if kind.is_retryable() => Code::Unavailable,
            // Another instance, or this one after its restart, will take it.
            ErrorKind::Closed => Code::Unavailable,
            ErrorKind::Canceled => Code::Cancelled,
            ErrorKind::Invalid => Code::InvalidArgument,
            _ => Code::Internal,
        };
        let retry_after = error.retry_after().or((code == Code::Unavailable).then_some(RETRY_AFTER_REFUSAL));
        Self { retry_after, ..Self::new(code, error.to_string()) }
    }

    /// The body was not read.
    pub(super) fn from_body(error: BodyError) -> Self {
        match error {
            BodyError::OutOfMemory => Self::from_pipeline(&pipelines::refusal()),
            BodyError::TooLarge { .. } => {
                Self { http: Some(StatusCode::PAYLOAD_TOO_LARGE), ..Self::invalid(error.to_string()) }
            }
            BodyError::Idle | BodyError::Slow => Self {
                http: Some(StatusCode::REQUEST_TIMEOUT),
                ..Self::new(Code::DeadlineExceeded, error.to_string())
            },
            BodyError::Broken(_) => Self::invalid(error.to_string()),
        }
    }

    /// The body was not decompressed. Over HTTP a body that grows too large is 413 like one that is sent so.
    pub(super) fn from_compression(error: &CompressionError) -> Self {
        match error {
            CompressionError::TooLarge { .. } => Self {
                http: Some(StatusCode::PAYLOAD_TOO_LARGE),
                ..Self::new(Code::ResourceExhausted, error.to_string())
            },
            _ => Self::invalid(error.to_string()),
        }
    }

    /// The HTTP status (GetHTTPStatusCodeFromStatus).
    pub(crate) fn http_status(&self) -> StatusCode {
        self.http.unwrap_or(match self.code {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unimplemented => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    /// Seconds for `Retry-After`, rounded up so that nobody comes too early.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|after| (after.as_millis().div_ceil(1000) as u64).max(1))
    }

    fn status(&self) -> rpc_status::Status {
        let status = rpc_status::Status::new(self.code as i32, self.message.clone());
        match self.retry_after {
            Some(delay) => status.with_retry_delay(delay),
            None => status,
        }
    }

    /// The status as gRPC sends it, with the same details as over HTTP.
    pub(super) fn to_grpc_status(&self) -> tonic::Status {
        let details = match self.retry_after {
            Some(_) => self.status().to_protobuf().into(),
            None => bytes::Bytes::new(),
        };
        tonic::Status::with_details(self.code, self.message.clone(), details)
    }
}

/// The answer message of a delivered request; items that were refused for good are a partial success.
pub(super) fn response_protobuf(report: &AppendReport) -> Vec<u8> {
    response_to_protobuf(PartialSuccess::from_report(report).as_ref())
}

impl Encoding {
    /// The encoding of a media type without parameters.
    pub(super) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    /// 200, with a partial success if items were refused.
    pub(super) fn success(self, signal: Signal, report: &AppendReport) -> Response<Body> {
        let body = match self {
            Self::Protobuf => response_protobuf(report),
            Self::Json => response_to_json(signal, PartialSuccess::from_report(report).as_ref()),
        };
        self.respond(StatusCode::OK, body)
    }

    /// A `google.rpc.Status`.
    pub(super) fn refusal(self, refusal: &Refusal) -> Response<Body> {
        let body = match self {
            Self::Protobuf => refusal.status().to_protobuf(),
            Self::Json => refusal.status().to_json(),
        };
        let mut response = self.respond(refusal.http_status(), body);
        if let Some(seconds) = refusal.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn respond(self, status: StatusCode, body: Vec<u8>) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, self.media_type());
        response
    }
}

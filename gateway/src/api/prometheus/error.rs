//! The error answers of the Prometheus API (web/api/v1/api.go, `errorType` and `respondError`).

use axum::body::Body;
use axum::response::IntoResponse;
use exporters::for_clients;
use http::{Response, StatusCode};
use model::{ErrorKind, cut_message};
use promql::{PromqlError, Stage};
use storage_api::StorageError;

use crate::api::json::{self, Html};
use crate::api::whole;

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    error_type: ErrorType,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorType {
    BadData,
    Execution,
    Timeout,
    Canceled,
    Internal,
    Unavailable,
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Canceled => StatusCode::from_u16(499).expect("499 is a three-digit status"),
            Self::Internal | Self::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl ApiError {
    pub(super) fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: cut_message(message.into()) }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorType::BadData, message)
    }

    /// What is told to the client.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A parameter that cannot be used.
    pub(super) fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {message}"))
    }

    /// A query that failed; a parse error is one of the parameter `query`.
    pub(super) fn query(error: &PromqlError) -> Self {
        let error_type = match (error.stage(), error.kind()) {
            (Stage::Parse, _) => return Self::parameter("query", error),
            (Stage::Execution, ErrorKind::Timeout) => ErrorType::Timeout,
            (Stage::Execution, ErrorKind::Canceled) => ErrorType::Canceled,
            (Stage::Execution, ErrorKind::Internal | ErrorKind::Corrupt | ErrorKind::Closed) => {
                ErrorType::Internal
            }
            (Stage::Execution, _) => ErrorType::Execution,
        };
        let text = error.to_string();
        // Those of stores alone: others may quote labels that look like paths.
        Self::new(error_type, if error.is_of_store() { for_clients(text) } else { text })
    }

    /// A store that did not answer.
    pub(super) fn storage(error: &StorageError) -> Self {
        let error_type = match error.kind() {
            ErrorKind::Invalid => ErrorType::BadData,
            ErrorKind::Timeout => ErrorType::Timeout,
            ErrorKind::Canceled => ErrorType::Canceled,
            ErrorKind::Internal | ErrorKind::Corrupt => ErrorType::Internal,
            ErrorKind::Unavailable | ErrorKind::Closed => ErrorType::Unavailable,
            ErrorKind::NotFound | ErrorKind::Throttled | ErrorKind::Conflict => ErrorType::Execution,
        };
        Self::new(error_type, for_clients(error.to_string()))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut body = br#"{"status":"error","errorType":""#.to_vec();
        body.extend_from_slice(self.error_type.name().as_bytes());
        body.extend_from_slice(br#"","error":"#);
        json::string(&mut body, &self.message, Html::Plain);
        body.push(b'}');
        whole(self.error_type.status(), "application/json", body)
    }
}

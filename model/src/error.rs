//! What a caller can do about an error, shared by every crate's own error type.

use std::fmt;

/// The kind of an error: one per reaction that a caller has, so that a status code, a retry and a log level
/// follow from it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; sending it again cannot succeed. HTTP 400, gRPC INVALID_ARGUMENT.
    Invalid,
    /// The requested thing does not exist. HTTP 404, gRPC NOT_FOUND.
    NotFound,
    /// A limit refuses the request now; retry later and slower. HTTP 429 or 503 with a retry hint.
    Throttled,
    /// A dependency or resource is out of service for now; retry later. HTTP 503, gRPC UNAVAILABLE.
    Unavailable,
    /// The deadline of the request passed. HTTP 504 (or 503 where a protocol says so), gRPC DEADLINE_EXCEEDED.
    Timeout,
    /// The caller went away or cancelled. HTTP 499, gRPC CANCELLED.
    Canceled,
    /// Somebody else changed the thing first; read again and retry. HTTP 409, gRPC ABORTED.
    Conflict,
    /// Stored bytes are damaged; the unit is to be quarantined, the rest goes on.
    Corrupt,
    /// The component is shutting down or was closed; do not retry here.
    Closed,
    /// A defect of ours or an unexpected failure of the machine. HTTP 500, gRPC INTERNAL.
    Internal,
}

impl ErrorKind {
    /// Whether the same request may succeed later without being changed.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Timeout | Self::Conflict)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Closed => "closed",
            Self::Internal => "internal",
        })
    }
}

/// An error with its causes: those of libraries often say only "transport error" by themselves.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

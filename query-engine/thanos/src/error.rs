//! The error of this crate: what went wrong, and which reaction it asks for.

use model::ErrorKind;
use storage_api::StorageError;
use tonic::{Code, Status};

/// Result of an operation of this crate.
pub type ThanosResult<T> = Result<T, ThanosError>;

/// A request that was refused or failed, here or at a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ThanosError {
    kind: ErrorKind,
    message: String,
}

impl ThanosError {
    /// An error of `kind`; the message says which thing, what it got and what it allows.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The sender's fault.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// As a gRPC status, with the codes that Thanos' components use.
    pub fn to_status(&self) -> Status {
        let code = match self.kind {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Throttled => Code::ResourceExhausted,
            ErrorKind::Unavailable | ErrorKind::Closed => Code::Unavailable,
            ErrorKind::Timeout => Code::DeadlineExceeded,
            ErrorKind::Canceled => Code::Cancelled,
            ErrorKind::Conflict => Code::AlreadyExists,
            ErrorKind::Corrupt => Code::DataLoss,
            ErrorKind::Internal => Code::Internal,
        };
        Status::new(code, self.message.clone())
    }

    /// Of a peer's status, in grpc-go's words.
    pub fn from_status(status: &Status) -> Self {
        let kind = match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => ErrorKind::Invalid,
            Code::NotFound | Code::Unimplemented => ErrorKind::NotFound,
            Code::ResourceExhausted => ErrorKind::Throttled,
            Code::DeadlineExceeded => ErrorKind::Timeout,
            Code::Cancelled => ErrorKind::Canceled,
            Code::AlreadyExists => ErrorKind::Conflict,
            Code::DataLoss => ErrorKind::Corrupt,
            Code::Unavailable | Code::Aborted => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        let code = format!("{:?}", status.code());
        Self::new(kind, format!("rpc error: code = {code} desc = {}", status.message()))
    }
}

impl From<StorageError> for ThanosError {
    fn from(error: StorageError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ThanosError> for StorageError {
    fn from(error: ThanosError) -> Self {
        Self::new(error.kind, error.message)
    }
}

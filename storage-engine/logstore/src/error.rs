//! The error of the log store's inside; at the seam it becomes a `StorageError`.

use std::io;
use std::path::Path;
use std::time::Duration;

use model::{ErrorKind, TenantId};
use storage_api::StorageError;

/// When a new tenant should try again: room is made by people only.
const RETRY_AFTER_TENANTS: Duration = Duration::from_secs(30);

/// Something inside the log store failed.
#[derive(Debug)]
pub struct LogStoreError {
    kind: ErrorKind,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: String, source: io::Error },
    #[error("{path}: {source}")]
    Format { path: String, source: format::LogFormatError },
    #[error("{path}: page {page}: {reason}")]
    Page { path: String, page: usize, reason: String },
    #[error("building a parquet file: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("compressing a page: {0}")]
    Compress(io::Error),
    #[error("log write-ahead log: {0}")]
    Wal(String),
    #[error("{0}")]
    Stopped(String),
    #[error("{0}")]
    Shared(String),
    #[error("there is not enough memory: {0}")]
    NoMemory(String),
    #[error("there are {limit} tenants, the limit (tenants_max); tenant {tenant} is not taken")]
    TenantLimit { tenant: TenantId, limit: usize },
}

/// Result of work inside the log store.
pub type LogStoreResult<T> = Result<T, LogStoreError>;

impl LogStoreError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::TimedOut => {
                ErrorKind::Unavailable
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        Self { kind, cause: Cause::Io { action, path: path.display().to_string(), source } }
    }

    pub(crate) fn format(path: &Path, source: format::LogFormatError) -> Self {
        // A newer version is not damage: whoever wrote it can read it.
        let kind = match source {
            format::LogFormatError::Version { .. } => ErrorKind::Internal,
            format::LogFormatError::Damaged { .. } => ErrorKind::Corrupt,
        };
        Self { kind, cause: Cause::Format { path: path.display().to_string(), source } }
    }

    pub(crate) fn page(path: &Path, page: usize, reason: impl Into<String>) -> Self {
        let path = path.display().to_string();
        Self { kind: ErrorKind::Corrupt, cause: Cause::Page { path, page, reason: reason.into() } }
    }

    pub(crate) fn compress(source: io::Error) -> Self {
        Self { kind: ErrorKind::Internal, cause: Cause::Compress(source) }
    }

    pub(crate) fn wal(kind: ErrorKind, message: String) -> Self {
        Self { kind, cause: Cause::Wal(message) }
    }

    /// Something about files in an object store.
    pub(crate) fn shared(kind: ErrorKind, text: String) -> Self {
        Self { kind, cause: Cause::Shared(text) }
    }

    /// Whether a file that was to be read is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(&self.cause, Cause::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The process' memory limit leaves no room now.
    pub(crate) fn no_memory(what: String) -> Self {
        Self { kind: ErrorKind::Throttled, cause: Cause::NoMemory(what) }
    }

    /// One tenant more than there may be.
    pub(crate) fn tenant_limit(tenant: &TenantId, limit: usize) -> Self {
        Self { kind: ErrorKind::Throttled, cause: Cause::TenantLimit { tenant: tenant.clone(), limit } }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn canceled() -> Self {
        Self { kind: ErrorKind::Canceled, cause: Cause::Stopped("nobody waits for the answer".to_owned()) }
    }

    /// A background thread of ours ended without an answer.
    pub(crate) fn stopped(what: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, cause: Cause::Stopped(what.into()) }
    }
}

impl From<parquet::errors::ParquetError> for LogStoreError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self { kind: ErrorKind::Internal, cause: Cause::Parquet(error) }
    }
}

impl std::fmt::Display for LogStoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for LogStoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl From<LogStoreError> for StorageError {
    fn from(error: LogStoreError) -> Self {
        let told = Self::new(error.kind, format!("log store: {error}"));
        match error.cause {
            Cause::TenantLimit { .. } => told.with_retry_after(RETRY_AFTER_TENANTS),
            _ => told,
        }
    }
}

//! The error of both stores.

use std::fmt;
use std::time::Duration;

use model::ErrorKind;

/// Result of a store operation.
pub type StorageResult<T> = Result<T, StorageError>;

/// A store refused or failed a whole request. Refusals of single items are in `AppendReport`.
#[derive(Clone, Debug)]
pub struct StorageError {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
}

impl StorageError {
    /// An error of `kind`; the message says which thing, what it got and what it allows.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Adds when to try again.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// When to try again, if the store has an idea.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StorageError {}

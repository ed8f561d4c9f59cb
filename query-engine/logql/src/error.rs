//! The error of this crate: a kind that says what the caller can do, and a text that clients of Loki match on.

use std::fmt;

use model::ErrorKind;
use storage_api::StorageError;

/// Result of parsing or running a query.
pub type LogqlResult<T> = Result<T, LogqlError>;

/// A query could not be parsed, planned or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogqlError {
    kind: ErrorKind,
    message: String,
    is_of_store: bool,
}

impl LogqlError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), is_of_store: false }
    }

    /// A syntax error at a position; line 0 is how Loki's scanner marks a token it had to look ahead for.
    pub(crate) fn syntax(line: u32, column: u32, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, format!("parse error at line {line}, col {column}: {message}"))
    }

    /// A query that is well-formed but not allowed (`logqlmodel.ParseError` without a position).
    pub(crate) fn parse(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, format!("parse error : {message}"))
    }

    /// A limit of this engine was passed.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A query that took too long, in Loki's words (pkg/util/server/error.go).
    pub fn timed_out() -> Self {
        Self::new(
            ErrorKind::Timeout,
            "request timed out, decrease the duration of the request or add more label matchers (prefer exact match \
             over regex match) to reduce the amount of data processed",
        )
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the store that was asked failed: its text may tell where on a disk, others only quote the query.
    pub fn is_of_store(&self) -> bool {
        self.is_of_store
    }
}

impl fmt::Display for LogqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LogqlError {}

impl From<StorageError> for LogqlError {
    fn from(error: StorageError) -> Self {
        Self { is_of_store: true, ..Self::new(error.kind(), error.to_string()) }
    }
}

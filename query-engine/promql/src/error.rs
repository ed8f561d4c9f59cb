//! The error of a query.

use std::fmt;

use model::ErrorKind;
use storage_api::StorageError;

use crate::syntax::Span;

/// Where a query failed. The HTTP API answers `bad_data` (400) to the first and `execution` (422) to the second,
/// except for the kinds that have a status of their own (timeout, cancelled, storage out of service).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The text is not a valid query.
    Parse,
    /// The query is valid and its evaluation failed.
    Execution,
}

/// A query failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct PromqlError {
    kind: ErrorKind,
    stage: Stage,
    message: String,
    is_of_store: bool,
}

/// Result of anything that can fail a query.
pub type PromqlResult<T> = Result<T, PromqlError>;

impl PromqlError {
    /// A syntax or type error at `span` of `query`, printed as `1:5: parse error: …`.
    pub(crate) fn parse(query: &str, span: Span, text: impl fmt::Display) -> Self {
        let message = format!("{}: parse error: {text}", span.position(query));
        Self { kind: ErrorKind::Invalid, stage: Stage::Parse, message, is_of_store: false }
    }

    /// A range query for something that has no value per step; Prometheus answers it like a bad query.
    pub(crate) fn invalid_range_type(got: &str) -> Self {
        let message = format!(
            "invalid expression type {} for range query, must be Scalar or instant Vector",
            crate::syntax::quote(got)
        );
        Self { kind: ErrorKind::Invalid, stage: Stage::Parse, message, is_of_store: false }
    }

    /// An error of evaluation.
    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Invalid, message)
    }

    /// An error of evaluation of another kind than `Invalid`.
    pub(crate) fn of_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, stage: Stage::Execution, message: message.into(), is_of_store: false }
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where the query failed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the store that was asked failed: its text may tell where on a disk, others only quote the query.
    pub fn is_of_store(&self) -> bool {
        self.is_of_store
    }
}

impl From<StorageError> for PromqlError {
    fn from(error: StorageError) -> Self {
        Self { is_of_store: true, ..Self::of_kind(error.kind(), format!("expanding series: {error}")) }
    }
}

//! Why a pipeline did not take a batch.

use std::fmt;
use std::time::Duration;

use model::ErrorKind;

/// Result of a pipeline stage.
pub type PipelineResult<T> = Result<T, PipelineError>;

/// A stage refused or failed a whole batch.
#[derive(Clone, Debug)]
pub struct PipelineError {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
}

impl PipelineError {
    /// An error of `kind`; the message says which thing, what it got and what it allows.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Adds when the sender should try again.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What the sender can do: a retryable kind becomes UNAVAILABLE / 503, `Invalid` INVALID_ARGUMENT / 400, the rest
    /// INTERNAL / 500 (otlpreceiver internal/errors).
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// When to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PipelineError {}

impl From<wire::DecodeError> for PipelineError {
    fn from(error: wire::DecodeError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

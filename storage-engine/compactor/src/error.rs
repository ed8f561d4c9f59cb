//! The error of this crate.

use bucket::BucketError;
use model::ErrorKind;
use storage_api::StorageError;

/// Result of a step of the compactor.
pub type CompactorResult<T> = Result<T, CompactorError>;

/// A step failed. What was done before it stays done, and the step can be done again.
#[derive(Debug)]
pub struct CompactorError(Inner);

#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Block(#[from] StorageError),
    #[error("{path}: {source}")]
    Disk { path: String, source: std::io::Error },
    #[error("{0}")]
    Settings(String),
    #[error("block {block}: {fault}")]
    Damaged { block: ulid::Ulid, fault: String },
    #[error("it was told to end")]
    Canceled,
}

impl CompactorError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Inner::Bucket(error) => error.kind(),
            Inner::Block(error) => error.kind(),
            Inner::Disk { .. } => ErrorKind::Unavailable,
            Inner::Settings(_) => ErrorKind::Invalid,
            Inner::Damaged { .. } => ErrorKind::Corrupt,
            Inner::Canceled => ErrorKind::Canceled,
        }
    }

    /// The block that is damaged, if it is known, and what is wrong with it.
    pub fn damaged_block(&self) -> Option<(ulid::Ulid, &str)> {
        match &self.0 {
            Inner::Damaged { block, fault } => Some((*block, fault)),
            _ => None,
        }
    }

    pub(crate) fn disk(path: &std::path::Path, source: std::io::Error) -> Self {
        Self(Inner::Disk { path: path.display().to_string(), source })
    }

    pub(crate) fn settings(message: impl Into<String>) -> Self {
        Self(Inner::Settings(message.into()))
    }

    pub(crate) fn damaged(block: ulid::Ulid, fault: impl Into<String>) -> Self {
        Self(Inner::Damaged { block, fault: fault.into() })
    }

    pub(crate) fn canceled() -> Self {
        Self(Inner::Canceled)
    }
}

impl From<BucketError> for CompactorError {
    fn from(error: BucketError) -> Self {
        Self(error.into())
    }
}

impl From<StorageError> for CompactorError {
    fn from(error: StorageError) -> Self {
        Self(error.into())
    }
}

impl std::fmt::Display for CompactorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CompactorError {}

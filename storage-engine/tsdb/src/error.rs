//! The errors of this crate, as the storage seam has them.

use std::io;
use std::path::Path;
use std::time::Duration;

use format::FormatError;
use model::{ErrorKind, TenantId};
use storage_api::StorageError;
use wal::WalError;

/// When to try again after the log could not write: about when it will have tried to start a new segment.
const RETRY_AFTER_DISK: Duration = Duration::from_secs(1);

/// When a new tenant should try again: room is made by people only.
const RETRY_AFTER_TENANTS: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum TsdbError {
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(transparent)]
    Blocks(#[from] StorageError),
    #[error("{path}: {error}")]
    Disk { path: String, error: io::Error },
    #[error("tenant {tenant} has {limit} series, the limit (series_max); no new series is taken")]
    SeriesLimit { tenant: TenantId, limit: u64 },
    #[error("there are {limit} tenants, the limit (tenants_max); tenant {tenant} is not taken")]
    TenantLimit { tenant: TenantId, limit: usize },
    #[error("blocks of {got} ms (block_duration) are not possible, allowed is from 1 to {most} ms")]
    BlockDuration { got: i64, most: i64 },
    #[error("tenant {tenant} had no data and was let go")]
    LetGo { tenant: TenantId },
    #[error("a series needs a label")]
    NoLabels,
    #[error("a series has {got} labels, at most {limit} are allowed (labels_max)")]
    TooManyLabels { got: usize, limit: usize },
    #[error("the labels of a series have {got} bytes, at most {limit} are allowed (label_bytes_max)")]
    LabelsTooLong { got: usize, limit: usize },
    #[error("the columns of an append differ in length: {refs} series, {timestamps} times, {values} values")]
    UnequalColumns { refs: usize, timestamps: usize, values: usize },
    #[error("the positions of the native histograms of an append do not ascend or are not there")]
    HistogramPositions,
    #[error("{path} has version {version}, this program reads 1")]
    Version { path: String, version: u8 },
    #[error(
        "a record of the log or of the checkpoint cannot be read although its checksum is right: {error}; another \
         version wrote it, start that one"
    )]
    Record { error: FormatError },
    #[error("series {labels}: {error}")]
    Chunk { labels: String, error: FormatError },
    #[error(
        "a closed chunk of the head cannot be read back from its scratch file: {error}; it is made again from the log soon"
    )]
    Scratch { error: String },
    #[error("a task of the metrics store ended early: {0}")]
    Task(String),
}

impl TsdbError {
    pub(crate) fn disk(path: &Path, error: io::Error) -> Self {
        Self::Disk { path: path.display().to_string(), error }
    }

    pub(crate) fn version(path: &Path, version: u8) -> Self {
        Self::Version { path: path.display().to_string(), version }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Wal(error) => error.kind(),
            Self::Blocks(error) => error.kind(),
            // Not `Throttled`, by which the seam means a tenant's own limit: the whole request may come again.
            Self::Disk { .. } | Self::TenantLimit { .. } | Self::Scratch { .. } => ErrorKind::Unavailable,
            Self::SeriesLimit { .. } => ErrorKind::Throttled,
            Self::LetGo { .. } => ErrorKind::Closed,
            Self::NoLabels
            | Self::BlockDuration { .. }
            | Self::TooManyLabels { .. }
            | Self::LabelsTooLong { .. }
            | Self::UnequalColumns { .. }
            | Self::HistogramPositions => ErrorKind::Invalid,
            Self::Chunk { error, .. } => error.kind(),
            Self::Version { .. } | Self::Record { .. } => ErrorKind::Corrupt,
            Self::Task(_) => ErrorKind::Internal,
        }
    }
}

impl From<TsdbError> for StorageError {
    fn from(error: TsdbError) -> Self {
        if let TsdbError::Blocks(error) = error {
            return error;
        }
        let storage = Self::new(error.kind(), error.to_string());
        match (&error, error.kind()) {
            (TsdbError::TenantLimit { .. }, _) => storage.with_retry_after(RETRY_AFTER_TENANTS),
            (_, ErrorKind::Unavailable) => storage.with_retry_after(RETRY_AFTER_DISK),
            _ => storage,
        }
    }
}

//! The error of the log.

use std::fmt;
use std::path::Path;

use model::ErrorKind;

/// The log refused or failed an operation. Cheap to clone: one failed write fails every record in its group.
#[derive(Clone, Debug)]
pub struct WalError(Cause);

#[derive(Clone, Debug, thiserror::Error)]
enum Cause {
    #[error("write-ahead log {dir}: {action}: {reason}")]
    Disk { dir: String, action: &'static str, reason: String },
    #[error("write-ahead log segment {path} {what}: a newer version of the program wrote it")]
    Version { path: String, what: String },
    #[error("write-ahead log {0}: its writer ended by a mistake in the program; a restart is needed")]
    WriterEnded(String),
    #[error("write-ahead log {0} is closed")]
    Closed(String),
    #[error("write-ahead log: a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

impl WalError {
    pub(crate) fn disk(dir: &Path, action: &'static str, error: &std::io::Error) -> Self {
        Self(Cause::Disk { dir: dir.display().to_string(), action, reason: error.to_string() })
    }

    pub(crate) fn version(path: &Path, what: String) -> Self {
        Self(Cause::Version { path: path.display().to_string(), what })
    }

    pub(crate) fn closed(dir: &Path) -> Self {
        Self(Cause::Closed(dir.display().to_string()))
    }

    pub(crate) fn writer_ended(dir: &Path) -> Self {
        Self(Cause::WriterEnded(dir.display().to_string()))
    }

    pub(crate) fn too_large(bytes: usize, limit: usize) -> Self {
        Self(Cause::TooLarge { bytes, limit })
    }

    /// `Unavailable` when the disk fails or is full (retry later, the log recovers by itself) and when the writer panicked (only a restart helps), `Closed` after
    /// `close`, `Invalid` for a record over the limit and for a log of a newer version.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Cause::Disk { .. } | Cause::WriterEnded(_) => ErrorKind::Unavailable,
            Cause::Closed(_) => ErrorKind::Closed,
            Cause::TooLarge { .. } | Cause::Version { .. } => ErrorKind::Invalid,
        }
    }
}

impl WalError {
    /// The same without names of files, for a sender who has no business with the server's folders.
    pub fn without_path(&self) -> String {
        match &self.0 {
            Cause::Disk { action, reason, .. } => format!("write-ahead log: {action}: {reason}"),
            Cause::Version { what, .. } => {
                format!("write-ahead log: a segment {what}: a newer version of the program wrote it")
            }
            Cause::WriterEnded(_) => "the write-ahead log's writer ended; a restart is needed".to_owned(),
            Cause::Closed(_) => "the write-ahead log is closed".to_owned(),
            Cause::TooLarge { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for WalError {}

//! The error of all decoders here.

use model::ErrorKind;

/// Bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged {what}: {reason}")]
pub struct FormatError {
    what: &'static str,
    reason: &'static str,
}

impl FormatError {
    /// An error about `what` (e.g. "chunk"): why its bytes cannot be read.
    pub fn new(what: &'static str, reason: &'static str) -> Self {
        Self { what, reason }
    }

    pub(crate) fn chunk(reason: &'static str) -> Self {
        Self::new("chunk", reason)
    }

    /// Always `Corrupt`: the unit is to be quarantined.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

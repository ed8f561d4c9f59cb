//! What can be wrong with stored bytes of the log store.

/// Stored bytes of the log store cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFormatError {
    /// The bytes break the format; the unit they belong to is damaged.
    #[error("damaged {unit}: {reason}")]
    Damaged {
        /// What the bytes are, e.g. `log file index`.
        unit: &'static str,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The bytes are of a version that this build does not read.
    #[error("{unit} has version {got}, this build reads version {known}")]
    Version {
        /// What the bytes are.
        unit: &'static str,
        /// The version found.
        got: u16,
        /// The version that can be read.
        known: u16,
    },
}

impl LogFormatError {
    pub(crate) fn damaged(unit: &'static str, reason: &'static str) -> Self {
        Self::Damaged { unit, reason }
    }
}

/// Result of decoding stored bytes of the log store.
pub type LogFormatResult<T> = Result<T, LogFormatError>;

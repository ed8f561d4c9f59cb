//! The error of every decoder of this crate.

use std::fmt;

use model::ErrorKind;

/// Bytes from outside are not what they should be. One pointer wide, so that it costs the hot paths nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    message: String,
}

impl DecodeError {
    /// A request that is wrong in itself; the message says what was read, what it got and what is allowed.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::with_kind(ErrorKind::Invalid, message)
    }

    /// An error of any kind.
    #[cold]
    pub fn with_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into() }))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Puts the name of the thing being read before the message: `resource_metrics: field 1: …`.
    #[cold]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for DecodeError {}

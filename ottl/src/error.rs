//! Errors: those of a text, found when a config is read, and those of a run.

use std::borrow::Cow;
use std::fmt;

use model::ErrorKind;
use wire::DecodeError;

/// A statement or condition that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);

impl ParseError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// What the sender of the config can do: change it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// An error of a run: a value was not what a statement needs.
#[derive(Clone, Debug)]
pub struct RunError {
    message: Cow<'static, str>,
    kind: ErrorKind,
    /// A value of another type than a function wants, which `IsString` and its like answer with false.
    is_type: bool,
}

/// Result of evaluating something.
pub(crate) type Eval<T> = Result<T, RunError>;

impl RunError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), kind: ErrorKind::Invalid, is_type: false }
    }

    pub(crate) fn of_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), kind: ErrorKind::Invalid, is_type: true }
    }

    pub(crate) fn is_type(&self) -> bool {
        self.is_type
    }

    /// The same error with what was being done in front.
    pub(crate) fn while_doing(self, what: &str, text: &str) -> Self {
        Self { message: format!("{what}: {text}, {}", self.message).into(), ..self }
    }

    /// What a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunError {}

impl From<DecodeError> for RunError {
    fn from(error: DecodeError) -> Self {
        Self { kind: error.kind(), message: error.to_string().into(), is_type: false }
    }
}

/// What happens when a statement or condition fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorMode {
    /// It is logged, and the next one runs.
    #[default]
    Ignore,
    /// The next one runs.
    Silent,
    /// The whole payload is refused.
    Propagate,
}

impl ErrorMode {
    /// Reads a mode by its name in configs, in any case.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        match text.to_lowercase().as_str() {
            "ignore" => Ok(Self::Ignore),
            "silent" => Ok(Self::Silent),
            "propagate" => Ok(Self::Propagate),
            other => {
                Err(ParseError::new(format!("unknown error mode {other}: want ignore, silent or propagate")))
            }
        }
    }
}

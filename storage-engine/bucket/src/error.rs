//! The error of this crate.

use model::ErrorKind;

/// Result of an operation on a bucket.
pub type BucketResult<T> = Result<T, BucketError>;

/// An operation on a bucket failed. The kind says what the caller can do.
#[derive(Debug)]
pub struct BucketError {
    kind: ErrorKind,
    inner: Inner,
}

#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error("{name}: {}", with_cause(source))]
    Store { name: String, source: object_store::Error },
    #[error("{path}: {source}")]
    Disk { path: String, source: std::io::Error },
    #[error("{path}: {message}")]
    Config { path: String, message: String },
    #[error("{name}: {message}")]
    Object { name: String, message: String },
}

impl BucketError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// For a fault of the configuration: the key, as a path below the bucket's section.
    pub fn config_path(&self) -> Option<&str> {
        match &self.inner {
            Inner::Config { path, .. } => Some(path),
            _ => None,
        }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> String {
        match &self.inner {
            Inner::Config { message, .. } | Inner::Object { message, .. } => message.clone(),
            Inner::Store { source, .. } => with_cause(source),
            Inner::Disk { source, .. } => source.to_string(),
        }
    }

    pub(crate) fn store(name: &str, source: object_store::Error) -> Self {
        use object_store::Error;
        let kind = match &source {
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => ErrorKind::Conflict,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotSupported { .. } => {
                ErrorKind::Invalid
            }
            _ => ErrorKind::Unavailable,
        };
        Self { kind, inner: Inner::Store { name: name.to_owned(), source } }
    }

    pub(crate) fn disk(path: &std::path::Path, source: std::io::Error) -> Self {
        Self { kind: ErrorKind::Unavailable, inner: Inner::Disk { path: path.display().to_string(), source } }
    }

    pub(crate) fn config(path: impl Into<String>, message: impl Into<String>) -> Self {
        let inner = Inner::Config { path: path.into(), message: message.into() };
        Self { kind: ErrorKind::Invalid, inner }
    }

    pub(crate) fn corrupt(name: impl Into<String>, message: impl Into<String>) -> Self {
        let inner = Inner::Object { name: name.into(), message: message.into() };
        Self { kind: ErrorKind::Corrupt, inner }
    }

    pub(crate) fn canceled(name: &str) -> Self {
        let inner =
            Inner::Object { name: name.to_owned(), message: "given up because the process ends".to_owned() };
        Self { kind: ErrorKind::Canceled, inner }
    }

    pub(crate) fn conflict(name: impl Into<String>, message: impl Into<String>) -> Self {
        let inner = Inner::Object { name: name.into(), message: message.into() };
        Self { kind: ErrorKind::Conflict, inner }
    }
}

/// The error and, behind it, what it comes from in the end: a store's own text ends with `error sending request`, and
/// whether a name was not found or a connection refused is only said below.
fn with_cause(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    if let Some(cause) = causes.last().map(ToString::to_string).filter(|cause| !text.contains(cause)) {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}

impl std::fmt::Display for BucketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl std::error::Error for BucketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::BucketError;

    #[derive(Debug, thiserror::Error)]
    #[error("error sending request")]
    struct Sending(#[source] io::Error);

    #[test]
    fn an_error_of_a_store_ends_with_its_innermost_cause() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let source = object_store::Error::Generic { store: "S3", source: Box::new(Sending(refused)) };
        let error = BucketError::store("s3://logs: a/b", source);
        assert_eq!(
            error.to_string(),
            "s3://logs: a/b: Generic S3 error: error sending request: connection refused"
        );
        assert_eq!(error.message(), "Generic S3 error: error sending request: connection refused");
    }

    #[test]
    fn a_cause_that_the_text_has_is_not_said_twice() {
        let source = object_store::Error::Generic { store: "S3", source: "slow down".into() };
        assert_eq!(
            BucketError::store("s3://a: b", source).to_string(),
            "s3://a: b: Generic S3 error: slow down"
        );
    }
}

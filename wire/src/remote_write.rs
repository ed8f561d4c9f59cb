//! Prometheus remote write 1.0 (prompb/remote.proto) and 2.0 (io/prometheus/write/v2/types.proto): writers that append
//! series by series, and a reader of both that makes no objects of what it walks over.
//!
//! The snappy block format around a request is `compression::Encoding::Snappy`. Both protocols ask for labels that are
//! sorted, unique and not empty: `model::Labels` guarantees it for what is written; what is read is checked. A request is
//! read series by series into one [`Series`] that is used again, so that the steady state allocates nothing for each.

mod histogram;
mod read;
mod to_version_1;
mod walk;
mod write;

pub use self::histogram::{TimedHistogram, read_histogram};
pub use self::read::{Request, SampleWithStart, Series, family_of};
pub use self::to_version_1::{Version1, to_version_1};
pub(crate) use self::walk::empty_series;
pub use self::walk::{Contents, EMPTY_SERIES, INVALID_LABELS, Refused, Taker, contents, walk};
pub use self::write::{RequestWriter, SeriesParts, put_metadata, put_series};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// 1.0, `prometheus.WriteRequest`.
    V1,
    /// 2.0, `io.prometheus.write.v2.Request`.
    V2,
}

/// Media type of requests of both versions.
pub const MEDIA_TYPE: &str = "application/x-protobuf";

/// Headers of an answer to a version 2 request: samples, native histograms and exemplars that were written.
pub const WRITTEN_HEADERS: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

impl Version {
    /// Both, the older first.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// Name of the request's message, as the `proto` parameter of the media type names it.
    pub fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// Content-Type of a request.
    pub fn content_type(self) -> &'static str {
        match self {
            // Receivers from before 2.0 know no parameter.
            Self::V1 => MEDIA_TYPE,
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// Name and value of the header that says the protocol's version.
    pub fn header(self) -> (&'static str, &'static str) {
        match self {
            Self::V1 => ("X-Prometheus-Remote-Write-Version", "0.1.0"),
            Self::V2 => ("X-Prometheus-Remote-Write-Version", "2.0.0"),
        }
    }

    /// The version that a Content-Type asks for; the error is a sentence for the sender (`ParseProtoMsg` in
    /// client_golang's exp/api/remote).
    pub fn from_content_type(content_type: &str) -> Result<Self, String> {
        let mut parts = content_type.trim().split(';');
        if parts.next() != Some(MEDIA_TYPE) {
            return Err(format!(
                "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
            ));
        }
        for part in parts {
            let Some((name, value)) = part.split_once('=').filter(|(_, value)| !value.contains('=')) else {
                return Err(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got \
                     {part} in {content_type} content-type"
                ));
            };
            if name == "proto" {
                return Self::ALL.into_iter().find(|version| version.message() == value).ok_or_else(|| {
                    let [first, second] = Self::ALL.map(Self::message);
                    format!(
                        "got {content_type} content type; unknown type for remote write protobuf message {value}, \
                         supported: {first}, {second}"
                    )
                });
            }
        }
        Ok(Self::V1)
    }
}

#[cfg(test)]
mod tests;

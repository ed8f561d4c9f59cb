//! The vocabulary of Tidegate: labels, matchers, samples, log entries, tenants, time ranges, error kinds.
//!
//! Every other crate speaks in these types. Invariant MODEL-1: nothing here does IO, spawns, blocks or reads a clock.

mod civil_date;
mod error;
mod exemplar;
pub mod go_regex;
mod histogram;
mod labels;
mod log_entries;
mod matcher;
mod metadata;
mod report;
mod sample;
mod signal;
mod tenant;
mod time_range;

pub use civil_date::civil_date;
pub use error::{ErrorKind, error_chain};
pub use exemplar::Exemplar;
pub use histogram::{
    Bucket, BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, Combined, CounterResetHint, EXPONENTIAL_SCHEMAS,
    FloatHistogram, HistogramSum, IncompatibleBuckets, IntegerBuckets, IntegerHistogram, InvalidHistogram,
    NativeHistogram,
};
pub use labels::{Labels, LabelsBuilder};
pub use log_entries::{Direction, LogColumns, LogEntries, LogEntry, MetadataPairs, MetadataShape, SlotValue};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use metadata::{MetricMetadata, MetricType};
pub use report::{AppendReport, MESSAGE_BYTES_MAX, Rejection, cut_message};
pub use sample::{STALE_NAN_BITS, Sample, SampleColumns, is_stale_nan, stale_nan};
pub use signal::Signal;
pub use tenant::{TenantId, TenantIdError};
pub use time_range::TimeRange;

/// Label that carries a metric's name, as in Prometheus' data model.
pub const METRIC_NAME: &str = "__name__";

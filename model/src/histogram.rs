//! Native histograms with float counts: the form in which queries see every native histogram.
//!
//! Layout and semantics are those of Prometheus (model/histogram, and docs/specs/native_histograms.md).

use std::sync::Arc;

/// Schema number of histograms whose bucket bounds are listed one by one.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known about a counter reset between this histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Has to be found out by comparing.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge; resets have no meaning.
    Gauge,
}

/// A run of buckets next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketSpan {
    /// Gap to the end of the span before, or the index of the first bucket for the first span.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Buckets of one sign: spans say which indices there are, `counts` has one absolute count for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// The runs.
    pub spans: Vec<BucketSpan>,
    /// The counts.
    pub counts: Vec<f64>,
}

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// What is known about a reset.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution −4…8 of exponential buckets, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN ones included.
    pub count: f64,
    /// Their sum. The stale marker here marks the series as stale.
    pub sum: f64,
    /// Buckets above zero, or all of them with custom bounds.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
    /// Upper bounds of custom buckets, the infinite one left out.
    pub custom_values: Option<Arc<[f64]>>,
}

impl FloatHistogram {
    /// Whether the bounds of the buckets are listed one by one.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}

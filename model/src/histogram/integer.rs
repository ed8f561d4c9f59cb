//! Native histograms with integer counts: the form in which clients send most of them and chunks of encoding 2 hold
//! them. Queries see them as [`FloatHistogram`]s.

use std::sync::Arc;

use super::{BucketSpan, Buckets, CounterResetHint, FloatHistogram};

/// Buckets of one sign: spans say which indices there are, `deltas` has one entry for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegerBuckets {
    /// The runs.
    pub spans: Vec<BucketSpan>,
    /// The count of the first bucket, then of each bucket the difference to the one before.
    pub deltas: Vec<i64>,
}

/// A native histogram with integer counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntegerHistogram {
    /// What is known about a reset.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution −4…8 of exponential buckets, or [`super::CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations, NaN ones included.
    pub count: u64,
    /// Their sum. The stale marker here marks the series as stale.
    pub sum: f64,
    /// Buckets above zero, or all of them with custom bounds.
    pub positive: IntegerBuckets,
    /// Buckets below zero.
    pub negative: IntegerBuckets,
    /// Upper bounds of custom buckets, the infinite one left out.
    pub custom_values: Option<Arc<[f64]>>,
}

impl IntegerBuckets {
    /// The same buckets with absolute counts as floats.
    pub fn to_float(&self) -> Buckets {
        let mut count = 0_i64;
        let absolute = |delta: &i64| {
            count = count.wrapping_add(*delta);
            count as f64
        };
        Buckets { spans: self.spans.clone(), counts: self.deltas.iter().map(absolute).collect() }
    }
}

impl IntegerHistogram {
    /// The same histogram with float counts, as queries see it.
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive: self.positive.to_float(),
            negative: self.negative.to_float(),
            custom_values: self.custom_values.clone(),
        }
    }
}

//! Samples of float series and native histograms.

use std::sync::Arc;

use crate::FloatHistogram;

/// Bits of the NaN that marks a series as stale (`value.StaleNaN` in Prometheus' model/value).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a float.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the stale marker; an ordinary NaN is not.
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One sample: milliseconds since the Unix epoch and a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; may be NaN, an infinity or the stale marker.
    pub value: f64,
}

/// Decoded samples of one series as columns, in strictly ascending time order. Stale markers are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleColumns {
    /// Milliseconds since the Unix epoch.
    pub timestamps_ms: Vec<i64>,
    /// One value per timestamp; meaningless where `histograms` has an entry.
    pub values: Vec<f64>,
    /// Native histograms among the samples: position and value, in ascending order. Empty for a float series.
    pub histograms: Vec<(usize, Arc<FloatHistogram>)>,
}

impl SampleColumns {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.timestamps_ms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.timestamps_ms.is_empty()
    }

    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps_ms.clear();
        self.values.clear();
        self.histograms.clear();
    }

    /// Appends one sample.
    pub fn push(&mut self, timestamp_ms: i64, value: f64) {
        self.timestamps_ms.push(timestamp_ms);
        self.values.push(value);
    }

    /// Appends one native histogram.
    pub fn push_histogram(&mut self, timestamp_ms: i64, histogram: Arc<FloatHistogram>) {
        self.histograms.push((self.timestamps_ms.len(), histogram));
        self.push(timestamp_ms, 0.0);
    }
}

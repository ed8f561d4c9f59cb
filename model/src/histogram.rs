//! Native histograms with float counts: the form in which queries see every native histogram.
//!
//! Layout and semantics are those of Prometheus (model/histogram, and docs/specs/native_histograms.md).

mod bounds;
mod combine;
mod integer;
mod native;
mod reset;
mod trim;

use std::fmt;
use std::sync::Arc;

pub use combine::{Combined, HistogramSum, IncompatibleBuckets};
pub use integer::{IntegerBuckets, IntegerHistogram};
pub use native::{EXPONENTIAL_SCHEMAS, InvalidHistogram, NativeHistogram};

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

/// A bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether an observation equal to the lower bound is inside.
    pub lower_inclusive: bool,
    /// Whether an observation equal to the upper bound is inside.
    pub upper_inclusive: bool,
    /// Observations inside.
    pub count: f64,
}

impl Buckets {
    /// Index and count of each bucket, in ascending order of the index.
    pub fn iter(&self) -> impl Iterator<Item = (i32, f64)> {
        let mut next = 0_i32;
        let indices = self.spans.iter().flat_map(move |span| {
            let start = next.wrapping_add(span.offset);
            next = start.wrapping_add_unsigned(span.length);
            (0..span.length).map(move |i| start.wrapping_add_unsigned(i))
        });
        indices.zip(self.counts.iter().copied())
    }

    /// Buckets from indices in ascending order and counts.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (i32, f64)>) -> Self {
        let mut buckets = Self::default();
        let mut next = 0_i32;
        for (index, count) in pairs {
            buckets.counts.push(count);
            match buckets.spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                _ => buckets.spans.push(BucketSpan { offset: index.wrapping_sub(next), length: 1 }),
            }
            next = index.wrapping_add(1);
        }
        buckets
    }

    /// Removes buckets without observations.
    fn compact(&mut self) {
        let is_compact = self.counts.iter().all(|count| *count != 0.0)
            && self.spans.iter().all(|span| span.length > 0)
            && self.spans.iter().skip(1).all(|span| span.offset != 0);
        if !is_compact {
            let pairs: Vec<_> = self.iter().filter(|(_, count)| *count != 0.0).collect();
            *self = Self::from_pairs(pairs);
        }
    }
}

impl FloatHistogram {
    /// Whether the bounds of the buckets are listed one by one.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The bounds of custom buckets; none for other histograms.
    pub fn custom_bounds(&self) -> &[f64] {
        self.custom_values.as_deref().unwrap_or(&[])
    }

    /// Multiplies everything that is counted; a negative factor makes it a gauge.
    pub fn multiply(&mut self, factor: f64) {
        self.scale(|value| value * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides everything that is counted; by zero no bucket is left.
    pub fn divide(&mut self, divisor: f64) {
        self.scale(|value| value / divisor);
        if divisor == 0.0 {
            self.positive = Buckets::default();
            self.negative = Buckets::default();
        } else if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn scale(&mut self, f: impl Fn(f64) -> f64) {
        let counts = self.positive.counts.iter_mut().chain(&mut self.negative.counts);
        for value in counts.chain([&mut self.zero_count, &mut self.count, &mut self.sum]) {
            *value = f(*value);
        }
    }

    /// Removes buckets without observations.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Whether something that is counted is infinite.
    pub fn has_overflow(&self) -> bool {
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        counts.chain([&self.zero_count, &self.count, &self.sum]).any(|value| value.is_infinite())
    }

    /// Equal bit by bit in all but the counter reset hint, whatever way the spans are cut.
    pub fn equals(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let buckets = |a: &Buckets, b: &Buckets| {
            a.counts.len() == b.counts.len()
                && a.iter().zip(b.iter()).all(|((i, a), (j, b))| i == j && same(a, b))
        };
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && (!self.uses_custom_buckets() || self.custom_bounds() == other.custom_bounds())
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && buckets(&self.positive, &other.positive)
            && buckets(&self.negative, &other.negative)
    }
}

impl fmt::Display for FloatHistogram {
    /// `{count:3, sum:5, [-1,1]:1, (1,2]:2}`, buckets without observations left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GoFloat(self.count), GoFloat(self.sum))?;
        let negative: Vec<Bucket> = self.negative_buckets().filter(|b| b.count != 0.0).collect();
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let positive = self.positive_buckets().filter(|b| b.count != 0.0);
        for bucket in negative.into_iter().rev().chain(zero).chain(positive) {
            let open = if bucket.lower_inclusive { '[' } else { '(' };
            let close = if bucket.upper_inclusive { ']' } else { ')' };
            let (lower, upper) = (GoFloat(bucket.lower), GoFloat(bucket.upper));
            write!(f, ", {open}{lower},{upper}{close}:{}", GoFloat(bucket.count))?;
        }
        f.write_str("}")
    }
}

/// A float as Go's `%g` prints it.
struct GoFloat(f64);

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        if value == 0.0 || (1e-4..1e21).contains(&value.abs()) {
            return write!(f, "{value}");
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').expect("the e format has an exponent");
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        write!(f, "{mantissa}e{sign}{digits:0>2}")
    }
}

#[cfg(test)]
mod tests;

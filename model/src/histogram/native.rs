//! A native histogram as it is written: with integer or with float counts, and the checks that it is one.

use std::fmt;
use std::sync::Arc;

use super::{BucketSpan, FloatHistogram, IntegerHistogram};
use crate::is_stale_nan;

/// Coarsest and finest exponential resolution that is stored (model/histogram/generic.go).
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// A native histogram with counts of either kind. Cloning copies a pointer.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeHistogram {
    /// Counts are whole numbers.
    Integer(Arc<IntegerHistogram>),
    /// Counts are floats.
    Float(Arc<FloatHistogram>),
}

/// Why a histogram is none. The text names what it has and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHistogram(String);

impl fmt::Display for InvalidHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidHistogram {}

impl NativeHistogram {
    /// Whether this marks the series as stale.
    pub fn is_stale(&self) -> bool {
        is_stale_nan(self.sum())
    }

    /// A stale marker of this kind with nothing but its sum, which is all that is stored of one.
    pub fn to_bare_stale(&self) -> Self {
        let sum = crate::stale_nan();
        match self {
            Self::Integer(_) => {
                Self::Integer(Arc::new(IntegerHistogram { sum, ..IntegerHistogram::default() }))
            }
            Self::Float(_) => Self::Float(Arc::new(FloatHistogram { sum, ..FloatHistogram::default() })),
        }
    }

    /// Sum of the observations.
    pub fn sum(&self) -> f64 {
        match self {
            Self::Integer(histogram) => histogram.sum,
            Self::Float(histogram) => histogram.sum,
        }
    }

    /// The form that queries see.
    pub fn to_float(&self) -> Arc<FloatHistogram> {
        match self {
            Self::Integer(histogram) => Arc::new(histogram.to_float()),
            Self::Float(histogram) => Arc::clone(histogram),
        }
    }

    /// Whether it may be stored, as Prometheus checks it (`Validate` in model/histogram). A stale marker needs no
    /// buckets and is always one.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.is_stale() {
            return Ok(());
        }
        match self {
            Self::Integer(histogram) => histogram.validate(),
            Self::Float(histogram) => histogram.validate(),
        }
    }
}

impl IntegerHistogram {
    fn validate(&self) -> Result<(), InvalidHistogram> {
        let layout = Layout {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_is_empty: self.zero_count == 0,
            positive: (&self.positive.spans, self.positive.deltas.len()),
            negative: (&self.negative.spans, self.negative.deltas.len()),
            custom_values: self.custom_values.as_deref(),
        };
        layout.validate()?;
        let negative = total(&self.negative.deltas, "negative")?;
        let positive = total(&self.positive.deltas, "positive")?;
        let found = u128::from(self.zero_count) + negative + positive;
        let count = u128::from(self.count);
        // Observations of NaN are counted and in no bucket; they make the sum NaN.
        let fits = if self.sum.is_nan() { found <= count } else { found == count };
        if fits {
            return Ok(());
        }
        Err(InvalidHistogram(format!(
            "the buckets of the histogram have {found} observations, but its count is {count}"
        )))
    }
}

impl FloatHistogram {
    fn validate(&self) -> Result<(), InvalidHistogram> {
        let layout = Layout {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_is_empty: self.zero_count == 0.0,
            positive: (&self.positive.spans, self.positive.counts.len()),
            negative: (&self.negative.spans, self.negative.counts.len()),
            custom_values: self.custom_values.as_deref(),
        };
        layout.validate()?;
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        let fault = counts.chain([&self.zero_count, &self.count]).find(|count| **count < 0.0);
        match fault {
            Some(count) => Err(InvalidHistogram(format!("the histogram has the negative count {count}"))),
            None => Ok(()),
        }
    }
}

/// Sum of the counts that `deltas` tell; none may be negative.
fn total(deltas: &[i64], side: &str) -> Result<u128, InvalidHistogram> {
    let (mut count, mut total) = (0_i64, 0_u128);
    for (number, delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(*delta);
        let Ok(absolute) = u64::try_from(count) else {
            let number = number + 1;
            return Err(InvalidHistogram(format!(
                "{side} bucket {number} of the histogram has count {count}"
            )));
        };
        total += u128::from(absolute);
    }
    Ok(total)
}

/// What both kinds have in common.
struct Layout<'a> {
    schema: i32,
    zero_threshold: f64,
    zero_is_empty: bool,
    positive: (&'a [BucketSpan], usize),
    negative: (&'a [BucketSpan], usize),
    custom_values: Option<&'a [f64]>,
}

impl Layout<'_> {
    fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.schema == super::CUSTOM_BUCKETS_SCHEMA {
            return self.validate_custom();
        }
        if !EXPONENTIAL_SCHEMAS.contains(&self.schema) {
            return Err(InvalidHistogram(format!(
                "the histogram has schema {}, which must be between {} and {} for exponential buckets, or {} for \
                 custom buckets",
                self.schema,
                EXPONENTIAL_SCHEMAS.start(),
                EXPONENTIAL_SCHEMAS.end(),
                super::CUSTOM_BUCKETS_SCHEMA
            )));
        }
        check_spans(self.positive, "positive", false)?;
        check_spans(self.negative, "negative", false)?;
        if self.custom_values.is_some() {
            return Err(fault("a histogram with exponential buckets must not have custom bounds"));
        }
        Ok(())
    }

    fn validate_custom(&self) -> Result<(), InvalidHistogram> {
        let bounds = self.custom_values.unwrap_or_default();
        if bounds.iter().any(|bound| bound.is_nan()) {
            return Err(fault("custom bounds of a histogram must not be NaN"));
        }
        if let Some(pair) = bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (before, after) = (pair[0], pair[1]);
            return Err(InvalidHistogram(format!(
                "custom bounds of a histogram must ascend, but {after} follows {before}"
            )));
        }
        if bounds.last().is_some_and(|last| *last == f64::INFINITY) {
            return Err(fault("the last custom bound of a histogram must be finite"));
        }
        let indices = check_spans(self.positive, "positive", true)?;
        if indices > bounds.len() as u64 + 1 {
            return Err(InvalidHistogram(format!(
                "the histogram has {} custom bounds, too few for spans over {indices} buckets",
                bounds.len()
            )));
        }
        if !self.zero_is_empty || self.zero_threshold != 0.0 {
            return Err(fault("a histogram with custom buckets must not have a zero bucket"));
        }
        if !self.negative.0.is_empty() || self.negative.1 > 0 {
            return Err(fault("a histogram with custom buckets must not have negative buckets"));
        }
        Ok(())
    }
}

fn fault(text: &str) -> InvalidHistogram {
    InvalidHistogram(text.to_owned())
}

/// Whether the spans fit the number of buckets; returns how many indices they go over when all offsets count.
fn check_spans(
    (spans, buckets): (&[BucketSpan], usize),
    side: &str,
    first_too: bool,
) -> Result<u64, InvalidHistogram> {
    let (mut named, mut indices) = (0_u64, 0_u64);
    for (number, span) in spans.iter().enumerate() {
        if span.offset < 0 && (number > 0 || first_too) {
            let (number, offset) = (number + 1, span.offset);
            return Err(InvalidHistogram(format!(
                "{side} span {number} of the histogram has the negative offset {offset}"
            )));
        }
        named += u64::from(span.length);
        indices += u64::from(span.length) + u64::from(span.offset.max(0).cast_unsigned());
    }
    if named == buckets as u64 {
        return Ok(indices);
    }
    Err(InvalidHistogram(format!(
        "the {side} spans of the histogram name {named} buckets, but it has {buckets}"
    )))
}

#[cfg(test)]
mod tests;

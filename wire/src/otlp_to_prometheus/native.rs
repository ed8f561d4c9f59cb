//! Native histograms out of OTLP points.
//!
//! The layout of spans is that of `convertBucketsLayout` in Prometheus' histograms.go, so that chunks of both agree:
//! a gap of up to two buckets is filled with empty ones, a wider one starts a span, and the last bucket is there even
//! when it is empty. One difference on purpose: where upstream scales down a histogram finer than schema 8 with empty
//! buckets inside, it puts observations into a bucket below their own; here every one stays in its bucket.

use std::sync::Arc;

use model::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, EXPONENTIAL_SCHEMAS, IntegerBuckets,
    IntegerHistogram, NativeHistogram, stale_nan,
};

use crate::DecodeError;
use crate::native_histogram;
use crate::otlp::{Buckets, ExponentialHistogramPoint, HistogramPoint};

/// What Prometheus writes for every exponential histogram, whatever threshold the point has.
pub(super) const ZERO_THRESHOLD: f64 = 1e-128;

/// Widest gap that is filled with empty buckets.
const GAP_FILLED_MAX: i64 = 2;

/// The native histogram of an exponential one.
pub(super) fn of_exponential(
    point: &ExponentialHistogramPoint<'_>,
    hint: CounterResetHint,
    zero_threshold: f64,
) -> Result<NativeHistogram, DecodeError> {
    let scale = point.scale;
    let (coarsest, finest) = (*EXPONENTIAL_SCHEMAS.start(), *EXPONENTIAL_SCHEMAS.end());
    if scale < coarsest {
        return Err(DecodeError::invalid(format!(
            "cannot convert exponential to native histogram: scale must be >= {coarsest}, was {scale}"
        )));
    }
    let shift = scale.saturating_sub(finest).clamp(0, 63) as u32;
    let mut histogram = IntegerHistogram {
        counter_reset_hint: hint,
        schema: scale.min(finest),
        zero_threshold,
        sum: point.sum.unwrap_or(0.0),
        count: point.count,
        zero_count: point.zero_count,
        ..IntegerHistogram::default()
    };
    if point.has_no_recorded_value() {
        return native_histogram::integer(stale(histogram));
    }
    histogram.positive = dense(&point.positive, shift)?;
    histogram.negative = dense(&point.negative, shift)?;
    native_histogram::integer(histogram)
}

/// The native histogram with custom buckets of one with explicit bounds.
pub(super) fn of_explicit(
    point: &HistogramPoint<'_>,
    hint: CounterResetHint,
) -> Result<NativeHistogram, DecodeError> {
    let mut histogram = IntegerHistogram {
        counter_reset_hint: hint,
        schema: CUSTOM_BUCKETS_SCHEMA,
        sum: point.sum.unwrap_or(0.0),
        count: point.count,
        custom_values: Some(point.explicit_bounds.iter().collect::<Arc<[f64]>>()),
        ..IntegerHistogram::default()
    };
    if point.has_no_recorded_value() {
        return native_histogram::integer(stale(histogram));
    }
    let mut layout = LayoutWriter::default();
    let counts = point.bucket_counts.iter().enumerate().skip_while(|(_, count)| *count == 0);
    for (index, count) in counts {
        layout.put(index as i64, count);
    }
    histogram.positive = layout.finish();
    native_histogram::integer(histogram)
}

/// The end of a series: no buckets, and the marker for the sum.
fn stale(histogram: IntegerHistogram) -> IntegerHistogram {
    IntegerHistogram { sum: stale_nan(), count: 0, zero_count: 0, ..histogram }
}

/// One side of an exponential histogram, `2^shift` buckets made one. OTLP's bucket 0 begins at 1, ours ends there.
fn dense(buckets: &Buckets<'_>, shift: u32) -> Result<IntegerBuckets, DecodeError> {
    let mut layout = LayoutWriter::default();
    for (index, count) in (i64::from(buckets.offset)..).zip(buckets.counts()) {
        layout.put((index >> shift) + 1, count?);
    }
    let last = layout.open.map_or(0, |(index, _)| index);
    if i32::try_from(last).is_err() {
        return Err(DecodeError::invalid(format!("bucket index {last} is not a 32-bit number")));
    }
    Ok(layout.finish())
}

/// Writes dense buckets as spans and deltas.
#[derive(Default)]
struct LayoutWriter {
    buckets: IntegerBuckets,
    /// Index behind the last bucket that was written.
    next: i64,
    /// The last bucket's count.
    last: i64,
    /// The bucket that may still grow.
    open: Option<(i64, u64)>,
}

impl LayoutWriter {
    /// Adds a bucket; indices ascend, and equal ones add up.
    fn put(&mut self, index: i64, count: u64) {
        match &mut self.open {
            None => {
                // Callers refuse sides that do not end within 32 bits.
                self.buckets.spans.push(BucketSpan { offset: index as i32, length: 0 });
                self.next = index;
                self.open = Some((index, count));
            }
            Some((open, sum)) if *open == index => *sum = sum.wrapping_add(count),
            Some(_) => {
                self.close(false);
                self.open = Some((index, count));
            }
        }
    }

    fn close(&mut self, is_last: bool) {
        let Some((index, count)) = self.open.take() else { return };
        if count == 0 && !is_last {
            return;
        }
        let gap = index - self.next;
        if gap > GAP_FILLED_MAX {
            self.buckets.spans.push(BucketSpan { offset: gap as i32, length: 0 });
        } else {
            (0..gap).for_each(|_| self.append(0));
        }
        self.append(count as i64);
        self.next = index + 1;
    }

    fn append(&mut self, count: i64) {
        if let Some(span) = self.buckets.spans.last_mut() {
            span.length += 1;
        }
        self.buckets.deltas.push(count.wrapping_sub(self.last));
        self.last = count;
    }

    fn finish(mut self) -> IntegerBuckets {
        self.close(true);
        self.buckets
    }
}

//! Native histograms on their way into a store: checked, and made coarser where the sender's resolution is finer than
//! what is stored.
//!
//! Prometheus' receivers do the same (`remoteWriteAppender` in storage/remote/write_handler.go).

use std::sync::Arc;

use model::{
    BucketSpan, Buckets, EXPONENTIAL_SCHEMAS, FloatHistogram, IntegerBuckets, IntegerHistogram,
    NativeHistogram,
};

use crate::DecodeError;

/// Finest resolution that the format reserves; those above [`EXPONENTIAL_SCHEMAS`] are made coarser.
const RESERVED_SCHEMA_MAX: i32 = 52;

/// How many halvings bring `schema` down to what is stored; none if it is there already or means something else.
fn reduction(schema: i32) -> Option<u32> {
    let finest = *EXPONENTIAL_SCHEMAS.end();
    (finest + 1..=RESERVED_SCHEMA_MAX).contains(&schema).then(|| schema.abs_diff(finest))
}

/// A histogram with integer counts that may be stored, or what is wrong with it.
pub fn integer(mut histogram: IntegerHistogram) -> Result<NativeHistogram, DecodeError> {
    if let Some(shift) = reduction(histogram.schema) {
        for side in [&mut histogram.positive, &mut histogram.negative] {
            check_spans(&side.spans, side.deltas.len())?;
            *side = reduce_integer(side, shift);
        }
        histogram.schema = *EXPONENTIAL_SCHEMAS.end();
    }
    checked(NativeHistogram::Integer(Arc::new(histogram)))
}

/// The same with float counts.
pub fn float(mut histogram: FloatHistogram) -> Result<NativeHistogram, DecodeError> {
    if let Some(shift) = reduction(histogram.schema) {
        for side in [&mut histogram.positive, &mut histogram.negative] {
            check_spans(&side.spans, side.counts.len())?;
            *side = Buckets::from_pairs(merged(side.iter(), shift, |a, b| a + b));
        }
        histogram.schema = *EXPONENTIAL_SCHEMAS.end();
    }
    checked(NativeHistogram::Float(Arc::new(histogram)))
}

fn reduce_integer(side: &IntegerBuckets, shift: u32) -> IntegerBuckets {
    let mut count = 0_i64;
    let counts: Vec<i64> = side
        .deltas
        .iter()
        .map(|delta| {
            count = count.wrapping_add(*delta);
            count
        })
        .collect();
    let pairs = merged(indices(&side.spans).zip(counts), shift, i64::wrapping_add);
    let mut reduced = IntegerBuckets::default();
    let (mut next, mut last) = (0_i32, 0_i64);
    for (index, count) in pairs {
        match reduced.spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => reduced.spans.push(BucketSpan { offset: index.wrapping_sub(next), length: 1 }),
        }
        reduced.deltas.push(count.wrapping_sub(last));
        (next, last) = (index.wrapping_add(1), count);
    }
    reduced
}

/// The index of each bucket.
fn indices(spans: &[BucketSpan]) -> impl Iterator<Item = i32> {
    let mut next = 0_i32;
    spans.iter().flat_map(move |span| {
        let start = next.wrapping_add(span.offset);
        next = start.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |i| start.wrapping_add_unsigned(i))
    })
}

/// Buckets with `2^shift` times the width. Bucket `i` ends at `base^i`, so that it is inside bucket `ceil(i / 2^shift)`.
fn merged<C: Copy>(
    pairs: impl Iterator<Item = (i32, C)>,
    shift: u32,
    add: impl Fn(C, C) -> C,
) -> Vec<(i32, C)> {
    let mut out: Vec<(i32, C)> = Vec::new();
    for (index, count) in pairs {
        let index = (index.wrapping_sub(1) >> shift.min(31)).wrapping_add(1);
        match out.last_mut() {
            Some((last, sum)) if *last == index => *sum = add(*sum, count),
            _ => out.push((index, count)),
        }
    }
    out
}

fn checked(histogram: NativeHistogram) -> Result<NativeHistogram, DecodeError> {
    histogram.validate().map_err(|error| DecodeError::invalid(error.to_string()))?;
    Ok(histogram)
}

/// Whether the spans name as many buckets as there are; what they say is not to be believed before.
fn check_spans(spans: &[BucketSpan], buckets: usize) -> Result<(), DecodeError> {
    let named: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if named == buckets as u64 {
        return Ok(());
    }
    Err(DecodeError::invalid(format!(
        "the spans of the histogram name {named} buckets, but it has {buckets}"
    )))
}

#[cfg(test)]
mod tests;

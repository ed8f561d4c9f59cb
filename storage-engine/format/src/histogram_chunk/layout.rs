//! What all samples of a chunk share: schema, zero threshold, spans, custom bounds; and the flags that say whether a
//! counter was reset when the chunk was begun.

use std::sync::Arc;

use model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint};

use crate::FormatError;
use crate::bits::{BitReader, OutOfBits, write_bits};
use crate::varbit::{read_varbit_int, read_varbit_uint, write_varbit_int, write_varbit_uint};

/// Bits of the header byte that hold the counter reset.
const RESET_MASK: u8 = 0b1100_0000;

/// The largest bound whose thousandfold is written as an integer.
const BOUND_MILLIS_MAX: f64 = 33_554_430.0;

/// Schemas that a chunk may have: those in use, and those reserved for finer and coarser buckets.
const SCHEMAS_KNOWN: std::ops::RangeInclusive<i32> = -9..=52;

/// Bits on their way to the end of a chunk.
pub struct Bits<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) free: &'a mut u8,
}

impl Bits<'_> {
    pub(super) fn int(&mut self, value: i64) {
        write_varbit_int(self.out, self.free, value);
    }

    pub(super) fn uint(&mut self, value: u64) {
        write_varbit_uint(self.out, self.free, value);
    }

    pub(super) fn whole(&mut self, value: u64) {
        write_bits(self.out, self.free, value, 64);
    }
}

/// The flags byte for a counter reset.
pub(super) fn reset_flags(header: CounterResetHint) -> u8 {
    match header {
        CounterResetHint::Unknown => 0,
        CounterResetHint::NotReset => 0b0100_0000,
        CounterResetHint::Reset => 0b1000_0000,
        CounterResetHint::Gauge => RESET_MASK,
    }
}

/// The counter reset in a flags byte.
pub(super) fn reset_header(flags: u8) -> CounterResetHint {
    match flags & RESET_MASK {
        0 => CounterResetHint::Unknown,
        0b0100_0000 => CounterResetHint::NotReset,
        0b1000_0000 => CounterResetHint::Reset,
        _ => CounterResetHint::Gauge,
    }
}

/// What all samples of a chunk share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive: Vec<BucketSpan>,
    pub(super) negative: Vec<BucketSpan>,
    pub(super) custom_values: Option<Arc<[f64]>>,
}

impl Layout {
    /// Number of positive and of negative buckets.
    pub(super) fn buckets(&self) -> (usize, usize) {
        (bucket_count(&self.positive), bucket_count(&self.negative))
    }

    pub(super) fn write(&self, bits: &mut Bits<'_>) {
        write_zero_threshold(bits, self.zero_threshold);
        bits.int(i64::from(self.schema));
        for spans in [&self.positive, &self.negative] {
            bits.uint(spans.len() as u64);
            for span in spans {
                bits.uint(u64::from(span.length));
                bits.int(i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            let bounds = self.custom_values.as_deref().unwrap_or(&[]);
            bits.uint(bounds.len() as u64);
            bounds.iter().for_each(|bound| write_bound(bits, *bound));
        }
    }

    /// Reads a layout; there are never more spans, buckets and bounds than bits to hold them.
    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, FormatError> {
        let cut = |OutOfBits| FormatError::chunk("it ends inside its bucket layout");
        let zero_threshold = read_zero_threshold(bits).map_err(cut)?;
        let schema = i32::try_from(read_varbit_int(bits).map_err(cut)?).unwrap_or(i32::MAX);
        if !SCHEMAS_KNOWN.contains(&schema) && schema != CUSTOM_BUCKETS_SCHEMA {
            return Err(FormatError::chunk("its histograms have an unknown schema"));
        }
        let positive = read_spans(bits)?;
        let negative = read_spans(bits)?;
        let mut layout = Self { schema, zero_threshold, positive, negative, custom_values: None };
        if schema == CUSTOM_BUCKETS_SCHEMA {
            let count = capped(read_varbit_uint(bits).map_err(cut)?, bits)?;
            let bounds: Result<Arc<[f64]>, _> = (0..count).map(|_| read_bound(bits)).collect();
            layout.custom_values = Some(bounds.map_err(cut)?);
        }
        let (positive, negative) = layout.buckets();
        // Each bucket takes a bit or more in the first sample.
        capped(positive.saturating_add(negative) as u64, bits)?;
        Ok(layout)
    }
}

/// Buckets that spans describe.
pub(super) fn bucket_count(spans: &[BucketSpan]) -> usize {
    spans.iter().fold(0, |count, span| count.saturating_add(span.length as usize))
}

/// A count of things that take a bit each, unless the stream has fewer bits.
fn capped(count: u64, bits: &BitReader<'_>) -> Result<usize, FormatError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > bits.left() {
        return Err(FormatError::chunk("it counts more buckets, spans or bounds than it has bits"));
    }
    Ok(count)
}

fn read_spans(bits: &mut BitReader<'_>) -> Result<Vec<BucketSpan>, FormatError> {
    let cut = |OutOfBits| FormatError::chunk("it ends inside its spans");
    let count = capped(read_varbit_uint(bits).map_err(cut)?, bits)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let length = u32::try_from(read_varbit_uint(bits).map_err(cut)?);
        let offset = i32::try_from(read_varbit_int(bits).map_err(cut)?);
        let (Ok(length), Ok(offset)) = (length, offset) else {
            return Err(FormatError::chunk("a span of its layout is longer than 32 bits can say"));
        };
        spans.push(BucketSpan { offset, length });
    }
    Ok(spans)
}

/// One byte for 0 and for powers of two, `0x1p-243` to `0x1p+10`; nine for all else.
fn write_zero_threshold(bits: &mut Bits<'_>, threshold: f64) {
    let raw = threshold.to_bits();
    let exponent = raw >> 52;
    let byte = if raw << 1 == 0 {
        0
    } else if raw << 12 == 0 && (1023 - 243..=1023 + 10).contains(&exponent) {
        // The format counts from mantissas in [0.5, 1), one above those of IEEE 754.
        exponent + 1 + 243 - 1023
    } else {
        255
    };
    write_bits(bits.out, bits.free, byte, 8);
    if byte == 255 {
        bits.whole(raw);
    }
}

fn read_zero_threshold(bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
    Ok(match bits.read(8)? {
        0 => 0.0,
        255 => f64::from_bits(bits.read(64)?),
        byte => f64::from_bits((byte + 1023 - 1 - 243) << 52),
    })
}

/// A custom bound: multiples of 0.001 as integers.
fn write_bound(bits: &mut Bits<'_>, bound: f64) {
    let thousandfold = bound * 1000.0;
    let whole = thousandfold.round();
    if (0.0..=BOUND_MILLIS_MAX).contains(&thousandfold) && whole / 1000.0 == bound {
        bits.uint(whole as u64 + 1);
    } else {
        write_bits(bits.out, bits.free, 0, 1);
        bits.whole(bound.to_bits());
    }
}

fn read_bound(bits: &mut BitReader<'_>) -> Result<f64, OutOfBits> {
    Ok(match read_varbit_uint(bits)? {
        0 => f64::from_bits(bits.read(64)?),
        millis => (millis - 1) as f64 / 1000.0,
    })
}

//! What the points of a stream add up to, and how that is written into a point.

use crate::DecodeError;
use crate::otlp::{Buckets, ExponentialHistogramPoint, HistogramPoint, NumberValue};
use crate::protobuf::{
    LEN, begin_message, put_double_field, put_fixed64_field, put_tag, put_varint, put_varint_field,
    zigzag_encode,
};

/// An exponential histogram is made coarser rather than grow past so many buckets a side (the processor's `maxBuckets`).
const BUCKETS_MAX: i64 = 160;

/// A sum.
#[derive(Debug)]
pub(super) enum Sum {
    Int(i64),
    Double(f64),
    Histogram(Explicit),
    Exponential(Exponential),
}

/// A histogram with bounds that are listed.
#[derive(Debug)]
pub(super) struct Explicit {
    count: u64,
    sum: Option<f64>,
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

/// A histogram with exponential bounds.
#[derive(Debug)]
pub(super) struct Exponential {
    count: u64,
    sum: Option<f64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: Side,
    negative: Side,
}

/// Buckets of one sign, from index `offset` on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Side {
    offset: i64,
    counts: Vec<u64>,
}

/// What came of adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    /// The two do not add up: the later one counts.
    Replaced,
}

impl Sum {
    pub(super) fn of_number(value: NumberValue) -> Self {
        match value {
            NumberValue::Int(value) => Self::Int(value),
            NumberValue::Double(value) => Self::Double(value),
        }
    }

    pub(super) fn of_histogram(point: &HistogramPoint<'_>) -> Self {
        Self::Histogram(Explicit {
            count: point.count,
            sum: point.sum,
            bounds: point.explicit_bounds.iter().collect(),
            counts: point.bucket_counts.iter().collect(),
        })
    }

    pub(super) fn of_exponential(point: &ExponentialHistogramPoint<'_>) -> Result<Self, DecodeError> {
        Ok(Self::Exponential(Exponential {
            count: point.count,
            sum: point.sum,
            scale: point.scale,
            zero_count: point.zero_count,
            zero_threshold: point.zero_threshold,
            positive: Side::read(&point.positive)?,
            negative: Side::read(&point.negative)?,
        }))
    }

    /// Adds a later one.
    pub(super) fn add(&mut self, other: Self) -> Added {
        let is_added = match (&mut *self, &other) {
            (Self::Int(sum), Self::Int(value)) => {
                *sum = sum.wrapping_add(*value);
                true
            }
            (Self::Double(sum), Self::Double(value)) => {
                *sum += *value;
                true
            }
            (Self::Histogram(sum), Self::Histogram(value)) => sum.add(value),
            (Self::Exponential(sum), Self::Exponential(value)) => sum.add(value),
            _ => false,
        };
        if is_added {
            return Added::Yes;
        }
        *self = other;
        Added::Replaced
    }

    /// Fields of a point that [`Sum::put`] writes, and those that mean nothing for a sum: the least and the greatest.
    pub(super) fn fields(&self) -> &'static [u32] {
        match self {
            Self::Int(_) | Self::Double(_) => &[4, 6],
            Self::Histogram(_) => &[4, 5, 6, 11, 12],
            Self::Exponential(_) => &[4, 5, 6, 7, 8, 9, 12, 13, 14],
        }
    }

    /// Appends the fields of a point that it stands for.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => put_fixed64_field(out, 6, value.cast_unsigned()),
            Self::Double(value) => put_double_field(out, 4, *value),
            Self::Histogram(sum) => sum.put(out),
            Self::Exponential(sum) => sum.put(out),
        }
    }

    /// One, and one for each bucket.
    pub(super) fn cells(&self) -> usize {
        1 + match self {
            Self::Int(_) | Self::Double(_) => 0,
            Self::Histogram(sum) => sum.bounds.len() + sum.counts.len(),
            Self::Exponential(sum) => sum.positive.counts.len() + sum.negative.counts.len(),
        }
    }
}

impl Explicit {
    fn add(&mut self, other: &Self) -> bool {
        if self.bounds != other.bounds || self.counts.len() != other.counts.len() {
            return false;
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.wrapping_add(*count);
        }
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.zip(other.sum).map(|(sum, value)| sum + value);
        true
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_fixed64_field(out, 4, self.count);
        if let Some(sum) = self.sum {
            put_double_field(out, 5, sum);
        }
        put_tag(out, 6, LEN);
        put_varint(out, 8 * self.counts.len() as u64);
        self.counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }
}

impl Exponential {
    fn add(&mut self, other: &Self) -> bool {
        if self.zero_threshold != other.zero_threshold {
            return false;
        }
        let scale = self.scale.min(other.scale);
        let coarser = |side: &Side, from: i32| side.coarser(from.saturating_sub(scale).unsigned_abs());
        let sides = [
            (coarser(&self.positive, self.scale), coarser(&other.positive, other.scale)),
            (coarser(&self.negative, self.scale), coarser(&other.negative, other.scale)),
        ];
        let mut shift = 0;
        while sides.iter().any(|(a, b)| a.coarser(shift).span_with(&b.coarser(shift)) > BUCKETS_MAX) {
            shift += 1;
        }
        let [positive, negative] = sides.map(|(a, b)| a.coarser(shift).plus(&b.coarser(shift)));
        (self.positive, self.negative) = (positive, negative);
        self.scale = scale.saturating_sub_unsigned(shift);
        self.count = self.count.wrapping_add(other.count);
        self.zero_count = self.zero_count.wrapping_add(other.zero_count);
        self.sum = self.sum.zip(other.sum).map(|(sum, value)| sum + value);
        true
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_fixed64_field(out, 4, self.count);
        if let Some(sum) = self.sum {
            put_double_field(out, 5, sum);
        }
        put_varint_field(out, 6, zigzag_encode(i64::from(self.scale)));
        put_fixed64_field(out, 7, self.zero_count);
        self.positive.put(out, 8);
        self.negative.put(out, 9);
        put_double_field(out, 14, self.zero_threshold);
    }
}

impl Side {
    fn read(buckets: &Buckets<'_>) -> Result<Self, DecodeError> {
        let counts = buckets.counts().collect::<Result<_, _>>()?;
        Ok(Self { offset: i64::from(buckets.offset), counts })
    }

    /// The same with `2^shift` buckets made one.
    fn coarser(&self, shift: u32) -> Self {
        if shift == 0 {
            return self.clone();
        }
        let shift = shift.min(63);
        let mut coarse = Self { offset: self.offset >> shift, counts: Vec::new() };
        for (index, count) in (self.offset..).zip(&self.counts) {
            if (index >> shift) - coarse.offset == coarse.counts.len() as i64 {
                coarse.counts.push(0);
            }
            let last = coarse.counts.last_mut().expect("pushed for the first bucket");
            *last = last.wrapping_add(*count);
        }
        coarse
    }

    /// Buckets from the first to the last of both.
    fn span_with(&self, other: &Self) -> i64 {
        match (self.counts.is_empty(), other.counts.is_empty()) {
            (true, _) => other.counts.len() as i64,
            (_, true) => self.counts.len() as i64,
            _ => self.end().max(other.end()) - self.offset.min(other.offset),
        }
    }

    fn end(&self) -> i64 {
        self.offset + self.counts.len() as i64
    }

    /// Both added. Their span is bounded by the caller.
    fn plus(&self, other: &Self) -> Self {
        let offset = match (self.counts.is_empty(), other.counts.is_empty()) {
            (true, _) => other.offset,
            (_, true) => self.offset,
            _ => self.offset.min(other.offset),
        };
        let mut counts = vec![0u64; usize::try_from(self.span_with(other)).unwrap_or(0)];
        for side in [self, other] {
            for (index, count) in (side.offset - offset..).zip(&side.counts) {
                let sum = usize::try_from(index).ok().and_then(|index| counts.get_mut(index));
                if let Some(sum) = sum {
                    *sum = sum.wrapping_add(*count);
                }
            }
        }
        Self { offset, counts }
    }

    fn put(&self, out: &mut Vec<u8>, number: u32) {
        let open = begin_message(out, number);
        // It began as 32 bits, and nothing moves it outside.
        put_varint_field(out, 1, zigzag_encode(self.offset));
        let packed = begin_message(out, 2);
        self.counts.iter().for_each(|count| put_varint(out, *count));
        packed.end(out);
        open.end(out);
    }
}

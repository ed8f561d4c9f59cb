//! The running values of a chunk: what the next sample is written or read against.
//!
//! Integer counts go as deltas of deltas, each bucket as its difference to the bucket before; float counts and all
//! sums go as the XOR with the value before.

use model::{STALE_NAN_BITS, is_stale_nan};

use super::layout::Bits;
use crate::bits::{BitReader, OutOfBits};
use crate::varbit::{read_varbit_int, read_varbit_uint};
use crate::xor_window::{ReadWindow, WriteWindow};

/// Counts of one sample beside its buckets.
#[derive(Clone, Copy, Debug)]
pub struct Totals<C> {
    pub(super) count: C,
    pub(super) zero_count: C,
    pub(super) sum: f64,
}

/// What the encodings of integer and of float counts differ in. `Bucket` is an absolute count.
pub trait State: Sized {
    /// Count of all observations and of those in the zero bucket.
    type Count: Copy + PartialOrd;
    /// Count of one bucket.
    type Bucket: Copy + Default + PartialOrd;

    /// Writes a chunk's first sample.
    fn write_first(
        bits: &mut Bits<'_>,
        totals: Totals<Self::Count>,
        positive: impl Iterator<Item = Self::Bucket>,
        negative: impl Iterator<Item = Self::Bucket>,
    ) -> Self;

    /// Writes a further sample, with as many buckets as the first; a stale one has none.
    fn write_next(
        &mut self,
        bits: &mut Bits<'_>,
        totals: Totals<Self::Count>,
        positive: impl Iterator<Item = Self::Bucket>,
        negative: impl Iterator<Item = Self::Bucket>,
    );

    /// Reads a chunk's first sample.
    fn read_first(bits: &mut BitReader<'_>, positive: usize, negative: usize) -> Result<Self, OutOfBits>;

    /// Reads a further sample; says whether anything changed.
    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Result<bool, OutOfBits>;

    /// Counts of the last sample.
    fn totals(&self) -> Totals<Self::Count>;

    /// Counts of the positive buckets.
    fn positive(&self) -> impl Iterator<Item = Self::Bucket>;

    /// Counts of the negative buckets.
    fn negative(&self) -> impl Iterator<Item = Self::Bucket>;
}

/// A float and the window of its changes.
#[derive(Clone, Copy, Debug)]
struct XorValue {
    value: u64,
    writes: WriteWindow,
    reads: ReadWindow,
}

impl XorValue {
    fn new(value: u64) -> Self {
        Self { value, writes: WriteWindow::NONE, reads: ReadWindow::WHOLE }
    }

    fn get(self) -> f64 {
        f64::from_bits(self.value)
    }

    fn write(&mut self, bits: &mut Bits<'_>, value: f64) {
        self.writes.write(bits.out, bits.free, 0, 0, value.to_bits() ^ self.value);
        self.value = value.to_bits();
    }

    /// Says whether the value changed.
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<bool, OutOfBits> {
        let change = self.reads.read(bits)?;
        self.value ^= change;
        Ok(change != 0)
    }
}

/// A count and how it changed last.
#[derive(Clone, Copy, Debug, Default)]
struct Moving {
    value: i64,
    delta: i64,
}

impl Moving {
    fn write(&mut self, bits: &mut Bits<'_>, value: i64) {
        let delta = value.wrapping_sub(self.value);
        bits.int(delta.wrapping_sub(self.delta));
        *self = Self { value, delta };
    }

    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<bool, OutOfBits> {
        self.delta = self.delta.wrapping_add(read_varbit_int(bits)?);
        self.value = self.value.wrapping_add(self.delta);
        Ok(self.delta != 0)
    }
}

/// State of a chunk of integer histograms.
#[derive(Clone, Debug)]
pub struct IntegerState {
    count: Moving,
    zero_count: Moving,
    sum: XorValue,
    /// Each the difference to the bucket before; the positive ones first.
    buckets: Vec<Moving>,
    positive: usize,
}

/// Counts of buckets that are kept as differences.
fn absolute(buckets: &[Moving]) -> impl Iterator<Item = i64> {
    buckets.iter().scan(0_i64, |count, bucket| {
        *count = count.wrapping_add(bucket.value);
        Some(*count)
    })
}

/// Each count less the one before.
fn differences(counts: impl Iterator<Item = i64>) -> impl Iterator<Item = i64> {
    counts.scan(0_i64, |before, count| Some(count.wrapping_sub(std::mem::replace(before, count))))
}

impl State for IntegerState {
    type Count = u64;
    type Bucket = i64;

    fn write_first(
        bits: &mut Bits<'_>,
        totals: Totals<u64>,
        positive: impl Iterator<Item = i64>,
        negative: impl Iterator<Item = i64>,
    ) -> Self {
        bits.uint(totals.count);
        bits.uint(totals.zero_count);
        bits.whole(totals.sum.to_bits());
        let mut first = |value| {
            bits.int(value);
            Moving { value, delta: 0 }
        };
        let mut buckets: Vec<Moving> = differences(positive).map(&mut first).collect();
        let positive = buckets.len();
        buckets.extend(differences(negative).map(first));
        let moving = |value: u64| Moving { value: value.cast_signed(), delta: 0 };
        Self {
            count: moving(totals.count),
            zero_count: moving(totals.zero_count),
            sum: XorValue::new(totals.sum.to_bits()),
            buckets,
            positive,
        }
    }

    fn write_next(
        &mut self,
        bits: &mut Bits<'_>,
        totals: Totals<u64>,
        positive: impl Iterator<Item = i64>,
        negative: impl Iterator<Item = i64>,
    ) {
        if is_stale_nan(totals.sum) {
            // The counts of a stale sample mean nothing; two zero bits are the shortest.
            bits.int(0);
            bits.int(0);
            self.sum.write(bits, totals.sum);
            return;
        }
        self.count.write(bits, totals.count.cast_signed());
        self.zero_count.write(bits, totals.zero_count.cast_signed());
        self.sum.write(bits, totals.sum);
        let values = differences(positive).chain(differences(negative));
        self.buckets.iter_mut().zip(values).for_each(|(bucket, value)| bucket.write(bits, value));
    }

    fn read_first(bits: &mut BitReader<'_>, positive: usize, negative: usize) -> Result<Self, OutOfBits> {
        let count = read_varbit_uint(bits)?.cast_signed();
        let zero_count = read_varbit_uint(bits)?.cast_signed();
        let sum = bits.read(64)?;
        let read = |_| Ok(Moving { value: read_varbit_int(bits)?, delta: 0 });
        let buckets: Result<Vec<Moving>, OutOfBits> = (0..positive + negative).map(read).collect();
        Ok(Self {
            count: Moving { value: count, delta: 0 },
            zero_count: Moving { value: zero_count, delta: 0 },
            sum: XorValue::new(sum),
            buckets: buckets?,
            positive,
        })
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Result<bool, OutOfBits> {
        let mut changed = self.count.read(bits)?;
        changed |= self.zero_count.read(bits)?;
        changed |= self.sum.read(bits)?;
        if self.sum.value != STALE_NAN_BITS {
            for bucket in &mut self.buckets {
                changed |= bucket.read(bits)?;
            }
        }
        Ok(changed)
    }

    fn totals(&self) -> Totals<u64> {
        Totals {
            count: self.count.value.cast_unsigned(),
            zero_count: self.zero_count.value.cast_unsigned(),
            sum: self.sum.get(),
        }
    }

    fn positive(&self) -> impl Iterator<Item = i64> {
        absolute(&self.buckets[..self.positive])
    }

    fn negative(&self) -> impl Iterator<Item = i64> {
        absolute(&self.buckets[self.positive..])
    }
}

impl IntegerState {
    /// Differences of the positive and of the negative buckets, as the model has them.
    pub(super) fn deltas(&self) -> (Vec<i64>, Vec<i64>) {
        let (positive, negative) = self.buckets.split_at(self.positive);
        let values = |buckets: &[Moving]| buckets.iter().map(|bucket| bucket.value).collect();
        (values(positive), values(negative))
    }
}

/// State of a chunk of float histograms.
#[derive(Clone, Debug)]
pub struct FloatState {
    count: XorValue,
    zero_count: XorValue,
    sum: XorValue,
    /// The positive ones first.
    buckets: Vec<XorValue>,
    positive: usize,
}

impl State for FloatState {
    type Count = f64;
    type Bucket = f64;

    fn write_first(
        bits: &mut Bits<'_>,
        totals: Totals<f64>,
        positive: impl Iterator<Item = f64>,
        negative: impl Iterator<Item = f64>,
    ) -> Self {
        let mut first = |value: f64| {
            bits.whole(value.to_bits());
            XorValue::new(value.to_bits())
        };
        let (count, zero_count, sum) = (first(totals.count), first(totals.zero_count), first(totals.sum));
        let mut buckets: Vec<XorValue> = positive.map(&mut first).collect();
        let positive = buckets.len();
        buckets.extend(negative.map(first));
        Self { count, zero_count, sum, buckets, positive }
    }

    fn write_next(
        &mut self,
        bits: &mut Bits<'_>,
        totals: Totals<f64>,
        positive: impl Iterator<Item = f64>,
        negative: impl Iterator<Item = f64>,
    ) {
        self.count.write(bits, totals.count);
        self.zero_count.write(bits, totals.zero_count);
        self.sum.write(bits, totals.sum);
        if !is_stale_nan(totals.sum) {
            let values = positive.chain(negative);
            self.buckets.iter_mut().zip(values).for_each(|(bucket, value)| bucket.write(bits, value));
        }
    }

    fn read_first(bits: &mut BitReader<'_>, positive: usize, negative: usize) -> Result<Self, OutOfBits> {
        let mut read = || Ok(XorValue::new(bits.read(64)?));
        let (count, zero_count, sum) = (read()?, read()?, read()?);
        let buckets: Result<Vec<XorValue>, OutOfBits> = (0..positive + negative).map(|_| read()).collect();
        Ok(Self { count, zero_count, sum, buckets: buckets?, positive })
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>) -> Result<bool, OutOfBits> {
        let mut changed = self.count.read(bits)?;
        changed |= self.zero_count.read(bits)?;
        changed |= self.sum.read(bits)?;
        if self.sum.value != STALE_NAN_BITS {
            for bucket in &mut self.buckets {
                changed |= bucket.read(bits)?;
            }
        }
        Ok(changed)
    }

    fn totals(&self) -> Totals<f64> {
        Totals { count: self.count.get(), zero_count: self.zero_count.get(), sum: self.sum.get() }
    }

    fn positive(&self) -> impl Iterator<Item = f64> {
        self.buckets[..self.positive].iter().map(|bucket| bucket.get())
    }

    fn negative(&self) -> impl Iterator<Item = f64> {
        self.buckets[self.positive..].iter().map(|bucket| bucket.get())
    }
}

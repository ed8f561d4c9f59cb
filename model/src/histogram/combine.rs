//! Adding and subtracting histograms of different resolutions, zero buckets and custom bounds.

use std::sync::Arc;

use super::bounds::{coarser_index, exponential_bound};
use super::{Buckets, CounterResetHint, FloatHistogram};

/// Histograms with exponential and with custom buckets cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleBuckets;

/// What happened while two histograms were combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One said that there was a counter reset, the other that there was none.
    pub counter_reset_collision: bool,
    /// Their custom bounds differed and were reduced to those of both.
    pub bounds_reconciled: bool,
}

/// A bucket on its way: index, count and what rounding took from it.
#[derive(Clone, Copy, Debug)]
struct Cell {
    index: i32,
    count: f64,
    compensation: f64,
}

/// What rounding took from each number of a histogram.
#[derive(Clone, Debug, Default)]
struct Compensation {
    zero_count: f64,
    count: f64,
    sum: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

/// A running sum of histograms with compensated addition.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    histogram: FloatHistogram,
    /// Absent until something was added.
    compensation: Option<Compensation>,
}

/// One step of Neumaier's summation.
fn compensated(value: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        (total, 0.0)
    } else if sum.abs() >= value.abs() {
        (total, compensation + ((sum - total) + value))
    } else {
        (total, compensation + ((value - total) + sum))
    }
}

impl FloatHistogram {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) -> Result<Combined, IncompatibleBuckets> {
        combine(self, None, other, 1.0)
    }

    /// Subtracts `other`; counts may become negative.
    pub fn subtract(&mut self, other: &Self) -> Result<Combined, IncompatibleBuckets> {
        combine(self, None, other, -1.0)
    }

    /// The same histogram at a coarser resolution; unchanged if `schema` is not coarser.
    pub fn reduced_to(&self, schema: i32) -> Self {
        let mut reduced = self.clone();
        if schema < self.schema && !self.uses_custom_buckets() {
            for buckets in [&mut reduced.positive, &mut reduced.negative] {
                *buckets = into_buckets(coarser(cells(buckets, &[]), self.schema, schema, false)).0;
            }
            reduced.schema = schema;
            reduced.counter_reset_hint = CounterResetHint::Unknown;
        }
        reduced
    }

    fn combine_hints(&mut self, other: &Self) -> bool {
        use CounterResetHint as H;
        match (self.counter_reset_hint, other.counter_reset_hint) {
            (a, b) if a == b => {}
            (H::Gauge, _) => {}
            (_, H::Gauge) => self.counter_reset_hint = H::Gauge,
            (H::Unknown, _) => {}
            (_, H::Unknown) => self.counter_reset_hint = H::Unknown,
            _ => {
                self.counter_reset_hint = H::Unknown;
                return true;
            }
        }
        false
    }

    /// Count of a wider zero bucket, and its threshold, which grows until no bucket with observations is cut.
    pub(super) fn wider_zero_bucket(&self, threshold: f64) -> (f64, f64) {
        let (count, threshold, _) = wider_zero(self, None, threshold);
        (count, threshold)
    }
}

fn wider_zero(
    histogram: &FloatHistogram,
    compensation: Option<&Compensation>,
    mut threshold: f64,
) -> (f64, f64, f64) {
    let start = compensation.map_or(0.0, |c| c.zero_count);
    if threshold <= histogram.zero_threshold {
        return (histogram.zero_count, threshold, start);
    }
    'widen: loop {
        let (mut count, mut lost) = (histogram.zero_count, start);
        let mut take = |value: f64, extra: Option<f64>| {
            (count, lost) = compensated(value, count, lost);
            if let Some(extra) = extra {
                (count, lost) = compensated(extra, count, lost);
            }
        };
        for (at, bucket) in histogram.positive_buckets().enumerate() {
            if bucket.lower >= threshold {
                break;
            }
            take(bucket.count, compensation.map(|c| c.positive[at]));
            if bucket.upper > threshold {
                if bucket.count != 0.0 {
                    threshold = bucket.upper;
                }
                break;
            }
        }
        for (at, bucket) in histogram.negative_buckets().enumerate() {
            if bucket.upper <= -threshold {
                break;
            }
            take(bucket.count, compensation.map(|c| c.negative[at]));
            if bucket.lower < -threshold {
                if bucket.count != 0.0 {
                    threshold = -bucket.lower;
                    continue 'widen;
                }
                break;
            }
        }
        return (count, threshold, lost);
    }
}

/// Gives both the same zero bucket; answers the zero count that `other` then has.
fn reconcile_zero(
    histogram: &mut FloatHistogram,
    mut compensation: Option<&mut Compensation>,
    other: &FloatHistogram,
) -> f64 {
    let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
    while threshold != histogram.zero_threshold {
        if histogram.zero_threshold > threshold {
            (count, threshold) = other.wider_zero_bucket(histogram.zero_threshold);
        }
        if threshold > histogram.zero_threshold {
            let (zero_count, wider, lost) = wider_zero(histogram, compensation.as_deref(), threshold);
            histogram.zero_count = zero_count;
            histogram.zero_threshold = wider;
            if let Some(compensation) = compensation.as_deref_mut() {
                compensation.zero_count = lost;
            }
            drop_below_zero_threshold(histogram, compensation.as_deref_mut());
        }
        if threshold.is_nan() || histogram.zero_threshold.is_nan() {
            break;
        }
    }
    count
}

/// Removes buckets that now lie inside the zero bucket.
fn drop_below_zero_threshold(histogram: &mut FloatHistogram, compensation: Option<&mut Compensation>) {
    let (schema, threshold) = (histogram.schema, histogram.zero_threshold);
    let outside = |cell: &Cell| {
        exponential_bound(cell.index - 1, schema) >= threshold
            && (cell.count != 0.0 || cell.compensation != 0.0)
    };
    let mut no_compensation = Compensation::default();
    let compensation = compensation.unwrap_or(&mut no_compensation);
    for (buckets, lost) in [
        (&mut histogram.positive, &mut compensation.positive),
        (&mut histogram.negative, &mut compensation.negative),
    ] {
        (*buckets, *lost) = into_buckets(cells(buckets, lost).into_iter().filter(outside));
    }
}

fn cells(buckets: &Buckets, compensation: &[f64]) -> Vec<Cell> {
    let lost = |at: usize| compensation.get(at).copied().unwrap_or(0.0);
    let cell = |(at, (index, count))| Cell { index, count, compensation: lost(at) };
    buckets.iter().enumerate().map(cell).collect()
}

fn into_buckets(cells: impl IntoIterator<Item = Cell>) -> (Buckets, Vec<f64>) {
    let mut lost = Vec::new();
    let buckets = Buckets::from_pairs(cells.into_iter().map(|cell| {
        lost.push(cell.compensation);
        (cell.index, cell.count)
    }));
    (buckets, lost)
}

impl Cell {
    fn add(&mut self, value: f64, compensation: f64, is_compensated: bool) {
        if !is_compensated {
            self.count += value;
            return;
        }
        (self.count, self.compensation) = compensated(value, self.count, self.compensation);
        if compensation != 0.0 {
            (self.count, self.compensation) = compensated(compensation, self.count, self.compensation);
        }
    }
}

/// Merges cells that fall into one bucket of a coarser schema.
fn coarser(cells: Vec<Cell>, from: i32, to: i32, is_compensated: bool) -> Vec<Cell> {
    let mut merged: Vec<Cell> = Vec::with_capacity(cells.len());
    for cell in cells {
        let index = coarser_index(cell.index, from, to);
        match merged.last_mut() {
            Some(last) if last.index == index => last.add(cell.count, cell.compensation, is_compensated),
            _ => merged.push(Cell { index, ..cell }),
        }
    }
    merged
}

/// Adds the cells of `b`, all above `threshold`, to those of `a`.
fn merge(a: Vec<Cell>, b: Vec<Cell>, sign: f64, is_compensated: bool) -> Vec<Cell> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (None, None) => return merged,
            (Some(x), Some(y)) if x.index == y.index => {
                let (mut x, y) = (a.next().expect("peeked"), b.next().expect("peeked"));
                x.add(sign * y.count, sign * y.compensation, is_compensated);
                merged.push(x);
            }
            (Some(x), y) if y.is_none_or(|y| x.index < y.index) => merged.extend(a.next()),
            _ => merged.extend(b.next().map(|cell| Cell {
                count: sign * cell.count,
                compensation: sign * cell.compensation,
                ..cell
            })),
        }
    }
}

fn combine(
    target: &mut FloatHistogram,
    mut compensation: Option<&mut Compensation>,
    other: &FloatHistogram,
    sign: f64,
) -> Result<Combined, IncompatibleBuckets> {
    if target.uses_custom_buckets() != other.uses_custom_buckets() {
        return Err(IncompatibleBuckets);
    }
    let mut combined =
        Combined { counter_reset_collision: target.combine_hints(other), bounds_reconciled: false };
    let is_custom = target.uses_custom_buckets();
    let zero_count = if is_custom { 0.0 } else { reconcile_zero(target, compensation.as_deref_mut(), other) };
    match compensation.as_deref_mut() {
        None => {
            target.zero_count += sign * zero_count;
            target.count += sign * other.count;
            target.sum += sign * other.sum;
        }
        Some(c) => {
            (target.zero_count, c.zero_count) = compensated(zero_count, target.zero_count, c.zero_count);
            (target.count, c.count) = compensated(other.count, target.count, c.count);
            (target.sum, c.sum) = compensated(other.sum, target.sum, c.sum);
        }
    }
    let is_compensated = compensation.is_some();
    let mut no_compensation = Compensation::default();
    let lost = compensation.unwrap_or(&mut no_compensation);
    let positive = cells(&target.positive, &lost.positive);
    if is_custom {
        let others = cells(&other.positive, &[]);
        let merged = if target.custom_bounds() == other.custom_bounds() {
            merge(positive, others, sign, is_compensated)
        } else {
            combined.bounds_reconciled = true;
            let bounds: Arc<[f64]> = common_bounds(target.custom_bounds(), other.custom_bounds()).into();
            let mut merged = Vec::new();
            map_to_bounds(&mut merged, positive, target.custom_bounds(), &bounds, 1.0, is_compensated);
            map_to_bounds(&mut merged, others, other.custom_bounds(), &bounds, sign, is_compensated);
            target.custom_values = Some(bounds);
            merged.retain(|cell: &Cell| cell.count != 0.0 || cell.compensation != 0.0);
            merged
        };
        (target.positive, lost.positive) = into_buckets(merged);
        return Ok(combined);
    }
    let schema = target.schema.min(other.schema);
    let threshold = target.zero_threshold;
    let side = |mine: Vec<Cell>, theirs: &Buckets| {
        let mine =
            if target.schema > schema { coarser(mine, target.schema, schema, is_compensated) } else { mine };
        let mut theirs = cells(theirs, &[]);
        if other.schema > schema {
            theirs = coarser(theirs, other.schema, schema, is_compensated);
        }
        let below =
            theirs.iter().take_while(|cell| exponential_bound(cell.index, schema) <= threshold).count();
        theirs.drain(..below);
        into_buckets(merge(mine, theirs, sign, is_compensated))
    };
    let (positive, positive_lost) = side(positive, &other.positive);
    let (negative, negative_lost) = side(cells(&target.negative, &lost.negative), &other.negative);
    (target.positive, lost.positive) = (positive, positive_lost);
    (target.negative, lost.negative) = (negative, negative_lost);
    target.schema = schema;
    Ok(combined)
}

fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut common = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            common.push(a[i]);
            i += 1;
            j += 1;
        } else if a[i] < b[j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

/// Adds cells to the buckets of `bounds` that have theirs.
fn map_to_bounds(
    target: &mut Vec<Cell>,
    cells: Vec<Cell>,
    from: &[f64],
    bounds: &[f64],
    sign: f64,
    is_compensated: bool,
) {
    if target.is_empty() {
        let count = i32::try_from(bounds.len()).expect("decoders cap the number of bounds");
        target.extend((0..=count).map(|index| Cell { index, count: 0.0, compensation: 0.0 }));
    }
    for cell in cells {
        let upper = usize::try_from(cell.index).ok().and_then(|index| from.get(index));
        let place = upper.map_or(bounds.len(), |upper| bounds.partition_point(|bound| bound < upper));
        target[place].add(sign * cell.count, sign * cell.compensation, is_compensated);
    }
}

impl HistogramSum {
    /// Starts with one histogram.
    pub fn new(first: FloatHistogram) -> Self {
        Self { histogram: first, compensation: None }
    }

    /// Adds one.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleBuckets> {
        let compensation = self.compensation.get_or_insert_with(|| Compensation {
            positive: vec![0.0; self.histogram.positive.counts.len()],
            negative: vec![0.0; self.histogram.negative.counts.len()],
            ..Compensation::default()
        });
        combine(&mut self.histogram, Some(compensation), other, 1.0)
    }

    /// Whether the sum so far is out of the range of floats.
    pub fn has_overflow(&self) -> bool {
        self.histogram.has_overflow()
    }

    /// Scales sum and compensation.
    pub fn multiply(&mut self, factor: f64) {
        self.scale(|value| value * factor);
    }

    /// Divides sum and compensation.
    pub fn divide(&mut self, divisor: f64) {
        self.scale(|value| value / divisor);
    }

    fn scale(&mut self, f: impl Fn(f64) -> f64 + Copy) {
        self.histogram.scale(f);
        if let Some(c) = &mut self.compensation {
            let lost = c.positive.iter_mut().chain(&mut c.negative);
            for value in lost.chain([&mut c.zero_count, &mut c.count, &mut c.sum]) {
                *value = f(*value);
            }
        }
    }

    /// The sum.
    pub fn finish(self) -> FloatHistogram {
        let mut sum = self.histogram;
        if let Some(c) = self.compensation {
            sum.zero_count += c.zero_count;
            sum.count += c.count;
            sum.sum += c.sum;
            sum.positive.counts.iter_mut().zip(c.positive).for_each(|(count, lost)| *count += lost);
            sum.negative.counts.iter_mut().zip(c.negative).for_each(|(count, lost)| *count += lost);
        }
        sum
    }
}

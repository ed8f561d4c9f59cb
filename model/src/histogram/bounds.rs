//! Bounds of buckets, and walks over buckets with their bounds.

mod table;

use super::{Bucket, FloatHistogram};

/// The upper bound of the positive exponential bucket `index`.
pub(super) fn exponential_bound(index: i32, schema: i32) -> f64 {
    if schema <= 0 {
        let exponent = f64::from(index) * f64::from(1_i32 << (-schema).min(30));
        // The last bucket before the infinite one ends at the largest float.
        return if exponent == 1024.0 { f64::MAX } else { exponent.exp2() };
    }
    let schema = schema.min(30);
    let part = index & ((1 << schema) - 1);
    let whole = index >> schema;
    if part == 0 && whole == 1024 {
        return f64::MAX;
    }
    let fraction = match table::FINEST - schema {
        // Reserved schemas, which are reduced before they are shown.
        ..0 => (f64::from(part) / f64::from(1 << schema)).exp2(),
        coarser => 2.0 * table::BOUNDS[usize::try_from(part << coarser).expect("below 256")],
    };
    f64::from(whole).exp2() * fraction
}

/// The index in a coarser schema of the bucket that has bucket `index` of a finer one.
pub(super) fn coarser_index(index: i32, from: i32, to: i32) -> i32 {
    (index.wrapping_sub(1) >> (from - to).clamp(0, 31)).wrapping_add(1)
}

impl FloatHistogram {
    /// The bucket around zero; not for custom buckets.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        if self.uses_custom_buckets() {
            let bounds = self.custom_bounds();
            let at = |index: i32| usize::try_from(index).ok().and_then(|index| bounds.get(index)).copied();
            let lower = if index <= 0 { f64::NEG_INFINITY } else { at(index - 1).unwrap_or(f64::INFINITY) };
            let upper = at(index).unwrap_or(f64::INFINITY);
            return Bucket {
                lower,
                upper,
                lower_inclusive: lower == f64::NEG_INFINITY,
                upper_inclusive: true,
                count,
            };
        }
        Bucket {
            lower: exponential_bound(index - 1, self.schema),
            upper: exponential_bound(index, self.schema),
            lower_inclusive: false,
            upper_inclusive: true,
            count,
        }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        Bucket {
            lower: -exponential_bound(index, self.schema),
            upper: -exponential_bound(index - 1, self.schema),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
        }
    }

    /// Buckets above zero in ascending order, those without observations included.
    pub fn positive_buckets(&self) -> impl Iterator<Item = Bucket> {
        self.positive.iter().map(|(index, count)| self.positive_bucket(index, count))
    }

    /// Buckets below zero, the one nearest to zero first.
    pub fn negative_buckets(&self) -> impl Iterator<Item = Bucket> {
        self.negative.iter().map(|(index, count)| self.negative_bucket(index, count))
    }

    /// All buckets in ascending order, cut at the zero bucket.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = self.negative_buckets().collect();
        buckets.reverse();
        let threshold = self.zero_threshold;
        for bucket in &mut buckets {
            if bucket.upper < 0.0 && bucket.upper > -threshold {
                bucket.upper = -threshold;
            }
        }
        if self.zero_count > 0.0 {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive_buckets().map(|mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < threshold {
                bucket.lower = threshold;
            }
            bucket
        }));
        buckets
    }
}

impl Bucket {
    /// Which share of the bucket lies below `value`, which is inside: by linear or exponential interpolation.
    pub fn fraction_below(&self, value: f64, is_linear: bool) -> f64 {
        if is_linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let lower = self.lower.abs().log2();
        let upper = self.upper.abs().log2();
        let at = value.abs().log2();
        if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}

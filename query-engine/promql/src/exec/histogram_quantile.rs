//! Quantiles and fractions of one native histogram (promql/quantile.go).

use model::{Bucket, FloatHistogram};

/// What is to be said about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NanNote {
    /// NaN observations made the result NaN.
    Result,
    /// NaN observations shift the result.
    Skew,
}

/// The `q`-quantile by interpolation inside the bucket in which it lies.
pub(super) fn quantile(q: f64, histogram: &FloatHistogram) -> (f64, Option<NanNote>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let has_nan = histogram.sum.is_nan();
    // From the nearer end, except with NaN observations, which count as if above all buckets.
    let from_below = has_nan || q < 0.5;
    let mut buckets = histogram.all_buckets();
    if !from_below {
        buckets.reverse();
    }
    let mut rank = if from_below { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut bucket =
        Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let mut count = 0.0;
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        // A bucket without observations is still the last one seen.
        bucket = *next;
        if next.count == 0.0 {
            continue;
        }
        count += next.count;
        if count >= rank {
            break;
        }
    }
    if histogram.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow_zero_bucket(histogram, &mut bucket);
    }
    count = count.min(histogram.count);
    if count < rank {
        return if has_nan { (f64::NAN, Some(NanNote::Result)) } else { (bucket.upper, None) };
    }
    if from_below {
        rank -= count - bucket.count;
    } else {
        rank = count - rank;
    }
    let mut note = None;
    if has_nan {
        let all = count + rest.map(|bucket| bucket.count).sum::<f64>();
        note = (all < histogram.count).then_some(NanNote::Skew);
    }
    (interpolate(histogram, &bucket, rank / bucket.count), note)
}

/// With buckets on one side of zero only, the zero bucket has that side only.
fn narrow_zero_bucket(histogram: &FloatHistogram, bucket: &mut Bucket) {
    let has_negative = !histogram.negative.counts.is_empty();
    let has_positive = !histogram.positive.counts.is_empty();
    if has_positive && !has_negative {
        bucket.lower = 0.0;
    } else if has_negative && !has_positive {
        bucket.upper = 0.0;
    }
}

fn interpolate(histogram: &FloatHistogram, bucket: &Bucket, fraction: f64) -> f64 {
    if histogram.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let lower = bucket.lower.abs().log2();
    let upper = bucket.upper.abs().log2();
    if bucket.lower > 0.0 {
        return (lower + (upper - lower) * fraction).exp2();
    }
    -(upper + (lower - upper) * (1.0 - fraction)).exp2()
}

/// The share of observations between two values; true if NaN observations are left out.
pub(super) fn fraction(lower: f64, upper: f64, histogram: &FloatHistogram) -> (f64, bool) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    if lower >= upper {
        return (0.0, false);
    }
    let mut count = 0.0;
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    let buckets = histogram.all_buckets();
    let mut rest = buckets.iter();
    for bucket in rest.by_ref() {
        let mut bucket = *bucket;
        count += bucket.count;
        let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero {
            narrow_zero_bucket(histogram, &mut bucket);
        }
        let is_linear = histogram.uses_custom_buckets() || is_zero;
        for (place, value) in [(&mut lower_rank, lower), (&mut upper_rank, upper)] {
            if place.is_none() && bucket.lower >= value {
                *place = Some(rank);
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        for (place, value) in [(&mut lower_rank, lower), (&mut upper_rank, upper)] {
            if place.is_none() && bucket.lower < value && bucket.upper > value {
                *place = Some(if is_linear && bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + bucket.count * bucket.fraction_below(value, is_linear)
                });
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut leaves_out_nan = false;
    if histogram.sum.is_nan() {
        count += rest.map(|bucket| bucket.count).sum::<f64>();
        leaves_out_nan = count < histogram.count;
    } else {
        count = histogram.count;
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
    ((capped(upper_rank) - capped(lower_rank)) / histogram.count, leaves_out_nan)
}

/// The variance of the observations, each taken to be in the middle of its bucket.
pub(super) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut variance = super::kahan::Kahan::default();
    for bucket in histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0) {
        let value = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = value - mean;
        variance.add(bucket.count * delta * delta);
    }
    variance.value() / histogram.count
}

//! Quantiles and fractions of one classic histogram: cumulative buckets in ascending order (promql/quantile.go).

use crate::annotations::Monotonicity;

/// Buckets whose counts differ by less than this share are taken as equal.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// A cumulative bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// The quantile of a classic histogram (promql/quantile.go, BucketQuantile); `buckets` are in ascending order.
pub(super) fn bucket_quantile(
    q: f64,
    buckets: &mut Vec<Bucket>,
    timestamp_ms: i64,
) -> (f64, Option<Monotonicity>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|bucket| bucket.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets, timestamp_ms);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if buckets.len() < 2 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * observations;
    let at = first_from(&buckets[..last], rank);
    let value = if at == last {
        buckets[last - 1].upper
    } else if at == 0 && buckets[0].upper <= 0.0 {
        buckets[0].upper
    } else {
        let mut start = 0.0;
        let mut count = buckets[at].count;
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (buckets[at].upper - start) * (rank / count)
    };
    (value, forced)
}

/// Position of the first bucket whose count reaches `rank`, found by the same bisection as Prometheus, since NaN counts
/// have no order.
fn first_from(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if buckets[middle].count >= rank { high = middle } else { low = middle + 1 }
    }
    low
}

/// Adds up buckets of the same bound.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Cumulative counts never fall: makes them so, and tells how far they were from it. Tiny differences come from adding
/// floats in another order and are not told.
fn make_monotonic(buckets: &mut [Bucket], timestamp_ms: i64) -> Option<Monotonicity> {
    let mut forced: Option<Monotonicity> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if almost_equal(previous, count) {
            bucket.count = previous;
            continue;
        }
        if count < previous {
            bucket.count = previous;
            let found = forced.get_or_insert(Monotonicity {
                timestamps_ms: (timestamp_ms, timestamp_ms),
                buckets: (bucket.upper, bucket.upper),
                max_diff: 0.0,
                samples: 1,
            });
            found.buckets = (found.buckets.0.min(bucket.upper), found.buckets.1.max(bucket.upper));
            found.max_diff = found.max_diff.max(previous - count);
            continue;
        }
        previous = count;
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA_TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA_TOLERANCE
}

/// The share of observations between two values.
pub(super) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|bucket| bucket.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rank = 0.0;
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets.iter() {
        for (place, value) in [(&mut lower_rank, lower), (&mut upper_rank, upper)] {
            if place.is_some() {
                continue;
            }
            if start >= value {
                *place = Some(rank);
            } else if bucket.upper > value {
                *place = Some(if start == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
                });
            }
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
    (capped(upper_rank) - capped(lower_rank)) / count
}

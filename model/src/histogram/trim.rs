//! Cutting observations above or below a value away, as far as buckets tell (the operators `</` and `>/`).

use super::{Bucket, FloatHistogram};

impl FloatHistogram {
    /// Keeps only observations below (`keeps_lower`) or above `at`; count and sum are estimated from what is left.
    pub fn trim(&mut self, at: f64, keeps_lower: bool) {
        let is_custom = self.uses_custom_buckets();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let mut sides = [false, false];
        let positive: Vec<Bucket> = self.positive_buckets().collect();
        let negative: Vec<Bucket> = self.negative_buckets().collect();
        for (side, buckets, counts) in
            [(0, positive, &mut self.positive.counts), (1, negative, &mut self.negative.counts)]
        {
            for (bucket, kept) in buckets.into_iter().zip(counts).filter(|(b, _)| b.count != 0.0) {
                sides[side] = true;
                let (keep, middle) = trim_bucket(bucket, at, keeps_lower, side == 0, is_custom);
                count += keep;
                sum += middle * keep;
                changed |= *kept != keep;
                *kept = keep;
            }
        }
        if self.zero_count > 0.0 {
            let (keep, middle) = trim_zero_bucket(self.zero_bucket(), at, sides[1], sides[0], keeps_lower);
            changed |= self.zero_count != keep;
            self.zero_count = keep;
            sum += middle * keep;
            count += keep;
        }
        if changed {
            self.count = count;
            self.sum = sum;
            self.compact();
        }
    }
}

fn trim_bucket(b: Bucket, at: f64, keeps_lower: bool, is_positive: bool, is_custom: bool) -> (f64, f64) {
    let (keeps_all, is_cut) =
        if keeps_lower { (b.upper <= at, b.lower < at) } else { (b.lower >= at, b.upper > at) };
    if keeps_all {
        return (b.count, middle(b.lower, b.upper, is_positive, is_custom));
    }
    if !is_cut {
        return (0.0, 0.0);
    }
    if b.lower == f64::NEG_INFINITY || b.upper == f64::INFINITY {
        return trim_infinite_bucket(b, at, keeps_lower);
    }
    let below = if at <= b.lower {
        0.0
    } else if at >= b.upper {
        b.count
    } else {
        b.count * b.fraction_below(at, is_custom)
    };
    if keeps_lower {
        (below, middle(b.lower, at, is_positive, is_custom))
    } else {
        (b.count - below, middle(at, b.upper, is_positive, is_custom))
    }
}

fn trim_infinite_bucket(b: Bucket, at: f64, keeps_lower: bool) -> (f64, f64) {
    let finite = |value: f64| if value.is_infinite() { 0.0 } else { value };
    if b.lower == f64::NEG_INFINITY {
        let has_upper = b.upper != f64::INFINITY;
        if keeps_lower {
            return if at >= b.upper {
                (b.count, 0.0)
            } else if at > 0.0 && b.upper > 0.0 && has_upper {
                // Values are taken to start at zero.
                (b.count * at / b.upper, at / 2.0)
            } else if b.upper <= 0.0 {
                (b.count, at)
            } else {
                (0.0, finite(b.upper))
            };
        }
        return if at <= b.lower {
            (b.count, 0.0)
        } else if at >= 0.0 && b.upper > at && has_upper {
            (b.count * (1.0 - at / b.upper), (at + b.upper) / 2.0)
        } else {
            (0.0, finite(b.upper))
        };
    }
    if !keeps_lower && at >= b.lower { (b.count, at) } else { (0.0, finite(b.lower)) }
}

fn trim_zero_bucket(
    zero: Bucket,
    at: f64,
    has_negative: bool,
    has_positive: bool,
    keeps_lower: bool,
) -> (f64, f64) {
    let upper = if has_negative && !has_positive { 0.0 } else { zero.upper };
    let lower = if has_positive && !has_negative { 0.0 } else { zero.lower };
    let all = (zero.count, (lower + upper) / 2.0);
    if keeps_lower {
        if at <= lower {
            (0.0, 0.0)
        } else if at >= upper {
            all
        } else {
            (zero.count * (at - lower) / (upper - lower), (lower + at) / 2.0)
        }
    } else if at <= lower {
        all
    } else if at >= upper {
        (0.0, 0.0)
    } else {
        (zero.count * (upper - at) / (upper - lower), (at + upper) / 2.0)
    }
}

/// A value that stands for all between the bounds.
fn middle(lower: f64, upper: f64, is_positive: bool, is_linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) => {
            if upper > 0.0 {
                upper / 2.0
            } else {
                upper
            }
        }
        (false, true) => lower,
        (false, false) if is_linear => (lower + upper) / 2.0,
        (false, false) => {
            let geometric = (lower * upper).abs().sqrt();
            if is_positive { geometric } else { -geometric }
        }
    }
}

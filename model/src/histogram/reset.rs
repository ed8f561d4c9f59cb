//! Whether a counter was reset between two histograms.

use super::bounds::coarser_index;
use super::bounds::exponential_bound;
use super::{Buckets, CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// Whether there was a reset between `previous` and this: some count fell, a bucket went away, or the resolution
    /// grew.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_bounds() != previous.custom_bounds() {
                return self.fell_at_common_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if previous.uses_custom_buckets() != self.uses_custom_buckets() {
            return true;
        }
        let (previous_zero, threshold) = previous.wider_zero_bucket(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < previous_zero {
            return true;
        }
        self.fell(&self.positive, &previous.positive, previous.schema)
            || self.fell(&self.negative, &previous.negative, previous.schema)
    }

    /// Whether a bucket outside the zero bucket has fewer observations than before.
    fn fell(&self, now: &Buckets, before: &Buckets, before_schema: i32) -> bool {
        let is_custom = self.uses_custom_buckets();
        let outside = |index: i32| {
            is_custom
                || self.zero_threshold == 0.0
                || exponential_bound(index, self.schema) > self.zero_threshold
        };
        let mut coarse: Vec<(i32, f64)> = Vec::new();
        for (index, count) in before.iter() {
            let index = if is_custom { index } else { coarser_index(index, before_schema, self.schema) };
            match coarse.last_mut() {
                Some((last, sum)) if *last == index => *sum += count,
                _ => coarse.push((index, count)),
            }
        }
        let mut now = now.iter().peekable();
        let mut fell = false;
        for (index, count) in coarse.into_iter().filter(|(index, _)| outside(*index)) {
            while now.next_if(|(at, _)| *at < index).is_some() {}
            match now.peek() {
                Some((at, current)) if *at == index => {
                    fell |= *current < count;
                }
                _ => fell |= count != 0.0,
            }
        }
        fell
    }

    /// The same for different custom bounds: cumulated up to each bound that both have.
    fn fell_at_common_bounds(&self, previous: &Self) -> bool {
        let common = self.custom_bounds().iter().filter(|bound| previous.custom_bounds().contains(bound));
        let mut lower = f64::NEG_INFINITY;
        for upper in common.copied().chain([f64::INFINITY]) {
            let between = |histogram: &Self| -> f64 {
                let inside = histogram.positive_buckets().filter(|b| b.upper > lower && b.upper <= upper);
                inside.map(|bucket| bucket.count).sum()
            };
            if between(self) < between(previous) {
                return true;
            }
            lower = upper;
        }
        false
    }
}

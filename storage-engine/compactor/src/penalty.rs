//! One series out of replicas of it, as Thanos chooses between them (`dedupSeriesIterator` in pkg/dedup/iter.go): it
//! stays with a replica while that one has samples, and whenever the other is left out, that one is set back by twice the
//! last step, so that two scrapers of the same target do not double the rate of samples.
//!
//! A sample is taken as it is: counters are not adjusted when the replica changes, because the compactor does not know
//! which series are counters.

/// How far the replica that was not chosen first is set back, ms.
const FIRST_PENALTY_MS: i64 = 5000;

/// Samples that can be deduplicated by their times.
pub(crate) trait Timed {
    /// Time, ms.
    fn time_ms(&self) -> i64;
}

/// The samples of chunks that overlap, folded in one after the other.
pub(crate) struct Deduplicated<T> {
    samples: Vec<T>,
    /// The longest step between two of them, ms.
    step_max_ms: i64,
}

impl<T: Timed> Deduplicated<T> {
    /// Begins with the samples of the first chunk, which ascend.
    pub(crate) fn new(samples: Vec<T>) -> Self {
        let steps = samples.windows(2).map(|pair| pair[1].time_ms().wrapping_sub(pair[0].time_ms()));
        Self { step_max_ms: steps.max().unwrap_or_default(), samples }
    }

    /// Folds the samples of the next chunk in.
    ///
    /// While all of the next chunk lies ahead by more than a penalty, the choice stays with what is there: that part is
    /// left as it is, so that a long row of chunks that overlap only their neighbours costs no more than its length.
    pub(crate) fn fold(&mut self, next: Vec<T>) {
        let Some(first_ms) = next.first().map(Timed::time_ms) else { return };
        let is_ahead = |sample: &T, penalty_ms: i64| {
            sample.time_ms().saturating_add(penalty_ms).saturating_add(1) <= first_ms
        };
        let reach_ms = self.step_max_ms.saturating_mul(2);
        let safe = match self.samples.first() {
            Some(sample) if is_ahead(sample, FIRST_PENALTY_MS) => {
                self.samples.partition_point(|sample| is_ahead(sample, reach_ms))
            }
            _ => 0,
        };
        // Two samples stay to know the last step.
        let kept = safe.saturating_sub(1);
        let mut last_ms = (kept > 0).then(|| self.samples[kept - 1].time_ms());
        let tail = self.samples.split_off(kept);
        let mut step_max_ms = self.step_max_ms;
        let samples = &mut self.samples;
        merge(last_ms, tail, next, |sample: T| {
            let time_ms = sample.time_ms();
            if let Some(last_ms) = last_ms {
                step_max_ms = step_max_ms.max(time_ms.saturating_sub(last_ms));
            }
            last_ms = Some(time_ms);
            samples.push(sample);
        });
        self.step_max_ms = step_max_ms;
    }

    /// The samples.
    pub(crate) fn finish(self) -> Vec<T> {
        self.samples
    }
}

/// A replica: what is left of it, and how far it is set back.
struct Replica<T: Timed> {
    rest: std::iter::Peekable<std::vec::IntoIter<T>>,
    penalty_ms: i64,
}

impl<T: Timed> Replica<T> {
    fn new(samples: Vec<T>) -> Self {
        Self { rest: samples.into_iter().peekable(), penalty_ms: 0 }
    }

    /// Leaves out what is before the next time that may be chosen; the time it is at then.
    fn seek(&mut self, last_ms: Option<i64>) -> Option<i64> {
        let from = last_ms.unwrap_or(i64::MIN).saturating_add(1).saturating_add(self.penalty_ms);
        while self.rest.next_if(|sample| sample.time_ms() < from).is_some() {}
        self.rest.peek().map(Timed::time_ms)
    }
}

/// Gives `take` the chosen samples of two replicas, after one at `last_ms` that was chosen from the first.
fn merge<T: Timed>(mut last_ms: Option<i64>, a: Vec<T>, b: Vec<T>, mut take: impl FnMut(T)) {
    let (mut a, mut b) = (Replica::new(a), Replica::new(b));
    if last_ms.is_some() {
        // The caller left so much room that the first step here sets the penalty before it counts.
        b.penalty_ms = 0;
    }
    loop {
        let (at_a, at_b) = (a.seek(last_ms), b.seek(last_ms));
        let (chosen, other, time_ms) = match (at_a, at_b) {
            (None, None) => return,
            (Some(time), None) => (&mut a, None, time),
            (None, Some(time)) => (&mut b, None, time),
            (Some(at_a), Some(at_b)) if at_a <= at_b => (&mut a, Some(&mut b), at_a),
            (Some(_), Some(at_b)) => (&mut b, Some(&mut a), at_b),
        };
        if let Some(other) = other {
            other.penalty_ms =
                last_ms.map_or(FIRST_PENALTY_MS, |last| time_ms.saturating_sub(last).saturating_mul(2));
        }
        chosen.penalty_ms = 0;
        last_ms = Some(time_ms);
        take(chosen.rest.next().expect("it is at this time"));
    }
}

#[cfg(test)]
mod tests;

//! Replicas of one series as one: Thanos' penalty algorithm and its chain (pkg/dedup/iter.go).
//!
//! Penalty: after a sample of one replica the other is left alone for twice the time that passed since the sample
//! before, so that the result has about the frequency of one replica; a gap of one is filled by the other. Bit-exact
//! with Thanos, its weak spots included. Counters are lifted when the replica changes, so that no reset appears.
//! Chain: every timestamp of any replica, of two samples of one time that of the first.
//! Union: the same, but of two samples of one time whichever says more, so that an answer does not depend on the order in
//! which stores answered: a value before a stale marker, a histogram before a float, and the greater of two.

use std::cmp::Ordering;
use std::sync::Arc;

use model::{FloatHistogram, SampleColumns, is_stale_nan};

/// How replicas become one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DedupFunction {
    /// Scraped by several Prometheus.
    #[default]
    Penalty,
    /// Written to several receivers: the same samples.
    Chain,
    /// Pushed to several stores that may have missed or marked something each.
    Union,
}

/// Penalty before the distance of two samples is known, ms.
const PENALTY_FIRST_MS: i64 = 5000;

/// Replicas folded from left to right. With `is_counter` the values of a replica are lifted where it takes over.
pub(crate) fn dedup(
    replicas: Vec<SampleColumns>,
    function: DedupFunction,
    is_counter: bool,
) -> SampleColumns {
    let mut replicas = replicas.into_iter();
    let Some(first) = replicas.next() else { return SampleColumns::default() };
    if replicas.len() == 0 {
        return first;
    }
    match function {
        DedupFunction::Chain => replicas.fold(first, |left, right| merge(&left, &right, |_, _| false)),
        DedupFunction::Union => replicas.fold(first, |left, right| merge(&left, &right, says_more)),
        DedupFunction::Penalty => {
            let leaf = |columns| Walk::Leaf(Leaf::new(columns));
            let pair = |left, right| Walk::Pair(Box::new(Pair::new(left, leaf(right), is_counter)));
            let mut walk = replicas.fold(leaf(first), pair);
            let mut out = SampleColumns::default();
            while walk.next() {
                walk.push_to(&mut out);
            }
            out
        }
    }
}

/// Samples while they are walked: of one replica, or of two as one.
enum Walk {
    Leaf(Leaf),
    Pair(Box<Pair>),
}

impl Walk {
    /// Moves to the next sample; false at the end.
    fn next(&mut self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.next(),
            Self::Pair(pair) => pair.next(),
        }
    }

    /// Moves to the first sample at or after `time`; stays where it is when it is there. After a first `next`.
    fn seek(&mut self, time: i64) -> bool {
        while self.time() < time {
            if !self.next() {
                return false;
            }
        }
        true
    }

    /// Time of the sample at hand.
    fn time(&self) -> i64 {
        match self {
            Self::Leaf(leaf) => leaf.columns.timestamps_ms[leaf.at],
            Self::Pair(pair) => pair.chosen().time(),
        }
    }

    /// The value of the sample at hand as it is shown; `None` for a histogram.
    fn float(&self) -> Option<f64> {
        match self {
            Self::Leaf(leaf) => leaf.float(),
            Self::Pair(pair) => pair.chosen().float(),
        }
    }

    /// Lifts what follows to the last value that was shown, if it is below: each replica by itself.
    fn lift_to(&mut self, last: f64) {
        match self {
            Self::Leaf(leaf) => {
                if let Some(value) = leaf.float()
                    && last > value
                {
                    leaf.lift += last - value;
                }
            }
            Self::Pair(pair) => pair.lift_to(last),
        }
    }

    fn push_to(&self, out: &mut SampleColumns) {
        match self {
            Self::Leaf(leaf) => leaf.push_to(out),
            Self::Pair(pair) => pair.chosen().push_to(out),
        }
    }
}

/// One replica.
struct Leaf {
    columns: SampleColumns,
    /// The sample at hand, once there is one.
    at: usize,
    has_begun: bool,
    /// Next entry of `columns.histograms` at or behind `at`.
    histogram: usize,
    /// Added to floats.
    lift: f64,
}

impl Leaf {
    fn new(columns: SampleColumns) -> Self {
        Self { columns, at: 0, has_begun: false, histogram: 0, lift: 0.0 }
    }

    fn next(&mut self) -> bool {
        let next = if self.has_begun { self.at + 1 } else { 0 };
        if next >= self.columns.len() {
            return false;
        }
        (self.at, self.has_begun) = (next, true);
        while self.columns.histograms.get(self.histogram).is_some_and(|(at, _)| *at < next) {
            self.histogram += 1;
        }
        true
    }

    fn current_histogram(&self) -> Option<&Arc<FloatHistogram>> {
        self.columns.histograms.get(self.histogram).filter(|(at, _)| *at == self.at).map(|(_, found)| found)
    }

    fn float(&self) -> Option<f64> {
        self.current_histogram().is_none().then(|| self.lifted())
    }

    fn push_to(&self, out: &mut SampleColumns) {
        let time = self.columns.timestamps_ms[self.at];
        match self.current_histogram() {
            Some(histogram) => out.push_histogram(time, Arc::clone(histogram)),
            None => out.push(time, self.lifted()),
        }
    }

    /// The float at hand as it is shown. Without a lift its bits stay: the sum of a stale marker and 0 is none any more.
    fn lifted(&self) -> f64 {
        let value = self.columns.values[self.at];
        if self.lift == 0.0 { value } else { value + self.lift }
    }
}

/// Two replicas by the penalty algorithm.
struct Pair {
    a: Walk,
    b: Walk,
    /// Whether `a` and `b` have a sample at hand.
    has_a: bool,
    has_b: bool,
    /// Which one was chosen last.
    uses_a: bool,
    /// Time of the last sample that was chosen.
    last_ms: Option<i64>,
    penalty_a_ms: i64,
    penalty_b_ms: i64,
    is_counter: bool,
}

impl Pair {
    fn new(mut a: Walk, mut b: Walk, is_counter: bool) -> Self {
        let (has_a, has_b) = (a.next(), b.next());
        let (uses_a, last_ms) = (true, None);
        Self { a, b, has_a, has_b, uses_a, last_ms, penalty_a_ms: 0, penalty_b_ms: 0, is_counter }
    }

    fn chosen(&self) -> &Walk {
        if self.uses_a { &self.a } else { &self.b }
    }

    fn next(&mut self) -> bool {
        // Asked before either moves, as in Thanos: the first sample of the first replica counts as shown already.
        let used_a = self.uses_a;
        let has_shown = if used_a { self.has_a } else { self.has_b };
        let shown = if has_shown { self.chosen().float() } else { None };
        let found = self.advance();
        if self.is_counter
            && self.uses_a != used_a
            && let Some(shown) = shown
        {
            self.lift_to(shown);
        }
        found
    }

    /// Moves both past the last sample and its penalties, and chooses one.
    fn advance(&mut self) -> bool {
        if let Some(last) = self.last_ms {
            self.has_a = self.has_a && self.a.seek(last.saturating_add(1 + self.penalty_a_ms));
            self.has_b = self.has_b && self.b.seek(last.saturating_add(1 + self.penalty_b_ms));
        }
        if !self.has_a {
            self.uses_a = false;
            if self.has_b {
                self.last_ms = Some(self.b.time());
                self.penalty_b_ms = 0;
            }
            return self.has_b;
        }
        if !self.has_b {
            self.uses_a = true;
            self.last_ms = Some(self.a.time());
            self.penalty_a_ms = 0;
            return true;
        }
        let (time_a, time_b) = (self.a.time(), self.b.time());
        self.uses_a = time_a <= time_b;
        let time = time_a.min(time_b);
        let penalty = self.last_ms.map_or(PENALTY_FIRST_MS, |last| 2 * (time - last));
        (self.penalty_a_ms, self.penalty_b_ms) = if self.uses_a { (0, penalty) } else { (penalty, 0) };
        self.last_ms = Some(time);
        true
    }

    fn lift_to(&mut self, last: f64) {
        if self.has_a {
            self.a.lift_to(last);
        }
        if self.has_b {
            self.b.lift_to(last);
        }
    }
}

/// A sample on its way.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

/// Walks over the samples of one replica.
struct Samples<'a> {
    columns: &'a SampleColumns,
    at: usize,
    /// Next entry of `columns.histograms`.
    histogram: usize,
}

impl<'a> Samples<'a> {
    fn new(columns: &'a SampleColumns) -> Self {
        Self { columns, at: 0, histogram: 0 }
    }

    /// Time of the next sample.
    fn time(&self) -> Option<i64> {
        self.columns.timestamps_ms.get(self.at).copied()
    }

    /// The next sample; there has to be one.
    fn take(&mut self) -> Shown<'a> {
        let at = self.at;
        self.at += 1;
        match self.columns.histograms.get(self.histogram).filter(|(place, _)| *place == at) {
            Some((_, histogram)) => {
                self.histogram += 1;
                Shown::Histogram(histogram)
            }
            None => Shown::Float(self.columns.values[at]),
        }
    }
}

/// Every timestamp of either; of both the first one's sample unless the second one's is `better`.
fn merge(a: &SampleColumns, b: &SampleColumns, better: fn(Shown<'_>, Shown<'_>) -> bool) -> SampleColumns {
    let mut out = SampleColumns::default();
    let (mut a, mut b) = (Samples::new(a), Samples::new(b));
    loop {
        let (time, sample) = match (a.time(), b.time()) {
            (None, None) => return out,
            (Some(time), Some(other)) if time == other => {
                let (first, second) = (a.take(), b.take());
                (time, if better(second, first) { second } else { first })
            }
            (Some(time), Some(other)) if time < other => (time, a.take()),
            (Some(time), None) => (time, a.take()),
            (_, Some(time)) => (time, b.take()),
        };
        match sample {
            Shown::Float(value) => out.push(time, value),
            Shown::Histogram(histogram) => out.push_histogram(time, Arc::clone(histogram)),
        }
    }
}

/// Whether `one` says more than `other` about the same time. Bits break the tie of what compares as equal or not at all,
/// so that it is the same whichever comes first.
fn says_more(one: Shown<'_>, other: Shown<'_>) -> bool {
    let rank = |shown: Shown<'_>| match shown {
        Shown::Float(value) if is_stale_nan(value) => 0,
        Shown::Float(value) if value.is_nan() => 1,
        Shown::Float(_) => 2,
        Shown::Histogram(histogram) if is_stale_nan(histogram.sum) => 0,
        Shown::Histogram(_) => 3,
    };
    let by_value = || match (one, other) {
        (Shown::Float(one), Shown::Float(other)) => one.total_cmp(&other),
        (Shown::Histogram(one), Shown::Histogram(other)) => {
            one.count.total_cmp(&other.count).then(one.sum.total_cmp(&other.sum))
        }
        // Both are stale markers.
        (Shown::Histogram(_), Shown::Float(_)) => Ordering::Greater,
        (Shown::Float(_), Shown::Histogram(_)) => Ordering::Less,
    };
    rank(one).cmp(&rank(other)).then_with(by_value) == Ordering::Greater
}

#[cfg(test)]
mod tests;

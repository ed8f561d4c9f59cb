//! A range query as queries over shorter ranges (pkg/queryfrontend/split_by_interval.go). Pure.

use promql::ParseOptions;

/// Times at which a query is evaluated: every step from the first to the last, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) step: i64,
}

impl Steps {
    /// Those from `start` on that are not behind `end`; `None` when there is none.
    pub(crate) fn new(start: i64, end: i64, step: i64) -> Option<Self> {
        let span = end.checked_sub(start).filter(|span| *span >= 0 && step > 0)?;
        Some(Self { first: start, last: start + span / step * step, step })
    }

    /// The steps between two times, both included.
    pub(crate) fn between(self, from: i64, until: i64) -> Option<Self> {
        let missing = from.saturating_sub(self.first).max(0);
        // Rounded up to a step.
        let first = self
            .first
            .checked_add((missing.checked_add(self.step - 1)? / self.step).checked_mul(self.step)?)?;
        Self::new(first, self.last.min(until), self.step)
    }

    /// Cut where an interval begins, counted from the epoch; 0 does not cut.
    pub(crate) fn split(self, interval: i64) -> Vec<Self> {
        if interval <= 0 {
            return vec![self];
        }
        let mut parts = Vec::new();
        let mut first = self.first;
        while first <= self.last {
            let end = first.div_euclid(interval).saturating_add(1).saturating_mul(interval) - 1;
            // The first of a part is in its interval, so that there is always one.
            let Some(part) = Self::new(first, self.last.min(end), self.step) else { break };
            parts.push(part);
            first = part.last.saturating_add(self.step);
        }
        parts
    }
}

/// What may be done with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Each step has the same value whichever range it is asked in.
    pub(crate) split: bool,
    /// What was the value once is the value later on.
    pub(crate) cache: bool,
}

/// What may be done with a query, judged by its text as the parser prints it. A label that looks like one of these words
/// costs a query its cache and nothing else.
pub(crate) fn allowed(query: &str) -> Allowed {
    let Ok(expr) = promql::parse_expr(query, ParseOptions::ALL) else {
        return Allowed { split: false, cache: false };
    };
    let text = expr.to_string();
    // Times that depend on the whole range, or are fixed: `@ start()`, and durations of `range()`.
    let split = !["@", "range()", "step()"].iter().any(|word| text.contains(word));
    // What is ahead of a step may still come.
    let cache = split && !["offset -", "smoothed"].iter().any(|word| text.contains(word));
    Allowed { split, cache }
}

#[cfg(test)]
mod tests;

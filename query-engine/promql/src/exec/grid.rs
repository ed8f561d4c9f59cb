//! The steps at which an expression is evaluated.

use crate::syntax::At;

/// `steps` times, `step_ms` apart, from `start_ms` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) steps: usize,
}

impl Grid {
    /// One step.
    pub(crate) fn instant(at_ms: i64) -> Self {
        Self { start_ms: at_ms, step_ms: 1, steps: 1 }
    }

    /// The steps of a range query; none if it ends before it starts. `step_ms` is positive.
    pub(crate) fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let steps = match end_ms.checked_sub(start_ms) {
            Some(span) if span >= 0 => usize::try_from(span / step_ms).unwrap_or(usize::MAX - 1) + 1,
            _ => 0,
        };
        Self { start_ms, step_ms, steps }
    }

    /// The steps of a subquery inside an expression that is evaluated on `outer`: multiples of its own step.
    pub(crate) fn of_subquery(outer: Self, reference: Reference, range_ms: i64, step_ms: i64) -> Self {
        let open_start = reference.at(outer, 0).saturating_sub(range_ms);
        let end = reference.at(outer, outer.steps.saturating_sub(1));
        let mut start = step_ms * (open_start / step_ms);
        if start <= open_start {
            start = start.saturating_add(step_ms);
        }
        Self::range(start, end, step_ms)
    }

    /// Only the first step.
    pub(crate) fn first_step(self) -> Self {
        Self { steps: self.steps.min(1), ..self }
    }

    /// Time of a step, ms.
    pub(crate) fn time(self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }
}

/// Which time a selector looks at, seen from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    at_ms: Option<i64>,
    offset_ms: i64,
}

impl Reference {
    pub(crate) fn new(at: Option<At>, offset_ms: i64) -> Self {
        let at_ms = match at {
            Some(At::Timestamp(ms)) => Some(ms),
            Some(At::Start | At::End) | None => None,
        };
        Self { at_ms, offset_ms }
    }

    /// The time for a step, ms.
    pub(crate) fn at(self, grid: Grid, step: usize) -> i64 {
        self.at_ms.unwrap_or_else(|| grid.time(step)).saturating_sub(self.offset_ms)
    }
}

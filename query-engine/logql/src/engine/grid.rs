//! The steps of a metric query and which of them a sample counts for.

use super::counted::MINUTE_NS;
use crate::{LogqlError, LogqlResult};

/// Steps of a query: times `start + i·step` for `i < count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) start_ns: i64,
    pub(super) step_ns: i64,
    pub(super) count: u32,
}

/// The windows of one range aggregation on a grid: `(t − interval, t]`, shifted back by the offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Excluded start of the first window, in sample time.
    base_ns: i64,
    step_ns: i64,
    interval_ns: i64,
    count: u32,
}

/// Times beyond this cannot be shifted by intervals and offsets without overflow; it is the year 2116.
const TIME_ABS_MAX: u64 = i64::MAX as u64 / 2;

impl Grid {
    /// One step.
    pub(super) fn instant(time_ns: i64) -> LogqlResult<Self> {
        Self::range(time_ns, time_ns, 1, 1)
    }

    /// All steps from `start_ns` to `end_ns`, both included.
    pub(super) fn range(start_ns: i64, end_ns: i64, step_ns: i64, count_max: u32) -> LogqlResult<Self> {
        if end_ns < start_ns {
            return Err(LogqlError::limit("end timestamp must not be before or equal to start time"));
        }
        if step_ns <= 0 {
            return Err(LogqlError::limit(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        // Unsigned, because the least number has no absolute value of its own type.
        let too_far = |time: i64| time.unsigned_abs() > TIME_ABS_MAX;
        if too_far(start_ns) || too_far(end_ns) {
            return Err(LogqlError::limit("start and end must lie within 146 years of 1970"));
        }
        let steps = (end_ns - start_ns) / step_ns;
        if steps > i64::from(count_max) {
            return Err(LogqlError::limit(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step \
                 parameter",
            ));
        }
        let count = u32::try_from(steps + 1).expect("the number of steps was checked");
        Ok(Self { start_ns, step_ns, count })
    }

    /// Time of a step in milliseconds.
    pub(super) fn time_ms(&self, step: u32) -> i64 {
        (self.start_ns + i64::from(step) * self.step_ns).div_euclid(1_000_000)
    }

    /// The windows of a range aggregation.
    pub(super) fn windows(&self, interval_ns: i64, offset_ns: i64) -> LogqlResult<Windows> {
        const SPAN_MAX: u64 = i64::MAX as u64 / 8;
        if interval_ns.unsigned_abs() > SPAN_MAX || offset_ns.unsigned_abs() > SPAN_MAX {
            return Err(LogqlError::limit("ranges and offsets may be at most 36 years"));
        }
        let base_ns = self.start_ns - offset_ns - interval_ns;
        Ok(Windows { base_ns, step_ns: self.step_ns, interval_ns, count: self.count })
    }
}

impl Windows {
    /// Times of samples that count for some step, both ends included.
    pub(super) fn samples(&self) -> model::TimeRange {
        let last = self.base_ns + self.interval_ns + i64::from(self.count - 1) * self.step_ns;
        model::TimeRange::new(self.base_ns + 1, last)
    }

    /// A minute of an edge, and the distance of edges in minutes: the greatest such that every edge of a window lies a
    /// multiple of it away. `None` when some edge is within a minute.
    pub(super) fn whole_minutes(&self) -> Option<(i64, i64)> {
        // A single window has no next one, wherever that would start.
        let step_ns = if self.count == 1 { 0 } else { self.step_ns };
        let whole = |span_ns: i64| span_ns % MINUTE_NS == 0;
        let all_whole = whole(self.base_ns) && whole(self.interval_ns) && whole(step_ns);
        (all_whole && self.interval_ns > 0).then(|| {
            (self.base_ns / MINUTE_NS, greatest_common_divisor(self.interval_ns, step_ns) / MINUTE_NS)
        })
    }

    /// First and last step whose window holds `time_ns`, and the last sample time for which the same is true.
    pub(super) fn steps(&self, time_ns: i64) -> Option<(u32, u32, i64)> {
        let relative = time_ns.saturating_sub(self.base_ns);
        if relative < 1 || self.interval_ns == 0 {
            return None;
        }
        let last = ((relative - 1) / self.step_ns).min(i64::from(self.count) - 1);
        let beyond = relative - self.interval_ns;
        let first = if beyond <= 0 { 0 } else { (beyond - 1) / self.step_ns + 1 };
        if first > last {
            return None;
        }
        // The set of steps changes after the end of the first window, and where the next one starts.
        let first_ends = self.base_ns + self.interval_ns + first * self.step_ns;
        let next_starts = self.base_ns.saturating_add((last + 1).saturating_mul(self.step_ns));
        let last_is_final = last == i64::from(self.count) - 1;
        let same_until = if last_is_final { first_ends } else { first_ends.min(next_starts) };
        Some((small(first), small(last), same_until))
    }

    /// The first sample time after `time_ns` that some window holds, for samples that fall between windows.
    pub(super) fn next_covered(&self, time_ns: i64) -> i64 {
        let relative = time_ns.saturating_sub(self.base_ns).max(0);
        let steps = relative / self.step_ns + i64::from(relative % self.step_ns != 0);
        self.base_ns.saturating_add(steps.saturating_mul(self.step_ns)).saturating_add(1)
    }

    /// Sample times of a step's window: first excluded, last included.
    pub(super) fn window(&self, step: u32) -> (i64, i64) {
        let start = self.base_ns + i64::from(step) * self.step_ns;
        (start, start + self.interval_ns)
    }
}

fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn small(step: i64) -> u32 {
    u32::try_from(step).expect("steps lie between 0 and the grid's count")
}

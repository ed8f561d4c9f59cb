//! `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes` over floats.

use super::{RangeCall, RangeFunction};
use crate::exec::column::Column;
use crate::exec::scratch::Points;

/// `rate`, `increase` and `delta`: the difference of the last and the first sample, corrected for counter resets and
/// extrapolated to the borders of the window (promql/functions.go, extrapolatedRate).
pub(super) fn extrapolated(call: &RangeCall<'_>, points: &Points, resets: &mut Vec<usize>, out: &mut Column) {
    let (times, values) = (&points.times[..], &points.values[..]);
    let is_counter = call.function != RangeFunction::Delta;
    let is_rate = call.function == RangeFunction::Rate;
    resets.clear();
    if is_counter {
        // Resets are rare: each window walks only those inside it, and adds them in the same order as Prometheus.
        resets.extend((1..values.len()).filter(|&i| values[i] < values[i - 1]));
    }
    let mut first_reset = 0;
    let range_ms = call.windows.range_ms;
    let range_seconds = range_ms as f64 / 1000.0;
    call.windows.for_each(times, |step, low, high| {
        let last = high - 1;
        if last == low {
            return;
        }
        let mut result = values[last] - values[low];
        while first_reset < resets.len() && resets[first_reset] <= low {
            first_reset += 1;
        }
        for &reset in resets[first_reset..].iter().take_while(|&&reset| reset < high) {
            result += values[reset - 1];
        }
        let end = call.windows.end(step);
        let factor = Extrapolation {
            first_ms: times[low],
            last_ms: times[last],
            start_ms: end - range_ms,
            end_ms: end,
            intervals: last - low,
        }
        .factor(|sampled| {
            (is_counter && result > 0.0 && values[low] >= 0.0).then(|| sampled * (values[low] / result))
        });
        out.values[step] = result * if is_rate { factor / range_seconds } else { factor };
    });
}

/// The same for one window alone.
pub(super) fn window(call: &RangeCall<'_>, step: usize, times: &[i64], values: &[f64]) -> Option<f64> {
    let last = values.len() - 1;
    if last == 0 {
        return None;
    }
    let is_counter = call.function != RangeFunction::Delta;
    let mut result = values[last] - values[0];
    if is_counter {
        for pair in values.windows(2).filter(|pair| pair[1] < pair[0]) {
            result += pair[0];
        }
    }
    let end = call.windows.end(step);
    let factor = Extrapolation {
        first_ms: times[0],
        last_ms: times[last],
        start_ms: end - call.windows.range_ms,
        end_ms: end,
        intervals: last,
    }
    .factor(|sampled| {
        (is_counter && result > 0.0 && values[0] >= 0.0).then(|| sampled * (values[0] / result))
    });
    let is_rate = call.function == RangeFunction::Rate;
    Some(result * if is_rate { factor / (call.windows.range_ms as f64 / 1000.0) } else { factor })
}

/// Where the samples of a window lie.
pub(super) struct Extrapolation {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// Number of samples minus one.
    pub(super) intervals: usize,
}

impl Extrapolation {
    /// By which factor the sampled difference grows. `to_zero` says how many seconds before the first sample a counter
    /// would have been zero, given the sampled seconds.
    #[inline]
    pub(super) fn factor(&self, to_zero: impl FnOnce(f64) -> Option<f64>) -> f64 {
        let mut to_start = (self.first_ms - self.start_ms) as f64 / 1000.0;
        let mut to_end = (self.end_ms - self.last_ms) as f64 / 1000.0;
        let sampled = (self.last_ms - self.first_ms) as f64 / 1000.0;
        let average = sampled / self.intervals as f64;
        let threshold = average * 1.1;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if let Some(zero) = to_zero(sampled)
            && zero < to_start
        {
            to_start = zero;
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled }
    }
}

/// `irate` and `idelta`: the last two samples.
pub(super) fn instant(call: &RangeCall<'_>, points: &Points, out: &mut Column) {
    let (times, values) = (&points.times[..], &points.values[..]);
    let is_rate = call.function == RangeFunction::Irate;
    call.windows.for_each(times, |step, low, high| {
        if high - low < 2 {
            return;
        }
        let (before, last) = (high - 2, high - 1);
        let interval = times[last] - times[before];
        let mut result = values[last];
        if !(is_rate && values[last] < values[before]) {
            result -= values[before];
        }
        out.values[step] = if is_rate { result / (interval as f64 / 1000.0) } else { result };
    });
}

/// `resets` and `changes`: events between neighbouring samples, counted once for the whole series.
pub(super) fn counted(call: &RangeCall<'_>, points: &Points, before: &mut Vec<usize>, out: &mut Column) {
    let (times, values) = (&points.times[..], &points.values[..]);
    let is_event = |previous: f64, value: f64| match call.function {
        RangeFunction::Resets => value < previous,
        _ => value != previous && !(value.is_nan() && previous.is_nan()),
    };
    before.clear();
    let mut count = 0;
    for (index, value) in values.iter().enumerate() {
        if index > 0 && is_event(values[index - 1], *value) {
            count += 1;
        }
        before.push(count);
    }
    call.windows.for_each(times, |step, low, high| {
        out.values[step] = (before[high - 1] - before[low]) as f64;
    });
}

//! Kernels for windows that overlap: what one window knows helps the next, so that a series costs its samples plus its
//! steps and not their product.

use super::RangeCall;
use crate::annotations::Annotation;
use crate::exec::column::Column;
use crate::exec::quantile::{nan_first, of_sorted};
use crate::exec::scratch::Points;

/// From this many windows per sample on the setup pays off.
const OVERLAP_MIN: i64 = 4;

/// Whether the windows of a call overlap enough.
pub(super) fn applies(call: &RangeCall<'_>) -> bool {
    let windows = &call.windows;
    windows.grid.steps > 1 && windows.range_ms >= windows.grid.step_ms.saturating_mul(OVERLAP_MIN)
}

/// `min_over_time` and `max_over_time`: a queue of the samples that can still win, each better than all behind it.
pub(super) fn extremes(
    call: &RangeCall<'_>,
    points: &Points,
    queue: &mut Vec<usize>,
    out: &mut Column,
    wins: impl Fn(f64, f64) -> bool,
) {
    let values = &points.values;
    queue.clear();
    let mut front = 0;
    let mut seen = 0;
    call.windows.for_each(&points.times, |step, low, high| {
        for (index, value) in values.iter().enumerate().take(high).skip(seen) {
            if value.is_nan() {
                continue;
            }
            while queue.len() > front && queue.last().is_some_and(|&last| !wins(values[last], *value)) {
                queue.pop();
            }
            queue.push(index);
        }
        seen = high;
        while front < queue.len() && queue[front] < low {
            front += 1;
        }
        // Only NaN in the window.
        out.values[step] = queue.get(front).map_or(f64::NAN, |&best| values[best]);
    });
}

/// `sum_over_time` and `avg_over_time` as differences of running sums. The running sums have twice the precision of a
/// float, so that nothing is lost against adding up each window. Answers false, having done nothing, if some sample or
/// sum is not finite.
pub(super) fn sums(
    call: &RangeCall<'_>,
    points: &Points,
    sums: &mut Vec<f64>,
    out: &mut Column,
    is_mean: bool,
) -> bool {
    sums.clear();
    sums.reserve(2 * points.values.len() + 2);
    let (mut high_part, mut low_part) = (0.0_f64, 0.0_f64);
    sums.extend([0.0, 0.0]);
    for value in &points.values {
        let (sum, lost) = two_sum(high_part, *value);
        (high_part, low_part) = two_sum(sum, lost + low_part);
        sums.extend([high_part, low_part]);
    }
    if !high_part.is_finite() || !low_part.is_finite() {
        return false;
    }
    call.windows.for_each(&points.times, |step, low, high| {
        let (difference, lost) = two_sum(sums[2 * high], -sums[2 * low]);
        let sum = difference + (lost + (sums[2 * high + 1] - sums[2 * low + 1]));
        out.values[step] = if is_mean { sum / (high - low) as f64 } else { sum };
    });
    true
}

/// The sum of two floats and what rounding took from it, exactly.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `quantile_over_time`: the samples of the window are kept in order.
pub(super) fn quantiles(call: &RangeCall<'_>, points: &Points, sorted: &mut Vec<f64>, out: &mut Column) {
    let values = &points.values;
    sorted.clear();
    let (mut first, mut behind) = (0, 0);
    call.windows.for_each(&points.times, |step, low, high| {
        if low >= behind {
            // Nothing is left of the window before.
            sorted.clear();
            sorted.extend_from_slice(&values[low..high]);
            sorted.sort_unstable_by(nan_first);
        } else {
            for value in &values[first..low] {
                let at = sorted.partition_point(|other| nan_first(other, value).is_lt());
                sorted.remove(at);
            }
            for value in &values[behind..high] {
                let at = sorted.partition_point(|other| nan_first(other, value).is_lt());
                sorted.insert(at, *value);
            }
        }
        (first, behind) = (low, high);
        let q = call.args[0][step];
        if !(0.0..=1.0).contains(&q) {
            call.note(Annotation::invalid_quantile(call.first_span, q));
        }
        out.values[step] = of_sorted(q, sorted);
    });
}

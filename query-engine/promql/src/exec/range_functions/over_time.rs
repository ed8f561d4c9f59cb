//! The `*_over_time` functions over floats.

use super::{RangeCall, RangeFunction};
use crate::annotations::Annotation;
use crate::exec::column::Column;
use crate::exec::kahan::{Kahan, Mean};
use crate::exec::quantile::quantile;
use crate::exec::scratch::Points;

pub(super) fn run(call: &RangeCall<'_>, points: &Points, buffer: &mut Vec<f64>, out: &mut Column) {
    call.windows.for_each(&points.times, |step, low, high| {
        let (times, values) = (&points.times[low..high], &points.values[low..high]);
        out.values[step] = window(call, step, times, values, buffer);
    });
}

/// The value for one window, which has samples.
pub(super) fn window(
    call: &RangeCall<'_>,
    step: usize,
    times: &[i64],
    values: &[f64],
    buffer: &mut Vec<f64>,
) -> f64 {
    use RangeFunction as F;
    let seconds = |position: usize| times[position] as f64 / 1000.0;
    match call.function {
        F::Count => values.len() as f64,
        F::Present | F::Absent => 1.0,
        F::Sum => sum(values),
        F::Avg => avg(values),
        F::Min => values[extreme(values, |value, best| value < best)],
        F::Max => values[extreme(values, |value, best| value > best)],
        F::First => values[0],
        F::Last => values[values.len() - 1],
        F::TimeOfFirst => seconds(0),
        F::TimeOfLast => seconds(times.len() - 1),
        F::TimeOfMin => seconds(extreme(values, |value, best| value <= best)),
        F::TimeOfMax => seconds(extreme(values, |value, best| value >= best)),
        F::Stdvar => variance(values),
        F::Stddev => variance(values).sqrt(),
        F::Mad => mad(values, buffer),
        F::Quantile => {
            let q = call.args[0][step];
            if !(0.0..=1.0).contains(&q) {
                call.context.annotate(Annotation::invalid_quantile(call.first_span, q));
            }
            buffer.clear();
            buffer.extend_from_slice(values);
            quantile(q, buffer)
        }
        other => unreachable!("{other:?} has a kernel of its own"),
    }
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Kahan::default();
    values.iter().for_each(|value| sum.add(*value));
    if sum.sum.is_infinite() { sum.sum } else { sum.value() }
}

fn avg(values: &[f64]) -> f64 {
    let mut mean = Mean::new(values[0]);
    values[1..].iter().for_each(|value| mean.add(*value));
    mean.value()
}

/// Position of the value that wins against all others; NaN loses.
fn extreme(values: &[f64], wins: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (position, value) in values.iter().enumerate() {
        if wins(*value, values[best]) || values[best].is_nan() {
            best = position;
        }
    }
    best
}

/// Welford's method with compensation, as in promql/functions.go, varianceOverTime.
fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}

/// Median of the distances from the median.
fn mad(values: &[f64], buffer: &mut Vec<f64>) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    buffer.clear();
    buffer.extend_from_slice(values);
    let median = quantile(0.5, buffer);
    buffer.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, buffer)
}

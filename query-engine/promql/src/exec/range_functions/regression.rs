//! `deriv`, `predict_linear` and `double_exponential_smoothing` over floats.

use super::{RangeCall, RangeFunction};
use crate::exec::column::Column;
use crate::exec::kahan::Kahan;
use crate::exec::scratch::Points;

pub(super) fn run(call: &RangeCall<'_>, points: &Points, out: &mut Column) {
    call.windows.for_each(&points.times, |step, low, high| {
        let (times, values) = (&points.times[low..high], &points.values[low..high]);
        if let Some(value) = window(call, step, times, values) {
            out.values[step] = value;
        }
    });
}

/// The value for one window.
pub(super) fn window(call: &RangeCall<'_>, step: usize, times: &[i64], values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    Some(match call.function {
        RangeFunction::Deriv => linear_regression(times, values, times[0]).0,
        RangeFunction::PredictLinear => {
            let (slope, intercept) = linear_regression(times, values, call.windows.grid.time(step));
            slope * call.args[0][step] + intercept
        }
        _ => smooth(values, call.args[0][step], call.args[1][step]),
    })
}

/// Slope per second, and value at `intercept_ms`, of the least-squares line.
fn linear_regression(times: &[i64], values: &[f64], intercept_ms: i64) -> (f64, f64) {
    let [mut x, mut y, mut xy, mut xx] = [Kahan::default(); 4];
    for (time, value) in times.iter().zip(values) {
        let seconds = (time - intercept_ms) as f64 / 1e3;
        x.add(seconds);
        y.add(*value);
        xy.add(seconds * value);
        xx.add(seconds * seconds);
    }
    if values.iter().all(|value| *value == values[0]) {
        return if values[0].is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, values[0]) };
    }
    let n = values.len() as f64;
    let (x, y, xy, xx) = (x.value(), y.value(), xy.value(), xx.value());
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Holt's double exponential smoothing.
fn smooth(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let mut before = 0.0;
    let mut smoothed = values[0];
    let mut slope = values[1] - values[0];
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + slope);
        (before, smoothed) = (smoothed, next);
    }
    smoothed
}

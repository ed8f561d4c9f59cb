//! Range functions over series that have native histograms, alone or among floats.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, IncompatibleBuckets};

use super::rate::Extrapolation;
use super::{RangeCall, RangeFunction, extended, over_time, rate, regression};
use crate::annotations::{Annotation, HistogramOperation};
use crate::exec::column::Column;
use crate::exec::histogram_aggregate::HistogramMean;
use crate::exec::scratch::Points;

/// The samples of one window, floats and histograms apart.
#[derive(Clone, Copy)]
pub(super) struct Window<'w> {
    pub(super) step: usize,
    pub(super) times: &'w [i64],
    pub(super) values: &'w [f64],
    pub(super) histograms: &'w [(i64, Arc<FloatHistogram>)],
}

/// The value of a window.
pub(super) enum Result {
    Float(f64),
    Histogram(FloatHistogram),
}

/// One sample of a window, in time order among floats and histograms.
#[derive(Clone, Copy)]
pub(super) enum Sample<'w> {
    Float(f64),
    Histogram(&'w FloatHistogram),
}

pub(super) fn run(
    call: &RangeCall<'_>,
    metric: &str,
    points: &Points,
    buffer: &mut Vec<f64>,
    out: &mut Column,
) {
    let windows = &call.windows;
    let (mut low, mut high, mut first, mut last) = (0, 0, 0, 0);
    for step in 0..windows.grid.steps {
        let (start, end) = windows.bounds(step);
        advance(&points.times, |time| *time, (start, end), &mut low, &mut high);
        advance(&points.histograms, |(time, _)| *time, (start, end), &mut first, &mut last);
        if low == high && first == last {
            continue;
        }
        let window = Window {
            step,
            times: &points.times[low..high],
            values: &points.values[low..high],
            histograms: &points.histograms[first..last],
        };
        match evaluate(call, metric, window, buffer) {
            None => {}
            Some(Result::Float(value)) => out.values[step] = value,
            Some(Result::Histogram(value)) => out.set_histogram(step, Arc::new(value)),
        }
    }
}

fn advance<T>(
    samples: &[T],
    time: impl Fn(&T) -> i64,
    (start, end): (i64, i64),
    low: &mut usize,
    high: &mut usize,
) {
    while *high < samples.len() && time(&samples[*high]) <= end {
        *high += 1;
    }
    while *low < *high && time(&samples[*low]) <= start {
        *low += 1;
    }
}

fn evaluate(call: &RangeCall<'_>, metric: &str, window: Window<'_>, buffer: &mut Vec<f64>) -> Option<Result> {
    use RangeFunction as F;
    let Window { step, times, values, histograms } = window;
    let is_mixed = !values.is_empty() && !histograms.is_empty();
    match call.function {
        F::Rate | F::Increase | F::Delta | F::Sum | F::Avg if is_mixed => {
            call.note(Annotation::mixed_floats_histograms(call.first_span, metric));
            None
        }
        F::Rate | F::Increase | F::Delta if call.windows.is_extended() => {
            if histograms.is_empty() {
                extended::rate(call, step, times, values).map(Result::Float)
            } else {
                extended::histogram_rate(call, metric, window).map(Result::Histogram)
            }
        }
        F::Rate | F::Increase | F::Delta if histograms.is_empty() => {
            rate::window(call, step, times, values).map(Result::Float)
        }
        F::Rate | F::Increase | F::Delta => histogram_rate(call, metric, window).map(Result::Histogram),
        F::Irate | F::Idelta => instant(call, metric, window),
        F::Resets | F::Changes => events(call, window).map(Result::Float),
        F::Sum | F::Avg if !histograms.is_empty() => mean(call, metric, histograms).map(Result::Histogram),
        F::Count => Some(Result::Float((values.len() + histograms.len()) as f64)),
        F::Present | F::Absent => Some(Result::Float(1.0)),
        F::First => Some(match (times.first(), histograms.first()) {
            (Some(time), Some((other, histogram))) if other <= time => owned(histogram),
            (None, Some((_, histogram))) => owned(histogram),
            _ => Result::Float(values[0]),
        }),
        F::Last => Some(match (times.last(), histograms.last()) {
            (Some(time), Some((other, histogram))) if other >= time => owned(histogram),
            (None, Some((_, histogram))) => owned(histogram),
            _ => Result::Float(values[values.len() - 1]),
        }),
        F::TimeOfFirst => {
            let first = times.first().copied().into_iter().chain(histograms.first().map(|(time, _)| *time));
            first.min().map(|time| Result::Float(time as f64 / 1000.0))
        }
        F::TimeOfLast => {
            let last = times.last().copied().into_iter().chain(histograms.last().map(|(time, _)| *time));
            last.max().map(|time| Result::Float(time as f64 / 1000.0))
        }
        _ if values.is_empty() => None,
        function => {
            if is_mixed {
                call.note(Annotation::histogram_ignored_in_mixed_range(call.first_span, metric));
            }
            match function {
                F::Deriv | F::PredictLinear | F::DoubleExponentialSmoothing => {
                    regression::window(call, step, times, values).map(Result::Float)
                }
                _ => Some(Result::Float(over_time::window(call, step, times, values, buffer))),
            }
        }
    }
}

fn owned(histogram: &FloatHistogram) -> Result {
    Result::Histogram(histogram.clone())
}

/// `sum_over_time` and `avg_over_time`.
fn mean(
    call: &RangeCall<'_>,
    metric: &str,
    histograms: &[(i64, Arc<FloatHistogram>)],
) -> Option<FloatHistogram> {
    let (_, first) = histograms.first()?;
    let mut mean = HistogramMean::new(first, call.function == RangeFunction::Avg);
    let mut reconciled = false;
    for (_, histogram) in &histograms[1..] {
        match mean.add(histogram) {
            Ok(combined) => reconciled |= combined.bounds_reconciled,
            Err(IncompatibleBuckets) => {
                call.note(Annotation::mixed_exponential_custom(call.first_span, metric));
                return None;
            }
        }
    }
    let (result, has_collision) = mean.finish();
    let operation = HistogramOperation::Aggregation;
    if has_collision {
        call.note(Annotation::counter_reset_collision(call.first_span, operation));
    }
    if reconciled {
        call.note(Annotation::mismatched_custom_buckets(call.first_span, operation));
    }
    Some(result)
}

/// `rate`, `increase` and `delta` (promql/functions.go, histogramRate and extrapolatedRate).
fn histogram_rate(call: &RangeCall<'_>, metric: &str, window: Window<'_>) -> Option<FloatHistogram> {
    let samples = window.histograms;
    if samples.len() < 2 {
        return None;
    }
    let is_counter = call.function != RangeFunction::Delta;
    let mut result = difference(call, metric, samples, is_counter)?;
    let end = call.windows.end(window.step);
    let first = &samples[0].1;
    let factor = Extrapolation {
        first_ms: samples[0].0,
        last_ms: samples[samples.len() - 1].0,
        start_ms: end - call.windows.range_ms,
        end_ms: end,
        intervals: samples.len() - 1,
    }
    .factor(|sampled| {
        let applies = is_counter && result.count > 0.0 && first.count >= 0.0;
        applies.then(|| sampled * (first.count / result.count))
    });
    let is_rate = call.function == RangeFunction::Rate;
    result.multiply(if is_rate { factor / (call.windows.range_ms as f64 / 1000.0) } else { factor });
    Some(result)
}

/// The difference of the last and the first histogram, corrected for counter resets.
fn difference(
    call: &RangeCall<'_>,
    metric: &str,
    samples: &[(i64, Arc<FloatHistogram>)],
    is_counter: bool,
) -> Option<FloatHistogram> {
    let span = call.first_span;
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    let (first, last) = (&samples[0].1, &samples[samples.len() - 1].1);
    let incompatible = || {
        call.note(Annotation::mixed_exponential_custom(span, metric));
        None
    };
    if is_counter && (is_gauge(first) || is_gauge(last)) {
        call.note(Annotation::not_a_counter(span, metric));
    }
    let empty;
    let mut previous: &FloatHistogram = first;
    let second = &samples[1].1;
    if is_counter && second.detect_reset(first) {
        // What was counted before the reset is of no interest, not even its layout.
        empty = FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        };
        previous = &empty;
    }
    let is_custom = previous.uses_custom_buckets();
    if last.uses_custom_buckets() != is_custom {
        return incompatible();
    }
    let mut schema = last.schema.min(previous.schema);
    if is_counter {
        for (_, histogram) in &samples[1..samples.len() - 1] {
            if is_gauge(histogram) {
                call.note(Annotation::not_a_counter(span, metric));
            }
            schema = schema.min(histogram.schema);
            if histogram.uses_custom_buckets() != is_custom {
                return incompatible();
            }
        }
    }
    let mut result = last.reduced_to(schema);
    let Ok(combined) = result.subtract(previous) else { return incompatible() };
    if combined.bounds_reconciled {
        call.note(Annotation::mismatched_custom_buckets(span, HistogramOperation::Subtraction));
    }
    if is_counter {
        for (_, histogram) in &samples[1..] {
            if histogram.detect_reset(previous) {
                let Ok(combined) = result.add(previous) else { return incompatible() };
                if combined.bounds_reconciled {
                    call.note(Annotation::mismatched_custom_buckets(span, HistogramOperation::Addition));
                }
            }
            previous = histogram;
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        call.note(Annotation::not_a_gauge(span, metric));
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact();
    Some(result)
}

/// The samples of a window in time order.
pub(super) fn in_order<'w>(
    times: &'w [i64],
    values: &'w [f64],
    histograms: &'w [(i64, Arc<FloatHistogram>)],
) -> impl Iterator<Item = (i64, Sample<'w>)> {
    let mut floats = times.iter().zip(values).peekable();
    let mut histograms = histograms.iter().peekable();
    std::iter::from_fn(move || {
        let is_float = match (floats.peek(), histograms.peek()) {
            (Some((time, _)), Some((other, _))) => *time < other,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_float {
            floats.next().map(|(time, value)| (*time, Sample::Float(*value)))
        } else {
            histograms.next().map(|(time, histogram)| (*time, Sample::Histogram(histogram)))
        }
    })
}

/// `irate` and `idelta`: the last two samples of whatever kind.
fn instant(call: &RangeCall<'_>, metric: &str, window: Window<'_>) -> Option<Result> {
    let Window { times, values, histograms, .. } = window;
    let floats = values.len().saturating_sub(2);
    let tail = histograms.len().saturating_sub(2);
    let samples: Vec<(i64, Sample<'_>)> =
        in_order(&times[floats..], &values[floats..], &histograms[tail..]).collect();
    let [.., (before_ms, before), (last_ms, last)] = samples[..] else { return None };
    let is_rate = call.function == RangeFunction::Irate;
    let span = call.first_span;
    let seconds = (last_ms - before_ms) as f64 / 1000.0;
    if seconds == 0.0 {
        return None;
    }
    match (before, last) {
        (Sample::Float(before), Sample::Float(last)) => {
            let difference = if is_rate && last < before { last } else { last - before };
            Some(Result::Float(if is_rate { difference / seconds } else { difference }))
        }
        (Sample::Histogram(before), Sample::Histogram(last)) => {
            let gauges = [before, last].map(|h| h.counter_reset_hint == CounterResetHint::Gauge);
            if is_rate && gauges.contains(&true) {
                call.note(Annotation::not_a_counter(span, metric));
            }
            if !is_rate && gauges.contains(&false) {
                call.note(Annotation::not_a_gauge(span, metric));
            }
            let mut result = last.clone();
            if !is_rate || !last.detect_reset(before) {
                let Ok(combined) = result.subtract(before) else {
                    call.note(Annotation::mixed_exponential_custom(span, metric));
                    return None;
                };
                if combined.bounds_reconciled {
                    let operation = HistogramOperation::Subtraction;
                    call.note(Annotation::mismatched_custom_buckets(span, operation));
                }
            }
            result.counter_reset_hint = CounterResetHint::Gauge;
            result.compact();
            if is_rate {
                result.divide(seconds);
            }
            Some(Result::Histogram(result))
        }
        _ => {
            call.note(Annotation::mixed_floats_histograms(span, metric));
            None
        }
    }
}

/// `resets` and `changes`; a change of the kind of sample is both.
pub(super) fn events(call: &RangeCall<'_>, window: Window<'_>) -> Option<f64> {
    let Window { step, mut times, mut values, mut histograms } = window;
    if call.windows.is_extended() {
        // The last sample at or before the start of the range is the first to compare with.
        let start = call.windows.end(step) - call.windows.range_ms;
        let floats = times.partition_point(|time| *time <= start);
        let others = histograms.partition_point(|(time, _)| *time <= start);
        if floats >= times.len() && others >= histograms.len() {
            return None;
        }
        let float_ms = floats.checked_sub(1).map(|i| times[i]);
        let other_ms = others.checked_sub(1).map(|i| histograms[i].0);
        let (floats, others) = match (float_ms, other_ms) {
            (None, None) => (0, 0),
            (Some(time), other) if other.is_none_or(|other| time >= other) => (floats - 1, others),
            _ => (floats, others - 1),
        };
        (times, values, histograms) = (&times[floats..], &values[floats..], &histograms[others..]);
    }
    let mut count = 0_u32;
    let mut previous: Option<Sample<'_>> = None;
    let is_reset = call.function == RangeFunction::Resets;
    for (_, sample) in in_order(times, values, histograms) {
        if let Some(previous) = previous {
            let is_event = match (previous, sample) {
                (Sample::Float(a), Sample::Float(b)) if is_reset => b < a,
                (Sample::Float(a), Sample::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
                (Sample::Histogram(a), Sample::Histogram(b)) if is_reset => b.detect_reset(a),
                (Sample::Histogram(a), Sample::Histogram(b)) => !b.equals(a),
                _ => true,
            };
            count += u32::from(is_event);
        }
        previous = Some(sample);
    }
    previous.map(|_| f64::from(count))
}

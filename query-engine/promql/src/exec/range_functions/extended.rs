//! `anchored` and `smoothed` ranges: the values at the borders are taken or interpolated from samples outside.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, IncompatibleBuckets, Sample};

use super::mixed::Window;
use super::{RangeCall, RangeFunction};
use crate::annotations::{Annotation, HistogramOperation};
use crate::syntax::Extension;

/// Between two samples; after a counter reset the counter is taken to start at zero.
fn interpolate(before: (i64, f64), after: (i64, f64), at_ms: i64, is_counter: bool) -> f64 {
    let start = if is_counter && after.1 < before.1 { 0.0 } else { before.1 };
    start + (after.1 - start) * (at_ms - before.0) as f64 / (after.0 - before.0) as f64
}

/// Positions of the samples at the borders: the last at or before the start, and the last, or with `smoothed` the
/// first from the end on.
fn borders<T>(
    samples: &[T],
    time: impl Fn(&T) -> i64,
    (start, end): (i64, i64),
    is_smoothed: bool,
) -> (usize, usize) {
    let last = samples.len() - 1;
    let first = samples[..last].partition_point(|sample| time(sample) <= start).saturating_sub(1);
    let last = if is_smoothed { samples[..last].partition_point(|sample| time(sample) < end) } else { last };
    (first, last)
}

/// `rate`, `increase` and `delta` of floats.
pub(super) fn rate(call: &RangeCall<'_>, step: usize, times: &[i64], values: &[f64]) -> Option<f64> {
    let is_counter = call.function != RangeFunction::Delta;
    let is_smoothed = call.windows.extension == Extension::Smoothed;
    let end = call.windows.end(step);
    let start = end - call.windows.range_ms;
    let (first, last) = borders(times, |time| *time, (start, end), is_smoothed);
    if times[last] <= start || (is_smoothed && times[first] > end) {
        return None;
    }
    let at = |index: usize| (times[index], values[index]);
    let left = if is_smoothed && times[first] < start {
        interpolate(at(first), at(first + 1), start, is_counter)
    } else {
        values[first]
    };
    let right = if is_smoothed && last > 0 && times[last] > end {
        interpolate(at(last - 1), at(last), end, is_counter)
    } else {
        values[last]
    };
    let mut result = right - left;
    if is_counter {
        let from = if times[first] <= start { first + 1 } else { first };
        let to = if times[last] >= end { last } else { last + 1 };
        let mut previous = left;
        for value in values.get(from..to).unwrap_or(&[]) {
            if *value < previous {
                result += previous;
            }
            previous = *value;
        }
        if right < previous {
            result += previous;
        }
    }
    let is_rate = call.function == RangeFunction::Rate;
    Some(if is_rate { result / (call.windows.range_ms as f64 / 1000.0) } else { result })
}

type Sampled = (i64, Arc<FloatHistogram>);

/// Adds to or subtracts from a histogram, with a note where bounds had to be reconciled.
fn combine(
    note: &mut dyn FnMut(HistogramOperation),
    target: &mut FloatHistogram,
    other: &FloatHistogram,
    operation: HistogramOperation,
) -> Result<(), IncompatibleBuckets> {
    let combined = match operation {
        HistogramOperation::Subtraction => target.subtract(other)?,
        _ => target.add(other)?,
    };
    if combined.bounds_reconciled {
        note(operation);
    }
    Ok(())
}

fn interpolate_histograms(
    note: &mut dyn FnMut(HistogramOperation),
    before: &Sampled,
    after: &Sampled,
    at_ms: i64,
    is_counter: bool,
) -> Result<FloatHistogram, IncompatibleBuckets> {
    if at_ms == before.0 {
        return Ok((*before.1).clone());
    }
    if at_ms == after.0 {
        return Ok((*after.1).clone());
    }
    let fraction = (at_ms - before.0) as f64 / (after.0 - before.0) as f64;
    let mut result = (*after.1).clone();
    if is_counter && after.1.detect_reset(&before.1) {
        result.multiply(fraction);
        return Ok(result);
    }
    combine(note, &mut result, &before.1, HistogramOperation::Subtraction)?;
    result.multiply(fraction);
    combine(note, &mut result, &before.1, HistogramOperation::Addition)?;
    Ok(result)
}

/// `rate`, `increase` and `delta` of native histograms.
pub(super) fn histogram_rate(
    call: &RangeCall<'_>,
    metric: &str,
    window: Window<'_>,
) -> Option<FloatHistogram> {
    match try_histogram_rate(call, metric, window) {
        Ok(result) => result,
        Err(IncompatibleBuckets) => {
            call.note(Annotation::mixed_exponential_custom(call.first_span, metric));
            None
        }
    }
}

fn try_histogram_rate(
    call: &RangeCall<'_>,
    metric: &str,
    window: Window<'_>,
) -> Result<Option<FloatHistogram>, IncompatibleBuckets> {
    let samples = window.histograms;
    let note = &mut |operation| {
        call.note(Annotation::mismatched_custom_buckets(call.first_span, operation));
    };
    let is_counter = call.function != RangeFunction::Delta;
    let is_smoothed = call.windows.extension == Extension::Smoothed;
    let end = call.windows.end(window.step);
    let start = end - call.windows.range_ms;
    let (first, last) = borders(samples, |(time, _)| *time, (start, end), is_smoothed);
    if samples[last].0 <= start || (is_smoothed && samples[first].0 > end) {
        return Ok(None);
    }
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    let is_custom = samples[first].1.uses_custom_buckets();
    for (_, histogram) in &samples[first..=last] {
        if histogram.uses_custom_buckets() != is_custom {
            return Err(IncompatibleBuckets);
        }
        if is_counter && is_gauge(histogram) {
            call.note(Annotation::not_a_counter(call.first_span, metric));
        }
    }
    let left = if is_smoothed && samples[first].0 < start {
        interpolate_histograms(note, &samples[first], &samples[first + 1], start, is_counter)?
    } else {
        (*samples[first].1).clone()
    };
    let right = if is_smoothed && last > 0 && samples[last].0 > end {
        interpolate_histograms(note, &samples[last - 1], &samples[last], end, is_counter)?
    } else {
        (*samples[last].1).clone()
    };
    if !is_counter && (!is_gauge(&left) || !is_gauge(&right)) {
        call.note(Annotation::not_a_gauge(call.first_span, metric));
    }
    let mut result = right.clone();
    combine(note, &mut result, &left, HistogramOperation::Subtraction)?;
    if is_counter {
        let correction = correction(note, samples, (first, last), (&left, &right), start, is_smoothed)?;
        if let Some(correction) = correction {
            combine(note, &mut result, &correction, HistogramOperation::Addition)?;
        }
    }
    if call.function == RangeFunction::Rate {
        result.divide(call.windows.range_ms as f64 / 1000.0);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact();
    Ok(Some(result))
}

/// What counter resets between the borders took away.
fn correction(
    note: &mut dyn FnMut(HistogramOperation),
    samples: &[Sampled],
    (first, last): (usize, usize),
    (left, right): (&FloatHistogram, &FloatHistogram),
    start: i64,
    is_smoothed: bool,
) -> Result<Option<FloatHistogram>, IncompatibleBuckets> {
    let mut from = first + 1;
    let mut previous = left;
    if is_smoothed && samples[first].0 < start && samples[first + 1].1.detect_reset(&samples[first].1) {
        previous = &samples[first + 1].1;
        from += 1;
    }
    if from > last {
        return Ok(None);
    }
    let mut correction: Option<FloatHistogram> = None;
    let inner = samples[from..last].iter().map(|(_, histogram)| &**histogram);
    for histogram in inner.chain([right]) {
        if histogram.detect_reset(previous) {
            match &mut correction {
                None => correction = Some(previous.clone()),
                Some(sum) => combine(note, sum, previous, HistogramOperation::Addition)?,
            }
        }
        previous = histogram;
    }
    Ok(correction)
}

/// The samples of a whole query that is an extended range: those inside, and values at both borders.
pub(in crate::exec) fn samples_with_borders(
    times: &[i64],
    values: &[f64],
    start: i64,
    end: i64,
    is_smoothed: bool,
) -> Vec<Sample> {
    if times.is_empty() {
        return Vec::new();
    }
    let (first, last) = borders(times, |time| *time, (start, end), is_smoothed);
    if times[last] <= start {
        return Vec::new();
    }
    let at = |index: usize| (times[index], values[index]);
    let left = if is_smoothed && times[first] < start {
        interpolate(at(first), at(first + 1), start, false)
    } else {
        values[first]
    };
    let right = if is_smoothed && last > 0 && times[last] > end {
        interpolate(at(last - 1), at(last), end, false)
    } else {
        values[last]
    };
    let from = if times[first] <= start { first + 1 } else { first };
    let to = if times[last] >= end { last } else { last + 1 };
    let mut samples = vec![Sample { timestamp_ms: start, value: left }];
    for index in from..to {
        samples.push(Sample { timestamp_ms: times[index], value: values[index] });
    }
    samples.push(Sample { timestamp_ms: end, value: right });
    samples
}

/// The value of a `smoothed` instant selector: between the samples around a time.
pub(in crate::exec) fn smoothed_float(times: &[i64], values: &[f64], at_ms: i64) -> Option<f64> {
    let after = times.partition_point(|time| *time < at_ms);
    let before = after.checked_sub(1);
    match (before, times.get(after)) {
        (_, Some(time)) if *time == at_ms => Some(values[after]),
        (Some(before), Some(time)) => {
            Some(interpolate((times[before], values[before]), (*time, values[after]), at_ms, false))
        }
        (Some(before), None) => Some(values[before]),
        (None, _) => None,
    }
}

/// The same for native histograms. They are gauges only if both neighbours say so.
pub(in crate::exec) fn smoothed_histogram(
    samples: &[Sampled],
    at_ms: i64,
    note: &mut dyn FnMut(HistogramOperation),
) -> Result<Option<FloatHistogram>, IncompatibleBuckets> {
    let after = samples.partition_point(|(time, _)| *time < at_ms);
    let before = after.checked_sub(1).map(|before| &samples[before]);
    match (before, samples.get(after)) {
        (_, Some((time, histogram))) if *time == at_ms => Ok(Some((**histogram).clone())),
        (Some(before), Some(after)) => {
            if before.1.uses_custom_buckets() != after.1.uses_custom_buckets() {
                return Err(IncompatibleBuckets);
            }
            let is_gauge = |sample: &Sampled| sample.1.counter_reset_hint == CounterResetHint::Gauge;
            let is_counter = !is_gauge(before) || !is_gauge(after);
            interpolate_histograms(note, before, after, at_ms, is_counter).map(Some)
        }
        (Some((_, histogram)), None) => {
            let mut histogram = (**histogram).clone();
            histogram.counter_reset_hint = CounterResetHint::Unknown;
            Ok(Some(histogram))
        }
        (None, _) => Ok(None),
    }
}

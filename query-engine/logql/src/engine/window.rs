//! Functions over the samples of a window (pkg/logql/range_vector.go in Loki).
//!
//! Counts and sums of bytes are whole numbers: they come from one sweep over the runs, whatever the overlap of the
//! windows. Functions of values run over a slice of the sorted samples per step, with the arithmetic in Loki's order.

use super::grid::Windows;
use super::samples::{Run, SampleSeries, SeriesSamples};
use super::series::{Point, Series, SeriesSet};
use crate::LogqlResult;
use crate::scan::Budget;
use crate::syntax::{RangeAggregation, RangeOp};
use crate::units::go_seconds;

/// Applies a range aggregation to its samples. Series come sorted by labels. Ends when `budget` says so: a step of
/// `quantile_over_time` alone may sort millions of values.
pub(super) fn apply(
    aggregation: &RangeAggregation,
    windows: &Windows,
    steps: u32,
    samples: SampleSeries,
    budget: &Budget,
) -> LogqlResult<SeriesSet> {
    let mut series: Vec<_> = samples.into_iter().collect();
    series.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut set = Vec::with_capacity(series.len());
    for (labels, samples) in series {
        budget.check_time()?;
        let points = match aggregation.range.unwrap {
            Some(_) => of_values(aggregation, windows, steps, samples, budget)?,
            None => of_counts(aggregation, steps, &samples.runs),
        };
        if !points.is_empty() {
            set.push(Series { labels, points });
        }
    }
    if aggregation.op == RangeOp::AbsentOverTime {
        return Ok(absent(aggregation, steps, &set));
    }
    Ok(set)
}

fn of_counts(aggregation: &RangeAggregation, steps: u32, runs: &[Run]) -> Vec<Point> {
    let interval = go_seconds(aggregation.range.interval_ns);
    let value: fn(u64, u64, f64) -> f64 = match aggregation.op {
        RangeOp::Rate => |count, _, interval| count as f64 / interval,
        RangeOp::BytesOverTime => |_, bytes, _| bytes as f64,
        RangeOp::BytesRate => |_, bytes, interval| bytes as f64 / interval,
        _ => |count, _, _| count as f64,
    };
    // Many runs go into a column of steps, few are sorted: an answer of 11,000 steps may have one line.
    if runs.len() > steps as usize / 8 {
        return of_many_counts(steps, runs, |count, bytes| value(count, bytes, interval));
    }
    // Each run adds at its first step and leaves after its last.
    let mut events: Vec<(u32, bool, u64, u64)> = Vec::with_capacity(2 * runs.len());
    for run in runs {
        events.push((run.first, true, run.count, run.bytes));
        events.push((run.last + 1, false, run.count, run.bytes));
    }
    events.sort_unstable();
    let mut points = Vec::new();
    let (mut count, mut bytes) = (0u64, 0u64);
    let mut next = 0;
    while next < events.len() {
        let step = events[next].0;
        while let Some(&(_, enters, event_count, event_bytes)) =
            events.get(next).filter(|event| event.0 == step)
        {
            // Within a step leaving sorts before entering, so that neither sum can wrap for long.
            if enters {
                count = count.wrapping_add(event_count);
                bytes = bytes.wrapping_add(event_bytes);
            } else {
                count = count.wrapping_sub(event_count);
                bytes = bytes.wrapping_sub(event_bytes);
            }
            next += 1;
        }
        if count > 0 {
            let until = events.get(next).map_or(steps, |event| event.0);
            let value = value(count, bytes, interval);
            points.extend((step..until.min(steps)).map(|step| (step, value)));
        }
    }
    points
}

/// Counts by adding each run at its first step and taking it away after its last.
fn of_many_counts(steps: u32, runs: &[Run], value: impl Fn(u64, u64) -> f64) -> Vec<Point> {
    let mut changes = vec![(0u64, 0u64); steps as usize + 1];
    for run in runs {
        let enters = &mut changes[run.first as usize];
        *enters = (enters.0.wrapping_add(run.count), enters.1.wrapping_add(run.bytes));
        let leaves = &mut changes[(run.last as usize + 1).min(steps as usize)];
        *leaves = (leaves.0.wrapping_sub(run.count), leaves.1.wrapping_sub(run.bytes));
    }
    let (mut count, mut bytes) = (0u64, 0u64);
    let mut points = Vec::new();
    for (step, change) in (0..steps).zip(changes) {
        // Wrapping: a step may take away more than it adds, what is left of all before is never less than none.
        (count, bytes) = (count.wrapping_add(change.0), bytes.wrapping_add(change.1));
        if count > 0 {
            points.push((step, value(count, bytes)));
        }
    }
    points
}

fn of_values(
    aggregation: &RangeAggregation,
    windows: &Windows,
    steps: u32,
    mut samples: SeriesSamples,
    budget: &Budget,
) -> LogqlResult<Vec<Point>> {
    samples.values.sort_by_key(|(time, _)| *time);
    let values = &samples.values;
    let mut points = Vec::new();
    let (mut start, mut end) = (0, 0);
    for step in 0..steps {
        let (after, until) = windows.window(step);
        start += values[start..].partition_point(|(time, _)| *time <= after);
        end = end.max(start);
        end += values[end..].partition_point(|(time, _)| *time <= until);
        if start < end {
            budget.check_time()?;
            points.push((step, of_window(aggregation, &values[start..end])));
        }
    }
    Ok(points)
}

/// The value of one window, which has at least one sample.
fn of_window(aggregation: &RangeAggregation, window: &[(i64, f64)]) -> f64 {
    let values = || window.iter().map(|(_, value)| *value);
    let interval = go_seconds(aggregation.range.interval_ns);
    match aggregation.op {
        RangeOp::Rate => values().sum::<f64>() / interval,
        RangeOp::RateCounter => counter_rate(window, aggregation.range.interval_ns),
        RangeOp::SumOverTime => values().sum(),
        RangeOp::AvgOverTime => mean(values()),
        RangeOp::MinOverTime => extreme(values(), |value, best| value < best),
        RangeOp::MaxOverTime => extreme(values(), |value, best| value > best),
        RangeOp::StdvarOverTime => variance(values()),
        RangeOp::StddevOverTime => variance(values()).sqrt(),
        RangeOp::QuantileOverTime => {
            quantile(aggregation.parameter.expect("the parser requires a quantile"), values().collect())
        }
        RangeOp::FirstOverTime => window[0].1,
        RangeOp::LastOverTime => window[window.len() - 1].1,
        RangeOp::AbsentOverTime => 1.0,
        RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate => {
            unreachable!("the parser refuses {} with unwrap", aggregation.op.as_str())
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0f64, 0.0f64);
    for value in values {
        count += 1.0;
        if mean.is_infinite() {
            let same_infinity = value.is_infinite() && (mean > 0.0) == (value > 0.0);
            if same_infinity || value.is_finite() {
                continue;
            }
        }
        mean += value / count - mean / count;
    }
    mean
}

fn extreme(mut values: impl Iterator<Item = f64>, better: impl Fn(f64, f64) -> bool) -> f64 {
    let first = values.next().unwrap_or(f64::NAN);
    values.fold(first, |best, value| if better(value, best) || best.is_nan() { value } else { best })
}

/// Welford's algorithm.
fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count, mut mean) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        sum += delta * (value - mean);
    }
    sum / count
}

fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN sorts first, as in Loki's heap.
    values.sort_unstable_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min((values.len() - 1) as f64);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// `rate_counter`: Prometheus' extrapolation, between the first sample less the interval and the last sample.
fn counter_rate(window: &[(i64, f64)], interval_ns: i64) -> f64 {
    let ([(first_ns, first), .., (last_ns, last)], 2..) = (window, window.len()) else { return 0.0 };
    let mut increase = last - first;
    let mut before = 0.0;
    for (_, value) in window {
        if *value < before {
            increase += before;
        }
        before = *value;
    }
    // Loki passes nanoseconds where Prometheus has milliseconds; the quotients are the same.
    let sampled = (last_ns - first_ns) as f64;
    let average = sampled / (window.len() - 1) as f64;
    let mut to_start = (interval_ns / 1_000_000) as f64;
    if increase > 0.0 && *first >= 0.0 {
        to_start = to_start.min(sampled * (first / increase));
    }
    let mut extrapolated = sampled;
    extrapolated += if to_start < average * 1.1 { to_start } else { average / 2.0 };
    // The last sample is the end of the range, so nothing is added there.
    increase * (extrapolated / sampled) / go_seconds(interval_ns)
}

/// One series with the labels of the selector's `=` matchers, at the steps where nothing was found.
fn absent(aggregation: &RangeAggregation, steps: u32, found: &SeriesSet) -> SeriesSet {
    let mut present = vec![false; steps as usize];
    for (step, _) in found.iter().flat_map(|series| &series.points) {
        present[*step as usize] = true;
    }
    let matchers = &aggregation.range.log.matchers;
    let mut labels = model::LabelsBuilder::new();
    for (index, matcher) in matchers.iter().enumerate() {
        let unique = matchers.iter().enumerate().all(|(other, m)| other == index || m.name != matcher.name);
        if matcher.op == model::MatchOp::Equal && unique && matcher.name != model::METRIC_NAME {
            labels.set(&matcher.name, &matcher.value);
        }
    }
    let missing = (0..steps).filter(|&step| !present[step as usize]);
    let points: Vec<Point> = missing.map(|step| (step, 1.0)).collect();
    if points.is_empty() { Vec::new() } else { vec![Series { labels: labels.build(), points }] }
}

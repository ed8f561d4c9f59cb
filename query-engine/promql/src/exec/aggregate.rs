//! Aggregations that accumulate: each series is added to the cells `[group, step]` and forgotten.
//!
//! Series are computed in batches on all cores and added in their order, so that results do not depend on the number
//! of threads and equal what Prometheus adds up in the same order.

use hashbrown::HashMap;
use model::{Labels, METRIC_NAME};

use super::Evaluator;
use super::column::{ABSENT, Column, Key, SeriesColumn, is_absent, is_float};
use super::grid::Grid;
use super::histogram_aggregate::HistogramAccumulator;
use super::kahan::{self, Mean};
use super::source::Source;
use crate::error::PromqlResult;
use crate::syntax::{Aggregate, AggregateOp, Span};

/// Cells (series times steps) that one batch holds: 16 MiB of floats.
const BATCH_CELLS: usize = 2 << 20;

/// Which group each series belongs to.
pub(super) struct Groups {
    pub(super) labels: Vec<Labels>,
    pub(super) of: Vec<usize>,
}

impl Groups {
    pub(super) fn new(keys: &[Key], aggregate: &Aggregate) -> Self {
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut groups = Self { labels: Vec::new(), of: Vec::with_capacity(keys.len()) };
        let is_global = !aggregate.without && aggregate.grouping.is_empty();
        for key in keys {
            let labels = if is_global { Labels::empty() } else { group_labels(&key.labels, aggregate) };
            let next = groups.labels.len();
            let group = *index.entry(labels).or_insert_with_key(|labels| {
                groups.labels.push(labels.clone());
                next
            });
            groups.of.push(group);
        }
        groups
    }
}

fn group_labels(labels: &Labels, aggregate: &Aggregate) -> Labels {
    let listed = |name: &str| aggregate.grouping.iter().any(|label| label == name);
    if aggregate.without {
        labels.without(|name| name == METRIC_NAME || listed(name))
    } else {
        labels.without(|name| !listed(name))
    }
}

impl<'q> Evaluator<'q> {
    pub(super) fn aggregate(
        &self,
        aggregate: &'q Aggregate,
        span: Span,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                return self.rank(aggregate, span, grid);
            }
            AggregateOp::CountValues => return self.count_values(aggregate, grid),
            AggregateOp::Quantile => return self.quantile_of_groups(aggregate, grid),
            _ => {}
        }
        let source = self.source(&aggregate.expr, grid)?;
        let groups = Groups::new(&source.keys, aggregate);
        let count = groups.labels.len();
        self.context.hold_columns(count * 3, grid.steps)?;
        let mut drop_name = vec![false; count];
        let mut cells = Accumulator::new(aggregate.op, count, grid.steps);
        let mut histograms =
            HistogramAccumulator::new(aggregate.op, grid.steps, aggregate.expr.span, self.context);
        let batch = (BATCH_CELLS / grid.steps.max(1)).clamp(1, 8192);
        let mut next = 0;
        while next < source.keys.len() {
            let end = (next + batch).min(source.keys.len());
            let held = self.context.held();
            self.context.hold_columns(end - next, grid.steps)?;
            for column in source.batch(next..end, self.context, grid)? {
                let (key, group) = (&source.keys[next], groups.of[next]);
                drop_name[group] |= key.drop_name;
                cells.add(group, &column);
                if column.has_histograms() {
                    let metric = key.labels.get(METRIC_NAME).unwrap_or("");
                    histograms.add(group, &column, metric);
                }
                next += 1;
            }
            self.context.release_to(held);
            self.context.hold_samples(histograms.take_kept())?;
        }
        let series = groups.labels.into_iter().zip(drop_name).enumerate();
        let series = series.map(|(group, (labels, drop_name))| {
            let mut column = Column::floats(cells.finish(group));
            histograms.finish(group, &mut column);
            SeriesColumn { key: Key { labels, drop_name }, column }
        });
        Ok(Source::ready(series.filter(|series| !series.column.is_empty()).collect()))
    }
}

/// The running values of an aggregation, one cell per group and step.
struct Accumulator {
    op: AggregateOp,
    steps: usize,
    /// The sum, extreme, count or sum of squared distances; `ABSENT` where no sample was added.
    value: Vec<f64>,
    /// Compensation of `value`, or the running mean.
    second: Vec<f64>,
    /// Number of samples, for operators that need it beside `value`.
    count: Vec<f64>,
    /// Cells of `avg` whose sum would overflow.
    means: HashMap<usize, Mean>,
    /// Whether every cell of a group has a sample; nothing for a group without any series.
    is_full: Vec<Option<bool>>,
}

impl Accumulator {
    fn new(op: AggregateOp, groups: usize, steps: usize) -> Self {
        let cells = groups * steps;
        let needs = |needed: bool| if needed { vec![0.0; cells] } else { Vec::new() };
        use AggregateOp as A;
        let is_deviation = matches!(op, A::Stddev | A::Stdvar);
        Self {
            op,
            steps,
            value: vec![ABSENT; cells],
            second: needs(is_deviation || matches!(op, A::Sum | A::Avg)),
            count: needs(is_deviation || op == A::Avg),
            means: HashMap::new(),
            is_full: vec![None; groups],
        }
    }

    fn add(&mut self, group: usize, column: &Column) {
        let is_full = column.values.iter().all(|value| is_float(*value));
        let was_full = self.is_full[group];
        self.is_full[group] = Some(is_full || was_full == Some(true));
        if self.op == AggregateOp::Sum && is_full && was_full != Some(false) {
            return self.add_full_sum(group, &column.values, was_full.is_none());
        }
        let first = group * self.steps;
        let value = &mut self.value[first..][..self.steps];
        let present = column.values.iter().copied().enumerate().filter(|(_, v)| is_float(*v));
        match self.op {
            AggregateOp::Sum => {
                let second = &mut self.second[first..][..self.steps];
                for (step, v) in present {
                    if is_absent(value[step]) {
                        value[step] = v;
                    } else {
                        (value[step], second[step]) = kahan::add(v, value[step], second[step]);
                    }
                }
            }
            AggregateOp::Avg => {
                for (step, v) in present {
                    self.add_to_average(first + step, v);
                }
            }
            AggregateOp::Min => {
                for (step, v) in present {
                    if is_absent(value[step]) || v < value[step] || value[step].is_nan() {
                        value[step] = v;
                    }
                }
            }
            AggregateOp::Max => {
                for (step, v) in present {
                    if is_absent(value[step]) || v > value[step] || value[step].is_nan() {
                        value[step] = v;
                    }
                }
            }
            AggregateOp::Count => {
                for (step, _) in present {
                    value[step] = if is_absent(value[step]) { 1.0 } else { value[step] + 1.0 };
                }
            }
            AggregateOp::Group => {
                for (step, _) in present {
                    value[step] = 1.0;
                }
            }
            _ => {
                let mean = &mut self.second[first..][..self.steps];
                let count = &mut self.count[first..][..self.steps];
                for (step, v) in present {
                    count[step] += 1.0;
                    if count[step] == 1.0 {
                        mean[step] = v;
                        value[step] = if v.is_finite() { 0.0 } else { f64::NAN };
                        continue;
                    }
                    let delta = v - mean[step];
                    mean[step] += delta / count[step];
                    value[step] += delta * (v - mean[step]);
                }
            }
        }
    }

    /// `sum` where nothing is missing: the same additions without branches. What the compensation of an infinite sum is
    /// does not matter, since [`Accumulator::finish`] does not look at it.
    fn add_full_sum(&mut self, group: usize, values: &[f64], is_first: bool) {
        let first = group * self.steps;
        let sums = &mut self.value[first..][..self.steps];
        if is_first {
            sums.copy_from_slice(values);
            return;
        }
        let lost = &mut self.second[first..][..self.steps];
        for ((sum, lost), value) in sums.iter_mut().zip(lost).zip(values) {
            let total = *sum + value;
            let part = total - *sum;
            *lost += (*sum - (total - part)) + (value - part);
            *sum = total;
        }
    }

    fn add_to_average(&mut self, cell: usize, v: f64) {
        self.count[cell] += 1.0;
        if self.count[cell] == 1.0 {
            self.value[cell] = v;
            return;
        }
        if let Some(mean) = self.means.get_mut(&cell) {
            mean.add(v);
            return;
        }
        let (sum, compensation) = kahan::add(v, self.value[cell], self.second[cell]);
        if sum.is_infinite() {
            let mut mean = Mean::resume(self.value[cell], self.second[cell], self.count[cell] - 1.0);
            mean.add(v);
            self.means.insert(cell, mean);
            return;
        }
        (self.value[cell], self.second[cell]) = (sum, compensation);
    }

    /// The finished column of a group.
    fn finish(&self, group: usize) -> Vec<f64> {
        let first = group * self.steps;
        let cells = (first..first + self.steps).map(|cell| {
            let value = self.value[cell];
            if is_absent(value) {
                return ABSENT;
            }
            match self.op {
                AggregateOp::Sum if !value.is_finite() => value,
                AggregateOp::Sum => value + self.second[cell],
                AggregateOp::Avg => match self.means.get(&cell) {
                    Some(mean) => mean.value(),
                    None => value / self.count[cell] + self.second[cell] / self.count[cell],
                },
                AggregateOp::Stdvar => value / self.count[cell],
                AggregateOp::Stddev => (value / self.count[cell]).sqrt(),
                _ => value,
            }
        });
        cells.collect()
    }
}

//! Aggregations that need all series of a group at once: `topk`, `bottomk`, `limitk`, `limit_ratio`, `quantile`,
//! `count_values`.

use hashbrown::HashMap;
use model::Labels;

use super::aggregate::Groups;
use super::column::{Cell, Column, Key, SeriesColumn, is_absent, is_float};
use super::grid::Grid;
use super::quantile::quantile;
use super::source::Source;
use super::{Evaluator, parallel, string_of};
use crate::annotations::Annotation;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Aggregate, AggregateOp, Expr, Span, format_float};

/// The series of each group, in their order.
fn members(groups: &Groups) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); groups.labels.len()];
    for (series, group) in groups.of.iter().enumerate() {
        members[*group].push(series);
    }
    members
}

fn param(aggregate: &Aggregate) -> PromqlResult<&Expr> {
    let missing = || PromqlError::execution(format!("{} without a parameter", aggregate.op.name()));
    aggregate.param.as_deref().ok_or_else(missing)
}

impl<'q> Evaluator<'q> {
    pub(super) fn rank(&self, aggregate: &'q Aggregate, span: Span, grid: Grid) -> PromqlResult<Source<'q>> {
        let param = param(aggregate)?;
        let params = self.scalar(param, grid)?;
        let series = self.vector(&aggregate.expr, grid)?;
        if !self.check_rank_params(aggregate.op, &params, param.span)? {
            return Ok(Source::ready(Vec::new()));
        }
        let keys: Vec<Key> = series.iter().map(|s| s.key.clone()).collect();
        let groups = Groups::new(&keys, aggregate);
        let members = members(&groups);
        let mut columns: Vec<Column> = series.iter().map(|_| Column::default()).collect();
        let mut order = Vec::new();
        let mut chosen = Vec::new();
        for (step, param) in params.iter().enumerate() {
            if step % 64 == 0 {
                self.context.check()?;
            }
            for group in &members {
                self.choose(aggregate.op, *param, &series, group, step, span, &mut chosen);
                for &index in &chosen {
                    let column = &mut columns[index];
                    if column.values.is_empty() {
                        self.context.hold_columns(1, grid.steps)?;
                        *column = Column::absent(grid.steps);
                    }
                    if let Some(cell) = series[index].column.get(step) {
                        column.set(step, cell);
                    }
                }
                if grid.steps == 1 {
                    order.extend_from_slice(&chosen);
                }
            }
        }
        let mut ranked: Vec<Option<SeriesColumn>> = keys
            .into_iter()
            .zip(columns)
            .map(|(key, column)| (!column.values.is_empty()).then_some(SeriesColumn { key, column }))
            .collect();
        if grid.steps == 1 {
            // The order of an instant result is the rank.
            return Ok(Source::ready(order.into_iter().filter_map(|index| ranked[index].take()).collect()));
        }
        Ok(Source::ready(ranked.into_iter().flatten().collect()))
    }

    /// Whether there is anything to do at all.
    fn check_rank_params(&self, op: AggregateOp, params: &[f64], span: Span) -> PromqlResult<bool> {
        let max = params.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = params.iter().copied().fold(f64::INFINITY, f64::min);
        let has_nan = params.iter().any(|value| value.is_nan());
        if op == AggregateOp::LimitRatio {
            if max == 0.0 && min == 0.0 {
                return Ok(false);
            }
            if has_nan {
                return Err(PromqlError::execution("Ratio value is NaN"));
            }
            if max > 1.0 {
                self.context.annotate(Annotation::invalid_ratio(span, max, 1.0));
            }
            if min < -1.0 {
                self.context.annotate(Annotation::invalid_ratio(span, min, -1.0));
            }
            return Ok(true);
        }
        if max < 1.0 && !has_nan {
            return Ok(false);
        }
        if has_nan {
            return Err(PromqlError::execution("Parameter value is NaN"));
        }
        if min <= i64::MIN as f64 {
            let text = format!("Scalar value {} underflows int64", crate::syntax::format_float_g(min));
            return Err(PromqlError::execution(text));
        }
        if max >= i64::MAX as f64 {
            let text = format!("Scalar value {} overflows int64", crate::syntax::format_float_g(max));
            return Err(PromqlError::execution(text));
        }
        Ok(true)
    }

    /// The series of one group that stay at one step, best first.
    #[expect(clippy::too_many_arguments, reason = "one call site in the innermost loop")]
    fn choose(
        &self,
        op: AggregateOp,
        param: f64,
        series: &[SeriesColumn],
        group: &[usize],
        step: usize,
        span: Span,
        chosen: &mut Vec<usize>,
    ) {
        chosen.clear();
        let present = group.iter().copied().filter(|&i| series[i].column.is_present(step));
        if op == AggregateOp::LimitRatio {
            let ratio = param.clamp(-1.0, 1.0);
            chosen.extend(present.filter(|&i| in_ratio(&series[i].key.labels, ratio)));
            return;
        }
        if param < 1.0 {
            return;
        }
        let k = param as usize;
        if op == AggregateOp::Limitk {
            chosen.extend(present.take(k));
            return;
        }
        let mut heap = Heap { is_top: op == AggregateOp::Topk, items: Vec::with_capacity(k.min(64)) };
        for index in present {
            let value = series[index].column.values[step];
            if is_float(value) {
                heap.offer(k, value, index);
            } else {
                let note = Annotation::histogram_ignored_in_aggregation(span, op.name());
                self.context.annotate(note);
            }
        }
        chosen.extend(heap.into_ranked());
    }

    pub(super) fn quantile_of_groups(
        &self,
        aggregate: &'q Aggregate,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        let param = param(aggregate)?;
        let params = self.scalar(param, grid)?;
        let bad = params.iter().filter(|q| !(0.0..=1.0).contains(*q));
        for q in bad {
            self.context.annotate(Annotation::invalid_quantile(param.span, *q));
        }
        let series = self.vector(&aggregate.expr, grid)?;
        let keys: Vec<Key> = series.iter().map(|s| s.key.clone()).collect();
        let groups = Groups::new(&keys, aggregate);
        let members = members(&groups);
        let (context, span) = (self.context, aggregate.expr.span);
        let columns = parallel::map(context, members.len(), grid.steps * 64, |group, scratch| {
            let mut column = Column::absent(grid.steps);
            for (step, q) in params.iter().enumerate() {
                scratch.floats.clear();
                for &index in &members[group] {
                    let value = series[index].column.values[step];
                    if is_float(value) {
                        scratch.floats.push(value);
                    } else if !is_absent(value) {
                        context.annotate(Annotation::histogram_ignored_in_aggregation(span, "quantile"));
                    }
                }
                if !scratch.floats.is_empty() {
                    column.values[step] = quantile(*q, &mut scratch.floats);
                }
            }
            Ok(column)
        })?;
        let drop_name = |group: usize| members[group].iter().any(|&i| series[i].key.drop_name);
        let result = groups.labels.iter().cloned().zip(columns).enumerate();
        let result = result.map(|(group, (labels, column))| SeriesColumn {
            key: Key { labels, drop_name: drop_name(group) },
            column,
        });
        Ok(Source::ready(result.filter(|s| !s.column.is_empty()).collect()))
    }

    pub(super) fn count_values(&self, aggregate: &'q Aggregate, grid: Grid) -> PromqlResult<Source<'q>> {
        let param = param(aggregate)?;
        let invalid = || PromqlError::execution(format!("invalid label name {param}"));
        let label = string_of(param).map_err(|_| invalid())?;
        if label.is_empty() {
            return Err(invalid());
        }
        let series = self.vector(&aggregate.expr, grid)?;
        let mut grouping = aggregate.clone();
        if !grouping.without {
            grouping.grouping.push(label.to_owned());
        }
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut result: Vec<SeriesColumn> = Vec::new();
        for series in &series {
            for step in 0..grid.steps {
                let text = match series.column.get(step) {
                    None => continue,
                    Some(Cell::Float(value)) => format_float(value),
                    Some(Cell::Histogram(histogram)) => histogram.to_string(),
                };
                let labels = series.key.labels.to_builder().set(label, &text).build();
                let key = Key { labels, drop_name: false };
                let labels = Groups::new(&[key], &grouping).labels.remove(0);
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        // Every value makes a series: this can be far more than came in.
                        self.context.hold_columns(1, grid.steps)?;
                        let key = Key { labels: labels.clone(), drop_name: false };
                        result.push(SeriesColumn { key, column: Column::absent(grid.steps) });
                        places.insert(labels, result.len() - 1);
                        result.len() - 1
                    }
                };
                let count = &mut result[place].column.values[step];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
            self.context.check()?;
        }
        Ok(Source::ready(result))
    }
}

/// The best values so far, the worst of them in front.
///
/// Which of several equal values stays is decided by how Go's container/heap moves them; the same moves here keep the
/// same series as Prometheus.
struct Heap {
    is_top: bool,
    /// Value, and position of its series.
    items: Vec<(f64, usize)>,
}

impl Heap {
    /// Whether `a` is worse than `b`; NaN is worse than everything.
    fn is_worse(&self, a: f64, b: f64) -> bool {
        a.is_nan() || if self.is_top { a < b } else { a > b }
    }

    fn offer(&mut self, k: usize, value: f64, index: usize) {
        if self.items.len() < k {
            self.items.push((value, index));
            let mut at = self.items.len() - 1;
            while at > 0 {
                let parent = (at - 1) / 2;
                if !self.is_worse(self.items[at].0, self.items[parent].0) {
                    break;
                }
                self.items.swap(at, parent);
                at = parent;
            }
            return;
        }
        let worst = self.items[0].0;
        let is_better = if self.is_top { worst < value } else { worst > value };
        if is_better || (worst.is_nan() && !value.is_nan()) {
            self.items[0] = (value, index);
            self.sink();
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.items.len() {
                return;
            }
            let right = left + 1;
            let is_right = right < self.items.len() && self.is_worse(self.items[right].0, self.items[left].0);
            let child = if is_right { right } else { left };
            if !self.is_worse(self.items[child].0, self.items[at].0) {
                return;
            }
            self.items.swap(at, child);
            at = child;
        }
    }

    /// Positions, best first; equal values as they lie in the heap.
    fn into_ranked(mut self) -> impl Iterator<Item = usize> {
        let is_top = self.is_top;
        self.items.sort_by(|(a, _), (b, _)| match (a.is_nan(), b.is_nan()) {
            (false, false) if is_top => b.partial_cmp(a).expect("neither is NaN"),
            (false, false) => a.partial_cmp(b).expect("neither is NaN"),
            (a, b) => a.cmp(&b),
        });
        self.items.into_iter().map(|(_, index)| index)
    }
}

/// Whether a series belongs to the share `ratio` of all; a negative share is the complement from the other end.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let offset = super::label_hash::offset(labels);
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

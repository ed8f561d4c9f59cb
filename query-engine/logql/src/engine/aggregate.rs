//! Aggregations over series: `sum by (…)`, `topk`, `sort` and the rest.

use std::cmp::Ordering;

use hashbrown::HashMap;
use model::Labels;

use super::series::{Point, Series, SeriesSet};
use crate::syntax::{Grouping, VectorAggregation, VectorOp};

/// Applies an aggregation. Groups come in the order of their labels.
pub(super) fn apply(aggregation: &VectorAggregation, steps: u32, input: SeriesSet) -> SeriesSet {
    match aggregation.op {
        VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk => select(aggregation, input),
        VectorOp::Sort | VectorOp::SortDesc => sort(aggregation.op, input),
        _ => fold_groups(aggregation, steps, input),
    }
}

/// Labels of the group that a series belongs to.
fn group_labels(grouping: &Grouping, labels: &Labels) -> Labels {
    if grouping.is_single_group() {
        return Labels::empty();
    }
    let named = |name: &str| grouping.labels.iter().any(|label| label == name);
    if grouping.without { labels.without(named) } else { labels.without(|name| !named(name)) }
}

/// Groups in the order of their labels, each with its series in order.
fn groups(grouping: &Grouping, input: SeriesSet) -> Vec<(Labels, SeriesSet)> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, SeriesSet)> = Vec::new();
    for series in input {
        let labels = group_labels(grouping, &series.labels);
        let position = *index.entry(labels).or_insert_with_key(|labels| {
            groups.push((labels.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[position].1.push(series);
    }
    groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    groups
}

/// What a group knows at a step. Each operator uses the fields it needs.
#[derive(Clone, Copy, Default)]
struct Cell {
    count: u64,
    value: f64,
    mean: f64,
}

fn fold_groups(aggregation: &VectorAggregation, steps: u32, input: SeriesSet) -> SeriesSet {
    let mut cells = vec![Cell::default(); steps as usize];
    let mut output = Vec::new();
    for (labels, members) in groups(&aggregation.grouping, input) {
        cells.fill(Cell::default());
        for (step, value) in members.into_iter().flat_map(|series| series.points) {
            fold(aggregation.op, &mut cells[step as usize], value);
        }
        let filled = cells.iter().zip(0u32..).filter(|(cell, _)| cell.count > 0);
        let points: Vec<Point> = filled.map(|(cell, step)| (step, finished(aggregation.op, cell))).collect();
        output.push(Series { labels, points });
    }
    output
}

fn fold(op: VectorOp, cell: &mut Cell, value: f64) {
    cell.count += 1;
    if cell.count == 1 {
        cell.mean = value;
        cell.value = if matches!(op, VectorOp::Stddev | VectorOp::Stdvar) { 0.0 } else { value };
        return;
    }
    match op {
        VectorOp::Sum => cell.value += value,
        VectorOp::Avg => cell.mean += (value - cell.mean) / cell.count as f64,
        VectorOp::Max if cell.value < value || cell.value.is_nan() => cell.value = value,
        VectorOp::Min if cell.value > value || cell.value.is_nan() => cell.value = value,
        VectorOp::Stddev | VectorOp::Stdvar => {
            let delta = value - cell.mean;
            cell.mean += delta / cell.count as f64;
            cell.value += delta * (value - cell.mean);
        }
        _ => {}
    }
}

fn finished(op: VectorOp, cell: &Cell) -> f64 {
    match op {
        VectorOp::Avg => cell.mean,
        VectorOp::Count => cell.count as f64,
        VectorOp::Stddev => (cell.value / cell.count as f64).sqrt(),
        VectorOp::Stdvar => cell.value / cell.count as f64,
        _ => cell.value,
    }
}

/// Order of `topk` (`descending`) and `bottomk`: best first, NaN last, ties by position.
fn best_first(descending: bool, a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ if descending => b.total_cmp(&a),
        _ => a.total_cmp(&b),
    }
}

/// The `count` best series of each group at each step, with their own labels. For one step they come best first.
fn select(aggregation: &VectorAggregation, input: SeriesSet) -> SeriesSet {
    let descending = aggregation.op != VectorOp::Bottomk;
    let mut output = Vec::new();
    for (_, members) in groups(&aggregation.grouping, input) {
        let mut points: Vec<(u32, f64, usize)> = Vec::new();
        for (index, series) in members.iter().enumerate() {
            points.extend(series.points.iter().map(|&(step, value)| (step, value, index)));
        }
        points.sort_by(|a, b| a.0.cmp(&b.0).then(best_first(descending, a.1, b.1)).then(a.2.cmp(&b.2)));
        let mut kept: Vec<Vec<Point>> = vec![Vec::new(); members.len()];
        let mut appearance = Vec::new();
        for at_step in points.chunk_by(|a, b| a.0 == b.0) {
            for &(step, value, index) in at_step.iter().take(aggregation.count) {
                if kept[index].is_empty() {
                    appearance.push(index);
                }
                kept[index].push((step, value));
            }
        }
        for index in appearance {
            let points = std::mem::take(&mut kept[index]);
            output.push(Series { labels: members[index].labels.clone(), points });
        }
    }
    output
}

/// Orders series by the value of their first point: only instant queries show it, and they have one point each.
fn sort(op: VectorOp, mut input: SeriesSet) -> SeriesSet {
    let value = |series: &Series| series.points.first().map_or(f64::NAN, |point| point.1);
    input.sort_by(|a, b| best_first(op == VectorOp::SortDesc, value(a), value(b)));
    input
}

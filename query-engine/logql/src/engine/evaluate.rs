//! Evaluates the tree of a metric query once the samples of its range aggregations are there.

use regex::Regex;

use super::grid::Grid;
use super::plan::{Leaf, MetricPlan};
use super::samples::SampleSeries;
use super::series::{Series, SeriesBuilder, SeriesSet};
use super::{aggregate, binary, window};
use crate::go_regex;
use crate::scan::Budget;
use crate::syntax::{LabelReplace, MetricExpr, MetricKind};
use crate::{LogqlError, LogqlResult};

/// What a part of the tree gives.
pub(super) enum Value {
    Number(f64),
    Series(SeriesSet),
}

/// Evaluates `plan` with the samples of its leaves, in the order of the leaves.
pub(super) fn evaluate(
    plan: &MetricPlan,
    grid: &Grid,
    samples: Vec<SampleSeries>,
    budget: &Budget,
) -> LogqlResult<Value> {
    let mut leaves = plan.leaves.iter().zip(samples);
    let mut next_leaf = || leaves.next().expect("the plan has one leaf per range aggregation");
    node(&plan.root, grid, &mut next_leaf, budget)
}

type NextLeaf<'a, 'b> = dyn FnMut() -> (&'a Leaf, SampleSeries) + 'b;

fn node<'a>(
    expr: &MetricExpr,
    grid: &Grid,
    next_leaf: &mut NextLeaf<'a, '_>,
    budget: &Budget,
) -> LogqlResult<Value> {
    budget.check_time()?;
    let MetricExpr { kind, .. } = expr;
    Ok(Value::Series(match kind {
        MetricKind::Literal(value) => return Ok(Value::Number(*value)),
        MetricKind::Constant(value) => {
            let points = (0..grid.count).map(|step| (step, *value)).collect();
            vec![Series { labels: model::Labels::empty(), points }]
        }
        MetricKind::Range(aggregation) => {
            let (leaf, samples) = next_leaf();
            window::apply(aggregation, &leaf.spec.windows, grid.count, samples, budget)?
        }
        MetricKind::Vector(aggregation) => {
            let input = series(node(&aggregation.inner, grid, next_leaf, budget)?, grid);
            aggregate::apply(aggregation, grid.count, input)
        }
        MetricKind::Binary(operation) => {
            let left = node(&operation.left, grid, next_leaf, budget)?;
            let right = node(&operation.right, grid, next_leaf, budget)?;
            match (left, right) {
                (Value::Number(a), Value::Number(b)) => return Ok(Value::Number(operation.op.apply(a, b))),
                (Value::Number(a), Value::Series(b)) => binary::with_number(operation, b, a, true),
                (Value::Series(a), Value::Number(b)) => binary::with_number(operation, a, b, false),
                (Value::Series(a), Value::Series(b)) => binary::between(operation, a, b)?,
            }
        }
        MetricKind::LabelReplace(replace) => {
            let input = series(node(&replace.inner, grid, next_leaf, budget)?, grid);
            label_replace(replace, input)?
        }
    }))
}

/// A number where series are expected counts at every step.
fn series(value: Value, grid: &Grid) -> SeriesSet {
    match value {
        Value::Series(series) => series,
        Value::Number(value) => {
            let points = (0..grid.count).map(|step| (step, value)).collect();
            vec![Series { labels: model::Labels::empty(), points }]
        }
    }
}

fn label_replace(replace: &LabelReplace, input: SeriesSet) -> LogqlResult<SeriesSet> {
    let regex = go_regex::compile_anchored(&replace.regex)
        .map_err(|reason| LogqlError::parse(format_args!("invalid regex in label_replace: {reason}")))?;
    let mut builder = SeriesBuilder::default();
    for series in input {
        let labels = replaced(replace, &regex, &series.labels);
        builder.points(&labels).extend(series.points);
    }
    builder.build().ok_or_else(|| {
        LogqlError::limit("label_replace gives several series the same labels at the same time")
    })
}

fn replaced(replace: &LabelReplace, regex: &Regex, labels: &model::Labels) -> model::Labels {
    let Some(captures) = regex.captures(labels.get(&replace.source).unwrap_or("")) else {
        return labels.clone();
    };
    let mut value = String::new();
    captures.expand(&replace.replacement, &mut value);
    labels.to_builder().set(&replace.destination, &value).build()
}

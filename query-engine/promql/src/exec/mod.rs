//! Evaluation of a plan: pure CPU work over series that were selected before.
//!
//! An operator turns sources into a source: keys known up front, values made one series at a time into a column of all
//! steps, on whichever thread asks. Aggregations and joins consume sources in batches, so that a query never holds all
//! raw samples, and the label work of grouping and joining is done once per series, not per step.

mod aggregate;
mod binary;
pub(crate) mod calendar;
mod classic_histogram;
pub(crate) mod column;
mod compare_labels;
pub(crate) mod context;
mod elementwise;
mod functions;
pub(crate) mod grid;
mod histogram_aggregate;
mod histogram_functions;
mod histogram_quantile;
mod info;
mod join;
mod kahan;
mod label_functions;
mod label_hash;
mod matrix;
mod merge;
mod parallel;
mod quantile;
mod range_functions;
mod rank;
mod scalar;
mod scratch;
mod selector;
mod set_operators;
mod source;

use std::sync::Arc;

use storage_api::Series;

use crate::error::{PromqlError, PromqlResult};
use crate::plan::Plan;
use crate::syntax::{Expr, ExprKind, ValueType};
use column::{Key, SeriesColumn};
use context::Context;
use grid::Grid;
use source::Source;

/// Evaluates expressions of one plan.
pub(crate) struct Evaluator<'q> {
    pub(crate) context: &'q Context,
    /// Selected series, by the slot of their selector.
    pub(crate) selected: &'q [Arc<[Series]>],
}

/// The value of an expression on a grid.
pub(crate) enum Value {
    Scalar(Vec<f64>),
    String(String),
    Vector(Vec<SeriesColumn>),
}

impl<'q> Evaluator<'q> {
    /// Evaluates a whole plan on its grid.
    pub(crate) fn run(&self, plan: &'q Plan, grid: Grid) -> PromqlResult<Value> {
        let value = self.value(&plan.expr, grid)?;
        Ok(match value {
            Value::Vector(series) => Value::Vector(self.finish_names(series)?),
            other => other,
        })
    }

    fn value(&self, expr: &'q Expr, grid: Grid) -> PromqlResult<Value> {
        Ok(match expr.value_type() {
            ValueType::Scalar => Value::Scalar(self.scalar(expr, grid)?),
            ValueType::String => Value::String(shown_string_of(expr)?),
            ValueType::Vector | ValueType::Matrix => Value::Vector(self.vector(expr, grid)?),
        })
    }

    /// Evaluates an instant vector into columns, without series that have no sample.
    fn vector(&self, expr: &'q Expr, grid: Grid) -> PromqlResult<Vec<SeriesColumn>> {
        let held = self.context.held();
        let series = self.source(expr, grid)?.collect(self.context, grid)?;
        self.context.release_to(held);
        self.context.hold_columns(series.len(), grid.steps)?;
        self.context.hold_samples(series.iter().map(|s| s.column.samples()).sum())?;
        Ok(series)
    }

    /// An instant vector as a source of columns.
    fn source(&self, expr: &'q Expr, grid: Grid) -> PromqlResult<Source<'q>> {
        self.context.check()?;
        match &expr.kind {
            ExprKind::Paren(inner) => self.source(inner, grid),
            ExprKind::StepInvariant(inner) => self.step_invariant(inner, grid),
            ExprKind::Vector(selector) => self.vector_selector(selector, expr.span, grid),
            ExprKind::Unary { negative, expr: inner } => self.unary(*negative, inner, grid),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr.span, grid),
            ExprKind::Binary(binary) => self.binary(binary, expr.span, grid),
            ExprKind::Call(call) => self.call(call, expr.span, grid),
            // Only reached for a whole query that is a subquery: its samples are the inner steps.
            ExprKind::Subquery(subquery) => {
                let inner = self.subquery_grid(subquery, grid);
                self.source(&subquery.expr, inner)
            }
            ExprKind::Matrix(_) | ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Bytes(_) => {
                Err(PromqlError::execution(format!("{expr} is no instant vector")))
            }
        }
    }

    /// Evaluates once and repeats the value at every step.
    fn step_invariant(&self, inner: &'q Expr, grid: Grid) -> PromqlResult<Source<'q>> {
        if grid.steps <= 1 {
            return self.source(inner, grid);
        }
        let series = self.vector(inner, grid.first_step())?;
        let keys = series.iter().map(|s| s.key.clone()).collect();
        Ok(Source::new(keys, move |index, _, out| {
            let column = &series[index].column;
            for step in 0..grid.steps {
                if let Some(cell) = column.get(0) {
                    out.set(step, cell);
                }
            }
            Ok(())
        }))
    }

    fn unary(&self, negative: bool, inner: &'q Expr, grid: Grid) -> PromqlResult<Source<'q>> {
        let source = self.source(inner, grid)?;
        if !negative {
            return Ok(source);
        }
        let source = self.without_names(source, grid, merge::Duplicates::Merge)?;
        Ok(source.map_columns(|column| {
            for value in &mut column.values {
                if column::is_float(*value) {
                    *value = -*value;
                }
            }
            for histogram in column.histograms.iter_mut().flatten() {
                let mut negated = (**histogram).clone();
                negated.multiply(-1.0);
                *histogram = Arc::new(negated);
            }
        }))
    }

    /// A source whose series lose their metric name, now or (with delayed removal) in the end. Where that makes equal
    /// label sets, they are dealt with as `duplicates` says.
    fn without_names(
        &self,
        mut source: Source<'q>,
        grid: Grid,
        duplicates: merge::Duplicates,
    ) -> PromqlResult<Source<'q>> {
        if self.context.delayed_name_removal {
            for key in &mut source.keys {
                key.drop_name = true;
            }
            return Ok(source);
        }
        for key in &mut source.keys {
            *key = self.dropped(key);
        }
        if !merge::has_duplicates(&source.keys) {
            return Ok(source);
        }
        let series = source.collect(self.context, grid)?;
        Ok(Source::ready(merge::merge(series, duplicates)?))
    }

    /// A key without its metric name, or marked to lose it.
    fn dropped(&self, key: &Key) -> Key {
        if self.context.delayed_name_removal {
            Key { labels: key.labels.clone(), drop_name: true }
        } else {
            Key { labels: merge::without_metadata(&key.labels), drop_name: true }
        }
    }

    /// The end of delayed name removal.
    fn finish_names(&self, mut series: Vec<SeriesColumn>) -> PromqlResult<Vec<SeriesColumn>> {
        if !self.context.delayed_name_removal {
            return Ok(series);
        }
        for series in &mut series {
            if series.key.drop_name {
                series.key.labels = merge::without_metadata(&series.key.labels);
            }
        }
        merge::merge(series, merge::Duplicates::Merge)
    }
}

/// The text of a string literal.
fn string_of(expr: &Expr) -> PromqlResult<&str> {
    match &expr.kind {
        ExprKind::String(text) => Ok(text),
        ExprKind::Paren(inner) | ExprKind::StepInvariant(inner) => string_of(inner),
        ExprKind::Bytes(_) => Err(PromqlError::execution(format!("string {expr} is not valid UTF-8"))),
        _ => Err(PromqlError::execution(format!("{expr} is no string"))),
    }
}

/// The same, where a string that is not UTF-8 can be shown: with replacement characters, as JSON shows it.
fn shown_string_of(expr: &Expr) -> PromqlResult<String> {
    match &expr.kind {
        ExprKind::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        ExprKind::Paren(inner) | ExprKind::StepInvariant(inner) => shown_string_of(inner),
        _ => string_of(expr).map(str::to_owned),
    }
}

//! Whole queries that are a range vector: their result is the samples themselves.

use std::sync::Arc;

use model::{Sample, TimeRange};
use storage_api::Series;

use super::Evaluator;
use super::grid::{Grid, Reference};
use super::range_functions::extended::samples_with_borders;
use super::scratch::Scratch;
use crate::engine::{matrix_series, unwrap_expr};
use crate::error::{PromqlError, PromqlResult};
use crate::output::MatrixSeries;
use crate::syntax::{Expr, ExprKind, Extension, MatrixSelector};

impl<'q> Evaluator<'q> {
    /// The samples of a range selector or a subquery at the one step of `grid`.
    pub(crate) fn matrix(&self, expr: &'q Expr, grid: Grid) -> PromqlResult<Vec<MatrixSeries>> {
        let expr = unwrap_expr(expr);
        match &expr.kind {
            ExprKind::Matrix(matrix) => {
                let series = self.series(&matrix.vector);
                let mut scratch = Scratch::default();
                let mut result = Vec::new();
                for series in series.iter() {
                    self.context.check()?;
                    result.extend(self.matrix_series(matrix, series, grid, &mut scratch)?);
                }
                Ok(result)
            }
            ExprKind::Subquery(subquery) => {
                let inner = self.subquery_grid(subquery, grid);
                let series = self.finish_names(self.vector(&subquery.expr, inner)?)?;
                Ok(series.into_iter().map(|s| matrix_series(s.key.labels, &s.column, inner)).collect())
            }
            _ => Err(PromqlError::execution(format!("{expr} is no range vector"))),
        }
    }

    fn matrix_series(
        &self,
        matrix: &MatrixSelector,
        series: &Series,
        grid: Grid,
        scratch: &mut Scratch,
    ) -> PromqlResult<Option<MatrixSeries>> {
        let vector = &matrix.vector;
        let end = Reference::new(vector.at, vector.offset.ms).at(grid, 0);
        let start = end.saturating_sub(matrix.range.ms);
        let lookback = self.context.lookback_ms;
        let (before, after) = match vector.extension {
            Extension::None => (0, 0),
            Extension::Anchored => (lookback, 0),
            Extension::Smoothed => (lookback, lookback),
        };
        let range = TimeRange::new(start.saturating_sub(before) + 1, end.saturating_add(after));
        scratch.samples.clear();
        series.chunks.decode(range, &mut scratch.samples)?;
        self.context.count_read(scratch.samples.len());
        scratch.split_samples();
        let points = &scratch.points;
        self.context.hold_samples(points.times.len() as u64)?;
        let is_smoothed = vector.extension == Extension::Smoothed;
        let floats: Vec<Sample> = if vector.extension == Extension::None {
            let samples = points.times.iter().zip(&points.values);
            samples.map(|(time, value)| Sample { timestamp_ms: *time, value: *value }).collect()
        } else {
            if !points.histograms.is_empty() {
                let name = if is_smoothed { "smoothed" } else { "anchored" };
                let text = format!("{name} modifier is not supported with histograms");
                return Err(PromqlError::execution(text));
            }
            samples_with_borders(&points.times, &points.values, start, end, is_smoothed)
        };
        let histograms: Vec<_> = points.histograms.iter().map(|(time, h)| (*time, Arc::clone(h))).collect();
        if floats.is_empty() && histograms.is_empty() {
            return Ok(None);
        }
        Ok(Some(MatrixSeries { labels: series.labels.clone(), floats, histograms }))
    }
}

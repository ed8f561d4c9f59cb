//! Function calls that answer an instant vector: which operator runs them.

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::column::{ABSENT, Column, Key, SeriesColumn, is_float};
use super::grid::Grid;
use super::merge::Duplicates;
use super::range_functions::RangeFunction;
use super::selector::Select;
use super::source::Source;
use super::{Evaluator, string_of};
use crate::annotations::Annotation;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Call, Expr, ExprKind, Extension, Span};

impl<'q> Evaluator<'q> {
    pub(super) fn call(&self, call: &'q Call, span: Span, grid: Grid) -> PromqlResult<Source<'q>> {
        if let Some(function) = RangeFunction::from_name(call.function.name) {
            let source = self.range_call(function, call, grid)?;
            if function == RangeFunction::Absent {
                return self.absent(source, &call.args[0], grid);
            }
            return Ok(source);
        }
        if let Some(source) = self.elementwise(call, grid)? {
            return Ok(source);
        }
        let args = &call.args;
        match call.function.name {
            "absent" => {
                let source = self.source(&args[0], grid)?;
                self.absent(source, &args[0], grid)
            }
            "timestamp" => self.timestamp(&args[0], grid),
            "vector" => {
                let values = self.scalar(&args[0], grid)?;
                let key = Key { labels: Labels::empty(), drop_name: false };
                Ok(Source::ready(vec![SeriesColumn { key, column: Column::floats(values) }]))
            }
            "sort" | "sort_desc" => self.sort(&args[0], span, grid, call.function.name == "sort_desc"),
            "sort_by_label" | "sort_by_label_desc" => {
                let is_descending = call.function.name == "sort_by_label_desc";
                let labels: PromqlResult<Vec<&str>> = args[1..].iter().map(string_of).collect();
                self.sort_by_label(&args[0], &labels?, span, grid, is_descending)
            }
            "label_replace" => self.label_replace(args, grid),
            "label_join" => self.label_join(args, grid),
            "histogram_quantile" => self.histogram_quantile(args, grid),
            "histogram_quantiles" => self.histogram_quantiles(args, grid),
            "histogram_fraction" => self.histogram_fraction(args, grid),
            "histogram_count" | "histogram_sum" | "histogram_avg" | "histogram_stddev"
            | "histogram_stdvar" => self.histogram_number(call.function.name, &args[0], grid),
            "info" => self.info(args, grid),
            name => {
                let text = format!("function {name} at byte {} is not supported", span.start);
                Err(PromqlError::execution(text))
            }
        }
    }

    /// One series of ones where `source` has no sample at all.
    fn absent(&self, source: Source<'q>, arg: &Expr, grid: Grid) -> PromqlResult<Source<'q>> {
        let series = source.collect(self.context, grid)?;
        self.context.hold_columns(1, grid.steps)?;
        let mut column = Column::floats(vec![1.0; grid.steps]);
        for series in &series {
            for (step, value) in column.values.iter_mut().enumerate() {
                if series.column.is_present(step) {
                    *value = ABSENT;
                }
            }
        }
        let key = Key { labels: absent_labels(arg), drop_name: false };
        Ok(Source::ready(vec![SeriesColumn { key, column }]))
    }

    fn timestamp(&self, arg: &'q Expr, grid: Grid) -> PromqlResult<Source<'q>> {
        let source = match &arg.kind {
            // The time of the sample itself is known only to the selector.
            ExprKind::Vector(selector) if selector.extension == Extension::None => {
                self.instant_selector(selector, grid, Select::Timestamp)
            }
            ExprKind::StepInvariant(inner) if matches!(inner.kind, ExprKind::Vector(_)) => {
                let ExprKind::Vector(selector) = &inner.kind else { unreachable!("just matched") };
                self.instant_selector(selector, grid, Select::Timestamp)
            }
            _ => self.source(arg, grid)?.map_columns(move |column| {
                for step in 0..grid.steps {
                    if column.is_present(step) {
                        column.values[step] = grid.time(step) as f64 / 1000.0;
                    }
                }
                column.histograms.clear();
            }),
        };
        self.without_names(source, grid, Duplicates::Merge)
    }

    fn sort(&self, arg: &'q Expr, span: Span, grid: Grid, is_descending: bool) -> PromqlResult<Source<'q>> {
        if grid.steps > 1 {
            self.context.annotate(Annotation::sort_in_range_query(span));
        }
        let mut series = self.vector(arg, grid)?;
        for series in &mut series {
            series.column.map_floats(|value| value);
        }
        if grid.steps == 1 {
            series.retain(|s| is_float(s.column.values[0]));
            series.sort_by(|a, b| {
                let (a, b) = (a.column.values[0], b.column.values[0]);
                // NaN comes last in both directions.
                match (a.is_nan(), b.is_nan()) {
                    (false, false) if is_descending => b.total_cmp(&a),
                    (false, false) => a.total_cmp(&b),
                    (a, b) => a.cmp(&b),
                }
            });
        }
        Ok(Source::ready(series))
    }

    fn sort_by_label(
        &self,
        arg: &'q Expr,
        labels: &[&str],
        span: Span,
        grid: Grid,
        is_descending: bool,
    ) -> PromqlResult<Source<'q>> {
        if grid.steps > 1 {
            self.context.annotate(Annotation::sort_in_range_query(span));
        }
        let mut series = self.vector(arg, grid)?;
        series.sort_by(|a, b| {
            let order = super::compare_labels::by_labels(&a.key.labels, &b.key.labels, labels);
            if is_descending { order.reverse() } else { order }
        });
        Ok(Source::ready(series))
    }
}

/// Labels of an `absent` result: those that the selector fixes by equality.
fn absent_labels(arg: &Expr) -> Labels {
    let matchers: &[Matcher] = match &arg.kind {
        ExprKind::Vector(selector) => &selector.matchers,
        ExprKind::Matrix(matrix) => &matrix.vector.matchers,
        ExprKind::StepInvariant(inner) | ExprKind::Paren(inner) => return absent_labels(inner),
        _ => &[],
    };
    let mut labels = LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            labels.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            labels.remove(matcher.name());
        }
    }
    labels.build()
}

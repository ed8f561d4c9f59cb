//! Functions over histograms, classic and native: classic ones are put together from their series once, buckets are
//! gathered per step.

use hashbrown::HashMap;
use model::{Labels, METRIC_NAME};

use super::classic_histogram::{Bucket, bucket_fraction, bucket_quantile};
use super::column::{Cell, Column, Key, SeriesColumn, is_float};
use super::grid::Grid;
use super::histogram_quantile::{NanNote, fraction, quantile, variance};
use super::merge::{Duplicates, merge};
use super::source::Source;
use super::{Evaluator, parallel, string_of};
use crate::annotations::{Annotation, Monotonicity};
use crate::error::PromqlResult;
use crate::syntax::{Expr, Span, format_float, parse_number};

const BUCKET_LABEL: &str = "le";

/// A histogram of the input: classic, native, or at different steps both.
struct Input {
    /// The labels without `le` (classic) or as they are (native).
    key: Key,
    /// Upper bound and position of the series of a classic histogram, by bound.
    buckets: Vec<(f64, usize)>,
    /// Position of the series with native histograms.
    native: Option<usize>,
}

/// What is asked about a histogram at a step.
enum Ask {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

impl<'q> Evaluator<'q> {
    pub(super) fn histogram_quantile(&self, args: &'q [Expr], grid: Grid) -> PromqlResult<Source<'q>> {
        let quantiles = self.quantiles(&args[0], grid)?;
        let series = self.vector(&args[1], grid)?;
        let result = self.histograms(&series, args[1].span, grid, &Ask::Quantile(quantiles))?;
        Ok(Source::ready(merge(self.dropped_all(result), Duplicates::Merge)?))
    }

    /// Several quantiles at once, told apart by a label.
    pub(super) fn histogram_quantiles(&self, args: &'q [Expr], grid: Grid) -> PromqlResult<Source<'q>> {
        let series = self.vector(&args[0], grid)?;
        let label = string_of(&args[1])?;
        let mut all = Vec::new();
        for arg in &args[2..] {
            let quantiles = self.quantiles(arg, grid)?;
            let ask = Ask::Quantile(quantiles.clone());
            let result = self.histograms(&series, args[0].span, grid, &ask)?;
            for series in self.dropped_all(result) {
                // A quantile that changes from step to step makes a series for each of its values.
                let mut by_value: Vec<(String, Column)> = Vec::new();
                for (step, q) in quantiles.iter().enumerate() {
                    let Some(cell) = series.column.get(step) else { continue };
                    let text = open_metrics_float(*q);
                    let place = match by_value.iter().position(|(known, _)| *known == text) {
                        Some(place) => place,
                        None => {
                            self.context.hold_columns(1, grid.steps)?;
                            by_value.push((text, Column::absent(grid.steps)));
                            by_value.len() - 1
                        }
                    };
                    by_value[place].1.set(step, cell);
                }
                for (text, column) in by_value {
                    let labels = series.key.labels.to_builder().set(label, &text).build();
                    all.push(SeriesColumn { key: Key { labels, drop_name: true }, column });
                }
            }
        }
        Ok(Source::ready(merge(all, Duplicates::Merge)?))
    }

    pub(super) fn histogram_fraction(&self, args: &'q [Expr], grid: Grid) -> PromqlResult<Source<'q>> {
        let lower = self.scalar(&args[0], grid)?;
        let upper = self.scalar(&args[1], grid)?;
        let series = self.vector(&args[2], grid)?;
        let result = self.histograms(&series, args[2].span, grid, &Ask::Fraction(lower, upper))?;
        Ok(Source::ready(merge(self.dropped_all(result), Duplicates::Merge)?))
    }

    /// One number of each native histogram.
    pub(super) fn histogram_number(
        &self,
        name: &'static str,
        arg: &'q Expr,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        let source = self.source(arg, grid)?.map_columns(move |column| {
            let histograms = std::mem::take(&mut column.histograms);
            column.reset(column.values.len());
            for (step, histogram) in histograms.iter().enumerate() {
                let Some(histogram) = histogram else { continue };
                column.values[step] = match name {
                    "histogram_count" => histogram.count,
                    "histogram_sum" => histogram.sum,
                    "histogram_avg" => histogram.sum / histogram.count,
                    "histogram_stdvar" => variance(histogram),
                    _ => variance(histogram).sqrt(),
                };
            }
        });
        self.without_names(source, grid, Duplicates::Merge)
    }

    fn quantiles(&self, arg: &'q Expr, grid: Grid) -> PromqlResult<Vec<f64>> {
        let quantiles = self.scalar(arg, grid)?;
        for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            self.context.annotate(Annotation::invalid_quantile(arg.span, *q));
        }
        Ok(quantiles)
    }

    fn dropped_all(&self, series: Vec<SeriesColumn>) -> Vec<SeriesColumn> {
        let dropped = |s: SeriesColumn| SeriesColumn { key: self.dropped(&s.key), column: s.column };
        series.into_iter().map(dropped).collect()
    }

    /// The name that annotations may show: without delayed removal the name is gone by then.
    fn shown_metric<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.context.delayed_name_removal { labels.get(METRIC_NAME).unwrap_or("") } else { "" }
    }

    fn histograms(
        &self,
        series: &[SeriesColumn],
        span: Span,
        grid: Grid,
        ask: &Ask,
    ) -> PromqlResult<Vec<SeriesColumn>> {
        let inputs = self.histogram_inputs(series, span);
        let columns = parallel::map(self.context, inputs.len(), grid.steps * 16, |index, _| {
            let mut column = Column::absent(grid.steps);
            let mut buckets = Vec::new();
            for step in 0..grid.steps {
                let value = self.histogram_step(&inputs[index], series, span, grid, step, ask, &mut buckets);
                if let Some(value) = value {
                    column.values[step] = value;
                }
            }
            Ok(column)
        })?;
        let result = inputs.into_iter().zip(columns);
        let result = result.map(|(input, column)| SeriesColumn { key: input.key, column });
        Ok(result.filter(|series| !series.column.is_empty()).collect())
    }

    #[expect(clippy::too_many_arguments, reason = "one call site in the innermost loop")]
    fn histogram_step(
        &self,
        input: &Input,
        series: &[SeriesColumn],
        span: Span,
        grid: Grid,
        step: usize,
        ask: &Ask,
        buckets: &mut Vec<Bucket>,
    ) -> Option<f64> {
        buckets.clear();
        buckets.extend(input.buckets.iter().filter_map(|(upper, position)| {
            let count = series[*position].column.values[step];
            is_float(count).then_some(Bucket { upper: *upper, count })
        }));
        let native = match input.native.map(|position| series[position].column.get(step)) {
            Some(Some(Cell::Histogram(histogram))) => Some(histogram),
            _ => None,
        };
        let Some(histogram) = native else {
            if buckets.is_empty() {
                return None;
            }
            return Some(match ask {
                Ask::Fraction(lower, upper) => bucket_fraction(lower[step], upper[step], buckets),
                Ask::Quantile(quantiles) => {
                    let (value, forced) = bucket_quantile(quantiles[step], buckets, grid.time(step));
                    if let Some(forced) = forced {
                        self.note_forced(&input.key.labels, span, forced);
                    }
                    value
                }
            });
        };
        if !buckets.is_empty() {
            let metric = self.shown_metric(&input.key.labels);
            self.context.annotate(Annotation::mixed_classic_native(span, metric));
            return None;
        }
        let metric = || {
            let labels = &series[input.native.expect("the histogram came from it")].key.labels;
            self.shown_metric(labels)
        };
        Some(match ask {
            Ask::Fraction(lower, upper) => {
                let (value, leaves_out_nan) = fraction(lower[step], upper[step], histogram);
                if leaves_out_nan {
                    self.context.annotate(Annotation::fraction_nans(span, metric()));
                }
                value
            }
            Ask::Quantile(quantiles) => {
                let (value, note) = quantile(quantiles[step], histogram);
                match note {
                    Some(NanNote::Result) => {
                        self.context.annotate(Annotation::quantile_nan_result(span, metric()));
                    }
                    Some(NanNote::Skew) => {
                        self.context.annotate(Annotation::quantile_nan_skew(span, metric()));
                    }
                    None => {}
                }
                value
            }
        })
    }

    fn note_forced(&self, labels: &Labels, span: Span, forced: Monotonicity) {
        let metric = self.shown_metric(labels);
        self.context.annotate(Annotation::forced_monotonicity(span, metric, forced));
    }

    /// Puts series together: bucket series by their labels without `le`, native histograms with the same labels.
    fn histogram_inputs(&self, series: &[SeriesColumn], span: Span) -> Vec<Input> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut inputs: Vec<Input> = Vec::new();
        let mut place_of = |labels: Labels| -> usize {
            *places.entry(labels).or_insert_with_key(|labels| {
                let key = Key { labels: labels.clone(), drop_name: true };
                inputs.push(Input { key, buckets: Vec::new(), native: None });
                inputs.len() - 1
            })
        };
        let mut found = Vec::new();
        for (position, series) in series.iter().enumerate() {
            if series.column.has_histograms() {
                found.push((place_of(series.key.labels.clone()), None, position));
            }
            if !series.column.values.iter().any(|value| is_float(*value)) {
                continue;
            }
            let bound = series.key.labels.get(BUCKET_LABEL).unwrap_or("");
            let Some(upper) = parse_bound(bound) else {
                let metric = self.shown_metric(&series.key.labels);
                self.context.annotate(Annotation::bad_bucket_label(span, metric, bound));
                continue;
            };
            let labels = series.key.labels.without(|name| name == BUCKET_LABEL);
            found.push((place_of(labels), Some(upper), position));
        }
        for (place, upper, position) in found {
            match upper {
                Some(upper) => inputs[place].buckets.push((upper, position)),
                None => inputs[place].native = Some(position),
            }
        }
        for input in &mut inputs {
            input.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        inputs
    }
}

/// A bound as Go's `strconv.ParseFloat` reads it.
fn parse_bound(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(['+', '-']) || text.contains('_') {
        return None;
    }
    let value = match unsigned.parse::<f64>() {
        Ok(value) => value,
        Err(_) => parse_number(unsigned)?,
    };
    Some(if text.starts_with('-') { -value } else { value })
}

/// A float as OpenMetrics writes it: with a decimal point.
fn open_metrics_float(value: f64) -> String {
    let text = crate::syntax::format_float_g(value);
    if value.is_finite() && !text.contains(['.', 'e']) { format!("{}.0", format_float(value)) } else { text }
}

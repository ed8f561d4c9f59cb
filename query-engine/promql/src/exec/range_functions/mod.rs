//! Functions over range vectors: samples of one series in, one value per step out.
//!
//! Windows are open on the left: `(end - range, end]`. Kernels walk samples and steps together.

pub(in crate::exec) mod extended;
mod mixed;
mod over_time;
mod rate;
mod regression;
mod sliding;

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, METRIC_NAME, TimeRange};
use storage_api::Series;

use super::Evaluator;
use super::column::{Cell, Column, Key, SeriesColumn};
use super::context::Context;
use super::grid::{Grid, Reference};
use super::merge::Duplicates;
use super::scratch::Scratch;
use super::selector::keys;
use super::source::Source;
use crate::annotations::Annotation;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Call, Expr, ExprKind, Extension, MatrixSelector, Span, Subquery, ValueType};

/// The functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Resets,
    Changes,
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Present,
    Absent,
    Quantile,
    Stddev,
    Stdvar,
    Mad,
    First,
    Last,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
    DoubleExponentialSmoothing,
}

impl RangeFunction {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::Irate,
            "idelta" => Self::Idelta,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "resets" => Self::Resets,
            "changes" => Self::Changes,
            "sum_over_time" => Self::Sum,
            "avg_over_time" => Self::Avg,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "count_over_time" => Self::Count,
            "present_over_time" => Self::Present,
            "absent_over_time" => Self::Absent,
            "quantile_over_time" => Self::Quantile,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "mad_over_time" => Self::Mad,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "ts_of_first_over_time" => Self::TimeOfFirst,
            "ts_of_last_over_time" => Self::TimeOfLast,
            "ts_of_min_over_time" => Self::TimeOfMin,
            "ts_of_max_over_time" => Self::TimeOfMax,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            _ => return None,
        })
    }

    /// Whether the result is a sample as it was stored, so that the metric name stays.
    fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }
}

/// The window of each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) grid: Grid,
    pub(super) reference: Reference,
    pub(super) range_ms: i64,
    /// With an extension, windows reach further on one or both sides.
    pub(super) extension: Extension,
    pub(super) lookback_ms: i64,
}

impl Windows {
    /// Times that some window needs, both ends included.
    fn time_range(&self) -> TimeRange {
        let (first, _) = self.bounds(0);
        let (_, last) = self.bounds(self.grid.steps.saturating_sub(1));
        TimeRange::new(first.saturating_add(1), last)
    }

    /// Open start and closed end of the samples that a step sees.
    pub(super) fn bounds(&self, step: usize) -> (i64, i64) {
        let end = self.reference.at(self.grid, step);
        let start = end.saturating_sub(self.range_ms);
        match self.extension {
            Extension::None => (start, end),
            Extension::Anchored => (start.saturating_sub(self.lookback_ms), end),
            Extension::Smoothed => {
                (start.saturating_sub(self.lookback_ms), end.saturating_add(self.lookback_ms))
            }
        }
    }

    /// Whether values at the borders come from outside.
    pub(super) fn is_extended(&self) -> bool {
        self.extension != Extension::None
    }

    /// Calls `f` with each step whose window has samples: the step, and the positions `low..high` of its samples.
    #[inline]
    pub(super) fn for_each(&self, times: &[i64], mut f: impl FnMut(usize, usize, usize)) {
        let (mut low, mut high) = (0, 0);
        for step in 0..self.grid.steps {
            let end = self.reference.at(self.grid, step);
            let start = end.saturating_sub(self.range_ms);
            while high < times.len() && times[high] <= end {
                high += 1;
            }
            while low < high && times[low] <= start {
                low += 1;
            }
            if low < high {
                f(step, low, high);
            }
        }
    }

    /// End of a step's window.
    pub(super) fn end(&self, step: usize) -> i64 {
        self.reference.at(self.grid, step)
    }
}

/// A call with its arguments evaluated, ready to be run on one series after the other.
pub(super) struct RangeCall<'q> {
    pub(super) function: RangeFunction,
    pub(super) windows: Windows,
    /// Scalar arguments in their order, one value per step each.
    pub(super) args: Vec<Vec<f64>>,
    /// Where the first argument stands.
    pub(super) first_span: Span,
    pub(super) context: &'q Context,
}

/// Where the samples come from.
enum Input {
    Stored { series: Arc<[Series]>, skips_buckets: bool },
    Computed { series: Vec<SeriesColumn>, grid: Grid },
}

impl<'q> Evaluator<'q> {
    pub(super) fn range_call(
        &self,
        function: RangeFunction,
        call: &'q Call,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        let is_range = |arg: &Expr| arg.value_type() == ValueType::Matrix;
        let position = call.args.iter().position(is_range).expect("type check: a range vector argument");
        let mut args = Vec::new();
        for (index, arg) in call.args.iter().enumerate() {
            if index != position {
                args.push(self.scalar(arg, grid)?);
            }
        }
        let arg = &call.args[position];
        let (windows, input) = self.range_input(arg, call, grid)?;
        let range_call = RangeCall {
            function,
            windows,
            args,
            first_span: annotation_span(&call.args[0]),
            context: self.context,
        };
        let keys: Vec<Key> = match &input {
            Input::Stored { series, .. } => keys(series),
            Input::Computed { series, .. } => series.iter().map(|s| s.key.clone()).collect(),
        };
        let names: Vec<Option<String>> =
            keys.iter().map(|key| key.labels.get(METRIC_NAME).map(str::to_owned)).collect();
        let types: Vec<Option<String>> = if self.context.type_and_unit_labels {
            keys.iter().map(|key| key.labels.get("__type__").map(str::to_owned)).collect()
        } else {
            Vec::new()
        };
        let source = Source::new(keys, move |index, scratch, out| {
            if grid.steps == 0 {
                return Ok(());
            }
            range_call.load(&input, index, scratch)?;
            range_call.check_parameters(scratch)?;
            let metric = names[index].as_deref().unwrap_or("");
            range_call.run(metric, scratch, out);
            range_call.note_non_counter(metric, types.get(index), out);
            Ok(())
        });
        if function.keeps_name() {
            return Ok(source);
        }
        if function == RangeFunction::Absent {
            // Its one output series has labels of its own.
            return Ok(source);
        }
        self.without_names(source, grid, Duplicates::Refuse)
    }

    fn range_input(&self, arg: &'q Expr, call: &Call, grid: Grid) -> PromqlResult<(Windows, Input)> {
        match &arg.kind {
            ExprKind::Paren(inner) | ExprKind::StepInvariant(inner) => self.range_input(inner, call, grid),
            ExprKind::Matrix(MatrixSelector { vector, range }) => {
                check_extension(vector.extension, call.function.name)?;
                let reference = Reference::new(vector.at, vector.offset.ms);
                let windows = Windows {
                    grid,
                    reference,
                    range_ms: range.ms,
                    extension: vector.extension,
                    lookback_ms: self.context.lookback_ms,
                };
                let series = self.series(vector);
                Ok((windows, Input::Stored { series, skips_buckets: vector.skips_buckets }))
            }
            ExprKind::Subquery(subquery) => {
                let Subquery { expr, range, offset, at, .. } = subquery;
                let inner = self.subquery_grid(subquery, grid);
                let series = self.vector(expr, inner)?;
                let windows = Windows {
                    grid,
                    reference: Reference::new(*at, offset.ms),
                    range_ms: range.ms,
                    extension: Extension::None,
                    lookback_ms: 0,
                };
                Ok((windows, Input::Computed { series, grid: inner }))
            }
            _ => Err(PromqlError::execution(format!("{arg} is no range vector"))),
        }
    }
}

/// Where annotations about an argument point to. Prometheus has put the result of a subquery in the place of the
/// subquery by then, and forgotten where it stood: such annotations point to the start of the query.
fn annotation_span(arg: &Expr) -> Span {
    match &arg.kind {
        ExprKind::Subquery(_) => Span::default(),
        _ => arg.span,
    }
}

/// Only some functions know what to do with borders.
fn check_extension(extension: Extension, function: &str) -> PromqlResult<()> {
    const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
    const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];
    let (name, allowed): (&str, &[&str]) = match extension {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &ANCHORED),
        Extension::Smoothed => ("smoothed", &SMOOTHED),
    };
    if allowed.contains(&function) {
        return Ok(());
    }
    Err(PromqlError::execution(format!(
        "{name} modifier can only be used with: {} - not with {function}",
        allowed.join(", ")
    )))
}

impl RangeCall<'_> {
    /// Fills `scratch.points` with the samples of one series.
    fn load(&self, input: &Input, index: usize, scratch: &mut Scratch) -> PromqlResult<()> {
        match input {
            Input::Stored { series, skips_buckets } => {
                scratch.samples.clear();
                series[index].chunks.decode(self.windows.time_range(), &mut scratch.samples)?;
                self.context.count_read(scratch.samples.len());
                if *skips_buckets {
                    scratch.drop_buckets();
                }
                scratch.split_samples();
            }
            Input::Computed { series, grid } => {
                let points = &mut scratch.points;
                points.clear();
                let column = &series[index].column;
                for step in 0..grid.steps {
                    match column.get(step) {
                        None => {}
                        Some(Cell::Float(value)) => {
                            points.times.push(grid.time(step));
                            points.values.push(value);
                        }
                        Some(Cell::Histogram(histogram)) => {
                            points.histograms.push((grid.time(step), without_reset_hint(histogram)));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Factors are looked at where a window has samples, and only there.
    fn check_parameters(&self, scratch: &Scratch) -> PromqlResult<()> {
        if self.function != RangeFunction::DoubleExponentialSmoothing {
            return Ok(());
        }
        let mut result = Ok(());
        let mut check = |step: usize, _: usize, _: usize| {
            for (values, name, symbol) in [(&self.args[0], "smoothing", "sf"), (&self.args[1], "trend", "tf")]
            {
                let value = values[step];
                if result.is_ok() && (value <= 0.0 || value >= 1.0) {
                    result = Err(PromqlError::execution(format!(
                        "invalid {name} factor. Expected: 0 < {symbol} < 1, got: {value:.6}"
                    )));
                }
            }
        };
        self.windows.for_each(&scratch.points.times, &mut check);
        if !scratch.points.histograms.is_empty() {
            let times: Vec<i64> = scratch.points.histograms.iter().map(|(time, _)| *time).collect();
            self.windows.for_each(&times, &mut check);
        }
        result
    }

    fn run(&self, metric: &str, scratch: &mut Scratch, out: &mut Column) {
        let Scratch { points, floats, positions, .. } = scratch;
        if !points.histograms.is_empty() || self.windows.is_extended() {
            mixed::run(self, metric, points, floats, out);
            return;
        }
        use RangeFunction as F;
        if sliding::applies(self) {
            match self.function {
                F::Min => return sliding::extremes(self, points, positions, out, |a, b| a < b),
                F::Max => return sliding::extremes(self, points, positions, out, |a, b| a > b),
                F::Quantile => return sliding::quantiles(self, points, floats, out),
                F::Sum | F::Avg if sliding::sums(self, points, floats, out, self.function == F::Avg) => {
                    return;
                }
                _ => {}
            }
        }
        match self.function {
            F::Rate | F::Increase | F::Delta => rate::extrapolated(self, points, positions, out),
            F::Irate | F::Idelta => rate::instant(self, points, out),
            F::Resets | F::Changes => rate::counted(self, points, positions, out),
            F::Deriv | F::PredictLinear | F::DoubleExponentialSmoothing => {
                regression::run(self, points, out);
            }
            _ => over_time::run(self, points, floats, out),
        }
    }

    fn note(&self, annotation: Annotation) {
        self.context.annotate(annotation);
    }

    /// `rate` and `increase` of something that does not look like a counter.
    fn note_non_counter(&self, metric: &str, type_label: Option<&Option<String>>, out: &Column) {
        if !matches!(self.function, RangeFunction::Rate | RangeFunction::Increase) || metric.is_empty() {
            return;
        }
        let suffixes = ["_total", "_sum", "_count", "_bucket"];
        if !self.context.type_and_unit_labels {
            if suffixes.iter().any(|suffix| metric.ends_with(suffix)) {
                return;
            }
            if out.values.iter().any(|value| super::column::is_float(*value)) {
                self.context.annotate(Annotation::possible_non_counter(self.first_span, metric));
            }
            return;
        }
        let found = type_label.and_then(|label| label.as_deref()).unwrap_or("");
        if matches!(found, "counter" | "histogram") {
            return;
        }
        if out.values.iter().any(|value| super::column::is_float(*value)) {
            let note = Annotation::possible_non_counter_label(self.first_span, metric, found);
            self.context.annotate(note);
        }
    }
}

/// Between the steps of a subquery there may be resets that a hint does not know of.
fn without_reset_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::Unknown | CounterResetHint::Gauge => Arc::clone(histogram),
        CounterResetHint::Reset | CounterResetHint::NotReset => Arc::new(FloatHistogram {
            counter_reset_hint: CounterResetHint::Unknown,
            ..(**histogram).clone()
        }),
    }
}

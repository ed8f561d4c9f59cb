//! Native histograms in aggregations: `sum` and `avg` add them, `count` and `group` count them, others ignore them.

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Combined, CounterResetHint, FloatHistogram, HistogramSum, IncompatibleBuckets};

use super::column::{ABSENT, Column, histogram_samples, is_absent};
use super::context::Context;
use crate::annotations::{Annotation, HistogramOperation};
use crate::syntax::{AggregateOp, Span};

/// A sum or mean of histograms, with what was seen on the way.
#[derive(Debug)]
pub(super) struct HistogramMean {
    sum: HistogramSum,
    is_mean: bool,
    /// Whether `sum` is the mean itself since the sum would overflow.
    is_incremental: bool,
    count: f64,
    has_reset: bool,
    has_no_reset: bool,
}

impl HistogramMean {
    pub(super) fn new(first: &FloatHistogram, is_mean: bool) -> Self {
        let mut mean = Self {
            sum: HistogramSum::new(first.clone()),
            is_mean,
            is_incremental: false,
            count: 1.0,
            has_reset: false,
            has_no_reset: false,
        };
        mean.note_hint(first);
        mean
    }

    fn note_hint(&mut self, histogram: &FloatHistogram) {
        self.has_reset |= histogram.counter_reset_hint == CounterResetHint::Reset;
        self.has_no_reset |= histogram.counter_reset_hint == CounterResetHint::NotReset;
    }

    /// Adds one; answers whether custom bounds had to be reconciled.
    pub(super) fn add(&mut self, histogram: &FloatHistogram) -> Result<Combined, IncompatibleBuckets> {
        self.note_hint(histogram);
        self.count += 1.0;
        if !self.is_mean {
            return self.sum.add(histogram);
        }
        if !self.is_incremental {
            let mut sum = self.sum.clone();
            let combined = sum.add(histogram)?;
            if !sum.has_overflow() {
                self.sum = sum;
                return Ok(combined);
            }
            self.is_incremental = true;
            self.sum.divide(self.count - 1.0);
        }
        self.sum.multiply((self.count - 1.0) / self.count);
        let mut share = histogram.clone();
        share.divide(self.count);
        self.sum.add(&share)
    }

    /// The result, and whether hints about counter resets contradicted each other.
    pub(super) fn finish(mut self) -> (FloatHistogram, bool) {
        if self.is_mean && !self.is_incremental {
            self.sum.divide(self.count);
        }
        (self.sum.finish(), self.has_reset && self.has_no_reset)
    }
}

/// What became of the histograms of one group at one step.
#[derive(Debug)]
enum State {
    /// `count` and `group`.
    Counted(f64),
    /// `sum` and `avg`.
    Mean(Box<HistogramMean>),
    /// Exponential and custom buckets were mixed.
    Incompatible,
}

/// The histograms of an aggregation, by group and step.
pub(super) struct HistogramAccumulator<'q> {
    op: AggregateOp,
    steps: usize,
    span: Span,
    context: &'q Context,
    cells: HashMap<usize, State>,
    /// Samples that the histograms kept since the last look count for.
    kept: u64,
}

impl<'q> HistogramAccumulator<'q> {
    pub(super) fn new(op: AggregateOp, steps: usize, span: Span, context: &'q Context) -> Self {
        Self { op, steps, span, context, cells: HashMap::new(), kept: 0 }
    }

    /// Adds the histograms of a series called `metric` to a group.
    pub(super) fn add(&mut self, group: usize, column: &Column, metric: &str) {
        let histograms = column.histograms.iter().enumerate();
        for (step, histogram) in histograms.filter_map(|(step, h)| Some((step, h.as_ref()?))) {
            self.add_one(group * self.steps + step, histogram, metric);
        }
    }

    fn add_one(&mut self, cell: usize, histogram: &FloatHistogram, metric: &str) {
        let is_mean = match self.op {
            AggregateOp::Sum => false,
            AggregateOp::Avg => true,
            AggregateOp::Count | AggregateOp::Group => {
                let state = self.cells.entry(cell).or_insert(State::Counted(0.0));
                if let State::Counted(count) = state {
                    *count += 1.0;
                }
                return;
            }
            op => {
                let note = Annotation::histogram_ignored_in_aggregation(self.span, op.name());
                self.context.annotate(note);
                return;
            }
        };
        let Some(state) = self.cells.get_mut(&cell) else {
            let mean = Box::new(HistogramMean::new(histogram, is_mean));
            self.cells.insert(cell, State::Mean(mean));
            self.kept += histogram_samples(histogram);
            return;
        };
        let State::Mean(mean) = state else { return };
        match mean.add(histogram) {
            Err(IncompatibleBuckets) => {
                *state = State::Incompatible;
                self.context.annotate(Annotation::mixed_exponential_custom(self.span, metric));
            }
            Ok(combined) if combined.bounds_reconciled => {
                let operation = HistogramOperation::Aggregation;
                self.context.annotate(Annotation::mismatched_custom_buckets(self.span, operation));
            }
            Ok(_) => {}
        }
    }

    /// Samples that the histograms count for which are kept since the last call: they are to be held.
    pub(super) fn take_kept(&mut self) -> u64 {
        std::mem::take(&mut self.kept)
    }

    /// Puts the results of a group beside those of its floats, which are in `column`.
    pub(super) fn finish(&mut self, group: usize, column: &mut Column) {
        if self.cells.is_empty() {
            return;
        }
        for step in 0..self.steps {
            let Some(state) = self.cells.remove(&(group * self.steps + step)) else { continue };
            let float = column.values[step];
            match state {
                State::Counted(count) => {
                    column.values[step] = match self.op {
                        AggregateOp::Group => 1.0,
                        _ if is_absent(float) => count,
                        _ => float + count,
                    };
                }
                _ if !is_absent(float) => {
                    column.values[step] = ABSENT;
                    self.context.annotate(Annotation::mixed_floats_histograms_aggregation(self.span));
                }
                State::Incompatible => {}
                State::Mean(mean) => {
                    let (mut result, has_collision) = mean.finish();
                    result.compact();
                    if has_collision {
                        let operation = HistogramOperation::Aggregation;
                        self.context.annotate(Annotation::counter_reset_collision(self.span, operation));
                    }
                    column.set_histogram(step, Arc::new(result));
                }
            }
        }
    }
}

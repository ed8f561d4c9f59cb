//! Windows of native histograms: their count, their sum as a gauge, and their running total. The resolution is the
//! coarsest of the batch. Histograms with custom bounds are added where Thanos gives up.

use format::{
    Aggregate, AggregateChunk, ENCODING_FLOAT_HISTOGRAM, ENCODING_XOR, HistogramAppender, HistogramOffer,
};
use model::{CounterResetHint, FloatHistogram, TimeRange};
use tsdb::levels::MergedChunk;

use super::floats::XorChunk;
use super::{encode, windows};

/// What is known about a window, and the counter since the beginning (`histogramAggregator`).
pub(super) struct Window {
    schema: i32,
    total: u64,
    count: u64,
    sum: Option<FloatHistogram>,
    counter: FloatHistogram,
    previous: FloatHistogram,
}

impl Window {
    fn new(schema: i32) -> Self {
        Self {
            schema,
            total: 0,
            count: 0,
            sum: None,
            counter: FloatHistogram::default(),
            previous: FloatHistogram::default(),
        }
    }

    fn reset(&mut self) {
        self.count = 0;
        self.sum = None;
    }

    fn add(&mut self, original: &FloatHistogram) {
        let reduced;
        let histogram = if original.schema > self.schema {
            reduced = original.reduced_to(self.schema);
            &reduced
        } else {
            original
        };
        if self.total == 0 {
            self.counter = histogram.clone();
        } else if original.counter_reset_hint != CounterResetHint::Gauge
            && original.detect_reset(&self.previous)
        {
            combine(&mut self.counter, histogram, false);
        } else {
            let mut delta = histogram.clone();
            combine(&mut delta, &self.previous, true);
            combine(&mut self.counter, &delta, false);
        }
        match &mut self.sum {
            Some(sum) => combine(sum, histogram, false),
            None => self.sum = Some(histogram.clone()),
        }
        if let Some(sum) = &mut self.sum {
            // It may fall from window to window.
            sum.counter_reset_hint = CounterResetHint::Gauge;
        }
        self.previous = histogram.clone();
        self.count += 1;
        self.total += 1;
    }
}

/// Adds or subtracts. Histograms whose bounds have nothing to do with each other cannot be added: then the one that is
/// there stays, and the other counts as a beginning.
fn combine(to: &mut FloatHistogram, other: &FloatHistogram, is_subtraction: bool) {
    let combined = if is_subtraction { to.subtract(other) } else { to.add(other) };
    if combined.is_err() {
        tracing::debug!("histograms with different custom bounds are not added while downsampling");
    }
}

/// A chunk of float histograms that grows.
#[derive(Default)]
pub(super) struct HistogramChunk {
    appender: Option<HistogramAppender<FloatHistogram>>,
    bytes: Vec<u8>,
}

impl HistogramChunk {
    fn push(&mut self, time_ms: i64, histogram: &FloatHistogram) {
        if let Some(appender) = &mut self.appender
            && !matches!(
                appender.offer(&mut self.bytes, time_ms, histogram),
                HistogramOffer::NeedsNewChunk(_)
            )
        {
            return;
        }
        // A chunk that cannot go on is left, as in Thanos; running totals and sums as gauges can but for such layouts as
        // no program makes.
        let header = match histogram.counter_reset_hint {
            hint @ (CounterResetHint::Gauge | CounterResetHint::Reset) => hint,
            _ => CounterResetHint::NotReset,
        };
        self.appender = Some(HistogramAppender::begin(&mut self.bytes, time_ms, histogram, header));
    }
}

/// The three chunks of a chunk of aggregates.
pub(super) struct Histograms {
    pub(super) count: XorChunk,
    sum: HistogramChunk,
    counter: HistogramChunk,
    range: Option<TimeRange>,
}

impl Histograms {
    pub(super) fn new() -> Self {
        Self {
            count: XorChunk::new(),
            sum: HistogramChunk::default(),
            counter: HistogramChunk::default(),
            range: None,
        }
    }

    /// A chunk of windows of raw samples; none of no samples.
    pub(super) fn of_raw(batch: &[(i64, &FloatHistogram)], resolution_ms: i64) -> Option<MergedChunk> {
        let is_gauge = batch.first()?.1.counter_reset_hint == CounterResetHint::Gauge;
        let mut all = Self::new();
        each_window(batch, resolution_ms, |window, time_ms| {
            all.note(time_ms);
            if is_gauge {
                window.counter.counter_reset_hint = CounterResetHint::Gauge;
            }
            all.counter.push(time_ms, &window.counter);
            if let Some(sum) = &window.sum {
                all.sum.push(time_ms, sum);
            }
            all.count.push(time_ms, window.count as f64);
        });
        all.finish()
    }

    /// Appends the running totals of windows of running totals.
    pub(super) fn push_counters(&mut self, totals: &[(i64, &FloatHistogram)], resolution_ms: i64) {
        each_window(totals, resolution_ms, |window, time_ms| {
            self.note(time_ms);
            self.counter.push(time_ms, &window.counter);
        });
    }

    /// Appends the sums of windows of sums.
    pub(super) fn push_sums(&mut self, sums: &[(i64, &FloatHistogram)], resolution_ms: i64) {
        each_window(sums, resolution_ms, |window, time_ms| {
            self.note(time_ms);
            if let Some(sum) = &window.sum {
                self.sum.push(time_ms, sum);
            }
        });
    }

    pub(super) fn note(&mut self, time_ms: i64) {
        let range = self.range.get_or_insert(TimeRange::new(time_ms, time_ms));
        *range = TimeRange::new(range.min.min(time_ms), range.max.max(time_ms));
    }

    pub(super) fn finish(self) -> Option<MergedChunk> {
        let mut parts = AggregateChunk::default();
        parts.set(Aggregate::Count, ENCODING_XOR, &self.count.bytes);
        parts.set(Aggregate::Sum, ENCODING_FLOAT_HISTOGRAM, &self.sum.bytes);
        parts.set(Aggregate::Counter, ENCODING_FLOAT_HISTOGRAM, &self.counter.bytes);
        Some(encode(self.range?, &parts))
    }
}

fn each_window(
    samples: &[(i64, &FloatHistogram)],
    resolution_ms: i64,
    mut emit: impl FnMut(&mut Window, i64),
) -> i64 {
    let schema = samples.iter().map(|(_, histogram)| histogram.schema).min().unwrap_or_default();
    windows(
        samples,
        resolution_ms,
        &mut Window::new(schema),
        Window::reset,
        |window, histogram| window.add(histogram),
        |window, time_ms| emit(window, time_ms),
    )
}

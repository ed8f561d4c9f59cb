//! Windows of floats.

use format::{Aggregate, AggregateChunk, ENCODING_XOR, XorAppender};
use model::TimeRange;
use tsdb::levels::MergedChunk;

use super::{encode, windows};

/// What is known about the samples of a window, and the counter since the beginning (`floatAggregator`).
#[derive(Default)]
pub(super) struct Window {
    total: u64,
    count: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) counter: f64,
    last: f64,
}

impl Window {
    fn reset(&mut self) {
        self.count = 0;
        self.sum = 0.0;
        self.min = f64::MAX;
        self.max = -f64::MAX;
    }

    fn add(&mut self, value: f64) {
        if self.total == 0 {
            self.counter = value;
        } else if value < self.last {
            // A counter that fell began anew at 0.
            self.counter += value;
        } else {
            self.counter += value - self.last;
        }
        self.last = value;
        self.sum += value;
        self.count += 1;
        self.total += 1;
        if value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
    }
}

/// An XOR chunk that grows.
pub(super) struct XorChunk {
    appender: XorAppender,
    pub(super) bytes: Vec<u8>,
}

impl XorChunk {
    pub(super) fn new() -> Self {
        Self { appender: XorAppender::EMPTY, bytes: Vec::new() }
    }

    pub(super) fn push(&mut self, time_ms: i64, value: f64) {
        self.appender.append(&mut self.bytes, time_ms, value);
    }
}

/// The five chunks of a chunk of aggregates, in the order of [`Aggregate::ALL`].
pub(super) struct Floats {
    pub(super) chunks: [XorChunk; 5],
    pub(super) range: Option<TimeRange>,
}

impl Floats {
    pub(super) fn new() -> Self {
        Self { chunks: std::array::from_fn(|_| XorChunk::new()), range: None }
    }

    /// A chunk of windows of raw samples; none of no samples.
    pub(super) fn of_raw(batch: &[(i64, f64)], resolution_ms: i64) -> Option<MergedChunk> {
        let ((first_ms, first), (_, last)) = (batch.first()?, batch.last()?);
        let mut floats = Self::new();
        // The first and the last raw value stand around the counter, for who looks for resets between chunks.
        floats.chunk(Aggregate::Counter).push(*first_ms, *first);
        let end_ms = each_window(batch, resolution_ms, |window, time_ms| {
            floats.note(time_ms);
            floats.chunk(Aggregate::Sum).push(time_ms, window.sum);
            floats.chunk(Aggregate::Min).push(time_ms, window.min);
            floats.chunk(Aggregate::Max).push(time_ms, window.max);
            floats.chunk(Aggregate::Count).push(time_ms, window.count as f64);
            floats.chunk(Aggregate::Counter).push(time_ms, window.counter);
        });
        floats.chunk(Aggregate::Counter).push(end_ms, *last);
        floats.finish()
    }

    pub(super) fn chunk(&mut self, aggregate: Aggregate) -> &mut XorChunk {
        &mut self.chunks[aggregate as usize]
    }

    /// Remembers the time of a window.
    pub(super) fn note(&mut self, time_ms: i64) {
        let range = self.range.get_or_insert(TimeRange::new(time_ms, time_ms));
        *range = TimeRange::new(range.min.min(time_ms), range.max.max(time_ms));
    }

    pub(super) fn finish(self) -> Option<MergedChunk> {
        let mut parts = AggregateChunk::default();
        for (aggregate, chunk) in Aggregate::ALL.into_iter().zip(&self.chunks) {
            parts.set(aggregate, ENCODING_XOR, &chunk.bytes);
        }
        Some(encode(self.range?, &parts))
    }
}

/// Calls `emit` with each window of `samples` and its end; returns the end of the last.
pub(super) fn each_window(
    samples: &[(i64, f64)],
    resolution_ms: i64,
    mut emit: impl FnMut(&Window, i64),
) -> i64 {
    windows(
        samples,
        resolution_ms,
        &mut Window::default(),
        Window::reset,
        |window, value| window.add(*value),
        |window, time_ms| emit(window, time_ms),
    )
}

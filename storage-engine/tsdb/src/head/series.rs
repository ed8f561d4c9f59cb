//! The samples of one series in the head: closed chunks and the one that grows.
//!
//! Chunks are cut as Prometheus cuts them (tsdb/head_append.go), so that a block made from them looks the same: aim at
//! 120 samples, spread evenly up to the block boundary, never past 1005 bytes or twice the aim.

use std::sync::Arc;

use format::{FormatError, XOR_SAMPLES_MAX, XorAppender, decode_xor};
use model::{SampleColumns, TimeRange};

/// Samples that a chunk aims at (`DefaultSamplesPerChunk`).
const SAMPLES_AIM: u16 = 120;

/// A chunk past this size gets no more samples: 1024 bytes less one sample of the largest kind (chunkenc/xor.go).
const CHUNK_BYTES_MAX: usize = 1024 - 19;

/// Most bytes that one sample adds, the chunk's header and first sample included.
const SAMPLE_BYTES_MAX: usize = 24;

/// Samples of one series.
#[derive(Default)]
pub(crate) struct Series {
    closed: Vec<ClosedChunk>,
    open: Vec<u8>,
    appender: Appender,
    open_min_ms: i64,
    /// The open chunk ends before this time.
    cut_at_ms: i64,
    /// What was there when the current epoch began, if something was appended since.
    mark: Mark,
}

/// `XorAppender` with a default: an empty chunk.
struct Appender(XorAppender);

impl Default for Appender {
    fn default() -> Self {
        Self(XorAppender::EMPTY)
    }
}

struct ClosedChunk {
    range: TimeRange,
    data: Arc<[u8]>,
}

/// State of a series at the first append of an epoch: what a query sees that began that epoch.
#[derive(Clone, Copy, Default)]
struct Mark {
    epoch: u64,
    closed: u32,
    samples: u16,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in the head now.
    Stored,
    /// It was there before, with this value.
    Duplicate,
    /// Another value is stored for its time.
    Conflict,
    /// It is older than the newest sample.
    OutOfOrder,
}

/// A chunk as a query sees it: it does not change any more.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSnapshot {
    /// Holds all samples of the chunk; wider than needed when `samples` cuts it.
    pub(crate) range: TimeRange,
    /// Samples that the query sees; the chunk may have more.
    pub(crate) samples: u16,
    pub(crate) data: Arc<[u8]>,
}

impl Series {
    /// Time of the newest sample, or `None` when there is none.
    #[inline]
    pub(crate) fn last_ms(&self) -> Option<i64> {
        (self.appender.0.samples() > 0).then(|| self.appender.0.last_timestamp_ms())
    }

    /// Time of the oldest sample.
    fn first_ms(&self) -> Option<i64> {
        self.last_ms().map(|_| self.closed.first().map_or(self.open_min_ms, |chunk| chunk.range.min))
    }

    /// Appends a sample as part of `epoch` (see [`Series::snapshot`]); tells whether a chunk was started, too.
    #[inline]
    pub(crate) fn append(&mut self, time_ms: i64, value: f64, epoch: u64, block_ms: i64) -> (Verdict, bool) {
        if let Some(last) = self.last_ms()
            && time_ms <= last
        {
            return (self.verdict_of_old(time_ms, value), false);
        }
        if self.mark.epoch != epoch {
            let closed = u32::try_from(self.closed.len()).expect("chunks span hours each");
            self.mark = Mark { epoch, closed, samples: self.appender.0.samples() };
        }
        let cut = self.prepare_chunk(time_ms, block_ms);
        if self.open.capacity() - self.open.len() < SAMPLE_BYTES_MAX {
            self.open.reserve_exact((self.open.len() / 2).max(2 * SAMPLE_BYTES_MAX));
        }
        self.appender.0.append(&mut self.open, time_ms, value);
        (Verdict::Stored, cut)
    }

    /// Starts a new chunk if the sample at `time_ms` belongs into one.
    #[inline]
    fn prepare_chunk(&mut self, time_ms: i64, block_ms: i64) -> bool {
        let samples = self.appender.0.samples();
        if samples > 0 {
            if samples == SAMPLES_AIM / 4 {
                let last = self.appender.0.last_timestamp_ms();
                self.cut_at_ms = chunk_end(self.open_min_ms, last, self.cut_at_ms);
            }
            let full = self.open.len() > CHUNK_BYTES_MAX || samples >= 2 * SAMPLES_AIM;
            if !full && time_ms < self.cut_at_ms {
                return false;
            }
            self.close_chunk();
        }
        self.open_min_ms = time_ms;
        self.cut_at_ms = block_end(time_ms, block_ms);
        true
    }

    fn close_chunk(&mut self) {
        let range = TimeRange::new(self.open_min_ms, self.appender.0.last_timestamp_ms());
        self.closed.push(ClosedChunk { range, data: Arc::from(self.open.as_slice()) });
        self.open.clear();
        self.appender.0 = XorAppender::EMPTY;
    }

    /// A sample that is not newer than the newest: a duplicate, a contradiction, or too late.
    #[cold]
    fn verdict_of_old(&self, time_ms: i64, value: f64) -> Verdict {
        let stored = if self.appender.0.last_timestamp_ms() == time_ms {
            Some(self.appender.0.last_value())
        } else {
            self.stored_at(time_ms)
        };
        match stored {
            Some(stored) if stored.to_bits() == value.to_bits() => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => Verdict::OutOfOrder,
        }
    }

    fn stored_at(&self, time_ms: i64) -> Option<f64> {
        let data = if time_ms >= self.open_min_ms {
            &self.open
        } else {
            let index = self.closed.partition_point(|chunk| chunk.range.max < time_ms);
            &*self.closed.get(index).filter(|chunk| chunk.range.min <= time_ms)?.data
        };
        let mut columns = SampleColumns::default();
        decode_own(data, TimeRange::new(time_ms, time_ms), &mut columns);
        columns.values.first().copied()
    }

    /// Puts a sample that the log holds into its place, whatever the order in which it comes; a time that is there
    /// keeps its value. Only for replay: requests that raced for a series are in the log in either order.
    pub(crate) fn restore(&mut self, time_ms: i64, value: f64, block_ms: i64) -> (bool, bool) {
        match self.append(time_ms, value, 0, block_ms) {
            (Verdict::Stored, cut) => (true, cut),
            (Verdict::OutOfOrder, _) => {
                self.insert(time_ms, value);
                (true, false)
            }
            (Verdict::Duplicate | Verdict::Conflict, _) => (false, false),
        }
    }

    #[cold]
    fn insert(&mut self, time_ms: i64, value: f64) {
        let index = self.closed.partition_point(|chunk| chunk.range.max < time_ms);
        let mut columns = SampleColumns::default();
        if index == self.closed.len() {
            decode_own(&self.open, TimeRange::ALL, &mut columns);
            (self.open, self.appender.0) = encode_with(&columns, time_ms, value);
            self.open_min_ms = self.open_min_ms.min(time_ms);
        } else {
            let chunk = &mut self.closed[index];
            decode_own(&chunk.data, TimeRange::ALL, &mut columns);
            chunk.data = encode_with(&columns, time_ms, value).0.into();
            chunk.range.min = chunk.range.min.min(time_ms);
        }
    }

    /// Chunks that overlap `range`, as they were when `epoch` began: what was appended since does not show.
    pub(crate) fn snapshot(&self, range: TimeRange, epoch: u64) -> Vec<ChunkSnapshot> {
        let (closed, open_samples) = if self.mark.epoch == epoch {
            (self.mark.closed as usize, self.mark.samples)
        } else {
            (self.closed.len(), self.appender.0.samples())
        };
        let visible = &self.closed[..closed];
        let first = visible.partition_point(|chunk| chunk.range.max < range.min);
        let mut chunks: Vec<_> = visible[first..]
            .iter()
            .take_while(|chunk| chunk.range.min <= range.max)
            .map(|chunk| ChunkSnapshot {
                range: chunk.range,
                samples: XOR_SAMPLES_MAX,
                data: Arc::clone(&chunk.data),
            })
            .collect();
        if open_samples > 0 {
            // The chunk that was open when the epoch began may be closed now.
            let (open, data) = match self.closed.get(closed) {
                Some(chunk) => (chunk.range, Arc::clone(&chunk.data)),
                None => {
                    let last = self.appender.0.last_timestamp_ms();
                    (TimeRange::new(self.open_min_ms, last), Arc::from(self.open.as_slice()))
                }
            };
            if open.overlaps(range) {
                chunks.push(ChunkSnapshot { range: open, samples: open_samples, data });
            }
        }
        chunks
    }

    /// Bytes that the open chunk holds on to.
    #[inline]
    pub(crate) fn open_capacity(&self) -> usize {
        self.open.capacity()
    }

    /// What the chunk that was closed last costs, 0 when there is none.
    pub(crate) fn last_closed_bytes(&self) -> usize {
        self.closed.last().map_or(0, |chunk| closed_bytes(chunk.data.len()))
    }

    /// Whether a sample may lie in `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        match (self.first_ms(), self.last_ms()) {
            (Some(first), Some(last)) => TimeRange::new(first, last).overlaps(range),
            _ => false,
        }
    }
}

/// What a closed chunk costs: its bytes, their reference counts and its entry in the list.
fn closed_bytes(data: usize) -> usize {
    data + 16 + size_of::<ClosedChunk>()
}

fn encode_with(columns: &SampleColumns, time_ms: i64, value: f64) -> (Vec<u8>, XorAppender) {
    let (mut chunk, mut appender) = (Vec::new(), XorAppender::EMPTY);
    let at = columns.timestamps_ms.partition_point(|&time| time < time_ms);
    for index in 0..=columns.len() {
        if index == at {
            appender.append(&mut chunk, time_ms, value);
        }
        if let (Some(&time), Some(&value)) = (columns.timestamps_ms.get(index), columns.values.get(index)) {
            appender.append(&mut chunk, time, value);
        }
    }
    (chunk, appender)
}

fn decode_own(chunk: &[u8], range: TimeRange, out: &mut SampleColumns) {
    let decoded: Result<(), FormatError> = decode_xor(chunk, XOR_SAMPLES_MAX, range, out);
    decoded.expect("the head encoded this chunk itself");
}

/// End of the block that `time_ms` falls into (`rangeForTimestamp`; divides toward zero as Go does).
fn block_end(time_ms: i64, block_ms: i64) -> i64 {
    (time_ms / block_ms).saturating_mul(block_ms).saturating_add(block_ms)
}

/// Where a chunk that is a quarter full at `last` should end, so that the chunks up to `end` get equal shares
/// (`computeChunkEndTime` with a ratio of 4).
fn chunk_end(start: i64, last: i64, end: i64) -> i64 {
    let (span, filled) =
        (to_f64(end.saturating_sub(start)), to_f64(last.saturating_sub(start).saturating_add(1)));
    let chunks = (span / (filled * 4.0)).floor();
    if chunks <= 1.0 {
        return end;
    }
    #[expect(clippy::cast_possible_truncation, reason = "between start and end")]
    let share = (span / chunks) as i64;
    start.saturating_add(share)
}

#[expect(clippy::cast_precision_loss, reason = "spans of milliseconds, as Prometheus computes them")]
fn to_f64(span: i64) -> f64 {
    span as f64
}

#[cfg(test)]
mod tests;

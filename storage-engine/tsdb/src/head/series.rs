//! The samples of one series in the head: closed chunks and the one that grows.
//!
//! Chunks are cut as Prometheus cuts them (tsdb/head_append.go), so that a block made from them looks the same: aim at
//! 120 samples, spread evenly up to the block boundary, never past 1005 bytes or twice the aim. They are in time order,
//! do not overlap, and none crosses a block boundary: a sample that comes late is put into its place (`late.rs`).

use std::sync::Arc;

use format::{ENCODING_XOR, XOR_SAMPLES_MAX, XorAppender};
use model::{NativeHistogram, TimeRange};

use super::value::OpenHistogram;

mod histogram;
mod late;

/// Samples that a chunk aims at (`DefaultSamplesPerChunk`).
pub(super) const SAMPLES_AIM: u16 = 120;

/// A chunk past this size gets no more samples: 1024 bytes less one sample of the largest kind (chunkenc/xor.go).
pub(super) const CHUNK_BYTES_MAX: usize = 1024 - 19;

/// Most bytes that one sample adds, the chunk's header and first sample included.
pub(super) const SAMPLE_BYTES_MAX: usize = 24;

/// The open chunk grows by so much at a time, bytes: some twenty samples.
const OPEN_GROWTH_BYTES: usize = 64;

/// Longest block, ms: a chunk's length in time fits into 32 bits.
pub(crate) const BLOCK_MS_MAX: i64 = 1 << 31;

/// Samples of one series.
#[derive(Default)]
pub(crate) struct Series {
    closed: Vec<ClosedChunk>,
    /// The chunk that grows: floats when `appender` has samples, else native histograms when there are bytes.
    open: Vec<u8>,
    appender: Appender,
    open_min_ms: i64,
    /// The open chunk ends before this time.
    cut_at_ms: i64,
    /// What was there when the current epoch began, if something was appended since.
    mark: Mark,
    rare: Option<Box<Rare>>,
}

/// What most series do without.
#[derive(Default)]
struct Rare {
    /// Where the open chunk left off, if it is one of native histograms.
    histogram: Option<OpenHistogram>,
    /// Whether `cut_at_ms` was computed from the open histogram chunk's size already.
    cut_predicted: bool,
    /// The chunks as they were when an epoch began in which one was changed at another place than its end.
    before: Option<Before>,
}

struct Before {
    epoch: u64,
    chunks: Vec<ChunkSnapshot>,
}

/// `XorAppender` with a default: an empty chunk.
struct Appender(XorAppender);

impl Default for Appender {
    fn default() -> Self {
        Self(XorAppender::EMPTY)
    }
}

/// A chunk that is appended to no more.
#[derive(Clone)]
pub(crate) struct ClosedChunk {
    min_ms: i64,
    span_ms: u32,
    pub(crate) encoding: u8,
    pub(crate) data: Arc<[u8]>,
}

impl ClosedChunk {
    pub(crate) fn new(range: TimeRange, encoding: u8, data: &[u8]) -> Self {
        let span_ms = u32::try_from(range.max.wrapping_sub(range.min)).expect("a chunk lies in one block");
        Self { min_ms: range.min, span_ms, encoding, data: Arc::from(data) }
    }

    pub(crate) fn range(&self) -> TimeRange {
        TimeRange::new(self.min_ms, self.min_ms.wrapping_add(i64::from(self.span_ms)))
    }
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
}

/// A chunk as a query sees it: it does not change any more.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSnapshot {
    /// Holds all samples of the chunk; wider than needed when `samples` cuts it.
    pub(crate) range: TimeRange,
    /// Samples that the query sees; the chunk may have more.
    pub(crate) samples: u16,
    pub(crate) encoding: u8,
    pub(crate) data: Arc<[u8]>,
}

impl Series {
    /// Time of the newest sample, or `None` when there is none.
    #[inline]
    pub(crate) fn last_ms(&self) -> Option<i64> {
        if self.appender.0.samples() > 0 {
            return Some(self.appender.0.last_timestamp_ms());
        }
        self.last_ms_without_floats()
    }

    #[cold]
    fn last_ms_without_floats(&self) -> Option<i64> {
        let histogram = self.open_histogram().map(OpenHistogram::last_ms);
        histogram.or_else(|| self.closed.last().map(|chunk| chunk.range().max))
    }

    /// Time of the oldest sample.
    pub(crate) fn first_ms(&self) -> Option<i64> {
        let open = (!self.open.is_empty()).then_some(self.open_min_ms);
        self.closed.first().map(|chunk| chunk.min_ms).or(open)
    }

    /// Whether there is no sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }

    fn open_histogram(&self) -> Option<&OpenHistogram> {
        self.rare.as_ref()?.histogram.as_ref()
    }

    /// Appends a sample that is newer than the newest as part of `epoch` (see [`Series::snapshot`]); tells whether a
    /// chunk was started.
    #[inline]
    pub(crate) fn push(&mut self, time_ms: i64, value: f64, epoch: u64, block_ms: i64) -> bool {
        if self.appender.0.samples() == 0
            && let Some(stale) = self.stale_histogram(value)
        {
            return self.push_histogram(time_ms, &stale, epoch, block_ms);
        }
        self.begin_epoch(epoch);
        let cut = self.prepare_chunk(time_ms, block_ms);
        if self.open.capacity() - self.open.len() < SAMPLE_BYTES_MAX {
            // Linear: half of a chunk's bytes in reserve would be a tenth of what the series takes.
            self.open.reserve_exact(OPEN_GROWTH_BYTES);
        }
        self.appender.0.append(&mut self.open, time_ms, value);
        cut
    }

    /// Remembers what queries of `epoch` see, before its first append.
    #[inline]
    fn begin_epoch(&mut self, epoch: u64) {
        if self.mark.epoch != epoch {
            let closed = u32::try_from(self.closed.len()).expect("chunks span hours each");
            self.mark = Mark { epoch, closed, samples: self.open_samples() };
        }
    }

    #[inline]
    fn open_samples(&self) -> u16 {
        match self.appender.0.samples() {
            0 => self.open_histogram().map_or(0, OpenHistogram::samples),
            floats => floats,
        }
    }

    fn open_encoding(&self) -> u8 {
        match self.appender.0.samples() {
            0 => self.open_histogram().map_or(ENCODING_XOR, OpenHistogram::encoding),
            _ => ENCODING_XOR,
        }
    }

    /// Starts a new chunk if the float at `time_ms` belongs into one.
    #[inline]
    fn prepare_chunk(&mut self, time_ms: i64, block_ms: i64) -> bool {
        let samples = self.appender.0.samples();
        if samples > 0 {
            if samples == SAMPLES_AIM / 4 {
                let last = self.appender.0.last_timestamp_ms();
                self.cut_at_ms = chunk_end(self.open_min_ms, last, self.cut_at_ms, 4.0);
            }
            let full = self.open.len() > CHUNK_BYTES_MAX || samples >= 2 * SAMPLES_AIM;
            if !full && time_ms < self.cut_at_ms {
                return false;
            }
        }
        self.close_chunk();
        self.open_min_ms = time_ms;
        self.cut_at_ms = block_end(time_ms, block_ms);
        true
    }

    /// Closes the chunk that grows, if there is one.
    pub(crate) fn close_chunk(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let last = self.last_ms().expect("the open chunk has samples");
        let range = TimeRange::new(self.open_min_ms, last);
        let chunk = ClosedChunk::new(range, self.open_encoding(), &self.open);
        self.push_closed(chunk);
        self.open = Vec::new();
        self.appender.0 = XorAppender::EMPTY;
        if let Some(rare) = &mut self.rare {
            rare.histogram = None;
        }
    }

    fn push_closed(&mut self, chunk: ClosedChunk) {
        if self.closed.len() == self.closed.capacity() {
            // Most series have a few: no room for four from the first one on.
            self.closed.reserve_exact((self.closed.len() / 2).max(1));
        }
        self.closed.push(chunk);
    }

    /// Puts a chunk that a checkpoint holds behind all others; one that does not fit there as it is, sample by sample.
    pub(crate) fn restore_chunk(&mut self, range: TimeRange, encoding: u8, data: &[u8], block_ms: i64) {
        let fits = self.last_ms().is_none_or(|last| last < range.min)
            && block_end(range.min, block_ms) == block_end(range.max, block_ms)
            && range.min <= range.max;
        if fits {
            self.close_chunk();
            return self.push_closed(ClosedChunk::new(range, encoding, data));
        }
        for (time_ms, value) in
            super::value::decode_values(encoding, data, XOR_SAMPLES_MAX).unwrap_or_default()
        {
            self.insert(time_ms, &value, 0, block_ms);
        }
    }

    /// Chunks that overlap `range`, as they were when `epoch` began: what was appended since does not show.
    pub(crate) fn snapshot(&self, range: TimeRange, epoch: u64) -> Vec<ChunkSnapshot> {
        if let Some(before) = self.before(epoch) {
            return before.chunks.iter().filter(|chunk| chunk.range.overlaps(range)).cloned().collect();
        }
        let (closed, open_samples) = if self.mark.epoch == epoch {
            (self.mark.closed as usize, self.mark.samples)
        } else {
            (self.closed.len(), self.open_samples())
        };
        let visible = &self.closed[..closed];
        let first = visible.partition_point(|chunk| chunk.range().max < range.min);
        let mut chunks: Vec<_> = visible[first..]
            .iter()
            .take_while(|chunk| chunk.min_ms <= range.max)
            .map(ClosedChunk::snapshot)
            .collect();
        if open_samples > 0 {
            // The chunk that was open when the epoch began may be closed now.
            let open = match self.closed.get(closed) {
                Some(chunk) => chunk.snapshot(),
                None => self.open_snapshot(),
            };
            if open.range.overlaps(range) {
                chunks.push(ChunkSnapshot { samples: open_samples, ..open });
            }
        }
        chunks
    }

    fn before(&self, epoch: u64) -> Option<&Before> {
        self.rare.as_ref()?.before.as_ref().filter(|before| before.epoch == epoch)
    }

    fn open_snapshot(&self) -> ChunkSnapshot {
        let last = self.last_ms().expect("the open chunk has samples");
        ChunkSnapshot {
            range: TimeRange::new(self.open_min_ms, last),
            samples: XOR_SAMPLES_MAX,
            encoding: self.open_encoding(),
            data: Arc::from(self.open.as_slice()),
        }
    }

    /// The chunks whose samples all lie before `end_ms`, the open one closed if it is one of them.
    pub(crate) fn chunks_before(&mut self, end_ms: i64) -> &[ClosedChunk] {
        if !self.open.is_empty() && self.last_ms().is_some_and(|last| last < end_ms) {
            self.close_chunk();
        }
        let count = self.closed.partition_point(|chunk| chunk.range().max < end_ms);
        &self.closed[..count]
    }

    /// Takes chunks away that are stored elsewhere now; those that changed since they were taken for that stay. No query
    /// may read meanwhile.
    pub(crate) fn remove_chunks(&mut self, stored: &[Arc<[u8]>]) {
        self.closed.retain(|chunk| !stored.iter().any(|data| Arc::ptr_eq(data, &chunk.data)));
        if self.closed.capacity() > 2 * self.closed.len() + 4 {
            self.closed.shrink_to_fit();
        }
        // Positions that were remembered for queries of this epoch: there are none.
        self.mark = Mark::default();
        if let Some(rare) = &mut self.rare {
            rare.before = None;
            if rare.histogram.is_none() {
                self.rare = None;
            }
        }
    }

    /// Calls `visit` with time range, encoding and bytes of each chunk, in time order.
    pub(crate) fn for_each_chunk(&self, mut visit: impl FnMut(TimeRange, u8, &[u8])) {
        for chunk in &self.closed {
            visit(chunk.range(), chunk.encoding, &chunk.data);
        }
        if let (false, Some(last_ms)) = (self.open.is_empty(), self.last_ms()) {
            visit(TimeRange::new(self.open_min_ms, last_ms), self.open_encoding(), &self.open);
        }
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

    /// Bytes of all chunks.
    pub(crate) fn memory_bytes(&self) -> usize {
        let closed: usize = self.closed.iter().map(|chunk| closed_bytes(chunk.data.len())).sum();
        let rare = self.rare.as_ref().map_or(0, |rare| {
            size_of::<Rare>() + rare.histogram.as_ref().map_or(0, OpenHistogram::heap_bytes)
        });
        closed + self.open.capacity() + rare
    }

    /// Chunks, the one that grows included.
    pub(crate) fn chunks(&self) -> usize {
        self.closed.len() + usize::from(!self.open.is_empty())
    }

    /// Whether a sample may lie in `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        match (self.first_ms(), self.last_ms()) {
            (Some(first), Some(last)) => TimeRange::new(first, last).overlaps(range),
            _ => false,
        }
    }

    /// The stale marker as the open chunk has it, if `value` is one and the chunk has native histograms
    /// (tsdb/head_append.go does the same).
    #[cold]
    fn stale_histogram(&self, value: f64) -> Option<NativeHistogram> {
        self.open_histogram().filter(|_| model::is_stale_nan(value)).map(OpenHistogram::stale)
    }
}

impl ClosedChunk {
    fn snapshot(&self) -> ChunkSnapshot {
        ChunkSnapshot {
            range: self.range(),
            samples: XOR_SAMPLES_MAX,
            encoding: self.encoding,
            data: Arc::clone(&self.data),
        }
    }
}

/// What a closed chunk costs: its bytes, their reference counts and its entry in the list.
pub(super) fn closed_bytes(data: usize) -> usize {
    data + 16 + size_of::<ClosedChunk>()
}

/// End of the block that `time_ms` falls into (`rangeForTimestamp`; divides toward zero as Go does).
pub(crate) fn block_end(time_ms: i64, block_ms: i64) -> i64 {
    (time_ms / block_ms).saturating_mul(block_ms).saturating_add(block_ms)
}

/// Where a chunk that is a `ratio`th full at `last` should end, so that the chunks up to `end` get equal shares
/// (`computeChunkEndTime`).
fn chunk_end(start: i64, last: i64, end: i64, ratio: f64) -> i64 {
    let (span, filled) =
        (to_f64(end.saturating_sub(start)), to_f64(last.saturating_sub(start).saturating_add(1)));
    let chunks = (span / (filled * ratio)).floor();
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

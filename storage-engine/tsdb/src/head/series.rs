//! The samples of one series in the head: closed chunks and the one that grows.
//!
//! Chunks are cut as Prometheus cuts them (tsdb/head_append.go), so that a block made from them looks the same: aim at
//! 120 samples, spread evenly up to the block boundary, never past 1005 bytes or twice the aim. They are in time order,
//! do not overlap, and none crosses a block boundary: a sample that comes late is put into its place (`late.rs`).

use std::cell::RefCell;
use std::sync::Arc;

use format::{ENCODING_XOR, XOR_SAMPLES_MAX, XorAppender};
use model::{NativeHistogram, TimeRange};

use super::pieces::{Chain, Pieces};
use super::spill::{Spill, SpillPlace, SpillView};
use super::value::{OpenHistogram, Value};
use crate::error::TsdbError;

mod histogram;
mod late;

/// Samples that a chunk aims at (`DefaultSamplesPerChunk`).
pub(super) const SAMPLES_AIM: u16 = 120;

/// A chunk past this size gets no more samples: 1024 bytes less one sample of the largest kind (chunkenc/xor.go).
pub(super) const CHUNK_BYTES_MAX: usize = 1024 - 19;

/// Most bytes that one sample adds, the chunk's header and first sample included.
pub(super) const SAMPLE_BYTES_MAX: usize = 24;

/// Longest block, ms: a chunk's length in time fits into 32 bits.
pub(crate) const BLOCK_MS_MAX: i64 = 1 << 31;

/// Samples of one series.
#[derive(Default)]
pub(crate) struct Series {
    closed: Vec<ClosedChunk>,
    /// The chunk that grows if it has floats; one of native histograms is in `rare`.
    open: Chain,
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
    /// That chunk.
    open: Vec<u8>,
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

/// What a series needs to change.
pub(crate) struct Room<'a> {
    /// Of the shard.
    pub(crate) pieces: &'a mut Pieces,
    /// Of the head.
    pub(crate) spill: &'a Spill,
    /// Length of a block, ms.
    pub(crate) block_ms: i64,
    /// The closed chunk that was looked into last, with its samples: one that is stored is looked for before, and a batch
    /// may have several for the same chunk.
    pub(crate) looked: Option<(ChunkData, Vec<(i64, Value)>)>,
}

/// Bytes of a chunk that do not change any more.
#[derive(Clone, Debug)]
pub(crate) enum ChunkData {
    Held(Arc<[u8]>),
    Spilled(SpillPlace),
}

impl ChunkData {
    /// The bytes, which may be read into `buffer`.
    pub(crate) fn read<'b>(
        &'b self,
        view: &SpillView,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], TsdbError> {
        match self {
            Self::Held(data) => Ok(data),
            Self::Spilled(place) => view.read(*place, buffer),
        }
    }

    /// Whether these are the bytes of the same chunk, unchanged.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Held(a), Self::Held(b)) => Arc::ptr_eq(a, b),
            (Self::Spilled(a), Self::Spilled(b)) => a == b,
            _ => false,
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            // With their reference counts.
            Self::Held(data) => data.len() + 16,
            Self::Spilled(_) => 0,
        }
    }
}

/// A chunk that is appended to no more.
#[derive(Clone)]
pub(crate) struct ClosedChunk {
    min_ms: i64,
    span_ms: u32,
    pub(crate) encoding: u8,
    pub(crate) data: ChunkData,
}

impl ClosedChunk {
    pub(crate) fn new(spill: &Spill, range: TimeRange, encoding: u8, data: &[u8]) -> Self {
        match spill.add(encoding, data) {
            Some(place) => Self::with(range, encoding, ChunkData::Spilled(place)),
            None => Self::held(range, encoding, data),
        }
    }

    /// One that stays in memory, since it may soon be made again.
    fn held(range: TimeRange, encoding: u8, data: &[u8]) -> Self {
        Self::with(range, encoding, ChunkData::Held(Arc::from(data)))
    }

    fn with(range: TimeRange, encoding: u8, data: ChunkData) -> Self {
        let span_ms = u32::try_from(range.max.wrapping_sub(range.min)).expect("a chunk lies in one block");
        Self { min_ms: range.min, span_ms, encoding, data }
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
    /// What is stored around its time cannot be read.
    Unreadable,
}

/// A chunk as a query sees it: it does not change any more.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSnapshot {
    /// Holds all samples of the chunk; wider than needed when `samples` cuts it.
    pub(crate) range: TimeRange,
    /// Samples that the query sees; the chunk may have more.
    pub(crate) samples: u16,
    pub(crate) encoding: u8,
    pub(crate) data: ChunkData,
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
        let open = self.has_open().then_some(self.open_min_ms);
        self.closed.first().map(|chunk| chunk.min_ms).or(open)
    }

    /// Whether there is no sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && !self.has_open()
    }

    /// Whether there is a chunk that grows.
    #[inline]
    fn has_open(&self) -> bool {
        self.appender.0.samples() > 0 || self.open_histogram().is_some()
    }

    fn open_histogram(&self) -> Option<&OpenHistogram> {
        self.rare.as_ref()?.histogram.as_ref()
    }

    /// Appends a sample that is newer than the newest as part of `epoch` (see [`Series::snapshot`]); tells whether a
    /// chunk was started.
    #[inline]
    pub(crate) fn push(&mut self, room: &mut Room<'_>, time_ms: i64, value: f64, epoch: u64) -> bool {
        if self.appender.0.samples() == 0
            && let Some(stale) = self.stale_histogram(value)
        {
            return self.push_histogram(room, time_ms, &stale, epoch);
        }
        self.begin_epoch(epoch);
        let cut = self.prepare_chunk(room, time_ms);
        self.open.append(room.pieces, &mut self.appender.0, time_ms, value);
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
    fn prepare_chunk(&mut self, room: &mut Room<'_>, time_ms: i64) -> bool {
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
        self.close_chunk(room);
        self.open_min_ms = time_ms;
        self.cut_at_ms = block_end(time_ms, room.block_ms);
        true
    }

    /// Closes the chunk that grows, if there is one.
    pub(crate) fn close_chunk(&mut self, room: &mut Room<'_>) {
        if !self.has_open() {
            return;
        }
        let last = self.last_ms().expect("the open chunk has samples");
        let range = TimeRange::new(self.open_min_ms, last);
        let encoding = self.open_encoding();
        let spill = room.spill;
        let chunk = self.with_open(room.pieces, |data| ClosedChunk::new(spill, range, encoding, data));
        self.push_closed(chunk);
        self.forget_open(room.pieces);
    }

    /// Calls `read` with the bytes of the chunk that grows.
    fn with_open<T>(&self, pieces: &Pieces, read: impl FnOnce(&[u8]) -> T) -> T {
        match &self.rare {
            Some(rare) if self.open.is_empty() => read(&rare.open),
            _ => OPEN.with_borrow_mut(|bytes| {
                bytes.clear();
                self.open.copy_to(pieces, self.appender.0.samples(), bytes);
                read(bytes)
            }),
        }
    }

    /// Drops the chunk that grows.
    fn forget_open(&mut self, pieces: &mut Pieces) {
        self.open.clear(pieces);
        self.appender.0 = XorAppender::EMPTY;
        if let Some(rare) = &mut self.rare {
            rare.histogram = None;
            rare.open = Vec::new();
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
    pub(crate) fn restore_chunk(&mut self, room: &mut Room<'_>, range: TimeRange, encoding: u8, data: &[u8]) {
        let block_ms = room.block_ms;
        let fits = self.last_ms().is_none_or(|last| last < range.min)
            && block_end(range.min, block_ms) == block_end(range.max, block_ms)
            && range.min <= range.max;
        if fits {
            self.close_chunk(room);
            return self.push_closed(ClosedChunk::new(room.spill, range, encoding, data));
        }
        for (time_ms, value) in
            super::value::decode_values(encoding, data, XOR_SAMPLES_MAX).unwrap_or_default()
        {
            self.insert(room, time_ms, &value, 0);
        }
    }

    /// Chunks that overlap `range`, as they were when `epoch` began: what was appended since does not show.
    pub(crate) fn snapshot(
        &self,
        pieces: &Pieces,
        spill: &Spill,
        range: TimeRange,
        epoch: u64,
    ) -> Vec<ChunkSnapshot> {
        if let Some(before) = self.before(epoch) {
            let inside = before.chunks.iter().filter(|chunk| chunk.range.overlaps(range));
            return inside.map(|chunk| chunk.clone().settled(spill)).collect();
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
            .map(|chunk| chunk.snapshot(spill))
            .collect();
        if open_samples > 0 {
            // The chunk that was open when the epoch began may be closed now.
            let open = match self.closed.get(closed) {
                Some(chunk) => chunk.snapshot(spill),
                None => self.open_snapshot(pieces),
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

    fn open_snapshot(&self, pieces: &Pieces) -> ChunkSnapshot {
        let last = self.last_ms().expect("the open chunk has samples");
        ChunkSnapshot {
            range: TimeRange::new(self.open_min_ms, last),
            samples: XOR_SAMPLES_MAX,
            encoding: self.open_encoding(),
            data: ChunkData::Held(self.with_open(pieces, |data| Arc::from(data))),
        }
    }

    /// The chunks whose samples all lie before `end_ms`, the open one closed if it is one of them.
    pub(crate) fn chunks_before(&mut self, room: &mut Room<'_>, end_ms: i64) -> &[ClosedChunk] {
        if self.has_open() && self.last_ms().is_some_and(|last| last < end_ms) {
            self.close_chunk(room);
        }
        let count = self.closed.partition_point(|chunk| chunk.range().max < end_ms);
        &self.closed[..count]
    }

    /// Takes chunks away that are stored elsewhere now; those that changed since they were taken for that stay. No query
    /// may read meanwhile.
    pub(crate) fn remove_chunks(&mut self, stored: &[ChunkData]) {
        self.closed.retain(|chunk| !stored.iter().any(|data| data.is(&chunk.data)));
        if self.closed.capacity() > 2 * self.closed.len() + 4 {
            self.closed.shrink_to_fit();
        }
        self.forget_queries();
    }

    /// Puts others into the place of a closed chunk of the spill; tells whether it is still there. No query may read
    /// meanwhile.
    pub(crate) fn replace_chunk(&mut self, place: SpillPlace, made: Vec<ClosedChunk>) -> bool {
        let is_it = |chunk: &ClosedChunk| chunk.data.is(&ChunkData::Spilled(place));
        let Some(at) = self.closed.iter().position(is_it) else { return false };
        self.closed.splice(at..=at, made);
        self.forget_queries();
        true
    }

    /// Forgets the positions that were remembered for queries of this epoch: there are none.
    fn forget_queries(&mut self) {
        self.mark = Mark::default();
        if let Some(rare) = &mut self.rare {
            rare.before = None;
            if rare.histogram.is_none() {
                self.rare = None;
            }
        }
    }

    /// Calls `visit` with each closed chunk and its place in the spill, if it is there.
    pub(crate) fn for_each_closed(&self, mut visit: impl FnMut(&ClosedChunk, SpillPlace)) {
        for chunk in &self.closed {
            if let ChunkData::Spilled(place) = chunk.data {
                visit(chunk, place);
            }
        }
    }

    /// Calls `visit` with the place of each chunk that the series or a query of its epoch needs of the spill.
    pub(crate) fn for_each_spilled(&self, mut visit: impl FnMut(SpillPlace)) {
        let before = self.rare.as_ref().and_then(|rare| rare.before.as_ref());
        let before = before.into_iter().flat_map(|before| before.chunks.iter().map(|chunk| &chunk.data));
        for data in self.closed.iter().map(|chunk| &chunk.data).chain(before) {
            if let ChunkData::Spilled(place) = data {
                visit(*place);
            }
        }
    }

    /// Bytes that an open chunk of floats holds on to.
    #[inline]
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.memory_bytes()
    }

    /// What the chunk that was closed last costs, 0 when there is none.
    pub(crate) fn last_closed_bytes(&self) -> usize {
        self.closed.last().map_or(0, ClosedChunk::memory_bytes)
    }

    /// Bytes of all chunks that are in memory, and of the list of the others.
    pub(crate) fn memory_bytes(&self) -> usize {
        let closed: usize = self.closed.iter().map(ClosedChunk::memory_bytes).sum();
        let rare = self.rare.as_ref().map_or(0, |rare| {
            let histogram = rare.histogram.as_ref().map_or(0, OpenHistogram::heap_bytes);
            size_of::<Rare>() + rare.open.capacity() + histogram
        });
        closed + self.open.memory_bytes() + rare
    }

    /// Chunks, the one that grows included.
    pub(crate) fn chunks(&self) -> usize {
        self.closed.len() + usize::from(self.has_open())
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
    fn snapshot(&self, spill: &Spill) -> ChunkSnapshot {
        let data = self.data.clone();
        ChunkSnapshot { range: self.range(), samples: XOR_SAMPLES_MAX, encoding: self.encoding, data }
            .settled(spill)
    }

    /// Its bytes, such that a view of the spill that is taken from now on has them.
    pub(crate) fn settled_data(&self, spill: &Spill) -> ChunkData {
        self.snapshot(spill).data
    }

    /// What it costs: its bytes, if they are in memory, and its entry in the list.
    fn memory_bytes(&self) -> usize {
        self.data.held_bytes() + size_of::<Self>()
    }
}

impl ChunkSnapshot {
    /// The same chunk, such that a view of the spill that is taken from now on has it.
    fn settled(mut self, spill: &Spill) -> Self {
        if let ChunkData::Spilled(place) = self.data
            && let Some(data) = spill.copy_if_open(place)
        {
            self.data = ChunkData::Held(data.into());
        }
        self
    }
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

thread_local! {
    /// Memory that a thread keeps for the chunks that it puts together.
    static OPEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests;

//! What leaves the head for a block: which range is due, its series in label order with their chunks, and the removal of
//! exactly what was written.
//!
//! Appends go on meanwhile. A chunk that changes after it was written stays in the head, with what the block has of it
//! as well: readers see each sample once, and a later flush and compaction bring the two together. Sketch: 4 bytes a
//! label and 30 bytes a series of memory while it runs; the chunks' bytes are shared, not copied.

use std::ops::Range;
use std::time::Duration;

use hashbrown::HashSet;
use model::{Labels, TimeRange};
use rapidhash::fast::RandomState;

use super::series::{ChunkData, block_end};
use super::spill::{Spill, SpillView};
use super::symbols::Symbol;
use super::{Head, Place, append};
use crate::block::BlockChunk;
use crate::error::TsdbError;

/// Series looked at under one hold of a shard's data lock.
const PIECE_SERIES: usize = 256;

/// What was written to a block and may be removed.
pub(crate) struct Written {
    chunks: Vec<(Place, Vec<ChunkData>)>,
}

impl Head {
    /// The block range, first and last millisecond, that is to be flushed now: that of the oldest sample once samples
    /// span one and a half blocks (`compactable` in tsdb/head.go).
    pub(crate) fn due(&self) -> Option<TimeRange> {
        let range = self.stats().range?;
        let block_ms = self.settings.block_duration_ms;
        let span = range.max.saturating_sub(range.min);
        (span > block_ms.saturating_add(block_ms / 2)).then(|| self.block_range(range.min))
    }

    /// Whether all of `range` was flushed before, so that its samples came late.
    pub(crate) fn is_late(&self, range: TimeRange) -> bool {
        range.max < self.flushed_ms()
    }

    /// Whether samples that came in order are to be flushed, whatever there is of late ones.
    pub(crate) fn is_due_in_order(&self) -> bool {
        let block_ms = self.settings.block_duration_ms;
        let span = self.newest_ms().saturating_sub(self.flushed_ms());
        span > block_ms.saturating_add(block_ms / 2)
    }

    pub(crate) fn block_duration(&self) -> Duration {
        Duration::from_millis(self.settings.block_duration_ms.unsigned_abs())
    }

    /// The block range of the oldest sample, however young it is.
    pub(crate) fn oldest_range(&self) -> Option<TimeRange> {
        self.stats().range.map(|range| self.block_range(range.min))
    }

    fn block_range(&self, time_ms: i64) -> TimeRange {
        let block_ms = self.settings.block_duration_ms;
        let end = block_end(time_ms, block_ms);
        // Go's division makes one block of double length around 1970.
        let start = if (1..=block_ms).contains(&end) && time_ms < 0 { -block_ms } else { end - block_ms };
        TimeRange::new(start.min(time_ms), end - 1)
    }

    /// Calls `write` with each series that has chunks in `range`, in label order, and those chunks in time order.
    pub(crate) fn write_range<E: From<TsdbError>>(
        &self,
        range: TimeRange,
        mut write: impl FnMut(&Labels, &[BlockChunk<'_>]) -> Result<(), E>,
    ) -> Result<Written, E> {
        let mut chunks = Vec::new();
        let mut reader = ChunkReader::new(&self.spill);
        for place in self.in_label_order(range) {
            let mut stored = Vec::new();
            {
                let mut data = self.shards[place.shard as usize].data.lock();
                let (all, mut room) = data.split(self);
                let Some(series) = all.get_mut(place.local) else { continue };
                let before = series.memory_bytes();
                for chunk in series.chunks_before(&mut room, range.max.saturating_add(1)) {
                    if chunk.range().min >= range.min {
                        reader.add(chunk.range(), chunk.encoding, chunk.settled_data(&self.spill));
                        stored.push(chunk.data.clone());
                    }
                }
                self.add_memory(append::size(series.memory_bytes()) - append::size(before));
            }
            if stored.is_empty() {
                continue;
            }
            write(&self.labels(place), &reader.read()?)?;
            chunks.push((place, stored));
        }
        Ok(Written { chunks })
    }

    /// Calls `write` with each series that has samples, in label order, and all its chunks as they are now.
    pub(crate) fn write_all<E: From<TsdbError>>(
        &self,
        mut write: impl FnMut(&Labels, &[BlockChunk<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = ChunkReader::new(&self.spill);
        for place in self.in_label_order(TimeRange::ALL) {
            let data = self.shards[place.shard as usize].data.lock();
            // No query ever has the last epoch, so that everything is seen.
            let Some(series) = data.series.get(place.local) else { continue };
            let chunks = series.snapshot(&data.pieces, &self.spill, TimeRange::ALL, u64::MAX);
            drop(data);
            if chunks.is_empty() {
                continue;
            }
            chunks.into_iter().for_each(|chunk| reader.add(chunk.range, chunk.encoding, chunk.data));
            write(&self.labels(place), &reader.read()?)?;
        }
        Ok(())
    }

    /// Removes what was written, where it is still as it was, and finds the oldest sample that is left.
    pub(crate) fn remove_written(&self, written: &Written) {
        let mut of_shard = vec![Vec::new(); self.shards.len()];
        for (place, chunks) in &written.chunks {
            of_shard[place.shard as usize].push((place.local, chunks));
        }
        // Appends lower it again while the shards are gone through.
        self.oldest_ms.store(i64::MAX, std::sync::atomic::Ordering::Relaxed);
        for (shard, list) in self.shards.iter().zip(of_shard) {
            for some in list.chunks(PIECE_SERIES) {
                // A query that began its epoch reads by positions that change here.
                let _no_query = self.gather.lock();
                let mut data = shard.data.lock();
                for (local, chunks) in some {
                    let Some(series) = data.series.get_mut(*local) else { continue };
                    let (bytes, count) = (series.memory_bytes(), series.chunks());
                    series.remove_chunks(chunks);
                    self.add_memory(append::size(series.memory_bytes()) - append::size(bytes));
                    self.add_chunks(append::size(series.chunks()) - append::size(count));
                }
            }
            let data = shard.data.lock();
            let oldest = data.series.iter().filter_map(|(_, series)| series.first_ms()).min();
            if let Some(oldest) = oldest {
                self.oldest_ms.fetch_min(oldest, std::sync::atomic::Ordering::Relaxed);
            }
        }
        self.retain_spilled();
    }

    /// Lets go of what no series has in the spill any more.
    fn retain_spilled(&self) {
        let end = self.spill.begin_retain();
        let mut needed = HashSet::new();
        for shard in &self.shards {
            let data = shard.data.lock();
            let mut note = |place| _ = needed.insert(Spill::block_of(place));
            data.series.iter().for_each(|(_, series)| series.for_each_spilled(&mut note));
        }
        // A query that found a place has its view before it gives this back.
        let _no_query = self.gather.lock();
        self.spill.retain(end, &needed);
    }

    /// Series with samples in `range`, in label order. Texts are compared once, as the ranks of their symbols.
    fn in_label_order(&self, range: TimeRange) -> Vec<Place> {
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut series: Vec<(Place, u32, u32)> = Vec::new();
        for (number, shard) in (0..).zip(&self.shards) {
            let locals: Vec<u32> = {
                let data = shard.data.lock();
                let with_samples = data.series.iter().filter(|(_, series)| series.overlaps(range));
                with_samples.map(|(local, _)| local).collect()
            };
            let index = shard.index.read();
            for local in locals {
                let Some(labels) = index.labels.get(local) else { continue };
                let start = u32::try_from(symbols.len()).expect("memory ends before 2^32 labels");
                symbols.extend_from_slice(labels);
                let count = u32::try_from(labels.len()).expect("a few labels");
                series.push((Place { shard: number, local }, start, count));
            }
        }
        let ranks = self.ranks(&symbols);
        symbols.iter_mut().for_each(|symbol| *symbol = ranks[symbol]);
        let key = |&(_, start, count): &(Place, u32, u32)| &symbols[start as usize..][..count as usize];
        series.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        series.into_iter().map(|(place, ..)| place).collect()
    }

    fn ranks(&self, symbols: &[Symbol]) -> hashbrown::HashMap<Symbol, u32, RandomState> {
        let distinct: HashSet<Symbol, RandomState> = symbols.iter().copied().collect();
        let mut sorted: Vec<Symbol> = distinct.into_iter().collect();
        let texts = self.symbols.read();
        sorted.sort_unstable_by(|a, b| texts.text(*a).cmp(texts.text(*b)));
        sorted.into_iter().zip(0..).collect()
    }
}

/// Reads the chunks of one series after the other.
struct ChunkReader<'a> {
    spill: &'a Spill,
    chunks: Vec<(TimeRange, u8, ChunkData)>,
    /// What was read from the spill, and where each chunk is there; empty for one that is in memory.
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    buffer: Vec<u8>,
}

impl<'a> ChunkReader<'a> {
    fn new(spill: &'a Spill) -> Self {
        Self { spill, chunks: Vec::new(), bytes: Vec::new(), places: Vec::new(), buffer: Vec::new() }
    }

    /// Adds a chunk to what the next [`ChunkReader::read`] returns.
    fn add(&mut self, range: TimeRange, encoding: u8, data: ChunkData) {
        if !self.places.is_empty() {
            self.chunks.clear();
            self.places.clear();
        }
        self.chunks.push((range, encoding, data));
    }

    /// The chunks that were added since the last call.
    fn read(&mut self) -> Result<Vec<BlockChunk<'_>>, TsdbError> {
        // Blocks of the spill go only after a flush, which does not run meanwhile.
        let view: SpillView = self.spill.view();
        self.bytes.clear();
        for (_, _, data) in &self.chunks {
            let start = self.bytes.len();
            if let ChunkData::Spilled(place) = data {
                let read = view.read(*place, &mut self.buffer)?;
                self.bytes.extend_from_slice(read);
            }
            self.places.push(start..self.bytes.len());
        }
        let all = self.chunks.iter().zip(&self.places).map(|((range, encoding, data), place)| {
            let data = match data {
                ChunkData::Held(data) => &**data,
                ChunkData::Spilled(_) => &self.bytes[place.clone()],
            };
            BlockChunk { range: *range, encoding: *encoding, data }
        });
        Ok(all.collect())
    }
}

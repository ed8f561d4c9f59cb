//! Series of several blocks into one block, in label order, under a small memory budget: a few hundred series of each
//! block at a time.
//!
//! Chunks are copied as they are. Only those of a series that overlap each other, or that deletions touch, are decoded,
//! merged sample by sample and encoded anew. Of two samples with the same time the one of the earlier block in the
//! list stays.

use std::collections::VecDeque;
use std::sync::Arc;

use format::{ChunkMeta, ChunkSample, FormatError, Recoder, Symbols, read_chunk_samples};
use model::{Labels, TimeRange};
use storage_api::StorageResult;

use crate::block::{BlockChunk, BlockReader, BlockSeries, BlockWriter, damaged};

/// Series that are read from a block at once.
const BATCH_SERIES: usize = 256;

/// A chunk of a series in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedChunk {
    /// The place in the list of the block that it is from.
    pub source: usize,
    /// Times of its first and last sample, ms.
    pub range: TimeRange,
    /// Number of its encoding.
    pub encoding: u8,
    /// Its bytes, without length, encoding or checksum.
    pub data: Vec<u8>,
}

/// Makes chunks of a series that overlap into chunks that do not.
pub type Settle<'a> = dyn FnMut(&Labels, Vec<MergedChunk>) -> StorageResult<Vec<MergedChunk>> + 'a;

/// Writes all series of `blocks` that have samples left to `writer`.
pub(crate) fn merge(blocks: &[Arc<BlockReader>], writer: &mut BlockWriter) -> StorageResult<()> {
    merge_series(blocks, &mut one_by_one, &mut |labels, merged| {
        let chunks: Vec<BlockChunk<'_>> = merged
            .iter()
            .map(|chunk| BlockChunk { range: chunk.range, encoding: chunk.encoding, data: &chunk.data })
            .collect();
        writer.add_series(labels, &chunks)
    })
}

/// Calls `visit` with each series of `blocks` that has samples left, in label order, and with its chunks, in time order
/// and without overlap. Chunks that overlap are given to `settle`, which replaces them by such that do not: a run of
/// chunks of which each begins before those in front of it all end, in the order of their times, then blocks. Deleted
/// samples are left out before. Holds a few hundred series of each block, and the chunks of one series.
pub fn merge_series(
    blocks: &[Arc<BlockReader>],
    settle: &mut Settle<'_>,
    visit: &mut dyn FnMut(&Labels, &[MergedChunk]) -> StorageResult<()>,
) -> StorageResult<()> {
    let sources: StorageResult<Vec<Source>> = blocks.iter().map(Source::open).collect();
    let mut sources = sources?;
    let mut pieces = Vec::new();
    loop {
        for source in &mut sources {
            source.refill()?;
        }
        let least =
            sources.iter().filter_map(|source| source.next.front()).map(|series| &series.labels).min();
        let Some(labels) = least.cloned() else { return Ok(()) };
        pieces.clear();
        for (number, source) in sources.iter_mut().enumerate() {
            let Some(series) = source.next.pop_front_if(|series| series.labels == labels) else { continue };
            source.read(number, &series, &mut pieces)?;
        }
        let done = without_overlap(&labels, &mut pieces, settle)?;
        if !done.is_empty() {
            visit(&labels, &done)?;
        }
    }
}

struct Source {
    block: Arc<BlockReader>,
    texts: Arc<Symbols>,
    numbers: Vec<u32>,
    /// Of `numbers`, those that were read.
    read: usize,
    next: VecDeque<BlockSeries>,
}

impl Source {
    fn open(block: &Arc<BlockReader>) -> StorageResult<Self> {
        Ok(Self {
            block: Arc::clone(block),
            texts: block.symbols()?,
            numbers: block.all_series()?,
            read: 0,
            next: VecDeque::new(),
        })
    }

    fn refill(&mut self) -> StorageResult<()> {
        if self.next.is_empty() && self.read < self.numbers.len() {
            let end = (self.read + BATCH_SERIES).min(self.numbers.len());
            self.next.extend(self.block.series_from(&self.numbers[self.read..end], &self.texts)?);
            self.read = end;
        }
        Ok(())
    }

    /// Appends the chunks of a series without what is deleted.
    fn read(&self, source: usize, series: &BlockSeries, pieces: &mut Vec<MergedChunk>) -> StorageResult<()> {
        let of = |chunk: &ChunkMeta| TimeRange::new(chunk.min_time, chunk.max_time);
        let kept: Vec<ChunkMeta> =
            series.chunks.iter().filter(|chunk| !series.deleted.covers(of(chunk))).copied().collect();
        self.block.read_chunks(&kept, |chunk, encoding, data| {
            let range = of(chunk);
            if !series.deleted.overlaps(range) {
                pieces.push(MergedChunk { source, range, encoding, data: data.to_vec() });
                return Ok(());
            }
            let mut recoder = Recoder::default();
            recoder
                .read(encoding, data, |time| !series.deleted.contains(time))
                .map_err(|error| damaged(self.block.folder(), &error))?;
            let recoded = recoder.finish().into_iter();
            pieces.extend(recoded.map(|(range, encoding, data)| MergedChunk {
                source,
                range,
                encoding,
                data,
            }));
            Ok(())
        })
    }
}

/// Brings chunks into the order of their times and settles those that overlap.
fn without_overlap(
    labels: &Labels,
    pieces: &mut Vec<MergedChunk>,
    settle: &mut Settle<'_>,
) -> StorageResult<Vec<MergedChunk>> {
    // Stable, so that of chunks with the same time the earlier block's stays in front.
    pieces.sort_by_key(|piece| (piece.range.min, piece.range.max));
    let mut done: Vec<MergedChunk> = Vec::with_capacity(pieces.len());
    let mut cluster: Vec<MergedChunk> = Vec::new();
    let mut close = |cluster: &mut Vec<MergedChunk>, done: &mut Vec<MergedChunk>| -> StorageResult<()> {
        if cluster.len() < 2 {
            done.append(cluster);
        } else {
            done.append(&mut settle(labels, std::mem::take(cluster))?);
        }
        Ok(())
    };
    let mut end = i64::MIN;
    for piece in pieces.drain(..) {
        if !cluster.is_empty() && piece.range.min > end {
            close(&mut cluster, &mut done)?;
        }
        let is_copy = cluster.last().is_some_and(|last| {
            last.range == piece.range && last.encoding == piece.encoding && last.data == piece.data
        });
        if !is_copy {
            end = if cluster.is_empty() { piece.range.max } else { end.max(piece.range.max) };
            cluster.push(piece);
        }
    }
    close(&mut cluster, &mut done)?;
    Ok(done)
}

/// Makes chunks that overlap into chunks that do not, with all their samples.
pub fn one_by_one(labels: &Labels, cluster: Vec<MergedChunk>) -> StorageResult<Vec<MergedChunk>> {
    let fault = |error: FormatError| {
        storage_api::StorageError::new(model::ErrorKind::Corrupt, format!("series {labels}: {error}"))
    };
    let mut samples: Vec<(i64, usize, ChunkSample)> = Vec::new();
    for piece in cluster {
        let visit = |time, sample| samples.push((time, piece.source, sample));
        read_chunk_samples(piece.encoding, &piece.data, visit).map_err(fault)?;
    }
    samples.sort_by_key(|(time, source, _)| (*time, *source));
    samples.dedup_by_key(|(time, ..)| *time);
    let mut recoder = Recoder::default();
    samples.iter().for_each(|(time, _, sample)| recoder.push(*time, sample));
    let recoded = recoder.finish().into_iter();
    Ok(recoded.map(|(range, encoding, data)| MergedChunk { source: 0, range, encoding, data }).collect())
}

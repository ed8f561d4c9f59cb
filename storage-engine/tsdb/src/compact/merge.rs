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

/// Writes all series of `blocks` that have samples left to `writer`.
pub(crate) fn merge(blocks: &[Arc<BlockReader>], writer: &mut BlockWriter) -> StorageResult<()> {
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
        write(&labels, &mut pieces, writer)?;
    }
}

/// A chunk in memory.
struct Piece {
    /// Which block it is from.
    source: usize,
    range: TimeRange,
    encoding: u8,
    data: Vec<u8>,
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
    fn read(&self, source: usize, series: &BlockSeries, pieces: &mut Vec<Piece>) -> StorageResult<()> {
        let of = |chunk: &ChunkMeta| TimeRange::new(chunk.min_time, chunk.max_time);
        let kept: Vec<ChunkMeta> =
            series.chunks.iter().filter(|chunk| !series.deleted.covers(of(chunk))).copied().collect();
        self.block.read_chunks(&kept, |chunk, encoding, data| {
            let range = of(chunk);
            if !series.deleted.overlaps(range) {
                pieces.push(Piece { source, range, encoding, data: data.to_vec() });
                return Ok(());
            }
            let mut recoder = Recoder::default();
            recoder
                .read(encoding, data, |time| !series.deleted.contains(time))
                .map_err(|error| damaged(self.block.folder(), &error))?;
            let recoded = recoder.finish().into_iter();
            pieces.extend(recoded.map(|(range, encoding, data)| Piece { source, range, encoding, data }));
            Ok(())
        })
    }
}

/// Writes a series whose chunks may overlap.
fn write(labels: &Labels, pieces: &mut Vec<Piece>, writer: &mut BlockWriter) -> StorageResult<()> {
    // Stable, so that of chunks with the same time the earlier block's stays in front.
    pieces.sort_by_key(|piece| (piece.range.min, piece.range.max));
    let mut done: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut cluster: Vec<Piece> = Vec::new();
    let mut end = i64::MIN;
    for piece in pieces.drain(..) {
        if !cluster.is_empty() && piece.range.min > end {
            settle(labels, &mut cluster, &mut done)?;
        }
        let is_copy = cluster.last().is_some_and(|last| {
            last.range == piece.range && last.encoding == piece.encoding && last.data == piece.data
        });
        if !is_copy {
            end = if cluster.is_empty() { piece.range.max } else { end.max(piece.range.max) };
            cluster.push(piece);
        }
    }
    settle(labels, &mut cluster, &mut done)?;
    if done.is_empty() {
        return Ok(());
    }
    let chunks: Vec<BlockChunk<'_>> = done
        .iter()
        .map(|piece| BlockChunk { range: piece.range, encoding: piece.encoding, data: &piece.data })
        .collect();
    writer.add_series(labels, &chunks)
}

/// Makes chunks that overlap into chunks that do not.
fn settle(labels: &Labels, cluster: &mut Vec<Piece>, done: &mut Vec<Piece>) -> StorageResult<()> {
    if cluster.len() < 2 {
        done.append(cluster);
        return Ok(());
    }
    let fault = |error: FormatError| {
        storage_api::StorageError::new(model::ErrorKind::Corrupt, format!("series {labels}: {error}"))
    };
    let mut samples: Vec<(i64, usize, ChunkSample)> = Vec::new();
    for piece in cluster.drain(..) {
        let visit = |time, sample| samples.push((time, piece.source, sample));
        read_chunk_samples(piece.encoding, &piece.data, visit).map_err(fault)?;
    }
    samples.sort_by_key(|(time, source, _)| (*time, *source));
    samples.dedup_by_key(|(time, ..)| *time);
    let mut recoder = Recoder::default();
    samples.iter().for_each(|(time, _, sample)| recoder.push(*time, sample));
    let recoded = recoder.finish().into_iter();
    done.extend(recoded.map(|(range, encoding, data)| Piece { source: 0, range, encoding, data }));
    Ok(())
}

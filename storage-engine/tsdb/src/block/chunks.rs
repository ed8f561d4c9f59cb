//! Chunks of one series of a block: read when asked, checked, deleted samples left out.

use std::sync::Arc;

use bytes::Bytes;
use format::{
    CHUNK_FRAME_BYTES_MAX, ChunkMeta, FormatError, Intervals, Recoder, SEGMENT_HEADER_BYTES,
    chunk_frame_bytes, decode_chunk, take_chunk,
};
use model::{SampleColumns, TimeRange};
use storage_api::{ChunkEncoding, EncodedChunk, SeriesChunks, StorageResult};

use super::reader::BlockReader;
use super::spans::SpanReader;
use super::{damaged, failed};

/// A chunk is up to 1 KiB but for large histograms (`MaxBytesPerXORChunk` in tsdb/chunkenc/chunk.go).
const CHUNK_BYTES: u64 = 1024 + CHUNK_FRAME_BYTES_MAX as u64;

/// Handle on the chunks of a series. Reading them may block on the disk.
pub(crate) struct BlockChunks {
    block: Arc<BlockReader>,
    chunks: Box<[ChunkMeta]>,
    deleted: Intervals,
}

impl BlockChunks {
    pub(crate) fn new(block: Arc<BlockReader>, chunks: Box<[ChunkMeta]>, deleted: Intervals) -> Self {
        Self { block, chunks, deleted }
    }
}

impl BlockReader {
    /// Calls `visit` with each of these chunks of one series: where it is, its encoding and its data.
    pub fn read_chunks(
        &self,
        chunks: &[ChunkMeta],
        mut visit: impl FnMut(&ChunkMeta, u8, &[u8]) -> StorageResult<()>,
    ) -> StorageResult<()> {
        let mut from = 0;
        while let Some(first) = chunks.get(from) {
            let number = first.segment();
            let same = chunks[from..].iter().take_while(|chunk| chunk.segment() == number).count();
            let result = self.read_segment(number, &chunks[from..from + same], &mut visit);
            self.note(result)?;
            from += same;
        }
        Ok(())
    }

    /// Tells the disk that these chunks, which are in the order of their places, are about to be read.
    pub fn want_chunks<'a>(&self, chunks: impl Iterator<Item = &'a ChunkMeta> + Clone) {
        for (number, segment) in self.segments.iter().enumerate() {
            let inside = chunks.clone().filter(|chunk| chunk.segment() == number);
            segment.file.want(&mut inside.map(|chunk| chunk.offset()..chunk.offset() + CHUNK_BYTES));
        }
    }

    fn read_segment(
        &self,
        number: usize,
        chunks: &[ChunkMeta],
        visit: &mut impl FnMut(&ChunkMeta, u8, &[u8]) -> StorageResult<()>,
    ) -> StorageResult<()> {
        let Some(segment) = self.segments.get(number) else {
            let missing = FormatError::new("chunk segment", "it is missing and the index names it");
            return Err(damaged(&super::names::segment(self.folder(), number), &missing));
        };
        let mut span = SpanReader::new(&*segment.file, segment.bytes);
        for (index, chunk) in chunks.iter().enumerate() {
            if chunk.offset() < SEGMENT_HEADER_BYTES as u64 {
                return Err(damaged(&segment.path, &FormatError::new("index", "a chunk is inside a header")));
            }
            let place = |index: usize| chunks.get(index).map(|chunk| chunk.offset());
            let front =
                span.at(place, index, 5, CHUNK_BYTES).map_err(|error| failed(&segment.path, &error))?;
            let len = chunk_frame_bytes(front).map_err(|error| damaged(&segment.path, &error))?;
            let mut frame =
                span.exactly(chunk.offset(), len).map_err(|error| failed(&segment.path, &error))?;
            let (encoding, data) = take_chunk(&mut frame).map_err(|error| damaged(&segment.path, &error))?;
            visit(chunk, encoding, data)?;
        }
        Ok(())
    }

    /// Appends the samples of these chunks that lie in `range` and are not deleted to `out`.
    pub(crate) fn decode(
        &self,
        chunks: &[ChunkMeta],
        deleted: &Intervals,
        range: TimeRange,
        out: &mut SampleColumns,
    ) -> StorageResult<()> {
        let before = out.len();
        self.read_chunks(chunks, |_, encoding, data| {
            decode_chunk(encoding, data, u16::MAX, range, out).map_err(|error| damaged(self.folder(), &error))
        })?;
        if !deleted.is_empty() {
            retain_times(out, before, |time| !deleted.contains(time));
        }
        Ok(())
    }
}

/// Keeps the samples from position `from` on whose times `keep` likes.
pub(crate) fn retain_times(columns: &mut SampleColumns, from: usize, keep: impl Fn(i64) -> bool) {
    let mut histograms = std::mem::take(&mut columns.histograms).into_iter().peekable();
    let mut kept = from;
    while let Some(before) = histograms.next_if(|(at, _)| *at < from) {
        columns.histograms.push(before);
    }
    for at in from..columns.len() {
        let histogram = histograms.next_if(|(position, _)| *position == at);
        if keep(columns.timestamps_ms[at]) {
            columns.timestamps_ms[kept] = columns.timestamps_ms[at];
            columns.values[kept] = columns.values[at];
            columns.histograms.extend(histogram.map(|(_, histogram)| (kept, histogram)));
            kept += 1;
        }
    }
    columns.timestamps_ms.truncate(kept);
    columns.values.truncate(kept);
}

impl SeriesChunks for BlockChunks {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        // They ascend and do not overlap.
        let from = self.chunks.partition_point(|chunk| chunk.max_time < range.min);
        let to = self.chunks.partition_point(|chunk| chunk.min_time <= range.max);
        self.block.decode(&self.chunks[from..to.max(from)], &self.deleted, range, out)
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        let mut encoded = Vec::with_capacity(self.chunks.len());
        self.block.read_chunks(&self.chunks, |chunk, encoding, data| {
            let unknown = FormatError::new("chunk", "its encoding is none of 1 to 6");
            let number = encoding;
            let Some(encoding) = ChunkEncoding::from_number(encoding) else {
                return Err(damaged(self.block.folder(), &unknown));
            };
            let range = TimeRange::new(chunk.min_time, chunk.max_time);
            if !self.deleted.overlaps(range) {
                encoded.push(EncodedChunk { range, encoding, data: Bytes::copy_from_slice(data) });
                return Ok(());
            }
            let mut recoder = Recoder::default();
            recoder
                .read(number, data, |time| !self.deleted.contains(time))
                .map_err(|error| damaged(self.block.folder(), &error))?;
            for (range, number, data) in recoder.finish() {
                let encoding = ChunkEncoding::from_number(number).expect("only known encodings are written");
                encoded.push(EncodedChunk { range, encoding, data: data.into() });
            }
            Ok(())
        })?;
        Ok(encoded)
    }
}

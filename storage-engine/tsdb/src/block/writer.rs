//! Making a block: chunks are copied as they come, the index is written at the end, and a rename makes the block
//! visible once everything is on disk.
//!
//! Sketch: sequential writes of the chunks' bytes; 80 bytes of memory a series until the index is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{
    BlockMeta, BlockStats, CHUNK_FRAME_BYTES_MAX, ChunkMeta, ENCODING_AGGREGATE, ENCODING_XOR, ENCODING_XOR2,
    FormatError, IndexBuilder, SEGMENT_BYTES_MAX, SEGMENT_HEADER, Tombstones, chunk_samples, put_chunk,
};
use model::{ErrorKind, Labels, TimeRange};
use runtime::{AppendFile, Disk};
use storage_api::{StorageError, StorageResult};
use ulid::Ulid;

use super::failed;
use super::names::{self, CHUNKS, INDEX, META, TOMBSTONES};

/// Chunks are written in pieces of about this size.
const BUFFER_BYTES: usize = 256 << 10;

/// An encoded chunk to write.
#[derive(Clone, Copy, Debug)]
pub struct BlockChunk<'a> {
    /// Times of the first and last sample, ms.
    pub range: TimeRange,
    /// Number of the encoding, 1 to 6, or 255 for windows of samples.
    pub encoding: u8,
    /// The chunk without length, encoding or checksum.
    pub data: &'a [u8],
}

/// Writes one block. Dropped before it is finished, it leaves nothing.
pub struct BlockWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    ulid: Ulid,
    temporary: PathBuf,
    index: IndexBuilder,
    segment: Option<Segment>,
    segments: usize,
    segment_bytes_max: u64,
    stats: BlockStats,
    /// Times of all samples, ms.
    range: Option<TimeRange>,
    metas: Vec<ChunkMeta>,
    is_sealed: bool,
    is_finished: bool,
}

struct Segment {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    /// What is to be written, and how much there will be in the file then.
    buffer: Vec<u8>,
    bytes: u64,
}

impl BlockWriter {
    /// Begins a block in `dir`, the folder of blocks.
    pub fn create(disk: &Arc<dyn Disk>, dir: &Path, ulid: Ulid) -> StorageResult<Self> {
        let temporary = names::creation(dir, ulid);
        let chunks = temporary.join(CHUNKS);
        disk.create_dir_all(&chunks).map_err(|error| failed(&chunks, &error))?;
        Ok(Self {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            ulid,
            temporary,
            index: IndexBuilder::default(),
            segment: None,
            segments: 0,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            stats: BlockStats::default(),
            range: None,
            metas: Vec::new(),
            is_sealed: false,
            is_finished: false,
        })
    }

    /// Puts a checksum into the description, for a block that stays with this program.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.is_sealed = true;
        self
    }

    /// The block's identifier.
    pub fn ulid(&self) -> Ulid {
        self.ulid
    }

    /// Fills files of chunks only up to so many bytes, for tests of blocks with several.
    #[cfg(test)]
    pub(crate) fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes_max = bytes;
        self
    }

    /// Adds a series. Labels must ascend from call to call; chunks must be in time order, without overlap, and at least
    /// one.
    pub fn add_series(&mut self, labels: &Labels, chunks: &[BlockChunk<'_>]) -> StorageResult<()> {
        let ulid = self.ulid;
        let invalid = |error: FormatError| {
            StorageError::new(ErrorKind::Internal, format!("block {ulid}: {labels}: {error}"))
        };
        if chunks.is_empty() {
            return Err(invalid(FormatError::new("series for a block", "it has no chunk")));
        }
        let mut metas = std::mem::take(&mut self.metas);
        metas.clear();
        for chunk in chunks {
            let samples = u64::from(chunk_samples(chunk.encoding, chunk.data).map_err(invalid)?);
            self.stats.num_samples += samples;
            match chunk.encoding {
                ENCODING_XOR | ENCODING_XOR2 => self.stats.num_float_samples += samples,
                // Windows are neither.
                ENCODING_AGGREGATE => {}
                _ => self.stats.num_histogram_samples += samples,
            }
            let reference = self.put(chunk)?;
            metas.push(ChunkMeta { min_time: chunk.range.min, max_time: chunk.range.max, reference });
            let all = self.range.get_or_insert(chunk.range);
            *all = TimeRange::new(all.min.min(chunk.range.min), all.max.max(chunk.range.max));
        }
        self.index.add_series(labels, &metas).map_err(invalid)?;
        self.metas = metas;
        Ok(())
    }

    /// Times of the samples so far, ms.
    pub fn range(&self) -> Option<TimeRange> {
        self.range
    }

    /// Writes a chunk; returns its place.
    fn put(&mut self, chunk: &BlockChunk<'_>) -> StorageResult<u64> {
        let most = (chunk.data.len() + CHUNK_FRAME_BYTES_MAX) as u64;
        let is_full = |segment: &Segment| segment.bytes + most > self.segment_bytes_max && segment.bytes > 8;
        if self.segment.as_ref().is_none_or(is_full) {
            self.next_segment()?;
        }
        let number = self.segments - 1;
        let segment = self.segment.as_mut().expect("it was made above");
        let place = (number as u64) << 32 | segment.bytes;
        let before = segment.buffer.len();
        put_chunk(&mut segment.buffer, chunk.encoding, chunk.data);
        segment.bytes += (segment.buffer.len() - before) as u64;
        if segment.buffer.len() >= BUFFER_BYTES {
            segment.flush()?;
        }
        Ok(place)
    }

    fn next_segment(&mut self) -> StorageResult<()> {
        self.close_segment()?;
        let path = names::segment(&self.temporary, self.segments);
        let file = self.disk.create(&path).map_err(|error| failed(&path, &error))?;
        let buffer = SEGMENT_HEADER.to_vec();
        self.segment = Some(Segment { file, path, bytes: buffer.len() as u64, buffer });
        self.segments += 1;
        Ok(())
    }

    fn close_segment(&mut self) -> StorageResult<()> {
        let Some(mut segment) = self.segment.take() else { return Ok(()) };
        segment.flush()?;
        segment.file.sync_data().map_err(|error| failed(&segment.path, &error))
    }

    /// Makes the block durable and visible as `meta` describes it; identifier and counts are filled in. `None` when no
    /// series was added: then there is no block.
    pub fn finish(mut self, mut meta: BlockMeta) -> StorageResult<Option<BlockMeta>> {
        if self.index.series_count() == 0 {
            return Ok(None);
        }
        if let Some(range) = self.range {
            assert!(
                meta.min_time <= range.min && range.max < meta.max_time,
                "a block's samples lie in the time that its description names"
            );
        }
        self.close_segment()?;
        self.stats.num_series = self.index.series_count();
        self.stats.num_chunks = self.index.chunk_count();
        self.write_index()?;
        meta.ulid = self.ulid;
        meta.stats = std::mem::take(&mut self.stats);
        let described = if self.is_sealed { meta.encode_sealed() } else { meta.encode() };
        self.write(META, &described)?;
        self.write(TOMBSTONES, &Tombstones::default().encode())?;
        let folder = self.dir.join(self.ulid.to_string());
        let io = |path: &Path, result: io::Result<()>| result.map_err(|error| failed(path, &error));
        let chunks = self.temporary.join(CHUNKS);
        io(&chunks, self.disk.sync_dir(&chunks))?;
        io(&self.temporary, self.disk.sync_dir(&self.temporary))?;
        io(&folder, self.disk.rename(&self.temporary, &folder))?;
        self.is_finished = true;
        io(&self.dir, self.disk.sync_dir(&self.dir))?;
        Ok(Some(meta))
    }

    fn write_index(&mut self) -> StorageResult<()> {
        let path = self.temporary.join(INDEX);
        let mut file = self.disk.create(&path).map_err(|error| failed(&path, &error))?;
        let too_large = |error: FormatError| {
            StorageError::new(ErrorKind::Internal, format!("{}: {error}", path.display()))
        };
        std::mem::take(&mut self.index)
            .finish(too_large, &mut |bytes| file.append(bytes).map_err(|error| failed(&path, &error)))?;
        file.sync_data().map_err(|error| failed(&path, &error))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> StorageResult<()> {
        let path = self.temporary.join(name);
        let write = || {
            let mut file = self.disk.create(&path)?;
            file.append(bytes)?;
            file.sync_data()
        };
        write().map_err(|error| failed(&path, &error))
    }
}

impl Segment {
    fn flush(&mut self) -> StorageResult<()> {
        self.file.append(&self.buffer).map_err(|error| failed(&self.path, &error))?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            self.segment = None;
            // What stays is removed when the folder of blocks is opened next.
            let _ = self.disk.remove_dir_all(&self.temporary);
        }
    }
}

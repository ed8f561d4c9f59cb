//! Doing it: blocks of a bucket into one block, or into one with windows, read in place and written to a folder of its
//! own, from which it is uploaded.
//!
//! Sketch: each input is read once from front to back in windows of a megabyte or so; memory is those windows, the
//! texts of the inputs' indexes, one series, and 80 bytes for each series of the output; disk is the output.

use std::path::Path;
use std::sync::Arc;

use bucket::{BlockDisk, Bucket, BucketBlock, Source, ThanosMeta, upload_block};
use format::{BlockMeta, ChunkSample, ENCODING_AGGREGATE, FormatError, Recoder, read_chunk_samples};
use model::{ErrorKind, Labels};
use runtime::{Clock, Disk, LocalDisk};
use storage_api::{StorageError, StorageResult};
use tsdb::block::{BlockChunk, BlockReader, BlockWriter};
use tsdb::levels::{MergedChunk, merge_series, merged_meta, one_by_one};
use ulid::Ulid;

use crate::downsample::{of_aggregates, of_raw};
use crate::error::{CompactorError, CompactorResult};
use crate::group::GroupKey;
use crate::penalty::{Deduplicated, Timed};
use crate::settings::{CompactorSettings, Merging};
use crate::watch::Watch;

/// A window that is read ahead has at least and at most so many bytes.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 20;

/// Windows that are open of one block at a time: two of the index, two of a file of chunks.
const WINDOWS_OPEN: u64 = 4;

/// What work needs of its surroundings.
pub(crate) struct Workshop<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) settings: &'a CompactorSettings,
    pub(crate) watch: &'a dyn Watch,
}

/// A sample with its time.
struct Sample(i64, ChunkSample);

impl Timed for Sample {
    fn time_ms(&self) -> i64 {
        self.0
    }
}

impl Timed for (i64, f64) {
    fn time_ms(&self) -> i64 {
        self.0
    }
}

/// Removes what a run that was cut left in the folder where blocks are put together.
pub(crate) fn tidy(settings: &CompactorSettings) -> CompactorResult<()> {
    let dir = &settings.work_dir;
    if LocalDisk.exists(dir) {
        LocalDisk.remove_dir_all(dir).map_err(|error| CompactorError::disk(dir, error))?;
    }
    Ok(())
}

/// The description of a block, with the sources that it stands for.
fn described(block: &BucketBlock) -> BlockMeta {
    let mut meta = BlockMeta::clone(&block.meta);
    meta.compaction.sources = block.sources().collect();
    meta
}

impl Workshop<'_> {
    /// Makes one block of several and uploads it; `None` when they have no samples. They stay as they are.
    pub(crate) fn compact(&self, key: &GroupKey, blocks: &[&BucketBlock]) -> CompactorResult<Option<Ulid>> {
        let readers = self.open(blocks)?;
        let metas: Vec<BlockMeta> = blocks.iter().map(|block| described(block)).collect();
        let mut thanos = ThanosMeta::new(key.labels.clone(), key.resolution_ms, Source::Compactor);
        thanos.extensions = common_extensions(blocks);
        let write = |writer: &mut BlockWriter, count: &mut dyn FnMut() -> StorageResult<()>| {
            let mut settle = |labels: &Labels, cluster: Vec<MergedChunk>| self.settle(labels, cluster);
            merge_series(&readers, &mut settle, &mut |labels, chunks| {
                count()?;
                check_inside(chunks, &metas)?;
                add(writer, labels, chunks)
            })
        };
        self.make(&readers, write, |ulid| merged_meta(ulid, &metas), thanos)
    }

    /// Makes a block with windows of `resolution_ms` of another and uploads it.
    pub(crate) fn downsample(
        &self,
        block: &BucketBlock,
        resolution_ms: i64,
    ) -> CompactorResult<Option<Ulid>> {
        let readers = self.open(&[block])?;
        let from_ms = block.thanos.resolution_ms();
        let metas = [described(block)];
        let mut thanos = ThanosMeta::clone(&block.thanos);
        thanos.labels = GroupKey::of(block, &self.settings.replica_labels).labels;
        thanos.downsample.resolution = resolution_ms;
        thanos.source = Source::Compactor.as_str().to_owned();
        thanos.index_stats = None;
        let write = |writer: &mut BlockWriter, count: &mut dyn FnMut() -> StorageResult<()>| {
            merge_series(&readers, &mut one_by_one, &mut |labels, chunks| {
                count()?;
                check_inside(chunks, &metas)?;
                let windows = if from_ms == 0 {
                    of_raw(chunks, resolution_ms)
                } else {
                    of_aggregates(chunks, from_ms, resolution_ms)
                };
                let windows = windows.map_err(|error| damaged(labels, &error))?;
                if windows.is_empty() { Ok(()) } else { add(writer, labels, &windows) }
            })
        };
        let meta = |ulid| BlockMeta { ulid, ..described(block) };
        self.make(&readers, write, meta, thanos)
    }

    /// Opens blocks where they are.
    fn open(&self, blocks: &[&BucketBlock]) -> CompactorResult<Vec<Arc<BlockReader>>> {
        let windows = WINDOWS_OPEN * blocks.len().max(1) as u64;
        let window =
            (self.settings.read_ahead_bytes / windows).clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end());
        let open = |block: &&BucketBlock| {
            let disk = BlockDisk::new(self.bucket, block, window);
            let folder = block.ulid().to_string();
            BlockReader::open(&disk, Path::new(&folder)).map(Arc::new).map_err(|error| match error.kind() {
                ErrorKind::Corrupt => CompactorError::damaged(block.ulid(), error.to_string()),
                _ => error.into(),
            })
        };
        blocks.iter().map(open).collect()
    }

    /// Writes a block through `write`, checks it, uploads it and removes what is local of it.
    fn make(
        &self,
        readers: &[Arc<BlockReader>],
        write: impl FnOnce(&mut BlockWriter, &mut dyn FnMut() -> StorageResult<()>) -> StorageResult<()>,
        meta: impl FnOnce(Ulid) -> BlockMeta,
        thanos: ThanosMeta,
    ) -> CompactorResult<Option<Ulid>> {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let dir = &self.settings.work_dir;
        disk.create_dir_all(dir).map_err(|error| CompactorError::disk(dir, error))?;
        let now = u64::try_from(self.clock.now_ms()).unwrap_or_default();
        let mut writer = BlockWriter::create(&disk, dir, Ulid::from_parts(now, rand::random()))?;
        let mut count = || {
            self.watch.series_done(1);
            if self.watch.is_canceled() {
                return Err(StorageError::new(ErrorKind::Canceled, "it was told to end"));
            }
            Ok(())
        };
        write(&mut writer, &mut count).map_err(|error| blame(readers, error))?;
        let meta = meta(writer.ulid());
        let Some(meta) = writer.finish(meta)? else { return Ok(None) };
        let folder = dir.join(meta.ulid.to_string());
        let uploaded = self.upload(&*disk, &folder, thanos);
        let removed = disk.remove_dir_all(&folder).map_err(|error| CompactorError::disk(&folder, error));
        uploaded?;
        removed?;
        Ok(Some(meta.ulid))
    }

    fn upload(&self, disk: &dyn Disk, folder: &Path, thanos: ThanosMeta) -> CompactorResult<()> {
        // Opening checks the index from end to end but for its series, which were checked as they were made.
        BlockReader::open(disk, folder)?;
        let mut progress = |bytes| self.watch.bytes_sent(bytes);
        upload_block(self.bucket, disk, self.clock, folder, thanos, &mut progress)?;
        Ok(())
    }

    /// Chunks that overlap into such that do not.
    fn settle(&self, labels: &Labels, cluster: Vec<MergedChunk>) -> StorageResult<Vec<MergedChunk>> {
        if cluster.iter().any(|chunk| chunk.encoding == ENCODING_AGGREGATE) {
            let message = format!("series {labels}: windows that overlap cannot become one");
            return Err(StorageError::new(ErrorKind::Corrupt, message));
        }
        match self.settings.merging {
            Merging::OneToOne => one_by_one(labels, cluster),
            Merging::Penalty => deduplicate(cluster).map_err(|error| damaged(labels, &error)),
        }
    }
}

/// Samples of replicas into those of one.
fn deduplicate(cluster: Vec<MergedChunk>) -> Result<Vec<MergedChunk>, FormatError> {
    let mut all: Option<Deduplicated<Sample>> = None;
    for chunk in cluster {
        let mut samples = Vec::new();
        read_chunk_samples(chunk.encoding, &chunk.data, |time, sample| samples.push(Sample(time, sample)))?;
        match &mut all {
            Some(all) => all.fold(samples),
            None => all = Some(Deduplicated::new(samples)),
        }
    }
    let mut recoder = Recoder::default();
    for Sample(time_ms, sample) in all.map(Deduplicated::finish).unwrap_or_default() {
        recoder.push(time_ms, &sample);
    }
    let recoded = recoder.finish().into_iter();
    Ok(recoded.map(|(range, encoding, data)| MergedChunk { source: 0, range, encoding, data }).collect())
}

fn add(writer: &mut BlockWriter, labels: &Labels, chunks: &[MergedChunk]) -> StorageResult<()> {
    let chunks: Vec<BlockChunk<'_>> = chunks
        .iter()
        .map(|chunk| BlockChunk { range: chunk.range, encoding: chunk.encoding, data: &chunk.data })
        .collect();
    writer.add_series(labels, &chunks)
}

fn damaged(labels: &Labels, error: &FormatError) -> StorageError {
    StorageError::new(ErrorKind::Corrupt, format!("series {labels}: {error}"))
}

/// Whether chunks lie in the times that the descriptions of the blocks name.
fn check_inside(chunks: &[MergedChunk], metas: &[BlockMeta]) -> StorageResult<()> {
    let (min, max) = metas
        .iter()
        .fold((i64::MAX, i64::MIN), |(min, max), meta| (min.min(meta.min_time), max.max(meta.max_time)));
    match chunks.iter().find(|chunk| chunk.range.min < min || chunk.range.max >= max) {
        None => Ok(()),
        Some(chunk) => {
            let message = format!(
                "a chunk from {} to {} lies outside of its block, {min} to {max}",
                chunk.range.min, chunk.range.max
            );
            Err(StorageError::new(ErrorKind::Corrupt, message))
        }
    }
}

/// Names the block that an error is about, if it is damage that one of the readers noticed.
fn blame(readers: &[Arc<BlockReader>], error: StorageError) -> CompactorError {
    if error.kind() == ErrorKind::Canceled {
        return CompactorError::canceled();
    }
    let damaged = readers.iter().find_map(|reader| Some((reader.meta().ulid, reader.damage()?.to_owned())));
    match (error.kind(), damaged, readers) {
        (ErrorKind::Corrupt, Some((block, fault)), _) => CompactorError::damaged(block, fault),
        (ErrorKind::Corrupt, None, [only]) => CompactorError::damaged(only.meta().ulid, error.to_string()),
        _ => error.into(),
    }
}

/// What all blocks keep in their extensions, with the values of the first (`Groups` in pkg/compact/compact.go).
fn common_extensions(blocks: &[&BucketBlock]) -> Option<serde_json::Value> {
    let mut maps =
        blocks.iter().map(|block| block.thanos.extensions.as_ref().and_then(|value| value.as_object()));
    let mut common = maps.next()??.clone();
    for map in maps {
        let map = map?;
        common.retain(|key, _| map.contains_key(key));
    }
    Some(common.into())
}

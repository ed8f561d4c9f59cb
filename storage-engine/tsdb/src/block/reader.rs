//! One block, open for reading.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use format::{
    BlockMeta, ChunkMeta, Intervals, SEGMENT_HEADER_BYTES, Symbols, Tombstones, check_segment_header,
};
use model::{ErrorKind, Labels, Matcher, TimeRange};
use parking_lot::RwLock;
use runtime::{Disk, ReadFile};
use storage_api::{BlockSummary, Series, StorageResult};

use super::chunks::BlockChunks;
use super::index::{BlockIndex, IndexedSeries};
use super::names::{CHUNKS, INDEX, META, TOMBSTONES};
use super::select::select;
use super::{damaged, failed};

/// A file of chunks.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn ReadFile>,
    pub(crate) bytes: u64,
    pub(crate) path: PathBuf,
}

/// A block that is open. Reads go to the disk and may block; the files stay readable when the block is removed.
pub struct BlockReader {
    folder: PathBuf,
    meta: RwLock<BlockMeta>,
    pub(crate) index: BlockIndex,
    pub(crate) segments: Vec<Segment>,
    tombstones: RwLock<Arc<Tombstones>>,
    /// What was found to be damaged, first.
    damage: OnceLock<String>,
    bytes: u64,
}

/// A series of a block: its labels, where its chunks are, and what of it is deleted.
#[derive(Clone, Debug)]
pub struct BlockSeries {
    /// The labels.
    pub labels: Labels,
    /// Its number in the index.
    pub number: u32,
    /// All its chunks, in time order.
    pub chunks: Vec<ChunkMeta>,
    /// Deleted ranges.
    pub deleted: Intervals,
}

impl BlockReader {
    /// Opens the block in `folder`. Fails with `Corrupt` when a part of it is missing or damaged.
    pub fn open(disk: &dyn Disk, folder: &Path) -> StorageResult<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            disk.read(&path).map_err(|error| failed(&path, &error))
        };
        let meta = BlockMeta::decode(&read(META)?).map_err(|error| damaged(&folder.join(META), &error))?;
        let index_path = folder.join(INDEX);
        let file = disk.open_read(&index_path).map_err(|error| failed(&index_path, &error))?;
        let index = BlockIndex::open(file, folder)?;
        let segments = open_segments(disk, folder)?;
        let tombstones_path = folder.join(TOMBSTONES);
        let tombstones = if disk.exists(&tombstones_path) {
            Tombstones::decode(&read(TOMBSTONES)?).map_err(|error| damaged(&tombstones_path, &error))?
        } else {
            Tombstones::default()
        };
        let bytes = index.bytes + segments.iter().map(|segment| segment.bytes).sum::<u64>();
        Ok(Self {
            folder: folder.to_owned(),
            meta: RwLock::new(meta),
            index,
            segments,
            tombstones: RwLock::new(Arc::new(tombstones)),
            damage: OnceLock::new(),
            bytes,
        })
    }

    /// The block's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The block's description.
    pub fn meta(&self) -> BlockMeta {
        self.meta.read().clone()
    }

    /// Times of the samples, ms, both ends included.
    pub fn range(&self) -> TimeRange {
        let meta = self.meta.read();
        TimeRange::new(meta.min_time, meta.max_time.saturating_sub(1).max(meta.min_time))
    }

    /// Bytes on disk, about: index and chunks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Figures about the block.
    pub fn summary(&self) -> BlockSummary {
        let meta = self.meta.read();
        BlockSummary {
            ulid: meta.ulid.to_string(),
            min_time_ms: meta.min_time,
            max_time_ms: meta.max_time,
            samples: meta.stats.num_samples,
            series: meta.stats.num_series,
            chunks: meta.stats.num_chunks,
            level: meta.compaction.level,
            bytes: self.bytes,
        }
    }

    /// What was found damaged in the block since it was opened.
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Deleted ranges as they are now.
    pub fn tombstones(&self) -> Arc<Tombstones> {
        Arc::clone(&self.tombstones.read())
    }

    /// Puts other tombstones and the description that counts them in place, after both were written.
    pub(crate) fn set_tombstones(&self, tombstones: Tombstones, meta: BlockMeta) {
        *self.tombstones.write() = Arc::new(tombstones);
        *self.meta.write() = meta;
    }

    /// Remembers damage, so that the block is set aside.
    pub(crate) fn note<T>(&self, result: StorageResult<T>) -> StorageResult<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::Corrupt
            && self.damage.set(error.to_string()).is_ok()
        {
            tracing::error!(block = %self.folder.display(), %error, "a block is damaged and will be set aside");
            metrics::counter!("tidegate_tsdb_blocks_damaged_total").increment(1);
        }
        result
    }

    /// Series that match and have chunks in the range, sorted by labels, with a handle on those chunks.
    pub fn select(self: &Arc<Self>, matchers: &[Matcher], range: TimeRange) -> StorageResult<Vec<Series>> {
        let mut found = Vec::new();
        let texts = self.note(self.index.symbols())?;
        self.visit(matchers, range, |series, deleted, kept| {
            let labels = self.index.labels(&texts, series.symbols)?;
            let chunks =
                BlockChunks::new(Arc::clone(self), kept.into(), deleted.cloned().unwrap_or_default());
            found.push(Series { labels, chunks: Arc::new(chunks) });
            Ok(())
        })?;
        Ok(found)
    }

    /// All series with all their chunks in label order, `some` of them at a time from position `from` on.
    pub fn series_from(&self, numbers: &[u32], texts: &Symbols) -> StorageResult<Vec<BlockSeries>> {
        let tombstones = self.tombstones();
        let mut found = Vec::with_capacity(numbers.len());
        let result = self.index.series(numbers, |series| {
            found.push(BlockSeries {
                labels: self.index.labels(texts, series.symbols)?,
                number: series.number,
                chunks: series.chunks.to_vec(),
                deleted: tombstones.get(u64::from(series.number)).cloned().unwrap_or_default(),
            });
            Ok(())
        });
        self.note(result)?;
        Ok(found)
    }

    /// Numbers of all series, in label order.
    pub fn all_series(&self) -> StorageResult<Vec<u32>> {
        self.note(self.index.all())
    }

    /// Numbers of the series that match, in label order.
    pub fn matching(&self, matchers: &[Matcher]) -> StorageResult<Vec<u32>> {
        self.note(select(&self.index, matchers))
    }

    /// All texts of the index.
    pub fn symbols(&self) -> StorageResult<Arc<Symbols>> {
        self.note(self.index.symbols())
    }

    /// Label sets of matching series with chunks in the range, sorted.
    pub fn series_labels(&self, matchers: &[Matcher], range: TimeRange) -> StorageResult<Vec<Labels>> {
        let texts = self.note(self.index.symbols())?;
        let mut found = Vec::new();
        self.visit(matchers, range, |series, _, _| {
            found.push(self.index.labels(&texts, series.symbols)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Label names of matching series with chunks in the range, sorted.
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> StorageResult<Vec<String>> {
        if matchers.is_empty() && self.is_inside(range) {
            return Ok(self.index.label_names().map(str::to_owned).collect());
        }
        let texts = self.note(self.index.symbols())?;
        let mut names = std::collections::BTreeSet::new();
        self.visit(matchers, range, |series, _, _| {
            names.extend(series.symbols.iter().map(|(name, _)| *name));
            Ok(())
        })?;
        Ok(names.into_iter().filter_map(|name| texts.get(name)).map(str::to_owned).collect())
    }

    /// Values of label `name` in matching series with chunks in the range, sorted.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> StorageResult<Vec<String>> {
        let mut values = Vec::new();
        if matchers.is_empty() && self.is_inside(range) {
            self.note(self.index.values(name, |value, _| values.push(value.to_owned())))?;
            return Ok(values);
        }
        let texts = self.note(self.index.symbols())?;
        let mut found = std::collections::BTreeSet::new();
        self.visit(matchers, range, |series, _, _| {
            let pair = series.symbols.iter().find(|(of, _)| texts.get(*of) == Some(name));
            found.extend(pair.map(|(_, value)| *value));
            Ok(())
        })?;
        values.extend(found.into_iter().filter_map(|value| texts.get(value)).map(str::to_owned));
        Ok(values)
    }

    /// Label names with the number of their values, for figures.
    pub fn label_sizes(&self) -> Vec<(String, usize)> {
        self.index.label_names().map(|name| (name.to_owned(), self.index.value_count(name))).collect()
    }

    fn is_inside(&self, range: TimeRange) -> bool {
        let own = self.range();
        range.min <= own.min && own.max <= range.max && self.tombstones.read().is_empty()
    }

    /// Calls `found` with each matching series, its deleted ranges and the chunks that are in the range and not wholly
    /// deleted, of which there is at least one.
    fn visit(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut found: impl FnMut(&IndexedSeries<'_>, Option<&Intervals>, &[ChunkMeta]) -> StorageResult<()>,
    ) -> StorageResult<()> {
        if !self.range().overlaps(range) {
            return Ok(());
        }
        let numbers = self.matching(matchers)?;
        let tombstones = self.tombstones();
        let mut kept = Vec::new();
        let result = self.index.series(&numbers, |series| {
            let deleted = tombstones.get(u64::from(series.number));
            kept.clear();
            kept.extend(series.chunks.iter().filter(|chunk| {
                let of = TimeRange::new(chunk.min_time, chunk.max_time);
                of.overlaps(range) && !deleted.is_some_and(|deleted| deleted.covers(of))
            }));
            if kept.is_empty() { Ok(()) } else { found(&series, deleted, &kept) }
        });
        self.note(result)
    }
}

impl std::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockReader").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The files of chunks, which are numbered without gaps.
fn open_segments(disk: &dyn Disk, folder: &Path) -> StorageResult<Vec<Segment>> {
    let dir = folder.join(CHUNKS);
    let mut entries: Vec<(u32, String)> = disk
        .list(&dir)
        .map_err(|error| failed(&dir, &error))?
        .into_iter()
        .filter_map(|entry| Some((entry.name.parse().ok()?, entry.name)))
        .collect();
    entries.sort_unstable();
    let mut segments = Vec::with_capacity(entries.len());
    for (wanted, (number, name)) in (1..).zip(entries) {
        let path = dir.join(&name);
        if number != wanted {
            let gap = format::FormatError::new("chunk segment", "the one before it is missing");
            return Err(damaged(&path, &gap));
        }
        let file = disk.open_read(&path).map_err(|error| failed(&path, &error))?;
        let bytes = file.len().map_err(|error| failed(&path, &error))?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(0, &mut header).map_err(|error| failed(&path, &error))?;
        check_segment_header(&header).map_err(|error| damaged(&path, &error))?;
        segments.push(Segment { file, bytes, path });
    }
    Ok(segments)
}

//! Deleting from blocks, rewriting them without what was deleted, and copies of them by hard links.

use std::path::Path;
use std::sync::Arc;

use format::{BlockMeta, Compaction, hint};
use model::{Matcher, TimeRange};
use storage_api::StorageResult;

use super::{Blocks, refused};
use crate::block::{BlockReader, CHUNKS, INDEX, META, TOMBSTONES, failed};

impl Blocks {
    /// Deletes the samples inside `range` (ms, both ends included) of the series that match. They are gone from what
    /// readers decode at once, and from the disk when the block is rewritten (`Block.Delete` in tsdb/block.go).
    pub fn delete(&self, matchers: &[Matcher], range: TimeRange) -> StorageResult<()> {
        let _change = self.change.lock();
        self.readers().iter().try_for_each(|block| self.delete_in(block, matchers, range))
    }

    fn delete_in(&self, block: &BlockReader, matchers: &[Matcher], range: TimeRange) -> StorageResult<()> {
        if !block.range().overlaps(range) {
            return Ok(());
        }
        let numbers = block.matching(matchers)?;
        let mut tombstones = (*block.tombstones()).clone();
        let before = tombstones.clone();
        let texts = block.symbols()?;
        for some in numbers.chunks(1024) {
            for series in block.series_from(some, &texts)? {
                let (Some(first), Some(last)) = (series.chunks.first(), series.chunks.last()) else {
                    continue;
                };
                let own = |chunk: &format::ChunkMeta| TimeRange::new(chunk.min_time, chunk.max_time);
                if series.chunks.iter().any(|chunk| own(chunk).overlaps(range)) {
                    let within = TimeRange::new(range.min.max(first.min_time), range.max.min(last.max_time));
                    tombstones.add(u64::from(series.number), within);
                }
            }
        }
        if tombstones == before {
            return Ok(());
        }
        let mut meta = block.meta();
        meta.stats.num_tombstones = tombstones.len();
        let path = block.folder().join(TOMBSTONES);
        self.disk.write_atomically(&path, &tombstones.encode()).map_err(|error| failed(&path, &error))?;
        self.write_meta(block.folder(), &meta)?;
        block.set_tombstones(tombstones, meta);
        Ok(())
    }

    /// Rewrites the blocks that have deletions without what was deleted. Returns how many there were.
    pub fn clean_tombstones(&self) -> StorageResult<usize> {
        let _change = self.change.lock();
        let with_stones: Vec<Arc<BlockReader>> =
            self.readers().iter().filter(|block| !block.tombstones().is_empty()).cloned().collect();
        for block in &with_stones {
            let old = block.meta();
            self.rewrite(std::slice::from_ref(block), |ulid| {
                let mut meta = BlockMeta::new(ulid, old.min_time, old.max_time);
                meta.compaction = Compaction { parents: vec![old.desc()], ..meta.compaction };
                if old.compaction.has_hint(hint::OUT_OF_ORDER) {
                    meta.compaction.add_hint(hint::OUT_OF_ORDER);
                }
                meta.others = old.others.clone();
                meta
            })?;
        }
        Ok(with_stones.len())
    }

    /// Makes folders in `to` that have every block as it is now, by hard links, which cost no space. `to` must not be
    /// there yet.
    pub fn snapshot(&self, to: &Path) -> StorageResult<()> {
        if self.disk.exists(to) {
            return Err(refused(format!("snapshot folder {} is there already", to.display())));
        }
        let _change = self.change.lock();
        self.disk.create_dir_all(to).map_err(|error| failed(to, &error))?;
        for block in self.readers().iter() {
            self.link_block(block.folder(), &to.join(block.meta().ulid.to_string()))?;
        }
        self.disk.sync_dir(to).map_err(|error| failed(to, &error))
    }

    fn link_block(&self, from: &Path, to: &Path) -> StorageResult<()> {
        let chunks = (from.join(CHUNKS), to.join(CHUNKS));
        let link = || {
            self.disk.create_dir_all(&chunks.1)?;
            for entry in self.disk.list(&chunks.0)? {
                self.disk.link(&chunks.0.join(&entry.name), &chunks.1.join(&entry.name))?;
            }
            for name in [INDEX, TOMBSTONES, META] {
                // A block of another program may be without tombstones.
                if self.disk.exists(&from.join(name)) {
                    self.disk.link(&from.join(name), &to.join(name))?;
                }
            }
            self.disk.sync_dir(&chunks.1)?;
            self.disk.sync_dir(to)
        };
        link().map_err(|error| failed(from, &error))
    }
}

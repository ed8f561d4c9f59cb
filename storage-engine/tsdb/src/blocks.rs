//! The blocks of one tenant: which there are, and everything that changes that.
//!
//! Readers take a snapshot, a list behind an `Arc`, and keep it as long as they like (BLOCK-3). All changes are made one
//! after the other under one lock and end in a new list; what a change leaves behind when it is cut is put right by
//! the next open: temporary folders go, and blocks that another one names as its parents go. All calls may block.
//!
//! Of two samples with the same series and time in two blocks, the one of the block that stands first in the list
//! counts, in queries as in compaction. The list is in the order of start times, then identifiers.

mod delete;
mod maintain;
mod quarantine;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{BlockMeta, hint};
use model::ErrorKind;
use parking_lot::{Mutex, RwLock};
use runtime::{Clock, Disk};
use storage_api::{BlockSummary, StorageError, StorageResult};
use ulid::Ulid;

use crate::UploadGate;
use crate::block::{BlockReader, BlockWriter, META, block_folders, failed, is_leftover};

pub use quarantine::Quarantined;

/// How blocks grow and go.
#[derive(Clone, Debug)]
pub struct BlocksSettings {
    /// Length of a block straight from the head, ms.
    pub block_duration_ms: i64,
    /// Blocks whose end is this far behind the end of the newest block are removed; `None` keeps them, ms.
    pub retention_ms: Option<i64>,
    /// The oldest blocks beyond so many bytes are removed; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// What compaction waits for; `None` for nothing.
    pub upload_gate: Option<UploadGate>,
}

impl Default for BlocksSettings {
    fn default() -> Self {
        Self {
            block_duration_ms: 2 * 60 * 60 * 1000,
            retention_ms: Some(15 * 24 * 60 * 60 * 1000),
            retention_bytes: None,
            upload_gate: None,
        }
    }
}

/// The blocks in a folder.
pub struct Blocks {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    settings: BlocksSettings,
    list: RwLock<Arc<Vec<Arc<BlockReader>>>>,
    quarantined: Mutex<Vec<Quarantined>>,
    /// Blocks beyond their retention that wait for their upload.
    held: Mutex<Vec<Ulid>>,
    /// Held by whoever changes what is on disk.
    change: Mutex<()>,
}

impl Blocks {
    /// Opens the blocks in `dir`, which is made if it is not there. Damaged ones are moved to `quarantine/` inside it;
    /// only a disk that fails is an error.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        settings: BlocksSettings,
    ) -> StorageResult<Self> {
        disk.create_dir_all(dir).map_err(|error| failed(dir, &error))?;
        let blocks = Self {
            disk,
            clock,
            dir: dir.to_owned(),
            settings,
            list: RwLock::default(),
            quarantined: Mutex::default(),
            held: Mutex::default(),
            change: Mutex::default(),
        };
        blocks.remove_leftovers()?;
        blocks.list_quarantined()?;
        let mut opened = Vec::new();
        for (_, folder) in block_folders(&*blocks.disk, dir).map_err(|error| failed(dir, &error))? {
            match BlockReader::open(&*blocks.disk, &folder) {
                Ok(reader) => opened.push(Arc::new(reader)),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    blocks.set_aside(&folder, &error.to_string())?;
                }
                Err(error) => return Err(error),
            }
        }
        let parents: Vec<Ulid> =
            opened.iter().flat_map(|block| block.meta().compaction.parents).map(|desc| desc.ulid).collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            opened.into_iter().partition(|block| parents.contains(&block.meta().ulid));
        blocks.publish(kept);
        for block in gone {
            blocks.remove(&block)?;
        }
        Ok(blocks)
    }

    /// The folder of the blocks.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The blocks as they are now, in the order of their start times. Those that were found damaged are left out.
    pub fn readers(&self) -> Arc<Vec<Arc<BlockReader>>> {
        let list = Arc::clone(&self.list.read());
        if list.iter().all(|block| block.damage().is_none()) {
            return list;
        }
        Arc::new(list.iter().filter(|block| block.damage().is_none()).cloned().collect())
    }

    /// Figures about each block, in order.
    pub fn summaries(&self) -> Vec<BlockSummary> {
        self.readers().iter().map(|block| block.summary()).collect()
    }

    /// Bytes of all blocks on disk.
    pub fn bytes(&self) -> u64 {
        self.readers().iter().map(|block| block.bytes()).sum()
    }

    /// End of the newest block with samples that came in order, ms: everything before it was flushed.
    pub fn flushed_until_ms(&self) -> Option<i64> {
        let partial = [hint::OUT_OF_ORDER, hint::STALE_SERIES, hint::SELECTED_SERIES];
        let metas = self.readers().iter().map(|block| block.meta()).collect::<Vec<_>>();
        let whole = metas.iter().filter(|meta| !partial.iter().any(|hint| meta.compaction.has_hint(hint)));
        whole.map(|meta| meta.max_time).max()
    }

    /// Begins a block; [`Self::add`] finishes it.
    pub fn writer(&self) -> StorageResult<BlockWriter> {
        Ok(BlockWriter::create(&self.disk, &self.dir, self.new_ulid())?.sealed())
    }

    /// Makes a block that was written durable and visible to readers from now on. `min_time` and `max_time` are its
    /// time range in ms, the end excluded; `hints` says where its samples come from ([`format::hint`]). `None` when
    /// nothing was written.
    pub fn add(
        &self,
        writer: BlockWriter,
        min_time: i64,
        max_time: i64,
        hints: &[&str],
    ) -> StorageResult<Option<BlockMeta>> {
        let mut meta = BlockMeta::new(writer.ulid(), min_time, max_time);
        hints.iter().for_each(|hint| meta.compaction.add_hint(hint));
        let _change = self.change.lock();
        let Some(meta) = writer.finish(meta)? else { return Ok(None) };
        self.replace(&[], Some(meta.ulid))?;
        Ok(Some(meta))
    }

    fn new_ulid(&self) -> Ulid {
        let now = u64::try_from(self.clock.now_ms()).unwrap_or_default();
        Ulid::from_parts(now, rand::random())
    }

    fn folder(&self, ulid: Ulid) -> PathBuf {
        self.dir.join(ulid.to_string())
    }

    fn publish(&self, mut blocks: Vec<Arc<BlockReader>>) {
        blocks.sort_by_cached_key(|block| {
            let meta = block.meta();
            (meta.min_time, meta.ulid)
        });
        *self.list.write() = Arc::new(blocks);
    }

    /// Takes blocks out of the list, puts one that is on disk in, and then removes the former from disk. The caller
    /// holds `change`.
    fn replace(&self, gone: &[Ulid], new: Option<Ulid>) -> StorageResult<()> {
        let new =
            new.map(|ulid| BlockReader::open(&*self.disk, &self.folder(ulid)).map(Arc::new)).transpose()?;
        let (gone, mut kept): (Vec<_>, Vec<_>) =
            self.list.read().iter().cloned().partition(|block| gone.contains(&block.meta().ulid));
        kept.extend(new);
        self.publish(kept);
        gone.iter().try_for_each(|block| self.remove(block))
    }

    /// Removes a block from disk: first out of sight, then file by file.
    fn remove(&self, block: &BlockReader) -> StorageResult<()> {
        let away = crate::block::deletion(&self.dir, block.meta().ulid);
        let remove = || {
            self.disk.rename(block.folder(), &away)?;
            self.disk.sync_dir(&self.dir)?;
            self.disk.remove_dir_all(&away)
        };
        remove().map_err(|error| failed(block.folder(), &error))
    }

    fn remove_leftovers(&self) -> StorageResult<()> {
        let entries = self.disk.list(&self.dir).map_err(|error| failed(&self.dir, &error))?;
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let path = self.dir.join(&entry.name);
            let is_block = entry.name.len() == 26 && Ulid::from_string(&entry.name).is_ok();
            // A power loss may keep the name of a folder whose files are gone.
            if is_leftover(&entry.name) || (is_block && self.is_hollow(&path)) {
                tracing::info!(folder = %path.display(), "removing what a write or a deletion that was cut left");
                self.disk.remove_dir_all(&path).map_err(|error| failed(&path, &error))?;
            }
        }
        Ok(())
    }

    fn is_hollow(&self, folder: &Path) -> bool {
        let empty = |path: &Path, and: &dyn Fn(&str) -> bool| {
            self.disk
                .list(path)
                .is_ok_and(|entries| entries.iter().all(|entry| entry.is_dir && and(&entry.name)))
        };
        empty(folder, &|name| empty(&folder.join(name), &|_| false))
    }

    /// The description of a block as it is to be written again.
    fn write_meta(&self, folder: &Path, meta: &BlockMeta) -> StorageResult<()> {
        let path = folder.join(META);
        self.disk.write_atomically(&path, &meta.encode_sealed()).map_err(|error| failed(&path, &error))
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A request of an operator that cannot be met.
fn refused(message: String) -> StorageError {
    StorageError::new(ErrorKind::Conflict, message)
}

#[cfg(test)]
mod tests;

//! Uploads what a store finished, as Thanos' receive does (pkg/shipper/shipper.go): the blocks of level 1, and others only
//! when it is told to; the oldest first. The first that fails ends the round, so that the bucket has no gap that a
//! compactor could close over.
//!
//! What is in the bucket stands in `thanos.shipper.json` beside the blocks, Thanos' own file: blocks that were uploaded,
//! those that were made here of nothing but such blocks, and the blocks of level 1 in these. It saves requests, and tells
//! the store what it may remove: a block that it does not name is looked for in the bucket.
//!
//! SHIP-1: what was deleted here does not come back from the bucket. A block is uploaded without what its tombstones
//! cover, or not at all; what is deleted after the upload stays in the bucket.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{BlockMeta, Tombstones};
use parking_lot::Mutex;
use runtime::{Clock, Disk};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::filenames::{META, SHIPPER_STATE, TOMBSTONES, block, of_block};
use crate::{Bucket, BucketError, BucketResult, BucketView, Fetcher, Source, ThanosMeta, upload_block};

/// The version of the state.
const VERSION: u32 = 1;

/// What of a folder of blocks is in the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShipperState {
    uploaded: BTreeSet<Ulid>,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    #[serde(default)]
    uploaded: Option<Vec<String>>,
}

impl ShipperState {
    /// Reads the state beside the blocks in `dir`. None, or one that cannot be read, is an empty one: then the bucket is
    /// asked.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Self {
        let path = dir.join(SHIPPER_STATE);
        if !disk.exists(&path) {
            return Self::default();
        }
        let read = disk.read(&path).ok().and_then(|bytes| serde_json::from_slice::<StateFile>(&bytes).ok());
        let Some(state) = read.filter(|state| state.version == VERSION) else {
            tracing::warn!(path = %path.display(), "the list of uploaded blocks cannot be read; the bucket is asked");
            return Self::default();
        };
        let uploaded = state.uploaded.unwrap_or_default();
        Self { uploaded: uploaded.iter().filter_map(|text| Ulid::from_string(text).ok()).collect() }
    }

    /// Whether a block is in the bucket: itself, or all that it was made of.
    pub fn has(&self, ulid: Ulid) -> bool {
        self.uploaded.contains(&ulid)
    }

    /// Whether all that a block was made of is in the bucket.
    fn has_parts(&self, meta: &BlockMeta) -> bool {
        let all = |parts: &mut dyn Iterator<Item = Ulid>| {
            let mut parts = parts.peekable();
            parts.peek().is_some() && parts.all(|ulid| self.has(ulid))
        };
        let compaction = &meta.compaction;
        all(&mut compaction.sources.iter().copied())
            || all(&mut compaction.parents.iter().map(|parent| parent.ulid))
    }

    /// Keeps in mind that a block is in the bucket, and what it is made of: another may be made of it soon.
    fn add(&mut self, meta: &BlockMeta) {
        self.uploaded.insert(meta.ulid);
        self.uploaded.extend(&meta.compaction.sources);
    }

    fn write(&self, disk: &dyn Disk, dir: &Path) -> BucketResult<()> {
        let uploaded = self.uploaded.iter().map(Ulid::to_string).collect();
        let file = StateFile { version: VERSION, uploaded: Some(uploaded) };
        let bytes = serde_json::to_vec_pretty(&file).expect("all keys are text");
        let path = dir.join(SHIPPER_STATE);
        disk.write_atomically(&path, &bytes).map_err(|error| BucketError::disk(&path, error))
    }
}

/// Whether a shipper is to upload a block at all: one of level 1 that has samples, or any that has some when blocks that
/// were compacted count as well.
pub fn is_wanted(meta: &BlockMeta, upload_compacted: bool) -> bool {
    meta.stats.num_samples > 0 && (meta.compaction.level <= 1 || upload_compacted)
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Blocks that were uploaded.
    pub blocks: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Uploads the blocks in one folder.
pub struct Shipper {
    fetcher: Fetcher,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    labels: BTreeMap<String, String>,
    upload_compacted: bool,
    /// Blocks of which the log says already that they are left out.
    told: Mutex<HashSet<Ulid>>,
}

/// What a round knows.
struct Round {
    before: ShipperState,
    after: ShipperState,
    /// What is in the bucket, once somebody asked.
    view: Option<BucketView>,
    shipped: Shipped,
}

impl Shipper {
    /// Uploads the blocks in `dir` with these external labels; those of a level above 1 with `upload_compacted` only
    /// (`--shipper.upload-compacted`).
    pub fn new(
        bucket: Bucket,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        labels: BTreeMap<String, String>,
        upload_compacted: bool,
    ) -> Self {
        let fetcher = Fetcher::new(bucket);
        Self { fetcher, disk, clock, dir, labels, upload_compacted, told: Mutex::default() }
    }

    fn bucket(&self) -> &Bucket {
        self.fetcher.bucket()
    }

    /// Whether a block that is still to be uploaded has deletions, which the store has to clean first.
    pub fn has_deletions(&self) -> BucketResult<bool> {
        let state = ShipperState::read(&*self.disk, &self.dir);
        for meta in self.local_blocks()? {
            let is_due =
                is_wanted(&meta, self.upload_compacted) && !state.has(meta.ulid) && !state.has_parts(&meta);
            if is_due && self.is_deleted_from(meta.ulid)? && !self.is_there(meta.ulid)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Uploads every block that is not in the bucket yet. Blocks. What was uploaded before an error is remembered.
    pub fn sync(&self) -> BucketResult<Shipped> {
        let before = ShipperState::read(&*self.disk, &self.dir);
        let folders = self.folders()?;
        let metas = self.local_blocks()?;
        let mut round =
            Round { before, after: ShipperState::default(), view: None, shipped: Shipped::default() };
        let mut result = Ok(());
        for meta in &metas {
            match self.ship(meta, &mut round) {
                Ok(true) => round.after.add(meta),
                Ok(false) => {}
                Err(error) => {
                    // The blocks behind it that were uploaded are still known to be.
                    let before = &round.before;
                    let known = metas.iter().filter(|meta| before.has(meta.ulid) || before.has_parts(meta));
                    known.for_each(|meta| round.after.add(meta));
                    result = Err(error);
                    break;
                }
            }
        }
        // A block that became part of another after the look at the folders stays known until that one is seen.
        round.after.uploaded.extend(folders.into_iter().filter(|ulid| round.before.has(*ulid)));
        if round.after != round.before {
            round.after.write(&*self.disk, &self.dir)?;
        }
        let outcome = if result.is_ok() {
            "thanos_shipper_dir_syncs_total"
        } else {
            "thanos_shipper_dir_sync_failures_total"
        };
        metrics::counter!(outcome).increment(1);
        result.map(|()| round.shipped)
    }

    /// Says whether the block is in the bucket then.
    fn ship(&self, meta: &BlockMeta, round: &mut Round) -> BucketResult<bool> {
        if round.before.has(meta.ulid) || round.before.has_parts(meta) {
            return Ok(true);
        }
        if meta.stats.num_samples == 0 {
            return Ok(false);
        }
        if meta.compaction.level > 1
            && let Some(is_there) = self.compacted(meta, round)?
        {
            return Ok(is_there);
        }
        if self.is_there(meta.ulid)? {
            return Ok(true);
        }
        self.upload(meta, round)
    }

    fn is_there(&self, ulid: Ulid) -> BucketResult<bool> {
        self.bucket().wait(self.bucket().exists(&of_block(ulid, META)))
    }

    /// A block that was compacted here, of blocks that nobody remembers: whether what is in it is in the bucket. `None`
    /// is to be uploaded.
    fn compacted(&self, meta: &BlockMeta, round: &mut Round) -> BucketResult<Option<bool>> {
        if self.told.lock().contains(&meta.ulid) {
            return Ok(Some(false));
        }
        let view = match round.view.take() {
            Some(view) => view,
            None => self.bucket().wait(self.fetcher.fetch())?,
        };
        let view = round.view.insert(view);
        let own = || {
            view.blocks.iter().filter(|block| {
                block.thanos.labels == self.labels
                    && block.thanos.resolution_ms() == 0
                    && block.deletion.is_none()
            })
        };
        let there: HashSet<Ulid> = own().flat_map(|block| block.sources()).collect();
        let sources = &meta.compaction.sources;
        if !sources.is_empty() && sources.iter().all(|source| there.contains(source)) {
            return Ok(Some(true));
        }
        if !self.upload_compacted {
            self.leave_out(
                meta,
                "compacted",
                "blocks that were compacted are uploaded with storage.upload_compacted only",
            );
            return Ok(Some(false));
        }
        let overlaps =
            own().find(|block| block.meta.min_time < meta.max_time && meta.min_time < block.meta.max_time);
        if let Some(other) = overlaps.filter(|block| block.ulid() != meta.ulid) {
            let other = other.ulid();
            self.leave_out(meta, "overlap", &format!("block {other} of the bucket overlaps with it"));
            return Ok(Some(false));
        }
        Ok(None)
    }

    /// Tells once that a block is not uploaded.
    fn leave_out(&self, meta: &BlockMeta, reason: &'static str, details: &str) {
        if self.told.lock().insert(meta.ulid) {
            metrics::counter!("tidegate_shipper_blocks_skipped_total", "reason" => reason).increment(1);
            let (block, level) = (meta.ulid, meta.compaction.level);
            tracing::error!(%block, level, details, "a block is not uploaded: it will go with local retention");
        }
    }

    /// Says whether the block is in the bucket then.
    fn upload(&self, meta: &BlockMeta, round: &mut Round) -> BucketResult<bool> {
        let folder = self.dir.join(meta.ulid.to_string());
        let thanos = ThanosMeta::new(self.labels.clone(), 0, Source::Receive);
        let mut bytes = 0;
        let uploaded = self.is_deleted_from(meta.ulid).and_then(|is_deleted_from| {
            if is_deleted_from {
                let message = "it has deletions that the store has to clean before it is uploaded";
                return Err(BucketError::conflict(folder.display().to_string(), message));
            }
            upload_block(self.bucket(), &*self.disk, &*self.clock, &folder, thanos, &mut |sent| bytes += sent)
        });
        if let Err(error) = uploaded {
            // Retention or a compaction took it meanwhile.
            if !self.disk.exists(&folder.join(META)) {
                return Ok(false);
            }
            metrics::counter!("thanos_shipper_upload_failures_total").increment(1);
            return Err(error);
        }
        metrics::counter!("thanos_shipper_uploads_total").increment(1);
        tracing::info!(block = %meta.ulid, bytes, bucket = self.bucket().shown(), "a block was uploaded");
        round.shipped.blocks += 1;
        round.shipped.bytes += bytes;
        Ok(true)
    }

    /// Whether samples of a local block were deleted that are still in its chunks.
    fn is_deleted_from(&self, ulid: Ulid) -> BucketResult<bool> {
        let path = self.dir.join(ulid.to_string()).join(TOMBSTONES);
        if !self.disk.exists(&path) {
            return Ok(false);
        }
        let bytes = self.disk.read(&path).map_err(|error| BucketError::disk(&path, error))?;
        let stones = Tombstones::decode(&bytes)
            .map_err(|error| BucketError::corrupt(path.display().to_string(), error.to_string()))?;
        Ok(!stones.is_empty())
    }

    /// Descriptions of the blocks in the folder, the oldest first. Folders that are no whole block are the store's to
    /// deal with.
    fn local_blocks(&self) -> BucketResult<Vec<BlockMeta>> {
        let mut metas: Vec<BlockMeta> = self
            .folders()?
            .into_iter()
            .filter_map(|ulid| self.disk.read(&self.dir.join(ulid.to_string()).join(META)).ok())
            .filter_map(|bytes| BlockMeta::decode(&bytes).ok())
            .collect();
        metas.sort_by_key(|meta| (meta.min_time, meta.ulid));
        Ok(metas)
    }

    fn folders(&self) -> BucketResult<Vec<Ulid>> {
        let entries = self.disk.list(&self.dir).map_err(|error| BucketError::disk(&self.dir, error))?;
        Ok(entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| block(&entry.name)).collect())
    }
}

impl std::fmt::Debug for Shipper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipper").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

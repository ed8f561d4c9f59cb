//! Uploads what a store finished, as Thanos' receive does (pkg/shipper/shipper.go): the blocks of level 1, the oldest
//! first; the first that fails ends the round, so that the bucket has no gap that a compactor could close over.
//!
//! What was uploaded stands in `thanos.shipper.json` beside the blocks, Thanos' own file. It only saves requests: a block
//! that it does not name and whose description is in the bucket was uploaded before a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::BlockMeta;
use runtime::{Clock, Disk};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::filenames::{META, SHIPPER_STATE, block, of_block};
use crate::{Bucket, BucketError, BucketResult, Source, ThanosMeta, upload_block};

/// The version of the state.
const VERSION: u32 = 1;

/// What was uploaded of a folder of blocks.
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

    /// Whether a block was uploaded.
    pub fn has(&self, ulid: Ulid) -> bool {
        self.uploaded.contains(&ulid)
    }

    fn write(&self, disk: &dyn Disk, dir: &Path) -> BucketResult<()> {
        let uploaded = self.uploaded.iter().map(Ulid::to_string).collect();
        let file = StateFile { version: VERSION, uploaded: Some(uploaded) };
        let bytes = serde_json::to_vec_pretty(&file).expect("all keys are text");
        let path = dir.join(SHIPPER_STATE);
        disk.write_atomically(&path, &bytes).map_err(|error| BucketError::disk(&path, error))
    }
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
    bucket: Bucket,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    labels: BTreeMap<String, String>,
}

impl Shipper {
    /// Uploads the blocks in `dir` with these external labels.
    pub fn new(
        bucket: Bucket,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        labels: BTreeMap<String, String>,
    ) -> Self {
        Self { bucket, disk, clock, dir, labels }
    }

    /// Uploads every block that is not in the bucket yet. Blocks. What was uploaded before an error is remembered.
    pub fn sync(&self) -> BucketResult<Shipped> {
        let before = ShipperState::read(&*self.disk, &self.dir);
        let metas = self.local_blocks()?;
        let mut state = ShipperState::default();
        let mut shipped = Shipped::default();
        let mut result = Ok(());
        for meta in &metas {
            match self.ship(meta, &before, &mut shipped) {
                Ok(true) => {
                    state.uploaded.insert(meta.ulid);
                }
                Ok(false) => {}
                Err(error) => {
                    // The blocks behind it that were uploaded are still known to be.
                    let rest = metas.iter().map(|meta| meta.ulid).filter(|ulid| before.has(*ulid));
                    state.uploaded.extend(rest);
                    result = Err(error);
                    break;
                }
            }
        }
        if state != before {
            state.write(&*self.disk, &self.dir)?;
        }
        let outcome = if result.is_ok() {
            "thanos_shipper_dir_syncs_total"
        } else {
            "thanos_shipper_dir_sync_failures_total"
        };
        metrics::counter!(outcome).increment(1);
        result.map(|()| shipped)
    }

    /// Says whether the block is in the bucket then.
    fn ship(&self, meta: &BlockMeta, before: &ShipperState, shipped: &mut Shipped) -> BucketResult<bool> {
        if before.has(meta.ulid) {
            return Ok(true);
        }
        if meta.stats.num_samples == 0 || meta.compaction.level > 1 {
            return Ok(false);
        }
        if self.bucket.wait(self.bucket.exists(&of_block(meta.ulid, META)))? {
            return Ok(true);
        }
        let folder = self.dir.join(meta.ulid.to_string());
        let thanos = ThanosMeta::new(self.labels.clone(), 0, Source::Receive);
        let mut bytes = 0;
        let uploaded =
            upload_block(&self.bucket, &*self.disk, &*self.clock, &folder, thanos, &mut |sent| bytes += sent);
        if let Err(error) = uploaded {
            // Retention or a compaction took it meanwhile.
            if !self.disk.exists(&folder.join(META)) {
                return Ok(false);
            }
            metrics::counter!("thanos_shipper_upload_failures_total").increment(1);
            return Err(error);
        }
        metrics::counter!("thanos_shipper_uploads_total").increment(1);
        tracing::info!(block = %meta.ulid, bytes, bucket = self.bucket.shown(), "a block was uploaded");
        shipped.blocks += 1;
        shipped.bytes += bytes;
        Ok(true)
    }

    /// Descriptions of the blocks in the folder, the oldest first. Folders that are no whole block are the store's to
    /// deal with.
    fn local_blocks(&self) -> BucketResult<Vec<BlockMeta>> {
        let entries = self.disk.list(&self.dir).map_err(|error| BucketError::disk(&self.dir, error))?;
        let folders = entries.iter().filter(|entry| entry.is_dir && block(&entry.name).is_some());
        let mut metas: Vec<BlockMeta> = folders
            .filter_map(|entry| self.disk.read(&self.dir.join(&entry.name).join(META)).ok())
            .filter_map(|bytes| BlockMeta::decode(&bytes).ok())
            .collect();
        metas.sort_by_key(|meta| (meta.min_time, meta.ulid));
        Ok(metas)
    }
}

impl std::fmt::Debug for Shipper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipper").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

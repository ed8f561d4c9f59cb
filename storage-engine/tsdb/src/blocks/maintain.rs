//! What is done to blocks from time to time: damaged ones are set aside, small ones become large ones, old ones go.

use std::sync::Arc;

use format::BlockMeta;
use storage_api::StorageResult;
use ulid::Ulid;

use super::Blocks;
use crate::block::BlockReader;
use crate::compact::{merge, merged_meta, plan, ranges};

impl Blocks {
    /// Sets blocks aside that were found damaged while they were read. Returns how many.
    pub fn sweep(&self) -> StorageResult<usize> {
        let _change = self.change.lock();
        self.forget_taken_away();
        let list = Arc::clone(&self.list.read());
        let (damaged, kept): (Vec<_>, Vec<_>) =
            list.iter().cloned().partition(|block| block.damage().is_some());
        if damaged.is_empty() {
            return Ok(0);
        }
        self.publish(kept);
        for block in &damaged {
            self.set_aside(block.folder(), block.damage().unwrap_or_default())?;
        }
        Ok(damaged.len())
    }

    /// Makes one block of several, if it is time for some. Returns whether there was something to do: call again then.
    /// What was written when it fails is gone, and the blocks are as before.
    pub fn compact_step(&self) -> StorageResult<bool> {
        let _change = self.change.lock();
        let readers = self.readers();
        let metas: Vec<BlockMeta> = readers.iter().map(|block| block.meta()).collect();
        let planned = plan(&metas, &ranges(self.settings.block_duration_ms, self.settings.retention_ms));
        if planned.is_empty() || planned.iter().any(|ulid| self.awaits_upload(*ulid)) {
            return Ok(false);
        }
        let parents: Vec<Arc<BlockReader>> =
            readers.iter().filter(|block| planned.contains(&block.meta().ulid)).cloned().collect();
        let metas: Vec<BlockMeta> = parents.iter().map(|block| block.meta()).collect();
        self.rewrite(&parents, |ulid| merged_meta(ulid, &metas))?;
        metrics::counter!("prometheus_tsdb_compactions_total").increment(1);
        Ok(true)
    }

    /// Writes blocks as one block and removes them; `meta` describes the new one.
    pub(super) fn rewrite(
        &self,
        parents: &[Arc<BlockReader>],
        meta: impl FnOnce(Ulid) -> BlockMeta,
    ) -> StorageResult<()> {
        let mut writer = self.writer()?;
        merge(parents, &mut writer)?;
        let meta = meta(writer.ulid());
        let new = writer.finish(meta)?.map(|meta| meta.ulid);
        let gone: Vec<Ulid> = parents.iter().map(|block| block.meta().ulid).collect();
        self.replace(&gone, new)
    }

    /// Whether a block is still to be uploaded.
    fn awaits_upload(&self, ulid: Ulid) -> bool {
        self.settings.upload_gate.as_ref().is_some_and(|gate| !gate.is_uploaded(&self.dir, ulid))
    }

    /// Removes blocks that are older than the retention or beyond its size, the oldest first, but for those that are
    /// still to be uploaded: only a full disk ends their growth, by refusing writes. `other_bytes` is what the tenant
    /// has on disk beside its blocks. Returns how many went (`deletableBlocks` in tsdb/db.go).
    pub fn apply_retention(&self, other_bytes: u64) -> StorageResult<usize> {
        let _change = self.change.lock();
        let mut newest_first: Vec<(BlockMeta, u64)> =
            self.readers().iter().map(|block| (block.meta(), block.bytes())).collect();
        newest_first.sort_by_key(|(meta, _)| std::cmp::Reverse(meta.max_time));
        let gone = beyond(
            &newest_first,
            self.settings.retention_ms,
            self.settings.retention_bytes.map(|bytes| bytes.saturating_sub(other_bytes)),
        );
        let (held, gone): (Vec<Ulid>, Vec<Ulid>) =
            gone.into_iter().partition(|ulid| self.awaits_upload(*ulid));
        self.tell_held(held);
        if !gone.is_empty() {
            self.replace(&gone, None)?;
            metrics::counter!("tidegate_tsdb_blocks_expired_total").increment(gone.len() as u64);
        }
        Ok(gone.len())
    }

    /// Tells of each block once that retention waits for its upload.
    fn tell_held(&self, held: Vec<Ulid>) {
        let mut told = self.held.lock();
        for block in held.iter().filter(|ulid| !told.contains(ulid)) {
            metrics::counter!("tidegate_tsdb_blocks_retention_held_total").increment(1);
            let path = self.dir.join(block.to_string());
            tracing::error!(path = %path.display(), "a block is kept beyond its retention: it was not uploaded yet");
        }
        *told = held;
    }
}

/// The blocks that retention removes; `blocks` is in the order of their ends, the newest first.
fn beyond(blocks: &[(BlockMeta, u64)], retention_ms: Option<i64>, bytes_max: Option<u64>) -> Vec<Ulid> {
    let newest = blocks.first().map_or(0, |(meta, _)| meta.max_time);
    let too_old =
        |meta: &BlockMeta| retention_ms.is_some_and(|most| newest.saturating_sub(meta.max_time) >= most);
    let by_time = blocks.iter().skip(1).position(|(meta, _)| too_old(meta)).map(|place| place + 1);
    let mut sum = 0_u64;
    let by_size = bytes_max.and_then(|most| {
        blocks.iter().position(|(_, bytes)| {
            sum = sum.saturating_add(*bytes);
            sum > most
        })
    });
    let from = by_time.into_iter().chain(by_size).min().unwrap_or(blocks.len());
    blocks[from..].iter().map(|(meta, _)| meta.ulid).collect()
}

#[cfg(test)]
mod tests {
    use format::BlockMeta;
    use ulid::Ulid;

    use super::beyond;

    #[test]
    fn retention_takes_the_oldest_by_time_and_by_size() {
        let block =
            |number: u128, max_time: i64| (BlockMeta::new(Ulid(number), max_time - 10, max_time), 100_u64);
        let blocks = [block(1, 100), block(2, 90), block(3, 50), block(4, 20)];
        let check = |retention_ms, bytes, expected: &[u128]| {
            let gone: Vec<u128> = beyond(&blocks, retention_ms, bytes).iter().map(|ulid| ulid.0).collect();
            assert_eq!(gone, expected, "{retention_ms:?} {bytes:?}");
        };
        check(None, None, &[]);
        check(Some(50), None, &[3, 4]);
        check(Some(51), None, &[4]);
        check(Some(81), None, &[]);
        check(None, Some(400), &[]);
        check(None, Some(399), &[4]);
        check(Some(81), Some(150), &[2, 3, 4]);
        check(None, Some(0), &[1, 2, 3, 4]);
    }
}

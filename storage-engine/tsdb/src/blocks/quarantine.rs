//! Damaged blocks: set aside where nobody reads them, kept in mind for as long as their folders lie there, so that
//! answers for their times say what they miss.

use std::path::Path;

use format::BlockMeta;
use model::TimeRange;
use storage_api::StorageResult;

use super::Blocks;
use crate::block::{META, QUARANTINE, failed};

/// A damaged block that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Name of its folder inside `quarantine`.
    pub folder: String,
    /// What is wrong with it; empty when it was set aside before this program started.
    pub reason: String,
    /// Times of its samples, ms, both ends included; all when its description cannot be read.
    pub range: TimeRange,
}

impl Blocks {
    /// Damaged blocks that were set aside.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantined.lock().clone()
    }

    /// A sentence for each damaged block that an answer for `range` (ms, both ends included) misses.
    pub fn missing(&self, range: TimeRange) -> Vec<String> {
        let list = std::sync::Arc::clone(&self.list.read());
        let damaged = list.iter().filter(|block| block.range().overlaps(range));
        let damaged = damaged.filter_map(|block| {
            let ulid = block.meta().ulid.to_string();
            block.damage().map(|reason| sentence(&ulid, block.range(), reason))
        });
        let quarantined = self.quarantined.lock();
        let aside = quarantined.iter().filter(|block| block.range.overlaps(range));
        damaged.chain(aside.map(|block| sentence(&block.folder, block.range, &block.reason))).collect()
    }

    /// Moves a damaged block aside.
    pub(super) fn set_aside(&self, folder: &Path, reason: &str) -> StorageResult<()> {
        let aside = self.dir.join(QUARANTINE);
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("block").to_owned();
        let names = (0..).map(|number| if number == 0 { name.clone() } else { format!("{name}.{number}") });
        let free = names.into_iter().find(|name| !self.disk.exists(&aside.join(name)));
        let name = free.expect("there are names without end");
        let to = aside.join(&name);
        let range = self.described_range(folder);
        let move_away = || {
            self.disk.create_dir_all(&aside)?;
            self.disk.rename(folder, &to)?;
            self.disk.sync_dir(&aside)?;
            self.disk.sync_dir(&self.dir)
        };
        move_away().map_err(|error| failed(folder, &error))?;
        tracing::error!(block = %to.display(), reason, "a damaged block was set aside");
        metrics::counter!("tidegate_tsdb_blocks_quarantined_total").increment(1);
        self.quarantined.lock().push(Quarantined { folder: name, reason: reason.to_owned(), range });
        Ok(())
    }

    pub(super) fn list_quarantined(&self) -> StorageResult<()> {
        let aside = self.dir.join(QUARANTINE);
        if !self.disk.exists(&aside) {
            return Ok(());
        }
        let entries = self.disk.list(&aside).map_err(|error| failed(&aside, &error))?;
        let known = entries.into_iter().map(|entry| {
            let range = self.described_range(&aside.join(&entry.name));
            Quarantined { folder: entry.name, reason: String::new(), range }
        });
        self.quarantined.lock().extend(known);
        Ok(())
    }

    /// Forgets what an operator took out of the quarantine.
    pub(super) fn forget_taken_away(&self) {
        let aside = self.dir.join(QUARANTINE);
        let mut quarantined = self.quarantined.lock();
        quarantined.retain(|block| self.disk.exists(&aside.join(&block.folder)));
    }

    fn described_range(&self, folder: &Path) -> TimeRange {
        let meta = self.disk.read(&folder.join(META)).ok().and_then(|bytes| BlockMeta::decode(&bytes).ok());
        meta.map_or(TimeRange::ALL, |meta| {
            TimeRange::new(meta.min_time, meta.max_time.saturating_sub(1).max(meta.min_time))
        })
    }
}

fn sentence(block: &str, range: TimeRange, reason: &str) -> String {
    let times = match range {
        TimeRange::ALL => "of unknown times".to_owned(),
        TimeRange { min, max } => format!("from {min} to {max} ms"),
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("samples {times} are missing, their block {block} is damaged and was set aside{reason}")
}

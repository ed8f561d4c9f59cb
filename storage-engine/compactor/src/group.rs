//! From what is in a bucket to what may be compacted: blocks that are settled, without those that others hold already,
//! in groups that become one series of blocks. Pure.

use std::collections::BTreeMap;

use bucket::{BucketBlock, BucketView, duplicates};
use ulid::Ulid;
use xxhash_rust::xxh64::xxh64;

use crate::settings::CompactorSettings;

/// Sources whose blocks are whole at once, so that they need not settle (`ConsistencyDelayMetaFilter` in
/// pkg/block/fetcher.go).
const SETTLED_SOURCES: [&str; 3] = ["compactor", "compactor.repair", "bucket.repair"];

/// The external labels of a block of which no label is left.
const DEDUPLICATED: &str = "deduped";

/// What blocks have in common that may become one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Length of a window, ms; 0 for raw samples.
    pub resolution_ms: i64,
    /// External labels, those of replicas left out.
    pub labels: BTreeMap<String, String>,
}

/// Blocks that may become one.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// What they have in common.
    pub key: GroupKey,
    /// In the order of their start times.
    pub blocks: Vec<&'a BucketBlock>,
}

/// What there is to work with.
#[derive(Clone, Debug, Default)]
pub struct Groups<'a> {
    /// The groups in the order of their keys.
    pub groups: Vec<Group<'a>>,
    /// Blocks whose data others of their group hold, and that are not marked to be removed.
    pub duplicates: Vec<Ulid>,
}

impl GroupKey {
    /// A name for folders and leases, as Thanos has it: resolution and hash of the labels.
    pub fn name(&self) -> String {
        let mut bytes = Vec::new();
        for (name, value) in &self.labels {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0xff);
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0xff);
        }
        format!("{}@{}", self.resolution_ms, xxh64(&bytes, 0))
    }

    /// The group of a block.
    pub(crate) fn of(block: &BucketBlock, replica_labels: &[String]) -> Self {
        let mut labels = block.thanos.labels.clone();
        labels.retain(|name, _| !replica_labels.contains(name));
        if let (true, Some(name)) = (labels.is_empty(), replica_labels.first()) {
            labels.insert(name.clone(), DEDUPLICATED.to_owned());
        }
        Self { resolution_ms: block.thanos.resolution_ms(), labels }
    }
}

/// Whether a block is to be looked at now: old enough, and not to be removed soon.
pub(crate) fn is_settled(block: &BucketBlock, settings: &CompactorSettings, now_ms: i64) -> bool {
    let uploaded_ms = block.thanos.upload_time.map_or_else(
        || i64::try_from(block.ulid().timestamp_ms()).unwrap_or(i64::MAX),
        |time| time.timestamp_millis(),
    );
    let is_fresh = now_ms.saturating_sub(uploaded_ms) < settings.consistency_delay_ms;
    if is_fresh && !SETTLED_SOURCES.contains(&block.thanos.source.as_str()) {
        return false;
    }
    // A block that was marked a moment ago may have no successor yet: without it a plan would close over the gap.
    let marked_ms = block.deletion.as_ref().map(|mark| mark.time_s.saturating_mul(1000));
    marked_ms.is_none_or(|marked| now_ms.saturating_sub(marked) <= settings.delete_delay_ms / 2)
}

/// The groups of a bucket.
pub fn groups<'a>(view: &'a BucketView, settings: &CompactorSettings, now_ms: i64) -> Groups<'a> {
    let mut by_key: BTreeMap<GroupKey, Vec<&BucketBlock>> = BTreeMap::new();
    for block in view.blocks.iter().filter(|block| is_settled(block, settings, now_ms)) {
        by_key.entry(GroupKey::of(block, &settings.replica_labels)).or_default().push(block);
    }
    let mut found = Groups::default();
    for (key, blocks) in by_key {
        let hidden = duplicates(&blocks);
        let (gone, blocks): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| hidden.contains(&block.ulid()));
        let unmarked = gone.iter().filter(|block| block.deletion.is_none());
        found.duplicates.extend(unmarked.map(|block| block.ulid()));
        found.groups.push(Group { key, blocks });
    }
    found
}

#[cfg(test)]
mod tests;

//! Which blocks of a group become one: Thanos' planner (pkg/compact/planner.go) as a pure function.
//!
//! Blocks that overlap go first. Else the newest block is left alone, and of the others those become one that fill an
//! aligned range of the next length, or lie in one that no further block will reach. Blocks that are marked stay out
//! without leaving gaps: their neighbours on either side do not become one around them.

use std::collections::HashSet;

use bucket::BucketBlock;
use format::BlockMeta;
use tsdb::levels::{overlapping, split_by_range};
use ulid::Ulid;

/// Lengths that blocks grow to, ms (`compactions` in cmd/thanos/compact.go).
pub const RANGES_MS: [i64; 5] = [3_600_000, 7_200_000, 28_800_000, 172_800_000, 1_209_600_000];

/// Share of a block's series with deletions from which on it is rewritten.
const TOMBSTONES_SHARE: f64 = 0.05;

/// Share of the largest index that the indexes of a plan may have together; what they share is not known before.
const INDEX_SHARE: f64 = 0.85;

/// What to do with a group next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Blocks that become one; empty when there is nothing to do.
    pub compact: Vec<Ulid>,
    /// Blocks that are to be left out from now on, and why.
    pub leave_out: Vec<(Ulid, LeaveOut)>,
}

/// Why a block is left out of compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveOut {
    /// With it the index of the new block could pass the limit.
    IndexSize,
    /// Downsampled blocks that overlap cannot become one.
    DownsampledOverlap,
}

/// The next plan of a group, whose blocks are in the order of their start times. `index_bytes_max` is the largest index
/// that a block may have.
pub fn plan(group: &[&BucketBlock], ranges_ms: &[i64], index_bytes_max: u64) -> Plan {
    let mut excluded: HashSet<Ulid> =
        group.iter().filter(|block| block.no_compact.is_some()).map(|block| block.ulid()).collect();
    let metas: Vec<&BlockMeta> = group.iter().map(|block| &*block.meta).collect();
    let mut leave_out = Vec::new();
    loop {
        let compact = select(&metas, ranges_ms, &excluded);
        let planned: Vec<&BucketBlock> =
            group.iter().copied().filter(|block| compact.contains(&block.ulid())).collect();
        let before = leave_out.len();
        leave_out.extend(too_large(&planned, index_bytes_max).map(|ulid| (ulid, LeaveOut::IndexSize)));
        if leave_out.len() == before {
            leave_out.extend(overlaps_downsampled(&planned).map(|ulid| (ulid, LeaveOut::DownsampledOverlap)));
        }
        if leave_out.len() == before {
            return Plan { compact, leave_out };
        }
        excluded.extend(leave_out[before..].iter().map(|(ulid, _)| *ulid));
    }
}

/// The block with the largest index, if those of the plan could together pass the limit.
fn too_large(planned: &[&BucketBlock], index_bytes_max: u64) -> Option<Ulid> {
    let limit = (index_bytes_max as f64 * INDEX_SHARE) as u64;
    let (mut total, mut largest) = (0_u64, None::<(u64, Ulid)>);
    for block in planned {
        let bytes = block.object_bytes(bucket::INDEX).unwrap_or_default();
        if largest.is_none_or(|(most, _)| bytes > most) {
            largest = Some((bytes, block.ulid()));
        }
        total = total.saturating_add(bytes);
        if total >= limit {
            return largest.map(|(_, ulid)| ulid);
        }
    }
    None
}

fn overlaps_downsampled<'a>(planned: &'a [&'a BucketBlock]) -> impl Iterator<Item = Ulid> + 'a {
    let metas: Vec<&BlockMeta> = planned.iter().map(|block| &*block.meta).collect();
    let is_overlapping = !overlapping(&metas).is_empty();
    let downsampled = planned.iter().filter(move |block| is_overlapping && block.thanos.resolution_ms() > 0);
    downsampled.map(|block| block.ulid())
}

/// Thanos' choice among blocks in the order of their start times.
pub(crate) fn select(metas: &[&BlockMeta], ranges_ms: &[i64], excluded: &HashSet<Ulid>) -> Vec<Ulid> {
    let mut included: Vec<&BlockMeta> =
        metas.iter().copied().filter(|meta| !excluded.contains(&meta.ulid)).collect();
    let overlapping = overlapping(&included);
    if !overlapping.is_empty() {
        return overlapping;
    }
    // The newest is left alone, so that there is a block's time to copy it away.
    let Some((newest, older)) = metas.split_last() else { return Vec::new() };
    if !excluded.contains(&newest.ulid) {
        included.pop();
    }
    let selected = full_range(older, ranges_ms, excluded);
    if !selected.is_empty() {
        return selected;
    }
    let long_ms = ranges_ms.get(ranges_ms.len() / 2).copied().unwrap_or(i64::MAX);
    for meta in included.iter().rev() {
        if meta.max_time - meta.min_time < long_ms {
            break;
        }
        let stats = &meta.stats;
        if stats.num_tombstones as f64 / (stats.num_series + 1) as f64 > TOMBSTONES_SHARE {
            return vec![meta.ulid];
        }
    }
    Vec::new()
}

/// Blocks that fill an aligned range of the next length, or lie in one that no further block will reach.
fn full_range(metas: &[&BlockMeta], ranges_ms: &[i64], excluded: &HashSet<Ulid>) -> Vec<Ulid> {
    let Some(newest) = metas.last() else { return Vec::new() };
    for range_ms in ranges_ms.iter().skip(1) {
        for part in split_by_range(metas, *range_ms) {
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            let is_whole = last.max_time - first.min_time == *range_ms || last.max_time <= newest.min_time;
            if !is_whole || part.len() < 2 || part.iter().any(|meta| meta.compaction.failed) {
                continue;
            }
            let runs = part.split(|meta| excluded.contains(&meta.ulid));
            if let Some(run) = runs.into_iter().find(|run| run.len() > 1) {
                return run.iter().map(|meta| meta.ulid).collect();
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;

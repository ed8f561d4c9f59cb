//! Local compaction: which blocks become one, pure and apart from doing it, as Prometheus' `LeveledCompactor` plans
//! (tsdb/compact.go).

mod merge;

use std::collections::BTreeSet;

use format::{BlockMeta, Compaction, hint};
use ulid::Ulid;

pub(crate) use merge::merge;
pub use merge::one_by_one;
pub use merge::{MergedChunk, Settle, merge_series};

/// Levels are three times as long as those before.
const STEP: i64 = 3;

/// No block is longer than 31 days (`storage.tsdb.max-block-duration`).
const RANGE_MAX_MS: i64 = 31 * 24 * 3600 * 1000;

/// Share of a block's series with deletions from which on it is rewritten.
const TOMBSTONES_SHARE: f64 = 0.05;

/// Lengths that blocks grow to, ms, from `block_ms` up to a tenth of the retention and at most 31 days.
pub(crate) fn ranges(block_ms: i64, retention_ms: Option<i64>) -> Vec<i64> {
    let most = retention_ms.map_or(RANGE_MAX_MS, |retention| RANGE_MAX_MS.min(retention / 10)).max(block_ms);
    std::iter::successors(Some(block_ms), |range| range.checked_mul(STEP))
        .take(10)
        .take_while(|range| *range <= most)
        .collect()
}

/// The blocks that are to become one now; empty when there is nothing to do.
pub(crate) fn plan(metas: &[BlockMeta], ranges: &[i64]) -> Vec<Ulid> {
    // Blocks of a part of the series only keep that hint: they are never mixed with others.
    let is_stale = |meta: &&BlockMeta| meta.compaction.has_hint(hint::STALE_SERIES);
    let is_selected = |meta: &&BlockMeta| meta.compaction.has_hint(hint::SELECTED_SERIES) && !is_stale(meta);
    let whole = metas.iter().filter(|meta| !is_stale(meta) && !is_selected(meta));
    let classes: [Vec<&BlockMeta>; 3] = [
        whole.collect(),
        metas.iter().filter(is_stale).collect(),
        metas.iter().filter(is_selected).collect(),
    ];
    classes
        .into_iter()
        .map(|class| plan_class(class, ranges))
        .find(|planned| !planned.is_empty())
        .unwrap_or_default()
}

fn plan_class(mut metas: Vec<&BlockMeta>, ranges: &[i64]) -> Vec<Ulid> {
    metas.sort_by_key(|meta| meta.min_time);
    let overlapping = overlapping(&metas);
    if !overlapping.is_empty() {
        return overlapping;
    }
    // The newest is left alone, so that there is a block's time to copy it away.
    metas.pop();
    let selected = full_range(&metas, ranges);
    if !selected.is_empty() {
        return selected;
    }
    let long = ranges.get(ranges.len() / 2).copied().unwrap_or(i64::MAX);
    for meta in metas.iter().rev() {
        let stats = &meta.stats;
        if meta.max_time - meta.min_time < long {
            if stats.num_tombstones > 0 && stats.num_tombstones >= stats.num_series {
                return vec![meta.ulid];
            }
            break;
        }
        if stats.num_tombstones as f64 / (stats.num_series + 1) as f64 > TOMBSTONES_SHARE {
            return vec![meta.ulid];
        }
    }
    Vec::new()
}

/// The first run of blocks that overlap each other; `metas` are in the order of their start times.
pub fn overlapping(metas: &[&BlockMeta]) -> Vec<Ulid> {
    let mut run = Vec::new();
    let mut end = i64::MIN;
    for (index, meta) in metas.iter().enumerate() {
        if index > 0 && meta.min_time < end {
            if run.is_empty() {
                run.push(metas[index - 1].ulid);
            }
            run.push(meta.ulid);
        } else if !run.is_empty() {
            break;
        }
        end = end.max(meta.max_time);
    }
    run
}

/// Blocks that fill an aligned range of the next length, or lie in one that no further block will reach.
fn full_range(metas: &[&BlockMeta], ranges: &[i64]) -> Vec<Ulid> {
    let Some(newest) = metas.last() else { return Vec::new() };
    for range in ranges.iter().skip(1) {
        for part in split_by_range(metas, *range) {
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            let is_whole = last.max_time - first.min_time == *range || last.max_time <= newest.min_time;
            if is_whole && part.len() > 1 && !part.iter().any(|meta| meta.compaction.failed) {
                return part.iter().map(|meta| meta.ulid).collect();
            }
        }
    }
    Vec::new()
}

/// Groups of blocks inside the same aligned range of `range` ms; blocks that cross its end are left out.
pub fn split_by_range<'a>(metas: &[&'a BlockMeta], range: i64) -> Vec<Vec<&'a BlockMeta>> {
    let mut groups = Vec::new();
    let mut rest = metas.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let end = first.min_time.div_euclid(range).saturating_mul(range).saturating_add(range);
        if first.max_time > end {
            continue;
        }
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| next.max_time <= end) {
            group.push(next);
        }
        groups.push(group);
    }
    groups
}

/// The description of a block made of `parents`, which are in time order (`CompactBlockMetas`).
pub fn merged_meta(ulid: Ulid, parents: &[BlockMeta]) -> BlockMeta {
    let min_time = parents.iter().map(|meta| meta.min_time).min().unwrap_or_default();
    let max_time = parents.iter().map(|meta| meta.max_time).max().unwrap_or_default();
    let sources: BTreeSet<Ulid> =
        parents.iter().flat_map(|meta| meta.compaction.sources.iter().copied()).collect();
    let mut compaction = Compaction {
        level: 1 + parents.iter().map(|meta| meta.compaction.level).max().unwrap_or_default(),
        sources: sources.into_iter().collect(),
        parents: parents.iter().map(BlockMeta::desc).collect(),
        ..Compaction::default()
    };
    for hint in [hint::STALE_SERIES, hint::SELECTED_SERIES] {
        if parents.iter().any(|meta| meta.compaction.has_hint(hint)) {
            compaction.add_hint(hint);
        }
    }
    if !parents.is_empty() && parents.iter().all(|meta| meta.compaction.has_hint(hint::OUT_OF_ORDER)) {
        compaction.add_hint(hint::OUT_OF_ORDER);
    }
    BlockMeta { compaction, ..BlockMeta::new(ulid, min_time, max_time) }
}

#[cfg(test)]
mod tests;

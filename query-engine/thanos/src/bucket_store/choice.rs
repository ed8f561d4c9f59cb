//! Which blocks of a bucket count, and which of them answer a query. Pure.

use std::collections::BTreeMap;

use bucket::{BucketBlock, BucketView, duplicates};
use model::TimeRange;

/// A time that is fixed or moves with the clock (`--min-time` and `--max-time` of `thanos store`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBound {
    /// Milliseconds since the Unix epoch.
    At(i64),
    /// So many milliseconds from now; negative ones are in the past.
    FromNow(i64),
}

impl TimeBound {
    /// In milliseconds since the Unix epoch.
    pub(super) fn at(self, now_ms: i64) -> i64 {
        match self {
            Self::At(time) => time,
            Self::FromNow(distance) => now_ms.saturating_add(distance),
        }
    }
}

/// Blocks that are served: whole ones inside `range`, not marked to be removed for longer than `deletion_delay_ms`, and
/// not one too many (the filters of cmd/thanos/store.go).
pub(super) fn served(
    view: &BucketView,
    range: TimeRange,
    deletion_delay_ms: i64,
    now_ms: i64,
) -> Vec<&BucketBlock> {
    let is_marked_long = |block: &BucketBlock| {
        let marked = block.deletion.as_ref().map(|mark| mark.time_s.saturating_mul(1000));
        marked.is_some_and(|marked| now_ms.saturating_sub(marked) > deletion_delay_ms)
    };
    let mut groups: BTreeMap<(&BTreeMap<String, String>, i64), Vec<&BucketBlock>> = BTreeMap::new();
    for block in &view.blocks {
        if block_range(block).overlaps(range) && !is_marked_long(block) {
            groups.entry((&block.thanos.labels, block.thanos.resolution_ms())).or_default().push(block);
        }
    }
    let kept = groups.into_values().flat_map(|group| {
        let hidden = duplicates(&group);
        group.into_iter().filter(move |block| !hidden.contains(&block.ulid()))
    });
    kept.collect()
}

/// Times of a block's samples, both ends included: blocks are half open.
pub(super) fn block_range(block: &BucketBlock) -> TimeRange {
    TimeRange::new(block.meta.min_time, block.meta.max_time.saturating_sub(1).max(block.meta.min_time))
}

/// Blocks of one label set by resolution.
#[derive(Clone, Debug)]
pub(super) struct Resolutions<T> {
    /// Coarsest first; blocks in the order of their start times.
    levels: Vec<(i64, Vec<(TimeRange, T)>)>,
}

impl<T> Default for Resolutions<T> {
    fn default() -> Self {
        Self { levels: Vec::new() }
    }
}

impl<T> Resolutions<T> {
    pub(super) fn add(&mut self, resolution_ms: i64, range: TimeRange, block: T) {
        let at = self.levels.partition_point(|(other, _)| *other > resolution_ms);
        if self.levels.get(at).is_none_or(|(other, _)| *other != resolution_ms) {
            self.levels.insert(at, (resolution_ms, Vec::new()));
        }
        let blocks = &mut self.levels[at].1;
        let place = blocks.partition_point(|(other, _)| (other.min, other.max) <= (range.min, range.max));
        blocks.insert(place, (range, block));
    }

    /// Times of all blocks together.
    pub(super) fn range(&self) -> Option<TimeRange> {
        let ranges = self.levels.iter().flat_map(|(_, blocks)| blocks.iter().map(|(range, _)| *range));
        ranges.reduce(|all, range| TimeRange::new(all.min.min(range.min), all.max.max(range.max)))
    }

    /// The blocks for `range`: the coarsest that are allowed, with finer ones in their gaps (`getFor` in
    /// pkg/store/bucket.go).
    pub(super) fn choose(&self, range: TimeRange, resolution_ms_max: i64) -> Vec<&T> {
        let first = self.levels.partition_point(|(resolution, _)| *resolution > resolution_ms_max);
        let mut chosen = Vec::new();
        choose(&self.levels[first..], range, &mut chosen);
        chosen
    }
}

fn choose<'a, T>(levels: &'a [(i64, Vec<(TimeRange, T)>)], range: TimeRange, chosen: &mut Vec<&'a T>) {
    let Some(((_, blocks), finer)) = levels.split_first() else { return };
    let mut from = range.min;
    for (own, block) in blocks.iter().filter(|(own, _)| own.overlaps(range)) {
        if from < own.min {
            choose(finer, TimeRange::new(from, own.min - 1), chosen);
        }
        chosen.push(block);
        from = from.max(own.max.saturating_add(1));
    }
    if from <= range.max {
        choose(finer, TimeRange::new(from, range.max), chosen);
    }
}

#[cfg(test)]
mod tests;

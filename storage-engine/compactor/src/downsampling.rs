//! Which blocks are to be downsampled, and which are too old. Pure.

use std::collections::HashSet;

use bucket::BucketBlock;
use ulid::Ulid;

use crate::downsample::{RESOLUTION_1H, RESOLUTION_5M};
use crate::settings::{CompactorSettings, SPAN_1H_MS, SPAN_5M_MS};

/// The blocks to make windows of `resolution_ms` from, in the order of their identifiers: long enough, and with a source
/// of which there are no such windows yet (cmd/thanos/downsample.go).
pub(crate) fn due<'a>(blocks: &[&'a BucketBlock], resolution_ms: i64) -> Vec<&'a BucketBlock> {
    let (from_ms, span_ms) = match resolution_ms {
        RESOLUTION_5M => (0, SPAN_5M_MS),
        _ => (RESOLUTION_5M, SPAN_1H_MS),
    };
    let done = sources(blocks, resolution_ms);
    let mut due: Vec<&BucketBlock> = blocks
        .iter()
        .copied()
        .filter(|block| block.thanos.resolution_ms() == from_ms)
        .filter(|block| block.no_downsample.is_none() && block.meta.max_time - block.meta.min_time >= span_ms)
        .filter(|block| !block.sources().all(|source| done.contains(&source)))
        .collect();
    due.sort_by_key(|block| block.ulid());
    due
}

fn sources(blocks: &[&BucketBlock], resolution_ms: i64) -> HashSet<Ulid> {
    let of = blocks.iter().filter(|block| block.thanos.resolution_ms() == resolution_ms);
    of.flat_map(|block| block.sources()).collect()
}

/// Blocks that ended longer ago than their resolution is kept. One that is still to be downsampled stays, unless what it
/// would become were too old as well.
pub(crate) fn expired(blocks: &[&BucketBlock], settings: &CompactorSettings, now_ms: i64) -> Vec<Ulid> {
    let is_over = |block: &BucketBlock, retention_ms: Option<i64>| {
        retention_ms
            .is_some_and(|retention| now_ms > (block.meta.max_time / 1000 * 1000).saturating_add(retention))
    };
    let mut needed: HashSet<Ulid> = HashSet::new();
    if settings.downsampling {
        for resolution_ms in [RESOLUTION_5M, RESOLUTION_1H] {
            let next = settings.retention_ms(resolution_ms);
            let due = due(blocks, resolution_ms);
            needed.extend(due.iter().filter(|block| !is_over(block, next)).map(|block| block.ulid()));
        }
    }
    blocks
        .iter()
        .filter(|block| block.deletion.is_none() && !needed.contains(&block.ulid()))
        .filter(|block| is_over(block, settings.retention_ms(block.thanos.resolution_ms())))
        .map(|block| block.ulid())
        .collect()
}

#[cfg(test)]
mod tests;

//! Which blocks are one too many: while compaction goes on, a bucket has the blocks that became one beside that one. Pure.

use std::cmp::Reverse;
use std::collections::HashSet;

use ulid::Ulid;

use crate::BucketBlock;

/// Of blocks with the same labels and resolution, those all of whose sources another has (`DefaultDeduplicateFilter` in
/// pkg/block/fetcher.go). Of blocks with the same sources the first made stays.
pub fn duplicates(blocks: &[&BucketBlock]) -> HashSet<Ulid> {
    let mut order: Vec<(HashSet<Ulid>, Ulid)> =
        blocks.iter().map(|block| (block.sources().collect(), block.ulid())).collect();
    order.sort_by_key(|(sources, ulid)| (Reverse(sources.len()), *ulid));
    let mut covering: Vec<&HashSet<Ulid>> = Vec::new();
    let mut hidden = HashSet::new();
    for (sources, ulid) in &order {
        if covering.iter().any(|cover| sources.is_subset(cover)) {
            hidden.insert(*ulid);
        } else {
            covering.push(sources);
        }
    }
    hidden
}

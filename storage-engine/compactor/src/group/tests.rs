//! What may be compacted, from views of buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bucket::{BucketBlock, BucketView, Mark, Source, ThanosMeta};
use format::BlockMeta;
use ulid::Ulid;

use super::{GroupKey, groups};
use crate::settings::CompactorSettings;

fn block(number: u128, labels: &[(&str, &str)], sources: &[u128]) -> BucketBlock {
    let labels: BTreeMap<_, _> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let mut meta = BlockMeta::new(Ulid(number), 0, 10);
    meta.compaction.sources = sources.iter().map(|source| Ulid(*source)).collect();
    BucketBlock {
        meta: Arc::new(meta),
        thanos: Arc::new(ThanosMeta::new(labels, 0, Source::Compactor)),
        objects: Vec::new(),
        modified_ms: 0,
        deletion: None,
        no_compact: None,
        no_downsample: None,
    }
}

fn found(blocks: Vec<BucketBlock>, settings: &CompactorSettings, now_ms: i64) -> (Vec<Vec<u128>>, Vec<u128>) {
    let view = BucketView { blocks, partial: Vec::new() };
    let found = groups(&view, settings, now_ms);
    let of = |blocks: &[&BucketBlock]| blocks.iter().map(|block| block.ulid().0).collect();
    (
        found.groups.iter().map(|group| of(&group.blocks)).collect(),
        found.duplicates.iter().map(|ulid| ulid.0).collect(),
    )
}

#[test]
fn replicas_are_one_group_when_their_labels_are_named() {
    let blocks = || {
        vec![
            block(1, &[("cluster", "c"), ("replica", "a")], &[1]),
            block(2, &[("cluster", "c"), ("replica", "b")], &[2]),
            block(3, &[("replica", "a")], &[3]),
        ]
    };
    let mut settings = CompactorSettings::default();
    assert_eq!(found(blocks(), &settings, 0).0, [vec![1], vec![2], vec![3]]);
    settings.replica_labels = vec!["replica".to_owned()];
    assert_eq!(found(blocks(), &settings, 0).0, [vec![1, 2], vec![3]]);
    let key = GroupKey::of(&blocks()[2], &settings.replica_labels);
    assert_eq!(key.labels["replica"], "deduped", "a block keeps a label");
}

#[test]
fn a_block_whose_sources_another_has_is_hidden_and_reported_once() {
    let label = [("a", "b")];
    let settings = CompactorSettings::default();
    let (groups, duplicates) = found(
        vec![
            block(1, &label, &[1]),
            block(2, &label, &[2]),
            block(3, &label, &[1, 2]),
            block(4, &label, &[2, 5]),
            block(6, &label, &[1, 2]),
        ],
        &settings,
        0,
    );
    // Of two with the same sources the older identifier stays.
    assert_eq!((groups, duplicates), (vec![vec![3, 4]], vec![1, 2, 6]));
    let mut marked = block(1, &label, &[1]);
    marked.deletion = Some(Mark { time_s: 0, details: String::new(), reason: String::new() });
    let (_, duplicates) = found(vec![marked, block(3, &label, &[1, 2])], &settings, 0);
    assert_eq!(duplicates, [] as [u128; 0], "it is marked already");
}

#[test]
fn blocks_wait_until_they_are_settled_and_go_when_they_are_marked_for_long() {
    let settings = CompactorSettings::default();
    let fresh = |source: &str| {
        let mut block = block(1, &[("a", "b")], &[1]);
        let mut thanos = ThanosMeta::clone(&block.thanos);
        thanos.source = source.to_owned();
        block.thanos = Arc::new(thanos);
        block
    };
    let minute = 60_000;
    for (source, now_ms, is_seen) in
        [("receive", 29 * minute, false), ("receive", 30 * minute, true), ("compactor", 0, true)]
    {
        let seen = !found(vec![fresh(source)], &settings, now_ms).0.is_empty();
        assert_eq!(seen, is_seen, "{source} after {now_ms} ms");
    }
    let hour = 60 * minute;
    for (marked_h, is_seen) in [(24, true), (25, false)] {
        let mut block = fresh("compactor");
        block.deletion = Some(Mark { time_s: 0, details: String::new(), reason: String::new() });
        let seen = !found(vec![block], &settings, marked_h * hour).0.is_empty();
        assert_eq!(seen, is_seen, "marked {marked_h} h ago");
    }
}

#[test]
fn a_block_that_names_no_sources_stands_for_itself_alone() {
    let label = [("a", "b")];
    let blocks = || vec![block(1, &label, &[1, 2]), block(3, &label, &[]), block(4, &label, &[3])];
    let (groups, duplicates) = found(blocks(), &CompactorSettings::default(), 0);
    assert_eq!(duplicates, [4], "what it holds is in the third, made before it");
    assert_eq!(groups, [vec![1, 3]]);
}

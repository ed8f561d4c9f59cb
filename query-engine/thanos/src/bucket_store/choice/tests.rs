use std::collections::BTreeSet;
use std::sync::Arc;

use bucket::{BucketBlock, BucketView, Mark, Source, ThanosMeta};
use format::BlockMeta;
use model::TimeRange;
use ulid::Ulid;

use super::{Resolutions, served};

const M5: i64 = 300_000;
const H1: i64 = 3_600_000;

/// Blocks as (resolution, from, until), until is not inside; asked for both ends included.
fn check(
    blocks: &[(i64, i64, i64)],
    (from, until): (i64, i64),
    resolution_max: i64,
    want: &[(i64, i64, i64)],
) {
    let mut resolutions = Resolutions::default();
    for block in blocks {
        resolutions.add(block.0, TimeRange::new(block.1, block.2 - 1), *block);
    }
    let chosen: Vec<_> =
        resolutions.choose(TimeRange::new(from, until), resolution_max).into_iter().copied().collect();
    let (chosen_set, want_set): (BTreeSet<_>, BTreeSet<_>) = (chosen.iter().collect(), want.iter().collect());
    assert_eq!(chosen_set, want_set, "{from}..={until} at most {resolution_max}");
}

#[test]
fn the_coarsest_blocks_answer_and_finer_ones_fill_their_gaps() {
    let all = [
        (0, 0, 100),
        (0, 100, 200),
        (0, 200, 300),
        (0, 300, 400),
        (M5, 0, 200),
        (M5, 200, 300),
        (H1, 0, 200),
    ];
    check(&all, (0, 399), 0, &[(0, 0, 100), (0, 100, 200), (0, 200, 300), (0, 300, 400)]);
    check(&all, (0, 399), M5, &[(M5, 0, 200), (M5, 200, 300), (0, 300, 400)]);
    check(&all, (0, 399), M5 * 2, &[(M5, 0, 200), (M5, 200, 300), (0, 300, 400)]);
    check(&all, (0, 399), H1, &[(H1, 0, 200), (M5, 200, 300), (0, 300, 400)]);
    check(&all, (250, 260), i64::MAX, &[(M5, 200, 300)]);
    check(&all, (299, 300), i64::MAX, &[(M5, 200, 300), (0, 300, 400)]);
    check(&all, (400, 500), i64::MAX, &[]);
}

#[test]
fn a_hole_between_coarse_blocks_is_filled_and_overlapping_blocks_are_all_taken() {
    let all = [(M5, 0, 100), (M5, 200, 300), (0, 90, 210), (0, 50, 60)];
    check(&all, (0, 299), M5, &[(M5, 0, 100), (0, 90, 210), (M5, 200, 300)]);
    let overlapping = [(0, 0, 100), (0, 0, 100), (0, 50, 150)];
    check(&overlapping, (60, 70), 0, &[(0, 0, 100), (0, 50, 150)]);
}

fn block(number: u128, from: i64, until: i64, sources: &[u128], labels: &str) -> BucketBlock {
    let mut meta = BlockMeta::new(Ulid(number), from, until);
    meta.compaction.sources = sources.iter().map(|source| Ulid(*source)).collect();
    let thanos = ThanosMeta::new([("replica".to_owned(), labels.to_owned())].into(), 0, Source::Receive);
    BucketBlock {
        meta: Arc::new(meta),
        thanos: Arc::new(thanos),
        objects: Vec::new(),
        modified_ms: 0,
        deletion: None,
        no_compact: None,
        no_downsample: None,
    }
}

#[test]
fn blocks_that_became_one_are_left_out_and_those_marked_long_ago_too() {
    let marked = |block: BucketBlock, time_s: i64| {
        let mark = Mark { time_s, details: String::new(), reason: String::new() };
        BucketBlock { deletion: Some(mark), ..block }
    };
    let blocks = vec![
        block(1, 0, 10, &[1], "a"),
        block(2, 10, 20, &[2], "a"),
        block(3, 0, 20, &[1, 2], "a"),
        // Another replica's blocks stay, whatever their sources are called.
        block(4, 0, 10, &[1], "b"),
        marked(block(5, 20, 30, &[5], "a"), 100),
        marked(block(6, 30, 40, &[6], "a"), 90),
        block(7, 90, 99, &[7], "a"),
    ];
    let view = BucketView { blocks, partial: Vec::new() };
    let kept = served(&view, TimeRange::new(0, 80), 10_000, 101_000);
    let kept: BTreeSet<u128> = kept.into_iter().map(|block| block.ulid().0).collect();
    assert_eq!(kept, BTreeSet::from([3, 4, 5]));
}

//! The tables of Thanos' pkg/compact/planner_test.go: ranges 20, 60, 180, 540, 1620.

use std::sync::Arc;

use bucket::{BucketBlock, Mark, Source, ThanosMeta};
use format::BlockMeta;
use ulid::Ulid;

use super::{LeaveOut, Plan, plan};

const RANGES: [i64; 5] = [20, 60, 180, 540, 1620];

fn block(number: u128, min_time: i64, max_time: i64) -> BucketBlock {
    BucketBlock {
        meta: Arc::new(BlockMeta::new(Ulid(number), min_time, max_time)),
        thanos: Arc::new(ThanosMeta::new(Default::default(), 0, Source::Receive)),
        objects: vec![("index".to_owned(), 30)],
        modified_ms: 0,
        deletion: None,
        no_compact: None,
        no_downsample: None,
    }
}

fn marked(mut block: BucketBlock) -> BucketBlock {
    block.no_compact = Some(Mark { time_s: 0, details: String::new(), reason: String::new() });
    block
}

fn run(mut blocks: Vec<BucketBlock>, index_bytes_max: u64) -> Plan {
    blocks.sort_by_key(|block| block.meta.min_time);
    plan(&blocks.iter().collect::<Vec<_>>(), &RANGES, index_bytes_max)
}

fn check(blocks: &[(u128, i64, i64)], expected: &[u128]) {
    let all = blocks.iter().map(|(number, min, max)| block(*number, *min, *max)).collect();
    let numbers: Vec<u128> = run(all, u64::MAX).compact.iter().map(|ulid| ulid.0).collect();
    assert_eq!(numbers, expected, "{blocks:?}");
}

#[test]
fn plans_are_those_of_thanos() {
    check(&[(1, 0, 20)], &[]);
    check(&[(1, 0, 20), (2, 20, 40)], &[]);
    check(&[(1, 0, 20), (2, 20, 40), (3, 40, 60)], &[]);
    check(&[(1, 0, 20), (2, 20, 40), (3, 40, 60), (4, 60, 80)], &[1, 2, 3]);
    check(&[(6, 0, 60), (7, 60, 120), (8, 120, 180), (9, 180, 200), (10, 200, 220)], &[6, 7, 8]);
    check(&[(1, 0, 20), (2, 20, 40), (4, 60, 80)], &[]);
    check(&[(1, 0, 20), (2, 20, 40), (4, 60, 80), (5, 80, 100)], &[1, 2]);
    check(&[(1, 0, 20), (2, 20, 40), (3, 40, 60), (4, 60, 120), (5, 120, 180)], &[1, 2, 3]);
    check(&[(6, 0, 60), (8, 120, 180), (9, 180, 200), (10, 200, 220)], &[6, 8]);
    check(&[(2, 20, 40), (4, 60, 120), (5, 960, 980), (6, 120, 180), (7, 720, 960)], &[2, 4, 6]);
    check(&[(5, 0, 360), (6, 540, 560), (7, 360, 420), (8, 420, 540)], &[7, 8]);
}

#[test]
fn blocks_that_overlap_go_first() {
    check(&[(1, 0, 20), (2, 19, 40), (3, 40, 60)], &[1, 2]);
    check(&[(1, 0, 20), (2, 20, 40), (3, 30, 50)], &[2, 3]);
    check(&[(1, 0, 20), (2, 10, 40), (3, 30, 50)], &[1, 2, 3]);
    check(&[(5, 0, 360), (6, 340, 560), (7, 360, 420), (8, 420, 540)], &[5, 6, 7, 8]);
    check(&[(1, 0, 10), (2, 9, 20), (3, 30, 40), (4, 39, 50)], &[1, 2]);
}

#[test]
fn blocks_with_many_deletions_are_written_anew_when_they_are_long() {
    let with_stones = |number, min, max, series, stones| {
        let mut block = block(number, min, max);
        let mut meta = BlockMeta::clone(&block.meta);
        (meta.stats.num_series, meta.stats.num_tombstones) = (series, stones);
        block.meta = Arc::new(meta);
        block
    };
    let cases = [
        (vec![with_stones(1, 0, 540, 10, 3)], vec![]),
        (vec![with_stones(1, 0, 540, 10, 3), block(2, 540, 560)], vec![Ulid(1)]),
        (vec![with_stones(1, 0, 60, 10, 3), block(2, 60, 80)], vec![]),
        (vec![with_stones(1, 0, 540, 0, 0), block(2, 540, 560)], vec![]),
    ];
    for (number, (blocks, expected)) in cases.into_iter().enumerate() {
        assert_eq!(run(blocks, u64::MAX).compact, expected, "case {number}");
    }
}

#[test]
fn marked_blocks_stay_out_and_leave_no_gap() {
    let numbers = |plan: Plan| plan.compact.iter().map(|ulid| ulid.0).collect::<Vec<_>>();
    let four = || [block(1, 0, 20), block(2, 20, 40), block(3, 40, 60), block(4, 60, 80)];
    let [a, b, c, d] = four();
    assert_eq!(
        numbers(run(vec![a, marked(b), c, d], u64::MAX)),
        [] as [u128; 0],
        "1 and 3 would close over 2"
    );
    let [a, b, c, d] = four();
    assert_eq!(numbers(run(vec![marked(a), b, c, d], u64::MAX)), [2, 3]);
    let [a, b, c, d] = four();
    assert_eq!(numbers(run(vec![a, b, marked(c), d], u64::MAX)), [1, 2]);
    let [a, b, c, d] = four();
    assert_eq!(numbers(run(vec![a, b, c, marked(d)], u64::MAX)), [1, 2, 3]);
    let overlapping = vec![block(1, 0, 20), marked(block(2, 10, 30)), block(3, 15, 40)];
    assert_eq!(numbers(run(overlapping, u64::MAX)), [1, 3]);
}

#[test]
fn a_plan_whose_indexes_are_too_large_leaves_the_largest_out() {
    let sized = |number, min, max, bytes| BucketBlock {
        objects: vec![("index".to_owned(), bytes)],
        ..block(number, min, max)
    };
    let blocks = || vec![sized(1, 0, 20, 30), sized(2, 20, 40, 31), sized(3, 40, 60, 20), block(4, 60, 80)];
    // 81 bytes are below 85 % of 100.
    assert_eq!(run(blocks(), 100).compact, [Ulid(1), Ulid(2), Ulid(3)]);
    let plan = run(blocks(), 90);
    assert_eq!(plan.leave_out, [(Ulid(2), LeaveOut::IndexSize)]);
    assert_eq!(plan.compact, [] as [Ulid; 0]);
}

#[test]
fn windows_that_overlap_are_left_out() {
    let downsampled = |number, min, max| BucketBlock {
        thanos: Arc::new(ThanosMeta::new(Default::default(), 300_000, Source::Compactor)),
        ..block(number, min, max)
    };
    let plan = run(vec![downsampled(1, 0, 40), downsampled(2, 20, 60), downsampled(3, 60, 80)], u64::MAX);
    assert_eq!(plan.compact, [] as [Ulid; 0]);
    let out = LeaveOut::DownsampledOverlap;
    assert_eq!(plan.leave_out, [(Ulid(1), out), (Ulid(2), out)]);
}

//! Plans are those of Prometheus' `LeveledCompactor` (the table of `TestLeveledCompactor_plan` in tsdb/compact_test.go,
//! ranges 20, 60, 180, 540, 1620).

use format::{BlockMeta, hint};
use ulid::Ulid;

use super::{merged_meta, plan, ranges};

fn meta(number: u128, min_time: i64, max_time: i64) -> BlockMeta {
    BlockMeta::new(Ulid(number), min_time, max_time)
}

fn check(what: &str, blocks: &[BlockMeta], expected: &[u128]) {
    let planned: Vec<u128> = plan(blocks, &[20, 60, 180, 540, 1620]).iter().map(|ulid| ulid.0).collect();
    assert_eq!(planned, expected, "{what}");
}

#[test]
fn levels_grow_threefold_up_to_a_tenth_of_the_retention() {
    const H: i64 = 3_600_000;
    assert_eq!(ranges(2 * H, Some(15 * 24 * H)), [2 * H, 6 * H, 18 * H]);
    assert_eq!(ranges(2 * H, Some(3 * H)), [2 * H]);
    assert_eq!(ranges(2 * H, None), [2 * H, 6 * H, 18 * H, 54 * H, 162 * H, 486 * H]);
}

#[test]
fn plans_are_those_of_prometheus() {
    check("nothing", &[], &[]);
    check("one", &[meta(1, 0, 20)], &[]);
    check("no range is full", &[meta(1, 0, 20), meta(2, 20, 40), meta(3, 40, 60)], &[]);
    let four = [meta(1, 0, 20), meta(2, 20, 40), meta(3, 40, 60), meta(4, 60, 80)];
    check("the newest gives room", &four, &[1, 2, 3]);
    check("in any order", &[four[3].clone(), four[1].clone(), four[0].clone(), four[2].clone()], &[1, 2, 3]);
    let gap = [meta(1, 0, 20), meta(2, 20, 40), meta(3, 60, 80), meta(4, 80, 100)];
    check("a gap and no block to come", &gap, &[1, 2]);
    let alone = [meta(2, 20, 40), meta(4, 60, 80), meta(5, 80, 100)];
    check("one alone in its range stays", &alone, &[]);
    let higher = [meta(1, 0, 60), meta(4, 60, 80), meta(5, 80, 100), meta(6, 100, 120), meta(7, 120, 140)];
    check("small ones first", &higher, &[4, 5, 6]);
    let large = [meta(1, 0, 60), meta(2, 60, 120), meta(3, 120, 180), meta(4, 180, 200), meta(5, 200, 220)];
    check("the next level", &large, &[1, 2, 3]);
    let newest = [meta(1, 0, 60), meta(2, 60, 120), meta(3, 120, 180)];
    check("the newest does not count", &newest, &[]);
    let mut failed = four.to_vec();
    failed[1].compaction.failed = true;
    check("a failed one blocks its range", &failed, &[]);
}

#[test]
fn overlapping_blocks_come_first() {
    check("two", &[meta(1, 0, 20), meta(2, 19, 40), meta(3, 40, 60)], &[1, 2]);
    check("a late one", &[meta(1, 0, 20), meta(2, 20, 40), meta(3, 10, 15)], &[1, 3]);
    check("a chain", &[meta(1, 0, 20), meta(2, 15, 40), meta(3, 35, 60), meta(4, 60, 80)], &[1, 2, 3]);
    check(
        "the first run only",
        &[meta(1, 0, 20), meta(2, 10, 20), meta(3, 40, 60), meta(4, 50, 60)],
        &[1, 2],
    );
    check("touching is not overlapping", &[meta(1, 0, 20), meta(2, 20, 40)], &[]);
    let around = [meta(5, 0, 360), meta(6, 340, 560), meta(7, 360, 420), meta(8, 420, 540)];
    check("one around others", &around, &[5, 6, 7, 8]);
}

#[test]
fn blocks_with_many_deletions_are_rewritten() {
    let with = |number, min_time, max_time, stones, series| {
        let mut meta = meta(number, min_time, max_time);
        (meta.stats.num_tombstones, meta.stats.num_series) = (stones, series);
        meta
    };
    check("over 5 %", &[with(1, 0, 540, 10, 10), meta(2, 540, 560)], &[1]);
    check("5 % and less", &[with(1, 0, 540, 1, 19), meta(2, 540, 560)], &[]);
    check("all of a small one", &[with(1, 0, 60, 10, 10), meta(2, 540, 560)], &[1]);
    check("some of a small one", &[with(1, 0, 60, 9, 10), meta(2, 540, 560)], &[]);
}

#[test]
fn blocks_of_a_part_of_the_series_are_not_mixed_with_others() {
    let stale = |number, min_time, max_time| {
        let mut meta = meta(number, min_time, max_time);
        meta.compaction.add_hint(hint::STALE_SERIES);
        meta
    };
    check("apart", &[meta(1, 0, 20), stale(2, 0, 20)], &[]);
    check("with their own", &[meta(1, 0, 20), stale(2, 0, 20), stale(3, 10, 20)], &[2, 3]);
}

#[test]
fn a_merged_block_names_parents_sources_level_and_hints() {
    let mut first = meta(1, 0, 20);
    first.compaction.level = 2;
    first.compaction.sources = vec![Ulid(11), Ulid(12)];
    let mut second = meta(2, 20, 40);
    second.compaction.sources = vec![Ulid(12), Ulid(10)];
    second.compaction.add_hint(hint::OUT_OF_ORDER);
    let merged = merged_meta(Ulid(9), &[first.clone(), second.clone()]);
    assert_eq!((merged.min_time, merged.max_time, merged.compaction.level), (0, 40, 3));
    assert_eq!(merged.compaction.sources, [Ulid(10), Ulid(11), Ulid(12)]);
    assert_eq!(merged.compaction.parents, [first.desc(), second.desc()]);
    assert!(merged.compaction.hints.is_empty(), "samples in order are among them");
    assert_eq!(merged_meta(Ulid(9), &[second]).compaction.hints, [hint::OUT_OF_ORDER]);
}

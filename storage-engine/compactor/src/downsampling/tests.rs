//! What is due and what is over, from lists of blocks.

use std::sync::Arc;

use bucket::{BucketBlock, Source, ThanosMeta};
use format::BlockMeta;
use ulid::Ulid;

use super::{due, expired};
use crate::downsample::{RESOLUTION_1H, RESOLUTION_5M};
use crate::settings::CompactorSettings;

const H: i64 = 3_600_000;

fn block(number: u128, hours: (i64, i64), resolution_ms: i64, sources: &[u128]) -> BucketBlock {
    let mut meta = BlockMeta::new(Ulid(number), hours.0 * H, hours.1 * H);
    meta.compaction.sources = sources.iter().map(|source| Ulid(*source)).collect();
    BucketBlock {
        meta: Arc::new(meta),
        thanos: Arc::new(ThanosMeta::new(Default::default(), resolution_ms, Source::Compactor)),
        objects: Vec::new(),
        modified_ms: 0,
        deletion: None,
        no_compact: None,
        no_downsample: None,
    }
}

fn numbers(blocks: Vec<&BucketBlock>) -> Vec<u128> {
    blocks.iter().map(|block| block.ulid().0).collect()
}

#[test]
fn long_blocks_are_downsampled_once() {
    let mut excluded = block(9, (0, 48), 0, &[9]);
    excluded.no_downsample = Some(bucket::Mark { time_s: 0, details: String::new(), reason: String::new() });
    let all = [
        block(1, (0, 48), 0, &[1, 2]),
        block(3, (48, 87), 0, &[3]),
        block(4, (100, 140), 0, &[4]),
        block(10, (140, 188), 0, &[]),
        block(11, (188, 236), 0, &[]),
        block(12, (188, 236), RESOLUTION_5M, &[11]),
        block(5, (0, 48), RESOLUTION_5M, &[1]),
        block(6, (0, 240), RESOLUTION_5M, &[6, 7]),
        block(7, (300, 540), RESOLUTION_5M, &[8]),
        block(8, (300, 540), RESOLUTION_1H, &[8]),
        excluded,
    ];
    let all: Vec<&BucketBlock> = all.iter().collect();
    assert_eq!(numbers(due(&all, RESOLUTION_5M)), [1, 4, 10]);
    assert_eq!(numbers(due(&all, RESOLUTION_1H)), [6]);
}

#[test]
fn blocks_go_when_their_time_is_over_but_not_before_they_are_downsampled() {
    let all = [
        block(1, (0, 48), 0, &[1]),
        block(2, (0, 48), RESOLUTION_5M, &[1]),
        block(3, (48, 96), 0, &[3]),
        block(4, (96, 98), 0, &[4]),
    ];
    let all: Vec<&BucketBlock> = all.iter().collect();
    let mut settings = CompactorSettings { retention_raw_ms: Some(50 * H), ..CompactorSettings::default() };
    let over = |settings: &CompactorSettings, hour: i64| {
        expired(&all, settings, hour * H).iter().map(|ulid| ulid.0).collect::<Vec<_>>()
    };
    assert_eq!(over(&settings, 98), [] as [u128; 0]);
    assert_eq!(over(&settings, 99), [1]);
    assert_eq!(over(&settings, 200), [1, 4], "3 is long enough for windows and has none");
    settings.retention_5m_ms = Some(60 * H);
    assert_eq!(over(&settings, 200), [1, 2, 3, 4], "its windows would be too old as well");
    settings.downsampling = false;
    settings.retention_5m_ms = None;
    assert_eq!(over(&settings, 200), [1, 3, 4]);
}

#[test]
fn a_retention_that_leaves_no_time_for_windows_is_refused() {
    let mut settings = CompactorSettings { retention_raw_ms: Some(39 * H), ..CompactorSettings::default() };
    let error = settings.validate().expect_err("too short").to_string();
    assert!(error.contains("retention.raw is below 40h"), "{error}");
    settings.downsampling = false;
    assert!(settings.validate().is_ok());
    settings.ranges_ms = vec![2, 3];
    assert!(settings.validate().is_err());
}

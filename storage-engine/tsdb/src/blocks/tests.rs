//! Blocks are compacted, deleted, expired and set aside without a sample lost, doubled or changed, whenever the power
//! goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{XorAppender, hint};
use model::{Labels, Matcher, SampleColumns, TimeRange};
use proptest::prelude::*;
use runtime::{Disk, LocalDisk, ManualClock, SimulatedDisk};

use super::{Blocks, BlocksSettings};
use crate::block::BlockChunk;

const BLOCK_MS: i64 = 1000;

fn settings() -> BlocksSettings {
    BlocksSettings {
        block_duration_ms: BLOCK_MS,
        retention_ms: None,
        retention_bytes: None,
        upload_gate: None,
    }
}

fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Blocks {
    let clock = Arc::new(ManualClock::at_ns(1_700_000_000_000_000_000));
    Blocks::open(Arc::clone(disk), clock, dir, settings()).expect("a good disk")
}

fn simulated(seed: u64) -> (SimulatedDisk, Arc<dyn Disk>, PathBuf) {
    let disk = SimulatedDisk::new(seed);
    (disk.clone(), Arc::new(disk), PathBuf::from("/data/blocks"))
}

fn labels(series: u8) -> Labels {
    Labels::from_pairs([("__name__", "m".to_owned()), ("series", series.to_string())])
}

type Samples = BTreeMap<(u8, i64), u64>;

/// Writes a block of these samples, five to a chunk.
fn add(
    blocks: &Blocks,
    samples: &Samples,
    range: (i64, i64),
    hints: &[&str],
) -> storage_api::StorageResult<()> {
    let mut writer = blocks.writer()?;
    let mut by_label: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    for ((series, time), value) in samples {
        by_label.entry(labels(*series)).or_default().push((*time, f64::from_bits(*value)));
    }
    for (labels, samples) in by_label {
        let encode = |samples: &[(i64, f64)]| {
            let (mut appender, mut chunk) = (XorAppender::EMPTY, Vec::new());
            samples.iter().for_each(|(time, value)| appender.append(&mut chunk, *time, *value));
            (TimeRange::new(samples[0].0, appender.last_timestamp_ms()), chunk)
        };
        let chunks: Vec<(TimeRange, Vec<u8>)> = samples.chunks(5).map(encode).collect();
        let chunks: Vec<BlockChunk<'_>> =
            chunks.iter().map(|(range, data)| BlockChunk { range: *range, encoding: 1, data }).collect();
        writer.add_series(&labels, &chunks)?;
    }
    blocks.add(writer, range.0, range.1, hints).map(|_| ())
}

/// Every sample; of equal times in several blocks that of the first counts, as the list promises.
fn read(blocks: &Blocks) -> Samples {
    let mut found = Samples::new();
    for block in blocks.readers().iter() {
        for series in block.select(&[], TimeRange::ALL).expect("a good block") {
            let number: u8 = series.labels.get("series").and_then(|text| text.parse().ok()).expect("ours");
            let mut columns = SampleColumns::default();
            series.chunks.decode(TimeRange::ALL, &mut columns).expect("a good block");
            assert!(columns.timestamps_ms.is_sorted_by(|a, b| a < b), "each time once");
            for (time, value) in columns.timestamps_ms.iter().zip(&columns.values) {
                found.entry((number, *time)).or_insert(value.to_bits());
            }
        }
    }
    found
}

fn every(range: std::ops::Range<i64>, step: usize, series: &[u8], value: f64) -> Samples {
    let mut all = Samples::new();
    for series in series {
        all.extend(range.clone().step_by(step).map(|time| ((*series, time), value.to_bits())));
    }
    all
}

fn compact_all(blocks: &Blocks) -> usize {
    std::iter::from_fn(|| blocks.compact_step().expect("a good disk").then_some(())).count()
}

#[test]
fn blocks_become_larger_and_keep_every_sample() {
    let (_, disk, dir) = simulated(1);
    let blocks = open(&disk, &dir);
    let mut all = Samples::new();
    for number in 0..8 {
        let samples = every(number * BLOCK_MS..(number + 1) * BLOCK_MS, 40, &[1, 2, 10], number as f64);
        add(&blocks, &samples, (number * BLOCK_MS, (number + 1) * BLOCK_MS), &[]).expect("a good disk");
        all.extend(samples);
    }
    assert_eq!(blocks.flushed_until_ms(), Some(8 * BLOCK_MS));
    let before = blocks.readers();
    assert_eq!(compact_all(&blocks), 2);
    let levels = |blocks: &Blocks| {
        let of =
            |summary: &storage_api::BlockSummary| (summary.min_time_ms, summary.max_time_ms, summary.level);
        blocks.summaries().iter().map(of).collect::<Vec<_>>()
    };
    let expected = [(0, 3000, 2), (3000, 6000, 2), (6000, 7000, 1), (7000, 8000, 1)];
    assert_eq!(levels(&blocks), expected);
    assert!(read(&blocks) == all);
    assert_eq!(before.len(), 8, "a snapshot stays as it was");
    assert_eq!(before[0].select(&[], TimeRange::ALL).expect("still readable").len(), 3);
    drop(blocks);
    let again = open(&disk, &dir);
    assert_eq!(levels(&again), expected);
    assert!(read(&again) == all);
}

#[test]
fn blocks_that_were_not_uploaded_are_left_as_they_are() {
    let (_, disk, dir) = simulated(3);
    let uploaded = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = Arc::clone(&uploaded);
    let gate = crate::UploadGate::new(move |_, ulid| seen.lock().contains(&ulid));
    let settings = BlocksSettings { upload_gate: Some(gate), ..settings() };
    let clock = Arc::new(ManualClock::at_ns(1_700_000_000_000_000_000));
    let blocks = Blocks::open(Arc::clone(&disk), clock, &dir, settings).expect("a good disk");
    for number in 0..4 {
        let range = (number * BLOCK_MS, (number + 1) * BLOCK_MS);
        add(&blocks, &every(range.0..range.1, 90, &[1], 1.0), range, &[]).expect("a good disk");
    }
    assert_eq!(compact_all(&blocks), 0);
    let ulids: Vec<_> = blocks.readers().iter().map(|block| block.meta().ulid).collect();
    uploaded.lock().extend(&ulids[..2]);
    assert_eq!(compact_all(&blocks), 0, "one of the three is missing");
    uploaded.lock().push(ulids[2]);
    assert_eq!(compact_all(&blocks), 1);
}

#[test]
fn late_blocks_are_merged_with_those_they_overlap_and_the_first_value_counts() {
    let (_, disk, dir) = simulated(2);
    let blocks = open(&disk, &dir);
    let in_order = every(0..1000, 20, &[1, 2], 1.0);
    let late = every(5..600, 15, &[2, 3], 2.0);
    add(&blocks, &in_order, (0, 1000), &[]).expect("a good disk");
    add(&blocks, &late, (0, 1000), &[hint::OUT_OF_ORDER]).expect("a good disk");
    let expected = read(&blocks);
    assert_eq!(expected.len(), in_order.len() + late.len() - 10, "15 k + 5 = 20 n ten times up to 600");
    assert_eq!(compact_all(&blocks), 1);
    assert_eq!(blocks.summaries().len(), 1);
    assert!(read(&blocks) == expected);
    let meta = blocks.readers()[0].meta();
    assert_eq!((meta.compaction.sources.len(), meta.compaction.parents.len()), (2, 2));
    assert_eq!(meta.stats.num_samples, expected.len() as u64);
}

#[test]
fn deleted_samples_are_gone_at_once_and_from_disk_when_cleaned() {
    let (_, disk, dir) = simulated(3);
    let blocks = open(&disk, &dir);
    let mut all = every(0..1000, 10, &[1, 2], 1.0);
    add(&blocks, &all, (0, 1000), &[]).expect("a good disk");
    blocks.delete(&[Matcher::equal("series", "2")], TimeRange::new(300, 599)).expect("a good disk");
    all.retain(|(series, time), _| *series != 2 || !(300..=599).contains(time));
    assert!(read(&blocks) == all);
    assert_eq!(blocks.readers()[0].meta().stats.num_tombstones, 1);
    let blocks = open(&disk, &dir);
    assert!(read(&blocks) == all, "after a restart too");
    let found = blocks.readers()[0].select(&[Matcher::equal("series", "2")], TimeRange::ALL).expect("good");
    let encoded = found[0].chunks.encoded().expect("good");
    let samples = encoded.iter().map(|chunk| {
        usize::from(format::chunk_samples(chunk.encoding.number(), &chunk.data).expect("a header"))
    });
    assert_eq!(samples.sum::<usize>(), 70, "nor are they in encoded chunks");
    assert_eq!(blocks.clean_tombstones().expect("a good disk"), 1);
    assert!(read(&blocks) == all);
    let meta = blocks.readers()[0].meta();
    assert_eq!((meta.stats.num_tombstones, meta.stats.num_samples), (0, 170));
    assert_eq!(blocks.clean_tombstones().expect("a good disk"), 0);
    // A block of which nothing is left goes away.
    blocks.delete(&[Matcher::equal("__name__", "m")], TimeRange::ALL).expect("a good disk");
    assert!(read(&blocks).is_empty());
    assert_eq!(blocks.clean_tombstones().expect("a good disk"), 1);
    assert!(blocks.readers().is_empty());
}

#[test]
fn a_damaged_block_is_set_aside_and_the_others_serve() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let blocks = open(&disk, folder.path());
    for number in 0..3 {
        let range = (number * BLOCK_MS, (number + 1) * BLOCK_MS);
        add(&blocks, &every(range.0..range.1, 50, &[1], 1.0), range, &[]).expect("a good disk");
    }
    let list = blocks.readers();
    // One is damaged where opening sees it, one where only reading does.
    std::fs::write(list[0].folder().join("index"), b"nonsense").expect("room");
    let chunks = list[1].folder().join("chunks/000001");
    let mut bytes = std::fs::read(&chunks).expect("there");
    bytes[20] ^= 1;
    std::fs::write(&chunks, bytes).expect("room");
    drop((blocks, list));

    let blocks = open(&disk, folder.path());
    assert_eq!(blocks.readers().len(), 2);
    assert!(
        blocks.quarantined()[0].reason.contains("it has no header")
            || !blocks.quarantined()[0].reason.is_empty()
    );
    let list = blocks.readers();
    let found = list[0].select(&[], TimeRange::ALL).expect("the index is good");
    let error =
        found[0].chunks.decode(TimeRange::ALL, &mut SampleColumns::default()).expect_err("a bit flipped");
    assert!(error.to_string().contains("checksum is wrong"), "{error}");
    assert_eq!(blocks.readers().len(), 1, "no later query meets it");
    let check = |blocks: &Blocks| {
        // The time of each block, and whether an answer for it is told that samples are missing.
        for (number, is_damaged) in [(0, true), (1, true), (2, false)] {
            let range = TimeRange::new(number * BLOCK_MS, (number + 1) * BLOCK_MS - 1);
            let told = blocks.missing(range);
            assert_eq!(told.len(), usize::from(is_damaged), "block {number}: {told:?}");
        }
    };
    check(&blocks);
    assert_eq!(blocks.sweep().expect("a good disk"), 1);
    check(&blocks);
    assert_eq!(read(&blocks).len(), 20);
    drop(blocks);
    let blocks = open(&disk, folder.path());
    assert_eq!((blocks.readers().len(), blocks.quarantined().len()), (1, 2));
    check(&blocks);
    std::fs::remove_dir_all(folder.path().join("quarantine")).expect("an operator takes them away");
    blocks.sweep().expect("a good disk");
    assert_eq!(blocks.missing(TimeRange::ALL), Vec::<String>::new());
}

#[test]
fn retention_removes_whole_blocks() {
    let (_, disk, dir) = simulated(5);
    let clock = Arc::new(ManualClock::at_ns(0));
    let settings = BlocksSettings { retention_ms: Some(2 * BLOCK_MS), ..settings() };
    let blocks = Blocks::open(Arc::clone(&disk), clock, &dir, settings).expect("a good disk");
    for number in 0..5 {
        let range = (number * BLOCK_MS, (number + 1) * BLOCK_MS);
        add(&blocks, &every(range.0..range.1, 100, &[1], 1.0), range, &[]).expect("a good disk");
    }
    assert_eq!(blocks.apply_retention(0).expect("a good disk"), 3);
    assert_eq!(blocks.summaries().iter().map(|block| block.min_time_ms).collect::<Vec<_>>(), [3000, 4000]);
    let names: Vec<String> = disk.list(&dir).expect("there").into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn retention_leaves_blocks_that_were_not_uploaded() {
    let (_, disk, dir) = simulated(6);
    let uploaded = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = Arc::clone(&uploaded);
    let gate = crate::UploadGate::new(move |_, ulid| seen.lock().contains(&ulid));
    let retention_ms = Some(2 * BLOCK_MS);
    let settings = BlocksSettings { retention_ms, upload_gate: Some(gate), ..settings() };
    let clock = Arc::new(ManualClock::at_ns(0));
    let blocks = Blocks::open(Arc::clone(&disk), clock, &dir, settings).expect("a good disk");
    for number in 0..5 {
        let range = (number * BLOCK_MS, (number + 1) * BLOCK_MS);
        add(&blocks, &every(range.0..range.1, 100, &[1], 1.0), range, &[]).expect("a good disk");
    }
    let ulids: Vec<_> = blocks.readers().iter().map(|block| block.meta().ulid).collect();
    assert_eq!(blocks.apply_retention(0).expect("a good disk"), 0);
    uploaded.lock().extend([ulids[1], ulids[4]]);
    assert_eq!(blocks.apply_retention(0).expect("a good disk"), 1);
    let left: Vec<i64> = blocks.summaries().iter().map(|block| block.min_time_ms).collect();
    assert_eq!(left, [0, 2000, 3000, 4000]);
    uploaded.lock().extend(ulids);
    assert_eq!(blocks.apply_retention(0).expect("a good disk"), 2);
}

#[test]
fn a_snapshot_has_every_block_and_stays_when_they_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let blocks = open(&disk, &folder.path().join("blocks"));
    let all = every(0..1000, 10, &[1, 2], 1.0);
    add(&blocks, &all, (0, 1000), &[]).expect("a good disk");
    let to = folder.path().join("snapshots/one");
    blocks.snapshot(&to).expect("a good disk");
    assert!(blocks.snapshot(&to).expect_err("it is there").to_string().contains("is there already"));
    blocks.delete(&[Matcher::equal("__name__", "m")], TimeRange::ALL).expect("a good disk");
    blocks.clean_tombstones().expect("a good disk");
    assert!(read(&blocks).is_empty() && read(&open(&disk, &to)) == all);
}

/// Adds, compacts, deletes and cleans until the power goes; then what was acknowledged must be there.
fn power_loss(seed: u64, operations: u64) {
    let (handle, disk, dir) = simulated(seed);
    let blocks = open(&disk, &dir);
    let mut acknowledged = Samples::new();
    handle.cut_power_after(operations);
    let run = |acknowledged: &mut Samples| -> storage_api::StorageResult<()> {
        for number in 0..7 {
            let range = (number * BLOCK_MS, (number + 1) * BLOCK_MS);
            let samples = every(range.0..range.1, 90, &[1, 2], number as f64);
            add(&blocks, &samples, range, &[])?;
            acknowledged.extend(samples);
            while blocks.compact_step()? {}
        }
        Ok(())
    };
    let _ = run(&mut acknowledged);
    drop(blocks);
    handle.power_loss();
    let blocks = open(&disk, &dir);
    let found = read(&blocks);
    for (at, value) in &acknowledged {
        assert_eq!(found.get(at), Some(value), "seed {seed}, {operations} operations, {at:?}");
    }
    let most = every(0..7 * BLOCK_MS, 1, &[1, 2], 0.0);
    assert!(found.keys().all(|at| most.contains_key(at)));
    assert!(blocks.quarantined().is_empty(), "seed {seed}, {operations}: {:?}", blocks.quarantined());
}

#[test]
fn what_was_acknowledged_survives_a_power_loss_at_every_operation() {
    for operations in 0..260 {
        power_loss(operations * 7 + 1, operations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn blocks_of_any_overlap_compact_to_the_same_samples(
        parts in prop::collection::vec((0_i64..6, 1_i64..3, prop::collection::vec((0_u8..4, 0_i64..3000, any::<u32>()), 1..40)), 1..6),
        deleted in prop::option::of((0_u8..4, 0_i64..6000, 0_i64..3000)),
    ) {
        let (_, disk, dir) = simulated(9);
        let blocks = open(&disk, &dir);
        for (start, length, samples) in parts {
            let range = (start * BLOCK_MS, (start + length) * BLOCK_MS);
            let inside = samples.into_iter().map(|(series, offset, value)| {
                ((series, range.0 + offset % (range.1 - range.0)), f64::from(value).to_bits())
            });
            add(&blocks, &inside.collect(), range, &[]).expect("a good disk");
        }
        if let Some((series, from, length)) = deleted {
            let one = [Matcher::equal("series", series.to_string())];
            blocks.delete(&one, TimeRange::new(from, from + length)).expect("a good disk");
        }
        let expected = read(&blocks);
        compact_all(&blocks);
        prop_assert!(read(&blocks) == expected);
        blocks.clean_tombstones().expect("a good disk");
        prop_assert!(read(&blocks) == expected);
    }
}

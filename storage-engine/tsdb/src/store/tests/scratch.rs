//! Closed chunks that lie in scratch files are as good as those in memory: for queries, late samples, deletions, blocks,
//! checkpoints and starts; a damaged file is an error, never a value, and is made again from the log.

use std::path::{Path, PathBuf};

use model::{Matcher, SampleColumns, TimeRange};
use runtime::{Disk, SimulatedDisk};
use storage_api::{MetricsAdmin, MetricsAppender, MetricsQuerier};

use super::{Samples, batch, open_with, read_all, select_all, series, settings, tenant};
use crate::{Tsdb, TsdbSettings};

const SCRATCH: &str = "/data/metrics/default/scratch";

/// Blocks of a million seconds, so that chunks are cut by their length alone, and of the spill of some chunks.
fn small() -> TsdbSettings {
    TsdbSettings {
        block_duration_ms: 1_000_000_000,
        out_of_order_window_ms: 100_000_000,
        retention_ms: None,
        head_block_bytes: 600,
        ..settings()
    }
}

fn files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let files = disk.list(Path::new(SCRATCH)).unwrap_or_default();
    files.into_iter().map(|file| Path::new(SCRATCH).join(file.name)).collect()
}

async fn append(store: &Tsdb, expected: &mut Samples, times: impl Iterator<Item = i64>) {
    for time in times {
        let names = ["a", "b", "c"];
        let samples: Vec<_> =
            names.iter().map(|name| (series(store, name), time, time as f64 * 0.37)).collect();
        let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
        assert_eq!(outcome.report.stored, 3);
        for name in names {
            expected.entry(name.to_owned()).or_default().push((time, time as f64 * 0.37));
        }
    }
    store.maintain();
}

/// Samples of one series in a range.
async fn read(store: &Tsdb, name: &str, range: TimeRange) -> Result<Vec<i64>, String> {
    let mut columns = SampleColumns::default();
    let select = storage_api::MetricsSelect {
        range,
        matchers: vec![Matcher::equal("__name__", name)],
        ..select_all()
    };
    for series in store.select(&select).await.map_err(|error| error.to_string())? {
        series.chunks.decode(range, &mut columns).map_err(|error| error.to_string())?;
    }
    Ok(columns.timestamps_ms)
}

fn insert(expected: &mut Samples, name: &str, time: i64, value: f64) {
    let samples = expected.get_mut(name).expect("known");
    let at = samples.partition_point(|sample| sample.0 < time);
    samples.insert(at, (time, value));
}

#[tokio::test]
async fn chunks_in_files_serve_queries_late_samples_deletions_blocks_and_starts() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, small());
    let mut expected = Samples::new();
    append(&store, &mut expected, (0..1500).map(|i| i * 1000)).await;
    assert!(!files(&disk).is_empty(), "closed chunks are in files");
    assert_eq!(read_all(&store).await, expected);
    // Late: a duplicate, a conflict, a new one, all inside chunks that are in files.
    let late = [("a", 5000, 5000.0 * 0.37), ("a", 6000, 1.0), ("b", 7500, 2.5), ("c", 700_500, 3.5)];
    let samples: Vec<_> =
        late.iter().map(|(name, time, value)| (series(&store, name), *time, *value)).collect();
    let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
    assert_eq!((outcome.report.stored, outcome.report.rejected_count()), (3, 1));
    assert_eq!(outcome.refused, [(1, 0)]);
    insert(&mut expected, "b", 7500, 2.5);
    insert(&mut expected, "c", 700_500, 3.5);
    let deleted = TimeRange::new(10_000, 300_000);
    store.delete(&tenant(), &[Matcher::equal("__name__", "c")], deleted).await.expect("durable");
    expected.get_mut("c").expect("known").retain(|sample| !deleted.contains(sample.0));
    assert_eq!(read_all(&store).await, expected);
    let store = restart(&disk, store, &small());
    assert_eq!(read_all(&store).await, expected, "from the log");
    assert!(!files(&disk).is_empty(), "the start made them again");
    append(&store, &mut expected, (1500..1600).map(|i| i * 1000)).await;
    let store = restart(&disk, store, &TsdbSettings { checkpoint_log_bytes: 0, ..small() });
    store.maintain();
    let store = restart(&disk, store, &small());
    assert_eq!(read_all(&store).await, expected, "from a checkpoint");
    // A reader that began before the flush reads on after it.
    let before = store.select(&select_all()).await.expect("reads");
    store.flush(&tenant()).await.expect("flushed");
    assert_eq!(files(&disk), Vec::<PathBuf>::new(), "blocks have it all");
    for found in before {
        let mut columns = SampleColumns::default();
        found.chunks.decode(TimeRange::ALL, &mut columns).expect("decodes");
        assert_eq!(columns.len(), expected[found.labels.metric_name().expect("named")].len());
    }
    assert_eq!(read_all(&store).await, expected, "from a block");
}

#[tokio::test]
async fn samples_of_a_batch_that_come_late_read_a_chunk_once() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, small());
    let mut expected = Samples::new();
    append(&store, &mut expected, (0..1500).map(|i| i * 1000)).await;
    let a = series(&store, "a");
    let again: Vec<_> = (5..25).map(|i| (a, i * 1000, (i * 1000) as f64 * 0.37)).collect();
    let one_new = vec![(a, 7500, 1.0)];
    let new_after_others = vec![(a, 303_000, 0.37 * 303_000.0), (a, 304_000, 9.0), (a, 303_500, 2.0)];
    for (samples, stored) in [(again, 20), (one_new, 1), (new_after_others, 2)] {
        let before = disk.reads();
        let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
        assert_eq!((outcome.report.stored, disk.reads() - before), (stored, 1), "{samples:?}");
    }
    insert(&mut expected, "a", 7500, 1.0);
    insert(&mut expected, "a", 303_500, 2.0);
    assert_eq!(read_all(&store).await, expected);
}

fn restart(disk: &SimulatedDisk, store: Tsdb, settings: &TsdbSettings) -> Tsdb {
    drop(store);
    disk.power_loss();
    open_with(disk, settings.clone())
}

fn spoil(disk: &SimulatedDisk) {
    assert!(!files(disk).is_empty(), "closed chunks are in files");
    for file in files(disk) {
        let bytes = disk.read(&file).expect("it is there").len();
        (0..bytes).step_by(200).for_each(|offset| disk.damage(&file, offset, 0xff));
    }
}

#[tokio::test]
async fn a_damaged_file_is_an_error_where_it_is_needed_until_it_is_made_again_from_the_log() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, small());
    let mut expected = Samples::new();
    append(&store, &mut expected, (0..1500).map(|i| i * 1000)).await;
    spoil(&disk);
    let newest = TimeRange::new(1_499_000, i64::MAX);
    assert_eq!(read(&store, "a", newest).await, Ok(vec![1_499_000]), "the open chunk is in memory");
    let error = read(&store, "a", TimeRange::ALL).await.expect_err("it is damaged");
    assert!(error.contains("cannot be read back from its scratch file"), "{error}");
    // What cannot be compared with what is stored is refused; nothing is forgotten of it.
    let late = batch(&[(series(&store, "a"), 1500, 1.0)]);
    let outcome = store.append(&tenant(), late).await.expect("durable");
    assert_eq!(outcome.report.rejected[0].reason, "unreadable");
    let reader = store.select(&select_all()).await.expect("finds");
    store.maintain();
    assert_eq!(read_all(&store).await, expected, "made again");
    let mut columns = SampleColumns::default();
    reader[0].chunks.decode(TimeRange::ALL, &mut columns).expect_err("what it found is damaged");
    // A deletion and a flush mend what was met before.
    let store = restart(&disk, store, &small());
    spoil(&disk);
    read(&store, "a", TimeRange::ALL).await.expect_err("it is damaged");
    store.delete(&tenant(), &[], TimeRange::new(0, 5000)).await.expect("durable");
    expected.values_mut().for_each(|samples| samples.retain(|sample| sample.0 > 5000));
    let store = restart(&disk, store, &small());
    append(&store, &mut expected, (1500..1600).map(|i| i * 1000)).await;
    spoil(&disk);
    read(&store, "a", TimeRange::ALL).await.expect_err("it is damaged");
    store.flush(&tenant()).await.expect("flushed");
    assert_eq!(read_all(&store).await, expected, "from a block");
    assert_eq!(read_all(&restart(&disk, store, &small())).await, expected);
}

#[tokio::test]
async fn chunks_are_made_again_from_a_checkpoint_and_the_log_behind_it() {
    let disk = SimulatedDisk::new(0);
    let settings = TsdbSettings { checkpoint_log_bytes: 0, ..small() };
    let store = open_with(&disk, settings.clone());
    let mut expected = Samples::new();
    append(&store, &mut expected, (0..700).map(|i| i * 1000)).await;
    let store = restart(&disk, store, &small());
    append(&store, &mut expected, (700..1500).map(|i| i * 1000)).await;
    spoil(&disk);
    read(&store, "c", TimeRange::ALL).await.expect_err("it is damaged");
    store.maintain();
    assert_eq!(read_all(&store).await, expected);
    store.flush(&tenant()).await.expect("flushed");
    assert_eq!(read_all(&store).await, expected);
}

#[tokio::test]
async fn what_the_log_lost_as_well_is_left_out_and_blocks_are_written() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, small());
    let mut expected = Samples::new();
    append(&store, &mut expected, (0..1500).map(|i| i * 1000)).await;
    spoil(&disk);
    let wal = Path::new("/data/metrics/default/wal");
    let mut segments: Vec<_> =
        disk.list(wal).expect("there is a log").into_iter().map(|it| it.name).collect();
    segments.sort_unstable();
    // All but the first one, which has the records of the series, and the last one.
    for segment in &segments[1..segments.len() - 1] {
        (100..1900).step_by(100).for_each(|offset| disk.damage(&wal.join(segment), offset, 0xff));
    }
    read(&store, "a", TimeRange::ALL).await.expect_err("it is damaged");
    store.maintain();
    let left = read_all(&store).await;
    for (name, samples) in &left {
        assert!(samples.iter().all(|sample| expected[name].contains(sample)), "no wrong value");
        assert!(samples.len() < 1500, "{name}: {}", samples.len());
        assert_eq!(samples.last(), expected[name].last(), "{name}");
    }
    assert_eq!(left.len(), 3);
    store.flush(&tenant()).await.expect("flushed");
    assert_eq!(read_all(&store).await, left);
}

#[tokio::test]
async fn a_disk_without_room_for_files_stores_and_answers_all_the_same() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, small());
    disk.set_capacity_bytes(60 << 20);
    let mut expected = Samples::new();
    append(&store, &mut expected, (0..1500).map(|i| i * 1000)).await;
    assert_eq!(files(&disk), Vec::<PathBuf>::new(), "the room that is left is for the log");
    assert_eq!(read_all(&store).await, expected);
    assert_eq!(read_all(&restart(&disk, store, &small())).await, expected);
}

//! Flipped bits and cut files anywhere in the folder of a tenant: it always starts, no value is ever another one, and
//! what is lost is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{ErrorKind, SampleColumns, TimeRange};
use runtime::{Disk, SimulatedDisk, Tasks};
use storage_api::{MetricsAdmin, MetricsAppender, MetricsQuerier};
use wal::Wal;

use super::{Samples, batch, open_with, select_all, series, settings, tenant};
use crate::{Tsdb, TsdbSettings};

const ROOT: &str = "/data/metrics/default";

/// Every place of a file that is a multiple of this is damaged.
const EVERY: usize = 512;

fn long_blocks() -> TsdbSettings {
    TsdbSettings { block_duration_ms: 100_000, retention_ms: None, ..settings() }
}

fn value(name: &str, time_ms: i64) -> f64 {
    name.len() as f64 * 1e6 + time_ms as f64 + 0.25
}

/// A tenant with blocks, a checkpoint and a log behind it.
async fn lived(disk: &SimulatedDisk) -> Samples {
    let store = open_with(disk, long_blocks());
    let mut expected = Samples::new();
    let mut last = 0;
    for (from, to) in [(0, 250), (250, 330), (330, 360)] {
        for round in from..to {
            let time_ms = round * 1000;
            let names: Vec<_> = (0..6).map(|number| format!("m{}", "x".repeat(number))).collect();
            let samples: Vec<_> =
                names.iter().map(|name| (series(&store, name), time_ms, value(name, time_ms))).collect();
            store.append(&tenant(), batch(&samples)).await.expect("durable");
            for name in names {
                expected.entry(name.clone()).or_default().push((time_ms, value(&name, time_ms)));
            }
            last = time_ms;
        }
        // A block and a checkpoint each of the first two times, then samples in the log alone.
        if to < 360 {
            store.maintain();
        }
    }
    assert_eq!(last, 359_000);
    store.close().await;
    expected
}

/// All files below a folder.
fn files(disk: &SimulatedDisk, dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in disk.list(dir).expect("lists") {
        let path = dir.join(&entry.name);
        match entry.is_dir {
            true => files(disk, &path, found),
            false => found.push(path),
        }
    }
}

/// The segment at whose end a crash leaves what is not whole.
fn newest_segment(all: &[PathBuf]) -> &PathBuf {
    let segments = all.iter().filter(|path| path.display().to_string().contains("wal/0"));
    segments.max().expect("there is a log")
}

/// A disk with the same files, of which one has other bytes.
fn copy(disk: &SimulatedDisk, all: &[PathBuf], changed: &Path, bytes: &[u8]) -> SimulatedDisk {
    let copy = SimulatedDisk::new(0);
    for path in all {
        let whole = disk.read(path).expect("reads");
        let bytes = if path == changed { bytes } else { &whole };
        copy.create_dir_all(path.parent().expect("has one")).expect("can be made");
        copy.write_atomically(path, bytes).expect("can be written");
    }
    copy
}

/// Everything that can be read; damage that is found on the way makes the store set a block aside, once.
async fn read(store: &Tsdb) -> Samples {
    for _ in 0..20 {
        match read_once(store).await {
            Ok(samples) => return samples,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        }
        store.maintain();
    }
    panic!("damage is found again and again");
}

async fn read_once(store: &Tsdb) -> storage_api::StorageResult<Samples> {
    let mut samples = Samples::new();
    for series in store.select(&select_all()).await? {
        let mut columns = SampleColumns::default();
        series.chunks.decode(TimeRange::ALL, &mut columns)?;
        let name = series.labels.metric_name().expect("named").to_owned();
        samples.insert(name, columns.timestamps_ms.into_iter().zip(columns.values).collect());
    }
    Ok(samples)
}

/// Opens the damaged copy; what was read and whether the damage is told.
async fn check(disk: &SimulatedDisk, expected: &Samples, what: &str) -> bool {
    // Records that are gone with nothing left of them are counted by the log.
    let log = Path::new(ROOT).join("wal");
    let opened = Wal::open(Arc::new(disk.clone()), log, settings().wal, &Tasks::new(), |_| {});
    let (log, report) = opened.expect("a log opens whatever is in its folder");
    log.close().await;
    let store = open_with(disk, long_blocks());
    let found = read(&store).await;
    let mut missing = 0;
    for (name, samples) in &found {
        for (time_ms, read) in samples {
            assert_eq!(*read, value(name, *time_ms), "{what}: {name} at {time_ms}");
        }
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{what}: {name} in order, each once");
    }
    for (name, samples) in expected {
        missing += samples.len() - found.get(name).map_or(0, Vec::len);
    }
    // It takes and gives as ever.
    let again = series(&store, "m");
    store.append(&tenant(), batch(&[(again, 360_000, value("m", 360_000))])).await.expect("durable");
    assert!(read(&store).await["m"].contains(&(360_000, value("m", 360_000))), "{what}");
    MetricsAdmin::flush(&store, &tenant()).await.expect("flushes");
    assert!(read(&store).await["m"].contains(&(360_000, value("m", 360_000))), "{what}");
    store.close().await;
    let mut all = Vec::new();
    files(disk, Path::new(ROOT), &mut all);
    let is_told = all.iter().any(|path| {
        let path = path.display().to_string();
        path.ends_with(".damaged") || path.contains("/quarantine/")
    });
    missing == 0 || is_told || !report.damage.is_empty()
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_never_another_value_and_what_it_costs_is_told() {
    let disk = SimulatedDisk::new(0);
    let expected = lived(&disk).await;
    let mut all = Vec::new();
    files(&disk, Path::new(ROOT), &mut all);
    for kind in ["wal/0", "/checkpoint", "/index", "/chunks/", "/meta.json", "/tombstones"] {
        assert!(all.iter().any(|path| path.display().to_string().contains(kind)), "{kind}: {all:?}");
    }
    let newest = newest_segment(&all);
    for path in &all {
        let bytes = disk.read(path).expect("reads");
        for at in (0..bytes.len()).step_by(EVERY) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at / EVERY % 8);
            let what = format!("{} at {at}", path.display());
            let is_told = check(&copy(&disk, &all, path, &flipped), &expected, &what).await;
            // In the last record it looks like what a crash leaves at the end of the log.
            assert!(is_told || path == newest, "{what}: lost in silence");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_is_never_another_value_and_what_it_costs_is_told() {
    let disk = SimulatedDisk::new(0);
    let expected = lived(&disk).await;
    let mut all = Vec::new();
    files(&disk, Path::new(ROOT), &mut all);
    let newest = newest_segment(&all);
    for path in &all {
        let bytes = disk.read(path).expect("reads");
        for len in (0..bytes.len()).step_by(EVERY) {
            let what = format!("{} cut to {len}", path.display());
            let is_told = check(&copy(&disk, &all, path, &bytes[..len]), &expected, &what).await;
            assert!(is_told || path == newest, "{what}: lost in silence");
        }
    }
}

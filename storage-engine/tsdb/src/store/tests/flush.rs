//! From the head to blocks: nothing is lost, doubled or wrong, whenever the power goes; and what deletion, flush on
//! demand, snapshots and retention promise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::{Labels, Matcher, TimeRange};
use proptest::prelude::{Just, ProptestConfig, Strategy};
use proptest::test_runner::TestRunner;
use runtime::{Disk, SimulatedDisk};
use storage_api::{MetricsAdmin, MetricsAppender, MetricsQuerier, MetricsSelect, reject_reason};

use super::{
    Samples, batch, live_until_power_loss, open_with, read_all, select_all, series, settings, tenant,
};
use crate::{Tsdb, TsdbSettings};

/// Blocks of a second; late samples as far as 300 ms.
fn small() -> TsdbSettings {
    TsdbSettings {
        block_duration_ms: 1000,
        out_of_order_window_ms: 300,
        retention_ms: None,
        checkpoint_log_bytes: 2000,
        ..settings()
    }
}

fn value(name: &str, time: i64) -> f64 {
    name.len() as f64 * 1000.0 + time as f64
}

async fn append(store: &Tsdb, name: &str, times: &[i64]) -> u64 {
    let series = series(store, name);
    let samples: Vec<_> = times.iter().map(|time| (series, *time, value(name, *time))).collect();
    let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
    outcome.report.stored
}

fn restart(disk: &SimulatedDisk, store: Tsdb) -> Tsdb {
    drop(store);
    disk.power_loss();
    open_with(disk, small())
}

#[tokio::test]
async fn hours_of_samples_move_to_blocks_and_stay_readable() {
    let disk = SimulatedDisk::new(0);
    let mut store = open_with(&disk, small());
    let mut expected = Samples::new();
    for round in 0..600 {
        let time = round * 20;
        for name in ["steady", if round % 2 == 0 { "even" } else { "odd" }, &format!("churn{}", round / 100)]
        {
            assert_eq!(append(&store, name, &[time]).await, 1);
            expected.entry(name.to_owned()).or_default().push((time, value(name, time)));
        }
        if round % 7 == 0 {
            store.maintain();
        }
        if round % 150 == 149 {
            assert_eq!(read_all(&store).await, expected, "round {round}");
            store = restart(&disk, store);
        }
    }
    assert_eq!(read_all(&store).await, expected);
    let stats = store.head_stats(&tenant());
    let range = stats.range.expect("samples");
    assert!(range.max == 11_980 && range.min >= 10_000, "the head keeps one and a half blocks: {range:?}");
    assert!(stats.series <= 5, "series of long ago left the head: {stats:?}");
    let blocks = MetricsAdmin::blocks(&store, &tenant()).await.expect("lists");
    assert!(blocks.iter().any(|block| block.level > 1), "small blocks became larger ones: {blocks:?}");
    let in_blocks: u64 = blocks.iter().map(|block| block.samples).sum();
    let all: usize = expected.values().map(Vec::len).sum();
    assert!(in_blocks + 3 * 100 >= all as u64 && in_blocks < all as u64);
    // Everything that is asked about sees both.
    let select = |range| MetricsSelect { range, ..select_all() };
    let names = store.label_values("__name__", &select(TimeRange::ALL)).await.expect("reads");
    assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
    let early = store.label_values("__name__", &select(TimeRange::new(0, 999))).await.expect("reads");
    assert_eq!(early, ["churn0", "even", "odd", "steady"]);
    assert_eq!(store.label_names(&select(TimeRange::ALL)).await.expect("reads"), ["__name__", "job"]);
    assert_eq!(store.series_labels(&select(TimeRange::ALL)).await.expect("reads").len(), expected.len());
}

#[tokio::test]
async fn late_samples_for_a_range_that_was_flushed_are_found_and_come_into_one_block() {
    let disk = SimulatedDisk::new(0);
    let mut store = open_with(&disk, small());
    let times: Vec<_> = (0..26).map(|i| i * 100).collect();
    for time in &times {
        append(&store, "up", &[*time]).await;
    }
    store.maintain();
    store.flush(&tenant()).await.expect("flushed");
    assert_eq!(store.head_stats(&tenant()).range, None);
    assert_eq!(append(&store, "up", &[2250, 2350, 2500, 2300]).await, 4, "two are late, two are known");
    let outcome =
        store.append(&tenant(), batch(&[(series(&store, "up"), 2199, 1.0)])).await.expect("durable");
    assert_eq!(outcome.report.rejected[0].reason, reject_reason::TOO_OLD);
    let mut expected: Vec<_> =
        times.iter().chain(&[2250, 2350]).map(|time| (*time, value("up", *time))).collect();
    expected.sort_by_key(|sample| sample.0);
    assert_eq!(read_all(&store).await["up"], expected);
    store = restart(&disk, store);
    assert_eq!(read_all(&store).await["up"], expected);
    store.flush(&tenant()).await.expect("flushed");
    store = restart(&disk, store);
    let outcome =
        store.append(&tenant(), batch(&[(series(&store, "up"), 2199, 1.0)])).await.expect("durable");
    assert_eq!(outcome.report.rejected[0].reason, reject_reason::TOO_OLD, "with an empty head, too");
    store.flush(&tenant()).await.expect("flushed");
    for _ in 0..5 {
        store.maintain();
    }
    assert_eq!(read_all(&store).await["up"], expected);
    let blocks = MetricsAdmin::blocks(&store, &tenant()).await.expect("lists");
    assert!(blocks.windows(2).all(|pair| pair[0].max_time_ms <= pair[1].min_time_ms), "{blocks:?}");
    assert_eq!(blocks.iter().map(|block| block.samples).sum::<u64>(), expected.len() as u64);
}

#[tokio::test]
async fn acked_samples_survive_power_loss_at_any_write_of_flush_checkpoint_and_compaction() {
    for seed in 0..120 {
        let disk = SimulatedDisk::new(seed);
        let tiny = || TsdbSettings {
            block_duration_ms: 20,
            out_of_order_window_ms: 10,
            checkpoint_log_bytes: 500,
            ..small()
        };
        let (mut time, mut sent, mut acked) = (0, BTreeMap::new(), Vec::new());
        for life in 0..5 {
            let store = open_with(&disk, tiny());
            let found = read_all(&store).await;
            for (name, at) in &acked {
                let found = found.get(name).and_then(|samples| samples.iter().find(|sample| sample.0 == *at));
                assert!(found.is_some(), "seed {seed}, life {life}: the acknowledged {name} at {at} is lost");
            }
            for (name, samples) in &found {
                for (at, value) in samples {
                    let sent = sent.get(&(name.clone(), *at));
                    assert_eq!(Some(value), sent, "seed {seed}, life {life}: {name} at {at} is wrong");
                }
            }
            // Some lives end while samples come, most while they are moved.
            if life % 4 == 0 {
                disk.cut_power_after(30 + (seed * 11 + life * 5) % 60);
                acked.extend(live_until_power_loss(&disk, &store, &mut time, &mut sent).await);
            } else {
                for _ in 0..40 {
                    time += 1;
                    let samples: Vec<_> = (0..4)
                        .map(|i| (format!("m{}", (time + i) % 9), time, (time * 10 + i) as f64 / 4.0))
                        .collect();
                    let refs: Vec<_> = samples
                        .iter()
                        .map(|(name, time, value)| (series(&store, name), *time, *value))
                        .collect();
                    let outcome = store.append(&tenant(), batch(&refs)).await.expect("durable");
                    assert_eq!(outcome.report.stored, 4);
                    sent.extend(samples.iter().map(|(name, time, value)| ((name.clone(), *time), *value)));
                    acked.extend(samples.into_iter().map(|(name, time, _)| (name, time)));
                }
                disk.cut_power_after((seed * 7 + life * 3) % 130);
                for _ in 0..4 {
                    store.maintain();
                }
            }
            store.close().await;
            disk.power_loss();
        }
        assert!(!acked.is_empty(), "seed {seed}: something was acknowledged");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, i64),
    Delete(usize, i64, i64),
    Maintain,
    Flush,
    CleanTombstones,
    Restart,
}

#[test]
fn any_sequence_of_changes_reads_as_from_a_map() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    let _entered = runtime.enter();
    let step = proptest::prop_oneof![
        40 => (0usize..4, -300i64..120).prop_map(|(name, ahead)| Step::Append(name, ahead)),
        2 => (0usize..4, -3000i64..0, 0i64..800).prop_map(|(name, from, len)| Step::Delete(name, from, len)),
        4 => Just(Step::Maintain),
        1 => Just(Step::Flush),
        1 => Just(Step::CleanTombstones),
        1 => Just(Step::Restart),
    ];
    let steps = proptest::collection::vec(step, 1..300);
    let mut runner = TestRunner::new(ProptestConfig { cases: 40, ..ProptestConfig::default() });
    let run = |steps: Vec<Step>| {
        runtime.block_on(async {
            let disk = SimulatedDisk::new(7);
            let mut store = open_with(&disk, small());
            let mut expected: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
            let mut newest = 1000;
            for step in steps {
                match step {
                    Step::Append(name, ahead) => {
                        let (name, time) = (format!("m{name}"), newest + ahead);
                        if append(&store, &name, &[time]).await == 1 {
                            expected.entry(name.clone()).or_default().insert(time, value(&name, time));
                        }
                        newest = newest.max(time);
                    }
                    Step::Delete(name, from, len) => {
                        let name = format!("m{name}");
                        let range = TimeRange::new(newest + from, newest + from + len);
                        let matchers = [Matcher::equal("__name__", name.as_str())];
                        store.delete(&tenant(), &matchers, range).await.expect("deleted");
                        if let Some(samples) = expected.get_mut(&name) {
                            samples.retain(|time, _| !range.contains(*time));
                        }
                    }
                    Step::Maintain => {
                        store.maintain();
                    }
                    Step::Flush => store.flush(&tenant()).await.expect("flushed"),
                    Step::CleanTombstones => store.clean_tombstones(&tenant()).await.expect("cleaned"),
                    Step::Restart => store = restart(&disk, store),
                }
            }
            let expected: Samples = expected
                .into_iter()
                .filter(|(_, samples)| !samples.is_empty())
                .map(|(name, samples)| (name, samples.into_iter().collect()))
                .collect();
            let mut found = read_all(&store).await;
            found.retain(|_, samples| !samples.is_empty());
            assert_eq!(found, expected);
            assert_eq!(
                {
                    let mut found = read_all(&restart(&disk, store)).await;
                    found.retain(|_, s| !s.is_empty());
                    found
                },
                expected
            );
        });
        Ok(())
    };
    runner.run(&steps, run).expect("reads as a map");
}

#[tokio::test]
async fn a_flush_on_a_full_disk_fails_and_the_head_keeps_everything() {
    let disk = SimulatedDisk::new(0);
    let mut store = open_with(&disk, small());
    let times: Vec<_> = (0..300).map(|i| i * 10).collect();
    append(&store, "up", &times).await;
    let used: u64 = disk_bytes(&disk, Path::new("/data/metrics"));
    disk.set_capacity_bytes(used + 100);
    store.maintain();
    let expected: Vec<_> = times.iter().map(|time| (*time, value("up", *time))).collect();
    assert_eq!(read_all(&store).await["up"], expected);
    assert!(MetricsAdmin::blocks(&store, &tenant()).await.expect("lists").is_empty());
    disk.set_capacity_bytes(u64::MAX);
    store.maintain();
    assert_eq!(MetricsAdmin::blocks(&store, &tenant()).await.expect("lists").len(), 2);
    assert_eq!(read_all(&store).await["up"], expected);
    store = restart(&disk, store);
    assert_eq!(read_all(&store).await["up"], expected);
}

#[tokio::test]
async fn blocks_past_a_shorter_retention_make_room_on_a_disk_that_is_too_full_to_flush() {
    let disk = SimulatedDisk::new(0);
    let mut store = open_with(&disk, small());
    for second in 0..8 {
        let times: Vec<_> = (0..100).map(|i| second * 1000 + i * 10).collect();
        append(&store, "up", &times).await;
        while store.maintain() {}
    }
    // One and a half blocks stay in the head; with these a flush is due.
    let newest: Vec<_> = (800..1000).map(|i| i * 10).collect();
    append(&store, "up", &newest).await;
    drop(store);
    disk.power_loss();
    disk.set_capacity_bytes(disk_bytes(&disk, Path::new("/data/metrics")) + 100);
    store = open_with(&disk, TsdbSettings { retention_ms: Some(2000), ..small() });
    assert_eq!(read_all(&store).await["up"][0].0, 0);
    let newest = || async {
        let blocks = MetricsAdmin::blocks(&store, &tenant()).await.expect("lists");
        blocks.iter().map(|block| block.max_time_ms).max().expect("the newest stays")
    };
    let before = newest().await;
    store.maintain();
    assert_eq!(newest().await, before, "the flush fails");
    let left = &read_all(&store).await["up"];
    let first = left[0].0;
    assert!((1000..=6000).contains(&first), "blocks went: {first}");
    let expected: Vec<_> = (first / 10..1000).map(|i| (i * 10, value("up", i * 10))).collect();
    assert_eq!(*left, expected, "and the head kept what it could not flush");
}

fn disk_bytes(disk: &SimulatedDisk, dir: &Path) -> u64 {
    let entries = disk.list(dir).expect("lists");
    entries
        .iter()
        .map(|entry| if entry.is_dir { disk_bytes(disk, &dir.join(&entry.name)) } else { entry.bytes })
        .sum()
}

#[tokio::test]
async fn a_snapshot_has_everything_in_blocks_and_changes_no_more() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, small());
    let times: Vec<_> = (0..300).map(|i| i * 10).collect();
    append(&store, "up", &times).await;
    store.maintain();
    let with_head = store.snapshot(&tenant(), false).await.expect("made");
    let without = store.snapshot(&tenant(), true).await.expect("made");
    append(&store, "up", &[3000]).await;
    let snapshots = PathBuf::from("/data/metrics/default/snapshots");
    for (name, expected) in [(with_head, 300), (without, 200)] {
        let settings = crate::BlocksSettings {
            block_duration_ms: 1000,
            retention_ms: None,
            retention_bytes: None,
            upload_gate: None,
        };
        let clock = std::sync::Arc::new(runtime::ManualClock::at_ns(0));
        let blocks =
            crate::Blocks::open(std::sync::Arc::new(disk.clone()), clock, &snapshots.join(&name), settings)
                .expect("opens");
        let samples: u64 = blocks.summaries().iter().map(|block| block.samples).sum();
        assert_eq!(samples, expected, "{name}");
    }
}

#[tokio::test]
async fn blocks_past_the_retention_go() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, TsdbSettings { retention_ms: Some(3000), ..small() });
    for round in 0..1000 {
        append(&store, "up", &[round * 10]).await;
        if round % 20 == 0 {
            store.maintain();
        }
    }
    while store.maintain() {}
    let first = read_all(&store).await["up"][0].0;
    assert!((4000..=7000).contains(&first), "{first}");
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "test")]);
    assert_eq!(store.series_labels(&select_all()).await.expect("reads"), [labels]);
}

#[tokio::test]
async fn late_samples_wait_for_company_and_are_read_meanwhile() {
    // Blocks of two hours of which a day may be late: the wait is ten minutes of the real clock.
    let hour = 3_600_000;
    let settings = TsdbSettings { out_of_order_window_ms: 24 * hour, retention_ms: None, ..settings() };
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, settings);
    let oldest_hour = || store.head_stats(&tenant()).range.expect("samples").min / hour;
    append(&store, "up", &[0, 2 * hour, 4 * hour, 6 * hour]).await;
    while store.maintain() {}
    assert_eq!(oldest_hour(), 4);
    append(&store, "up", &[hour]).await;
    while store.maintain() {}
    assert_eq!(oldest_hour(), 4, "the first ones get a block at once");
    for minute in 1..20 {
        append(&store, "up", &[hour + minute * 60_000]).await;
        while store.maintain() {}
        assert_eq!(oldest_hour(), 1);
    }
    assert_eq!(read_all(&store).await["up"].len(), 4 + 20);
    // With samples that came in order the late ones go, too.
    append(&store, "up", &[8 * hour, 10 * hour]).await;
    while store.maintain() {}
    assert_eq!(oldest_hour(), 8);
    assert_eq!(read_all(&store).await["up"].len(), 6 + 20);
}

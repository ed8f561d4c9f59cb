//! Samples that come late: which are taken, and that they are there afterwards, once.

use std::collections::BTreeMap;

use model::TimeRange;
use proptest::test_runner::{Config, TestRunner};
use runtime::SimulatedDisk;
use storage_api::{MetricsAppender, SeriesRef, reject_reason};

use super::{batch, open, open_with, read_all, series, settings, tenant};
use crate::{Tsdb, TsdbSettings};

const MINUTE: i64 = 60_000;

/// What became of each sample: "" for stored, else the reason.
async fn verdicts(store: &Tsdb, samples: &[(SeriesRef, i64, f64)]) -> Vec<&'static str> {
    let outcome = store.append(&tenant(), batch(samples)).await.expect("durable");
    assert!(outcome.stale_refs.is_empty());
    let mut verdicts = vec![""; samples.len()];
    for (position, reason) in outcome.refused {
        verdicts[position as usize] = outcome.report.rejected[reason as usize].reason;
    }
    verdicts
}

#[tokio::test]
async fn late_samples_are_taken_inside_the_window_and_read_in_their_place_after_a_restart() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let (up, other) = (series(&store, "up"), series(&store, "other"));
    assert_eq!(verdicts(&store, &[(up, 600 * MINUTE, 1.0)]).await, [""]);
    let late = [
        (up, 571 * MINUTE, 2.0),
        (up, 570 * MINUTE, 3.0),
        (up, 570 * MINUTE - 1, 4.0),
        (up, 571 * MINUTE, 2.0),
        (up, 571 * MINUTE, 5.0),
        // A series without newer samples takes more: an hour, which is half a block.
        (other, 540 * MINUTE, 6.0),
        (other, 540 * MINUTE - 1, 7.0),
        (other, 569 * MINUTE, 8.0),
    ];
    let (old, twice) = (reject_reason::TOO_OLD, reject_reason::DUPLICATE_TIMESTAMP);
    assert_eq!(verdicts(&store, &late).await, ["", "", old, "", twice, "", old, ""]);
    let expected = BTreeMap::from([
        ("up".to_owned(), vec![(570 * MINUTE, 3.0), (571 * MINUTE, 2.0), (600 * MINUTE, 1.0)]),
        ("other".to_owned(), vec![(540 * MINUTE, 6.0), (569 * MINUTE, 8.0)]),
    ]);
    assert_eq!(read_all(&store).await, expected);
    drop(store);
    disk.power_loss();
    assert_eq!(read_all(&open(&disk)).await, expected);
}

#[tokio::test]
async fn without_a_window_late_samples_are_out_of_order_or_out_of_bounds() {
    let store = open_with(&SimulatedDisk::new(0), TsdbSettings { out_of_order_window_ms: 0, ..settings() });
    let (up, other) = (series(&store, "up"), series(&store, "other"));
    assert_eq!(verdicts(&store, &[(up, 600 * MINUTE, 1.0)]).await, [""]);
    let late = [599, 539].map(|minute| (up, minute * MINUTE, 1.0)).into_iter();
    let late: Vec<_> = late.chain([539, 541].map(|minute| (other, minute * MINUTE, 1.0))).collect();
    let (order, bounds) = (reject_reason::OUT_OF_ORDER, reject_reason::OUT_OF_BOUNDS);
    assert_eq!(verdicts(&store, &late).await, [order, bounds, bounds, ""]);
}

#[test]
fn samples_in_any_order_read_back_as_from_a_map_with_checkpoints_and_restarts_between() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    let _entered = runtime.enter();
    let steps = proptest::collection::vec((0u8..20, 0i64..2000), 1..200);
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    let eager = || TsdbSettings { checkpoint_log_bytes: 0, ..settings() };
    let run = |steps: Vec<(u8, i64)>| {
        let disk = SimulatedDisk::new(1);
        let mut store = open_with(&disk, eager());
        let mut expected: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
        for (kind, time) in steps {
            match kind {
                0 => {
                    store.maintain();
                }
                1 => {
                    drop(store);
                    disk.power_loss();
                    store = open_with(&disk, eager());
                }
                _ => {
                    let name = format!("m{}", kind % 3);
                    let samples = batch(&[(series(&store, &name), time * 500, time as f64)]);
                    let tenant = tenant();
                    let outcome = runtime.block_on(store.append(&tenant, samples)).expect("durable");
                    assert_eq!(outcome.report.stored, 1, "all times are inside the window");
                    expected.entry(name).or_default().insert(time * 500, time as f64);
                }
            }
        }
        let expected: BTreeMap<_, Vec<_>> =
            expected.into_iter().map(|(name, samples)| (name, samples.into_iter().collect())).collect();
        assert_eq!(runtime.block_on(read_all(&store)), expected);
        let times = expected.values().flatten().map(|sample| sample.0);
        let range = times.clone().min().zip(times.max()).map(|(min, max)| TimeRange::new(min, max));
        assert_eq!(store.head_stats(&tenant()).range, range);
        Ok(())
    };
    runner.run(&steps, run).expect("reads as a map");
}

//! What the store promises its writers and readers, over restarts, power losses and full disks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use model::{
    ErrorKind, Labels, MatchOp, Matcher, MetricMetadata, MetricType, SampleColumns, TenantId, TimeRange,
};
use runtime::{Disk, ManualClock, SimulatedDisk, Tasks};
use storage_api::{MetricsAppender, MetricsQuerier, MetricsSelect, SampleBatch, SeriesRef};
use wal::WalSettings;

use super::Tsdb;
use crate::TsdbSettings;

mod busy;
mod damage;
mod flush;
mod late;
mod rich;
mod scratch;

/// The clock stands here, ms.
const NOW_MS: i64 = 1_000_000_000;

type Samples = BTreeMap<String, Vec<(i64, f64)>>;

fn settings() -> TsdbSettings {
    let wal = WalSettings {
        group_wait: Duration::ZERO,
        retry_wait: Duration::from_millis(1),
        segment_bytes_max: 2000,
        free_bytes_min: 0,
        ..TsdbSettings::default().wal
    };
    TsdbSettings { wal, ..TsdbSettings::default() }
}

fn open_with(disk: &SimulatedDisk, settings: TsdbSettings) -> Tsdb {
    let clock = Arc::new(ManualClock::at_ns(NOW_MS * 1_000_000));
    Tsdb::open(Arc::new(disk.clone()), PathBuf::from("/data/metrics"), settings, Tasks::new(), clock)
        .expect("a store opens whatever is in its folder")
}

fn open(disk: &SimulatedDisk) -> Tsdb {
    open_with(disk, settings())
}

fn tenant() -> TenantId {
    TenantId::default()
}

fn series(store: &Tsdb, name: &str) -> SeriesRef {
    store
        .series(&tenant(), &Labels::from_pairs([("__name__", name), ("job", "test")]))
        .expect("within limits")
}

fn batch(samples: &[(SeriesRef, i64, f64)]) -> SampleBatch {
    let mut batch = SampleBatch::default();
    samples.iter().for_each(|&(series, time, value)| batch.push(series, time, value));
    batch
}

fn select_all() -> MetricsSelect {
    MetricsSelect { tenant: tenant(), range: TimeRange::ALL, matchers: Vec::new() }
}

/// Everything in the store, by metric name; checks that times ascend strictly.
async fn read_all(store: &Tsdb) -> Samples {
    let mut samples = Samples::new();
    for series in store.select(&select_all()).await.expect("reads") {
        let mut columns = SampleColumns::default();
        series.chunks.decode(TimeRange::ALL, &mut columns).expect("decodes");
        assert!(
            columns.timestamps_ms.is_sorted_by(|a, b| a < b),
            "{}: {:?}",
            series.labels,
            columns.timestamps_ms
        );
        let name = series.labels.metric_name().expect("named").to_owned();
        samples.insert(name, columns.timestamps_ms.into_iter().zip(columns.values).collect());
    }
    samples
}

#[tokio::test]
async fn samples_and_metadata_are_read_back_before_and_after_a_restart() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let (up, down) = (series(&store, "up"), series(&store, "down"));
    assert_eq!(series(&store, "up"), up, "the same labels are the same series");
    let metadata = |help: &str| MetricMetadata {
        metric_type: MetricType::Gauge,
        help: help.to_owned(),
        unit: "seconds".to_owned(),
    };
    store.set_metadata(&tenant(), "up", &metadata("old"));
    store.set_metadata(&tenant(), "up", &metadata("Is it up?"));
    let first = [(up, 1000, 1.0), (down, 1000, 0.0), (up, 2000, f64::INFINITY), (down, 1500, -0.25)];
    let outcome = store.append(&tenant(), batch(&first)).await.expect("durable");
    assert_eq!((outcome.report.stored, outcome.report.rejected_count()), (4, 0));
    for i in 0..1000 {
        store.append(&tenant(), batch(&[(up, 3000 + i, i as f64)])).await.expect("durable");
    }
    let mut expected = Samples::from([
        ("up".to_owned(), vec![(1000, 1.0), (2000, f64::INFINITY)]),
        ("down".to_owned(), vec![(1000, 0.0), (1500, -0.25)]),
    ]);
    expected.get_mut("up").expect("inserted").extend((0..1000).map(|i| (3000 + i, i as f64)));
    for store in [store, open(&disk)] {
        assert_eq!(read_all(&store).await, expected);
        let families = store.metadata(&tenant(), None).await.expect("reads");
        assert_eq!(families, [("up".to_owned(), metadata("Is it up?"))]);
        assert_eq!(store.metadata(&tenant(), Some("down")).await.expect("reads"), []);
        let stats = store.head_stats(&tenant());
        assert_eq!((stats.series, stats.range), (2, Some(TimeRange::new(1000, 3999))));
        assert!(stats.chunks >= 2 + 1000 / 240 && stats.memory_bytes > 1000);
        assert_eq!(series(&store, "up"), up, "numbers survive a restart");
    }
}

#[tokio::test]
async fn samples_that_are_not_stored_are_reported_with_reason_position_and_example() {
    let store = open_with(&SimulatedDisk::new(0), TsdbSettings { out_of_order_window_ms: 0, ..settings() });
    let up = series(&store, "up");
    store.append(&tenant(), batch(&[(up, 1000, 1.0), (up, 3000, 3.0)])).await.expect("durable");
    let unknown = SeriesRef(up.0 + 1);
    let mixed = [
        (up, 3000, 3.0),
        (up, 3000, 4.0),
        (up, 2000, 2.0),
        (unknown, 5000, 5.0),
        (up, NOW_MS + 600_001, 1.0),
        (up, 1000, 1.0),
        (up, 1500, 2.0),
        (up, 4000, 4.0),
        (SeriesRef(u64::MAX), 5000, 5.0),
    ];
    let outcome = store.append(&tenant(), batch(&mixed)).await.expect("durable");
    assert_eq!(outcome.report.stored, 3, "two were there already, one is new");
    assert_eq!(outcome.stale_refs, [3, 8]);
    let told: Vec<_> =
        outcome.report.rejected.iter().map(|r| (r.reason, r.count, r.message.as_str())).collect();
    let labels = r#"{__name__="up", job="test"}"#;
    assert_eq!(
        told,
        [
            ("duplicate_timestamp", 1, &*format!("series {labels} has another value at 3000 ms already")),
            (
                "out_of_order",
                2,
                &*format!(
                    "series {labels}: the sample at 2000 ms is older than the newest one, at 3000 ms, and none may be \
                     late (out_of_order_window)"
                )
            ),
            (
                "too_far_in_future",
                1,
                &*format!(
                    "series {labels}: the sample at 1000600001 ms is too far in the future, allowed is up to \
                     1000600000 ms"
                )
            ),
        ]
    );
    assert_eq!(outcome.refused, [(1, 0), (2, 1), (4, 2), (6, 1)]);
    assert_eq!(read_all(&store).await["up"], [(1000, 1.0), (3000, 3.0), (4000, 4.0)]);
}

#[tokio::test]
async fn limits_refuse_with_their_name_and_value() {
    let limited =
        TsdbSettings { series_max: 2, tenants_max: 1, labels_max: 2, label_bytes_max: 20, ..settings() };
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, limited.clone());
    let refuse = |store: &Tsdb, tenant: &TenantId, pairs: &[(&str, &str)]| {
        let error =
            store.series(tenant, &Labels::from_pairs(pairs.iter().copied())).expect_err("over a limit");
        (error.kind(), error.to_string())
    };
    let first = store.series(&tenant(), &Labels::from_pairs([("a", "1")])).expect("one of two");
    store.append(&tenant(), batch(&[(first, 1, 1.0)])).await.expect("durable");
    let second = store.series(&tenant(), &Labels::from_pairs([("a", "2")])).expect("two of two");
    store.append(&tenant(), batch(&[(second, 1, 1.0)])).await.expect("durable");
    drop(store);
    let store = open_with(&disk, limited);
    let series_limit = "tenant default has 2 series, the limit (series_max); no new series is taken";
    assert_eq!(refuse(&store, &tenant(), &[("a", "3")]), (ErrorKind::Throttled, series_limit.to_owned()));
    assert_eq!(store.series(&tenant(), &Labels::from_pairs([("a", "2")])).expect("known"), second);
    let other = TenantId::new("other").expect("valid");
    let tenant_limit = "there are 1 tenants, the limit (tenants_max); tenant other is not taken";
    assert_eq!(refuse(&store, &other, &[("a", "1")]), (ErrorKind::Unavailable, tenant_limit.to_owned()));
    for (pairs, text) in [
        (&[][..], "a series needs a label"),
        (&[("a", "1"), ("b", "1"), ("c", "1")], "a series has 3 labels, at most 2 are allowed (labels_max)"),
        (
            &[("a", "01234567890123456789")],
            "the labels of a series have 21 bytes, at most 20 are allowed (label_bytes_max)",
        ),
    ] {
        assert_eq!(refuse(&store, &tenant(), pairs), (ErrorKind::Invalid, text.to_owned()));
    }
    let uneven = SampleBatch { refs: vec![first], ..SampleBatch::default() };
    assert_eq!(store.append(&tenant(), uneven).await.expect_err("uneven").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_tenant_without_data_leaves_its_place_and_its_numbers_are_not_given_again() {
    let wal = WalSettings { idle_wait: Duration::from_millis(1), ..settings().wal };
    let settings = TsdbSettings { wal, tenants_max: 1, tenant_idle: Duration::ZERO, ..settings() };
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, settings.clone());
    let invented = TenantId::new("invented").expect("valid");
    let labels = Labels::from_pairs([("__name__", "up")]);
    let old = store.series(&invented, &labels).expect("room");
    let outcome = store.append(&invented, batch(&[(old, i64::MAX, 1.0)])).await.expect("refused alone");
    assert_eq!(outcome.report.rejected_count(), 1, "too far in the future");
    store.series(&tenant(), &labels).expect_err("one tenant");
    let end = std::time::Instant::now() + Duration::from_secs(60);
    let new = loop {
        store.maintain();
        match store.series(&tenant(), &labels) {
            Ok(new) => break new,
            Err(error) => assert!(std::time::Instant::now() < end, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_ne!(new, old);
    assert_eq!(store.append(&tenant(), batch(&[(new, 1000, 1.0)])).await.expect("durable").report.stored, 1);
    let stale = store.append(&tenant(), batch(&[(old, 1000, 2.0)])).await.expect("told").stale_refs;
    assert_eq!(stale, [0]);
    // One with data stays, however long nobody writes to it.
    let end = std::time::Instant::now() + Duration::from_millis(50);
    while std::time::Instant::now() < end {
        store.maintain();
        tokio::task::yield_now().await;
    }
    store.series(&invented, &labels).expect_err("still one tenant");
    drop(store);
    let store = open_with(&disk, settings);
    assert_eq!(read_all(&store).await["up"], [(1000, 1.0)]);
    assert_eq!(store.tenants(), [tenant()]);
}

#[tokio::test]
async fn who_writes_to_a_tenant_that_is_let_go_makes_its_series_in_the_next_one() {
    let settings = TsdbSettings { tenant_idle: Duration::ZERO, ..settings() };
    let store = open_with(&SimulatedDisk::new(0), settings);
    let labels = |pod: usize| Labels::from_pairs([("__name__", "up"), ("pod", &pod.to_string())]);
    store.series(&tenant(), &labels(0)).expect("room");
    let old = store.0.find(&tenant()).expect("it has a series");
    store.maintain();
    assert_eq!(store.tenants(), [], "without data, and nothing on its way to its log");
    // Numbers that the next tenant would give again, to other labels.
    for pod in 1..100 {
        old.series(&labels(pod)).expect_err("let go");
    }
    let made = store.0.series(&old, &tenant(), &labels(1)).expect("in the next one");
    assert_eq!(store.head_stats(&tenant()).series, 1);
    store.append(&tenant(), batch(&[(made, 1000, 1.0)])).await.expect("durable");
    assert_eq!(store.series_labels(&select_all()).await.expect("reads"), [labels(1)]);
}

#[tokio::test]
async fn labels_and_series_are_found_by_matchers_and_range() {
    let store = open(&SimulatedDisk::new(0));
    let mut samples = Vec::new();
    for (name, pod, time) in [("up", "a", 1000), ("up", "b", 2000), ("load", "a", 3000), ("empty", "c", 0)] {
        let labels = Labels::from_pairs([("__name__", name), ("pod", pod)]);
        let series = store.series(&tenant(), &labels).expect("within limits");
        if time > 0 {
            samples.push((series, time, 1.0));
        }
    }
    store.append(&tenant(), batch(&samples)).await.expect("durable");
    let select = |range, matchers: &[(&str, MatchOp, &str)]| MetricsSelect {
        tenant: tenant(),
        range,
        matchers: matchers.iter().map(|(n, op, v)| Matcher::new(*n, *op, *v).expect("valid")).collect(),
    };
    let everything = select(TimeRange::ALL, &[]);
    let early = select(TimeRange::new(0, 1999), &[]);
    let pod_a = select(TimeRange::ALL, &[("pod", MatchOp::Equal, "a")]);
    assert_eq!(store.label_names(&everything).await.expect("reads"), ["__name__", "pod"]);
    assert_eq!(store.label_values("pod", &early).await.expect("reads"), ["a"]);
    assert_eq!(store.label_values("__name__", &pod_a).await.expect("reads"), ["load", "up"]);
    assert_eq!(store.label_values("nope", &everything).await.expect("reads"), [""; 0]);
    let labels = |found: Vec<Labels>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = store.series_labels(&pod_a).await.expect("reads");
    assert_eq!(labels(found), [r#"{__name__="load", pod="a"}"#, r#"{__name__="up", pod="a"}"#]);
    let not_up =
        select(TimeRange::ALL, &[("__name__", MatchOp::NotRegex, "up|x"), ("pod", MatchOp::NotEqual, "")]);
    let found = store.select(&not_up).await.expect("reads");
    assert_eq!(labels(found.into_iter().map(|s| s.labels).collect()), [r#"{__name__="load", pod="a"}"#]);
    let other = MetricsSelect { tenant: TenantId::new("other").expect("valid"), ..everything };
    assert!(store.select(&other).await.expect("reads").is_empty());
    assert_eq!(store.tenants(), [tenant()], "a query makes no tenant");
}

#[tokio::test]
async fn a_selected_series_does_not_change_by_later_appends() {
    let store = open(&SimulatedDisk::new(0));
    let up = series(&store, "up");
    store.append(&tenant(), batch(&[(up, 1, 1.0), (up, 2, 2.0)])).await.expect("durable");
    let selected = store.select(&select_all()).await.expect("reads").remove(0);
    store.append(&tenant(), batch(&[(up, 3, 3.0)])).await.expect("durable");
    let mut columns = SampleColumns::default();
    selected.chunks.decode(TimeRange::ALL, &mut columns).expect("decodes");
    assert_eq!(columns.timestamps_ms, [1, 2]);
    let encoded = selected.chunks.encoded().expect("encodes").remove(0);
    assert_eq!((encoded.range, &encoded.data[..2]), (TimeRange::new(1, 2), &[0, 2][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_query_sees_all_samples_of_an_append_or_none() {
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, TsdbSettings { wal: WalSettings::default(), ..settings() });
    let done = Arc::new(AtomicBool::new(false));
    let tasks = Tasks::new();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tasks.spawn("writer", async move {
                let mut time = 0;
                let mut refs: Vec<SeriesRef> = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    time += 1000;
                    // Some appends bring series that are new; all of one append have the same time.
                    if refs.len() < 200 {
                        let first = refs.len();
                        refs.extend((first..first + 10).map(|i| series(&store, &format!("w{writer}_{i}"))));
                    }
                    let samples: Vec<_> = refs.iter().map(|series| (*series, time, 1.0)).collect();
                    store.append(&tenant(), batch(&samples)).await.expect("durable");
                }
            })
        })
        .collect();
    let mut appends_seen = 0;
    while appends_seen < 300 {
        let samples = read_all(&store).await;
        for writer in ["w0_", "w1_"] {
            let of_writer = samples.iter().filter(|(name, _)| name.starts_with(writer));
            let lasts: Vec<_> = of_writer.map(|(_, samples)| samples[samples.len() - 1].0).collect();
            assert!(lasts.windows(2).all(|pair| pair[0] == pair[1]), "an append is seen in part: {lasts:?}");
            assert_eq!(lasts.len() % 10, 0, "new series of an append are seen in part");
            appends_seen = appends_seen.max(lasts.first().copied().unwrap_or(0) / 1000);
        }
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("the writer ended");
    }
}

/// Appends until the power goes; returns what was acknowledged. Requests race for the same series.
async fn live_until_power_loss(
    disk: &SimulatedDisk,
    store: &Tsdb,
    time: &mut i64,
    sent: &mut BTreeMap<(String, i64), f64>,
) -> Vec<(String, i64)> {
    let mut acked = Vec::new();
    while disk.has_power() {
        let mut requests = Vec::new();
        for request in 0..1 + *time % 3 {
            *time += 1;
            let mut samples = Vec::new();
            let mut keys = Vec::new();
            for i in 0..1 + *time % 5 {
                // New series come all the time, old ones get more samples.
                let name = format!("m{}", (*time * 7 + i * 3 + request) % (4 + *time / 3));
                if keys.iter().any(|((known, _), _)| *known == name) {
                    continue;
                }
                let value = (*time * 10 + i) as f64 / 4.0;
                samples.push((series(store, &name), *time, value));
                keys.push(((name, *time), value));
            }
            sent.extend(keys.iter().cloned());
            requests.push((batch(&samples), keys));
        }
        let tenant = tenant();
        let results = join_all(requests.iter().map(|(batch, _)| store.append(&tenant, batch.clone()))).await;
        for (result, (_, keys)) in results.into_iter().zip(requests) {
            if let Ok(outcome) = result {
                assert_eq!(outcome.report.stored, keys.len() as u64, "{:?}", outcome.report.rejected);
                acked.extend(keys.into_iter().map(|(key, _)| key));
            }
        }
    }
    acked
}

#[tokio::test]
async fn acked_samples_survive_power_loss_and_none_is_lost_doubled_or_wrong() {
    for seed in 0..400 {
        let disk = SimulatedDisk::new(seed);
        let (mut time, mut sent, mut acked) = (0, BTreeMap::new(), Vec::new());
        for life in 0..4 {
            let store = open(&disk);
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
            disk.cut_power_after(4 + (seed * 11 + life * 5) % 60);
            acked.extend(live_until_power_loss(&disk, &store, &mut time, &mut sent).await);
            store.close().await;
            disk.power_loss();
        }
        assert!(!acked.is_empty(), "seed {seed}: something was acknowledged");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_answers_queries_and_recovers_by_itself() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let up = series(&store, "up");
    store.append(&tenant(), batch(&[(up, 1000, 1.0)])).await.expect("durable");
    disk.set_capacity_bytes(100);
    let error = store.append(&tenant(), batch(&[(up, 2000, 2.0)])).await.expect_err("the disk is full");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().is_some());
    assert_eq!(read_all(&store).await["up"][0], (1000, 1.0), "queries go on");
    disk.set_capacity_bytes(u64::MAX);
    let again = async {
        loop {
            match store.append(&tenant(), batch(&[(up, 2000, 2.0)])).await {
                Ok(outcome) => return outcome,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), again).await.expect("it recovers by itself");
    assert_eq!(outcome.report.stored, 1, "what was sent again is acknowledged");
    drop(store);
    disk.power_loss();
    assert_eq!(read_all(&open(&disk)).await["up"], [(1000, 1.0), (2000, 2.0)]);
}

#[tokio::test]
async fn samples_of_a_series_whose_record_is_damaged_go_to_no_other_series() {
    let disk = SimulatedDisk::new(0);
    let tiny = || {
        let wal = WalSettings { segment_bytes_max: 1, ..settings().wal };
        TsdbSettings { wal, ..settings() }
    };
    let store = open_with(&disk, tiny());
    for i in 0..20 {
        let series = series(&store, &format!("m{i}"));
        store.append(&tenant(), batch(&[(series, 1000, f64::from(i))])).await.expect("durable");
    }
    let refs: Vec<_> = (0..20).map(|i| series(&store, &format!("m{i}"))).collect();
    for (i, series) in (0..).zip(&refs) {
        store.append(&tenant(), batch(&[(*series, 2000, f64::from(i))])).await.expect("durable");
    }
    store.close().await;
    // The records of ten series are damaged; the samples that come later are intact.
    let wal = Path::new("/data/metrics/default/wal");
    let names: Vec<_> = (10..20).map(|i| format!("m{i}")).collect();
    for entry in disk.list(wal).expect("lists") {
        let bytes = disk.read(&wal.join(&entry.name)).expect("reads");
        let text = String::from_utf8_lossy(&bytes);
        if names.iter().any(|name| text.contains(name)) {
            disk.damage(&wal.join(&entry.name), 30, 0xff);
        }
    }
    let store = open_with(&disk, tiny());
    let fresh: Vec<_> = (0..30).map(|i| series(&store, &format!("fresh{i}"))).collect();
    let samples: Vec<_> = fresh.iter().map(|series| (*series, 5000, 5.0)).collect();
    store.append(&tenant(), batch(&samples)).await.expect("durable");
    store.close().await;
    let found = read_all(&open_with(&disk, tiny())).await;
    for (name, samples) in &found {
        match name.strip_prefix('m') {
            Some(i) => assert!(samples.iter().all(|sample| sample.1.to_string() == i), "{name}: {samples:?}"),
            None => assert_eq!(samples, &[(5000, 5.0)], "{name}"),
        }
    }
    assert_eq!(found.keys().filter(|name| name.starts_with("fresh")).count(), 30);
    assert_eq!(found.keys().filter(|name| name.starts_with('m')).count(), 10);
}

#[tokio::test]
async fn a_large_append_is_stored_like_a_small_one() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let up = series(&store, "up");
    let samples: Vec<_> = (0..20_000).map(|i| (up, i * 10, i as f64)).collect();
    let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
    assert_eq!(outcome.report.stored, 20_000);
    drop(store);
    disk.power_loss();
    let found = read_all(&open(&disk)).await.remove("up").expect("there");
    assert_eq!(found, samples.iter().map(|sample| (sample.1, sample.2)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_above_the_size_of_a_record_is_stored_whole_and_its_refusals_keep_their_places() {
    const RECORD: usize = 1 << 20;
    let disk = SimulatedDisk::new(0);
    let store = open_with(&disk, TsdbSettings { out_of_order_window_ms: 0, ..settings() });
    let up = series(&store, "up");
    let mut samples: Vec<_> = (0..RECORD as i64 + 10).map(|i| (up, i, 0.5)).collect();
    samples[7] = (up, NOW_MS * 2, 1.0);
    // Nothing is stored at 7.
    samples[RECORD + 3] = (up, 7, 0.5);
    samples[RECORD + 4] = (up, 5, 9.0);
    samples[RECORD + 5] = (up, NOW_MS * 2, 1.0);
    samples[RECORD + 6] = (SeriesRef(u64::MAX), 1, 1.0);
    let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
    let refused: Vec<_> = outcome
        .refused
        .iter()
        .map(|&(position, reason)| (position as usize, outcome.report.rejected[reason as usize].reason))
        .collect();
    let (future, late, twice) = ("too_far_in_future", "out_of_order", "duplicate_timestamp");
    assert_eq!(refused, [(7, future), (RECORD + 3, late), (RECORD + 4, twice), (RECORD + 5, future)]);
    assert_eq!(outcome.stale_refs, [RECORD as u32 + 6]);
    assert_eq!(outcome.report.stored, RECORD as u64 + 5);
    drop(store);
    disk.power_loss();
    assert_eq!(read_all(&open(&disk)).await.remove("up").expect("there").len(), RECORD + 5);
}

#[tokio::test]
async fn metadata_is_bounded_and_survives_a_restart_however_much_of_it_comes_before_a_sample() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let metadata =
        |help: String| MetricMetadata { metric_type: MetricType::Counter, help, unit: String::new() };
    // Two bytes each, so that 4 KiB would end inside of one.
    let long = format!("x{}", "\u{e4}".repeat(4000));
    let kept = format!("x{}", "\u{e4}".repeat(2047));
    let names: Vec<String> = (0..600).map(|i| format!("m{i:04}")).collect();
    for _ in 0..3 {
        for name in &names {
            store.set_metadata(&tenant(), name, &metadata("old".to_owned()));
            store.set_metadata(&tenant(), name, &metadata(long.clone()));
        }
    }
    store.set_metadata(&tenant(), &"n".repeat((64 << 10) + 1), &metadata("too long a name".to_owned()));
    let up = series(&store, "up");
    store.append(&tenant(), batch(&[(up, 1, 1.0)])).await.expect("durable");
    drop(store);
    disk.power_loss();
    let expected: Vec<_> = names.into_iter().map(|name| (name, metadata(kept.clone()))).collect();
    assert_eq!(open(&disk).metadata(&tenant(), None).await.expect("reads"), expected);
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let other = TenantId::new("other").expect("valid");
    let labels = Labels::from_pairs([("__name__", "up")]);
    for (tenant, value) in [(tenant(), 1.0), (other.clone(), 2.0)] {
        let series = store.series(&tenant, &labels).expect("within limits");
        store.append(&tenant, batch(&[(series, 1, value)])).await.expect("durable");
    }
    drop(store);
    let store = open(&disk);
    assert_eq!(store.tenants(), [tenant(), other.clone()]);
    assert_eq!(read_all(&store).await["up"], [(1, 1.0)]);
    store.close().await;
    let error = store.append(&other, batch(&[(SeriesRef(0), 2, 1.0)])).await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(read_all(&store).await["up"], [(1, 1.0)], "queries still work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acked_samples_of_racing_requests_survive_in_whatever_order_they_reached_the_log() {
    const WRITERS: i64 = 4;
    for seed in 0..10 {
        let disk = SimulatedDisk::new(seed);
        let store = open(&disk);
        let tasks = Tasks::new();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                tasks.spawn("writer", async move {
                    let refs: Vec<_> = (0..20).map(|i| series(&store, &format!("m{i}"))).collect();
                    let mut acked = Vec::new();
                    for round in 0..200 {
                        // Every time belongs to one writer, but all write the same series; each sends twice.
                        let time = (round * WRITERS + writer) * 1000;
                        let samples: Vec<_> =
                            refs.iter().map(|series| (*series, time, time as f64)).collect();
                        for _ in 0..2 {
                            let outcome = store.append(&tenant(), batch(&samples)).await.expect("durable");
                            let refused: Vec<_> = outcome.refused.iter().map(|refused| refused.0).collect();
                            let stored = (0..20).filter(|position| !refused.contains(position));
                            acked.extend(stored.map(|position| (format!("m{position}"), time)));
                        }
                    }
                    acked
                })
            })
            .collect();
        let mut acked = Vec::new();
        for writer in writers {
            acked.extend(writer.await.expect("the writer ended"));
        }
        assert!(acked.len() > 1000);
        let before = read_all(&store).await;
        store.close().await;
        disk.power_loss();
        let found = read_all(&open(&disk)).await;
        assert_eq!(found, before, "seed {seed}");
        for (name, time) in acked {
            let at = found[&name].binary_search_by_key(&time, |sample| sample.0);
            assert_eq!(at.map(|at| found[&name][at].1), Ok(time as f64), "seed {seed}: {name} at {time}");
        }
    }
}

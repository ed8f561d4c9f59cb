//! Native histograms, exemplars and checkpoints: kept, read, and over restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::XorAppender;
use format::head_record::{CHUNKS, ChunkItem, END, NUMBERS, SERIES, put_chunk, put_end, put_series};
use model::{
    BucketSpan, Buckets, Exemplar, FloatHistogram, IntegerBuckets, IntegerHistogram, Labels, Matcher,
    NativeHistogram, SampleColumns, TimeRange, stale_nan,
};
use runtime::{Disk, ManualClock, SimulatedDisk, Tasks};
use storage_api::{
    ChunkEncoding, MetricsAppender, MetricsQuerier, MetricsSelect, SampleBatch, SeriesExemplars, SeriesRef,
    reject_reason,
};

use super::{NOW_MS, batch, open, open_with, read_all, select_all, series, settings, tenant};
use crate::checkpoint::CheckpointWriter;
use crate::{Tsdb, TsdbSettings};

/// Every call of `maintain` writes a checkpoint.
fn eager() -> TsdbSettings {
    TsdbSettings { checkpoint_log_bytes: 0, ..settings() }
}

fn spans() -> Vec<BucketSpan> {
    vec![BucketSpan { offset: 0, length: 2 }]
}

fn integer(count: u64) -> NativeHistogram {
    NativeHistogram::Integer(Arc::new(IntegerHistogram {
        schema: 2,
        count,
        sum: 1.5,
        positive: IntegerBuckets { spans: spans(), deltas: vec![count.cast_signed(), -count.cast_signed()] },
        ..IntegerHistogram::default()
    }))
}

fn float(count: f64) -> NativeHistogram {
    NativeHistogram::Float(Arc::new(FloatHistogram {
        schema: 2,
        count,
        sum: 1.5,
        positive: Buckets { spans: spans(), counts: vec![count, 0.0] },
        ..FloatHistogram::default()
    }))
}

/// Times of the series `up` with counts of its histograms and values of its floats.
async fn read_counts(store: &Tsdb) -> Vec<(i64, f64)> {
    let select = MetricsSelect { matchers: vec![Matcher::equal("__name__", "up")], ..select_all() };
    let mut columns = SampleColumns::default();
    for series in store.select(&select).await.expect("reads") {
        series.chunks.decode(TimeRange::ALL, &mut columns).expect("decodes");
    }
    let mut counts: Vec<_> = columns.timestamps_ms.iter().copied().zip(columns.values).collect();
    columns.histograms.iter().for_each(|(at, histogram)| counts[*at].1 = histogram.count);
    counts
}

fn histograms(up: SeriesRef, samples: &[(i64, NativeHistogram)]) -> SampleBatch {
    let mut batch = SampleBatch::default();
    samples.iter().for_each(|(time, histogram)| batch.push_histogram(up, *time, histogram.clone()));
    batch
}

#[tokio::test]
async fn histograms_and_floats_of_one_series_are_read_back_after_restarts() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let up = series(&store, "up");
    let mut mixed = histograms(up, &[(1000, integer(4)), (2000, integer(5))]);
    mixed.push(up, 3000, 0.25);
    mixed.push_histogram(up, 4000, float(2.5));
    // Late ones, a duplicate and a contradiction.
    mixed.push_histogram(up, 1500, integer(9));
    mixed.push_histogram(up, 2000, integer(5));
    mixed.push_histogram(up, 2000, integer(6));
    let mut unsound = IntegerHistogram { count: 1, ..IntegerHistogram::default() };
    mixed.push_histogram(up, 5000, NativeHistogram::Integer(Arc::new(unsound.clone())));
    unsound.sum = stale_nan();
    mixed.push_histogram(up, 6000, NativeHistogram::Integer(Arc::new(unsound)));
    let outcome = store.append(&tenant(), mixed).await.expect("durable");
    let rejected = &outcome.report.rejected;
    let refused: Vec<_> = outcome
        .refused
        .iter()
        .map(|(position, reason)| (*position, rejected[*reason as usize].reason))
        .collect();
    let (twice, invalid) = (reject_reason::DUPLICATE_TIMESTAMP, reject_reason::INVALID_HISTOGRAM);
    assert_eq!((outcome.report.stored, refused), (7, vec![(6, twice), (7, invalid)]));
    let message = &rejected[1].message;
    assert!(
        message.ends_with("the buckets of the histogram have 0 observations, but its count is 1"),
        "{message}"
    );
    let expected = [(1000, 4.0), (1500, 9.0), (2000, 5.0), (3000, 0.25), (4000, 2.5), (6000, 0.0)];
    assert_eq!(read_counts(&store).await, expected);
    let chunks = store.select(&select_all()).await.expect("reads")[0].chunks.encoded().expect("encoded");
    let encodings: Vec<_> = chunks.iter().map(|chunk| chunk.encoding).collect();
    let (histogram, float) = (ChunkEncoding::Histogram, ChunkEncoding::FloatHistogram);
    // The count falls from 9 to 5: a reset begins a chunk.
    assert_eq!(encodings, [histogram, histogram, ChunkEncoding::Xor, float, histogram]);
    drop(store);
    disk.power_loss();
    let store = open_with(&disk, eager());
    assert_eq!(read_counts(&store).await, expected, "from the log");
    store.maintain();
    drop(store);
    disk.power_loss();
    let store = open_with(&disk, eager());
    assert_eq!(read_counts(&store).await, expected, "from the checkpoint");
    let more = histograms(up, &[(7000, integer(1))]);
    assert_eq!(store.append(&tenant(), more).await.expect("durable").report.stored, 1);
    assert_eq!(read_counts(&store).await.len(), 7);
}

#[tokio::test]
async fn a_large_append_of_histograms_keeps_all_positions() {
    const COUNT: usize = 20_000;
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let up = series(&store, "up");
    let samples: Vec<_> = (0..COUNT).map(|i| (i as i64 * 10, integer(i as u64))).collect();
    let mut batch = histograms(up, &samples);
    batch.timestamps_ms[15_000] = NOW_MS * 2;
    for i in 0..COUNT {
        let labels = Labels::from_pairs([("trace_id", i.to_string())]);
        batch.push_exemplar(up, Exemplar { labels, value: 1.0, timestamp_ms: i as i64 });
    }
    batch.exemplars[17_000].0 = SeriesRef(up.0 + 1);
    let outcome = store.append(&tenant(), batch).await.expect("durable");
    assert_eq!((outcome.report.stored, outcome.refused), (COUNT as u64 - 1, vec![(15_000, 0)]));
    assert_eq!((outcome.exemplars.stored, outcome.stale_exemplar_refs), (COUNT as u64 - 1, vec![17_000]));
    drop(store);
    disk.power_loss();
    assert_eq!(read_counts(&open(&disk)).await.len(), COUNT - 1);
}

#[tokio::test]
async fn exemplars_are_found_by_selector_and_range_and_survive_restarts_and_checkpoints() {
    let disk = SimulatedDisk::new(0);
    let mut store = open_with(&disk, eager());
    let (up, down) = (series(&store, "up"), series(&store, "down"));
    let exemplar = |trace: &str, timestamp_ms| Exemplar {
        labels: Labels::from_pairs([("trace_id", trace)]),
        value: 0.5,
        timestamp_ms,
    };
    let mut both = batch(&[(up, 1000, 1.0), (down, 1000, 0.0)]);
    both.push_exemplar(up, exemplar("a", 900));
    both.push_exemplar(down, exemplar("b", 1000));
    both.push_exemplar(up, exemplar("c", 1000));
    both.push_exemplar(SeriesRef(u64::MAX), exemplar("d", 1000));
    both.push_exemplar(up, exemplar(&"x".repeat(200), 1100));
    let outcome = store.append(&tenant(), both).await.expect("durable");
    assert_eq!((outcome.exemplars.stored, outcome.stale_exemplar_refs), (3, vec![3]));
    assert_eq!(outcome.exemplars.rejected[0].reason, reject_reason::EXEMPLAR_LABELS_TOO_LONG);
    // Exemplars alone are an append, too.
    let mut alone = SampleBatch::default();
    alone.push_exemplar(up, exemplar("e", 2000));
    store.append(&tenant(), alone).await.expect("durable");
    let of = |name: &str, exemplars: &[(&str, i64)]| SeriesExemplars {
        labels: Labels::from_pairs([("__name__", name), ("job", "test")]),
        exemplars: exemplars.iter().map(|(trace, time)| exemplar(trace, *time)).collect(),
    };
    let selectors = [vec![Matcher::equal("__name__", "up")], vec![Matcher::equal("__name__", "down")]];
    for life in 0..3 {
        let found = store.exemplars(&tenant(), &selectors, TimeRange::new(901, 2000)).await.expect("reads");
        assert_eq!(found, [of("down", &[("b", 1000)]), of("up", &[("c", 1000), ("e", 2000)])], "life {life}");
        let only = store.exemplars(&tenant(), &selectors[..1], TimeRange::new(0, 900)).await.expect("reads");
        assert_eq!(only, [of("up", &[("a", 900)])]);
        if life == 1 {
            store.maintain();
        }
        drop(store);
        disk.power_loss();
        store = open_with(&disk, eager());
    }
}

#[tokio::test]
async fn a_checkpoint_takes_the_place_of_the_log_and_numbers_go_on() {
    let disk = SimulatedDisk::new(0);
    let mut store = open_with(&disk, eager());
    let mut expected = BTreeMap::new();
    for round in 0..20_i64 {
        for i in 0..10 {
            let name = format!("m{}", round * 3 % 10 + i);
            let series = series(&store, &name);
            let sample = (round * 1000, round as f64 + 0.5);
            store.append(&tenant(), batch(&[(series, sample.0, sample.1)])).await.expect("durable");
            expected.entry(name).or_insert_with(Vec::new).push(sample);
        }
        store.maintain();
        let entries = disk.list(Path::new("/data/metrics/default/wal")).expect("lists");
        assert!(entries.len() <= 1, "the log in front of the checkpoint is gone: {entries:?}");
        if round % 3 == 0 {
            drop(store);
            disk.power_loss();
            store = open_with(&disk, eager());
        }
        assert_eq!(read_all(&store).await, expected, "round {round}");
    }
}

/// Records of a checkpoint with series `m<number>` of these numbers in the first shard, each with a sample.
fn checkpoint_of(series_numbers: &[u32]) -> Vec<Vec<u8>> {
    let next = series_numbers.last().map_or(0, |last| last + 1);
    let shards = [next; 8];
    let mut numbers = vec![NUMBERS];
    put_end(&mut numbers, &shards);
    let (mut names, mut chunks, mut end) = (vec![SERIES], vec![CHUNKS], vec![END]);
    for local in series_numbers {
        let name = format!("m{local}");
        put_series(&mut names, 0, *local, [("__name__", name.as_str())].into_iter());
        let (mut appender, mut data) = (XorAppender::EMPTY, Vec::new());
        appender.append(&mut data, 1000, f64::from(*local));
        let item =
            ChunkItem { shard: 0, local: *local, encoding: 1, min_ms: 1000, max_ms: 1000, data: &data };
        put_chunk(&mut chunks, &item);
    }
    put_end(&mut end, &shards);
    vec![numbers, names, chunks, end]
}

fn write_checkpoint(disk: &SimulatedDisk, records: &[Vec<u8>]) {
    let dir = Path::new("/data/metrics/default");
    disk.create_dir_all(dir).expect("made");
    let mut writer = CheckpointWriter::begin(disk, dir, 0).expect("begins");
    records.iter().for_each(|record| writer.add(record).expect("written"));
    writer.finish().expect("durable");
}

#[tokio::test]
async fn series_are_kept_however_many_were_forgotten_between_them() {
    let disk = SimulatedDisk::new(0);
    write_checkpoint(&disk, &checkpoint_of(&[0, 1_100_000, 5_000_000]));
    let found = read_all(&open(&disk)).await;
    let expected =
        [0, 1_100_000, 5_000_000].map(|local| (format!("m{local}"), vec![(1000, f64::from(local))]));
    assert_eq!(found, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_record_of_an_unknown_kind_refuses_the_start_and_is_kept() {
    let disk = SimulatedDisk::new(0);
    let mut records = checkpoint_of(&[0]);
    records.insert(3, b"\x63of a newer version".to_vec());
    write_checkpoint(&disk, &records);
    let clock = Arc::new(ManualClock::at_ns(NOW_MS * 1_000_000));
    let dir = PathBuf::from("/data/metrics");
    let opened = Tsdb::open(Arc::new(disk.clone()), dir, settings(), Tasks::new(), clock);
    let error = opened.err().expect("another version's record").to_string();
    assert!(error.contains("its kind is not known") && error.contains("another version"), "{error}");
}

#[tokio::test]
async fn an_append_with_histograms_above_the_size_of_a_record_survives_a_kill() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    // 12 kB each, 84 MB in all.
    let wide = |count: u64| {
        let buckets = 6000;
        let deltas = (0..buckets).map(|i| if i % 2 == 0 { 8000 } else { -8000 }).collect();
        NativeHistogram::Integer(Arc::new(IntegerHistogram {
            schema: 2,
            count,
            positive: IntegerBuckets { spans: vec![BucketSpan { offset: 0, length: buckets }], deltas },
            ..IntegerHistogram::default()
        }))
    };
    let count = 3000 * 8000;
    let all: Vec<_> = (0..7000).map(|i| (1000 + i, wide(count))).collect();
    let up = series(&store, "up");
    let outcome = store.append(&tenant(), histograms(up, &all)).await.expect("durable");
    assert_eq!((outcome.report.stored, outcome.report.rejected_count()), (7000, 0));
    drop(store);
    disk.power_loss();
    let store = open_with(&disk, eager());
    let expected: Vec<_> = (0..7000).map(|i| (1000 + i, count as f64)).collect();
    assert!(read_counts(&store).await == expected);
    // And through a checkpoint.
    store.maintain();
    drop(store);
    assert!(read_counts(&open(&disk)).await == expected);
}

#[tokio::test]
async fn a_histogram_too_large_for_a_chunk_is_refused_with_its_size() {
    let store = open(&SimulatedDisk::new(0));
    let buckets = 300_000;
    let huge = NativeHistogram::Integer(Arc::new(IntegerHistogram {
        schema: 2,
        count: 1,
        positive: IntegerBuckets {
            spans: vec![BucketSpan { offset: 0, length: buckets }],
            deltas: (0..buckets).map(|i| i64::from(i == 299_999)).collect(),
        },
        ..IntegerHistogram::default()
    }));
    let up = series(&store, "up");
    let report = store.append(&tenant(), histograms(up, &[(1000, huge)])).await.expect("answers").report;
    assert_eq!((report.stored, report.rejected_count()), (0, 1));
    let rejection = &report.rejected[0];
    assert_eq!(rejection.reason, reject_reason::INVALID_HISTOGRAM);
    assert!(rejection.message.contains("at most 262144 are allowed"), "{}", rejection.message);
}

#[tokio::test]
async fn a_checkpoint_holds_any_number_of_exemplars() {
    let disk = SimulatedDisk::new(0);
    let plenty = || TsdbSettings { exemplars_max: 1 << 20, ..eager() };
    let store = open_with(&disk, plenty());
    let up = series(&store, "up");
    // 64 MiB of labels and more.
    let mut batch = SampleBatch::default();
    batch.push(up, 1000, 1.0);
    for i in 0..600_000 {
        let labels = Labels::from_pairs([("trace_id", format!("{i:0120}"))]);
        batch.exemplars.push((up, Exemplar { labels, value: 1.0, timestamp_ms: 1000 + i }));
    }
    let outcome = store.append(&tenant(), batch).await.expect("durable");
    assert_eq!((outcome.exemplars.stored, outcome.exemplars.rejected_count()), (600_000, 0));
    store.maintain();
    drop(store);
    let store = open_with(&disk, plenty());
    let found = store.exemplars(&tenant(), &[vec![Matcher::equal("__name__", "up")]], TimeRange::ALL).await;
    let found = found.expect("reads");
    assert_eq!(found.iter().map(|series| series.exemplars.len()).sum::<usize>(), 600_000);
}

//! A bucket's blocks through the whole way: header, cache, selection, batches, merge.

use std::collections::BTreeMap;
use std::sync::Arc;

use bucket::{Bucket, Source, ThanosMeta, upload_block};
use format::{
    Aggregate as FileAggregate, AggregateChunk, BlockMeta, ChunkSample, ENCODING_AGGREGATE, Recoder,
};
use model::{Labels, Matcher, TimeRange};
use object_store::memory::InMemory;
use runtime::{Disk, LocalDisk, ManualClock, Tasks};
use tokio::runtime::Handle;
use tsdb::block::{BlockChunk, BlockWriter};
use ulid::Ulid;

use super::{BucketStoreHandle, BucketStoreSettings};
use crate::merge::Merged;
use crate::select::StoreSelect;
use crate::series_frame::{AggrChunk, Aggregate, StoreSeries};
use crate::testing::{labels, samples};

const STEP_MS: i64 = 15_000;

/// A chunk by its times, encoding and bytes.
type Written = (TimeRange, u8, Vec<u8>);

struct Place {
    bucket: Bucket,
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    tasks: Tasks,
}

impl Place {
    fn new() -> Self {
        Self {
            bucket: Bucket::new(Arc::new(InMemory::new()), "memory", Handle::current()),
            dir: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(ManualClock::at_ns(1_700_000_000_000_000_000)),
            tasks: Tasks::new(),
        }
    }

    /// Puts a block into the bucket.
    async fn block(
        &self,
        number: u128,
        range: (i64, i64),
        external: &[(&str, &str)],
        resolution_ms: i64,
        series: BTreeMap<Labels, Vec<Written>>,
    ) {
        let (bucket, dir, clock) = (self.bucket.clone(), self.dir.path().to_owned(), Arc::clone(&self.clock));
        let external: BTreeMap<String, String> =
            external.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let work = move || {
            let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
            let mut writer = BlockWriter::create(&disk, &dir, Ulid(number)).expect("a folder of its own");
            for (labels, chunks) in &series {
                let chunk = |(range, encoding, data): &'_ Written| (*range, *encoding, data.clone());
                let chunks: Vec<Written> = chunks.iter().map(chunk).collect();
                let chunks: Vec<BlockChunk<'_>> = chunks
                    .iter()
                    .map(|(range, encoding, data)| BlockChunk { range: *range, encoding: *encoding, data })
                    .collect();
                writer.add_series(labels, &chunks).expect("in order");
            }
            writer.finish(BlockMeta::new(Ulid(number), range.0, range.1)).expect("the disk has room");
            let thanos = ThanosMeta::new(external, resolution_ms, Source::Receive);
            let folder = dir.join(Ulid(number).to_string());
            upload_block(&bucket, &*disk, &*clock, &folder, thanos, &mut |_| {}).expect("memory takes it");
        };
        self.tasks.spawn_blocking("test-block", work).await.expect("it does not panic");
    }

    fn start(&self, settings: BucketStoreSettings) -> BucketStoreHandle {
        let settings = BucketStoreSettings { folder: self.dir.path().join("headers"), ..settings };
        let clock = Arc::clone(&self.clock);
        BucketStoreHandle::start(self.bucket.clone(), Arc::new(LocalDisk), settings, clock, &self.tasks)
    }
}

/// Raw series: `count` of them, a sample each step whose value is its time and the series' number.
fn raw(count: i64, (from, until): (i64, i64)) -> BTreeMap<Labels, Vec<Written>> {
    let mut series = BTreeMap::new();
    for number in 0..count {
        let mut recoder = Recoder::default();
        for time in (from..until).step_by(STEP_MS as usize) {
            recoder.push(time, &ChunkSample::Float((time + number) as f64));
        }
        let n = format!("{number:05}");
        series.insert(labels(&[("__name__", "up"), ("n", &n), ("replica", "inner")]), recoder.finish());
    }
    series
}

fn up() -> StoreSelect {
    StoreSelect {
        range: TimeRange::ALL,
        matchers: vec![Matcher::equal("__name__", "up")],
        without: Vec::new(),
        shard: None,
        skip_chunks: false,
        limit: 0,
        resolution_ms: 0,
        aggregates: Vec::new(),
    }
}

async fn all(store: &BucketStoreHandle, select: &StoreSelect) -> Vec<StoreSeries> {
    let streams = store.known().await.select(select).await.expect("the bucket answers");
    let mut merged = Merged::new(streams);
    let mut found = Vec::new();
    loop {
        match merged.next().await {
            Ok(Some(series)) => found.push(series),
            Ok(None) => return found,
            Err(failed) => panic!("{}", failed.message),
        }
    }
}

fn points(series: &StoreSeries) -> Vec<(i64, f64)> {
    let raw = series.chunks.iter().map(|chunk| chunk.raw.as_ref().expect("raw"));
    raw.flat_map(|part| samples(part.encoding, &part.data)).collect()
}

const HOUR: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_of_every_block_is_found_once_with_its_labels() {
    let place = Place::new();
    place.block(1, (0, 2 * HOUR), &[("replica", "a")], 0, raw(3000, (0, 2 * HOUR))).await;
    place.block(2, (2 * HOUR, 4 * HOUR), &[("replica", "a")], 0, raw(2000, (2 * HOUR, 4 * HOUR))).await;
    // With hardly any memory the answer is the same.
    for cache_bytes in [0, 256 << 20] {
        let store = place.start(BucketStoreSettings { cache_bytes, ..BucketStoreSettings::default() });
        let found = all(&store, &up()).await;
        assert_eq!(found.len(), 3000);
        assert!(found.is_sorted_by(|a, b| a.labels < b.labels));
        for (number, series) in (0..).zip(&found) {
            let until = if number < 2000 { 4 * HOUR } else { 2 * HOUR };
            let n = format!("{number:05}");
            assert_eq!(series.labels, labels(&[("__name__", "up"), ("n", &n), ("replica", "a")]));
            let want: Vec<(i64, f64)> =
                (0..until).step_by(STEP_MS as usize).map(|time| (time, (time + number) as f64)).collect();
            assert!(points(series) == want, "series {number}");
        }
        let some = StoreSelect {
            range: TimeRange::new(3 * HOUR, 3 * HOUR + 1),
            without: vec!["replica".to_owned()],
            limit: 7,
            ..up()
        };
        let found = all(&store, &some).await;
        assert_eq!(found.len(), 7);
        assert_eq!(found[6].labels, labels(&[("__name__", "up"), ("n", "00006")]));
        assert!(found.iter().all(|series| series.chunks.len() == 1));
        let only = StoreSelect { skip_chunks: true, ..up() };
        assert_eq!(all(&store, &only).await.len(), 3000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn external_labels_answer_matchers_and_show_among_names_and_values() {
    let place = Place::new();
    place.block(1, (0, HOUR), &[("cluster", "one")], 0, raw(2, (0, HOUR))).await;
    place.block(2, (0, HOUR), &[("cluster", "two")], 0, raw(3, (0, HOUR))).await;
    let handle = place.start(BucketStoreSettings::default());
    let of = |cluster: &str| {
        let mut select = up();
        select.matchers.push(Matcher::equal("cluster", cluster));
        select
    };
    assert_eq!(all(&handle, &of("two")).await.len(), 3);
    assert_eq!(all(&handle, &of("three")).await.len(), 0);
    let store = handle.known().await;
    let only = StoreSelect { matchers: vec![Matcher::equal("cluster", "one")], ..up() };
    assert!(store.select(&only).await.is_err(), "matchers on external labels alone are refused");
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts.dedup();
        texts
    };
    let names = store.label_names(TimeRange::ALL, &[]).await.expect("the bucket answers");
    assert_eq!(sorted(names), ["__name__", "cluster", "n", "replica"]);
    let values = |name: &'static str, matchers: Vec<Matcher>| async move {
        sorted(store.label_values(name, TimeRange::ALL, &matchers).await.expect("the bucket answers"))
    };
    assert_eq!(values("cluster", vec![]).await, ["one", "two"]);
    assert_eq!(values("cluster", vec![Matcher::equal("n", "00002")]).await, ["two"]);
    assert_eq!(values("n", vec![Matcher::equal("cluster", "one")]).await, ["00000", "00001"]);
    let contents = store.contents().expect("it was listed");
    let one = (labels(&[("cluster", "one")]), TimeRange::new(0, HOUR - 1));
    assert_eq!(contents[0], one);
}

/// One chunk of windows: its count and sum.
fn windows(range: (i64, i64)) -> Written {
    let part = |values: &[(i64, f64)]| crate::testing::xor(values).data.to_vec();
    let (count, sum) = (part(&[range].map(|(from, _)| (from, 20.0))), part(&[(range.0, 100.0)]));
    let mut chunk = AggregateChunk::default();
    chunk.set(FileAggregate::Count, 1, &count);
    chunk.set(FileAggregate::Sum, 1, &sum);
    let mut data = Vec::new();
    chunk.encode(&mut data);
    (TimeRange::new(range.0, range.0), ENCODING_AGGREGATE, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_chosen_by_resolution_with_the_aggregates_that_are_wanted() {
    let place = Place::new();
    place.block(1, (0, HOUR), &[("c", "x")], 0, raw(1, (0, HOUR))).await;
    place.block(2, (HOUR, 2 * HOUR), &[("c", "x")], 0, raw(1, (HOUR, 2 * HOUR))).await;
    let name = labels(&[("__name__", "up"), ("n", "00000"), ("replica", "inner")]);
    let coarse = BTreeMap::from([(name, vec![windows((0, HOUR))])]);
    place.block(3, (0, HOUR), &[("c", "x")], 300_000, coarse).await;
    let store = place.start(BucketStoreSettings::default());
    let aggregates = vec![Aggregate::Count, Aggregate::Max];
    let select = StoreSelect { resolution_ms: 600_000, aggregates, ..up() };
    let found = all(&store, &select).await;
    let AggrChunk { raw, aggregates, .. } = &found[0].chunks[0];
    let aggregates = aggregates.as_ref().expect("windows of the first hour");
    let count = aggregates[0].as_ref().expect("it is wanted and there");
    assert_eq!(samples(count.encoding, &count.data), [(0, 20.0)]);
    assert!(raw.is_none() && aggregates[1].is_none(), "the sum is not wanted");
    assert!(aggregates[3].is_none(), "a maximum is not there");
    assert!(found[0].chunks[1..].iter().all(|chunk| chunk.raw.is_some()), "samples of the second hour");
    let fine = all(&store, &StoreSelect { resolution_ms: 0, ..select }).await;
    assert_eq!(points(&fine[0]).len() as i64, 2 * HOUR / STEP_MS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_read_fails_the_queries_that_need_it_and_no_others() {
    let place = Place::new();
    place.block(1, (0, HOUR), &[("c", "x")], 0, raw(50, (0, HOUR))).await;
    place.block(2, (HOUR, 2 * HOUR), &[("c", "x")], 0, raw(50, (HOUR, 2 * HOUR))).await;
    let name = format!("{}/index", Ulid(2));
    let mut index = place.bucket.get(&name, 1 << 30).await.expect("it is there").to_vec();
    // Inside the series: the first entry's content.
    let at = index.len() / 3;
    index[at] ^= 0xff;
    place.bucket.put(&name, index).await.expect("memory takes it");
    let handle = place.start(BucketStoreSettings::default());
    let good = StoreSelect { range: TimeRange::new(0, HOUR - 1), ..up() };
    assert_eq!(all(&handle, &good).await.len(), 50);
    let store = handle.known().await;
    let error = store.select(&up()).await.err().expect("block 2 is damaged");
    assert_eq!(error.kind(), model::ErrorKind::Corrupt, "{error}");
    assert_eq!(all(&handle, &good).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_is_an_error_and_not_an_empty_answer() {
    let place = Place::new();
    // Nothing listens there.
    let config = serde_json::json!({"type": "S3", "config": {"bucket": "b", "endpoint": "127.0.0.1:1", "insecure": true,
        "access_key": "a", "secret_key": "s", "max_retries": 0}});
    let config: bucket::BucketConfig = serde_json::from_value(config).expect("a config");
    let bucket = config.open(Handle::current()).expect("opening asks nothing");
    let handle = Place { bucket, ..place }.start(BucketStoreSettings::default());
    let store = handle.known().await;
    let error = store.select(&up()).await.err().expect("it was never listed");
    assert_eq!(error.kind(), model::ErrorKind::Unavailable);
    assert!(error.to_string().contains("the bucket cannot be served"), "{error}");
    assert!(store.contents().is_err());
}

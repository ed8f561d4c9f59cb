//! Whole runs over buckets in memory: what they end in, and that faults of the store at any moment change nothing of it.

mod faulty;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bucket::{BlockDisk, Bucket, BucketBlock, Source, ThanosMeta, upload_block};
use format::{BlockMeta, ChunkSample, Recoder};
use model::{Labels, TimeRange};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use runtime::{Clock, Disk, LocalDisk, ManualClock};
use tokio::runtime::{Builder, Runtime};
use tsdb::block::{BlockChunk, BlockReader, BlockWriter, walk_samples};
use ulid::Ulid;

use super::{Compactor, Done};
use crate::settings::{CompactorSettings, Merging};
use crate::watch::Unwatched;
use faulty::Faulty;

const H: i64 = 3_600_000;

/// A bucket with what works on it.
struct Place {
    runtime: Runtime,
    store: Arc<InMemory>,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

type Samples = BTreeMap<(String, i64), u64>;

impl Place {
    fn new() -> Self {
        Self {
            runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"),
            store: Arc::new(InMemory::new()),
            clock: Arc::new(ManualClock::at_ns(1_700_000_000_000_000_000)),
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    fn bucket(&self, store: Arc<dyn ObjectStore>) -> Bucket {
        Bucket::new(store, "memory", self.runtime.handle().clone())
    }

    fn settings(&self) -> CompactorSettings {
        CompactorSettings {
            work_dir: self.dir.path().join("work"),
            replica_labels: vec!["replica".to_owned()],
            merging: Merging::Penalty,
            consistency_delay_ms: 0,
            delete_delay_ms: 0,
            ..CompactorSettings::default()
        }
    }

    fn compactor(&self, store: Arc<dyn ObjectStore>) -> Compactor {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Compactor::new(self.bucket(store), clock, self.settings()).expect("its settings are good")
    }

    fn run(&self) -> Done {
        // Marks of this moment are removed in the next.
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
        let done = self.compactor(store).run(&Unwatched).expect("the store has no faults");
        self.clock.set_ns(self.clock.now_ns() + 2_000_000_000);
        done
    }

    /// A block of two hours: five series, a sample a minute.
    fn block(&self, number: u128, replica: &str, hour: i64, offset_ms: i64) {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let dir = self.dir.path().join("made");
        LocalDisk.create_dir_all(&dir).expect("a folder");
        let mut writer = BlockWriter::create(&disk, &dir, Ulid(number)).expect("a folder of its own");
        for series in 0..5_i64 {
            let mut recoder = Recoder::default();
            for time in (hour * H + offset_ms..(hour + 2) * H).step_by(60_000) {
                recoder.push(time, &ChunkSample::Float((time / 1000 * (series + 1) % 100_003) as f64));
            }
            let written = recoder.finish();
            let chunks: Vec<BlockChunk<'_>> = written
                .iter()
                .map(|(range, encoding, data)| BlockChunk { range: *range, encoding: *encoding, data })
                .collect();
            let labels = Labels::from_pairs([("__name__", "x".to_owned()), ("series", series.to_string())]);
            writer.add_series(&labels, &chunks).expect("in order");
        }
        writer.finish(BlockMeta::new(Ulid(number), hour * H, (hour + 2) * H)).expect("the disk has room");
        let labels = [("cluster".to_owned(), "c".to_owned()), ("replica".to_owned(), replica.to_owned())];
        let thanos = ThanosMeta::new(labels.into(), 0, Source::Receive);
        let folder = dir.join(Ulid(number).to_string());
        let bucket = self.bucket(Arc::clone(&self.store) as _);
        upload_block(&bucket, &*disk, &*self.clock, &folder, thanos, &mut |_| {}).expect("memory takes it");
    }

    /// Two replicas over so many blocks of two hours, each away for some.
    fn fill(&self, blocks: i64) {
        for step in 0..blocks {
            let number = u128::try_from(step).expect("it is positive");
            if step != 4 {
                self.block(100 + number, "a", step * 2, 0);
            }
            if !(9..12).contains(&step) {
                self.block(200 + number, "b", step * 2, 4000);
            }
        }
    }

    fn blocks(&self) -> Vec<BucketBlock> {
        self.compactor(Arc::clone(&self.store) as _).view().expect("no faults").blocks
    }

    /// Time range, resolution and sources of each block that is not marked.
    fn shape(&self) -> BTreeSet<(i64, i64, i64, Vec<Ulid>)> {
        let left = self.blocks().into_iter().filter(|block| block.deletion.is_none());
        left.map(|block| {
            let meta = &block.meta;
            let hours = (meta.min_time / H, meta.max_time / H);
            (hours.0, hours.1, block.thanos.resolution_ms(), meta.compaction.sources.clone())
        })
        .collect()
    }

    /// All raw samples of blocks that are not marked.
    fn samples(&self) -> Samples {
        let bucket = self.bucket(Arc::clone(&self.store) as _);
        let readers: Vec<Arc<BlockReader>> = self
            .blocks()
            .iter()
            .filter(|block| block.deletion.is_none() && block.thanos.resolution_ms() == 0)
            .map(|block| {
                let disk = BlockDisk::new(&bucket, block, 4096);
                Arc::new(BlockReader::open(&disk, Path::new(&block.ulid().to_string())).expect("it is whole"))
            })
            .collect();
        let mut found = Samples::new();
        walk_samples(&readers, &[], TimeRange::ALL, |labels, time, sample| {
            let ChunkSample::Float(value) = sample else { panic!("only floats were written") };
            found.insert((labels.to_string(), time), value.to_bits());
            Ok(())
        })
        .expect("they are whole");
        found
    }
}

#[test]
fn a_bucket_of_two_replicas_becomes_long_blocks_with_windows() {
    let place = Place::new();
    place.fill(26);
    let done = place.run();
    assert_eq!((done.failed, done.left_out), (0, 0), "{done:?}");
    let shape: Vec<(i64, i64, i64)> =
        place.shape().iter().map(|(from, to, ms, _)| (*from, *to, *ms)).collect();
    // The newest two hours stay, those before wait for eight to be full.
    assert_eq!(shape, [(0, 48, 0), (0, 48, 300_000), (48, 50, 0), (50, 52, 0)]);
    let long: Vec<Ulid> = place.shape().first().expect("it is the first").3.clone();
    assert_eq!(long.len(), 23 + 21, "a long block names every block of level 1 that is in it");
    // A sample a minute of one of the two at each time, none of both.
    let samples = place.samples();
    let times: Vec<i64> =
        samples.keys().filter(|(labels, _)| labels.contains("\"0\"")).map(|key| key.1).collect();
    assert!((3080..=3120).contains(&times.len()), "{}", times.len());
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 53_000 && pair[1] - pair[0] <= 190_000));
    let again = place.run();
    assert_eq!((again.compacted, again.downsampled, again.marked), (0, 0, 0));
    assert_eq!(place.blocks().len(), 4, "marked blocks are gone");
}

#[test]
fn faults_of_the_store_at_any_moment_change_nothing_of_the_end() {
    let (expected, shape) = {
        let place = Place::new();
        place.fill(8);
        place.run();
        (place.samples(), place.shape())
    };
    for seed in 0..3 {
        let place = Place::new();
        place.fill(8);
        let mut rounds = 0;
        // Each round fails about one in 150 requests, and ends by itself or by an error; each is a new process.
        loop {
            rounds += 1;
            let faulty = Arc::new(Faulty::new(Arc::clone(&place.store) as _, seed * 1000 + rounds, 150));
            let result = place.compactor(Arc::clone(&faulty) as _).run(&Unwatched);
            place.clock.set_ns(place.clock.now_ns() + 2_000_000_000);
            let is_clean = result.is_ok_and(|done| done.failed == 0) && faulty.faults() == 0;
            if is_clean || rounds == 300 {
                break;
            }
        }
        assert!(rounds < 300, "seed {seed} does not come to an end");
        place.run();
        place.run();
        assert_eq!(place.shape(), shape, "seed {seed}");
        assert_eq!(place.samples(), expected, "seed {seed}");
    }
}

#[test]
fn a_damaged_block_is_left_out_with_its_reason_and_the_rest_goes_on() {
    let place = Place::new();
    place.fill(14);
    let name = object_store::path::Path::from(format!("{}/chunks/000001", Ulid(103)));
    let bucket = place.bucket(Arc::clone(&place.store) as _);
    let mut bytes = bucket.wait(bucket.get(name.as_ref(), 1 << 20)).expect("it is there").to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    bucket.wait(bucket.put(name.as_ref(), bytes)).expect("memory takes it");
    let done = place.run();
    assert_eq!((done.failed, done.left_out), (1, 1), "{done:?}");
    let blocks = place.blocks();
    let damaged = blocks.iter().find(|block| block.ulid() == Ulid(103)).expect("it is not removed");
    let mark = damaged.no_compact.as_ref().expect("it is marked");
    assert!(mark.details.contains("checksum"), "{mark:?}");
    assert_eq!(damaged.deletion, None);
    assert!(blocks.iter().any(|block| block.meta.max_time - block.meta.min_time == 8 * H));
    assert_eq!(place.run().failed, 0, "it is not tried again");
}

/// Longer than leftovers are kept, counted from now: memory takes the time of the machine.
const LATER_NS: i64 = 4_000_000_000_000_000_000;

#[test]
fn a_block_whose_description_is_not_found_once_is_neither_removed_nor_forgotten() {
    let place = Place::new();
    place.block(1, "a", 0, 0);
    place.clock.set_ns(LATER_NS);
    let hidden = object_store::path::Path::from(format!("{}/meta.json", Ulid(1)));
    let store = Arc::new(Faulty::hiding(Arc::clone(&place.store) as _, hidden));
    let compactor = place.compactor(store);
    let first = compactor.view().expect("a listing");
    assert_eq!((first.blocks.len(), first.partial.len()), (0, 1));
    assert_eq!(compactor.due(&first).leftovers, [], "its description is in the listing");
    assert_eq!(compactor.view().expect("a listing").blocks.len(), 1, "it is asked for again");
}

#[test]
fn only_a_folder_without_a_description_is_a_leftover() {
    let place = Place::new();
    place.clock.set_ns(LATER_NS);
    let bucket = place.bucket(Arc::clone(&place.store) as _);
    let put = |number: u128, name: &str, bytes: &[u8]| {
        let name = format!("{}/{name}", Ulid(number));
        bucket.wait(bucket.put(&name, bytes.to_vec())).expect("memory takes it");
    };
    put(1, "index", b"cut");
    put(2, "index", b"whole");
    let later = br#"{"version":1,"minTime":0,"maxTime":1,"thanos":{"version":2}}"#;
    put(2, "meta.json", later);
    let compactor = place.compactor(Arc::clone(&place.store) as _);
    let mut done = Done::default();
    compactor.clean(&Unwatched, &mut done).expect("memory has no faults");
    assert_eq!(done.cleaned, 1);
    let left: Vec<u128> = compactor.view().expect("a view").partial.iter().map(|p| p.ulid.0).collect();
    assert_eq!(left, [2], "what nobody here can read stays");
}

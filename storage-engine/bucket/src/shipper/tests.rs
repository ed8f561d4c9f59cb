//! Uploads of local blocks, with failures in the middle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{BlockMeta, Tombstones};
use model::{ErrorKind, TimeRange};
use object_store::memory::InMemory;
use runtime::{Clock, Disk, LocalDisk, ManualClock, Tasks};
use tokio::runtime::{Builder, Runtime};
use ulid::Ulid;

use super::{Shipper, ShipperState};
use crate::{Bucket, Fetcher};

struct Place {
    runtime: Runtime,
    bucket: Bucket,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let bucket = Bucket::new(Arc::new(InMemory::new()), "memory", runtime.handle().clone());
        Self { runtime, bucket, dir: tempfile::tempdir().expect("a folder") }
    }

    fn folder(&self, number: u128) -> PathBuf {
        self.dir.path().join(Ulid(number).to_string())
    }

    fn block(&self, number: u128, min_time: i64, level: u32, samples: u64) {
        let mut meta = BlockMeta::new(Ulid(number), min_time, min_time + 10);
        meta.compaction.level = level;
        meta.stats.num_samples = samples;
        self.write(&meta);
    }

    /// A block of level 2 in place of those of level 1 that it was made of.
    fn compact(&self, number: u128, of: &[u128]) {
        let ulids: Vec<Ulid> = of.iter().map(|number| Ulid(*number)).collect();
        let read = |ulid: &Ulid| {
            let bytes = std::fs::read(self.folder(ulid.0).join("meta.json")).expect("it is there");
            BlockMeta::decode(&bytes).expect("it is one")
        };
        let parents: Vec<BlockMeta> = ulids.iter().map(read).collect();
        let min_time = parents.iter().map(|meta| meta.min_time).min().expect("there is one");
        let max_time = parents.iter().map(|meta| meta.max_time).max().expect("there is one");
        let mut meta = BlockMeta::new(Ulid(number), min_time, max_time);
        meta.compaction.level = 1 + parents.iter().map(|meta| meta.compaction.level).max().expect("one");
        meta.compaction.sources = parents.iter().flat_map(|meta| meta.compaction.sources.clone()).collect();
        meta.compaction.parents = parents.iter().map(BlockMeta::desc).collect();
        meta.stats.num_samples = 5;
        self.write(&meta);
        of.iter().for_each(|number| std::fs::remove_dir_all(self.folder(*number)).expect("it is there"));
    }

    fn write(&self, meta: &BlockMeta) {
        let folder = self.folder(meta.ulid.0);
        LocalDisk.create_dir_all(&folder.join("chunks")).expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join(name), bytes).expect("it can be written");
        };
        write("chunks/000001", b"chunks");
        write("index", b"index");
        write("tombstones", &Tombstones::default().encode());
        write("meta.json", &meta.encode());
    }

    fn sync(&self) -> crate::BucketResult<usize> {
        self.shipper(false).sync().map(|shipped| shipped.blocks)
    }

    fn shipper(&self, upload_compacted: bool) -> Shipper {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_ns(1_700_000_000_123_000_000));
        let labels = BTreeMap::from([("cluster".to_owned(), "c".to_owned())]);
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let dir = self.dir.path().to_owned();
        Shipper::new(self.bucket.clone(), disk, clock, dir, labels, upload_compacted)
    }

    fn uploaded(&self) -> Vec<u128> {
        let view = self.runtime.block_on(Fetcher::new(self.bucket.clone()).fetch()).expect("a view");
        view.blocks.iter().map(|block| block.ulid().0).collect()
    }

    fn state(&self, dir: &Path) -> ShipperState {
        ShipperState::read(&LocalDisk, dir)
    }
}

#[test]
fn finished_blocks_are_uploaded_once_with_all_that_thanos_wants_to_know() {
    let place = Place::new();
    place.block(2, 0, 1, 5);
    place.block(1, 10, 1, 5);
    place.block(3, 20, 2, 5);
    place.block(4, 30, 1, 0);
    assert_eq!(place.sync().expect("it goes"), 2);
    assert_eq!(place.uploaded(), [2, 1], "neither compacted nor empty blocks are uploaded");
    assert_eq!(place.sync().expect("it goes"), 0);

    let view = place.runtime.block_on(Fetcher::new(place.bucket.clone()).fetch()).expect("a view");
    let block = &view.blocks[0];
    assert_eq!(block.thanos.source, "receive");
    assert_eq!(block.thanos.labels["cluster"], "c");
    assert_eq!(block.thanos.segment_files, ["000001"]);
    let files: Vec<(&str, u64)> =
        block.thanos.files.iter().map(|file| (file.rel_path.as_str(), file.size_bytes)).collect();
    assert_eq!(files, [("chunks/000001", 6), ("index", 5), ("meta.json", 0)]);
    assert_eq!(block.thanos.upload_time.expect("a time").to_rfc3339(), "2023-11-14T22:13:20.123+00:00");
    let objects: Vec<&str> = block.objects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(objects, ["chunks/000001", "index", "meta.json"], "tombstones stay at home");
}

#[test]
fn a_lost_or_damaged_list_of_uploads_uploads_nothing_twice() {
    let place = Place::new();
    place.block(1, 0, 1, 5);
    assert_eq!(place.sync().expect("it goes"), 1);
    let path = place.dir.path().join("thanos.shipper.json");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json, serde_json::json!({"version": 1, "uploaded": [Ulid(1).to_string()]}));
    for damage in ["", "{", "{\"version\":1,\"uploaded\":null}", "{\"version\":9,\"uploaded\":[]}"] {
        std::fs::write(&path, damage).expect("it can be written");
        assert_eq!(place.sync().expect("it goes"), 0, "{damage}");
        assert!(place.state(place.dir.path()).has(Ulid(1)));
    }
}

#[test]
fn a_block_that_cannot_be_uploaded_keeps_newer_ones_waiting_and_loses_nothing() {
    let place = Place::new();
    place.block(1, 0, 1, 5);
    place.block(2, 10, 1, 5);
    place.block(3, 20, 1, 5);
    let index = place.dir.path().join(Ulid(2).to_string()).join("index");
    std::fs::remove_file(&index).expect("it is there");
    assert!(place.sync().is_err());
    assert_eq!(place.uploaded(), [1]);
    std::fs::write(&index, b"index").expect("it can be written");
    assert_eq!(place.sync().expect("it goes"), 2);
    assert_eq!(place.uploaded(), [1, 2, 3]);
}

#[test]
fn compacted_blocks_count_as_uploaded_when_all_that_is_in_them_was() {
    let place = Place::new();
    (1..=3).for_each(|number| place.block(number, 10 * number as i64, 1, 5));
    assert_eq!(place.sync().expect("it goes"), 3);
    // Twice between two looks, so that nobody ever saw the block in between.
    place.compact(4, &[1, 2]);
    place.compact(5, &[4, 3]);
    assert_eq!(place.sync().expect("it goes"), 0);
    assert!(place.state(place.dir.path()).has(Ulid(5)), "retention may remove it");
    place.block(6, 100, 1, 5);
    place.sync().expect("it goes");
    place.compact(7, &[5, 6]);
    place.sync().expect("it goes");
    assert!(place.state(place.dir.path()).has(Ulid(7)));
    // A lost list: the bucket tells.
    std::fs::remove_file(place.dir.path().join("thanos.shipper.json")).expect("it is there");
    assert_eq!(place.sync().expect("it goes"), 0);
    assert!(place.state(place.dir.path()).has(Ulid(7)));
    assert_eq!(place.uploaded(), [1, 2, 3, 6]);
}

#[test]
fn compacted_blocks_that_are_nowhere_else_are_uploaded_when_asked_for() {
    let place = Place::new();
    place.block(1, 0, 2, 5);
    place.block(2, 10, 1, 5);
    // It overlaps with the second, which a compactor of the bucket may not take.
    place.block(3, 12, 2, 5);
    assert_eq!(place.sync().expect("it goes"), 1);
    assert!(!place.state(place.dir.path()).has(Ulid(1)));
    assert_eq!(place.shipper(true).sync().expect("it goes").blocks, 1);
    assert_eq!(place.uploaded(), [1, 2]);
    let state = place.state(place.dir.path());
    assert_eq!((state.has(Ulid(1)), state.has(Ulid(3))), (true, false));
}

#[test]
fn a_block_with_deletions_is_not_uploaded_before_they_are_cleaned() {
    let place = Place::new();
    place.block(1, 0, 1, 5);
    place.block(2, 10, 1, 5);
    assert_eq!(place.sync().expect("it goes"), 2);
    let delete = |number: u128| {
        let mut stones = Tombstones::default();
        stones.add(1, TimeRange::new(0, 5));
        std::fs::write(place.folder(number).join("tombstones"), stones.encode()).expect("it can be written");
    };
    delete(1);
    assert!(!place.shipper(false).has_deletions().expect("a good disk"), "what is uploaded stays as it is");
    place.block(3, 20, 1, 5);
    delete(3);
    assert!(place.shipper(false).has_deletions().expect("a good disk"));
    assert_eq!(place.sync().expect_err("not as it is").kind(), ErrorKind::Conflict);
    // What cleaning makes: a new block that names the old one as its parent.
    for (old, new) in [(1, 4), (3, 5)] {
        let meta = std::fs::read(place.folder(old).join("meta.json")).expect("it is there");
        let old_meta = BlockMeta::decode(&meta).expect("it is one");
        let mut meta = BlockMeta::new(Ulid(new), old_meta.min_time, old_meta.max_time);
        meta.compaction.parents = vec![old_meta.desc()];
        meta.stats.num_samples = 4;
        place.write(&meta);
        std::fs::remove_dir_all(place.folder(old)).expect("it is there");
    }
    assert!(!place.shipper(false).has_deletions().expect("a good disk"));
    assert_eq!(place.sync().expect("it goes"), 1);
    assert_eq!(place.uploaded(), [1, 2, 5], "the cleaned form of an uploaded block does not follow it");
}

#[test]
fn an_upload_ends_with_the_process() {
    let place = Place::new();
    place.block(1, 0, 1, 5);
    let tasks = Tasks::new();
    tasks.cancel();
    let place = Place { bucket: place.bucket.until(tasks), ..place };
    assert_eq!(place.sync().expect_err("it is over").kind(), ErrorKind::Canceled);
}

//! Uploads of local blocks, with failures in the middle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use format::BlockMeta;
use object_store::memory::InMemory;
use runtime::{Clock, Disk, LocalDisk, ManualClock};
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

    fn block(&self, number: u128, min_time: i64, level: u32, samples: u64) {
        let folder = self.dir.path().join(Ulid(number).to_string());
        LocalDisk.create_dir_all(&folder.join("chunks")).expect("a folder");
        let mut meta = BlockMeta::new(Ulid(number), min_time, min_time + 10);
        meta.compaction.level = level;
        meta.stats.num_samples = samples;
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join(name), bytes).expect("it can be written");
        };
        write("chunks/000001", b"chunks");
        write("index", b"index");
        write("tombstones", b"stones");
        write("meta.json", &meta.encode());
    }

    fn sync(&self) -> crate::BucketResult<usize> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_ns(1_700_000_000_123_000_000));
        let labels = BTreeMap::from([("cluster".to_owned(), "c".to_owned())]);
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let shipper = Shipper::new(self.bucket.clone(), disk, clock, self.dir.path().to_owned(), labels);
        shipper.sync().map(|shipped| shipped.blocks)
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

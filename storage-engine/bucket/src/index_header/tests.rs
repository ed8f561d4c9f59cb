//! A block's index and chunk files through the cache are those of the bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{BlockMeta, ChunkMeta, FormatError, IndexBuilder, SEGMENT_HEADER};
use model::Labels;
use object_store::memory::InMemory;
use runtime::{Disk, LocalDisk};
use tokio::runtime::{Builder, Runtime};
use ulid::Ulid;

use crate::{BlockCache, BlockDisk, Bucket, BucketBlock, Fetcher, Source, ThanosMeta};

const ULID: Ulid = Ulid(7);

struct Place {
    _runtime: Runtime,
    bucket: Bucket,
    block: BucketBlock,
    dir: tempfile::TempDir,
    index: Vec<u8>,
}

fn index(series: u64) -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    for number in 0..series {
        let labels = Labels::from_pairs([("__name__", "x".to_owned()), ("n", format!("{number:06}"))]);
        let chunk = ChunkMeta { reference: 8 + number * 100, min_time: 0, max_time: 9 };
        builder.add_series(&labels, &[chunk]).expect("in order");
    }
    let mut out = Vec::new();
    let write = &mut |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<(), FormatError>(())
    };
    builder.finish(|error| error, write).expect("small");
    out
}

impl Place {
    /// A block with so many series in its index.
    fn new(series: u64) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let bucket = Bucket::new(Arc::new(InMemory::new()), "memory", runtime.handle().clone());
        let mut meta = BlockMeta::new(ULID, 0, 10);
        ThanosMeta::new([("replica".to_owned(), "a".to_owned())].into(), 0, Source::Receive)
            .put_into(&mut meta);
        let index = index(series);
        let mut chunks = SEGMENT_HEADER.to_vec();
        chunks.extend((0..100_000).map(|at| (at % 251) as u8));
        let put = |name: &str, bytes: &[u8]| {
            bucket.wait(bucket.put(&format!("{ULID}/{name}"), bytes.to_vec())).expect("memory takes it");
        };
        put("chunks/000001", &chunks);
        put("index", &index);
        put("meta.json", &meta.encode());
        let view = bucket.wait(Fetcher::new(bucket.clone()).fetch()).expect("memory lists");
        let block = view.blocks[0].clone();
        Self { _runtime: runtime, bucket, block, dir: tempfile::tempdir().expect("a folder"), index }
    }

    fn cache(&self) -> BlockCache {
        BlockCache::new(Arc::new(LocalDisk), self.dir.path().join("headers"), 1 << 20)
    }

    fn open(&self) -> BlockDisk {
        BlockDisk::cached(&self.bucket, &self.block, &self.cache()).expect("the bucket has it")
    }

    fn header(&self) -> PathBuf {
        self.dir.path().join("headers").join(format!("{ULID}.index-header"))
    }
}

#[test]
fn every_part_of_a_block_reads_as_the_bucket_has_it() {
    // A postings table that is in the first request, and one that is not.
    for series in [3, 20_000] {
        let place = Place::new(series);
        let disk = place.open();
        let read = |name: &str| disk.read(&Path::new(&ULID.to_string()).join(name)).expect("it is there");
        assert!(read("index") == place.index, "{series}");
        assert_eq!(BlockMeta::decode(&read("meta.json")).expect("sound"), *place.block.meta);
        assert_eq!(read("chunks/000001").len(), 8 + 100_000);
        let file = disk.open_read(&Path::new(&ULID.to_string()).join("index")).expect("it is there");
        for at in (0..place.index.len() - 5).step_by(997) {
            let mut five = [0; 5];
            file.read_exact_at(at as u64, &mut five).expect("inside");
            assert_eq!(five, place.index[at..at + 5]);
        }
    }
}

#[test]
fn what_is_on_disk_is_used_again_and_made_again_when_it_is_damaged() {
    let place = Place::new(2000);
    drop(place.open());
    let made = std::fs::read(place.header()).expect("it was made");
    // The layout of version 1: magic, version, bytes of the index, of its front, place of its tail, chunk files.
    assert_eq!(made[..8], *b"TGIH\0\0\0\x01");
    assert_eq!(made[8..16], (place.index.len() as u64).to_be_bytes());
    assert_eq!(made[32..36], 1_u32.to_be_bytes());
    assert_eq!(made[40..48], SEGMENT_HEADER);
    // Without the objects of the index the header still opens: nothing is asked for.
    place.bucket.wait(place.bucket.delete(&format!("{ULID}/index"))).expect("memory deletes");
    drop(place.open());
    place
        .bucket
        .wait(place.bucket.put(&format!("{ULID}/index"), place.index.clone()))
        .expect("memory takes it");
    for damage in [0, 5, 9, 17, 30, 34, 39, 44] {
        let mut damaged = made.clone();
        damaged[damage] ^= 0x10;
        std::fs::write(place.header(), &damaged).expect("the disk has room");
        drop(place.open());
        assert!(std::fs::read(place.header()).expect("there") == made, "byte {damage}");
    }
    for len in [0, 3, 39, 47, made.len() - 1] {
        std::fs::write(place.header(), &made[..len]).expect("the disk has room");
        drop(place.open());
        assert!(std::fs::read(place.header()).expect("there") == made, "cut to {len}");
    }
}

#[test]
fn headers_of_blocks_that_are_gone_leave_the_disk() {
    let place = Place::new(3);
    drop(place.open());
    let other = place.dir.path().join("headers/notes.txt");
    std::fs::write(&other, "mine").expect("the disk has room");
    place.cache().retain(|ulid| ulid == ULID).expect("the disk lists");
    assert!(place.header().exists());
    place.cache().retain(|_| false).expect("the disk lists");
    assert!(!place.header().exists() && other.exists());
}

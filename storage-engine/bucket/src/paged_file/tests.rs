use std::sync::Arc;

use object_store::memory::InMemory;
use runtime::ReadFile;
use tokio::runtime::{Builder, Runtime};
use ulid::Ulid;

use super::{GAP_PAGES, PagedFile, REQUEST_PAGES_MAX, runs};
use crate::Bucket;
use crate::page_cache::PageCache;

const BYTES: usize = 3_000_001;

fn content() -> Vec<u8> {
    (0..BYTES).map(|at| (at * 31 % 251) as u8).collect()
}

fn file(runtime: &Runtime, cache_bytes: u64) -> PagedFile {
    let bucket = Bucket::new(Arc::new(InMemory::new()), "memory", runtime.handle().clone());
    bucket.wait(bucket.put("b/index", content())).expect("memory takes it");
    let cache = Arc::new(PageCache::new(cache_bytes));
    PagedFile::new(&bucket, "b/index".to_owned(), BYTES as u64, (Ulid(1), 0), &cache)
}

#[test]
fn reads_are_those_of_the_object_whatever_is_in_memory() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let whole = content();
    for cache_bytes in [0, 100_000, 10 << 20] {
        let file = file(&runtime, cache_bytes);
        file.want(&mut [5_u64..9, 100_000..400_000, 399_000..500_000, 2_999_999..9_000_000].into_iter());
        for (from, len) in
            [(0, 1), (0, 20_000), (16_383, 2), (250_000, 600_000), (BYTES - 1, 1), (7, BYTES - 7)]
        {
            let mut out = vec![0; len];
            file.read_exact_at(from as u64, &mut out).expect("inside");
            assert!(out == whole[from..from + len], "{from} {len} with {cache_bytes}");
        }
        let past = file.read_exact_at(BYTES as u64 - 1, &mut [0; 2]).expect_err("it ends there");
        assert_eq!(past.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn close_pages_are_one_request_and_far_ones_several() {
    let far = 3 + GAP_PAGES + 1;
    assert_eq!(runs(&[1, 2, 3, far]), [0..3, 3..4]);
    assert_eq!(runs(&[1, 2, 3, far - 1]).as_slice(), std::slice::from_ref(&(0..4)));
    let long: Vec<u32> = (0..REQUEST_PAGES_MAX * 2).collect();
    let half = REQUEST_PAGES_MAX as usize;
    assert_eq!(runs(&long), [0..half, half..half * 2]);
    assert!(runs(&[]).is_empty());
}

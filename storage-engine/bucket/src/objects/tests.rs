//! The seam over a real client's store in memory.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use runtime::{ObjectPlace, Objects};

use super::BucketObjects;
use crate::{Bucket, PageCache};

fn objects() -> BucketObjects {
    let bucket = Bucket::new(Arc::new(InMemory::new()), "memory", tokio::runtime::Handle::current());
    BucketObjects::new(bucket.with_patience(Duration::from_secs(20)), PageCache::new(1 << 20))
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

#[tokio::test]
async fn one_of_two_creates_wins_and_the_other_is_told() {
    let objects = objects();
    blocking(move || {
        assert!(objects.create("a/1", b"first".to_vec()).expect("an answer"));
        assert!(!objects.create("a/1", b"second".to_vec()).expect("an answer"));
        assert_eq!(objects.get("a/1", 100).expect("there"), b"first");
        assert_eq!(objects.get("a/1", 4).expect_err("larger").kind(), ErrorKind::UnexpectedEof);
        objects.put("a/1", b"third".to_vec()).expect("replaced");
        objects.put("b/1", b"other folder".to_vec()).expect("written");
        let listed = objects.list("a").expect("a listing");
        assert_eq!(listed.iter().map(|o| (o.name.as_str(), o.bytes)).collect::<Vec<_>>(), [("a/1", 5)]);
        objects.remove("a/1").expect("removed");
        objects.remove("a/1").expect("that it is gone is no error");
        assert_eq!(objects.get("a/1", 100).expect_err("gone").kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn parts_are_read_as_they_were_written_and_what_was_wanted_is_in_memory() {
    let objects = objects();
    blocking(move || {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 251) as u8).collect();
        objects.put("d/x.parquet", bytes.clone()).expect("written");
        let place = ObjectPlace { name: "d/x.parquet".to_owned(), id: 7, bytes: bytes.len() as u64 };
        let file = objects.open_read(&place);
        assert_eq!(file.len().expect("known"), 200_000);
        objects.want(&[(place.clone(), 100_000..150_000), (place, 10..20)]);
        // What is in memory is answered when the object is gone.
        objects.remove("d/x.parquet").expect("removed");
        let read = |from: usize, len: usize| {
            let mut out = vec![0; len];
            file.read_exact_at(from as u64, &mut out).map(|()| out == bytes[from..from + len])
        };
        assert!(read(100_000, 50_000).expect("in memory"));
        assert!(read(10, 10).expect("in memory"));
        assert_eq!(read(60_000, 10).expect_err("never fetched").kind(), ErrorKind::NotFound);
        assert_eq!(read(199_999, 1).expect_err("never fetched").kind(), ErrorKind::NotFound);
        let mut past = [0; 2];
        assert_eq!(
            file.read_exact_at(199_999, &mut past).expect_err("past it").kind(),
            ErrorKind::UnexpectedEof
        );
    })
    .await;
}

#[tokio::test]
async fn an_object_that_ends_before_what_is_read_is_too_short_and_not_away() {
    let objects = objects();
    blocking(move || {
        for bytes in [0, 1, 70_000] {
            let name = format!("d/{bytes}.parquet");
            objects.put(&name, vec![0; bytes]).expect("written");
            let place = ObjectPlace { name, id: bytes as u128, bytes: 200_000 };
            let read = objects.open_read(&place).read_exact_at(199_990, &mut [0; 10]);
            let error = read.expect_err("it is not there");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{bytes}: {error}");
        }
    })
    .await;
}

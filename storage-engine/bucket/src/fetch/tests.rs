//! Views of buckets with whole, cut and damaged blocks.

use std::sync::Arc;

use format::BlockMeta;
use object_store::memory::InMemory;
use tokio::runtime::Handle;
use ulid::Ulid;

use super::Fetcher;
use crate::{Bucket, Mark, MarkKind, Source, ThanosMeta, delete_block};

fn bucket() -> Bucket {
    Bucket::new(Arc::new(InMemory::new()), "memory", Handle::current())
}

fn meta(number: u128, min_time: i64) -> Vec<u8> {
    let mut meta = BlockMeta::new(Ulid(number), min_time, min_time + 10);
    let labels = [("replica".to_owned(), "a".to_owned())].into();
    ThanosMeta::new(labels, 0, Source::Receive).put_into(&mut meta);
    meta.encode()
}

async fn put(bucket: &Bucket, number: u128, name: &str, bytes: &[u8]) {
    bucket.put(&format!("{}/{name}", Ulid(number)), bytes.to_vec()).await.expect("memory takes it");
}

#[tokio::test]
async fn a_view_has_whole_blocks_in_order_with_their_marks_and_the_others_apart() {
    let bucket = bucket();
    for (number, min_time) in [(1, 20), (2, 0)] {
        put(&bucket, number, "chunks/000001", b"chunk").await;
        put(&bucket, number, "index", b"ix").await;
        put(&bucket, number, "meta.json", &meta(number, min_time)).await;
    }
    put(&bucket, 1, "deletion-mark.json", br#"{"version":1,"deletion_time":7}"#).await;
    put(&bucket, 2, "no-compact-mark.json", b"{").await;
    put(&bucket, 3, "index", b"ix").await;
    put(&bucket, 4, "meta.json", b"{}").await;
    put(&bucket, 5, "meta.json", &meta(6, 0)).await;
    bucket.put("debug/metas/x", vec![]).await.expect("memory takes it");
    bucket.put("tidegate/leases/x/1", vec![]).await.expect("memory takes it");

    let fetcher = Fetcher::new(bucket.clone());
    let view = fetcher.fetch().await.expect("it can be listed");
    let blocks: Vec<(u128, i64)> = view.blocks.iter().map(|b| (b.ulid().0, b.meta.min_time)).collect();
    assert_eq!(blocks, [(2, 0), (1, 20)]);
    assert_eq!(view.blocks[1].deletion.as_ref().map(|mark| mark.time_s), Some(7));
    assert_eq!(view.blocks[0].no_compact, None, "a mark that is not whole is none");
    assert_eq!(view.blocks[0].object_bytes("chunks/000001"), Some(5));
    let partial: Vec<(u128, bool)> = view.partial.iter().map(|p| (p.ulid.0, p.fault.is_some())).collect();
    assert_eq!(partial, [(3, false), (4, true), (5, true)]);

    MarkKind::NoCompact.remove(&bucket, Ulid(2)).await.expect("it goes");
    let mark = Mark { time_s: 9, details: "x".to_owned(), reason: "manual".to_owned() };
    assert!(MarkKind::NoCompact.put(&bucket, Ulid(2), &mark).await.expect("it is put"));
    assert!(!MarkKind::NoCompact.put(&bucket, Ulid(2), &mark).await.expect("it is there"));
    delete_block(&bucket, Ulid(1)).await.expect("it goes");
    delete_block(&bucket, Ulid(1)).await.expect("that it is gone is no error");
    let view = fetcher.fetch().await.expect("it can be listed");
    assert_eq!(view.blocks.len(), 1);
    assert_eq!(view.blocks[0].no_compact, Some(mark));
    assert!(view.partial.iter().all(|partial| partial.ulid.0 != 1));
}

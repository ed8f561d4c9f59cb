//! A block out of the bucket: its description first, so that nobody takes what is left for a block; the deletion mark
//! last, so that whoever goes on after a crash knows what was meant (`Delete` in pkg/block/block.go of Thanos).

use futures_util::{StreamExt, TryStreamExt, stream};
use ulid::Ulid;

use crate::filenames::{DELETION_MARK, META, of_block};
use crate::{Bucket, BucketResult};

/// Objects that are removed at a time.
const AT_ONCE: usize = 16;

/// Removes all objects of a block. One that is not there is no error, so that it can be done again.
pub async fn delete_block(bucket: &Bucket, ulid: Ulid) -> BucketResult<()> {
    let (meta, mark) = (of_block(ulid, META), of_block(ulid, DELETION_MARK));
    bucket.delete(&meta).await?;
    let objects = bucket.list(Some(&ulid.to_string())).await?;
    let others = objects.into_iter().filter(|object| object.name != meta && object.name != mark);
    stream::iter(others)
        .map(|object| async move { bucket.delete(&object.name).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    bucket.delete(&mark).await
}

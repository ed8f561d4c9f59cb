//! A bucket as the seam that stores of any layout write to and read from: `runtime::Objects` over a [`Bucket`], with a
//! cache of pages that all its readers share.
//!
//! Cost sketch: a read is a look into the cache; what misses is fetched in runs of pages, near ones joined, several
//! requests at a time. Every call blocks on the network, for as long as the bucket's patience lasts.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use runtime::{ObjectEntry, ObjectPlace, Objects, ReadFile};
use ulid::Ulid;

use crate::page_cache::PageCache;
use crate::paged_file::{PagedFile, io_kind};
use crate::{Bucket, BucketResult};

/// Objects of which parts are fetched at a time.
const OBJECTS_AT_ONCE: usize = 8;

/// A bucket with a cache.
#[derive(Debug)]
pub struct BucketObjects {
    bucket: Bucket,
    cache: Arc<PageCache>,
}

impl BucketObjects {
    /// The objects of a bucket, read through `cache`, which must be theirs alone.
    pub fn new(bucket: Bucket, cache: PageCache) -> Self {
        Self { bucket, cache: Arc::new(cache) }
    }

    fn file(&self, object: &ObjectPlace) -> PagedFile {
        let ObjectPlace { name, id, bytes } = object;
        PagedFile::new(&self.bucket, name.clone(), *bytes, (Ulid(*id), 0), &self.cache)
    }

    /// Errors do not name the object: whoever asked for it does.
    fn wait<T>(&self, work: impl Future<Output = BucketResult<T>>) -> io::Result<T> {
        self.bucket.wait(work).map_err(|error| io::Error::new(io_kind(&error), error.message()))
    }
}

impl Objects for BucketObjects {
    fn shown(&self) -> &str {
        self.bucket.shown()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<ObjectEntry>> {
        let listed = self.wait(self.bucket.list(Some(folder)))?;
        let entry = |object: crate::Object| ObjectEntry {
            name: object.name,
            bytes: object.bytes,
            modified_ms: object.modified_ms,
        };
        Ok(listed.into_iter().map(entry).collect())
    }

    fn get(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.wait(self.bucket.get(name, bytes_max)).map(Vec::from)
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.wait(self.bucket.put(name, bytes))
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> io::Result<bool> {
        self.wait(self.bucket.put_if_absent(name, bytes))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.wait(self.bucket.delete(name))
    }

    fn open_read(&self, object: &ObjectPlace) -> Arc<dyn ReadFile> {
        Arc::new(self.file(object))
    }

    fn want(&self, parts: &[(ObjectPlace, Range<u64>)]) {
        let fetches = stream::iter(parts).map(|(object, range)| async move {
            let file = self.file(object);
            let missing = file.missing(&mut std::iter::once(range.clone()));
            if let Err(error) = file.fetch(&missing).await {
                tracing::debug!(%error, "what is about to be read could not be fetched; it is tried again");
            }
        });
        self.bucket.wait(fetches.buffer_unordered(OBJECTS_AT_ONCE).collect::<()>());
    }
}

#[cfg(test)]
mod tests;

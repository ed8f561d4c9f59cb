//! An object as a file whose pages go through the cache: what is wanted together is fetched together, small gaps included.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::ErrorKind;
use runtime::ReadFile;
use ulid::Ulid;

use crate::page_cache::{PAGE_BYTES, PageCache, PageKey};
use crate::{Bucket, BucketError};

/// Pages that nobody asked for are fetched when the gap is at most so wide: a request costs more than that
/// (`PartitionerMaxGapSize` in pkg/store/bucket.go).
const GAP_PAGES: u32 = (512 << 10) / PAGE_BYTES as u32;

/// Pages of one request; longer runs are several at a time.
const REQUEST_PAGES_MAX: u32 = (4 << 20) / PAGE_BYTES as u32;

/// Requests of one file at a time.
const REQUESTS_AT_ONCE: usize = 8;

/// Reads above this pass by the cache: they are postings of very many series, and would take the place of all others.
const CACHED_READ_BYTES_MAX: usize = 4 << 20;

/// An object behind the cache.
pub(crate) struct PagedFile {
    bucket: Bucket,
    name: String,
    bytes: u64,
    block: Ulid,
    file: u32,
    cache: Arc<PageCache>,
}

impl PagedFile {
    /// The object `name` of `bytes`; `file` is its number in the block for the cache.
    pub(crate) fn new(
        bucket: &Bucket,
        name: String,
        bytes: u64,
        (block, file): (Ulid, u32),
        cache: &Arc<PageCache>,
    ) -> Self {
        Self { bucket: bucket.clone(), name, bytes, block, file, cache: Arc::clone(cache) }
    }

    fn key(&self, page: u32) -> PageKey {
        PageKey { block: self.block, file: self.file, page }
    }

    /// The pages that hold these bytes.
    fn pages(&self, range: &Range<u64>) -> Range<u32> {
        let page = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        let end = range.end.min(self.bytes);
        page(range.start / PAGE_BYTES)..page(end.div_ceil(PAGE_BYTES))
    }

    /// Pages of these ranges, which ascend, that are not in memory.
    pub(crate) fn missing(&self, ranges: &mut dyn Iterator<Item = Range<u64>>) -> Vec<u32> {
        let mut pages: Vec<u32> = Vec::new();
        for range in ranges {
            let wanted = self.pages(&range);
            let from = pages.last().map_or(wanted.start, |last| wanted.start.max(last + 1));
            pages.extend(from..wanted.end);
        }
        pages.retain(|page| !self.cache.has(&self.key(*page)));
        pages
    }

    /// Fetches these pages, which ascend, in as few requests as their gaps allow, and puts them into the cache.
    pub(crate) async fn fetch(&self, pages: &[u32]) -> Result<Vec<(u32, Bytes)>, BucketError> {
        let fetched = stream::iter(runs(pages)).map(|run| async move {
            let start = u64::from(pages[run.start]) * PAGE_BYTES;
            let end = ((u64::from(pages[run.end - 1]) + 1) * PAGE_BYTES).min(self.bytes);
            let bytes = self.bucket.get_range(&self.name, start..end).await?;
            let page = |page: &u32| {
                let from = usize::try_from(u64::from(*page) * PAGE_BYTES - start).unwrap_or(usize::MAX);
                let until = from.saturating_add(PAGE_BYTES as usize).min(bytes.len());
                // A copy: a slice would keep the bytes of the gaps in memory.
                (*page, Bytes::copy_from_slice(bytes.get(from..until).unwrap_or(&[])))
            };
            Ok::<_, BucketError>(pages[run].iter().map(page).collect::<Vec<_>>())
        });
        let fetched: Vec<Vec<(u32, Bytes)>> = fetched.buffered(REQUESTS_AT_ONCE).try_collect().await?;
        let fetched: Vec<(u32, Bytes)> = fetched.into_iter().flatten().collect();
        self.cache.put(fetched.iter().map(|(page, bytes)| (self.key(*page), bytes.clone())));
        Ok(fetched)
    }
}

/// Positions in `pages` of what one request each fetches.
fn runs(pages: &[u32]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, page) in pages.iter().enumerate() {
        match runs.last_mut() {
            Some(run)
                if page - pages[run.end - 1] <= GAP_PAGES && page - pages[run.start] < REQUEST_PAGES_MAX =>
            {
                run.end = index + 1;
            }
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// The error as a disk would have it.
pub(crate) fn failed(error: &BucketError) -> io::Error {
    io::Error::new(io_kind(error), error.to_string())
}

/// The kind of error that a disk would have.
pub(crate) fn io_kind(error: &BucketError) -> io::ErrorKind {
    match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::Corrupt => io::ErrorKind::UnexpectedEof,
        ErrorKind::Unavailable => io::ErrorKind::TimedOut,
        ErrorKind::Invalid => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    }
}

impl ReadFile for PagedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= self.bytes);
        let range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if out.len() > CACHED_READ_BYTES_MAX {
            let read = self.bucket.wait(self.bucket.get_range(&self.name, range));
            out.copy_from_slice(&read.map_err(|error| failed(&error))?);
            return Ok(());
        }
        let pages = self.pages(&range);
        let mut held = self.cache.get(pages.clone().map(|page| self.key(page)));
        let missing: Vec<u32> =
            pages.clone().zip(&held).filter(|(_, page)| page.is_none()).map(|(page, _)| page).collect();
        if !missing.is_empty() {
            for (page, bytes) in self.bucket.wait(self.fetch(&missing)).map_err(|error| failed(&error))? {
                held[(page - pages.start) as usize] = Some(bytes);
            }
        }
        let mut filled = 0;
        for (page, bytes) in pages.zip(held) {
            let bytes = bytes.expect("what was missing was fetched");
            let start = u64::from(page) * PAGE_BYTES;
            let from = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
            let part = bytes.get(from..).unwrap_or(&[]);
            let part = &part[..part.len().min(out.len() - filled)];
            out[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        if filled < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn want(&self, ranges: &mut dyn Iterator<Item = Range<u64>>) {
        let pages = self.missing(ranges);
        if pages.is_empty() {
            return;
        }
        if let Err(error) = self.bucket.wait(self.fetch(&pages)) {
            tracing::debug!(%error, "what is about to be read could not be fetched; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests;

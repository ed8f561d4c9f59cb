//! A block in a bucket as a read-only disk, so that what reads local blocks reads those in place. Its sizes come from a
//! listing: opening a file asks nothing. It is read either once from front to end, in windows, or by many queries, through
//! a cache that all blocks share.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::{AppendFile, Disk, DiskEntry, ReadFile};
use ulid::Ulid;

use crate::filenames::{INDEX, META, of_block};
use crate::index_header::{HeaderedFile, IndexHeader, SegmentFile, segments};
use crate::page_cache::PageCache;
use crate::paged_file::PagedFile;
use crate::read_ahead::ObjectFile;
use crate::{Bucket, BucketBlock, BucketResult};

/// The files of one block below a folder of its identifier. Reads go to the bucket and block; use it from threads that
/// may.
pub struct BlockDisk {
    bucket: Bucket,
    /// Sizes by whole name.
    files: BTreeMap<String, u64>,
    access: Access,
}

/// How files are read.
enum Access {
    /// Each file that is open keeps two windows of so many bytes.
    Windows(u64),
    /// Through the cache.
    Cached(Box<Cached>),
}

/// What is at hand of a block.
struct Cached {
    ulid: Ulid,
    meta: Vec<u8>,
    header: Arc<IndexHeader>,
    pages: Arc<PageCache>,
    /// Whole names of the files of chunks, in order.
    segments: Vec<String>,
}

/// Where what was fetched of blocks is kept: index headers in a folder, pages in memory. Clones share it.
#[derive(Clone)]
pub struct BlockCache {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    pages: Arc<PageCache>,
}

impl BlockCache {
    /// A cache in `folder` of `disk`, with at most `bytes_max` of memory.
    pub fn new(disk: Arc<dyn Disk>, folder: PathBuf, bytes_max: u64) -> Self {
        Self { disk, folder, pages: Arc::new(PageCache::new(bytes_max)) }
    }

    /// Fetches what every query needs of a block, unless it is there. Blocks.
    pub fn prepare(&self, bucket: &Bucket, block: &BucketBlock) -> BucketResult<()> {
        IndexHeader::open(&*self.disk, &self.folder, bucket, block).map(drop)
    }

    /// Forgets what is on disk and in memory of a block.
    pub fn forget(&self, block: &BucketBlock) {
        self.pages.forget(block.ulid());
        IndexHeader::remove(&*self.disk, &self.folder, block);
    }

    /// Removes what is on disk of other blocks than these.
    pub fn retain(&self, is_kept: impl Fn(Ulid) -> bool) -> io::Result<()> {
        if !self.disk.exists(&self.folder) {
            return Ok(());
        }
        for entry in self.disk.list(&self.folder)? {
            let ulid = entry.name.split('.').next().and_then(|name| Ulid::from_string(name).ok());
            if !entry.is_dir && ulid.is_some_and(|ulid| !is_kept(ulid)) {
                self.disk.remove_file(&self.folder.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

impl BlockDisk {
    /// The block's files; each that is open keeps up to two windows of `window_bytes` in memory.
    pub fn new(bucket: &Bucket, block: &BucketBlock, window_bytes: u64) -> Self {
        let is_data = |name: &str| name == INDEX || name == META || name.starts_with("chunks/");
        let files = block.objects.iter().filter(|(name, _)| is_data(name));
        Self {
            bucket: bucket.clone(),
            files: files.map(|(name, bytes)| (of_block(block.ulid(), name), *bytes)).collect(),
            access: Access::Windows(window_bytes),
        }
    }

    /// The block's files for many reads at any place. Fetches what is always needed, if the cache does not have it; blocks.
    pub fn cached(bucket: &Bucket, block: &BucketBlock, cache: &BlockCache) -> BucketResult<Self> {
        let header = IndexHeader::open(&*cache.disk, &cache.folder, bucket, block)?;
        let access = Access::Cached(Box::new(Cached {
            ulid: block.ulid(),
            meta: block.meta.encode(),
            header: Arc::new(header),
            pages: Arc::clone(&cache.pages),
            segments: segments(block).map(|name| of_block(block.ulid(), name)).collect(),
        }));
        Ok(Self { access, ..Self::new(bucket, block, 0) })
    }
}

impl Cached {
    fn open(&self, bucket: &Bucket, name: &str, bytes: u64) -> Arc<dyn ReadFile> {
        if name == of_block(self.ulid, META) {
            return Arc::new(Held(self.meta.clone()));
        }
        let paged =
            |file: u32| PagedFile::new(bucket, name.to_owned(), bytes, (self.ulid, file), &self.pages);
        if name == of_block(self.ulid, INDEX) {
            return Arc::new(HeaderedFile::new(Arc::clone(&self.header), paged(0)));
        }
        let position =
            self.segments.binary_search_by(|segment| segment.as_str().cmp(name)).unwrap_or(usize::MAX);
        let file = u32::try_from(position).map_or(u32::MAX, |position| position.saturating_add(1));
        match self.header.segment(position) {
            Some(header) => Arc::new(SegmentFile { header, rest: paged(file) }),
            None => Arc::new(paged(file)),
        }
    }
}

/// A small file that is in memory.
struct Held(Vec<u8>);

impl ReadFile for Held {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let held = self.0.get(from..from.saturating_add(out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(held);
        Ok(())
    }
}

fn name(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// What a disk that is only read answers to a write.
fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for BlockDisk {
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let name = name(path)?;
        let bytes = *self.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(match &self.access {
            Access::Windows(window_bytes) => {
                Arc::new(ObjectFile::new(self.bucket.clone(), name.to_owned(), bytes, *window_bytes))
            }
            Access::Cached(cached) => cached.open(&self.bucket, name, bytes),
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let inside = format!("{}/", name(dir)?);
        let mut entries: Vec<DiskEntry> = Vec::new();
        for (name, bytes) in self.files.range(inside.clone()..) {
            let Some(rest) = name.strip_prefix(&inside) else { break };
            let entry = match rest.split_once('/') {
                Some((folder, _)) => DiskEntry { name: folder.to_owned(), is_dir: true, bytes: 0 },
                None => DiskEntry { name: rest.to_owned(), is_dir: false, bytes: *bytes },
            };
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        if entries.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(entries) }
    }

    fn exists(&self, path: &Path) -> bool {
        name(path).is_ok_and(|name| self.files.contains_key(name))
    }

    fn create(&self, _: &Path) -> io::Result<Box<dyn AppendFile>> {
        read_only()
    }

    fn open_append(&self, _: &Path) -> io::Result<Box<dyn AppendFile>> {
        read_only()
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn truncate(&self, _: &Path, _: u64) -> io::Result<()> {
        read_only()
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

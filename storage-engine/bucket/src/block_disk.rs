//! A block in a bucket as a read-only disk, so that what reads local blocks reads those in place. Its sizes come from a
//! listing: opening a file asks nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use runtime::{AppendFile, Disk, DiskEntry, ReadFile};

use crate::filenames::{INDEX, META, of_block};
use crate::read_ahead::ObjectFile;
use crate::{Bucket, BucketBlock};

/// The files of one block below a folder of its identifier. Reads go to the bucket and block; use it from threads that
/// may.
pub struct BlockDisk {
    bucket: Bucket,
    /// Sizes by whole name.
    files: BTreeMap<String, u64>,
    window_bytes: u64,
}

impl BlockDisk {
    /// The block's files; each that is open keeps up to two windows of `window_bytes` in memory.
    pub fn new(bucket: &Bucket, block: &BucketBlock, window_bytes: u64) -> Self {
        let is_data = |name: &str| name == INDEX || name == META || name.starts_with("chunks/");
        let files = block.objects.iter().filter(|(name, _)| is_data(name));
        Self {
            bucket: bucket.clone(),
            files: files.map(|(name, bytes)| (of_block(block.ulid(), name), *bytes)).collect(),
            window_bytes,
        }
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
        Ok(Arc::new(ObjectFile::new(self.bucket.clone(), name.to_owned(), bytes, self.window_bytes)))
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

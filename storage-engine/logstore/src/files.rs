//! The data files of the store: which there are, their indexes in a bounded cache, and those set aside as damaged.
//!
//! Invariants: FILES-1: the list in memory changes only after the manifest that says the same is durable. FILES-2: a
//! file that is not in the manifest is not read, and is removed at the next start; so a flush that stopped halfway
//! leaves nothing behind.

mod cache;
mod load;
mod lru;
mod missing;
mod pages;
mod place;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use format::{LogManifest, LogManifestFile};
use hashbrown::HashSet;
use model::{TenantId, TimeRange};
use parking_lot::Mutex;
use runtime::Disk;

use crate::error::{LogStoreError, LogStoreResult};
use crate::filenames;
pub(crate) use cache::{IndexCache, LoadedFile};
pub(crate) use load::{Loaded, load};
pub(crate) use missing::sentences;
pub(crate) use pages::PageCache;
pub(crate) use place::{Change, Place};
pub(crate) use shared::SharedPlace;

/// A data file of the store.
pub(crate) struct DataFile {
    /// Unlike that of any other file that this process opened.
    pub(crate) number: u64,
    pub(crate) about: LogManifestFile,
    pub(crate) path: PathBuf,
    /// Pages that could not be read; later reads leave them out.
    pub(crate) damaged_pages: Mutex<HashSet<u32>>,
    /// When the first of its streams expires, ns, once that is known: there is nothing to look for before.
    pub(crate) expires_ns: AtomicI64,
    /// When it was written, ms, as long as no manifest names it.
    pub(crate) born_ms: AtomicI64,
    /// Whether it cannot be read and stays where it is, because it is not this process' alone.
    pub(crate) is_set_aside: AtomicBool,
}

/// Something that could not be read and was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedUnit {
    /// Whose data.
    pub tenant: TenantId,
    /// The file.
    pub path: PathBuf,
    /// The page, or `None` when the whole file was set aside.
    pub page: Option<u32>,
    /// Times between which its entries lie, ns, both ends included.
    pub range: TimeRange,
    /// What is wrong with it.
    pub reason: String,
}

impl QuarantinedUnit {
    /// All of a file.
    pub(crate) fn whole(file: &DataFile, reason: String) -> Self {
        let (tenant, path) = (file.about.tenant.clone(), file.path.clone());
        Self { tenant, path, page: None, range: file.range(), reason }
    }
}

/// The data files at one moment.
#[derive(Clone, Default)]
pub(crate) struct FileSet {
    pub(crate) flushed_generation: u64,
    pub(crate) files: Arc<Vec<Arc<DataFile>>>,
    /// Whose they are.
    pub(crate) tenants: Arc<HashSet<TenantId>>,
}

impl DataFile {
    /// A file of a local store in `dir`.
    pub(crate) fn new(dir: &Path, about: LogManifestFile) -> Arc<Self> {
        Self::at(filenames::data_file(dir, &about.tenant, &about.path), about)
    }

    /// A file, by where it is.
    pub(crate) fn at(path: PathBuf, about: LogManifestFile) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            number,
            about,
            path,
            damaged_pages: Mutex::default(),
            expires_ns: AtomicI64::new(i64::MIN),
            born_ms: AtomicI64::new(0),
            is_set_aside: AtomicBool::new(false),
        })
    }

    /// Whether nothing of it is known to be damaged.
    pub(crate) fn is_sound(&self) -> bool {
        !self.is_set_aside.load(Ordering::Relaxed) && self.damaged_pages.lock().is_empty()
    }

    /// Times between which its entries lie.
    pub(crate) fn range(&self) -> TimeRange {
        TimeRange::new(self.about.min_ns, self.about.max_ns)
    }
}

impl FileSet {
    pub(crate) fn new(flushed_generation: u64, files: Vec<Arc<DataFile>>) -> Self {
        let mut tenants = HashSet::new();
        for file in &files {
            tenants.get_or_insert_with(&file.about.tenant, TenantId::clone);
        }
        Self { flushed_generation, files: Arc::new(files), tenants: Arc::new(tenants) }
    }

    /// This set without some files and with others.
    pub(crate) fn changed(&self, without: impl Fn(&DataFile) -> bool, with: Vec<Arc<DataFile>>) -> Self {
        let kept = self.files.iter().filter(|file| !without(file)).cloned();
        Self::new(self.flushed_generation, kept.chain(with).collect())
    }

    /// Writes the manifest that says what is in this set. Blocks on the disk.
    pub(crate) fn write_manifest(&self, disk: &dyn Disk, dir: &Path) -> LogStoreResult<()> {
        let files = self.files.iter().map(|file| file.about.clone()).collect();
        let manifest = LogManifest { flushed_generation: self.flushed_generation, files, shared: None };
        let path = filenames::manifest(dir);
        disk.write_atomically(&path, &manifest.encode())
            .map_err(|error| LogStoreError::io("writing", &path, error))
    }
}

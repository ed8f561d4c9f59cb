//! Where data files and the manifest are: a folder on the local disk, or an object store that several processes share.
//!
//! Everything here blocks. Changes of the list of files go through `commit`, one at a time (the store's `commit` lock).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{LogManifest, LogManifestFile};
use runtime::{Disk, ReadFile};

use super::shared::SharedPlace;
use super::{DataFile, FileSet};
use crate::error::{LogStoreError, LogStoreResult};
use crate::filenames;

/// A change of the list of files: what becomes of a list, or `None` when it cannot be made any more.
pub(crate) type Change<'a> = &'a dyn Fn(&FileSet) -> Option<FileSet>;

/// The place of a store's files.
pub(crate) enum Place {
    Local { disk: Arc<dyn Disk>, dir: PathBuf },
    Shared(SharedPlace),
}

impl Place {
    /// Whether other processes may change the files, too.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Refuses entries that could not be made files of this process any more.
    pub(crate) fn refuse_taken(&self) -> LogStoreResult<()> {
        match self {
            Self::Local { .. } => Ok(()),
            Self::Shared(shared) => shared.refuse_taken(),
        }
    }

    /// A data file that is about to be written.
    pub(crate) fn new_file(&self, about: LogManifestFile) -> Arc<DataFile> {
        match self {
            Self::Local { dir, .. } => DataFile::new(dir, about),
            Self::Shared(shared) => shared.new_file(about),
        }
    }

    /// Makes the bytes of a file durable. It is nobody's before a commit names it.
    pub(crate) fn store(&self, file: &DataFile, bytes: Vec<u8>) -> LogStoreResult<()> {
        match self {
            Self::Local { disk, .. } => {
                let parent = file.path.parent().unwrap_or(Path::new("."));
                let made = disk.create_dir_all(parent);
                made.map_err(|error| LogStoreError::io("making", parent, error))?;
                let written = disk.write_atomically(&file.path, &bytes);
                written.map_err(|error| LogStoreError::io("writing", &file.path, error))
            }
            Self::Shared(shared) => shared.put(file, bytes),
        }
    }

    /// A data file for reading.
    pub(crate) fn open(&self, file: &DataFile) -> LogStoreResult<Arc<dyn ReadFile>> {
        match self {
            Self::Local { disk, .. } => {
                disk.open_read(&file.path).map_err(|error| LogStoreError::io("reading", &file.path, error))
            }
            Self::Shared(shared) => Ok(shared.open_read(file)),
        }
    }

    /// Tells that the indexes of these files are about to be read.
    pub(crate) fn want_indexes(&self, files: &[&Arc<DataFile>]) {
        if let Self::Shared(shared) = self {
            shared.want_indexes(files);
        }
    }

    /// Makes a change durable, on top of `current` or of what others made of it. Gives the list that holds then, and
    /// whether the change is in it. `written` are the files that the change brings.
    pub(crate) fn commit(
        &self,
        current: FileSet,
        written: &[Arc<DataFile>],
        change: Change<'_>,
    ) -> LogStoreResult<(FileSet, bool)> {
        match self {
            Self::Local { disk, dir } => {
                let Some(after) = change(&current) else { return Ok((current, false)) };
                after.write_manifest(&**disk, dir)?;
                Ok((after, true))
            }
            Self::Shared(shared) => shared.commit(current, written, change),
        }
    }

    /// Removes files that no commit named. Where that is not certain, because a manifest may be in place although
    /// writing it failed, those that it names stay; in an object store all do, until they are garbage.
    pub(crate) fn discard(&self, written: &[Arc<DataFile>], is_certain: bool) {
        match self {
            Self::Local { disk, dir } => {
                let manifest = disk.read(&filenames::manifest(dir));
                let manifest = manifest.ok().and_then(|bytes| LogManifest::decode(&bytes).ok());
                let Some(manifest) = manifest else { return };
                for file in written {
                    if !manifest.files.iter().any(|named| *named == file.about) {
                        // The next start removes it.
                        let _ = disk.remove_file(&file.path);
                    }
                }
            }
            Self::Shared(shared) if is_certain => shared.discard(written),
            Self::Shared(_) => {}
        }
    }

    /// Removes a file that was of the store and that nobody here reads. Others may read it in an object store: there it
    /// goes as garbage, later.
    pub(crate) fn remove(&self, file: &DataFile) {
        if let Self::Local { disk, .. } = self
            && let Err(error) = disk.remove_file(&file.path)
        {
            tracing::warn!(%error, path = %file.path.display(), "could not remove a log data file");
        }
    }

    /// Puts a damaged file out of the way.
    pub(crate) fn set_aside(&self, file: &DataFile) {
        if let Self::Local { disk, .. } = self
            && let Err(error) = disk.rename(&file.path, &filenames::damaged(&file.path))
        {
            tracing::warn!(%error, path = %file.path.display(), "could not rename a damaged log data file");
        }
    }
}

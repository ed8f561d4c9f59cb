//! The disk behind a small seam: append-only files, whole reads and reads at an offset, atomic renames.
//!
//! Every call may block: use it from blocking threads. Durability is explicit, as POSIX has it: written bytes survive
//! a power loss after `sync_data`, a created, renamed or removed name after `sync_dir` of its folder.
//! Invariant DISK-1: a folder that `create_dir_all` made is durable when the call returns.
//! `SimulatedDisk` keeps everything in memory and loses exactly what the contract allows to be lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

mod simulated;

pub use simulated::{DiskFault, SimulatedDisk};

/// A file system as the stores need it. Errors are those of the operating system: `StorageFull` for a full disk.
pub trait Disk: Send + Sync {
    /// Makes a new empty file and opens it for appending; `AlreadyExists` when there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Opens an existing file for appending.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Opens a file for reads at any offset.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>>;

    /// Entries of a folder in name order, `.` and `..` left out; names that are not UTF-8 are left out too.
    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Makes a folder and those above it; durable on return.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or folder; replaces a file that is in the way, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name; `AlreadyExists` when that is taken. Neither name's content may be changed afterwards.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with all that is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Cuts a file to `len` bytes and makes that durable.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Bytes that may still be written to the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Whether a file or folder is there.
    fn exists(&self, path: &Path) -> bool;

    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes a whole file so that a power loss leaves either the old content or the new: temporary file beside it,
    /// sync, rename, sync of the folder.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let parent = path.parent().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        if self.exists(temporary) {
            self.remove_file(temporary)?;
        }
        let write = || {
            let mut file = self.create(temporary)?;
            file.append(bytes)?;
            file.sync_data()
        };
        if let Err(error) = write() {
            // On a full disk what was written only takes room from others.
            let _ = self.remove_file(temporary);
            return Err(error);
        }
        self.rename(temporary, path)?;
        self.sync_dir(parent)
    }
}

/// A file open for appending.
pub trait AppendFile: Send {
    /// Appends all bytes. After an error any prefix of them may be in the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the appended bytes durable. After an error nothing is known about those since the last success.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// A file open for reading.
pub trait ReadFile: Send + Sync {
    /// Bytes in the file now.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`; `UnexpectedEof` when the file is shorter.
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Tells that these ranges, which ascend, are about to be read. A file of which every read is a request fetches them
    /// together; to the others it means nothing. What cannot be fetched is an error of the read that follows.
    fn want(&self, _ranges: &mut dyn Iterator<Item = Range<u64>>) {}
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// Name without the folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length of a file, 0 for a folder.
    pub bytes: u64,
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the listing and here.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let bytes = if metadata.is_dir() { 0 } else { metadata.len() };
            entries.push(DiskEntry { name, is_dir: metadata.is_dir(), bytes });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // From the first folder that is missing down, each with a sync of the one that holds its name.
        let mut missing: Vec<&Path> =
            dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
        while let Some(folder) = missing.pop() {
            match fs::create_dir(folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_dir(folder.parent().unwrap_or(Path::new(".")))?,
            }
        }
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::NotADirectory, format!("{} is not a folder", dir.display())))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }
}

impl ReadFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, out, offset)
    }
}

#[cfg(test)]
mod tests;

//! One process a data folder: an advisory lock on a file in it, which ends with the process however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, anyhow};

/// Name of the locked file inside the data folder.
const LOCK_FILE: &str = "lock";

/// Holds the data folder until dropped.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the folder if need be and locks it. Two processes would truncate each other's logs, so a folder that is
    /// in use is an error.
    pub(crate) fn take(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        std::fs::create_dir_all(folder).with_context(|| format!("making the data folder {shown}"))?;
        let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK_FILE));
        let file = file.with_context(|| format!("opening the lock file of the data folder {shown}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(anyhow!(
                "the data folder {shown} is in use by another process; each needs a storage.directory of its own"
            )),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking the data folder {shown}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DataLock;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let first = DataLock::take(&data).expect("nobody has it");
        let refused = DataLock::take(&data).expect_err("it is taken");
        assert!(refused.to_string().contains("in use by another process"), "{refused}");
        drop(first);
        DataLock::take(&data).expect("it was given back");
    }
}

//! Names inside a folder of blocks and inside a block, those of Prometheus (tsdb/db.go, tsdb/block.go).

use std::path::{Path, PathBuf};

use runtime::Disk;
use ulid::Ulid;

/// A block's description.
pub(crate) const META: &str = "meta.json";
/// A block's index.
pub(crate) const INDEX: &str = "index";
/// A block's folder of chunk files.
pub(crate) const CHUNKS: &str = "chunks";
/// A block's deleted ranges.
pub(crate) const TOMBSTONES: &str = "tombstones";
/// Where damaged blocks are moved, beside the blocks; ours, not Prometheus'.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Ending of a block's folder while it is written.
const CREATION: &str = ".tmp-for-creation";
/// Ending of a block's folder while it is removed.
const DELETION: &str = ".tmp-for-deletion";

/// A chunk file by its number from 0.
pub(crate) fn segment(block: &Path, number: usize) -> PathBuf {
    block.join(CHUNKS).join(format!("{:06}", number + 1))
}

/// The folder in which a block is written.
pub(crate) fn creation(dir: &Path, ulid: Ulid) -> PathBuf {
    dir.join(format!("{ulid}{CREATION}"))
}

/// The name under which a block's folder is removed.
pub(crate) fn deletion(dir: &Path, ulid: Ulid) -> PathBuf {
    dir.join(format!("{ulid}{DELETION}"))
}

/// Whether a folder of this name was left by a write or a deletion that was cut.
pub fn is_leftover(name: &str) -> bool {
    [CREATION, DELETION].iter().any(|ending| {
        name.strip_suffix(ending).is_some_and(|ulid| ulid.len() == 26 && Ulid::from_string(ulid).is_ok())
    })
}

/// The blocks in a folder, by name in order; other entries are left out.
pub fn block_folders(disk: &dyn Disk, dir: &Path) -> std::io::Result<Vec<(Ulid, PathBuf)>> {
    let folders = disk.list(dir)?.into_iter().filter(|entry| entry.is_dir && entry.name.len() == 26);
    Ok(folders
        .filter_map(|entry| Some((Ulid::from_string(&entry.name).ok()?, dir.join(&entry.name))))
        .collect())
}

//! Blocks in a folder or below it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use runtime::{Disk, LocalDisk};
use tsdb::block::block_folders;

/// A data folder holds its blocks this deep: metrics, tenant, blocks.
const DEPTH_MAX: usize = 4;

/// The folder itself if it is a block, else all blocks in and below it, those that were set aside left out.
pub(super) fn blocks(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.join("meta.json").is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    search(path, DEPTH_MAX, &mut found)?;
    if found.is_empty() {
        bail!("no blocks in {}", path.display());
    }
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let reading = || format!("reading {}", folder.display());
    let here = block_folders(&LocalDisk, folder).with_context(reading)?;
    found.extend(here.iter().map(|(_, path)| path.clone()));
    if depth == 0 {
        return Ok(());
    }
    for entry in LocalDisk.list(folder).with_context(reading)? {
        let path = folder.join(&entry.name);
        let is_other = entry.is_dir && entry.name != "quarantine" && entry.name != "snapshots";
        if is_other && !here.iter().any(|(_, block)| *block == path) {
            search(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

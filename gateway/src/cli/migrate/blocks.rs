//! The blocks of a migration: checked whole, then copied or linked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use runtime::{Disk, LocalDisk};
use tsdb::PrometheusFolder;
use tsdb::block::{BlockMeta, BlockReader};

use super::text::Progress;

/// Files of a block that are never written again, so that a link is as good as a copy.
const LINKED: [&str; 2] = ["chunks", "index"];

/// What there is to take over.
#[derive(Debug, Default)]
pub(super) struct BlocksReport {
    /// Sound blocks.
    pub(super) sound: Vec<(PathBuf, BlockMeta)>,
    /// Damaged ones with what is wrong; they stay where they are.
    pub(super) damaged: Vec<(PathBuf, String)>,
    /// Blocks that others were made of already.
    pub(super) superseded: usize,
}

/// Reads every block whole.
pub(super) fn check(folder: &PrometheusFolder) -> anyhow::Result<BlocksReport> {
    let mut report = BlocksReport::default();
    let mut progress = Progress::new("checking blocks");
    let all = folder.blocks().len() as u64;
    for (number, block) in (1..).zip(folder.blocks()) {
        let path = block.folder.clone();
        match &block.meta {
            _ if block.is_superseded => report.superseded += 1,
            Err(error) => report.damaged.push((path, error.clone())),
            Ok(meta) => {
                let verified = Arc::new(BlockReader::open(&LocalDisk, &path)?).verify()?;
                match verified.faults.into_iter().next() {
                    Some(fault) => report.damaged.push((path, fault)),
                    None => report.sound.push((path, meta.clone())),
                }
            }
        }
        progress.at(number, all);
    }
    progress.end();
    Ok(report)
}

/// Takes the sound blocks into the folder of a tenant, durably.
pub(super) fn take(blocks: &BlocksReport, tenant: &Path, link: bool) -> anyhow::Result<()> {
    let mut progress = Progress::new("taking blocks");
    for (number, (folder, meta)) in (1..).zip(&blocks.sound) {
        let to = tenant.join(meta.ulid.to_string());
        copy(folder, &to, link).with_context(|| format!("taking {}", folder.display()))?;
        progress.at(number, blocks.sound.len() as u64);
    }
    progress.end();
    Ok(())
}

fn copy(from: &Path, to: &Path, link: bool) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let is_fixed = LINKED.iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_dir() {
            // Chunks have a folder; nothing else does.
            if is_fixed {
                copy_files(&source, &target, link)?;
            }
        } else {
            copy_file(&source, &target, link && is_fixed)?;
        }
    }
    Ok(LocalDisk.sync_dir(to)?)
}

fn copy_files(from: &Path, to: &Path, link: bool) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_file(&entry.path(), &to.join(entry.file_name()), link)?;
    }
    Ok(LocalDisk.sync_dir(to)?)
}

fn copy_file(from: &Path, to: &Path, link: bool) -> anyhow::Result<()> {
    if link {
        return fs::hard_link(from, to)
            .map_err(|error| anyhow!("{} cannot be linked ({error}); leave --link out", from.display()));
    }
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(File::open(to)?.sync_all()?)
}

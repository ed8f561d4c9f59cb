//! What is on the disk at start: the manifest, or if it cannot be read, the files themselves.

use std::path::{Path, PathBuf};

use format::{LogFormatError, LogManifest, LogManifestFile};
use hashbrown::HashSet;
use model::{ErrorKind, TenantId, TimeRange};
use parquet::file::metadata::ParquetMetaDataReader;
use runtime::Disk;

use super::{DataFile, FileSet, QuarantinedUnit};
use crate::error::{LogStoreError, LogStoreResult};
use crate::file::reader::OpenFile;
use crate::file::writer::INDEX_KEY;
use crate::filenames;

/// What was found.
pub(crate) struct Loaded {
    pub(crate) set: FileSet,
    /// Highest generation that any file was written from.
    pub(crate) newest_generation: u64,
    pub(crate) quarantined: Vec<QuarantinedUnit>,
}

/// A parquet file ends in the length of its footer and a magic.
const PARQUET_TAIL_BYTES: u64 = 8;

/// Reads the manifest, removes files that it does not name, and checks that those it names are there. A manifest that
/// is lost or damaged is made anew from the files.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> LogStoreResult<Loaded> {
    let all = data_files(disk, dir)?;
    let (aside, found): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, below, _)| filenames::is_damaged_file(below));
    let mut loaded = load_found(disk, dir, &found)?;
    // Kept in mind as long as they lie there: answers go on missing what they had.
    for (tenant, below, path) in &aside {
        let unit = quarantine(tenant, below, path, "it was set aside before".to_owned());
        loaded.quarantined.push(unit);
    }
    Ok(loaded)
}

fn load_found(disk: &dyn Disk, dir: &Path, found: &[(TenantId, String, PathBuf)]) -> LogStoreResult<Loaded> {
    if disk.exists(&filenames::writer(dir)) {
        let text =
            format!("the data files of {} are in an object store: set storage.logs.bucket", dir.display());
        return Err(LogStoreError::shared(ErrorKind::Invalid, text));
    }
    let path = filenames::manifest(dir);
    if !disk.exists(&path) {
        // The first start writes one, so files without a manifest mean that it was lost.
        if !found.is_empty() {
            let files = found.len();
            tracing::warn!(path = %path.display(), files, "log manifest is missing, reading every data file instead");
        }
        let loaded = from_files(disk, dir, found)?;
        disk.create_dir_all(dir).map_err(|error| LogStoreError::io("making", dir, error))?;
        loaded.set.write_manifest(disk, dir)?;
        return Ok(loaded);
    }
    let bytes = disk.read(&path).map_err(|error| LogStoreError::io("reading", &path, error))?;
    match LogManifest::decode(&bytes) {
        Ok(manifest) => Ok(from_manifest(disk, dir, manifest, found)),
        // A newer version is not damage: whoever wrote it can read it.
        Err(error @ LogFormatError::Version { .. }) => Err(LogStoreError::format(&path, error)),
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "log manifest is damaged, reading every data file instead");
            let loaded = from_files(disk, dir, found)?;
            let aside = filenames::damaged(&path);
            disk.rename(&path, &aside).map_err(|error| LogStoreError::io("renaming", &path, error))?;
            loaded.set.write_manifest(disk, dir)?;
            Ok(loaded)
        }
    }
}

fn from_manifest(
    disk: &dyn Disk,
    dir: &Path,
    manifest: LogManifest,
    found: &[(TenantId, String, PathBuf)],
) -> Loaded {
    let on_disk: HashSet<&Path> = found.iter().map(|(_, _, path)| path.as_path()).collect();
    let mut quarantined = Vec::new();
    let mut files = Vec::with_capacity(manifest.files.len());
    for about in manifest.files {
        let file = DataFile::new(dir, about);
        if on_disk.contains(file.path.as_path()) {
            files.push(file);
        } else {
            tracing::error!(path = %file.path.display(), "a log data file is missing");
            quarantined.push(QuarantinedUnit::whole(&file, "the file is missing".to_owned()));
        }
    }
    let named: HashSet<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    remove_others(disk, found, &named);
    let set = FileSet::new(manifest.flushed_generation, files);
    Loaded { set, newest_generation: manifest.flushed_generation, quarantined }
}

/// Takes every file that can be read. Which generation was flushed is not known, so all of the write-ahead log is
/// replayed; what a file has already comes as exact duplicates, which readers drop.
fn from_files(disk: &dyn Disk, dir: &Path, found: &[(TenantId, String, PathBuf)]) -> LogStoreResult<Loaded> {
    let (mut files, mut quarantined, mut newest_generation) = (Vec::new(), Vec::new(), 0);
    for (tenant, below, path) in found.iter().filter(|(_, below, _)| filenames::is_data_file(below)) {
        match describe(disk, tenant, below, path) {
            Ok((about, generation)) => {
                newest_generation = newest_generation.max(generation);
                files.push(DataFile::new(dir, about));
            }
            // Without it the new manifest would not name the file, and the next start would remove it.
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "a log data file cannot be read, it is set aside");
                if let Err(error) = disk.rename(path, &filenames::damaged(path)) {
                    tracing::warn!(%error, path = %path.display(), "could not rename a damaged log data file");
                }
                quarantined.push(quarantine(tenant, below, path, error.to_string()));
            }
        }
    }
    let set = FileSet::new(0, files);
    Ok(Loaded { set, newest_generation, quarantined })
}

/// A file of which only its place is known: it has entries of its hour, and of others of that day at most.
fn quarantine(tenant: &TenantId, below: &str, path: &Path, reason: String) -> QuarantinedUnit {
    let range = filenames::times_of(below).unwrap_or(TimeRange::ALL);
    QuarantinedUnit { tenant: tenant.clone(), path: path.to_owned(), page: None, range, reason }
}

/// Manifest entry and generation of a file, from its own footer and index.
fn describe(
    disk: &dyn Disk,
    tenant: &TenantId,
    below: &str,
    path: &Path,
) -> LogStoreResult<(LogManifestFile, u64)> {
    let damaged = |reason: &str| LogStoreError::page(path, 0, reason);
    let io = |error| LogStoreError::io("reading", path, error);
    let file = disk.open_read(path).map_err(io)?;
    let file_bytes = file.len().map_err(io)?;
    let tail_at = file_bytes.checked_sub(PARQUET_TAIL_BYTES).ok_or_else(|| damaged("it is too short"))?;
    let mut tail = [0; PARQUET_TAIL_BYTES as usize];
    file.read_exact_at(tail_at, &mut tail).map_err(io)?;
    let footer_bytes = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let footer_at =
        tail_at.checked_sub(footer_bytes).ok_or_else(|| damaged("its footer has a wild length"))?;
    let mut footer = vec![0; footer_bytes as usize];
    file.read_exact_at(footer_at, &mut footer).map_err(io)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer)
        .map_err(|error| damaged(&format!("its footer cannot be read: {error}")))?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let place = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == INDEX_KEY));
    let place = place.and_then(|pair| pair.value.as_deref());
    let version = place.and_then(|place| place.strip_prefix('v')?.split_once(' ')?.0.parse().ok());
    if let Some(got) = version.filter(|got| *got != 1) {
        let newer = LogFormatError::Version { unit: "log data file", got, known: 1 };
        return Err(LogStoreError::format(path, newer));
    }
    let (index_offset, index_bytes) = place
        .and_then(|place| place.strip_prefix("v1 ")?.split_once(' '))
        .and_then(|(offset, bytes)| Some((offset.parse().ok()?, bytes.parse().ok()?)))
        .ok_or_else(|| damaged("its footer does not tell where its index is"))?;
    let open = OpenFile::open(file, path, index_offset, index_bytes)?;
    let streams = &open.index().streams;
    let about = LogManifestFile {
        tenant: tenant.clone(),
        path: below.to_owned(),
        file_bytes,
        index_offset,
        index_bytes,
        rows: open.index().rows(),
        text_bytes: streams.iter().map(|stream| stream.line_bytes + stream.metadata_bytes).sum(),
        min_ns: streams.iter().map(|stream| stream.min_ns).min().unwrap_or(i64::MAX),
        max_ns: streams.iter().map(|stream| stream.max_ns).max().unwrap_or(i64::MIN),
    };
    Ok((about, open.index().generation))
}

/// Every file below the data folder: tenant, path below its folder, path.
fn data_files(disk: &dyn Disk, dir: &Path) -> LogStoreResult<Vec<(TenantId, String, PathBuf)>> {
    let data = filenames::data(dir);
    let mut found = Vec::new();
    let list = |path: &Path| -> LogStoreResult<Vec<runtime::DiskEntry>> {
        if !disk.exists(path) {
            return Ok(Vec::new());
        }
        disk.list(path).map_err(|error| LogStoreError::io("listing", path, error))
    };
    for tenant in list(&data)?.iter().filter(|entry| entry.is_dir) {
        let Ok(id) = TenantId::new(&tenant.name) else { continue };
        let root = data.join(&tenant.name);
        for day in list(&root)?.iter().filter(|entry| entry.is_dir) {
            for hour in list(&root.join(&day.name))?.iter().filter(|entry| entry.is_dir) {
                let folder = root.join(&day.name).join(&hour.name);
                for file in list(&folder)?.iter().filter(|entry| !entry.is_dir) {
                    let below = format!("{}/{}/{}", day.name, hour.name, file.name);
                    found.push((id.clone(), below, folder.join(&file.name)));
                }
            }
        }
    }
    Ok(found)
}

/// Removes leftovers of flushes that did not end. One that cannot be removed is only noise.
fn remove_others(disk: &dyn Disk, found: &[(TenantId, String, PathBuf)], named: &HashSet<PathBuf>) {
    for (_, below, path) in found.iter().filter(|(_, _, path)| !named.contains(path)) {
        let known = filenames::is_data_file(below) || below.ends_with(".tmp");
        if known && let Err(error) = disk.remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "could not remove a leftover of a flush");
        }
    }
}

//! Which files the logs of a Prometheus consist of, and their records, decompressed.

use std::path::{Path, PathBuf};

use format::{PrometheusCompression, read_prometheus_segment};
use runtime::Disk;
use storage_api::StorageResult;

use crate::block::failed;

/// A decompressed record may have this many bytes; Prometheus writes batches of a megabyte or so.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Files with names that are numbers, by number.
pub(super) fn numbered(disk: &dyn Disk, dir: &Path) -> StorageResult<Vec<(u64, PathBuf)>> {
    if !disk.exists(dir) {
        return Ok(Vec::new());
    }
    let entries = disk.list(dir).map_err(|error| failed(dir, &error))?;
    let mut files: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| Some((entry.name.parse().ok()?, dir.join(&entry.name))))
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// The files of the log in the order in which they count: the newest checkpoint, then the segments behind it.
pub(super) fn log_files(disk: &dyn Disk, dir: &Path) -> StorageResult<Vec<PathBuf>> {
    if !disk.exists(dir) {
        return Ok(Vec::new());
    }
    let entries = disk.list(dir).map_err(|error| failed(dir, &error))?;
    let checkpoint = entries
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| Some((entry.name.strip_prefix("checkpoint.")?.parse::<u64>().ok()?, &entry.name)))
        .max();
    let mut files = Vec::new();
    if let Some((_, name)) = checkpoint {
        files.extend(numbered(disk, &dir.join(name))?.into_iter().map(|(_, path)| path));
    }
    let covered = checkpoint.map(|(number, _)| number);
    let segments = numbered(disk, dir)?.into_iter().filter(|(number, _)| Some(*number) > covered);
    files.extend(segments.map(|(_, path)| path));
    Ok(files)
}

/// What is wrong with a segment.
pub(super) enum Fault {
    /// A crash cut it: so many bytes at its end.
    Torn(u64),
    /// What was read up to there is sound, the rest was not looked at.
    Damage(String),
}

/// Hands the records of a segment to `visit`, which tells what is wrong with one. Returns the first fault.
pub(super) fn read_segment(
    path: &Path,
    bytes: &[u8],
    mut visit: impl FnMut(&[u8]) -> Result<(), String>,
) -> Option<Fault> {
    let mut plain = Vec::new();
    let mut wrong = None;
    let read = read_prometheus_segment(bytes, |compression, record| {
        let read = decompress(compression, record, &mut plain).and_then(&mut visit);
        wrong = wrong.take().or(read.err());
    });
    if let Some(wrong) = wrong {
        return Some(Fault::Damage(format!("{}: {wrong}", path.display())));
    }
    let fault = read.err()?;
    if fault.is_torn {
        return Some(Fault::Torn((bytes.len() - fault.offset) as u64));
    }
    Some(Fault::Damage(format!("{} at byte {}: {}", path.display(), fault.offset, fault.error)))
}

fn decompress<'a>(
    compression: PrometheusCompression,
    record: &'a [u8],
    plain: &'a mut Vec<u8>,
) -> Result<&'a [u8], String> {
    match compression {
        PrometheusCompression::None => return Ok(record),
        PrometheusCompression::Snappy => {
            let len = snap::raw::decompress_len(record).map_err(|error| error.to_string())?;
            // Snappy makes at most 64 bytes of three.
            if len > RECORD_BYTES_MAX || len / 22 > record.len() {
                return Err(format!("a record claims to have {len} bytes, {RECORD_BYTES_MAX} are allowed"));
            }
            plain.resize(len, 0);
            let decoded = snap::raw::Decoder::new().decompress(record, plain);
            decoded.map_err(|error| error.to_string())?;
        }
        PrometheusCompression::Zstd => {
            plain.clear();
            let decoder = zstd::stream::Decoder::new(record).map_err(|error| error.to_string())?;
            let mut decoder = std::io::Read::take(decoder, RECORD_BYTES_MAX as u64 + 1);
            std::io::Read::read_to_end(&mut decoder, plain).map_err(|error| error.to_string())?;
            if plain.len() > RECORD_BYTES_MAX {
                return Err(format!("a record has more than {RECORD_BYTES_MAX} bytes"));
            }
        }
    }
    Ok(plain)
}

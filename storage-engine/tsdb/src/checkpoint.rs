//! The checkpoint of a tenant: one file with everything in the head at a place of the log, so that the log before that
//! place can go (`docs/formats/head-records.md`).
//!
//! Written beside the old one and renamed over it, so a power loss leaves one of the two whole. Records are handed on as
//! they come, each with a checksum: a record that is damaged is counted and left out, the others count.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::{AppendFile, Disk, ReadFile};

use crate::error::TsdbError;
use crate::filenames;

const MAGIC: [u8; 4] = *b"TGCK";
const VERSION: u8 = 1;
/// Magic, version, three zeros, the sequence, their checksum.
const HEADER_BYTES: usize = 20;
/// Checksum and length in front of a record.
const FRAME_BYTES: usize = 8;
/// A record that claims to be larger is damage.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadCheckpoint {
    /// Records of the log from here on are not in the checkpoint; 0 without one.
    pub(crate) sequence: u64,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Records that could not be read, as far as that can be told.
    pub(crate) damaged: u64,
}

/// Writes a checkpoint record by record. Dropped before it is finished, it leaves nothing.
pub(crate) struct CheckpointWriter<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    file: Box<dyn AppendFile>,
    bytes: u64,
    is_finished: bool,
}

impl<'a> CheckpointWriter<'a> {
    /// Begins a checkpoint in the folder of a tenant, for the log's records below `sequence`.
    pub(crate) fn begin(disk: &'a dyn Disk, tenant_dir: &Path, sequence: u64) -> Result<Self, TsdbError> {
        let path = filenames::checkpoint(tenant_dir);
        let temporary = filenames::temporary_checkpoint(tenant_dir);
        let fail = |error| TsdbError::disk(&temporary, error);
        if disk.exists(&temporary) {
            disk.remove_file(&temporary).map_err(fail)?;
        }
        let mut file = disk.create(&temporary).map_err(fail)?;
        file.append(&header(sequence)).map_err(fail)?;
        Ok(Self { disk, path, file, bytes: HEADER_BYTES as u64, is_finished: false })
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, record: &[u8]) -> Result<(), TsdbError> {
        let len = u32::try_from(record.len()).expect("records are about a megabyte");
        assert!(record.len() <= RECORD_BYTES_MAX, "a reader takes a larger record for damage");
        let mut frame = Vec::with_capacity(FRAME_BYTES + record.len());
        frame.extend_from_slice(&checksum(len, record).to_le_bytes());
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(record);
        self.bytes += frame.len() as u64;
        self.file.append(&frame).map_err(|error| TsdbError::disk(&self.path, error))
    }

    /// Makes it durable and puts it in the place of the one before. Returns its bytes.
    pub(crate) fn finish(mut self) -> Result<u64, TsdbError> {
        let path = self.path.clone();
        let fail = |error| TsdbError::disk(&path, error);
        self.file.sync_data().map_err(fail)?;
        let dir = path.parent().expect("a checkpoint lies in a tenant's folder");
        self.disk.rename(&filenames::temporary_checkpoint(dir), &path).map_err(fail)?;
        self.is_finished = true;
        self.disk.sync_dir(dir).map_err(fail)?;
        Ok(self.bytes)
    }
}

impl Drop for CheckpointWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // A full disk needs the room; the next checkpoint removes what stays.
            let dir = self.path.parent().expect("a checkpoint lies in a tenant's folder");
            let _ = self.disk.remove_file(&filenames::temporary_checkpoint(dir));
        }
    }
}

/// Hands the records of the checkpoint in a tenant's folder to `deliver`, in order. Fails when the disk does and when a
/// newer version wrote it; damage is in what is returned. A damaged one is copied aside.
pub(crate) fn read_checkpoint(
    disk: &dyn Disk,
    tenant_dir: &Path,
    mut deliver: impl FnMut(&[u8]),
) -> Result<ReadCheckpoint, TsdbError> {
    let path = filenames::checkpoint(tenant_dir);
    if !disk.exists(&path) {
        return Ok(ReadCheckpoint::default());
    }
    let fail = |error| TsdbError::disk(&path, error);
    let file = disk.open_read(&path).map_err(fail)?;
    let mut read = ReadCheckpoint { bytes: file.len().map_err(fail)?, ..ReadCheckpoint::default() };
    read_records(&file, &path, &mut read, &mut deliver)?;
    if read.damaged > 0 {
        let aside = filenames::damaged_checkpoint(tenant_dir);
        tracing::error!(
            path = %path.display(), records = read.damaged, aside = %aside.display(),
            "a checkpoint is damaged; what can be read of it is used"
        );
        if !disk.exists(&aside) {
            let bytes = disk.read(&path).map_err(fail)?;
            disk.write_atomically(&aside, &bytes).map_err(|error| TsdbError::disk(&aside, error))?;
        }
    }
    Ok(read)
}

fn read_records(
    file: &Arc<dyn ReadFile>,
    path: &Path,
    read: &mut ReadCheckpoint,
    deliver: &mut impl FnMut(&[u8]),
) -> Result<(), TsdbError> {
    let fail = |error| TsdbError::disk(path, error);
    let mut head = [0; HEADER_BYTES];
    let mut at = HEADER_BYTES as u64;
    if read.bytes < at {
        read.damaged = 1;
        return Ok(());
    }
    file.read_exact_at(0, &mut head).map_err(fail)?;
    match read_header(&head) {
        Ok(sequence) => read.sequence = sequence,
        Err(Some(version)) => return Err(TsdbError::version(path, version)),
        // Without the place in the log all of the log counts: samples that are in blocks come twice and are read once.
        Err(None) => read.damaged += 1,
    }
    let (mut record, mut ended) = (Vec::new(), false);
    while read.bytes - at >= FRAME_BYTES as u64 {
        let mut frame = [0; FRAME_BYTES];
        file.read_exact_at(at, &mut frame).map_err(fail)?;
        let (expected, len) = frame.split_at(4);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let (expected, len) = (number(expected), number(len));
        at += FRAME_BYTES as u64;
        if u64::from(len) > read.bytes - at || len as usize > RECORD_BYTES_MAX {
            break;
        }
        record.resize(len as usize, 0);
        file.read_exact_at(at, &mut record).map_err(fail)?;
        at += u64::from(len);
        if checksum(len, &record) != expected {
            read.damaged += 1;
            continue;
        }
        ended = record.first() == Some(&format::head_record::END);
        deliver(&record);
    }
    // The end is missing, or bytes follow it.
    read.damaged += u64::from(!ended || at != read.bytes);
    Ok(())
}

fn header(sequence: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..16]);
    header[16..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The sequence; `Err(Some)` with the version of another one, `Err(None)` for damage.
fn read_header(header: &[u8; HEADER_BYTES]) -> Result<u64, Option<u8>> {
    let checksum = u32::from_le_bytes(header[16..].try_into().expect("four bytes"));
    if header[..4] != MAGIC || checksum != crc32c::crc32c(&header[..16]) {
        return Err(None);
    }
    if header[4] != VERSION {
        return Err(Some(header[4]));
    }
    Ok(u64::from_le_bytes(header[8..16].try_into().expect("eight bytes")))
}

fn checksum(len: u32, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), record)
}

#[cfg(test)]
mod tests;

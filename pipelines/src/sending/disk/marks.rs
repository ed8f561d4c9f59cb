//! Which records of a queue's log are done with: a small file beside the log (`docs/formats/queue-v1.md`).
//!
//! A mark is appended without a sync: it survives the end of the program at any moment, and what a power loss takes is
//! delivered once more. A torn or damaged end of the file means the same. The file is written anew when it has grown,
//! with the number below which everything is done and the marks above it.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::{AppendFile, Disk};

use super::filenames;

/// Magic `TGQD`, version 1, three zero bytes.
const MAGIC_AND_VERSION: [u8; 8] = *b"TGQD\x01\0\0\0";

/// A number and its checksum.
const MARK_BYTES: usize = 12;

/// A file larger than this is written anew.
const FILE_BYTES_ENOUGH: u64 = 64 << 10;

/// The marks of one queue.
pub(super) struct Marks {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Box<dyn AppendFile>>,
    file_bytes: u64,
}

/// What a restart knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Everything below is done.
    pub(super) below: u64,
    /// Done too.
    pub(super) above: BTreeSet<u64>,
}

impl Done {
    pub(super) fn contains(&self, sequence: u64) -> bool {
        sequence < self.below || self.above.contains(&sequence)
    }
}

impl Marks {
    /// Reads the file in `dir`, if there is one. An error is one of the disk, or says that a newer program wrote it.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &std::path::Path) -> io::Result<(Self, Done)> {
        let path = dir.join(filenames::MARKS);
        let bytes = if disk.exists(&path) { disk.read(&path)? } else { Vec::new() };
        let done = read(&bytes)?;
        Ok((Self { disk, path, file: None, file_bytes: bytes.len() as u64 }, done))
    }

    /// Adds marks. After an error they may be there or not.
    pub(super) fn add(&mut self, sequences: &[u64]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(sequences.len() * MARK_BYTES);
        for sequence in sequences {
            put(&mut bytes, *sequence);
        }
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the file of marks is not open"));
        };
        file.append(&bytes)?;
        self.file_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether the file should be written anew.
    pub(super) fn is_large(&self) -> bool {
        self.file.is_none() || self.file_bytes > FILE_BYTES_ENOUGH
    }

    /// Writes the file anew and opens it for more marks.
    pub(super) fn rewrite(&mut self, done: &Done) -> io::Result<()> {
        let mut bytes = MAGIC_AND_VERSION.to_vec();
        put(&mut bytes, done.below);
        for sequence in &done.above {
            put(&mut bytes, *sequence);
        }
        self.file = None;
        self.disk.write_atomically(&self.path, &bytes)?;
        self.file = Some(self.disk.open_append(&self.path)?);
        self.file_bytes = bytes.len() as u64;
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, sequence: u64) {
    let number = sequence.to_le_bytes();
    out.extend_from_slice(&number);
    out.extend_from_slice(&crc32c::crc32c(&number).to_le_bytes());
}

fn read(bytes: &[u8]) -> io::Result<Done> {
    let mut done = Done::default();
    let Some((head, marks)) = bytes.split_first_chunk::<8>() else { return Ok(done) };
    if head[..4] == MAGIC_AND_VERSION[..4] && head[4] > MAGIC_AND_VERSION[4] {
        let text = format!("{} has version {}, this program reads 1", filenames::MARKS, head[4]);
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    if *head != MAGIC_AND_VERSION {
        return Ok(done);
    }
    let (marks, _torn) = marks.as_chunks::<MARK_BYTES>();
    let numbers = marks.iter().map_while(|mark| {
        let (number, crc) = mark.split_first_chunk::<8>()?;
        (crc32c::crc32c(number).to_le_bytes() == crc).then_some(u64::from_le_bytes(*number))
    });
    for (position, number) in numbers.enumerate() {
        match position {
            0 => done.below = number,
            _ => drop(done.above.insert(number)),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests;

//! What every query needs of a block, kept on the local disk: the front of its index with the symbols, the postings table
//! and table of contents at its end, and the headers of its files of chunks.
//!
//! The file is a cache: it is made of a few ranged requests, checked by its own checksum and those of the index, and one
//! that is damaged is made again. `docs/formats/index-header-v1.md` has its layout.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use format::{INDEX_TOC_BYTES, IndexToc, SEGMENT_HEADER_BYTES};
use runtime::{Disk, ReadFile};

use crate::error::{BucketError, BucketResult};
use crate::filenames::{CHUNKS, INDEX, INDEX_HEADER, of_block};
use crate::{Bucket, BucketBlock};

const MAGIC: [u8; 4] = *b"TGIH";
const VERSION: u32 = 1;
/// Magic, version, three lengths, number of chunk files, checksum.
const FIXED_BYTES: usize = 4 + 4 + 3 * 8 + 4 + 4;
/// The end of an index that is fetched first: in small blocks the whole postings table is in it.
const TAIL_BYTES: u64 = 64 << 10;
/// Parts in which the rest is fetched.
const PART_BYTES: u64 = 8 << 20;
/// Files of chunks that a block may have: as many as the index can name.
const SEGMENTS_MAX: usize = 1 << 16;

/// Parts of a block on the local disk.
pub(crate) struct IndexHeader {
    file: Arc<dyn ReadFile>,
    index_bytes: u64,
    /// The index up to here is in the file.
    front_bytes: u64,
    /// The index from here on is in the file.
    tail_at: u64,
    segments: Vec<[u8; SEGMENT_HEADER_BYTES]>,
    /// Where the parts are in the file.
    tail_in_file: u64,
    front_in_file: u64,
}

impl IndexHeader {
    /// Opens what the disk has of a block, or fetches it. Blocks.
    pub(crate) fn open(
        disk: &dyn Disk,
        folder: &Path,
        bucket: &Bucket,
        block: &BucketBlock,
    ) -> BucketResult<Self> {
        let path = path(folder, block);
        if disk.exists(&path) {
            match Self::read(disk, &path, block) {
                Ok(header) => return Ok(header),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a cached index header is damaged and made again");
                }
            }
        }
        make(disk, folder, bucket, block)?;
        Self::read(disk, &path, block).map_err(|error| BucketError::disk(&path, error))
    }

    /// Removes what the disk has of a block.
    pub(crate) fn remove(disk: &dyn Disk, folder: &Path, block: &BucketBlock) {
        let path = path(folder, block);
        if disk.exists(&path)
            && let Err(error) = disk.remove_file(&path)
        {
            tracing::warn!(%error, path = %path.display(), "a cached index header could not be removed");
        }
    }

    fn read(disk: &dyn Disk, path: &Path, block: &BucketBlock) -> io::Result<Self> {
        Self::parse(disk.open_read(path)?, block.object_bytes(INDEX))
    }

    /// Reads a file that is to be that of an index of so many bytes.
    fn parse(file: Arc<dyn ReadFile>, block_index_bytes: Option<u64>) -> io::Result<Self> {
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let mut fixed = [0; FIXED_BYTES];
        file.read_exact_at(0, &mut fixed)?;
        let (head, checksum) = fixed.split_last_chunk::<4>().expect("it is longer");
        let number = |at: usize| u64::from_be_bytes(*head[at..].first_chunk().expect("it is inside"));
        let small = |at: usize| u32::from_be_bytes(*head[at..].first_chunk().expect("it is inside"));
        if head[..4] != MAGIC || small(4) != VERSION {
            return Err(wrong("it is no index header of version 1"));
        }
        let (index_bytes, front_bytes, tail_at, count) =
            (number(8), number(16), number(24), small(32) as usize);
        let segments_bytes = count.checked_mul(SEGMENT_HEADER_BYTES).filter(|_| count <= SEGMENTS_MAX);
        let segments_bytes = segments_bytes.ok_or_else(|| wrong("it has too many files of chunks"))?;
        if file.len()? < (FIXED_BYTES + segments_bytes) as u64 {
            return Err(wrong("it ends early"));
        }
        let mut segments = vec![0; segments_bytes];
        file.read_exact_at(FIXED_BYTES as u64, &mut segments)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(head), &segments);
        if crc != u32::from_be_bytes(*checksum) {
            return Err(wrong("its checksum is wrong"));
        }
        let tail_in_file = (FIXED_BYTES + segments_bytes) as u64;
        if front_bytes > tail_at || tail_at > index_bytes || block_index_bytes != Some(index_bytes) {
            return Err(wrong("it is that of another index"));
        }
        let front_in_file = tail_in_file.saturating_add(index_bytes - tail_at);
        if front_in_file.checked_add(front_bytes) != Some(file.len()?) {
            return Err(wrong("it has another length than it says"));
        }
        let segments = segments.as_chunks::<SEGMENT_HEADER_BYTES>().0.to_vec();
        Ok(Self { file, index_bytes, front_bytes, tail_at, segments, tail_in_file, front_in_file })
    }

    /// The header of a file of chunks by its position.
    pub(crate) fn segment(&self, position: usize) -> Option<[u8; SEGMENT_HEADER_BYTES]> {
        self.segments.get(position).copied()
    }

    /// Where these bytes of the index are in the file, if they are.
    fn place(&self, range: &Range<u64>) -> Option<u64> {
        if range.end <= self.front_bytes {
            return Some(self.front_in_file + range.start);
        }
        (self.tail_at <= range.start && range.end <= self.index_bytes)
            .then(|| self.tail_in_file + (range.start - self.tail_at))
    }
}

/// Reads a cached index header and all that it has of an index of so many bytes; for fuzz targets.
pub fn check_index_header(file: Arc<dyn ReadFile>, index_bytes: u64) -> io::Result<()> {
    let header = IndexHeader::parse(file, Some(index_bytes))?;
    for range in [0..header.front_bytes, header.tail_at..index_bytes] {
        let place = header.place(&range).expect("what it has is in the file");
        // No longer than the file, whose length was checked.
        let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("it is in a file")];
        header.file.read_exact_at(place, &mut bytes)?;
    }
    assert!(header.segments.len() <= SEGMENTS_MAX, "there are no more than are allowed");
    Ok(())
}

fn path(folder: &Path, block: &BucketBlock) -> PathBuf {
    folder.join(format!("{}{INDEX_HEADER}", block.ulid()))
}

/// The names of a block's files of chunks, in order.
pub(crate) fn segments(block: &BucketBlock) -> impl Iterator<Item = &str> {
    let names = block.objects.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.strip_prefix(CHUNKS).is_some_and(|rest| rest.starts_with('/')))
}

/// Fetches the parts and writes the file.
fn make(disk: &dyn Disk, folder: &Path, bucket: &Bucket, block: &BucketBlock) -> BucketResult<()> {
    let name = of_block(block.ulid(), INDEX);
    let corrupt = |error: format::FormatError| BucketError::corrupt(&name, error.to_string());
    let missing = || BucketError::corrupt(&name, "it is missing");
    let index_bytes = block.object_bytes(INDEX).ok_or_else(missing)?;
    let get = |range: Range<u64>| bucket.wait(bucket.get_range(&name, range));
    let fetched_from = index_bytes.saturating_sub(TAIL_BYTES);
    let end = get(fetched_from..index_bytes)?;
    let toc_at = end.len().saturating_sub(INDEX_TOC_BYTES);
    let toc = IndexToc::decode(&end[toc_at..], index_bytes).map_err(corrupt)?;
    let mut fixed = Vec::with_capacity(FIXED_BYTES);
    fixed.extend_from_slice(&MAGIC);
    fixed.extend_from_slice(&VERSION.to_be_bytes());
    for number in [index_bytes, toc.series, toc.postings_table] {
        fixed.extend_from_slice(&number.to_be_bytes());
    }
    let names: Vec<&str> = segments(block).take(SEGMENTS_MAX).collect();
    fixed.extend_from_slice(&u32::try_from(names.len()).expect("it is capped").to_be_bytes());
    let mut headers = Vec::with_capacity(names.len() * SEGMENT_HEADER_BYTES);
    for segment in names {
        let segment = of_block(block.ulid(), segment);
        headers.extend(bucket.wait(bucket.get_range(&segment, 0..SEGMENT_HEADER_BYTES as u64))?);
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&fixed), &headers);
    fixed.extend_from_slice(&crc.to_be_bytes());

    let path = path(folder, block);
    // Two that need the same header at a time each make their own, and the second replaces an equal one.
    static MADE: AtomicU64 = AtomicU64::new(0);
    let temporary = path.with_extension(format!("{}.tmp", MADE.fetch_add(1, Ordering::Relaxed)));
    let write = || -> BucketResult<()> {
        let failed = |error| BucketError::disk(&temporary, error);
        disk.create_dir_all(folder).map_err(failed)?;
        if disk.exists(&temporary) {
            disk.remove_file(&temporary).map_err(failed)?;
        }
        let mut file = disk.create(&temporary).map_err(failed)?;
        file.append(&fixed).map_err(failed)?;
        file.append(&headers).map_err(failed)?;
        let mut at = toc.postings_table;
        while at < fetched_from {
            let until = fetched_from.min(at + PART_BYTES);
            file.append(&get(at..until)?).map_err(failed)?;
            at = until;
        }
        let held = usize::try_from(at - fetched_from).expect("it is inside what was fetched");
        file.append(&end[held..]).map_err(failed)?;
        let mut at = 0;
        while at < toc.series {
            let until = toc.series.min(at + PART_BYTES);
            if at >= fetched_from {
                let (from, to) = (at - fetched_from, until - fetched_from);
                let inside = usize::try_from(from).expect("small")..usize::try_from(to).expect("small");
                file.append(&end[inside]).map_err(failed)?;
            } else {
                file.append(&get(at..until)?).map_err(failed)?;
            }
            at = until;
        }
        // Not synced: a file that a power loss cut is found by its length or checksums and made again.
        disk.rename(&temporary, &path).map_err(failed)
    };
    let written = write();
    if written.is_err() && disk.exists(&temporary) {
        // On a full disk it would only take room.
        let _ = disk.remove_file(&temporary);
    }
    written
}

/// The index of a block: what the header has comes from the local disk, the rest from the bucket.
pub(crate) struct HeaderedFile<F> {
    header: Arc<IndexHeader>,
    rest: F,
}

impl<F: ReadFile> HeaderedFile<F> {
    pub(crate) fn new(header: Arc<IndexHeader>, rest: F) -> Self {
        Self { header, rest }
    }
}

impl<F: ReadFile> ReadFile for HeaderedFile<F> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.header.index_bytes)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        match self.header.place(&(offset..end)) {
            Some(at) => self.header.file.read_exact_at(at, out),
            None => self.rest.read_exact_at(offset, out),
        }
    }

    fn want(&self, ranges: &mut dyn Iterator<Item = Range<u64>>) {
        self.rest.want(&mut ranges.filter(|range| self.header.place(range).is_none()));
    }
}

/// A file of chunks: its header is at hand, the rest comes from the bucket.
pub(crate) struct SegmentFile<F> {
    pub(crate) header: [u8; SEGMENT_HEADER_BYTES],
    pub(crate) rest: F,
}

impl<F: ReadFile> ReadFile for SegmentFile<F> {
    fn len(&self) -> io::Result<u64> {
        self.rest.len()
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.header.get(from..from.saturating_add(out.len())) {
            Some(held) => {
                out.copy_from_slice(held);
                Ok(())
            }
            None => self.rest.read_exact_at(offset, out),
        }
    }

    fn want(&self, ranges: &mut dyn Iterator<Item = Range<u64>>) {
        self.rest.want(ranges);
    }
}

#[cfg(test)]
mod tests;

//! A block's index, version 2 (tsdb/docs/format/index.md and tsdb/index/index.go): symbols, series, postings, the
//! table of where each postings list is, and a table of contents at the end.
//!
//! Only bytes: [`IndexBuilder`] makes the file, the functions here read its parts from wherever they were fetched.
//! The two sections that Prometheus writes no more (label indices) are left out and not read.

mod build;
mod read;

pub use build::IndexBuilder;
pub use read::{
    IndexToc, PostingsEntry, Symbols, check_index_header, decode_postings, decode_series, frame_bytes,
    section_bytes, take_postings_entry, walk_postings_table,
};

/// Magic number and version in front.
const HEADER: [u8; INDEX_HEADER_BYTES] = [0xba, 0xaa, 0xd7, 0x00, 2];

/// Bytes of magic number and version.
pub const INDEX_HEADER_BYTES: usize = 5;

/// Bytes of the table of contents: six offsets and a checksum.
pub const INDEX_TOC_BYTES: usize = 6 * 8 + 4;

/// A series' number times this is its offset.
pub const SERIES_ALIGN: u64 = 16;

/// A chunk of a series: where it is and what time it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Time of the first sample, ms.
    pub min_time: i64,
    /// Time of the last sample, ms.
    pub max_time: i64,
    /// Number of the file from 0, in the high half, and offset in it.
    pub reference: u64,
}

impl ChunkMeta {
    /// Number of the chunk's file, from 0.
    pub fn segment(self) -> usize {
        usize::try_from(self.reference >> 32).expect("32 bits")
    }

    /// Offset of the chunk in its file.
    pub fn offset(self) -> u64 {
        self.reference & u64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests;

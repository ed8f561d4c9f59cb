//! Prometheus blocks: immutable folders of two hours and more of samples, `<ULID>/{meta.json,index,chunks/,tombstones}`.
//!
//! [`BlockReader`] selects series of one block through ranged reads, so that nothing but its sparse postings table and,
//! once asked, its symbols are in memory. [`BlockWriter`] makes a block in a temporary folder and renames it.
//! [`Blocks`] owns those of one tenant: it opens them, hands out snapshots, compacts, deletes and sets damaged ones
//! aside.
//!
//! - BLOCK-1: a block is whole or it is not there; leftovers of a write or a deletion that was cut are removed on open.
//! - BLOCK-2: everything that is read from a block is checked against its checksum; damage is an error, never a value.
//! - BLOCK-3: a block that a reader holds stays readable after it was compacted away or deleted.

mod analyze;
mod chunks;
mod index;
mod lookup;
mod names;
mod reader;
mod select;
mod spans;
mod verify;
mod walk;
mod windows;
mod writer;

use std::io::ErrorKind as IoKind;
use std::path::Path;

use format::FormatError;
use model::ErrorKind;
use storage_api::StorageError;

pub use analyze::{BlockAnalysis, ChunkAnalysis, analyze};
pub(crate) use names::{CHUNKS, INDEX, META, QUARANTINE, TOMBSTONES, deletion};
pub use names::{block_folders, is_leftover};
pub use reader::{BlockReader, BlockSeries};
pub use verify::BlockReport;
pub use walk::walk_samples;
pub use windows::{has_windows, walk_windows};
pub use writer::{BlockChunk, BlockWriter};

pub use format::{BlockMeta, ChunkSample};

/// Something in a block is not what it should be.
pub(crate) fn damaged(path: &Path, error: &FormatError) -> StorageError {
    StorageError::new(ErrorKind::Corrupt, format!("{}: {error}", path.display()))
}

/// The disk failed; a file that is shorter than it should be is damage.
pub(crate) fn failed(path: &Path, error: &std::io::Error) -> StorageError {
    let kind = match error.kind() {
        IoKind::UnexpectedEof | IoKind::NotFound => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    StorageError::new(kind, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;

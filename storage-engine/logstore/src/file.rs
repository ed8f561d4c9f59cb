//! Data files: Parquet that other tools read, with an index of our own that makes reading them back cheap.
//!
//! `rows` puts entries in order, `shapes` finds which metadata names come together, `writer` lays out the columns,
//! `reader` decodes pages. Cost sketch per entry of 200 line bytes and 8 metadata pairs at a flush: one comparison a
//! name, one copy a value, one copy of the line, zstd over all of it; nothing is allocated per entry.
//! Invariant FILE-1: every column of a page holds the same rows, so a page is read alone.

pub(crate) mod columns;
pub(crate) mod reader;
pub(crate) mod rollups;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod shapes;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

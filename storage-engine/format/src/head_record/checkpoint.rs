//! What only checkpoints hold: chunks of series, and the end with its counts.

use super::{damaged, take, take_bytes, take_u32};
use crate::FormatError;
use crate::varint::{put_uvarint, put_varint, take_varint};

/// A chunk of a [`super::CHUNKS`] record.
#[derive(Debug, PartialEq, Eq)]
pub struct ChunkItem<'a> {
    /// The shard.
    pub shard: u32,
    /// The number of the series in its shard.
    pub local: u32,
    /// Number of the encoding, as in Prometheus' files.
    pub encoding: u8,
    /// Time of the first sample, ms.
    pub min_ms: i64,
    /// Time of the last sample, ms.
    pub max_ms: i64,
    /// The chunk.
    pub data: &'a [u8],
}

/// Appends an item of a [`super::CHUNKS`] record.
pub fn put_chunk(out: &mut Vec<u8>, item: &ChunkItem<'_>) {
    put_uvarint(out, u64::from(item.shard));
    put_uvarint(out, u64::from(item.local));
    out.push(item.encoding);
    put_varint(out, item.min_ms);
    put_uvarint(out, item.max_ms.wrapping_sub(item.min_ms).cast_unsigned());
    put_uvarint(out, item.data.len() as u64);
    out.extend_from_slice(item.data);
}

/// Walks the items of a [`super::CHUNKS`] record.
pub fn read_chunks(mut items: &[u8], mut visit: impl FnMut(ChunkItem<'_>)) -> Result<(), FormatError> {
    while !items.is_empty() {
        let (shard, local) = (take_u32(&mut items)?, take_u32(&mut items)?);
        let (&encoding, rest) = items.split_first().ok_or_else(|| damaged("it ends inside an item"))?;
        items = rest;
        let min_ms = take_varint(&mut items).ok_or_else(|| damaged("it ends inside a number"))?;
        let max_ms = min_ms.wrapping_add(take(&mut items)?.cast_signed());
        let len = take(&mut items)?;
        let data = take_bytes(&mut items, len)?;
        visit(ChunkItem { shard, local, encoding, min_ms, max_ms, data });
    }
    Ok(())
}

/// Appends the body of an [`super::END`] or [`super::NUMBERS`] record: for each shard the number that its next new series gets.
pub fn put_end(out: &mut Vec<u8>, next_locals: &[u32]) {
    next_locals.iter().for_each(|next| put_uvarint(out, u64::from(*next)));
}

/// The numbers that the next new series of each shard get.
pub fn read_end(mut items: &[u8]) -> Result<Vec<u32>, FormatError> {
    let mut next_locals = Vec::new();
    while !items.is_empty() {
        next_locals.push(take_u32(&mut items)?);
    }
    Ok(next_locals)
}

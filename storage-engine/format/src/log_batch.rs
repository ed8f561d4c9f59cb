//! The write-ahead record of one appended log batch.
//!
//! Layout: version, generation, tenant, then per stream its labels, the shapes of its metadata and its entries column
//! by column, lines and own metadata values as one text each. Self-contained, so that any record can be replayed
//! without those before it. Framing and checksums are the write-ahead log's.

use std::sync::Arc;

use model::{Labels, LogColumns, LogEntries, MetadataShape, SlotValue, TenantId};

use crate::log_cursor::{Cursor, put_text, put_varint, put_zigzag};
use crate::log_error::{LogFormatError, LogFormatResult};
use crate::log_index::{get_labels, put_labels};

const UNIT: &str = "log write-ahead record";
const VERSION: u8 = 2;

/// A decoded record.
#[derive(Clone, Debug, PartialEq)]
pub struct LogBatchRecord {
    /// The generation of the write buffer that took the batch: once that is flushed, the record is history.
    pub generation: u64,
    /// Whose entries.
    pub tenant: TenantId,
    /// Streams with their entries.
    pub streams: Vec<(Labels, LogEntries)>,
}

/// Appends the record of a batch to `out`.
pub fn encode_log_batch<'a>(
    generation: u64,
    tenant: &TenantId,
    streams: impl ExactSizeIterator<Item = (&'a Labels, &'a LogEntries)>,
    out: &mut Vec<u8>,
) {
    out.push(VERSION);
    put_varint(generation, out);
    put_text(tenant.as_str(), out);
    put_varint(streams.len() as u64, out);
    for (labels, entries) in streams {
        put_labels(labels, out);
        put_entries(entries, out);
    }
}

fn put_entries(entries: &LogEntries, out: &mut Vec<u8>) {
    let text = entries.lines().len() + entries.values().len();
    out.reserve(text + entries.len() * 10 + entries.value_ends().len() + 32);
    put_varint(entries.shapes().len() as u64, out);
    entries.shapes().iter().for_each(|shape| put_shape(shape, out));
    put_varint(entries.len() as u64, out);
    let mut last = 0i64;
    for &timestamp in entries.timestamps_ns() {
        put_zigzag(timestamp.wrapping_sub(last), out);
        last = timestamp;
    }
    entries.entry_shapes().iter().for_each(|&shape| put_varint(u64::from(shape), out));
    put_lengths(entries.line_ends(), out);
    put_lengths(entries.value_ends(), out);
    put_text(entries.lines(), out);
    put_text(entries.values(), out);
}

/// Each slot: its name, and its value's length plus one and its value when it is shared, or 0.
fn put_shape(shape: &MetadataShape, out: &mut Vec<u8>) {
    put_varint(shape.len() as u64, out);
    for (name, value) in shape.slots() {
        put_text(name, out);
        match value {
            SlotValue::Own(_) => out.push(0),
            SlotValue::Shared(value) => {
                put_varint(value.len() as u64 + 1, out);
                out.extend_from_slice(value.as_bytes());
            }
        }
    }
}

fn put_lengths(ends: &[u32], out: &mut Vec<u8>) {
    let mut last = 0;
    for &end in ends {
        put_varint(u64::from(end - last), out);
        last = end;
    }
}

/// Reads a record back.
pub fn decode_log_batch(bytes: &[u8]) -> LogFormatResult<LogBatchRecord> {
    let mut cursor = Cursor::new(UNIT, bytes);
    let version = cursor.u8()?;
    if version != VERSION {
        return Err(LogFormatError::Version { unit: UNIT, got: version.into(), known: VERSION.into() });
    }
    let generation = cursor.varint()?;
    let tenant =
        TenantId::new(cursor.text()?).map_err(|_| cursor.damaged("its tenant id breaks the rules"))?;
    let count = cursor.count(4)?;
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push((get_labels(&mut cursor)?, get_entries(&mut cursor)?));
    }
    cursor.finish()?;
    Ok(LogBatchRecord { generation, tenant, streams })
}

fn get_entries(cursor: &mut Cursor<'_>) -> LogFormatResult<LogEntries> {
    let shape_count = cursor.count(1)?;
    let mut shapes = Vec::with_capacity(shape_count);
    for _ in 0..shape_count {
        shapes.push(get_shape(cursor)?);
    }
    // An entry has a byte at least of time, shape and line length each.
    let count = cursor.count(3)?;
    let mut timestamps_ns = Vec::with_capacity(count);
    let mut last = 0i64;
    for _ in 0..count {
        last = last.wrapping_add(cursor.zigzag()?);
        timestamps_ns.push(last);
    }
    let (mut entry_shapes, mut values) = (Vec::with_capacity(count), 0usize);
    for _ in 0..count {
        let position = cursor.varint_u32()?;
        let shape: Option<&Arc<MetadataShape>> = shapes.get(position as usize);
        let shape = shape.ok_or_else(|| cursor.damaged("an entry of a shape that is not there"))?;
        values += shape.own_count();
        entry_shapes.push(position);
    }
    let line_ends = get_lengths(cursor, count)?;
    if values > cursor.rest().len() {
        return Err(cursor.damaged("a count passes the bytes that are there"));
    }
    let value_ends = get_lengths(cursor, values)?;
    let (lines, values) = (cursor.text()?.to_owned(), cursor.text()?.to_owned());
    let columns = LogColumns { timestamps_ns, lines, line_ends, shapes, entry_shapes, values, value_ends };
    LogEntries::from_columns(columns).ok_or_else(|| cursor.damaged("its columns do not fit together"))
}

fn get_shape(cursor: &mut Cursor<'_>) -> LogFormatResult<Arc<MetadataShape>> {
    let count = cursor.count(2)?;
    let mut slots = Vec::with_capacity(count);
    for _ in 0..count {
        let name = cursor.text()?;
        let value = match cursor.varint_usize()? {
            0 => None,
            length => Some(cursor.text_of(length - 1)?),
        };
        slots.push((name, value));
    }
    Ok(Arc::new(MetadataShape::new(slots)))
}

fn get_lengths(cursor: &mut Cursor<'_>, count: usize) -> LogFormatResult<Vec<u32>> {
    let mut ends = Vec::with_capacity(count);
    let mut end = 0u32;
    for _ in 0..count {
        let length = cursor.varint_u32()?;
        end = end.checked_add(length).ok_or_else(|| cursor.damaged("its lengths pass 32 bits"))?;
        ends.push(end);
    }
    Ok(ends)
}

#[cfg(test)]
mod tests;

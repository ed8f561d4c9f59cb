//! The write-ahead record of one appended log batch.
//!
//! Layout: version, generation, tenant, then per stream its labels and its entries column by column, lines and
//! metadata as one text each. Self-contained, so that any record can be replayed without those before it. Framing and
//! checksums are the write-ahead log's.

use model::{Labels, LogEntries, TenantId};

use crate::log_cursor::{Cursor, put_text, put_varint, put_zigzag};
use crate::log_error::{LogFormatError, LogFormatResult};
use crate::log_index::{get_labels, put_labels};

const UNIT: &str = "log write-ahead record";
const VERSION: u8 = 1;

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
    out.reserve(entries.text_bytes() + entries.len() * 10 + entries.piece_ends().len() + 32);
    put_varint(entries.len() as u64, out);
    let mut last = 0i64;
    for &timestamp in entries.timestamps_ns() {
        put_zigzag(timestamp.wrapping_sub(last), out);
        last = timestamp;
    }
    put_lengths(entries.line_ends(), out);
    put_lengths(entries.entry_pieces(), out);
    put_lengths(entries.piece_ends(), out);
    put_text(entries.lines(), out);
    put_text(entries.metadata_text(), out);
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
    // An entry has a byte at least of time, line length and piece count each.
    let count = cursor.count(3)?;
    let mut timestamps_ns = Vec::with_capacity(count);
    let mut last = 0i64;
    for _ in 0..count {
        last = last.wrapping_add(cursor.zigzag()?);
        timestamps_ns.push(last);
    }
    let line_ends = get_lengths(cursor, count)?;
    let entry_pieces = get_lengths(cursor, count)?;
    let pieces = entry_pieces.last().map_or(0, |&end| end as usize);
    if pieces > cursor.rest().len() {
        return Err(cursor.damaged("a count passes the bytes that are there"));
    }
    let piece_ends = get_lengths(cursor, pieces)?;
    let (lines, metadata) = (cursor.text()?.to_owned(), cursor.text()?.to_owned());
    LogEntries::from_columns(timestamps_ns, lines, line_ends, metadata, piece_ends, entry_pieces)
        .ok_or_else(|| cursor.damaged("its columns do not fit together"))
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

//! Bytes of each section of the log file index.

use model::Labels;

use super::{
    LogColumnKind, LogFileColumn, LogFileIndex, LogFilePage, LogFileStream, LogMinuteStart, LogRollup,
    LogShape, LogShapeSlot, PAGE_RAW_BYTES_MAX, PAGE_ROWS_MAX, PageBytes, SignatureBytes,
};
use crate::log_cursor::{Cursor, put_text, put_varint, put_zigzag};
use crate::log_error::LogFormatResult;

/// Bytes that a page location takes at least: five one-byte numbers and the checksum.
const PAGE_BYTES_MIN: usize = 5 + 4;

pub(super) fn encode_head(index: &LogFileIndex) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(index.generation, &mut out);
    out
}

pub(super) fn decode_head(mut cursor: Cursor<'_>) -> LogFormatResult<u64> {
    let generation = cursor.varint()?;
    cursor.finish()?;
    Ok(generation)
}

/// Appends labels: their count, then names and values.
pub(crate) fn put_labels(labels: &Labels, out: &mut Vec<u8>) {
    put_varint(labels.len() as u64, out);
    for (name, value) in labels.iter() {
        put_text(name, out);
        put_text(value, out);
    }
}

pub(crate) fn get_labels(cursor: &mut Cursor<'_>) -> LogFormatResult<Labels> {
    let count = cursor.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((cursor.text()?, cursor.text()?));
    }
    Labels::try_from_sorted(&pairs).ok_or_else(|| cursor.damaged("labels out of order or empty"))
}

pub(super) fn encode_streams(streams: &[LogFileStream]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(streams.len() as u64, &mut out);
    for stream in streams {
        put_labels(&stream.labels, &mut out);
        put_varint(stream.rows, &mut out);
        put_varint(stream.line_bytes, &mut out);
        put_varint(stream.metadata_bytes, &mut out);
        put_zigzag(stream.min_ns, &mut out);
        put_varint(stream.max_ns.wrapping_sub(stream.min_ns) as u64, &mut out);
    }
    out
}

pub(super) fn decode_streams(mut cursor: Cursor<'_>) -> LogFormatResult<Vec<LogFileStream>> {
    let count = cursor.count(6)?;
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let labels = get_labels(&mut cursor)?;
        let (rows, line_bytes, metadata_bytes) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let min_ns = cursor.zigzag()?;
        let max_ns = min_ns.wrapping_add(cursor.varint()? as i64);
        if rows == 0 || max_ns < min_ns {
            return Err(cursor.damaged("a stream without rows or time"));
        }
        streams.push(LogFileStream { labels, rows, line_bytes, metadata_bytes, min_ns, max_ns });
    }
    cursor.finish()?;
    Ok(streams)
}

fn put_page(page: &PageBytes, out: &mut Vec<u8>) {
    put_varint(u64::from(page.header_bytes), out);
    put_varint(u64::from(page.stored_bytes), out);
    put_varint(u64::from(page.level_bytes), out);
    put_varint(page.raw_bytes.map_or(0, |raw| u64::from(raw) + 1), out);
    put_varint(u64::from(page.values), out);
    out.extend_from_slice(&page.crc32c.to_le_bytes());
}

/// Reads a page's bytes and moves `offset` past it.
fn get_page(cursor: &mut Cursor<'_>, offset: &mut u64) -> LogFormatResult<PageBytes> {
    let page = PageBytes {
        offset: *offset,
        header_bytes: cursor.varint_u32()?,
        stored_bytes: cursor.varint_u32()?,
        level_bytes: cursor.varint_u32()?,
        raw_bytes: cursor.varint_u32()?.checked_sub(1),
        values: cursor.varint_u32()?,
        crc32c: cursor.u32()?,
    };
    let too_large =
        page.raw_bytes.is_some_and(|raw| raw > PAGE_RAW_BYTES_MAX) || page.level_bytes > page.stored_bytes;
    let end = offset.checked_add(u64::from(page.header_bytes) + u64::from(page.stored_bytes));
    let (false, Some(end)) = (too_large, end) else {
        return Err(cursor.damaged("a page of impossible size"));
    };
    *offset = end;
    Ok(page)
}

pub(super) fn encode_columns(columns: &[LogFileColumn]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(columns.len() as u64, &mut out);
    for column in columns {
        out.push(column.kind as u8);
        put_text(&column.name, &mut out);
        match &column.dictionary {
            None => out.push(0),
            Some(page) => {
                out.push(1);
                put_varint(page.offset, &mut out);
                put_page(page, &mut out);
            }
        }
    }
    out
}

pub(super) fn decode_columns(mut cursor: Cursor<'_>) -> LogFormatResult<Vec<LogFileColumn>> {
    let count = cursor.count(3)?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = match cursor.u8()? {
            0 => LogColumnKind::Timestamp,
            1 => LogColumnKind::Body,
            2 => LogColumnKind::Shape,
            3 => LogColumnKind::Metadata,
            4 => LogColumnKind::RestValues,
            _ => return Err(cursor.damaged("a column of unknown kind")),
        };
        let name = cursor.text()?.to_owned();
        let dictionary = match cursor.u8()? {
            0 => None,
            1 => {
                let mut offset = cursor.varint()?;
                Some(get_page(&mut cursor, &mut offset)?)
            }
            _ => return Err(cursor.damaged("a flag that is neither 0 nor 1")),
        };
        columns.push(LogFileColumn { kind, name, dictionary });
    }
    cursor.finish()?;
    Ok(columns)
}

pub(super) fn encode_shapes(shapes: &[LogShape]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(shapes.len() as u64, &mut out);
    for shape in shapes {
        put_varint(shape.slots.len() as u64, &mut out);
        for slot in &shape.slots {
            // A slot with a column takes its name from there.
            put_varint(slot.column.map_or(0, |column| u64::from(column) + 1), &mut out);
            if slot.column.is_none() {
                put_text(&slot.name, &mut out);
            }
        }
    }
    out
}

pub(super) fn decode_shapes(
    mut cursor: Cursor<'_>,
    columns: &[LogFileColumn],
) -> LogFormatResult<Vec<LogShape>> {
    let count = cursor.count(1)?;
    let mut shapes = Vec::with_capacity(count);
    for _ in 0..count {
        let slot_count = cursor.count(1)?;
        let mut slots = Vec::with_capacity(slot_count);
        for _ in 0..slot_count {
            let column = cursor.varint_u32()?.checked_sub(1);
            let name = match column {
                None => cursor.text()?.to_owned(),
                Some(column) => match columns.get(column as usize) {
                    Some(LogFileColumn { kind: LogColumnKind::Metadata, name, .. }) => name.clone(),
                    _ => return Err(cursor.damaged("a shape names a column that is not there")),
                },
            };
            slots.push(LogShapeSlot { name, column });
        }
        shapes.push(LogShape { slots });
    }
    cursor.finish()?;
    Ok(shapes)
}

/// Rows and times page by page, then the places column by column, whose pages lie one after the other.
pub(super) fn encode_pages(pages: &[LogFilePage], columns: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(pages.len() as u64, &mut out);
    let mut last = 0i64;
    for page in pages {
        put_varint(u64::from(page.rows), &mut out);
        put_zigzag(page.first_ns.wrapping_sub(last), &mut out);
        put_zigzag(page.last_ns.wrapping_sub(page.first_ns), &mut out);
        last = page.first_ns;
    }
    for column in 0..columns {
        let mut expected = pages.first().map_or(0, |page| page.columns[column].offset);
        put_varint(expected, &mut out);
        for page in pages {
            let place = &page.columns[column];
            assert_eq!(place.offset, expected, "pages of a column lie one after the other");
            put_page(place, &mut out);
            expected += u64::from(place.header_bytes) + u64::from(place.stored_bytes);
        }
    }
    out
}

pub(super) fn decode_pages(mut cursor: Cursor<'_>, columns: usize) -> LogFormatResult<Vec<LogFilePage>> {
    let count = cursor.count(3 + columns * PAGE_BYTES_MIN)?;
    let mut pages: Vec<LogFilePage> = Vec::with_capacity(count);
    let mut last = 0i64;
    for _ in 0..count {
        let rows = cursor.varint_u32()?;
        if rows == 0 || rows > PAGE_ROWS_MAX {
            return Err(cursor.damaged("a page of impossible size"));
        }
        let first_ns = last.wrapping_add(cursor.zigzag()?);
        let last_ns = first_ns.wrapping_add(cursor.zigzag()?);
        pages.push(LogFilePage { rows, first_ns, last_ns, columns: Vec::with_capacity(columns) });
        last = first_ns;
    }
    for _ in 0..columns {
        let mut offset = cursor.varint()?;
        for page in &mut pages {
            page.columns.push(get_page(&mut cursor, &mut offset)?);
        }
    }
    cursor.finish()?;
    Ok(pages)
}

pub(super) fn encode_rollups(levels: &[String], rollups: &[LogRollup]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(levels.len() as u64, &mut out);
    levels.iter().for_each(|level| put_text(level, &mut out));
    put_varint(rollups.len() as u64, &mut out);
    let (mut stream, mut minute) = (0, 0);
    for rollup in rollups {
        put_varint(u64::from(rollup.stream - stream), &mut out);
        put_zigzag(rollup.minute.wrapping_sub(minute), &mut out);
        put_varint(u64::from(rollup.level), &mut out);
        put_varint(rollup.entries, &mut out);
        put_varint(rollup.bytes, &mut out);
        (stream, minute) = (rollup.stream, rollup.minute);
    }
    out
}

pub(super) fn decode_rollups(
    mut cursor: Cursor<'_>,
    streams: usize,
) -> LogFormatResult<(Vec<String>, Vec<LogRollup>)> {
    let level_count = cursor.count(1)?;
    let mut levels = Vec::with_capacity(level_count);
    for _ in 0..level_count {
        levels.push(cursor.text()?.to_owned());
    }
    let count = cursor.count(5)?;
    let mut rollups = Vec::with_capacity(count);
    let (mut stream, mut minute) = (0u32, 0i64);
    for _ in 0..count {
        stream = stream.saturating_add(cursor.varint_u32()?);
        minute = minute.wrapping_add(cursor.zigzag()?);
        let level = cursor.varint_u32()?;
        if stream as usize >= streams || level as usize >= levels.len() {
            return Err(cursor.damaged("a count of a stream or level that is not there"));
        }
        let (entries, bytes) = (cursor.varint()?, cursor.varint()?);
        rollups.push(LogRollup { stream, minute, level, entries, bytes });
    }
    cursor.finish()?;
    Ok((levels, rollups))
}

pub(super) fn encode_minute_starts(starts: &[LogMinuteStart]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(starts.len() as u64, &mut out);
    let mut last = 0;
    for start in starts {
        put_varint(u64::from(start.rollup - last), &mut out);
        put_varint(start.entries, &mut out);
        put_varint(start.bytes, &mut out);
        last = start.rollup;
    }
    out
}

pub(super) fn decode_minute_starts(
    mut cursor: Cursor<'_>,
    rollups: &[LogRollup],
) -> LogFormatResult<Vec<LogMinuteStart>> {
    let count = cursor.count(3)?;
    let mut starts = Vec::with_capacity(count);
    let mut last = 0u32;
    for number in 0..count {
        let step = cursor.varint_u32()?;
        let start = LogMinuteStart {
            rollup: last.saturating_add(step),
            entries: cursor.varint()?,
            bytes: cursor.varint()?,
        };
        let fits = |rollup: &LogRollup| start.entries <= rollup.entries && start.bytes <= rollup.bytes;
        if (number > 0 && step == 0) || !rollups.get(start.rollup as usize).is_some_and(fits) {
            return Err(cursor.damaged("a count at the start of a minute that does not fit its minute"));
        }
        last = start.rollup;
        starts.push(start);
    }
    cursor.finish()?;
    Ok(starts)
}

pub(super) fn encode_signatures(place: &SignatureBytes) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(place.offset, &mut out);
    put_varint(u64::from(place.bytes), &mut out);
    out.extend_from_slice(&place.crc32c.to_le_bytes());
    out
}

pub(super) fn decode_signatures(mut cursor: Cursor<'_>) -> LogFormatResult<SignatureBytes> {
    let place =
        SignatureBytes { offset: cursor.varint()?, bytes: cursor.varint_u32()?, crc32c: cursor.u32()? };
    cursor.finish()?;
    Ok(place)
}

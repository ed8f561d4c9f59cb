//! The index that a log file carries before its Parquet footer: which streams, pages and columns there are, and
//! counts by minute and level.
//!
//! Layout (docs/formats/logs-v1.md): magic, version, a table of sections (kind, version, offset, length, CRC32C), a
//! CRC32C of all that, then the sections. A reader skips kinds that it does not know, so page signatures, filters and
//! sketches are new kinds beside these. Invariant LOGINDEX-1: rows are numbered through the file, streams and pages
//! each cover all of them without a gap. It holds no page bytes and reads no file.

mod sections;

pub(crate) use sections::{get_labels, put_labels};

use model::Labels;

use crate::log_cursor::Cursor;
use crate::log_error::{LogFormatError, LogFormatResult};

const UNIT: &str = "log file index";
const MAGIC: &[u8; 8] = b"TGLOGIDX";
const VERSION: u16 = 1;
/// Version of every section kind below; a kind's layout changes only together with its number.
const SECTION_VERSION: u16 = 1;
const SECTION_ENTRY_BYTES: usize = 2 + 2 + 4 + 4 + 4;

/// Most rows that a page may have, so that run-length encoded bytes cannot ask for unlimited memory.
pub const PAGE_ROWS_MAX: u32 = 1 << 20;
/// Most bytes that one column of a page or a dictionary may decompress to, for the same reason.
pub const PAGE_RAW_BYTES_MAX: u32 = 256 << 20;

/// Kinds of sections, by their number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Section {
    Head = 1,
    Streams = 2,
    Columns = 3,
    Shapes = 4,
    Pages = 5,
    Rollups = 6,
    Signatures = 7,
    MinuteStarts = 8,
}

/// All that a log file's index says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogFileIndex {
    /// Which generation of the write buffer the file was written from.
    pub generation: u64,
    /// The streams in label order, which is the order of their rows. Their position is their `stream_id`.
    pub streams: Vec<LogFileStream>,
    /// The columns that the store reads back.
    pub columns: Vec<LogFileColumn>,
    /// The distinct lists of metadata names; a row's position in here is its value in the shape column.
    pub shapes: Vec<LogShape>,
    /// The pages in row order. Every column has the same row boundaries.
    pub pages: Vec<LogFilePage>,
    /// Names of levels that `rollups` refers to; "" for entries without one.
    pub levels: Vec<String>,
    /// Counts by stream, minute and level, in that order.
    pub rollups: Vec<LogRollup>,
    /// Which of `rollups` have entries at the very start of their minute, ascending; `None` when the file does not
    /// tell.
    pub minute_starts: Option<Vec<LogMinuteStart>>,
    /// Where the page signatures are, if the file has some.
    pub signatures: Option<SignatureBytes>,
}

/// One stream of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileStream {
    /// Its labels.
    pub labels: Labels,
    /// How many rows it has; its first follows the last of the stream before it.
    pub rows: u64,
    /// Bytes of its lines.
    pub line_bytes: u64,
    /// Bytes of names and values of its structured metadata.
    pub metadata_bytes: u64,
    /// Its oldest entry, ns.
    pub min_ns: i64,
    /// Its newest entry, ns.
    pub max_ns: i64,
}

/// Where a file's page signatures lie. They are no part of the index' bytes: only queries for texts need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignatureBytes {
    /// Where they start in the file.
    pub offset: u64,
    /// How many bytes they have.
    pub bytes: u32,
    /// CRC32C of them.
    pub crc32c: u32,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LogColumnKind {
    /// Entry times, DELTA_BINARY_PACKED.
    Timestamp = 0,
    /// Lines, DELTA_LENGTH_BYTE_ARRAY.
    Body = 1,
    /// Position in the shapes, DELTA_BINARY_PACKED.
    Shape = 2,
    /// Values of one metadata name, DELTA_LENGTH_BYTE_ARRAY or RLE_DICTIONARY.
    Metadata = 3,
    /// Values of all other metadata, DELTA_LENGTH_BYTE_ARRAY.
    RestValues = 4,
}

/// One column of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileColumn {
    /// What it holds.
    pub kind: LogColumnKind,
    /// The metadata name for [`LogColumnKind::Metadata`], else empty.
    pub name: String,
    /// Its dictionary page, if values are positions in one.
    pub dictionary: Option<PageBytes>,
}

/// Where a Parquet page lies and how to check and decompress it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageBytes {
    /// Where its header starts in the file.
    pub offset: u64,
    /// Bytes of its header.
    pub header_bytes: u32,
    /// Bytes after the header: levels, then values.
    pub stored_bytes: u32,
    /// Bytes of the levels, which are never compressed.
    pub level_bytes: u32,
    /// Bytes of the values before compression; `None` when they are stored as they are.
    pub raw_bytes: Option<u32>,
    /// How many values are stored (absent ones have none).
    pub values: u32,
    /// CRC32C of the bytes after the header.
    pub crc32c: u32,
}

/// One entry of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogShapeSlot {
    /// The metadata name.
    pub name: String,
    /// Position in [`LogFileIndex::columns`] of the column that has the value, or `None` for the column of all others.
    pub column: Option<u32>,
}

/// Metadata names of a row in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogShape {
    /// The names.
    pub slots: Vec<LogShapeSlot>,
}

/// One page: a range of rows, in every column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilePage {
    /// How many rows.
    pub rows: u32,
    /// Time of its first row, ns.
    pub first_ns: i64,
    /// Time of its last row, ns.
    pub last_ns: i64,
    /// Where its part of each of [`LogFileIndex::columns`] lies.
    pub columns: Vec<PageBytes>,
}

/// Entries of one stream, minute and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRollup {
    /// Position in [`LogFileIndex::streams`].
    pub stream: u32,
    /// Minutes since the Unix epoch.
    pub minute: i64,
    /// Position in [`LogFileIndex::levels`].
    pub level: u32,
    /// How many entries.
    pub entries: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

/// Entries of a rollup whose time is just the start of its minute: ranges of queries exclude their start and include
/// their end, so that a sum of whole minutes has to tell these from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMinuteStart {
    /// Position in [`LogFileIndex::rollups`].
    pub rollup: u32,
    /// How many entries.
    pub entries: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

impl LogFileIndex {
    /// The index as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut sections = vec![
            (Section::Head, sections::encode_head(self)),
            (Section::Streams, sections::encode_streams(&self.streams)),
            (Section::Columns, sections::encode_columns(&self.columns)),
            (Section::Shapes, sections::encode_shapes(&self.shapes)),
            (Section::Pages, sections::encode_pages(&self.pages, self.columns.len())),
            (Section::Rollups, sections::encode_rollups(&self.levels, &self.rollups)),
        ];
        if let Some(starts) = &self.minute_starts {
            sections.push((Section::MinuteStarts, sections::encode_minute_starts(starts)));
        }
        if let Some(place) = &self.signatures {
            sections.push((Section::Signatures, sections::encode_signatures(place)));
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(sections.len() as u16).to_le_bytes());
        let mut offset = out.len() + sections.len() * SECTION_ENTRY_BYTES + 4;
        for (kind, bytes) in &sections {
            out.extend_from_slice(&(*kind as u16).to_le_bytes());
            out.extend_from_slice(&SECTION_VERSION.to_le_bytes());
            for field in [offset as u32, bytes.len() as u32, crc32c::crc32c(bytes)] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            offset += bytes.len();
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        sections.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
        assert!(u32::try_from(out.len()).is_ok(), "section offsets have 32 bits");
        out
    }

    /// Reads an index back, checking every checksum and that its parts fit together.
    pub fn decode(bytes: &[u8]) -> LogFormatResult<Self> {
        let table = section_table(bytes)?;
        let section = |kind: Section, name: &'static str| {
            let &(_, version, body) = table
                .iter()
                .find(|(found, ..)| *found == kind as u16)
                .ok_or_else(|| LogFormatError::damaged(UNIT, "a section is missing"))?;
            match version {
                SECTION_VERSION => Ok(Cursor::new(UNIT, body)),
                got => Err(LogFormatError::Version { unit: name, got, known: SECTION_VERSION }),
            }
        };
        let generation = sections::decode_head(section(Section::Head, "section head")?)?;
        let streams = sections::decode_streams(section(Section::Streams, "section streams")?)?;
        let columns = sections::decode_columns(section(Section::Columns, "section columns")?)?;
        let shapes = sections::decode_shapes(section(Section::Shapes, "section shapes")?, &columns)?;
        let pages = sections::decode_pages(section(Section::Pages, "section pages")?, columns.len())?;
        let (levels, rollups) =
            sections::decode_rollups(section(Section::Rollups, "section rollups")?, streams.len())?;
        let has_signatures = table.iter().any(|&(kind, ..)| kind == Section::Signatures as u16);
        let signatures = has_signatures
            .then(|| sections::decode_signatures(section(Section::Signatures, "section signatures")?))
            .transpose()?;
        let has_starts = table.iter().any(|&(kind, ..)| kind == Section::MinuteStarts as u16);
        let minute_starts = has_starts
            .then(|| section(Section::MinuteStarts, "section minute starts"))
            .transpose()?
            .map(|cursor| sections::decode_minute_starts(cursor, &rollups))
            .transpose()?;
        let index =
            Self { generation, streams, columns, shapes, pages, levels, rollups, minute_starts, signatures };
        let rows = index.streams.iter().try_fold(0u64, |sum, stream| sum.checked_add(stream.rows));
        if rows != Some(index.pages.iter().map(|page| u64::from(page.rows)).sum()) {
            return Err(LogFormatError::damaged(UNIT, "its streams and its pages differ in rows"));
        }
        Ok(index)
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.pages.iter().map(|page| u64::from(page.rows)).sum()
    }

    /// Position of the column of `kind`, for kinds that a file has once.
    pub fn column(&self, kind: LogColumnKind) -> Option<usize> {
        self.columns.iter().position(|column| column.kind == kind)
    }

    /// Bytes of memory that it takes, about.
    pub fn memory_bytes(&self) -> usize {
        let pages: usize =
            self.pages.iter().map(|page| 56 + page.columns.len() * size_of::<PageBytes>()).sum();
        let shapes: usize = self.shapes.iter().map(|shape| 24 + shape.slots.len() * 64).sum();
        let streams: usize = self.streams.iter().map(|stream| 160 + stream.labels.text_bytes()).sum();
        let starts =
            self.minute_starts.as_ref().map_or(0, |starts| starts.len() * size_of::<LogMinuteStart>());
        pages
            + shapes
            + streams
            + starts
            + self.columns.len() * 96
            + self.rollups.len() * size_of::<LogRollup>()
    }
}

/// Kind, version and bytes of each section, checksums checked.
fn section_table(bytes: &[u8]) -> LogFormatResult<Vec<(u16, u16, &[u8])>> {
    let mut cursor = Cursor::new(UNIT, bytes);
    if cursor.bytes(MAGIC.len())? != MAGIC {
        return Err(cursor.damaged("it does not start with its magic"));
    }
    let version = cursor.u16()?;
    if version != VERSION {
        return Err(LogFormatError::Version { unit: UNIT, got: version, known: VERSION });
    }
    let count = usize::from(cursor.u16()?);
    let table = cursor.bytes(count * SECTION_ENTRY_BYTES)?;
    let checked = &bytes[..bytes.len() - cursor.rest().len()];
    if cursor.u32()? != crc32c::crc32c(checked) {
        return Err(cursor.damaged("the checksum of its section table is wrong"));
    }
    let mut entries = Cursor::new(UNIT, table);
    let mut sections = Vec::with_capacity(count);
    for _ in 0..count {
        let (kind, version) = (entries.u16()?, entries.u16()?);
        let (offset, length, crc) = (entries.u32()? as usize, entries.u32()? as usize, entries.u32()?);
        let body = bytes
            .get(offset..offset.saturating_add(length))
            .ok_or_else(|| entries.damaged("a section lies outside it"))?;
        if crc32c::crc32c(body) != crc {
            return Err(entries.damaged("the checksum of a section is wrong"));
        }
        sections.push((kind, version, body));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests;

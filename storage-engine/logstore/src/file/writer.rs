//! Writes a data file: sorted streams in, the bytes of a Parquet file with our index out.
//!
//! Column after column, as Parquet lays them out, each walking the same rows with the same page cuts. Values are
//! borrowed from the write buffer until they are copied into a page.

mod metadata;

use bytes::Bytes;
use format::{
    ByteColumn, LogColumnKind, LogFileColumn, LogFileIndex, LogFilePage, LogFileStream, PAGE_ROWS_MAX,
    PageBytes, SignatureBuilder, SignatureBytes, encode_delta, encode_delta_length,
};
use model::LogEntries;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;

use super::columns::{ColumnChunk, ColumnSink, Levels, PageCompressor, PageValues};
use super::rollups::RollupBuilder;
use super::rows::{RowRef, SortedStream, span};
use super::schema::{self, LabelColumn};
use super::shapes::{ShapePlan, ShapeTable};
use crate::error::LogStoreResult;

/// Key of the footer's key-value pair that tells where our index is: `v1 <offset> <bytes>`.
pub(crate) const INDEX_KEY: &str = "tidegate.log_index";
/// Metadata name that rollups count by (Loki's, pkg/distributor/field_detection.go).
const LEVEL_NAME: &str = "detected_level";
/// Most rows of a page, so that tiny lines do not make one of a million rows.
const PAGE_ROWS_AIM: usize = 1 << 14;
const _: () = assert!(PAGE_ROWS_AIM <= PAGE_ROWS_MAX as usize);
/// Bytes of Parquet's magic, where the first column starts.
const MAGIC_BYTES: u64 = 4;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSettings {
    /// Line bytes at which a page is cut.
    pub(crate) page_bytes: usize,
    /// Level of zstd.
    pub(crate) zstd_level: i32,
    /// Whether the file gets page signatures.
    pub(crate) signatures: bool,
}

/// A file as bytes, with what the manifest wants to know of it.
pub(crate) struct BuiltFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) index_offset: u64,
    pub(crate) index_bytes: u32,
    pub(crate) rows: u64,
    pub(crate) text_bytes: u64,
    pub(crate) min_ns: i64,
    pub(crate) max_ns: i64,
}

/// Part of a stream: its sorted rows in `rows`.
pub(crate) struct StreamPart<'a> {
    pub(crate) stream: &'a SortedStream,
    pub(crate) rows: &'a [RowRef],
}

/// One row on its way into the columns.
#[derive(Clone, Copy)]
struct Row<'a> {
    entries: &'a LogEntries,
    index: u32,
    stream: u32,
    shape: u32,
    /// Where its metadata starts among the pieces of its entries: every column asks for it.
    first_piece: u32,
}

impl<'a> Row<'a> {
    fn timestamp_ns(&self) -> i64 {
        self.entries.timestamps_ns()[self.index as usize]
    }

    fn line(&self) -> &'a str {
        self.entries.line(self.index as usize)
    }

    /// The value in `slot` of its metadata.
    fn value(&self, slot: usize) -> &'a str {
        let ends = self.entries.piece_ends();
        let piece = self.first_piece as usize + 2 * slot;
        &self.entries.metadata_text()[ends[piece] as usize..ends[piece + 1] as usize]
    }

    fn metadata_bytes(&self) -> usize {
        let first = self.first_piece as usize;
        let last = self.entries.entry_pieces()[self.index as usize] as usize;
        if first == last { 0 } else { span(self.entries.piece_ends(), first, last) }
    }
}

/// Rows in file order with where each page ends.
struct Layout<'a> {
    rows: Vec<Row<'a>>,
    page_ends: Vec<usize>,
}

impl<'a> Layout<'a> {
    fn pages(&self) -> impl ExactSizeIterator<Item = &[Row<'a>]> {
        let start = |page: usize| if page == 0 { 0 } else { self.page_ends[page - 1] };
        (0..self.page_ends.len()).map(move |page| &self.rows[start(page)..self.page_ends[page]])
    }
}

/// Builds a file of `parts`, which are in label order and have at least one row together.
pub(crate) fn build(
    generation: u64,
    parts: &[StreamPart<'_>],
    settings: FileSettings,
) -> LogStoreResult<BuiltFile> {
    let (label_columns, taken) = schema::label_columns(parts.iter().map(|part| &part.stream.labels));
    let mut shapes = ShapeTable::default();
    let layout = lay_out(parts, &mut shapes, settings.page_bytes);
    let plan = shapes.plan(layout.rows.len(), &taken);
    let schema = schema::schema(&plan.columns, &label_columns)?;
    let properties = WriterProperties::builder()
        .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_sorting_columns(Some(vec![ascending(1), ascending(0)]))
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties.into())?;
    let (index_columns, pages) = write_columns(&mut file, &layout, &plan, parts, &label_columns, settings)?;

    let signatures = match settings.signatures {
        true => Some(write_signatures(&mut file, &layout)?),
        false => None,
    };
    let mut index = make_index(generation, parts, &layout, &shapes, &plan, index_columns, pages);
    index.signatures = signatures;
    let encoded = index.encode();
    let index_offset = file.bytes_written() as u64;
    file.write_all(&encoded).map_err(ParquetError::from)?;
    let place = format!("v1 {index_offset} {}", encoded.len());
    file.append_key_value_metadata(KeyValue::new(INDEX_KEY.to_owned(), place));
    file.finish()?;
    let bytes = std::mem::take(file.inner_mut());
    Ok(BuiltFile {
        bytes,
        index_offset,
        index_bytes: encoded.len() as u32,
        rows: layout.rows.len() as u64,
        text_bytes: index.streams.iter().map(|stream| stream.line_bytes + stream.metadata_bytes).sum(),
        min_ns: index.streams.iter().map(|stream| stream.min_ns).min().unwrap_or(0),
        max_ns: index.streams.iter().map(|stream| stream.max_ns).max().unwrap_or(0),
    })
}

fn write_signatures(
    file: &mut SerializedFileWriter<Vec<u8>>,
    layout: &Layout<'_>,
) -> LogStoreResult<SignatureBytes> {
    let mut builder = SignatureBuilder::new();
    for rows in layout.pages() {
        rows.iter().for_each(|row| builder.add_line(row.line().as_bytes()));
        builder.end_page();
    }
    let bytes = builder.finish();
    let offset = file.bytes_written() as u64;
    file.write_all(&bytes).map_err(ParquetError::from)?;
    Ok(SignatureBytes { offset, bytes: bytes.len() as u32, crc32c: crc32c::crc32c(&bytes) })
}

fn ascending(column_idx: i32) -> SortingColumn {
    SortingColumn { column_idx, descending: false, nulls_first: false }
}

/// Numbers the rows' shapes and cuts pages.
fn lay_out<'a>(parts: &[StreamPart<'a>], shapes: &mut ShapeTable, page_bytes: usize) -> Layout<'a> {
    let mut rows = Vec::with_capacity(parts.iter().map(|part| part.rows.len()).sum());
    let mut page_ends = Vec::new();
    let (mut lines, mut texts, mut first) = (0, 0, 0);
    for (stream, part) in (0u32..).zip(parts) {
        for row in part.rows {
            let entries: &LogEntries = &part.stream.runs[row.run as usize];
            let shape = shapes.add(entries, row.index as usize);
            let first_piece = match row.index {
                0 => 0,
                index => entries.entry_pieces()[index as usize - 1],
            };
            let row = Row { entries, index: row.index, stream, shape, first_piece };
            rows.push(row);
            lines += row.line().len();
            texts += row.line().len() + row.metadata_bytes();
            // Metadata counts half: rows with little line and much of it still make pages of bounded size.
            if lines >= page_bytes || texts >= 2 * page_bytes || rows.len() - first >= PAGE_ROWS_AIM {
                page_ends.push(rows.len());
                (lines, texts, first) = (0, 0, rows.len());
            }
        }
    }
    if first < rows.len() {
        page_ends.push(rows.len());
    }
    Layout { rows, page_ends }
}

/// The row group in the making, and what the index will say of its columns.
struct Columns<'a> {
    descriptors: Vec<ColumnDescPtr>,
    group: SerializedRowGroupWriter<'a, Vec<u8>>,
    zstd: PageCompressor,
    /// Where the next column starts in the file.
    offset: u64,
    index: Vec<LogFileColumn>,
    /// For each page, its part of each column in `index`.
    pages: Vec<Vec<PageBytes>>,
}

impl Columns<'_> {
    /// A sink for the column at `position` of the schema.
    fn sink(&self, position: usize) -> ColumnSink {
        ColumnSink::new(self.descriptors[position].clone())
    }

    /// Ends a column and writes it.
    fn append(&mut self, sink: ColumnSink, kind: Option<(LogColumnKind, &str)>) -> LogStoreResult<()> {
        let ColumnChunk { bytes, close, dictionary, pages } = sink.finish()?;
        let at = |place: PageBytes| PageBytes { offset: place.offset + self.offset, ..place };
        if let Some((kind, name)) = kind {
            self.index.push(LogFileColumn { kind, name: name.to_owned(), dictionary: dictionary.map(at) });
            for (columns, place) in self.pages.iter_mut().zip(pages) {
                columns.push(at(place));
            }
        }
        self.offset += bytes.len() as u64;
        Ok(self.group.append_column::<Bytes>(&bytes, close)?)
    }
}

/// Writes the row group; gives the columns for the index and, for each page, where its part of each of them is.
fn write_columns(
    file: &mut SerializedFileWriter<Vec<u8>>,
    layout: &Layout<'_>,
    plan: &ShapePlan,
    parts: &[StreamPart<'_>],
    labels: &[LabelColumn],
    settings: FileSettings,
) -> LogStoreResult<(Vec<LogFileColumn>, Vec<Vec<PageBytes>>)> {
    let descriptors = file.schema_descr().columns().to_vec();
    let mut owned = Columns {
        descriptors,
        group: file.next_row_group()?,
        zstd: PageCompressor::new(settings.zstd_level)?,
        offset: MAGIC_BYTES,
        index: Vec::new(),
        pages: vec![Vec::new(); layout.page_ends.len()],
    };
    let columns = &mut owned;
    integers(columns, layout, 0, Some(LogColumnKind::Timestamp), |row| row.timestamp_ns())?;
    integers(columns, layout, 1, None, |row| i64::from(row.stream))?;
    bodies(columns, layout, 2)?;
    integers(columns, layout, 3, Some(LogColumnKind::Shape), |row| i64::from(row.shape))?;
    for (number, name) in plan.columns.iter().enumerate() {
        metadata::named_column(columns, layout, plan, number, name, 4 + number)?;
    }
    let first_label = 4 + plan.columns.len();
    for (number, label) in labels.iter().enumerate() {
        metadata::label_column(columns, parts, &label.label, first_label + number)?;
    }
    metadata::rest_columns(columns, layout, plan, first_label + labels.len())?;
    let Columns { group, index, pages, .. } = owned;
    group.close()?;
    Ok((index, pages))
}

fn integers(
    columns: &mut Columns<'_>,
    layout: &Layout<'_>,
    position: usize,
    kind: Option<LogColumnKind>,
    value: impl Fn(&Row<'_>) -> i64,
) -> LogStoreResult<()> {
    let mut sink = columns.sink(position);
    let mut bytes = Vec::new();
    for rows in layout.pages() {
        bytes.clear();
        encode_delta(rows.iter().map(&value), &mut bytes);
        let min = rows.iter().map(&value).min().unwrap_or(0);
        let max = rows.iter().map(&value).max().unwrap_or(0);
        let values = PageValues {
            encoding: Encoding::DELTA_BINARY_PACKED,
            bytes: &bytes,
            stored: rows.len(),
            rows: rows.len(),
            levels: Levels::default(),
            bounds: Some((min, max)),
        };
        sink.page(values, &mut columns.zstd)?;
    }
    columns.append(sink, kind.map(|kind| (kind, "")))
}

fn bodies(columns: &mut Columns<'_>, layout: &Layout<'_>, position: usize) -> LogStoreResult<()> {
    let mut sink = columns.sink(position);
    let (mut lines, mut bytes) = (ByteColumn::default(), Vec::new());
    for rows in layout.pages() {
        lines.clear();
        rows.iter().for_each(|row| lines.push(row.line().as_bytes()));
        bytes.clear();
        encode_delta_length(&lines, &mut bytes);
        let values = PageValues {
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            bytes: &bytes,
            stored: rows.len(),
            rows: rows.len(),
            levels: Levels::default(),
            bounds: None,
        };
        sink.page(values, &mut columns.zstd)?;
    }
    columns.append(sink, Some((LogColumnKind::Body, "")))
}

fn make_index(
    generation: u64,
    parts: &[StreamPart<'_>],
    layout: &Layout<'_>,
    shapes: &ShapeTable,
    plan: &ShapePlan,
    columns: Vec<LogFileColumn>,
    places: Vec<Vec<PageBytes>>,
) -> LogFileIndex {
    let first_metadata = columns.iter().position(|column| column.kind == LogColumnKind::Metadata);
    let pages = layout.pages().zip(places).map(|(rows, columns)| LogFilePage {
        rows: rows.len() as u32,
        first_ns: rows[0].timestamp_ns(),
        last_ns: rows[rows.len() - 1].timestamp_ns(),
        columns,
    });
    let pages = pages.collect();
    let (levels, rollups) = roll_up(layout, shapes);
    LogFileIndex {
        generation,
        streams: streams(parts, layout),
        pages,
        shapes: plan.to_index(shapes, first_metadata.unwrap_or(0) as u32),
        columns,
        levels,
        rollups,
        signatures: None,
    }
}

fn streams(parts: &[StreamPart<'_>], layout: &Layout<'_>) -> Vec<LogFileStream> {
    let by_stream = layout.rows.chunk_by(|left, right| left.stream == right.stream);
    let stream = |rows: &[Row<'_>]| LogFileStream {
        labels: parts[rows[0].stream as usize].stream.labels.clone(),
        rows: rows.len() as u64,
        line_bytes: rows.iter().map(|row| row.line().len() as u64).sum(),
        metadata_bytes: rows.iter().map(|row| row.metadata_bytes() as u64).sum(),
        min_ns: rows[0].timestamp_ns(),
        max_ns: rows[rows.len() - 1].timestamp_ns(),
    };
    let streams: Vec<LogFileStream> = by_stream.map(stream).collect();
    assert_eq!(streams.len(), parts.len(), "every part has a row, so that positions are stream ids");
    streams
}

fn roll_up(layout: &Layout<'_>, shapes: &ShapeTable) -> (Vec<String>, Vec<format::LogRollup>) {
    let slots: Vec<Option<usize>> =
        (0..shapes.len() as u32).map(|shape| shapes.slot_named(shape, LEVEL_NAME)).collect();
    let mut rollups = RollupBuilder::default();
    for row in &layout.rows {
        let level = slots[row.shape as usize].map_or("", |slot| row.value(slot));
        rollups.add(row.stream, row.timestamp_ns(), level, row.line().len());
    }
    rollups.finish()
}

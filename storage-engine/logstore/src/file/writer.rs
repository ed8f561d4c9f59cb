//! Writes a data file: sorted streams in, the bytes of a Parquet file with our index out.
//!
//! Column after column, as Parquet lays them out, each walking the same rows with the same page cuts. Values are
//! borrowed from the write buffer until they are copied into a page. Where a column's value comes from is looked up
//! once for each form of metadata, not for each row.

mod metadata;

use bytes::Bytes;
use format::{
    LogColumnKind, LogFileColumn, LogFileIndex, LogFilePage, LogFileStream, PAGE_ROWS_MAX, PageBytes,
    SignatureBuilder, SignatureBytes, encode_delta, encode_delta_length_of,
};
use model::{LogEntries, SlotValue};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;

use super::columns::{ColumnChunk, ColumnSink, Levels, PageCompressor, PageValues};
use super::rollups::RollupBuilder;
use super::rows::{RowRef, SortedStream};
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
/// A file takes at most one byte in so many of its text nearly always: what its buffer is made for.
const COMPRESSION_MIN: usize = 5;
/// Bytes of Parquet's magic, where the first column starts.
const MAGIC_BYTES: u64 = 4;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSettings {
    /// Line bytes at which a page is cut.
    pub(crate) page_bytes: usize,
    /// Level of zstd of a file that will be merged with others.
    pub(crate) zstd_level: i32,
    /// Level of zstd of one that is kept: with at least `kept_text_bytes` of lines and metadata.
    pub(crate) zstd_level_kept: i32,
    pub(crate) kept_text_bytes: u64,
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
    /// The form of its metadata.
    form: u32,
    /// Where its own metadata values start among those of its entries: every column asks for it.
    first_value: u32,
}

impl<'a> Row<'a> {
    fn timestamp_ns(&self) -> i64 {
        self.entries.timestamps_ns()[self.index as usize]
    }

    fn line(&self) -> &'a str {
        self.entries.line(self.index as usize)
    }

    /// Its own metadata value at `position`.
    #[inline]
    fn own(&self, position: usize) -> &'a [u8] {
        let (ends, at) = (self.entries.value_ends(), self.first_value as usize + position);
        let start = if at == 0 { 0 } else { ends[at - 1] as usize };
        &self.entries.values().as_bytes()[start..ends[at] as usize]
    }

    /// A metadata value of it.
    #[inline]
    fn value(&self, value: SlotValue<'a>) -> &'a [u8] {
        match value {
            SlotValue::Shared(text) => text.as_bytes(),
            SlotValue::Own(position) => self.own(position),
        }
    }
}

/// Rows in file order with where each page ends.
struct Layout<'a> {
    rows: Vec<Row<'a>>,
    page_ends: Vec<usize>,
    /// For each stream, its rows and the bytes of their lines and of their metadata.
    streams: Vec<StreamSize>,
}

#[derive(Clone, Copy, Default)]
struct StreamSize {
    rows: u64,
    line_bytes: u64,
    metadata_bytes: u64,
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
    let text: u64 = layout.streams.iter().map(|size| size.line_bytes + size.metadata_bytes).sum();
    let buffer = Vec::with_capacity(text as usize / COMPRESSION_MIN);
    let mut file = SerializedFileWriter::new(buffer, schema, properties.into())?;
    let mut signatures = settings.signatures.then(SignatureBuilder::new);
    let source = Source { parts, layout: &layout, shapes: &shapes, plan: &plan };
    let is_kept = text >= settings.kept_text_bytes;
    let zstd = PageCompressor::new(if is_kept { settings.zstd_level_kept } else { settings.zstd_level })?;
    let written = write_columns(&mut file, &source, &label_columns, zstd, signatures.as_mut())?;
    let mut index = make_index(generation, &source, written);
    index.signatures = signatures.map(|signatures| write_signatures(&mut file, signatures)).transpose()?;
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
    signatures: SignatureBuilder,
) -> LogStoreResult<SignatureBytes> {
    let bytes = signatures.finish();
    let offset = file.bytes_written() as u64;
    file.write_all(&bytes).map_err(ParquetError::from)?;
    Ok(SignatureBytes { offset, bytes: bytes.len() as u32, crc32c: crc32c::crc32c(&bytes) })
}

fn ascending(column_idx: i32) -> SortingColumn {
    SortingColumn { column_idx, descending: false, nulls_first: false }
}

/// Numbers the forms of the rows' metadata and cuts pages.
fn lay_out<'a>(parts: &[StreamPart<'a>], shapes: &mut ShapeTable, page_bytes: usize) -> Layout<'a> {
    let mut rows = Vec::with_capacity(parts.iter().map(|part| part.rows.len()).sum());
    let mut streams = Vec::with_capacity(parts.len());
    let mut page_ends = Vec::new();
    let (mut lines, mut texts, mut first) = (0, 0, 0);
    for (stream, part) in (0u32..).zip(parts) {
        let runs = &part.stream.runs;
        // Looked up when the first row asks: a part need not have rows of all its stream's shapes.
        let mut forms: Vec<Vec<Option<u32>>> =
            runs.iter().map(|run| vec![None; run.shapes().len()]).collect();
        let mut size = StreamSize { rows: part.rows.len() as u64, ..StreamSize::default() };
        for row in part.rows {
            let (entries, index): (&LogEntries, _) = (&runs[row.run as usize], row.index as usize);
            let shape = entries.entry_shapes()[index] as usize;
            let form = &mut forms[row.run as usize][shape];
            let form = *form.get_or_insert_with(|| shapes.form(&entries.shapes()[shape]));
            shapes.count_row(form);
            let first_value = entries.first_value(index) as u32;
            rows.push(Row { entries, index: row.index, stream, form, first_value });
            let (line_bytes, metadata_bytes) = (entries.line(index).len(), entries.metadata_bytes(index));
            size.line_bytes += line_bytes as u64;
            size.metadata_bytes += metadata_bytes as u64;
            lines += line_bytes;
            texts += line_bytes + metadata_bytes;
            // Metadata counts half: rows with little line and much of it still make pages of bounded size.
            if lines >= page_bytes || texts >= 2 * page_bytes || rows.len() - first >= PAGE_ROWS_AIM {
                page_ends.push(rows.len());
                (lines, texts, first) = (0, 0, rows.len());
            }
        }
        streams.push(size);
    }
    if first < rows.len() {
        page_ends.push(rows.len());
    }
    Layout { rows, page_ends, streams }
}

/// What a file is made of.
struct Source<'a> {
    parts: &'a [StreamPart<'a>],
    layout: &'a Layout<'a>,
    shapes: &'a ShapeTable,
    plan: &'a ShapePlan,
}

/// The row group in the making, and what the index will say of its columns.
struct Columns<'a> {
    descriptors: Vec<ColumnDescPtr>,
    group: SerializedRowGroupWriter<'a, Vec<u8>>,
    zstd: PageCompressor,
    /// The buffer of the column before, to be used again.
    spare: Vec<u8>,
    /// Where the next column starts in the file.
    offset: u64,
    index: Vec<LogFileColumn>,
    /// For each page, its part of each column in `index`.
    pages: Vec<Vec<PageBytes>>,
}

impl Columns<'_> {
    /// A sink for the column at `position` of the schema.
    fn sink(&mut self, position: usize) -> ColumnSink {
        ColumnSink::new(self.descriptors[position].clone(), std::mem::take(&mut self.spare))
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
        self.group.append_column::<Bytes>(&bytes, close)?;
        if let Ok(bytes) = bytes.try_into_mut() {
            self.spare = bytes.into();
            self.spare.clear();
        }
        Ok(())
    }
}

/// Writes the row group; gives the columns for the index and, for each page, where its part of each of them is.
fn write_columns(
    file: &mut SerializedFileWriter<Vec<u8>>,
    source: &Source<'_>,
    labels: &[LabelColumn],
    zstd: PageCompressor,
    signatures: Option<&mut SignatureBuilder>,
) -> LogStoreResult<(Vec<LogFileColumn>, Vec<Vec<PageBytes>>)> {
    let descriptors = file.schema_descr().columns().to_vec();
    let Source { layout, plan, .. } = source;
    let mut owned = Columns {
        descriptors,
        group: file.next_row_group()?,
        zstd,
        spare: Vec::new(),
        offset: MAGIC_BYTES,
        index: Vec::new(),
        pages: vec![Vec::new(); layout.page_ends.len()],
    };
    let columns = &mut owned;
    let shapes = source.shapes.shapes_of_forms();
    integers(columns, layout, 0, Some(LogColumnKind::Timestamp), |row| row.timestamp_ns())?;
    integers(columns, layout, 1, None, |row| i64::from(row.stream))?;
    bodies(columns, layout, 2, signatures)?;
    integers(columns, layout, 3, Some(LogColumnKind::Shape), |row| i64::from(shapes[row.form as usize]))?;
    for (number, name) in plan.columns.iter().enumerate() {
        metadata::named_column(columns, source, number, name, 4 + number)?;
    }
    let first_label = 4 + plan.columns.len();
    for (number, label) in labels.iter().enumerate() {
        metadata::label_column(columns, source.parts, &label.label, first_label + number)?;
    }
    metadata::rest_columns(columns, source, first_label + labels.len())?;
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
    let (mut page, mut bytes) = (Vec::new(), Vec::new());
    for rows in layout.pages() {
        page.clear();
        page.extend(rows.iter().map(&value));
        bytes.clear();
        encode_delta(page.iter().copied(), &mut bytes);
        let min = page.iter().copied().min().unwrap_or(0);
        let max = page.iter().copied().max().unwrap_or(0);
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

/// The lines, and their signatures while they are in the cache.
fn bodies(
    columns: &mut Columns<'_>,
    layout: &Layout<'_>,
    position: usize,
    mut signatures: Option<&mut SignatureBuilder>,
) -> LogStoreResult<()> {
    let mut sink = columns.sink(position);
    let mut bytes = Vec::new();
    for rows in layout.pages() {
        bytes.clear();
        let lines = rows.iter().map(|row| row.line().as_bytes());
        let text_at = encode_delta_length_of(lines.clone(), &mut bytes);
        if let Some(signatures) = signatures.as_mut() {
            signatures.add_page(&bytes[text_at..], lines.map(<[u8]>::len));
        }
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
    source: &Source<'_>,
    (columns, places): (Vec<LogFileColumn>, Vec<Vec<PageBytes>>),
) -> LogFileIndex {
    let first_metadata = columns.iter().position(|column| column.kind == LogColumnKind::Metadata);
    let pages = source.layout.pages().zip(places).map(|(rows, columns)| LogFilePage {
        rows: rows.len() as u32,
        first_ns: rows[0].timestamp_ns(),
        last_ns: rows[rows.len() - 1].timestamp_ns(),
        columns,
    });
    let pages = pages.collect();
    let (levels, rollups, starts) = roll_up(source.layout, source.shapes).finish();
    LogFileIndex {
        generation,
        streams: streams(source),
        pages,
        shapes: source.plan.to_index(source.shapes, first_metadata.unwrap_or(0) as u32),
        columns,
        levels,
        rollups,
        minute_starts: Some(starts),
        signatures: None,
    }
}

fn streams(source: &Source<'_>) -> Vec<LogFileStream> {
    let stream = |(part, size): (&StreamPart<'_>, &StreamSize)| {
        let (first, last) = part.rows.first().zip(part.rows.last()).expect("a part has at least one row");
        LogFileStream {
            labels: part.stream.labels.clone(),
            rows: size.rows,
            line_bytes: size.line_bytes,
            metadata_bytes: size.metadata_bytes,
            min_ns: part.stream.timestamp_ns(*first),
            max_ns: part.stream.timestamp_ns(*last),
        }
    };
    source.parts.iter().zip(&source.layout.streams).map(stream).collect()
}

fn roll_up(layout: &Layout<'_>, shapes: &ShapeTable) -> RollupBuilder {
    let levels = shapes.values_named(LEVEL_NAME);
    let mut rollups = RollupBuilder::default();
    for row in &layout.rows {
        let level = levels[row.form as usize].map_or(&b""[..], |level| row.value(level));
        rollups.add(row.stream, row.timestamp_ns(), level, row.line().len());
    }
    rollups
}

//! One column chunk while it is written: pages into a buffer, with all that Parquet's metadata and our index want.
//!
//! Pages are Parquet's version 2: levels uncompressed in front, values compressed unless that makes them larger. The
//! parquet crate writes every header and footer; only values, levels and compression are ours.

use bytes::Bytes;
use format::{PageBytes, bit_width, encode_hybrid};
use parquet::basic::{BoundaryOrder, Compression, Encoding, Type as Physical, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use crate::error::{LogStoreError, LogStoreResult};

/// Below this many bytes compressing costs more than it can save: some microseconds for what are mostly packed indices
/// into a dictionary.
const COMPRESS_BYTES_MIN: usize = 512;
/// Shortest repeat that is looked for, bytes. Lines are full of ids whose digits repeat by chance: naming such a repeat
/// costs more than its digits do, and with the 4 or 5 of most levels they make a page some 7 % larger.
const MATCH_BYTES_MIN: u32 = 6;

/// Compresses pages; keeps its tables from one to the next.
pub(crate) struct PageCompressor {
    zstd: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl PageCompressor {
    pub(crate) fn new(level: i32) -> LogStoreResult<Self> {
        let mut zstd = zstd::bulk::Compressor::new(level).map_err(LogStoreError::compress)?;
        zstd.set_parameter(zstd::zstd_safe::CParameter::MinMatch(MATCH_BYTES_MIN))
            .map_err(LogStoreError::compress)?;
        Ok(Self { zstd, buffer: Vec::new() })
    }

    /// The compressed bytes, or `None` when they would not be fewer.
    fn compress(&mut self, raw: &[u8]) -> LogStoreResult<Option<&[u8]>> {
        if raw.len() < COMPRESS_BYTES_MIN {
            return Ok(None);
        }
        self.buffer.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
        let len = self.zstd.compress_to_buffer(raw, &mut self.buffer[..]).map_err(LogStoreError::compress)?;
        Ok((len < raw.len()).then(|| &self.buffer[..len]))
    }
}

/// Values of one page, encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageValues<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: &'a [u8],
    /// How many values are in `bytes`.
    pub(crate) stored: usize,
    pub(crate) rows: usize,
    pub(crate) levels: Levels<'a>,
    /// Smallest and largest value as the column index stores them, for columns that have one.
    pub(crate) bounds: Option<(i64, i64)>,
}

/// Repetition and definition levels of a page, encoded, and how many there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Levels<'a> {
    pub(crate) repetition: &'a [u8],
    pub(crate) definition: &'a [u8],
    /// Values with the absent ones; 0 when the column has no levels.
    pub(crate) count: usize,
}

/// A column chunk in the making.
pub(crate) struct ColumnSink {
    descriptor: ColumnDescPtr,
    buffer: TrackedWrite<Vec<u8>>,
    dictionary: Option<PageBytes>,
    pages: Vec<PageBytes>,
    offsets: OffsetIndexBuilder,
    bounds: Vec<(i64, i64)>,
    encodings: Vec<Encoding>,
    rows: u64,
    values: u64,
    raw_bytes: u64,
}

/// A finished column chunk.
pub(crate) struct ColumnChunk {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
    /// Offsets count from the start of `bytes`.
    pub(crate) dictionary: Option<PageBytes>,
    /// Likewise.
    pub(crate) pages: Vec<PageBytes>,
}

impl ColumnSink {
    /// A column whose bytes go into `buffer`, which is empty.
    pub(crate) fn new(descriptor: ColumnDescPtr, buffer: Vec<u8>) -> Self {
        Self {
            descriptor,
            buffer: TrackedWrite::new(buffer),
            dictionary: None,
            pages: Vec::new(),
            offsets: OffsetIndexBuilder::new(),
            bounds: Vec::new(),
            encodings: vec![Encoding::RLE],
            rows: 0,
            values: 0,
            raw_bytes: 0,
        }
    }

    /// Writes the dictionary, which comes before every page.
    pub(crate) fn dictionary(
        &mut self,
        plain: &[u8],
        values: usize,
        zstd: &mut PageCompressor,
    ) -> LogStoreResult<()> {
        assert!(self.pages.is_empty() && self.dictionary.is_none(), "a dictionary comes first and once");
        // A dictionary page has no flag for stored bytes: it is compressed whatever its size.
        zstd.buffer.resize(zstd::zstd_safe::compress_bound(plain.len()), 0);
        let len =
            zstd.zstd.compress_to_buffer(plain, &mut zstd.buffer[..]).map_err(LogStoreError::compress)?;
        let page = Page::DictionaryPage {
            buf: Bytes::copy_from_slice(&zstd.buffer[..len]),
            num_values: values as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let place = PageBytes {
            level_bytes: 0,
            raw_bytes: Some(plain.len() as u32),
            values: values as u32,
            ..self.write(page, plain.len())?
        };
        self.dictionary = Some(place);
        self.note_encoding(Encoding::PLAIN);
        Ok(())
    }

    /// Writes the next page.
    pub(crate) fn page(&mut self, values: PageValues<'_>, zstd: &mut PageCompressor) -> LogStoreResult<()> {
        let Levels { repetition, definition, count } = values.levels;
        let level_bytes = repetition.len() + definition.len();
        let compressed = zstd.compress(values.bytes)?;
        let body = compressed.unwrap_or(values.bytes);
        let mut buf = Vec::with_capacity(level_bytes + body.len());
        buf.extend_from_slice(repetition);
        buf.extend_from_slice(definition);
        buf.extend_from_slice(body);
        let value_count = if level_bytes == 0 { values.stored } else { count };
        let is_compressed = compressed.is_some();
        let page = Page::DataPageV2 {
            buf: buf.into(),
            num_values: value_count as u32,
            encoding: values.encoding,
            num_nulls: (value_count - values.stored) as u32,
            num_rows: values.rows as u32,
            def_levels_byte_len: definition.len() as u32,
            rep_levels_byte_len: repetition.len() as u32,
            is_compressed,
            statistics: None,
        };
        let place = PageBytes {
            level_bytes: level_bytes as u32,
            raw_bytes: is_compressed.then_some(values.bytes.len() as u32),
            values: values.stored as u32,
            ..self.write(page, level_bytes + values.bytes.len())?
        };
        self.offsets.append_row_count(values.rows as i64);
        let size = i32::try_from(place.header_bytes + place.stored_bytes).expect("pages are far below 2 GiB");
        self.offsets.append_offset_and_size(place.offset as i64, size);
        self.bounds.extend(values.bounds);
        self.pages.push(place);
        self.note_encoding(values.encoding);
        self.rows += values.rows as u64;
        self.values += value_count as u64;
        Ok(())
    }

    fn write(&mut self, page: Page, raw_bytes: usize) -> LogStoreResult<PageBytes> {
        let crc32c = crc32c::crc32c(page.buffer());
        let stored_bytes = page.buffer().len();
        let offset = self.buffer.bytes_written();
        SerializedPageWriter::new(&mut self.buffer).write_page(CompressedPage::new(page, raw_bytes))?;
        let header_bytes = self.buffer.bytes_written() - offset - stored_bytes;
        self.raw_bytes += (header_bytes + raw_bytes) as u64;
        Ok(PageBytes {
            offset: offset as u64,
            header_bytes: header_bytes as u32,
            stored_bytes: stored_bytes as u32,
            crc32c,
            ..PageBytes::default()
        })
    }

    fn note_encoding(&mut self, encoding: Encoding) {
        if !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
    }

    /// Ends the chunk.
    pub(crate) fn finish(self) -> LogStoreResult<ColumnChunk> {
        let column_index = self.column_index()?;
        let bytes = Bytes::from(self.buffer.into_inner()?);
        let mut metadata = ColumnChunkMetaData::builder(self.descriptor)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_encodings(self.encodings)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.raw_bytes as i64)
            .set_num_values(self.values as i64)
            .set_dictionary_page_offset(self.dictionary.map(|page| page.offset as i64))
            .set_data_page_offset(self.pages.first().map_or(0, |page| page.offset as i64));
        if let Some(min) = self.bounds.iter().map(|&(min, _)| min).min()
            && let Some(max) = self.bounds.iter().map(|&(_, max)| max).max()
            && column_index.as_ref().is_some_and(|_| self.bounds.len() == self.pages.len())
        {
            metadata = metadata.set_statistics(Statistics::int64(Some(min), Some(max), None, Some(0), false));
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index,
            offset_index: Some(self.offsets.build()),
        };
        Ok(ColumnChunk { bytes, close, dictionary: self.dictionary, pages: self.pages })
    }

    /// Bounds by page; only 64-bit integer columns have them.
    fn column_index(
        &self,
    ) -> LogStoreResult<Option<parquet::file::page_index::column_index::ColumnIndexMetaData>> {
        if self.bounds.is_empty() || self.descriptor.physical_type() != Physical::INT64 {
            return Ok(None);
        }
        let mut index = ColumnIndexBuilder::new(Physical::INT64);
        index.set_boundary_order(BoundaryOrder::UNORDERED);
        for (min, max) in &self.bounds {
            index.append(false, min.to_le_bytes().to_vec(), max.to_le_bytes().to_vec(), 0, None);
        }
        Ok(Some(index.build()?))
    }
}

/// Appends `count` equal levels of one bit.
pub(crate) fn put_equal_levels(level: u8, count: usize, out: &mut Vec<u8>) {
    let mut header = (count as u64) << 1;
    while header >= 0x80 {
        out.push(header as u8 | 0x80);
        header >>= 7;
    }
    out.extend_from_slice(&[header as u8, level]);
}

/// Appends indices into a dictionary of `entries` as RLE_DICTIONARY values.
pub(crate) fn put_indices(indices: &[u32], entries: usize, out: &mut Vec<u8>) {
    let width = index_width(entries);
    out.push(width as u8);
    encode_hybrid(indices, width, out);
}

/// Bits of an index into a dictionary of `entries`.
pub(crate) fn index_width(entries: usize) -> u32 {
    bit_width(entries.saturating_sub(1) as u32)
}

//! Reads pages of a data file back, by our own index: no Parquet metadata is parsed.
//!
//! Invariant READ-1: bytes are checked against the index' checksums before they are decoded, and what is decoded must
//! fit together to the last value; a page that does not is an error, never other entries.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use format::{
    ByteColumn, LogColumnKind, LogFileIndex, LogShape, PageBytes, PageSignatures, SignatureBytes,
    decode_delta, decode_delta_length, decode_hybrid, decode_plain,
};
use hashbrown::HashMap;
use model::{LogColumns, LogEntries, MetadataShape};
use runtime::ReadFile;

use super::columns::index_width;
use super::search::TextSearch;
use crate::error::{LogStoreError, LogStoreResult};

/// A data file with its index in memory.
pub(crate) struct OpenFile {
    path: PathBuf,
    file: Arc<dyn ReadFile>,
    index: LogFileIndex,
    /// For each column, its dictionary once it was read.
    dictionaries: Vec<OnceLock<ByteColumn>>,
    /// The shapes of the index as entries have them, once they were asked for.
    shapes: OnceLock<Vec<Arc<MetadataShape>>>,
    /// Page signatures once they were asked for; `None` inside when they cannot be read.
    signatures: OnceLock<Option<PageSignatures>>,
}

/// Values of one metadata column in one page, taken one after the other.
enum Values<'a> {
    None,
    Strings { ends: Vec<u32>, bytes: Vec<u8>, next: usize },
    Indices { dictionary: &'a ByteColumn, indices: Vec<u32>, next: usize },
}

impl OpenFile {
    /// Opens a file whose index lies at `offset`; errors call it `path`.
    pub(crate) fn open(
        file: Arc<dyn ReadFile>,
        path: &Path,
        offset: u64,
        bytes: u32,
    ) -> LogStoreResult<Self> {
        let io = |error| LogStoreError::io("reading", path, error);
        let file_bytes = file.len().map_err(io)?;
        let end = offset.checked_add(u64::from(bytes));
        if end.is_none_or(|end| end > file_bytes) {
            return Err(io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut encoded = vec![0; bytes as usize];
        file.read_exact_at(offset, &mut encoded).map_err(io)?;
        let index = LogFileIndex::decode(&encoded).map_err(|error| LogStoreError::format(path, error))?;
        let places = index.pages.iter().flat_map(|page| &page.columns);
        let dictionaries = index.columns.iter().filter_map(|column| column.dictionary.as_ref());
        let end =
            |place: &PageBytes| place.offset + u64::from(place.header_bytes) + u64::from(place.stored_bytes);
        if let Some(place) = places.chain(dictionaries).find(|place| end(place) > offset) {
            return Err(LogStoreError::page(
                path,
                0,
                format!("a page at {} lies outside the file", place.offset),
            ));
        }
        let dictionaries = index.columns.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            index,
            dictionaries,
            shapes: OnceLock::new(),
            signatures: OnceLock::new(),
        })
    }

    pub(crate) fn index(&self) -> &LogFileIndex {
        &self.index
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> &[Arc<MetadataShape>] {
        self.shapes.get_or_init(|| {
            let names = |shape: &LogShape| {
                Arc::new(MetadataShape::new(shape.slots.iter().map(|slot| (slot.name.as_str(), None))))
            };
            self.index.shapes.iter().map(names).collect()
        })
    }

    /// For each page, whether a line of it may contain one needle of each list. Without signatures all pages may.
    pub(crate) fn pages_with(&self, needles: &[Vec<String>]) -> Vec<bool> {
        let mut pages = vec![true; self.index.pages.len()];
        if needles.is_empty() {
            return pages;
        }
        let signatures = self.signatures.get_or_init(|| match self.read_signatures() {
            Ok(signatures) => signatures,
            Err(error) => {
                tracing::error!(%error, "page signatures cannot be read, queries read every page of the file");
                None
            }
        });
        if let Some(signatures) = signatures {
            needles.iter().for_each(|any_of| signatures.rule_out_all(any_of, &mut pages));
        }
        pages
    }

    fn read_signatures(&self) -> LogStoreResult<Option<PageSignatures>> {
        let Some(SignatureBytes { offset, bytes, crc32c }) = self.index.signatures else { return Ok(None) };
        let io = |error| LogStoreError::io("reading", &self.path, error);
        if offset.saturating_add(u64::from(bytes)) > self.file.len().map_err(io)? {
            return Err(io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut encoded = vec![0; bytes as usize];
        self.file.read_exact_at(offset, &mut encoded).map_err(io)?;
        if crc32c::crc32c(&encoded) != crc32c {
            return Err(LogStoreError::page(&self.path, 0, "the checksum of the page signatures is wrong"));
        }
        let signatures = PageSignatures::decode(&encoded, self.index.pages.len());
        signatures.map(Some).map_err(|error| LogStoreError::format(&self.path, error))
    }

    /// Tells that all columns of these pages are about to be read.
    pub(crate) fn want_pages(&self, pages: Range<usize>) {
        let of_column = |column: usize| {
            let places =
                self.index.pages[pages.clone()].iter().filter_map(move |page| page.columns.get(column));
            places.map(|place| {
                let start = place.offset + u64::from(place.header_bytes);
                start..start + u64::from(place.stored_bytes)
            })
        };
        self.file.want(&mut (0..self.index.columns.len()).flat_map(of_column));
    }

    /// Reads all rows of a page.
    pub(crate) fn read_page(&self, page: usize) -> LogStoreResult<LogEntries> {
        self.want_pages(page..page + 1);
        let body = self.fetch_body(page)?;
        self.decode_page(page, body)
    }

    /// Reads all rows of a page, or nothing but its lines when none of them can pass the search.
    pub(crate) fn search_page(&self, page: usize, search: &TextSearch) -> LogStoreResult<Option<LogEntries>> {
        self.want_pages(page..page + 1);
        let body = self.fetch_body(page)?;
        if !search.may_pass(&body) {
            return Ok(None);
        }
        self.decode_page(page, body).map(Some)
    }

    /// Bytes of the lines of a page, about.
    pub(crate) fn line_bytes(&self, page: usize) -> usize {
        let body = self.index.column(LogColumnKind::Body);
        let place = body.and_then(|body| self.index.pages[page].columns.get(body));
        place.map_or(0, |place| place.raw_bytes.unwrap_or(place.stored_bytes) as usize)
    }

    /// The column of lines, lengths first, checked and decompressed.
    fn fetch_body(&self, page: usize) -> LogStoreResult<Vec<u8>> {
        let body = self.position(LogColumnKind::Body, page)?;
        self.fetch(page, &self.index.pages[page].columns[body])
    }

    fn decode_page(&self, page: usize, body: Vec<u8>) -> LogStoreResult<LogEntries> {
        let damaged = |reason: &str| LogStoreError::page(&self.path, page, reason);
        let rows = self.index.pages[page].rows as usize;
        let mut timestamps_ns = Vec::with_capacity(rows);
        self.integers(page, LogColumnKind::Timestamp, |at| timestamps_ns.push(at))?;
        let place = &self.index.pages[page].columns[self.position(LogColumnKind::Body, page)?];
        let (line_ends, lines) = self.strings_of(body, place)?;
        let lines = String::from_utf8(lines).map_err(|_| damaged("a line is not UTF-8"))?;
        let mut metadata = PageMetadata::default();
        self.read_metadata(page, &mut metadata)?;
        let PageMetadata { shapes, entry_shapes, values, value_ends, .. } = metadata;
        let values = String::from_utf8(values).map_err(|_| damaged("metadata is not UTF-8"))?;
        let columns =
            LogColumns { timestamps_ns, lines, line_ends, shapes, entry_shapes, values, value_ends };
        LogEntries::from_columns(columns).ok_or_else(|| damaged("its columns do not fit together"))
    }

    fn position(&self, kind: LogColumnKind, page: usize) -> LogStoreResult<usize> {
        let missing = || LogStoreError::page(&self.path, page, format!("it has no {kind:?} column"));
        self.index.column(kind).ok_or_else(missing)
    }

    /// Stored bytes of a page or dictionary, checked and decompressed.
    fn fetch(&self, page: usize, place: &PageBytes) -> LogStoreResult<Vec<u8>> {
        let damaged = |reason: &str| LogStoreError::page(&self.path, page, reason);
        let mut stored = vec![0; place.stored_bytes as usize];
        let offset = place.offset + u64::from(place.header_bytes);
        self.file
            .read_exact_at(offset, &mut stored)
            .map_err(|error| LogStoreError::io("reading", &self.path, error))?;
        if crc32c::crc32c(&stored) != place.crc32c {
            return Err(damaged("its checksum is wrong"));
        }
        let Some(raw_bytes) = place.raw_bytes else {
            stored.drain(..place.level_bytes as usize);
            return Ok(stored);
        };
        let raw = decompress(&stored[place.level_bytes as usize..], raw_bytes as usize)
            .map_err(|error| damaged(&format!("it does not decompress: {error}")))?;
        if raw.len() != raw_bytes as usize {
            return Err(damaged("it decompresses to another size than its index says"));
        }
        Ok(raw)
    }

    fn integers(&self, page: usize, kind: LogColumnKind, each: impl FnMut(i64)) -> LogStoreResult<()> {
        let place = &self.index.pages[page].columns[self.position(kind, page)?];
        let bytes = self.fetch(page, place)?;
        decode_delta(&bytes, self.index.pages[page].rows as usize, each)
            .map_err(|error| LogStoreError::format(&self.path, error))?;
        Ok(())
    }

    /// Strings of a DELTA_LENGTH_BYTE_ARRAY page.
    fn strings(&self, page: usize, column: usize) -> LogStoreResult<(Vec<u32>, Vec<u8>)> {
        let place = &self.index.pages[page].columns[column];
        self.strings_of(self.fetch(page, place)?, place)
    }

    fn strings_of(&self, mut bytes: Vec<u8>, place: &PageBytes) -> LogStoreResult<(Vec<u32>, Vec<u8>)> {
        let (ends, text) = decode_delta_length(&bytes, place.values as usize)
            .map_err(|error| LogStoreError::format(&self.path, error))?;
        let lengths = bytes.len() - text.len();
        bytes.drain(..lengths);
        Ok((ends, bytes))
    }

    fn dictionary(&self, page: usize, column: usize) -> LogStoreResult<Option<&ByteColumn>> {
        let Some(place) = &self.index.columns[column].dictionary else { return Ok(None) };
        if let Some(dictionary) = self.dictionaries[column].get() {
            return Ok(Some(dictionary));
        }
        let bytes = self.fetch(page, place)?;
        let dictionary = decode_plain(&bytes, place.values as usize)
            .map_err(|error| LogStoreError::format(&self.path, error))?;
        Ok(Some(self.dictionaries[column].get_or_init(|| dictionary)))
    }

    fn values(&self, page: usize, column: usize) -> LogStoreResult<Values<'_>> {
        let place = &self.index.pages[page].columns[column];
        if place.values == 0 {
            return Ok(Values::None);
        }
        let Some(dictionary) = self.dictionary(page, column)? else {
            let (ends, bytes) = self.strings(page, column)?;
            return Ok(Values::Strings { ends, bytes, next: 0 });
        };
        let bytes = self.fetch(page, place)?;
        let damaged = |reason: &str| LogStoreError::page(&self.path, page, reason);
        let (&width, packed) = bytes.split_first().ok_or_else(|| damaged("indices without a bit width"))?;
        if u32::from(width) != index_width(dictionary.len()) || place.values > 1 << 27 {
            return Err(damaged("indices that do not fit their dictionary"));
        }
        let count = place.values as usize;
        let indices = decode_hybrid(packed, width.into(), count, dictionary.len() as u32)
            .map_err(|error| LogStoreError::format(&self.path, error))?;
        Ok(Values::Indices { dictionary, indices, next: 0 })
    }

    /// Puts the pairs of every row together again, by its shape.
    fn read_metadata(&self, page: usize, out: &mut PageMetadata) -> LogStoreResult<()> {
        let damaged = || LogStoreError::page(&self.path, page, "its metadata does not fit its shapes");
        let rows = self.index.pages[page].rows as usize;
        let mut shapes = Vec::with_capacity(rows);
        self.integers(page, LogColumnKind::Shape, |shape| shapes.push(shape))?;
        let mut columns = Vec::with_capacity(self.index.columns.len());
        for (column, description) in self.index.columns.iter().enumerate() {
            columns.push(match description.kind {
                LogColumnKind::Metadata | LogColumnKind::RestValues => self.values(page, column)?,
                LogColumnKind::Timestamp | LogColumnKind::Body | LogColumnKind::Shape => Values::None,
            });
        }
        let rest_values = self.position(LogColumnKind::RestValues, page)?;
        out.entry_shapes.reserve(rows);
        for shape in shapes {
            let shape = usize::try_from(shape).ok().filter(|&shape| shape < self.index.shapes.len());
            let shape = shape.ok_or_else(damaged)?;
            out.start_entry(shape, &self.shapes()[shape]);
            for slot in &self.index.shapes[shape].slots {
                let column = slot.column.map_or(rest_values, |column| column as usize);
                out.push(columns[column].next().ok_or_else(damaged)?);
            }
        }
        if columns.iter_mut().any(|values| values.next().is_some()) {
            return Err(damaged());
        }
        Ok(())
    }
}

impl Values<'_> {
    fn next(&mut self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Strings { ends, bytes, next } => {
                let end = *ends.get(*next)? as usize;
                let start = next.checked_sub(1).map_or(0, |before| ends[before] as usize);
                *next += 1;
                Some(&bytes[start..end])
            }
            Self::Indices { dictionary, indices, next } => {
                let index = *indices.get(*next)?;
                *next += 1;
                Some(dictionary.get(index as usize))
            }
        }
    }
}

thread_local! {
    /// Making one costs as much as decompressing a small page.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress(stored: &[u8], raw_bytes: usize) -> std::io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(stored, raw_bytes)
    })
}

/// Metadata of a page while it is put together.
#[derive(Default)]
struct PageMetadata {
    /// Those of the file's shapes that the page has.
    shapes: Vec<Arc<MetadataShape>>,
    /// Their positions by that in the file.
    positions: HashMap<usize, u32>,
    /// The shape of the last entry and its position.
    last: Option<(usize, u32)>,
    entry_shapes: Vec<u32>,
    values: Vec<u8>,
    value_ends: Vec<u32>,
}

impl PageMetadata {
    fn start_entry(&mut self, number: usize, shape: &Arc<MetadataShape>) {
        let position = match self.last {
            Some((last, position)) if last == number => position,
            _ => *self.positions.entry(number).or_insert_with(|| {
                self.shapes.push(Arc::clone(shape));
                self.shapes.len() as u32 - 1
            }),
        };
        self.last = Some((number, position));
        self.entry_shapes.push(position);
    }

    fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.value_ends
            .push(u32::try_from(self.values.len()).expect("the caps on a page keep its text below 4 GiB"));
    }
}

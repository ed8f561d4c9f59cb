//! A block's index behind ranged reads: where its sections are, every 32nd label value with its place in the postings
//! table, and the symbols while somebody uses them.
//!
//! Opening reads and checks the table of contents, the postings table and the symbols. What a query reads later, series
//! and postings lists, is checked as it is read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use format::{
    ChunkMeta, FormatError, INDEX_HEADER_BYTES, INDEX_TOC_BYTES, IndexToc, SERIES_ALIGN, Symbols,
    check_index_header, decode_postings, decode_series, frame_bytes, section_bytes, walk_postings_table,
};
use model::Labels;
use parking_lot::Mutex;
use runtime::ReadFile;
use storage_api::StorageResult;

use super::names::INDEX;
use super::spans::SpanReader;
use super::{damaged, failed};

/// Of so many values of a label, the first is in memory.
const SAMPLED: usize = 32;

/// About what a series or a short postings list takes.
const ENTRY_BYTES: u64 = 256;

/// So many series or lists are told to be read soon at a time: what a file fetches ahead for them has to stay in memory.
const WANTED: usize = 8192;

/// Bytes in which the length of a series or a list is found.
const LENGTH_BYTES: u64 = 10;

pub(crate) struct BlockIndex {
    file: Arc<dyn ReadFile>,
    path: PathBuf,
    toc: IndexToc,
    /// Where the postings of all series are.
    all_at: Option<u64>,
    pub(super) names: BTreeMap<Box<str>, Values>,
    symbols: Mutex<Weak<Symbols>>,
    pub(super) bytes: u64,
}

/// Values of one label name.
#[derive(Default)]
pub(super) struct Values {
    /// Every [`SAMPLED`]th value and its place in the content of the postings table.
    pub(super) sampled: Vec<(Box<str>, usize)>,
    pub(super) count: usize,
    /// Where the entries of the name end.
    pub(super) end: usize,
}

/// A series as it is in the index.
pub(crate) struct IndexedSeries<'a> {
    pub(crate) number: u32,
    pub(crate) symbols: &'a [(u32, u32)],
    pub(crate) chunks: &'a [ChunkMeta],
}

impl BlockIndex {
    /// Opens the index of the block in `folder`.
    pub(crate) fn open(file: Arc<dyn ReadFile>, folder: &Path) -> StorageResult<Self> {
        let path = folder.join(INDEX);
        let bytes = file.len().map_err(|error| failed(&path, &error))?;
        let read = |at: u64, len: u64| -> StorageResult<Vec<u8>> {
            // A length that lies reserves no more than the file has.
            if at.saturating_add(len) > bytes {
                return Err(failed(&path, &io::ErrorKind::UnexpectedEof.into()));
            }
            let len = usize::try_from(len).map_err(|_| failed(&path, &io::ErrorKind::FileTooLarge.into()))?;
            let mut buffer = vec![0; len];
            file.read_exact_at(at, &mut buffer).map_err(|error| failed(&path, &error))?;
            Ok(buffer)
        };
        let fault = |error: FormatError| damaged(&path, &error);
        check_index_header(&read(0, INDEX_HEADER_BYTES as u64)?).map_err(fault)?;
        let toc_bytes = INDEX_TOC_BYTES as u64;
        let toc =
            IndexToc::decode(&read(bytes.saturating_sub(toc_bytes), toc_bytes)?, bytes).map_err(fault)?;
        let table = {
            let len = section_bytes(&read(toc.postings_table, 4)?).map_err(fault)?;
            read(toc.postings_table, len)?
        };
        let mut index = Self {
            all_at: None,
            names: BTreeMap::new(),
            symbols: Mutex::default(),
            bytes,
            path: path.clone(),
            toc,
            file: Arc::clone(&file),
        };
        index.sample(&table).map_err(fault)?;
        index.symbols()?;
        Ok(index)
    }

    /// Takes every 32nd value of each name from the postings table.
    fn sample(&mut self, table: &[u8]) -> Result<(), FormatError> {
        let content_bytes = table.len() - 8;
        let mut last: Option<Box<str>> = None;
        walk_postings_table(table, |entry| {
            if !(self.toc.postings..self.toc.postings_table).contains(&entry.postings_at) {
                return Err(FormatError::new("index", "a postings list is outside of its section"));
            }
            if entry.name.is_empty() {
                self.all_at = Some(entry.postings_at);
                return Ok(());
            }
            if last.as_deref() != Some(entry.name) {
                if let Some(values) = last.take().and_then(|name| self.names.get_mut(&name)) {
                    values.end = entry.entry_at;
                }
                last = Some(entry.name.into());
                self.names.insert(entry.name.into(), Values { end: content_bytes, ..Values::default() });
            }
            let values = self.names.get_mut(entry.name).expect("it was put there a moment ago");
            if values.count.is_multiple_of(SAMPLED) {
                values.sampled.push((entry.value.into(), entry.entry_at));
            }
            values.count += 1;
            Ok(())
        })
    }

    /// The texts of the index; they stay in memory while somebody holds them.
    pub(crate) fn symbols(&self) -> StorageResult<Arc<Symbols>> {
        let mut held = self.symbols.lock();
        if let Some(symbols) = held.upgrade() {
            return Ok(symbols);
        }
        let mut front = SpanReader::new(&*self.file, self.bytes);
        let len = section_bytes(front.exactly(self.toc.symbols, 4).map_err(|error| self.failed(&error))?)
            .map_err(|error| self.damaged(&error))?;
        let section = front.exactly(self.toc.symbols, len).map_err(|error| self.failed(&error))?;
        let symbols =
            Symbols::decode(&Bytes::copy_from_slice(section)).map_err(|error| self.damaged(&error))?;
        let symbols = Arc::new(symbols);
        *held = Arc::downgrade(&symbols);
        Ok(symbols)
    }

    /// The entries of the postings table between two places of its content.
    pub(super) fn table_part(&self, from: usize, to: usize) -> StorageResult<Vec<u8>> {
        let mut bytes = vec![0; to.saturating_sub(from)];
        let at = self.toc.postings_table + 4 + from as u64;
        self.file.read_exact_at(at, &mut bytes).map_err(|error| self.failed(&error))?;
        Ok(bytes)
    }

    /// The numbers of all series, in label order.
    pub(crate) fn all(&self) -> StorageResult<Vec<u32>> {
        let Some(at) = self.all_at else { return Ok(Vec::new()) };
        self.lists(&[at]).map(|mut lists| lists.pop().unwrap_or_default())
    }

    /// The postings lists at these places, which ascend.
    pub(super) fn lists(&self, places: &[u64]) -> StorageResult<Vec<Vec<u32>>> {
        let mut span = SpanReader::new(&*self.file, self.toc.postings_table);
        let mut lists = Vec::with_capacity(places.len());
        for (index, at) in places.iter().enumerate() {
            if index.is_multiple_of(WANTED) {
                let soon = &places[index..places.len().min(index + WANTED)];
                self.file.want(&mut soon.iter().map(|at| *at..at + ENTRY_BYTES));
            }
            let place = |index| places.get(index).copied();
            let front = span.at(place, index, 4, ENTRY_BYTES).map_err(|error| self.failed(&error))?;
            let len = section_bytes(front).map_err(|error| self.damaged(&error))?;
            let list = span.exactly(*at, len).map_err(|error| self.failed(&error))?;
            lists.push(decode_postings(list).map_err(|error| self.damaged(&error))?);
        }
        Ok(lists)
    }

    /// Calls `visit` with each of these series; numbers ascend.
    pub(crate) fn series(
        &self,
        numbers: &[u32],
        mut visit: impl FnMut(IndexedSeries<'_>) -> StorageResult<()>,
    ) -> StorageResult<()> {
        let mut span = SpanReader::new(&*self.file, self.toc.series_end);
        let (mut symbols, mut chunks) = (Vec::new(), Vec::new());
        for (index, number) in numbers.iter().enumerate() {
            if index.is_multiple_of(WANTED) {
                let soon = numbers[index..numbers.len().min(index + WANTED)].iter();
                let range = |number: &u32| u64::from(*number) * SERIES_ALIGN;
                self.file.want(&mut soon.map(|number| range(number)..range(number) + ENTRY_BYTES));
            }
            let at = u64::from(*number) * SERIES_ALIGN;
            if at < self.toc.series {
                return Err(self.damaged(&FormatError::new("index", "a series is outside of its section")));
            }
            let place = |index| numbers.get(index).map(|number| u64::from(*number) * SERIES_ALIGN);
            let front =
                span.at(place, index, LENGTH_BYTES, ENTRY_BYTES).map_err(|error| self.failed(&error))?;
            let len = frame_bytes(front).map_err(|error| self.damaged(&error))?;
            let entry = span.exactly(at, len).map_err(|error| self.failed(&error))?;
            decode_series(entry, &mut symbols, &mut chunks).map_err(|error| self.damaged(&error))?;
            visit(IndexedSeries { number: *number, symbols: &symbols, chunks: &chunks })?;
        }
        Ok(())
    }

    /// The labels that a series' symbols stand for.
    pub(crate) fn labels(&self, texts: &Symbols, symbols: &[(u32, u32)]) -> StorageResult<Labels> {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(symbols.len());
        for (name, value) in symbols {
            let (Some(name), Some(value)) = (texts.get(*name), texts.get(*value)) else {
                return Err(self.damaged(&FormatError::new("index", "a label is no symbol")));
            };
            pairs.push((name, value));
        }
        // An empty value equals an absent label; no writer of today leaves one.
        pairs.retain(|(_, value)| !value.is_empty());
        let unsorted = FormatError::new("index", "the labels of a series are not in order");
        Labels::try_from_sorted(&pairs).ok_or_else(|| self.damaged(&unsorted))
    }

    pub(super) fn damaged(&self, error: &FormatError) -> storage_api::StorageError {
        damaged(&self.path, error)
    }

    fn failed(&self, error: &io::Error) -> storage_api::StorageError {
        failed(&self.path, error)
    }
}

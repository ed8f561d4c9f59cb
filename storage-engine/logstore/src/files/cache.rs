//! Decoded indexes of data files, the least recently used given up past a number of bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::lru::Lru;
use super::{DataFile, Place};
use crate::error::LogStoreResult;
use crate::file::reader::OpenFile;
use crate::streams::StreamIndex;

/// A data file that is open for reading.
pub(crate) struct LoadedFile {
    pub(crate) file: OpenFile,
    /// For each of its streams, the store's number.
    pub(crate) stream_ids: Vec<u32>,
    /// For each of its streams, its first row; one more at the end.
    pub(crate) stream_rows: Vec<u64>,
    /// For each of its pages, its first row; one more at the end.
    pub(crate) page_rows: Vec<u64>,
}

/// Open files by path.
pub(crate) struct IndexCache {
    bytes_max: usize,
    held: Mutex<Lru<PathBuf, Arc<LoadedFile>>>,
}

impl LoadedFile {
    fn new(file: OpenFile, streams: &StreamIndex) -> Self {
        let sums = |counts: &mut dyn Iterator<Item = u64>| {
            let mut sum = 0;
            let mut sums = vec![0];
            sums.extend(counts.map(|count| {
                sum += count;
                sum
            }));
            sums
        };
        let index = file.index();
        Self {
            stream_ids: streams.ids(index.streams.iter().map(|stream| &stream.labels)),
            stream_rows: sums(&mut index.streams.iter().map(|stream| stream.rows)),
            page_rows: sums(&mut index.pages.iter().map(|page| u64::from(page.rows))),
            file,
        }
    }

    fn memory_bytes(&self) -> usize {
        let counts = self.stream_ids.len() * 4 + (self.stream_rows.len() + self.page_rows.len()) * 8;
        // Signatures come later, when a query asks for a text, and are counted at once.
        let signatures = self.file.index().signatures.map_or(0, |place| place.bytes as usize);
        self.file.index().memory_bytes() + counts + signatures
    }
}

impl IndexCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    /// The open file, from memory or from its place. Blocks.
    pub(crate) fn get(
        &self,
        place: &Place,
        file: &DataFile,
        streams: &StreamIndex,
    ) -> LogStoreResult<Arc<LoadedFile>> {
        if let Some(loaded) = self.look_up(&file.path) {
            return Ok(loaded);
        }
        let (offset, bytes) = (file.about.index_offset, file.about.index_bytes);
        let open = OpenFile::open(place.open(file)?, &file.path, offset, bytes)?;
        let loaded = Arc::new(LoadedFile::new(open, streams));
        self.insert(&file.path, &loaded);
        Ok(loaded)
    }

    fn look_up(&self, path: &Path) -> Option<Arc<LoadedFile>> {
        self.held.lock().get(path).map(|file| Arc::clone(file))
    }

    fn insert(&self, path: &Path, file: &Arc<LoadedFile>) {
        let bytes = file.memory_bytes();
        let mut held = self.held.lock();
        held.insert(path.to_owned(), Arc::clone(file), bytes);
        while held.bytes() > self.bytes_max && held.len() > 1 {
            if held.remove_oldest().is_none() {
                return;
            }
        }
    }

    /// Whether a file is open.
    pub(crate) fn has(&self, file: &DataFile) -> bool {
        self.held.lock().has(&file.path)
    }

    /// The open files.
    pub(crate) fn held(&self) -> Vec<Arc<LoadedFile>> {
        self.held.lock().iter().map(|(_, file)| Arc::clone(file)).collect()
    }

    /// Forgets a file that is gone.
    pub(crate) fn forget(&self, path: &Path) {
        self.held.lock().remove(path);
    }
}

//! Decoded indexes of data files, the least recently used given up past a number of bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

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
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    files: HashMap<PathBuf, Entry>,
    bytes: usize,
    clock: u64,
}

struct Entry {
    file: Arc<LoadedFile>,
    bytes: usize,
    used: u64,
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
        let held = &mut *self.held.lock();
        held.clock += 1;
        let entry = held.files.get_mut(path)?;
        entry.used = held.clock;
        Some(Arc::clone(&entry.file))
    }

    fn insert(&self, path: &Path, file: &Arc<LoadedFile>) {
        let bytes = file.memory_bytes();
        let held = &mut *self.held.lock();
        let entry = Entry { file: Arc::clone(file), bytes, used: held.clock };
        if let Some(before) = held.files.insert(path.to_owned(), entry) {
            held.bytes -= before.bytes;
        }
        held.bytes += bytes;
        while held.bytes > self.bytes_max && held.files.len() > 1 {
            let oldest = held.files.iter().min_by_key(|(_, entry)| entry.used).map(|(path, _)| path.clone());
            let Some(entry) = oldest.and_then(|path| held.files.remove(&path)) else { return };
            held.bytes -= entry.bytes;
        }
    }

    /// Whether a file is open.
    pub(crate) fn has(&self, file: &DataFile) -> bool {
        self.held.lock().files.contains_key(&file.path)
    }

    /// The open files.
    pub(crate) fn held(&self) -> Vec<Arc<LoadedFile>> {
        self.held.lock().files.values().map(|entry| Arc::clone(&entry.file)).collect()
    }

    /// Forgets a file that is gone.
    pub(crate) fn forget(&self, path: &Path) {
        let held = &mut *self.held.lock();
        if let Some(entry) = held.files.remove(path) {
            held.bytes -= entry.bytes;
        }
    }
}

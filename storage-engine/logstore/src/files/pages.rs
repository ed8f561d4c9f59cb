//! Decoded pages, the least recently used given up past a number of bytes.
//!
//! One page holds rows of many small streams, and readers ask stream by stream: without this each would decode it
//! again. Clients that read on from where they stopped find their last page too. Invariant PAGES-1: a page is decoded
//! by one reader at a time, the others wait for it. Bytes held count in the process' memory budget.

use std::sync::Arc;

use hashbrown::HashMap;
use model::LogEntries;
use parking_lot::Mutex;
use runtime::{MemoryBudget, Reservation};

use crate::error::LogStoreResult;

/// A page of a file, by the file's number in this process.
pub(crate) type PageKey = (u64, u32);

/// Pages by key.
pub(crate) struct PageCache {
    bytes_max: usize,
    budget: Arc<MemoryBudget>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    pages: HashMap<PageKey, Entry>,
    bytes: usize,
    clock: u64,
}

/// Locked while the page is decoded.
type Slot = Arc<Mutex<Option<Arc<LogEntries>>>>;

struct Entry {
    slot: Slot,
    /// 0 until the page is decoded.
    bytes: usize,
    used: u64,
    _memory: Option<Reservation>,
}

impl PageCache {
    pub(crate) fn new(bytes_max: usize, budget: Arc<MemoryBudget>) -> Self {
        Self { bytes_max, budget, held: Mutex::default() }
    }

    /// The page, from memory or as `decode` makes it, which may find that nobody needs it. Blocks on the disk.
    pub(crate) fn get(
        &self,
        key: PageKey,
        decode: impl FnOnce() -> LogStoreResult<Option<LogEntries>>,
    ) -> LogStoreResult<Option<Arc<LogEntries>>> {
        let slot = self.slot(key);
        let mut page = slot.lock();
        if let Some(page) = &*page {
            return Ok(Some(Arc::clone(page)));
        }
        match decode() {
            Ok(Some(entries)) => {
                let entries = page.insert(Arc::new(entries));
                let entries = Arc::clone(entries);
                drop(page);
                self.note_decoded(key, entries.memory_bytes());
                Ok(Some(entries))
            }
            outcome => {
                self.held.lock().remove(key);
                outcome.map(|_| None)
            }
        }
    }

    fn slot(&self, key: PageKey) -> Slot {
        let held = &mut *self.held.lock();
        held.clock += 1;
        let used = held.clock;
        let entry = held.pages.entry(key).or_insert_with(|| Entry {
            slot: Slot::default(),
            bytes: 0,
            used,
            _memory: None,
        });
        entry.used = used;
        Arc::clone(&entry.slot)
    }

    fn note_decoded(&self, key: PageKey, bytes: usize) {
        let held = &mut *self.held.lock();
        let Some(entry) = held.pages.get_mut(&key).filter(|entry| entry.bytes == 0) else { return };
        entry.bytes = bytes;
        entry._memory = Some(self.budget.reserve_unchecked(bytes as u64));
        held.bytes += bytes;
        while held.bytes > self.bytes_max {
            let decoded = held.pages.iter().filter(|(_, entry)| entry.bytes > 0);
            let Some(oldest) = decoded.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else {
                return;
            };
            held.remove(oldest);
        }
    }

    /// Forgets the pages of a file that is gone.
    pub(crate) fn forget(&self, file: u64) {
        let held = &mut *self.held.lock();
        let gone: Vec<PageKey> = held.pages.keys().filter(|key| key.0 == file).copied().collect();
        gone.into_iter().for_each(|key| held.remove(key));
    }
}

impl Held {
    fn remove(&mut self, key: PageKey) {
        if let Some(entry) = self.pages.remove(&key) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests;

//! Decoded pages, the least recently used given up past a number of bytes.
//!
//! One page holds rows of many small streams, and readers ask stream by stream: without this each would decode it
//! again. Clients that read on from where they stopped find their last page too. Invariant PAGES-1: a page is decoded
//! by one reader at a time, the others wait for it. Bytes held count in the process' memory budget.

use std::sync::Arc;

use model::LogEntries;
use parking_lot::Mutex;
use runtime::{MemoryBudget, Reservation};

use super::lru::Lru;
use crate::error::LogStoreResult;

/// A page of a file, by the file's number in this process.
pub(crate) type PageKey = (u64, u32);

/// Pages by key.
pub(crate) struct PageCache {
    bytes_max: usize,
    budget: Arc<MemoryBudget>,
    /// A page has no bytes until it is decoded, so that none is pushed out before.
    held: Mutex<Lru<PageKey, Entry>>,
}

/// Locked while the page is decoded.
type Slot = Arc<Mutex<Option<Arc<LogEntries>>>>;

struct Entry {
    slot: Slot,
    /// Those of the decoded page.
    memory: Option<Reservation>,
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
                self.held.lock().remove(&key);
                outcome.map(|_| None)
            }
        }
    }

    fn slot(&self, key: PageKey) -> Slot {
        let mut held = self.held.lock();
        if let Some(entry) = held.get(&key) {
            return Arc::clone(&entry.slot);
        }
        let slot = Slot::default();
        held.insert(key, Entry { slot: Arc::clone(&slot), memory: None }, 0);
        slot
    }

    fn note_decoded(&self, key: PageKey, bytes: usize) {
        let mut held = self.held.lock();
        let Some(entry) = held.get(&key).filter(|entry| entry.memory.is_none()) else { return };
        let memory = Some(self.budget.reserve_unchecked(bytes as u64));
        let entry = Entry { slot: Arc::clone(&entry.slot), memory };
        held.insert(key, entry, bytes);
        while held.bytes() > self.bytes_max {
            if held.remove_oldest().is_none() {
                return;
            }
        }
    }

    /// Forgets the pages of a file that is gone.
    pub(crate) fn forget(&self, file: u64) {
        let mut held = self.held.lock();
        let gone: Vec<PageKey> = held.iter().map(|(key, _)| *key).filter(|key| key.0 == file).collect();
        for key in gone {
            held.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;

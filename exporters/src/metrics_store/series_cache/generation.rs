//! A generation of the cache: entries that are written once, in the order in which they came, and a table over them.
//!
//! Sketch: 48 bytes an entry, 7 in the table. Entries are read without a lock; the table is cut into shards, each under
//! a lock that is held for one probe.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;
use storage_api::SeriesRef;

/// Shards of the table, so that cores seldom meet at one lock.
const SHARDS: usize = 64;

/// Entries of a page: 48 KiB.
const PAGE: usize = 1024;

/// Names no entry.
const NONE: u32 = u32::MAX;

/// Place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// The series of one point. Most points have one.
pub(super) enum Run {
    One(SeriesRef),
    Many(Box<[SeriesRef]>),
}

/// Entries up to a number of references.
pub(super) struct Generation {
    /// Made as they are needed.
    pages: Box<[OnceLock<Box<[Entry]>>]>,
    /// Places that were given away.
    len: AtomicU32,
    /// References of all entries; an entry without any counts as one.
    refs: AtomicUsize,
    refs_max: usize,
    /// Places by key. The high bits of a key choose the shard, the low ones the place inside.
    shards: Vec<Mutex<HashTable<u32>>>,
}

struct Entry {
    /// The key, lower half first, which needs less alignment than a whole one, and the run.
    held: OnceLock<([u64; 2], Run)>,
    /// The entry that was looked up after this one the last time.
    next: AtomicU32,
    /// Another entry has the key now.
    is_retired: AtomicBool,
}

impl Run {
    pub(super) fn new(series: &[SeriesRef]) -> Self {
        match series {
            [one] => Self::One(*one),
            many => Self::Many(many.into()),
        }
    }

    fn as_slice(&self) -> &[SeriesRef] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Generation {
    pub(super) fn new(refs_max: usize) -> Self {
        // An entry counts as one reference at least, and one may come into an empty generation that is too large.
        let pages = refs_max.max(1).div_ceil(PAGE);
        Self {
            pages: (0..pages).map(|_| OnceLock::new()).collect(),
            len: AtomicU32::new(0),
            refs: AtomicUsize::new(0),
            refs_max,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// The entry that followed `last` the last time, if it is that of `key`.
    #[inline]
    pub(super) fn follower(&self, last: Slot, key: u128) -> Option<(Slot, &[SeriesRef])> {
        let slot = Slot(self.entry(last)?.next.load(Ordering::Relaxed));
        let entry = self.entry(slot)?;
        let (of_entry, run) = entry.held.get()?;
        let is_it = *of_entry == halves(key) && !entry.is_retired.load(Ordering::Relaxed);
        is_it.then(|| (slot, run.as_slice()))
    }

    /// Remembers that `next` was looked up after `last`.
    pub(super) fn link(&self, last: Slot, next: Slot) {
        if let Some(entry) = self.entry(last) {
            entry.next.store(next.0, Ordering::Relaxed);
        }
    }

    pub(super) fn find(&self, key: u128) -> Option<Slot> {
        let table = self.shard(key).lock();
        table.find(halves(key)[0], |slot| self.has(*slot, key)).map(|slot| Slot(*slot))
    }

    /// The run of an entry; empty for a place that was not filled.
    pub(super) fn run(&self, slot: Slot) -> &[SeriesRef] {
        self.entry(slot).and_then(|entry| entry.held.get()).map_or(&[], |(_, run)| run.as_slice())
    }

    /// Adds an entry in the place of the one that has its key, if there is one. `None` when there is no room.
    pub(super) fn put(&self, key: u128, run: Run) -> Option<Slot> {
        let refs = run.as_slice().len().max(1);
        let room = |used: usize| (used == 0 || used + refs <= self.refs_max).then_some(used + refs);
        self.refs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let slot = self.len.fetch_add(1, Ordering::Relaxed);
        let page = self.pages.get(slot as usize / PAGE)?;
        let page = page.get_or_init(|| (0..PAGE).map(|_| Entry::default()).collect());
        // A place is given away once.
        let _ = page[slot as usize % PAGE].held.set((halves(key), run));
        let mut table = self.shard(key).lock();
        let hash = |slot: &u32| self.key(*slot)[0];
        match table.find_mut(halves(key)[0], |slot| self.has(*slot, key)) {
            Some(known) => {
                let before = std::mem::replace(known, slot);
                if let Some(entry) = self.entry(Slot(before)) {
                    entry.is_retired.store(true, Ordering::Relaxed);
                }
            }
            None => drop(table.insert_unique(halves(key)[0], slot, hash)),
        }
        Some(Slot(slot))
    }

    #[inline]
    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.pages.get(slot.0 as usize / PAGE)?.get()?.get(slot.0 as usize % PAGE)
    }

    fn has(&self, slot: u32, key: u128) -> bool {
        self.key(slot) == halves(key)
    }

    fn key(&self, slot: u32) -> [u64; 2] {
        self.entry(Slot(slot)).and_then(|entry| entry.held.get()).map_or([0; 2], |(key, _)| *key)
    }

    fn shard(&self, key: u128) -> &Mutex<HashTable<u32>> {
        &self.shards[(key >> 120) as usize % SHARDS]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { held: OnceLock::new(), next: AtomicU32::new(NONE), is_retired: AtomicBool::new(false) }
    }
}

/// Lower and upper half. Keys are hashes of a keyed hash function already, so the lower half is a hash.
#[inline]
fn halves(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

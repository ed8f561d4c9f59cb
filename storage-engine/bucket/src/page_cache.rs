//! Pages of objects that were read, within a budget of memory that all blocks of a bucket share.
//!
//! A page that was used since it was last looked at gets a second chance (CLOCK), so that a scan over chunks leaves the
//! pages that every query needs.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use metrics::{Counter, counter};
use parking_lot::Mutex;
use ulid::Ulid;

/// Bytes of a page. A postings list of 4,000 series or 60 chunks of floats fit in.
pub(crate) const PAGE_BYTES: u64 = 16 << 10;

/// What a page costs beside its bytes.
const OVERHEAD_BYTES: usize = 96;

/// A page of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    pub(crate) block: Ulid,
    /// 0 is the index, the others are files of chunks by their number.
    pub(crate) file: u32,
    pub(crate) page: u32,
}

/// Pages in memory.
pub struct PageCache {
    bytes_max: usize,
    requests: Counter,
    hits: Counter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pages: HashMap<PageKey, Page>,
    /// The pages in the order in which they are looked at.
    order: VecDeque<PageKey>,
    bytes: usize,
}

struct Page {
    bytes: Bytes,
    is_used: bool,
}

impl PageCache {
    /// A cache of at most `bytes_max` of memory.
    pub fn new(bytes_max: u64) -> Self {
        let requests = counter!("tidegate_store_gateway_page_requests_total");
        Self::counted(bytes_max, requests, counter!("tidegate_store_gateway_page_hits_total"))
    }

    /// The same; counts pages that were asked for and those of them that were there.
    pub fn counted(bytes_max: u64, requests: Counter, hits: Counter) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { bytes_max, requests, hits, state: Mutex::default() }
    }

    /// Bytes in memory now.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Pages that are there; the others are `None`.
    pub(crate) fn get(&self, keys: impl Iterator<Item = PageKey>) -> Vec<Option<Bytes>> {
        let mut state = self.state.lock();
        let mut hits = 0;
        let found: Vec<Option<Bytes>> = keys
            .map(|key| {
                let page = state.pages.get_mut(&key)?;
                page.is_used = true;
                hits += 1;
                Some(page.bytes.clone())
            })
            .collect();
        drop(state);
        self.requests.increment(found.len() as u64);
        self.hits.increment(hits);
        found
    }

    /// Whether a page is there.
    pub(crate) fn has(&self, key: &PageKey) -> bool {
        self.state.lock().pages.contains_key(key)
    }

    /// Takes pages in; others leave for them.
    pub(crate) fn put(&self, pages: impl Iterator<Item = (PageKey, Bytes)>) {
        let mut state = self.state.lock();
        for (key, bytes) in pages {
            let added = bytes.len() + OVERHEAD_BYTES;
            match state.pages.insert(key, Page { bytes, is_used: false }) {
                None => state.order.push_back(key),
                Some(before) => state.bytes -= before.bytes.len() + OVERHEAD_BYTES,
            }
            state.bytes += added;
        }
        while state.bytes > self.bytes_max {
            let Some(key) = state.order.pop_front() else { break };
            let page = state.pages.get_mut(&key).expect("each page of the order is there once");
            if std::mem::take(&mut page.is_used) {
                state.order.push_back(key);
            } else {
                state.bytes -= page.bytes.len() + OVERHEAD_BYTES;
                state.pages.remove(&key);
            }
        }
    }

    /// Forgets the pages of a block, which may be damaged.
    pub(crate) fn forget(&self, block: Ulid) {
        let State { pages, order, bytes } = &mut *self.state.lock();
        order.retain(|key| key.block != block);
        pages.retain(|key, page| {
            let is_kept = key.block != block;
            *bytes -= if is_kept { 0 } else { page.bytes.len() + OVERHEAD_BYTES };
            is_kept
        });
    }
}

impl std::fmt::Debug for PageCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageCache").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{OVERHEAD_BYTES, PAGE_BYTES, PageCache, PageKey};
    use bytes::Bytes;
    use ulid::Ulid;

    fn key(page: u32) -> PageKey {
        PageKey { block: Ulid(1), file: 0, page }
    }

    fn page(number: u32) -> (PageKey, Bytes) {
        (key(number), Bytes::from(vec![0; usize::try_from(PAGE_BYTES).expect("small")]))
    }

    #[test]
    fn memory_stays_within_the_budget_and_used_pages_stay() {
        let cache = PageCache::new(10 * (PAGE_BYTES + 100));
        cache.put((0..5).map(page));
        for number in 5..200 {
            assert!(cache.get([key(3)].into_iter())[0].is_some(), "page 3 is used all the time");
            cache.put([page(number)].into_iter());
            assert!(cache.bytes() <= 10 * (16 << 10) + 1000);
        }
        let there = cache.get([key(4), key(199)].into_iter()).into_iter().map(|page| page.is_some());
        assert_eq!(there.collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_block_that_is_forgotten_leaves_nothing() {
        let cache = PageCache::new(1 << 20);
        let other = PageKey { block: Ulid(9), ..key(0) };
        cache.put([page(0), page(1), (other, Bytes::from_static(b"other"))].into_iter());
        cache.forget(key(0).block);
        assert_eq!(cache.get([key(0), key(1), other].into_iter()), [None, None, Some(Bytes::from("other"))]);
        assert_eq!(cache.bytes(), 5 + OVERHEAD_BYTES);
        cache.forget(other.block);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn a_page_that_comes_again_counts_once() {
        let cache = PageCache::new(1 << 20);
        cache.put([page(1), page(1)].into_iter());
        let once = cache.bytes();
        cache.put([page(1)].into_iter());
        assert_eq!(cache.bytes(), once);
    }
}

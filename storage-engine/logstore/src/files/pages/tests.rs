use std::cell::Cell;
use std::sync::Arc;

use model::LogEntries;
use runtime::MemoryBudget;

use super::PageCache;
use crate::error::LogStoreError;

fn page(bytes: usize) -> LogEntries {
    let mut entries = LogEntries::new();
    entries.push(1, &"x".repeat(bytes), []);
    entries.shrink_to_fit();
    entries
}

#[test]
fn a_page_is_decoded_once_until_others_push_it_out_and_its_bytes_are_budgeted() {
    let budget = MemoryBudget::new(1 << 30);
    let cache = PageCache::new(25_000, Arc::clone(&budget));
    let decoded = Cell::new(0);
    let get = |key| {
        cache.get(key, || {
            decoded.set(decoded.get() + 1);
            Ok(Some(page(10_000)))
        })
    };
    for (key, expected) in
        [((1, 0), 1), ((1, 0), 1), ((2, 0), 2), ((1, 0), 2), ((1, 1), 3), ((1, 0), 3), ((2, 0), 4)]
    {
        assert_eq!(get(key).expect("decodes").expect("a page").len(), 1);
        assert_eq!(decoded.get(), expected, "{key:?}");
    }
    let used = budget.reserved_bytes();
    assert!((20_000..25_000).contains(&used), "two pages are held: {used}");
    cache.forget(1);
    cache.forget(2);
    assert_eq!(budget.reserved_bytes(), 0);
}

#[test]
fn a_page_that_cannot_be_decoded_or_is_not_needed_is_tried_again_by_the_next_reader() {
    let cache = PageCache::new(1 << 20, MemoryBudget::new(1 << 30));
    assert!(cache.get((1, 0), || Err(LogStoreError::stopped("as a test"))).is_err());
    assert!(cache.get((1, 0), || Ok(None)).expect("no error").is_none());
    let read = cache.get((1, 0), || Ok(Some(page(3)))).expect("decodes");
    assert_eq!(read.expect("a page").line(0), "xxx");
}

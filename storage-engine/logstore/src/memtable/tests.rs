use std::sync::Arc;

use model::{Labels, LogEntries, TenantId, TimeRange};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use runtime::MemoryBudget;

use super::Generation;

fn entries(rows: &[(i64, String)]) -> LogEntries {
    let mut entries = LogEntries::new();
    rows.iter().for_each(|(at, line)| entries.push(*at, line, []));
    entries
}

proptest! {
    #[test]
    fn a_snapshot_holds_each_entry_once_in_pages_that_do_not_double(
        batches in proptest::collection::vec(proptest::collection::vec((0i64..30, "[ab]{0,2}"), 1..12), 1..8),
        large in any::<bool>(),
    ) {
        let budget = MemoryBudget::new(u64::MAX);
        let generation = Generation::new(1, &budget);
        let guard = generation.enter();
        let labels = Labels::from_pairs([("app", "a")]);
        let tenant = TenantId::default();
        let mut wanted: Vec<(i64, String)> = Vec::new();
        for rows in &batches {
            let pad = |(at, line): &(i64, String)| (*at, if large { line.repeat(9000) } else { line.clone() });
            let rows: Vec<_> = rows.iter().map(pad).collect();
            guard.insert(&tenant, [(4, labels.clone(), entries(&rows))].into_iter(), &budget);
            for row in rows {
                if !wanted.contains(&row) {
                    wanted.push(row);
                }
            }
        }
        wanted.sort_by_key(|row| row.0);
        let buffer = generation.tenant(&tenant).expect("it has entries");
        let mut pages = buffer.snapshot(&RoaringBitmap::from_iter([4, 9]), TimeRange::ALL);
        pages.sort_by_key(|page| page.range.min);
        let found: Vec<_> =
            pages.iter().flat_map(|page| page.entries.iter().map(|e| (e.timestamp_ns, e.line.to_owned()))).collect();
        prop_assert_eq!(found, wanted);
        for page in &pages {
            prop_assert!(page.entries.iter().all(|entry| page.range.contains(entry.timestamp_ns)));
        }
        prop_assert!(buffer.snapshot(&RoaringBitmap::from_iter([9]), TimeRange::ALL).is_empty());
        prop_assert!(buffer.snapshot(&RoaringBitmap::from_iter([4]), TimeRange::new(30, 90)).is_empty());
        prop_assert_eq!(budget.reserved_bytes(), generation.bytes());
    }
}

#[test]
fn empty_lines_fill_runs_and_pages_too() {
    let budget = MemoryBudget::new(u64::MAX);
    let generation = Generation::new(1, &budget);
    let guard = generation.enter();
    let tenant = TenantId::default();
    let insert = |id: u32, times: &mut dyn Iterator<Item = i64>| {
        let rows: Vec<_> = times.map(|at| (at, String::new())).collect();
        let labels = Labels::from_pairs([("app", id.to_string().as_str())]);
        guard.insert(&tenant, [(id, labels, entries(&rows))].into_iter(), &budget);
    };
    (0..10).for_each(|batch| insert(1, &mut (batch * 1000..(batch + 1) * 1000)));
    // Its order is to be made first.
    insert(2, &mut (0..40_000).rev());
    let buffer = generation.tenant(&tenant).expect("it has entries");
    for (id, expected) in [(1, &[4000, 4000, 2000][..]), (2, &[16_384, 16_384, 7232])] {
        let pages = buffer.snapshot(&RoaringBitmap::from_iter([id]), TimeRange::ALL);
        let found: Vec<usize> = pages.iter().map(|page| page.entries.len()).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_generation_settles_when_its_last_writer_is_gone() {
    let generation = Generation::new(1, &MemoryBudget::new(u64::MAX));
    let (first, second) = (generation.enter(), generation.enter());
    let waiting = Arc::clone(&generation);
    let mut settled = Box::pin(async move { waiting.settled().await });
    assert!(futures_util::poll!(&mut settled).is_pending());
    drop(first);
    assert!(futures_util::poll!(&mut settled).is_pending());
    drop(second);
    settled.await;
}

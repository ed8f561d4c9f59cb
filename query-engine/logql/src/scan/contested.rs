//! Times that more than one page of a stream covers, and the entries seen there.

use std::sync::Arc;

use hashbrown::HashSet;
use model::{LogEntries, TimeRange};
use parking_lot::Mutex;

/// One contested stretch of time of a stream, shared by the pages that cover it.
#[derive(Debug)]
struct Stretch {
    range: TimeRange,
    seen: Mutex<HashSet<u128>>,
}

/// The contested stretches of a page, ascending; usually none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contested(Vec<Arc<Stretch>>);

impl Contested {
    /// Whether every entry of the page is certainly its only copy.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn stretch_at(&self, timestamp_ns: i64) -> Option<&Stretch> {
        let after = self.0.partition_point(|stretch| stretch.range.max < timestamp_ns);
        self.0.get(after).filter(|stretch| stretch.range.contains(timestamp_ns)).map(Arc::as_ref)
    }

    /// Whether this is the first time that the entry is seen. Remembers it.
    pub(crate) fn is_first(&self, entries: &LogEntries, index: usize) -> bool {
        match self.stretch_at(entries.timestamps_ns()[index]) {
            Some(stretch) => stretch.seen.lock().insert(identity(entries, index)),
            None => true,
        }
    }

    /// The entry's identity if another page may hold a copy. Remembers nothing.
    pub(crate) fn identity(&self, entries: &LogEntries, index: usize) -> Option<u128> {
        self.stretch_at(entries.timestamps_ns()[index]).map(|_| identity(entries, index))
    }
}

/// The contested stretches for each of a stream's pages, whose ranges come in order of their start.
pub(super) fn find(ranges: &[TimeRange]) -> Vec<Contested> {
    let mut stretches: Vec<TimeRange> = Vec::new();
    let mut covered_to: Option<i64> = None;
    for range in ranges {
        if let Some(max) = covered_to
            && range.min <= max
        {
            let stretch = TimeRange::new(range.min, range.max.min(max));
            match stretches.last_mut() {
                // Stretches start in order too, so that only the last can touch this one.
                Some(last) if stretch.min <= last.max => last.max = last.max.max(stretch.max),
                _ => stretches.push(stretch),
            }
        }
        covered_to = Some(covered_to.map_or(range.max, |max| max.max(range.max)));
    }
    let stretches: Vec<Arc<Stretch>> =
        stretches.into_iter().map(|range| Arc::new(Stretch { range, seen: Mutex::default() })).collect();
    ranges
        .iter()
        .map(|range| {
            let first = stretches.partition_point(|stretch| stretch.range.max < range.min);
            let overlapping = stretches[first..].iter().take_while(|stretch| stretch.range.min <= range.max);
            Contested(overlapping.cloned().collect())
        })
        .collect()
}

/// 128 bits of time, line and metadata.
fn identity(entries: &LogEntries, index: usize) -> u128 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(&entries.timestamps_ns()[index].to_le_bytes());
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(entries.line(index));
    for (name, value) in entries.metadata(index) {
        add(name);
        add(value);
    }
    hasher.digest128()
}

//! Entries in file order: by stream, then time, then the order in which they were appended; exact duplicates once.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashSet;
use model::{Labels, LogEntries, LogEntry};

/// Where an entry lies among the runs of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowRef {
    pub(crate) run: u32,
    pub(crate) index: u32,
}

/// Entries of one stream in the order of a file.
#[derive(Clone, Debug)]
pub(crate) struct SortedStream {
    pub(crate) labels: Labels,
    pub(crate) runs: Vec<Arc<LogEntries>>,
    pub(crate) rows: Vec<RowRef>,
}

/// With more jumps between runs than one in this many rows, rows are copied together before a file is written.
const ROWS_PER_JUMP_MIN: usize = 8;
/// Text of a run that is made by copying.
const CONTIGUOUS_TEXT_BYTES: usize = 512 << 10;

/// Up to this many entries of one time are compared with each other; more go through a set of hashes.
const PAIRWISE_MAX: usize = 8;

impl SortedStream {
    /// Sorts the entries of `runs`, which are in the order in which they were appended.
    pub(crate) fn new(labels: Labels, runs: Vec<Arc<LogEntries>>) -> Self {
        let count = runs.iter().map(|run| run.len()).sum();
        let mut timed: Vec<(i64, RowRef)> = Vec::with_capacity(count);
        for (number, run) in runs.iter().enumerate() {
            let run_number = u32::try_from(number).expect("a stream has far fewer runs than 4 G");
            let row = |(index, &at): (usize, &i64)| (at, RowRef { run: run_number, index: index as u32 });
            timed.extend(run.timestamps_ns().iter().enumerate().map(row));
        }
        if !timed.is_sorted_by_key(|&(at, _)| at) {
            timed.sort_by_key(|&(at, _)| at);
        }
        drop_duplicates(&runs, &mut timed);
        Self { labels, runs, rows: timed.into_iter().map(|(_, row)| row).collect() }
    }

    pub(crate) fn timestamp_ns(&self, row: RowRef) -> i64 {
        self.runs[row.run as usize].timestamps_ns()[row.index as usize]
    }

    /// Bytes of the row's line and metadata.
    pub(crate) fn row_bytes(&self, row: RowRef) -> usize {
        let run = &self.runs[row.run as usize];
        run.line(row.index as usize).len() + run.metadata_bytes(row.index as usize)
    }

    /// Bytes of all runs' lines and metadata: those of its rows, and of duplicates that were left out.
    pub(crate) fn text_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.text_bytes()).sum()
    }

    /// Positions of the rows with times in `[from_ns, until_ns)`.
    pub(crate) fn range(&self, from_ns: i64, until_ns: i64) -> Range<usize> {
        let start = self.rows.partition_point(|&row| self.timestamp_ns(row) < from_ns);
        let end = self.rows.partition_point(|&row| self.timestamp_ns(row) < until_ns);
        start..end.max(start)
    }

    /// The same rows, and when they jump between runs, copied into runs of their own in order: a file is written column
    /// by column, and each would miss the cache at every jump.
    pub(crate) fn contiguous(self) -> Self {
        let next = |row: RowRef| RowRef { run: row.run, index: row.index + 1 };
        let jumps = self.rows.windows(2).filter(|pair| next(pair[0]) != pair[1]).count();
        if jumps * ROWS_PER_JUMP_MIN <= self.rows.len() {
            return self;
        }
        let (mut runs, mut rows) = (Vec::new(), Vec::with_capacity(self.rows.len()));
        let mut open = LogEntries::new();
        for &row in &self.rows {
            let index = row.index as usize;
            rows.push(RowRef { run: runs.len() as u32, index: open.len() as u32 });
            open.extend_from(&self.runs[row.run as usize], index..index + 1);
            if open.text_bytes() >= CONTIGUOUS_TEXT_BYTES {
                runs.push(Arc::new(std::mem::take(&mut open)));
            }
        }
        runs.push(Arc::new(open));
        Self { labels: self.labels, runs, rows }
    }

    /// All rows as entries of their own.
    pub(crate) fn to_entries(&self) -> LogEntries {
        let mut entries = LogEntries::new();
        let mut rest = &self.rows[..];
        while let Some((&first, _)) = rest.split_first() {
            // Neighbours of one run are copied together.
            let together = rest
                .iter()
                .zip(first.index..)
                .take_while(|(row, index)| row.run == first.run && row.index == *index)
                .count();
            let from = first.index as usize;
            entries.extend_from(&self.runs[first.run as usize], from..from + together);
            rest = &rest[together..];
        }
        entries
    }
}

/// Keeps the first of entries that are equal in time, line and metadata.
fn drop_duplicates(runs: &[Arc<LogEntries>], timed: &mut Vec<(i64, RowRef)>) {
    if timed.is_sorted_by(|left, right| left.0 < right.0) {
        return;
    }
    let entry = |row: RowRef| runs[row.run as usize].get(row.index as usize);
    let mut kept = Vec::with_capacity(timed.len());
    for group in timed.chunk_by(|left, right| left.0 == right.0) {
        let first = kept.len();
        if group.len() <= PAIRWISE_MAX {
            for &(at, row) in group {
                if !kept[first..].iter().any(|&(_, other)| entry(other) == entry(row)) {
                    kept.push((at, row));
                }
            }
        } else {
            let mut seen = HashSet::with_capacity(group.len());
            kept.extend(group.iter().filter(|&&(_, row)| seen.insert(EntryKey(entry(row)))));
        }
    }
    *timed = kept;
}

/// An entry as a key: equal times are given.
struct EntryKey<'a>(LogEntry<'a>);

impl PartialEq for EntryKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for EntryKey<'_> {}

impl std::hash::Hash for EntryKey<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.line.hash(state);
        self.0.metadata.for_each(|pair| pair.hash(state));
    }
}

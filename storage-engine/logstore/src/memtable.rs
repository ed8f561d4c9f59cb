//! Entries in memory: one generation takes appends while the one before it is written to files.
//!
//! A pushed batch is kept as the columns it came in; small ones are copied together, so that a stream's entries lie in
//! runs of some 64 KiB. Runs are shared with readers and copied when one that a reader holds grows.
//! Invariants: MEM-1: a generation that was sealed gets no more entries once `settled` returned. MEM-2: the pages of a
//! snapshot hold each entry once: runs that overlap in time are merged, and only such can share a duplicate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use model::{Labels, LogEntries, TenantId, TimeRange};
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;
use runtime::{MemoryBudget, Reservation};
use tokio::sync::Notify;

use crate::file::rows::SortedStream;

/// A run that has this many bytes of text gets no more entries.
const RUN_TEXT_BYTES: usize = 64 << 10;
/// Nor does one of so many entries: empty lines have no text, and a run that a reader holds is copied when it grows.
const RUN_ENTRIES: usize = 4096;
/// Memory of a stream besides its entries: map entry, labels, run list, and an allocation's slack each.
const STREAM_OVERHEAD_BYTES: usize = 512;
/// Text of a page made by merging runs.
const MERGED_PAGE_TEXT_BYTES: usize = 256 << 10;
/// Entries of such a page at most.
const MERGED_PAGE_ENTRIES: usize = 4 * RUN_ENTRIES;

/// Entries appended between two flushes.
pub(crate) struct Generation {
    pub(crate) id: u64,
    tenants: RwLock<HashMap<TenantId, Arc<TenantBuffer>>>,
    /// Appends that took this generation and have not put their entries in yet.
    writers: AtomicUsize,
    writers_gone: Notify,
    bytes: AtomicU64,
    reservation: Mutex<Reservation>,
}

/// The right to put entries into a generation; it is not written to files before all are given back.
pub(crate) struct WriterGuard(Arc<Generation>);

/// Entries of one tenant, by stream number.
#[derive(Default)]
pub(crate) struct TenantBuffer(Mutex<HashMap<u32, StreamBuffer>>);

struct StreamBuffer {
    labels: Labels,
    runs: Vec<Run>,
}

#[derive(Clone)]
struct Run {
    entries: Arc<LogEntries>,
    range: TimeRange,
    /// Whether times rise from each entry to the next, so that it has no two of one time.
    rising: bool,
}

/// Entries of one stream in a snapshot, in order and without duplicates.
pub(crate) struct MemoryRun {
    pub(crate) labels: Labels,
    pub(crate) range: TimeRange,
    pub(crate) entries: Arc<LogEntries>,
}

impl Generation {
    pub(crate) fn new(id: u64, budget: &Arc<MemoryBudget>) -> Arc<Self> {
        Arc::new(Self {
            id,
            tenants: RwLock::default(),
            writers: AtomicUsize::new(0),
            writers_gone: Notify::new(),
            bytes: AtomicU64::new(0),
            reservation: Mutex::new(budget.reserve_unchecked(0)),
        })
    }

    /// The same entries under another number. For replay, which knows its number last; nobody else may hold it.
    pub(crate) fn renumbered(self: Arc<Self>, id: u64) -> Arc<Self> {
        let mut generation = Arc::into_inner(self).expect("replay is over and gave back every guard");
        generation.id = id;
        Arc::new(generation)
    }

    /// Must be called while the store's state is locked, so that sealing it is seen or sees this.
    pub(crate) fn enter(self: &Arc<Self>) -> WriterGuard {
        self.writers.fetch_add(1, Ordering::AcqRel);
        WriterGuard(Arc::clone(self))
    }

    /// Waits until no append is on its way into it. Cancel-safe.
    pub(crate) async fn settled(&self) {
        loop {
            let gone = self.writers_gone.notified();
            if self.writers.load(Ordering::Acquire) == 0 {
                return;
            }
            gone.await;
        }
    }

    pub(crate) fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    pub(crate) fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantBuffer>> {
        self.tenants.read().get(tenant).cloned()
    }

    /// All tenants with their entries.
    pub(crate) fn tenants(&self) -> Vec<(TenantId, Arc<TenantBuffer>)> {
        self.tenants.read().iter().map(|(tenant, buffer)| (tenant.clone(), Arc::clone(buffer))).collect()
    }

    fn buffer(&self, tenant: &TenantId) -> Arc<TenantBuffer> {
        if let Some(buffer) = self.tenant(tenant) {
            return buffer;
        }
        Arc::clone(self.tenants.write().entry(tenant.clone()).or_default())
    }

    fn count(&self, bytes: usize, budget: &Arc<MemoryBudget>) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reservation.lock().absorb(budget.reserve_unchecked(bytes as u64));
    }
}

impl WriterGuard {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.0
    }

    /// Makes entries visible. `streams` are numbers, labels and entries.
    pub(crate) fn insert(
        &self,
        tenant: &TenantId,
        streams: impl Iterator<Item = (u32, Labels, LogEntries)>,
        budget: &Arc<MemoryBudget>,
    ) {
        let buffer = self.0.buffer(tenant);
        let mut grown = 0;
        {
            let held = &mut *buffer.0.lock();
            for (id, labels, entries) in streams {
                let stream = held.entry(id).or_insert_with(|| {
                    grown += STREAM_OVERHEAD_BYTES + labels.text_bytes();
                    StreamBuffer { labels, runs: Vec::new() }
                });
                grown += stream.push(entries);
            }
        }
        self.0.count(grown, budget);
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        if self.0.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.writers_gone.notify_waiters();
        }
    }
}

impl TenantBuffer {
    /// Number of streams.
    pub(crate) fn stream_count(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn has_stream(&self, id: u32) -> bool {
        self.0.lock().contains_key(&id)
    }

    /// All streams in label order, sorted and without duplicates: what a file holds.
    pub(crate) fn sorted_streams(&self) -> Vec<SortedStream> {
        let mut streams: Vec<(Labels, Vec<Arc<LogEntries>>)> = {
            let held = self.0.lock();
            let runs =
                |stream: &StreamBuffer| stream.runs.iter().map(|run| Arc::clone(&run.entries)).collect();
            held.values().map(|stream| (stream.labels.clone(), runs(stream))).collect()
        };
        streams.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        streams.into_iter().map(|(labels, runs)| SortedStream::new(labels, runs).contiguous()).collect()
    }

    /// Numbers of its streams.
    pub(crate) fn stream_ids(&self) -> RoaringBitmap {
        self.0.lock().keys().copied().collect()
    }

    /// Oldest and newest time of each of the `wanted` streams.
    pub(crate) fn ranges(&self, wanted: &RoaringBitmap) -> Vec<(u32, TimeRange)> {
        let whole = |stream: &StreamBuffer| {
            let min = stream.runs.iter().map(|run| run.range.min).min();
            let max = stream.runs.iter().map(|run| run.range.max).max();
            TimeRange::new(min.unwrap_or(i64::MAX), max.unwrap_or(i64::MIN))
        };
        let held = self.0.lock();
        held.iter().filter(|(id, _)| wanted.contains(**id)).map(|(id, stream)| (*id, whole(stream))).collect()
    }

    /// Entries of the `wanted` streams that may lie in `range`.
    pub(crate) fn snapshot(&self, wanted: &RoaringBitmap, range: TimeRange) -> Vec<MemoryRun> {
        let taken: Vec<(Labels, Vec<Run>)> = {
            let held = self.0.lock();
            let take = |stream: &StreamBuffer| (stream.labels.clone(), stream.runs.clone());
            if wanted.len() < held.len() as u64 {
                wanted.iter().filter_map(|id| held.get(&id)).map(take).collect()
            } else {
                held.iter().filter(|(id, _)| wanted.contains(**id)).map(|(_, stream)| take(stream)).collect()
            }
        };
        let mut found = Vec::new();
        for (labels, runs) in taken {
            merge_runs(&labels, runs, range, &mut found);
        }
        found
    }
}

impl StreamBuffer {
    /// Adds entries; gives the memory that they take.
    fn push(&mut self, entries: LogEntries) -> usize {
        let added = Run::new(entries);
        if let Some(last) = self.runs.last_mut()
            && last.entries.text_bytes() + added.entries.text_bytes() <= RUN_TEXT_BYTES
            && last.entries.len() + added.entries.len() <= RUN_ENTRIES
        {
            return last.extend(&added);
        }
        let bytes = added.entries.memory_bytes() + size_of::<Run>();
        self.runs.push(added);
        bytes
    }
}

impl Run {
    fn new(entries: LogEntries) -> Self {
        let times = entries.timestamps_ns();
        let rising = times.is_sorted_by(|left, right| left < right);
        let range = match (rising, times) {
            (true, [first, .., last]) => TimeRange::new(*first, *last),
            (_, times) => TimeRange::new(
                times.iter().copied().min().unwrap_or(i64::MAX),
                times.iter().copied().max().unwrap_or(i64::MIN),
            ),
        };
        Self { entries: Arc::new(entries), range, rising }
    }

    fn extend(&mut self, added: &Self) -> usize {
        self.rising &= added.rising && self.range.max < added.range.min;
        self.range = TimeRange::new(self.range.min.min(added.range.min), self.range.max.max(added.range.max));
        let entries = Arc::make_mut(&mut self.entries);
        let before = entries.memory_bytes();
        entries.extend_from(&added.entries, 0..added.entries.len());
        entries.memory_bytes().saturating_sub(before)
    }
}

/// Turns runs into ones that do not overlap, each in order and without duplicates, and keeps those that may have
/// entries in `range`.
fn merge_runs(labels: &Labels, runs: Vec<Run>, range: TimeRange, out: &mut Vec<MemoryRun>) {
    // Where each came among the appends decides the order of entries of one time.
    let mut runs: Vec<(usize, Run)> = runs.into_iter().enumerate().collect();
    runs.sort_by_key(|(_, run)| run.range.min);
    let mut rest = &mut runs[..];
    while let Some((_, first)) = rest.first() {
        let (min, mut max) = (first.range.min, first.range.max);
        let mut together = 1;
        while let Some((_, run)) = rest.get(together).filter(|(_, run)| run.range.min <= max) {
            max = max.max(run.range.max);
            together += 1;
        }
        let (group, others) = std::mem::take(&mut rest).split_at_mut(together);
        rest = others;
        if !range.overlaps(TimeRange::new(min, max)) {
            continue;
        }
        match group {
            [(_, run)] if run.rising => {
                out.push(MemoryRun {
                    labels: labels.clone(),
                    range: run.range,
                    entries: Arc::clone(&run.entries),
                });
            }
            _ => {
                group.sort_by_key(|(position, _)| *position);
                merge_group(labels, group, range, out);
            }
        }
    }
}

fn merge_group(labels: &Labels, group: &[(usize, Run)], range: TimeRange, out: &mut Vec<MemoryRun>) {
    let runs = group.iter().map(|(_, run)| Arc::clone(&run.entries)).collect();
    let merged = SortedStream::new(labels.clone(), runs).to_entries();
    let mut start = 0;
    while start < merged.len() {
        let mut end = start;
        let mut text = 0;
        let last = merged.len().min(start + MERGED_PAGE_ENTRIES);
        while end < last && text < MERGED_PAGE_TEXT_BYTES {
            text += merged.line(end).len();
            end += 1;
        }
        let times = &merged.timestamps_ns()[start..end];
        let page = TimeRange::new(times[0], times[times.len() - 1]);
        if range.overlaps(page) {
            let mut entries = LogEntries::new();
            entries.extend_from(&merged, start..end);
            out.push(MemoryRun { labels: labels.clone(), range: page, entries: Arc::new(entries) });
        }
        start = end;
    }
}

#[cfg(test)]
mod tests;

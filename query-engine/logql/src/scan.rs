//! Reads the pages of a query on several threads, each entry once.
//!
//! Pages of one stream may overlap in time and then hold the same entry twice. Where two pages of a stream cover the
//! same time ("contested"), entries are compared by a 128-bit hash of time, line and metadata; elsewhere nothing is
//! hashed. Invariant SCAN-1: an entry reaches the visitor at most once per query.

mod contested;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use model::{ErrorKind, Labels, LogEntries, TimeRange};
use parking_lot::Mutex;
use runtime::Tasks;
use storage_api::{LogPage, SearchedRows};

pub(crate) use contested::Contested;

use crate::{LogqlError, LogqlResult};

/// A page with its place among its stream's pages.
pub(crate) struct ScanPage {
    pub(crate) page: Arc<dyn LogPage>,
    pub(crate) labels: Labels,
    /// Position of the stream among the streams sorted by labels.
    pub(crate) stream: u32,
    /// Position of the page among its stream's pages, oldest first.
    pub(crate) rank: u32,
    pub(crate) contested: Contested,
}

/// What a query may use, and what it has used.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) deadline: Instant,
    pub(crate) bytes_max: u64,
    pub(crate) lines_max: u64,
    /// Bytes that results in the making may hold.
    pub(crate) memory_max: u64,
    pub(crate) memory: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) metadata_bytes: AtomicU64,
    pub(crate) lines: AtomicU64,
    pub(crate) lines_kept: AtomicU64,
    pub(crate) pages_read: AtomicU64,
    pub(crate) pages_selected: AtomicU64,
    /// Set when the query was cancelled, is over its time or has failed: workers end at the next line.
    pub(crate) stop: AtomicBool,
}

impl Budget {
    /// Counts what a page adds; fails when the query must end.
    pub(crate) fn charge_page(&self, bytes: usize, metadata_bytes: usize, lines: usize) -> LogqlResult<()> {
        self.pages_read.fetch_add(1, Ordering::Relaxed);
        self.metadata_bytes.fetch_add(metadata_bytes as u64, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let lines = self.lines.fetch_add(lines as u64, Ordering::Relaxed) + lines as u64;
        if bytes > self.bytes_max {
            return Err(LogqlError::limit(format!(
                "the query would read more than {} bytes; consider adding more specific stream selectors or reduce \
                 the time range of the query",
                self.bytes_max
            )));
        }
        if lines > self.lines_max {
            return Err(LogqlError::limit(format!(
                "the query would look at more than {} lines; consider adding more specific stream selectors or reduce \
                 the time range of the query",
                self.lines_max
            )));
        }
        self.check_time()
    }

    /// Counts bytes that a result in the making holds.
    pub(crate) fn charge_memory(&self, bytes: usize) -> LogqlResult<()> {
        let used = self.memory.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if used > self.memory_max {
            return Err(LogqlError::limit(format!(
                "the query would hold more than {} bytes of results in memory; consider aggregating into fewer series \
                 or reduce the time range of the query",
                self.memory_max
            )));
        }
        Ok(())
    }

    /// Fails when nobody waits for the query any more, be it for its time: cheap enough for every line, as one line may
    /// take a stage long.
    pub(crate) fn check_stop(&self) -> LogqlResult<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(LogqlError::new(ErrorKind::Canceled, "the query was canceled"));
        }
        Ok(())
    }

    /// Fails when the query was cancelled or its time is over.
    pub(crate) fn check_time(&self) -> LogqlResult<()> {
        self.check_stop()?;
        if Instant::now() > self.deadline {
            return Err(LogqlError::timed_out());
        }
        Ok(())
    }
}

/// Sets the stop flag when the query's future is dropped, so that threads do not work for nobody.
pub(crate) struct StopOnDrop(pub(crate) Arc<Budget>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Adds to the store's pages where they stand; keeps their order.
pub(crate) fn plan(pages: Vec<Arc<dyn LogPage>>) -> Vec<ScanPage> {
    let mut labels: Vec<Labels> = pages.iter().map(|page| page.labels().clone()).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut by_stream: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
    for (index, page) in pages.iter().enumerate() {
        let stream = labels.binary_search(page.labels()).expect("the list holds every page's labels");
        by_stream[stream].push(index);
    }
    let mut planned: Vec<Option<ScanPage>> = pages.iter().map(|_| None).collect();
    for (stream, indexes) in by_stream.iter_mut().enumerate() {
        indexes.sort_by_key(|&index| (pages[index].range().min, pages[index].range().max, index));
        let ranges: Vec<TimeRange> = indexes.iter().map(|&index| pages[index].range()).collect();
        let contested = contested::find(&ranges);
        for (rank, (&index, contested)) in indexes.iter().zip(contested).enumerate() {
            let small = |number: usize| u32::try_from(number).expect("a query selects fewer than 2^32 pages");
            planned[index] = Some(ScanPage {
                page: Arc::clone(&pages[index]),
                labels: labels[stream].clone(),
                stream: small(stream),
                rank: small(rank),
                contested,
            });
        }
    }
    planned.into_iter().map(|page| page.expect("every page belongs to one stream")).collect()
}

/// The rows of a page; `None` when the store knows that no line of it passes the query's search, which is charged.
pub(crate) fn search(
    page: &dyn LogPage,
    budget: &Budget,
) -> LogqlResult<Option<(Arc<LogEntries>, Range<usize>)>> {
    match page.search()? {
        SearchedRows::Found(entries, rows) => Ok(Some((entries, rows))),
        SearchedRows::Nothing { line_bytes } => {
            budget.charge_page(line_bytes, 0, page.len())?;
            Ok(None)
        }
    }
}

/// Positions of those entries in `rows` whose time is inside `range`.
pub(crate) fn inside(entries: &LogEntries, rows: Range<usize>, range: TimeRange) -> Range<usize> {
    let times = &entries.timestamps_ns()[rows.clone()];
    let start = times.partition_point(|&time| time < range.min);
    let end = times.partition_point(|&time| time <= range.max);
    rows.start + start..rows.start + end.max(start)
}

/// Bytes of lines and of metadata of the entries in `rows`.
pub(crate) fn text_bytes(entries: &LogEntries, rows: Range<usize>) -> (usize, usize) {
    if rows.len() == entries.len() {
        return (entries.lines().len(), entries.text_bytes() - entries.lines().len());
    }
    let ends = entries.line_ends();
    let end = |count: usize| count.checked_sub(1).map_or(0, |last| ends[last] as usize);
    let metadata = rows.clone().map(|row| entries.metadata_bytes(row)).sum();
    (end(rows.end) - end(rows.start), metadata)
}

/// Work on the pages of a query, one value per thread.
pub(crate) trait PageVisitor: Send + 'static {
    /// What a thread leaves behind.
    type Output: Send + 'static;

    /// Looks at page number `index`. `Ok(false)` ends this thread: no later page can matter.
    fn visit(&mut self, index: usize, page: &ScanPage) -> LogqlResult<bool>;

    /// The thread is done.
    fn finish(self) -> Self::Output;
}

/// Runs one visitor per thread over all pages, in order of their numbers; the first error ends all.
pub(crate) async fn run<V: PageVisitor>(
    tasks: &Tasks,
    budget: &Arc<Budget>,
    pages: Arc<Vec<ScanPage>>,
    visitors: Vec<V>,
) -> LogqlResult<Vec<V::Output>> {
    let next = Arc::new(AtomicUsize::new(0));
    let failure: Arc<Mutex<Option<LogqlError>>> = Arc::default();
    let mut handles = Vec::with_capacity(visitors.len());
    for mut visitor in visitors {
        let (next, failure) = (Arc::clone(&next), Arc::clone(&failure));
        let (pages, budget) = (Arc::clone(&pages), Arc::clone(budget));
        handles.push(tasks.spawn_blocking("logql scan", move || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(page) = pages.get(index) else { break };
                match budget.check_time().and_then(|()| visitor.visit(index, page)) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        failure.lock().get_or_insert(error);
                        budget.stop.store(true, Ordering::Relaxed);
                        break;
                    }
                }
            }
            visitor.finish()
        }));
    }
    let mut outputs = Vec::with_capacity(handles.len());
    for handle in handles {
        let output = handle.await.map_err(|error| {
            LogqlError::new(ErrorKind::Internal, format!("a scan thread failed: {error}"))
        })?;
        outputs.push(output);
    }
    match failure.lock().take() {
        Some(error) => Err(error),
        None => Ok(outputs),
    }
}

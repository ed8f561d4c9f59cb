//! A store in memory: pages as a test lays them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::{Direction, Labels, LogEntries, TenantId, TimeRange};
use storage_api::{BoxFuture, LogPage, LogQuerier, LogSelect, StorageResult, StreamSummary};

/// Second, line and structured metadata of an entry.
pub(in crate::engine) type Line<'a> = (i64, &'a str, &'a [(&'a str, &'a str)]);

/// Pages of streams.
#[derive(Default)]
pub(in crate::engine) struct Store {
    pages: Vec<Arc<Page>>,
    /// What is damaged, and when it had entries, seconds.
    damaged: Vec<(String, i64)>,
    /// How many pages were read.
    pub(in crate::engine) reads: Arc<AtomicUsize>,
}

struct Page {
    labels: Labels,
    entries: Arc<LogEntries>,
    reads: Arc<AtomicUsize>,
}

impl Store {
    pub(in crate::engine) fn new() -> Self {
        Self::default()
    }

    pub(in crate::engine) fn empty() -> Arc<Self> {
        Self::new().done()
    }

    /// Adds a page: labels as `a=b,c=d`, lines with their second.
    pub(in crate::engine) fn stream(self, labels: &str, lines: &[(i64, &str)]) -> Self {
        let entries: Vec<Line<'_>> = lines.iter().map(|(second, line)| (*second, *line, &[][..])).collect();
        self.page(labels, &entries)
    }

    /// Adds a page of lines with structured metadata.
    pub(in crate::engine) fn page(mut self, labels: &str, lines: &[Line<'_>]) -> Self {
        let pairs = labels.split(',').map(|pair| pair.split_once('=').expect("a label has a value"));
        let mut entries = LogEntries::new();
        for (second, line, metadata) in lines {
            entries.push(second * super::SECOND, line, metadata.iter().copied());
        }
        self.pages.push(Arc::new(Page {
            labels: Labels::from_pairs(pairs),
            entries: Arc::new(entries),
            reads: Arc::clone(&self.reads),
        }));
        self
    }

    /// Something with entries at a second is damaged.
    pub(in crate::engine) fn damaged(mut self, what: &str, second: i64) -> Self {
        self.damaged.push((what.to_owned(), second * super::SECOND));
        self
    }

    pub(in crate::engine) fn done(self) -> Arc<Self> {
        Arc::new(self)
    }

    pub(in crate::engine) fn pages_read(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl LogPage for Page {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn range(&self) -> TimeRange {
        let times = self.entries.timestamps_ns();
        TimeRange::new(times[0], times[times.len() - 1])
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn read(&self) -> StorageResult<Arc<LogEntries>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::clone(&self.entries))
    }
}

impl LogQuerier for Store {
    fn select<'a>(
        &'a self,
        select: &'a LogSelect,
        direction: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>> {
        let mut pages: Vec<Arc<dyn LogPage>> = Vec::new();
        for page in &self.pages {
            let matches = select.matchers.iter().all(|matcher| matcher.matches_labels(&page.labels));
            let lines = page.entries.lines().to_ascii_lowercase();
            let mut lists = select.line_contains.iter();
            let contains = lists.all(|texts| texts.iter().any(|text| lines.contains(text)));
            if matches && contains && page.range().overlaps(select.range) {
                pages.push(Arc::clone(page) as _);
            }
        }
        match direction {
            Direction::Forward => pages.sort_by_key(|page| page.range().min),
            Direction::Backward => pages.sort_by_key(|page| std::cmp::Reverse(page.range().max)),
        }
        Box::pin(async move { Ok(pages) })
    }

    fn streams<'a>(&'a self, _select: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn missing(&self, _tenant: &TenantId, range: TimeRange) -> Vec<String> {
        let inside = self.damaged.iter().filter(|(_, at)| range.contains(*at));
        inside.map(|(what, _)| what.clone()).collect()
    }
}

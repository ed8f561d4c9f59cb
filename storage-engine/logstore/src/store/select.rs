//! Reading: which pages may hold what a query asks for, and what streams there are.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use model::{Direction, ErrorKind, Labels, LogEntries, Matcher, TenantId, TimeRange};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use storage_api::{
    BoxFuture, LogCountSelect, LogPage, LogQuerier, LogSelect, SearchedRows, StorageError, StorageResult,
    StreamCounts, StreamSummary,
};

use super::stop::Stop;
use super::{Inner, LogStore};
use crate::error::{LogStoreError, LogStoreResult};
use crate::file::search::TextSearch;
use crate::files::{self, DataFile, LoadedFile, QuarantinedUnit};
use crate::memtable::{MemoryRun, TenantBuffer};

/// Files whose indexes are fetched together where that is a request.
const FILES_AT_ONCE: usize = 64;

/// Nanoseconds of a minute, the grain of rollups.
pub(super) const MINUTE_NS: i64 = 60_000_000_000;

impl LogQuerier for LogStore {
    fn select<'a>(
        &'a self,
        select: &'a LogSelect,
        direction: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>> {
        let (inner, select) = (Arc::clone(&self.0), select.clone());
        Box::pin(self.0.off_the_async_threads(move |stop| {
            let mut pages = inner.pages(&select, stop)?;
            match direction {
                Direction::Forward => pages.sort_by_key(|page| page.range().min),
                Direction::Backward => pages.sort_by_key(|page| std::cmp::Reverse(page.range().max)),
            }
            Ok(pages)
        }))
    }

    fn counts<'a>(&'a self, select: &'a LogCountSelect) -> BoxFuture<'a, StorageResult<Vec<StreamCounts>>> {
        let (inner, select) = (Arc::clone(&self.0), select.clone());
        Box::pin(self.0.off_the_async_threads(move |stop| inner.counts(&select, stop)))
    }

    fn streams<'a>(&'a self, select: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>> {
        let (inner, select) = (Arc::clone(&self.0), select.clone());
        Box::pin(self.0.off_the_async_threads(move |stop| inner.summaries(&select, stop)))
    }

    fn missing(&self, tenant: &TenantId, range: TimeRange) -> Vec<String> {
        files::sentences(&self.0.quarantined.lock(), tenant, range)
    }
}

/// What a query may read, all taken at one moment.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) buffers: Vec<Arc<TenantBuffer>>,
    pub(super) files: Vec<(Arc<DataFile>, Arc<LoadedFile>)>,
    pub(super) selected: RoaringBitmap,
}

/// A run of entries in memory.
struct MemoryPage(MemoryRun);

/// Rows of one stream in one page of a file.
struct FilePage {
    inner: Arc<Inner>,
    data: Arc<DataFile>,
    file: Arc<LoadedFile>,
    stream: usize,
    page: u32,
    /// Which rows of the page.
    rows: Range<usize>,
    range: TimeRange,
    search: Option<Arc<FileSearch>>,
}

/// What a query looks for in the pages of a file, several of which may be of several streams.
struct FileSearch {
    texts: Arc<TextSearch>,
    /// For each page, whether it was found to have nothing. Locked while it is looked at.
    has_nothing: Vec<Mutex<bool>>,
}

impl Inner {
    /// Runs what blocks. When the answer is waited for no more, `work` is told so.
    pub(super) async fn off_the_async_threads<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stop) -> LogStoreResult<T> + Send + 'static,
    ) -> StorageResult<T> {
        let (stop, _waiting) = Stop::new();
        let done = self.tasks.spawn_blocking("log-store-select", move || work(&stop)).await;
        let done = done.map_err(|_| {
            StorageError::new(ErrorKind::Internal, "log store: a query thread ended without an answer")
        })?;
        done.map_err(StorageError::from)
    }

    /// Blocks for file indexes that are not in memory.
    pub(super) fn snapshot(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        matchers: &[Matcher],
        stop: &Stop,
    ) -> LogStoreResult<Snapshot> {
        loop {
            match self.snapshot_once(tenant, range, matchers, stop) {
                // Another process took a file out meanwhile: what holds its entries now is in the list that came.
                Err(error) if error.is_missing_file() && self.place.is_shared() => {}
                taken => return taken,
            }
        }
    }

    fn snapshot_once(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        matchers: &[Matcher],
        stop: &Stop,
    ) -> LogStoreResult<Snapshot> {
        let (generations, files) = {
            let state = self.state.read();
            let sealed = state.sealed.as_ref().map(|sealed| Arc::clone(&sealed.generation));
            let generations = sealed.into_iter().chain([Arc::clone(&state.active)]).collect::<Vec<_>>();
            (generations, Arc::clone(&state.files.files))
        };
        // Reading makes no tenant: one without streams and files has nothing.
        let known = self.streams.read().get(tenant).cloned();
        let index = match known {
            Some(index) => index,
            None if files.iter().any(|data| data.about.tenant == *tenant) => self.stream_index(tenant),
            None => return Ok(Snapshot::default()),
        };
        let is_wanted = |data: &&Arc<DataFile>| {
            data.about.tenant == *tenant
                && range.overlaps(data.range())
                && !data.is_set_aside.load(Ordering::Relaxed)
        };
        let wanted: Vec<&Arc<DataFile>> = files.iter().filter(is_wanted).collect();
        let mut open = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(FILES_AT_ONCE) {
            stop.check()?;
            if self.place.is_shared() {
                let closed: Vec<_> = some.iter().copied().filter(|data| !self.indexes.has(data)).collect();
                self.place.want_indexes(&closed);
            }
            for data in some {
                match self.indexes.get(&self.place, data, &index) {
                    Ok(file) => open.push((Arc::clone(data), file)),
                    Err(error) if error.kind() == ErrorKind::Corrupt => self.quarantine_file(data, &error),
                    Err(error) if error.is_missing_file() && self.place.is_shared() => {
                        if self.refresh()? {
                            return Err(error);
                        }
                        self.quarantine_file(data, &error);
                    }
                    // Leaving its entries out would be a wrong answer.
                    Err(error) => return Err(error),
                }
            }
        }
        // After the files: opening one may have brought streams that were not known.
        let selected = index.select(matchers);
        let buffers = generations.iter().filter_map(|generation| generation.tenant(tenant)).collect();
        Ok(Snapshot { buffers, files: open, selected })
    }

    pub(super) fn pages(
        self: &Arc<Self>,
        select: &LogSelect,
        stop: &Stop,
    ) -> LogStoreResult<Vec<Arc<dyn LogPage>>> {
        let snapshot = self.snapshot(&select.tenant, select.range, &select.matchers, stop)?;
        let mut pages: Vec<Arc<dyn LogPage>> = Vec::new();
        let texts = TextSearch::new(&select.line_contains).map(Arc::new);
        for (data, file) in &snapshot.files {
            // Signatures of pages may have to be read.
            stop.check()?;
            self.file_pages(data, file, &snapshot.selected, select, texts.as_ref(), &mut pages);
        }
        for buffer in &snapshot.buffers {
            for run in buffer.snapshot(&snapshot.selected, select.range) {
                pages.push(Arc::new(MemoryPage(run)));
            }
        }
        Ok(pages)
    }

    fn file_pages(
        self: &Arc<Self>,
        data: &Arc<DataFile>,
        file: &Arc<LoadedFile>,
        selected: &RoaringBitmap,
        select: &LogSelect,
        texts: Option<&Arc<TextSearch>>,
        out: &mut Vec<Arc<dyn LogPage>>,
    ) {
        let index = file.file.index();
        let mut search = None;
        let range = select.range;
        let mut wanted_pages = file.file.pages_with(&select.line_contains);
        data.damaged_pages.lock().iter().for_each(|&page| wanted_pages[page as usize] = false);
        for (stream, about) in index.streams.iter().enumerate() {
            let wanted = selected.contains(file.stream_ids[stream])
                && range.overlaps(TimeRange::new(about.min_ns, about.max_ns));
            if !wanted {
                continue;
            }
            let (first, end) = (file.stream_rows[stream], file.stream_rows[stream + 1]);
            let mut page = file.page_rows.partition_point(|&row| row <= first) - 1;
            while page < index.pages.len() && file.page_rows[page] < end {
                let (from, until) = (file.page_rows[page], file.page_rows[page + 1]);
                let rows = first.max(from)..end.min(until);
                let times = TimeRange::new(
                    if rows.start == first { about.min_ns } else { index.pages[page].first_ns },
                    if rows.end == end { about.max_ns } else { index.pages[page].last_ns },
                );
                let number = page as u32;
                if wanted_pages[page] && range.overlaps(times) {
                    let search = texts.map(|texts| {
                        let new = || Arc::new(FileSearch::new(texts, index.pages.len()));
                        Arc::clone(search.get_or_insert_with(new))
                    });
                    out.push(Arc::new(FilePage {
                        inner: Arc::clone(self),
                        data: Arc::clone(data),
                        file: Arc::clone(file),
                        stream,
                        page: number,
                        rows: (rows.start - from) as usize..(rows.end - from) as usize,
                        range: times,
                        search,
                    }));
                }
                page += 1;
            }
        }
    }

    pub(super) fn summaries(&self, select: &LogSelect, stop: &Stop) -> LogStoreResult<Vec<StreamSummary>> {
        let snapshot = self.snapshot(&select.tenant, select.range, &select.matchers, stop)?;
        let mut counts: HashMap<Labels, (u64, u64)> = HashMap::new();
        let mut add = |labels: &Labels, entries: u64, bytes: u64| {
            let count = counts.entry_ref(labels).or_default();
            count.0 += entries;
            count.1 += bytes;
        };
        for (_, file) in &snapshot.files {
            summarize_file(file, &snapshot.selected, select.range, &mut add);
        }
        for buffer in &snapshot.buffers {
            for run in buffer.snapshot(&snapshot.selected, select.range) {
                let inside = run.entries.iter().filter(|entry| select.range.contains(entry.timestamp_ns));
                let (entries, bytes) =
                    inside.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.line.len() as u64));
                if entries > 0 {
                    add(&run.labels, entries, bytes);
                }
            }
        }
        let summary = |(labels, (entries, bytes))| StreamSummary { labels, entries, bytes };
        let mut streams: Vec<StreamSummary> = counts.into_iter().map(summary).collect();
        streams.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        Ok(streams)
    }

    /// Sets a file aside whose index is damaged.
    pub(super) fn quarantine_file(&self, data: &DataFile, error: &LogStoreError) {
        if data.is_set_aside.swap(true, Ordering::Relaxed) && self.place.is_shared() {
            return;
        }
        tracing::error!(%error, path = %data.path.display(), "a log data file cannot be read");
        if self.place.is_shared() {
            // It stays where it is: it is not ours alone, and what was read may have been wrong on the way only.
            return self.note_quarantined(data, None, error.to_string());
        }
        match self.remove_files(|file| file.path == data.path) {
            Ok(removed) if removed.is_empty() => return,
            Ok(_) => self.place.set_aside(data),
            Err(error) => {
                data.is_set_aside.store(false, Ordering::Relaxed);
                tracing::warn!(%error, "could not take a damaged log data file out of the manifest");
                return;
            }
        }
        self.note_quarantined(data, None, error.to_string());
    }

    pub(super) fn note_quarantined(&self, data: &DataFile, page: Option<u32>, reason: String) {
        self.metrics.quarantined.increment(1);
        self.quarantined.lock().push(QuarantinedUnit { page, ..QuarantinedUnit::whole(data, reason) });
    }
}

fn summarize_file(
    file: &LoadedFile,
    selected: &RoaringBitmap,
    range: TimeRange,
    add: &mut impl FnMut(&Labels, u64, u64),
) {
    let index = file.file.index();
    for (number, stream) in index.streams.iter().enumerate() {
        if !selected.contains(file.stream_ids[number])
            || !range.overlaps(TimeRange::new(stream.min_ns, stream.max_ns))
        {
            continue;
        }
        if range.contains(stream.min_ns) && range.contains(stream.max_ns) {
            add(&stream.labels, stream.rows, stream.line_bytes);
            continue;
        }
        let start = index.rollups.partition_point(|rollup| (rollup.stream as usize) < number);
        let minutes = index.rollups[start..].iter().take_while(|rollup| rollup.stream as usize == number);
        let (first, last) = (range.min.div_euclid(MINUTE_NS), range.max.div_euclid(MINUTE_NS));
        let inside = minutes.filter(|rollup| (first..=last).contains(&rollup.minute));
        let (entries, bytes) =
            inside.fold((0, 0), |(entries, bytes), rollup| (entries + rollup.entries, bytes + rollup.bytes));
        if entries > 0 {
            add(&stream.labels, entries, bytes);
        }
    }
}

impl LogPage for MemoryPage {
    fn labels(&self) -> &Labels {
        &self.0.labels
    }

    fn range(&self) -> TimeRange {
        self.0.range
    }

    fn len(&self) -> usize {
        self.0.entries.len()
    }

    fn read(&self) -> StorageResult<Arc<LogEntries>> {
        Ok(Arc::clone(&self.0.entries))
    }
}

impl LogPage for FilePage {
    fn labels(&self) -> &Labels {
        &self.file.file.index().streams[self.stream].labels
    }

    fn range(&self) -> TimeRange {
        self.range
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn read(&self) -> StorageResult<Arc<LogEntries>> {
        let page = self.read_page()?;
        if self.rows.len() == page.len() || page.is_empty() {
            return Ok(page);
        }
        let mut entries = LogEntries::new();
        entries.extend_from(&page, self.rows.clone());
        Ok(Arc::new(entries))
    }

    fn read_rows(&self) -> StorageResult<(Arc<LogEntries>, Range<usize>)> {
        let page = self.read_page()?;
        let rows = if page.is_empty() { 0..0 } else { self.rows.clone() };
        Ok((page, rows))
    }

    fn search(&self) -> StorageResult<SearchedRows> {
        let page = match &self.search {
            None => Some(self.read_page()?),
            Some(search) => {
                let mut has_nothing = search.has_nothing[self.page as usize].lock();
                let page = if *has_nothing { None } else { self.search_page(&search.texts)? };
                *has_nothing = page.is_none();
                page
            }
        };
        let Some(page) = page else {
            let (file, number) = (&self.file.file, self.page as usize);
            // Its streams have equal shares, as far as is known without the lengths of lines.
            let share = self.rows.len() as f64 / f64::from(file.index().pages[number].rows);
            return Ok(SearchedRows::Nothing {
                line_bytes: (file.line_bytes(number) as f64 * share) as usize,
            });
        };
        let rows = if page.is_empty() { 0..0 } else { self.rows.clone() };
        Ok(SearchedRows::Found(page, rows))
    }

    fn place(&self) -> (u64, u32) {
        (self.data.number, self.page)
    }
}

impl FileSearch {
    fn new(texts: &Arc<TextSearch>, pages: usize) -> Self {
        Self { texts: Arc::clone(texts), has_nothing: (0..pages).map(|_| Mutex::new(false)).collect() }
    }
}

impl FilePage {
    /// All entries of the page; none when it is damaged, which is noted for `missing`.
    fn read_page(&self) -> StorageResult<Arc<LogEntries>> {
        let page = self.decoded(|| self.file.file.read_page(self.page as usize).map(Some))?;
        Ok(page.unwrap_or_default())
    }

    /// Likewise, or nothing when no line of it can pass the search.
    fn search_page(&self, texts: &TextSearch) -> StorageResult<Option<Arc<LogEntries>>> {
        self.decoded(|| self.file.file.search_page(self.page as usize, texts))
    }

    fn decoded(
        &self,
        decode: impl FnOnce() -> LogStoreResult<Option<LogEntries>>,
    ) -> StorageResult<Option<Arc<LogEntries>>> {
        match self.inner.pages.get((self.data.number, self.page), decode) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                if self.data.damaged_pages.lock().insert(self.page) {
                    let path = self.file.file.path().display();
                    tracing::error!(%error, %path, "a page of a log data file is damaged, answers miss its lines");
                    self.inner.note_quarantined(&self.data, Some(self.page), error.to_string());
                }
                Ok(Some(Arc::default()))
            }
            page => Ok(page?),
        }
    }
}

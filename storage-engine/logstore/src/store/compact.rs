//! Merging small files: read, sort, drop duplicates, write, manifest, and then the old ones may go.
//!
//! Invariants: COMPACT-1: the manifest names either the files that were merged or what was made of them, so a stop at
//! any point loses and doubles nothing. COMPACT-2: a file is removed only when no query holds it. Memory: the text of
//! one merge and the file that is made of it, counted in the budget.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use format::LogManifestFile;
use hashbrown::{HashMap, HashSet};
use model::{ErrorKind, Labels, LogEntries, TenantId, TimeRange};
use storage_api::LogMask;

use super::Inner;
use super::flush::{plan_partitions, split_files};
use crate::compaction;
use crate::error::{LogStoreError, LogStoreResult};
use crate::file::rows::SortedStream;
use crate::file::writer::{self, FileSettings};
use crate::files::{DataFile, LoadedFile};

/// Pages that are fetched together where that is a request.
const PAGES_AT_ONCE: usize = 32;

/// What was read of files to be written anew.
#[derive(Default)]
pub(super) struct FileContent {
    /// By stream, in the order in which they were appended.
    runs: HashMap<Labels, Vec<Arc<LogEntries>>>,
    /// The newest of the files' generations.
    generation: u64,
    /// Entries that were left out.
    pub(super) removed: u64,
}

impl Inner {
    /// Merges after each flush, until shutdown. Apart from the flusher, so that no append waits for a merge.
    pub(super) async fn run_compactor(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.tasks.cancelled() => return,
                () = self.merge_wanted.notified() => {}
            }
            if let Err(error) = self.compact_all().await {
                tracing::error!(%error, "log store could not merge files, it will try again after the next flush");
            }
        }
    }

    /// Merges files until there is nothing to merge, the store closes or a flush is wanted.
    pub(super) async fn compact_all(self: &Arc<Self>) -> LogStoreResult<()> {
        if !self.settings.compaction {
            return Ok(());
        }
        loop {
            let inner = Arc::clone(self);
            let work = move || {
                inner.remove_doomed();
                inner.compact_once()
            };
            let done = self.tasks.spawn_blocking("log-store-compact", work).await;
            let merged =
                done.map_err(|_| LogStoreError::stopped("the compaction thread of the log store ended"))?;
            match merged {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.metrics.compaction_failures.increment(1);
                    return Err(error);
                }
            }
            let wants_flush = self.state.read().active.bytes() >= self.flush_bytes();
            if wants_flush || self.closed.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }

    /// Text of a merge, and about that of a file that it makes, bytes.
    pub(super) fn text_bytes_max(&self) -> u64 {
        self.settings.file_bytes.min(self.budget.ceiling_bytes() / 8)
    }

    /// Merges some files into one; tells whether there were any. Blocks on the disk.
    fn compact_once(&self) -> LogStoreResult<bool> {
        let _rewriting = self.rewriting.lock();
        let text_bytes_max = self.text_bytes_max();
        let files = Arc::clone(&self.state.read().files.files);
        // What is damaged is left as it is: nothing of it is lost by our doing.
        let sound: Vec<&Arc<DataFile>> = files.iter().filter(|file| file.is_sound()).collect();
        let about: Vec<&LogManifestFile> = sound.iter().map(|file| &file.about).collect();
        let Some(chosen) = compaction::plan(&about, self.clock.now_ns(), text_bytes_max) else {
            return Ok(false);
        };
        let merged: Vec<Arc<DataFile>> = chosen.into_iter().map(|at| Arc::clone(sound[at])).collect();
        drop(sound);
        drop(files);
        let text: u64 = merged.iter().map(|file| file.about.text_bytes).sum();
        // As it is read, sorted and written: about twice.
        let Some(_memory) = self.budget.try_reserve(2 * text) else { return Ok(false) };
        let mut written = Vec::new();
        let done = self.merge(&merged, &mut written);
        match done.and_then(|()| self.commit_merge(&merged, &written)) {
            Ok(true) => {
                self.metrics.compactions.increment(1);
                self.metrics.compacted_files.increment(merged.len() as u64);
                merged.iter().for_each(|file| self.forget_file(file));
                self.doom(merged);
                Ok(true)
            }
            Ok(false) => {
                self.place.discard(&written, true);
                // Where others merge, too, there may be more to do.
                Ok(self.place.is_shared())
            }
            Err(error) => {
                self.place.discard(&written, false);
                if error.kind() == ErrorKind::Corrupt { Ok(true) } else { Err(error) }
            }
        }
    }

    fn merge(&self, merged: &[Arc<DataFile>], written: &mut Vec<Arc<DataFile>>) -> LogStoreResult<()> {
        let read = self.read_files(merged, None)?;
        self.write_streams(&merged[0].about.tenant, read, written)
    }

    /// The entries of files of one tenant, those aside that `mask` takes.
    pub(super) fn read_files(
        &self,
        files: &[Arc<DataFile>],
        mask: Option<&dyn LogMask>,
    ) -> LogStoreResult<FileContent> {
        let index = self.stream_index(&files[0].about.tenant);
        let mut content = FileContent::default();
        // Names of files rise in the order in which they were written: of duplicates the first stays.
        let mut in_order: Vec<&Arc<DataFile>> = files.iter().collect();
        in_order.sort_unstable_by_key(|file| file.about.path.rsplit('/').next().map(str::to_owned));
        for data in in_order {
            let file = match self.indexes.get(&self.place, data, &index) {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.quarantine_file(data, &error);
                    return Err(error);
                }
                found => found?,
            };
            content.generation = content.generation.max(file.file.index().generation);
            self.read_file(data, &file, mask, &mut content)?;
        }
        Ok(content)
    }

    /// Writes entries to new files.
    pub(super) fn write_streams(
        &self,
        tenant: &TenantId,
        content: FileContent,
        written: &mut Vec<Arc<DataFile>>,
    ) -> LogStoreResult<()> {
        let mut streams: Vec<(Labels, Vec<Arc<LogEntries>>)> = content.runs.into_iter().collect();
        streams.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let streams: Vec<SortedStream> =
            streams.into_iter().map(|(labels, runs)| SortedStream::new(labels, runs).contiguous()).collect();
        // As for files that are kept, whatever they have: what was merged is hardly merged again.
        let settings = FileSettings { kept_text_bytes: 0, ..self.file_settings() };
        for partition in plan_partitions(&streams) {
            for parts in split_files(&streams, partition, self.settings.file_bytes) {
                let built = writer::build(content.generation, &parts, settings)?;
                written.push(self.store_file(tenant, built)?);
            }
        }
        Ok(())
    }

    /// Adds the entries of a file to the runs of their streams.
    fn read_file(
        &self,
        data: &DataFile,
        file: &LoadedFile,
        mask: Option<&dyn LogMask>,
        content: &mut FileContent,
    ) -> LogStoreResult<()> {
        let streams = &file.file.index().streams;
        let mut stream = 0;
        for (page, rows) in file.page_rows.windows(2).enumerate() {
            if self.closed.load(Ordering::Acquire) {
                return Err(LogStoreError::stopped("the log store is closing"));
            }
            if page % PAGES_AT_ONCE == 0 {
                file.file.want_pages(page..(page + PAGES_AT_ONCE).min(file.page_rows.len() - 1));
            }
            let entries = match file.file.read_page(page) {
                Err(error) => {
                    if error.kind() == ErrorKind::Corrupt && data.damaged_pages.lock().insert(page as u32) {
                        self.note_quarantined(data, Some(page as u32), error.to_string());
                    }
                    return Err(error);
                }
                Ok(entries) => entries,
            };
            let (from, until) = (rows[0], rows[1]);
            while file.stream_rows[stream + 1] <= from {
                stream += 1;
            }
            for (number, about) in streams.iter().enumerate().skip(stream) {
                let (first, end) =
                    (file.stream_rows[number].max(from), file.stream_rows[number + 1].min(until));
                if first >= end {
                    break;
                }
                let mut run = LogEntries::new();
                run.extend_from(&entries, (first - from) as usize..(end - from) as usize);
                let range = TimeRange::new(about.min_ns, about.max_ns);
                if let Some(mask) = mask.filter(|mask| mask.concerns(&about.labels, range)) {
                    content.removed += without_masked(mask, &about.labels, &mut run);
                }
                if !run.is_empty() {
                    content.runs.entry_ref(&about.labels).or_default().push(Arc::new(run));
                }
            }
        }
        Ok(())
    }

    /// Puts what was written in the place of what was merged; `false` when one of those is no longer of the store.
    pub(super) fn commit_merge(
        &self,
        merged: &[Arc<DataFile>],
        written: &[Arc<DataFile>],
    ) -> LogStoreResult<bool> {
        let old: HashSet<&std::path::Path> = merged.iter().map(|file| file.path.as_path()).collect();
        let is_old = |file: &DataFile| old.contains(file.path.as_path());
        self.commit(written, &|before| {
            let all_there = before.files.iter().filter(|file| is_old(file)).count() == merged.len();
            all_there.then(|| before.changed(is_old, written.to_vec()))
        })
    }

    /// Marks files for removal once no query reads them.
    pub(super) fn doom(&self, files: Vec<Arc<DataFile>>) {
        self.doomed.lock().extend(files);
        self.remove_doomed();
    }

    /// Removes doomed files that nobody holds. One that cannot be removed is removed by the next start.
    pub(super) fn remove_doomed(&self) {
        let free: Vec<Arc<DataFile>> = {
            let mut doomed = self.doomed.lock();
            doomed.extract_if(.., |file| Arc::strong_count(file) == 1).collect()
        };
        for file in free {
            self.place.remove(&file);
        }
    }
}

/// Takes out what the mask takes; gives the number.
fn without_masked(mask: &dyn LogMask, labels: &Labels, run: &mut LogEntries) -> u64 {
    let mut gone = vec![false; run.len()];
    mask.mark(labels, run, &mut gone);
    let removed = gone.iter().filter(|gone| **gone).count();
    if removed > 0 {
        let mut left = LogEntries::new();
        let mut start = 0;
        for part in gone.chunk_by(|left, right| left == right) {
            if !part[0] {
                left.extend_from(run, start..start + part.len());
            }
            start += part.len();
        }
        *run = left;
    }
    removed as u64
}

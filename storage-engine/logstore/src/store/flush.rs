//! Writing entries to files: seal, sort, build, sync, manifest, truncate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use format::LogManifestFile;
use model::TenantId;
use parking_lot::Mutex;
use ulid::Ulid;

use super::{Inner, Sealed};
use crate::compaction;
use crate::error::{LogStoreError, LogStoreResult};
use crate::file::rows::SortedStream;
use crate::file::writer::{self, BuiltFile, FileSettings, StreamPart};
use crate::filenames;
use crate::files::DataFile;
use crate::memtable::{Generation, TenantBuffer};
use crate::partition::{self, Partition};

/// Pause after a flush that failed, so that a full disk is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Pauses grow up to this while an object store is away.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Threads that write files of several tenants at the same time.
const FLUSH_THREADS_MAX: usize = 4;

/// Tenants that are still to be written.
type TenantBuffers = std::vec::IntoIter<(TenantId, Arc<TenantBuffer>)>;

/// What a flush has written, and how that went.
struct Written {
    files: Vec<Arc<DataFile>>,
    outcome: LogStoreResult<()>,
}

impl Default for Written {
    fn default() -> Self {
        Self { files: Vec::new(), outcome: Ok(()) }
    }
}

fn ended() -> LogStoreError {
    LogStoreError::stopped("the flush thread of the log store ended")
}

impl Inner {
    /// Flushes when asked or when it is time, until shutdown. What is in memory then is `close`'s business.
    pub(super) async fn run_flusher(self: Arc<Self>) {
        let mut pause = FAILURE_PAUSE;
        loop {
            tokio::select! {
                () = self.tasks.cancelled() => return,
                () = self.flush_wanted.notified() => {}
                () = tokio::time::sleep(self.settings.flush_interval) => {}
            }
            let done = self.flush_once().await;
            // Also when the disk is full: it makes room.
            if let Err(error) = self.expire().await {
                tracing::error!(%error, "log store could not remove all that is past its retention, it will try again");
            }
            self.forget_streams();
            self.merge_wanted.notify_one();
            let Err(error) = done else {
                pause = FAILURE_PAUSE;
                continue;
            };
            tracing::error!(%error, "log store could not write entries to files, it will try again");
            tokio::select! {
                () = self.tasks.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if self.place.is_shared() {
                pause = (pause * 2).min(FAILURE_PAUSE_MAX);
            }
            self.flush_wanted.notify_one();
        }
    }

    /// Writes one generation to files: the sealed one if an earlier flush failed, else the active one.
    pub(super) async fn flush_once(self: &Arc<Self>) -> LogStoreResult<()> {
        let inner = Arc::clone(self);
        // A task of its own: who asked may go away, the flush goes on and keeps others from writing the same again.
        let flush = self.tasks.spawn("log-store-flush", async move { inner.flush_alone().await });
        let flushed = flush.await.map_err(|_| ended())?;
        if flushed.is_err() {
            self.metrics.flush_failures.increment(1);
        }
        flushed
    }

    async fn flush_alone(self: &Arc<Self>) -> LogStoreResult<()> {
        let _running = self.flushing.lock().await;
        let Some(sealed) = self.seal() else { return Ok(()) };
        sealed.generation.settled().await;
        let started = Instant::now();
        let written = self.write_files(&sealed.generation).await?;
        let inner = Arc::clone(self);
        let commit = move || inner.end_flush(&sealed, written, started);
        self.tasks.spawn_blocking("log-store-flush", commit).await.map_err(|_| ended())?
    }

    /// Writes the entries of all tenants to files, those of several tenants at the same time: most of it is waiting for
    /// the disk when there are many. Gives what was written also when something failed.
    async fn write_files(self: &Arc<Self>, generation: &Arc<Generation>) -> LogStoreResult<Written> {
        let tenants = generation.tenants();
        let threads = tenants.len().min(FLUSH_THREADS_MAX);
        let work = Arc::new(Mutex::new(tenants.into_iter()));
        let mut running = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (inner, work, id) = (Arc::clone(self), Arc::clone(&work), generation.id);
            let write = move || inner.write_tenants(id, &work);
            running.push(self.tasks.spawn_blocking("log-store-flush", write));
        }
        let mut all = Written::default();
        for thread in running {
            let Written { files, outcome } = thread.await.map_err(|_| ended())?;
            all.files.extend(files);
            all.outcome = all.outcome.and(outcome);
        }
        Ok(all)
    }

    /// Writes tenant after tenant until there is none, or one fails. Blocks on the disk.
    fn write_tenants(&self, generation: u64, work: &Mutex<TenantBuffers>) -> Written {
        let mut written = Written::default();
        loop {
            let next = work.lock().next();
            let Some((tenant, buffer)) = next else { return written };
            written.outcome = self.write_tenant(generation, &tenant, &buffer, &mut written.files);
            if written.outcome.is_err() {
                // The others need not go on: all of it will be written again.
                work.lock().by_ref().for_each(drop);
                return written;
            }
        }
    }

    fn write_tenant(
        &self,
        generation: u64,
        tenant: &TenantId,
        buffer: &TenantBuffer,
        written: &mut Vec<Arc<DataFile>>,
    ) -> LogStoreResult<()> {
        let streams = buffer.sorted_streams();
        for partition in plan_partitions(&streams) {
            for parts in split_files(&streams, partition, self.settings.file_bytes) {
                let built = writer::build(generation, &parts, self.file_settings())?;
                written.push(self.store_file(tenant, built)?);
            }
        }
        Ok(())
    }

    /// Makes the active generation the sealed one, unless there is one or there is nothing in it.
    fn seal(&self) -> Option<Sealed> {
        let state = &mut *self.state.write();
        if let Some(sealed) = &state.sealed {
            return Some(sealed.clone());
        }
        // An append that took the generation and is not in yet counts as something.
        if state.active.is_empty() && !state.active.has_writers() {
            return None;
        }
        // Under the lock: records of the next generation are appended after it and get no lower number.
        let wal_sequence = self.wal.next_sequence();
        let next = Generation::new(state.active.id + 1, &self.budget);
        let generation = std::mem::replace(&mut state.active, next);
        state.sealed = Some(Sealed { generation, wal_sequence });
        state.sealed.clone()
    }

    /// Makes what was written the store's, or removes it. Blocks on the disk.
    fn end_flush(&self, sealed: &Sealed, written: Written, started: Instant) -> LogStoreResult<()> {
        let Written { files, outcome } = written;
        if let Err(error) = outcome.and_then(|()| self.commit_files(&sealed.generation, &files)) {
            self.place.discard(&files, false);
            return Err(error);
        }
        self.room.notify_waiters();
        self.metrics.memory_bytes.set(self.memory_bytes() as f64);
        self.metrics.flushes.increment(1);
        self.metrics.flushed_bytes.increment(sealed.generation.bytes());
        self.metrics.flush_seconds.record(started.elapsed());
        if let Err(error) = self.wal.truncate_before(sealed.wal_sequence) {
            // Harmless: replay skips their records, and the next flush tries again.
            tracing::warn!(%error, "could not remove old segments of the log store's write-ahead log");
        }
        Ok(())
    }

    /// Makes the files those of the store, in the place of the generation.
    fn commit_files(&self, generation: &Generation, written: &[Arc<DataFile>]) -> LogStoreResult<()> {
        let is_in = self.commit(written, &|before| {
            // An earlier try whose answer was lost came in after all.
            if before.flushed_generation >= generation.id {
                return None;
            }
            let mut files = before.changed(|_| false, written.to_vec());
            files.flushed_generation = generation.id;
            Some(files)
        })?;
        if !is_in {
            self.place.discard(written, true);
        }
        Ok(())
    }

    pub(super) fn file_settings(&self) -> FileSettings {
        FileSettings {
            page_bytes: self.settings.page_bytes,
            zstd_level: self.settings.zstd_level,
            zstd_level_kept: self.settings.zstd_level_merged,
            kept_text_bytes: compaction::kept_text_bytes(self.text_bytes_max()),
            signatures: self.settings.page_signatures,
        }
    }

    /// Makes a built file durable.
    pub(super) fn store_file(&self, tenant: &TenantId, built: BuiltFile) -> LogStoreResult<Arc<DataFile>> {
        let about = LogManifestFile {
            tenant: tenant.clone(),
            path: filenames::new_data_path(built.min_ns, Ulid::generate()),
            file_bytes: built.bytes.len() as u64,
            index_offset: built.index_offset,
            index_bytes: built.index_bytes,
            rows: built.rows,
            text_bytes: built.text_bytes,
            min_ns: built.min_ns,
            max_ns: built.max_ns,
        };
        let file = self.place.new_file(about);
        self.place.store(&file, built.bytes)?;
        self.metrics.file_bytes_written.increment(file.about.file_bytes);
        Ok(file)
    }
}

/// Times of the files that the streams are spread over.
pub(super) fn plan_partitions(streams: &[SortedStream]) -> Vec<Partition> {
    let mut hours: std::collections::BTreeMap<i64, u64> = std::collections::BTreeMap::new();
    for stream in streams {
        let by_hour = |&row: &_| partition::hour_of(stream.timestamp_ns(row));
        let (Some(first), Some(last)) = (stream.rows.first(), stream.rows.last()) else { continue };
        if by_hour(first) == by_hour(last) {
            *hours.entry(by_hour(first)).or_default() += stream.text_bytes() as u64;
            continue;
        }
        for rows in stream.rows.chunk_by(|left, right| by_hour(left) == by_hour(right)) {
            let bytes: usize = rows.iter().map(|&row| stream.row_bytes(row)).sum();
            *hours.entry(by_hour(&rows[0])).or_default() += bytes as u64;
        }
    }
    partition::plan(hours)
}

/// The streams' rows inside `partition`, as files of about `file_bytes` of text each.
pub(super) fn split_files(
    streams: &[SortedStream],
    partition: Partition,
    file_bytes: u64,
) -> Vec<Vec<StreamPart<'_>>> {
    let mut files = vec![Vec::new()];
    let mut filled = 0;
    for stream in streams {
        let range = stream.range(partition.from_ns, partition.until_ns);
        let mut rows = &stream.rows[range];
        if !rows.is_empty() && filled + (stream.text_bytes() as u64) < file_bytes {
            filled += stream.text_bytes() as u64;
            files.last_mut().expect("one is always open").push(StreamPart { stream, rows });
            continue;
        }
        while !rows.is_empty() {
            let mut count = 0;
            while count < rows.len() && filled < file_bytes {
                filled += stream.row_bytes(rows[count]) as u64;
                count += 1;
            }
            let (here, after) = rows.split_at(count);
            if !here.is_empty() {
                files.last_mut().expect("one is always open").push(StreamPart { stream, rows: here });
            }
            rows = after;
            if filled >= file_bytes {
                files.push(Vec::new());
                filled = 0;
            }
        }
    }
    files.retain(|parts| !parts.is_empty());
    files
}

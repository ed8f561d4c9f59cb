//! Taking entries out of files: those that were asked to be deleted, and streams past their retention.
//!
//! A file is read, written anew without the entries and exchanged in the manifest, as a merge does (COMPACT-1 and
//! COMPACT-2 hold); one that keeps nothing goes. Files with damaged pages are left: what is sound in them could not be
//! told from what is not. Memory: the text of one file and the file that is made of it, counted in the budget.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{ErrorKind, Labels, LogEntries, TenantId, TimeRange};
use roaring::RoaringBitmap;
use storage_api::LogMask;

use super::Inner;
use crate::error::{LogStoreError, LogStoreResult};
use crate::files::DataFile;
use crate::retention::RetentionRules;

/// How long streams that nothing in memory has are remembered at least: far longer than an append or the opening of a
/// file takes.
const STREAM_SWEEP_NS: i64 = 600_000_000_000;

/// How often files are gone through where other processes change them meanwhile.
const REWRITE_TRIES_MAX: usize = 5;

impl Inner {
    /// Takes what `mask` takes out of a tenant's files, what is in memory included; gives the number of entries.
    pub(super) async fn remove(
        self: &Arc<Self>,
        tenant: &TenantId,
        mask: Arc<dyn LogMask>,
    ) -> LogStoreResult<u64> {
        // Twice: a generation that an earlier flush had failed to write comes first.
        self.flush_once().await?;
        self.flush_once().await?;
        let (inner, tenant) = (Arc::clone(self), tenant.clone());
        let work = move || {
            let _rewriting = inner.rewriting.lock();
            let mut removed = 0;
            for _ in 1..REWRITE_TRIES_MAX {
                match inner.rewrite_all(&tenant, &*mask, &mut removed) {
                    // Another process merged a file meanwhile: the list that came has what it made of it.
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    done => return done.map(|()| removed),
                }
            }
            inner.rewrite_all(&tenant, &*mask, &mut removed).map(|()| removed)
        };
        let done = self.tasks.spawn_blocking("log-store-rewrite", work).await;
        done.map_err(|_| LogStoreError::stopped("the rewriting thread of the log store ended"))?
    }

    fn rewrite_all(&self, tenant: &TenantId, mask: &dyn LogMask, removed: &mut u64) -> LogStoreResult<()> {
        let files = Arc::clone(&self.state.read().files.files);
        for data in files.iter().filter(|data| data.about.tenant == *tenant) {
            *removed += self.rewrite(data, mask)?;
            if !data.is_sound() {
                tracing::error!(
                    file = %data.path.display(), %tenant, "a damaged file keeps the entries that a deletion asks for"
                );
            }
        }
        Ok(())
    }

    /// Writes a file anew without what `mask` takes, if that is anything. Blocks on the disk; `rewriting` is held.
    fn rewrite(&self, data: &Arc<DataFile>, mask: &dyn LogMask) -> LogStoreResult<u64> {
        if self.closed.load(Ordering::Acquire) {
            return Err(LogStoreError::stopped("the log store is closing"));
        }
        if !data.is_sound() {
            return Ok(0);
        }
        let file = match self.indexes.get(&self.place, data, &self.stream_index(&data.about.tenant)) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.quarantine_file(data, &error);
                return Ok(0);
            }
            found => found?,
        };
        let mut streams = file.file.index().streams.iter();
        if !streams.any(|stream| mask.concerns(&stream.labels, TimeRange::new(stream.min_ns, stream.max_ns)))
        {
            return Ok(0);
        }
        // As it is read, sorted and written: about twice.
        let Some(_memory) = self.budget.try_reserve(2 * data.about.text_bytes) else {
            let bytes = 2 * data.about.text_bytes;
            return Err(LogStoreError::no_memory(format!(
                "rewriting {} needs {bytes} bytes",
                data.path.display()
            )));
        };
        let old = [Arc::clone(data)];
        let content = match self.read_files(&old, Some(mask)) {
            // Noted, and shown: it is left from now on.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(0),
            content => content?,
        };
        let removed = content.removed;
        if removed == 0 {
            return Ok(0);
        }
        let mut written = Vec::new();
        let done = self.write_streams(&data.about.tenant, content, &mut written);
        match done.and_then(|()| self.commit_merge(&old, &written)) {
            Ok(true) => {
                self.metrics.rewritten_files.increment(1);
                self.metrics.removed_entries.increment(removed);
                self.forget_file(data);
                self.doom(old.into());
                Ok(removed)
            }
            Ok(false) => {
                self.place.discard(&written, true);
                if self.place.is_shared() {
                    // Another process may have merged it: then the entries are in another file.
                    let text = format!("{} was changed by another process meanwhile", data.path.display());
                    return Err(LogStoreError::shared(ErrorKind::Conflict, text));
                }
                // It expired or was set aside meanwhile, and with it the entries.
                Ok(0)
            }
            Err(error) => {
                self.place.discard(&written, false);
                Err(error)
            }
        }
    }

    /// Forgets streams that neither memory nor an open file has, if it is time. Their numbers are not used again, so
    /// that a reader that still holds one is not led to another stream.
    pub(super) fn forget_streams(&self) {
        let now_ns = self.clock.monotonic_ns();
        let last_ns = self.streams_swept_ns.load(Ordering::Relaxed);
        if now_ns.saturating_sub(last_ns) < STREAM_SWEEP_NS {
            return;
        }
        self.streams_swept_ns.store(now_ns, Ordering::Relaxed);
        let generations = {
            let state = self.state.read();
            let sealed = state.sealed.as_ref().map(|sealed| Arc::clone(&sealed.generation));
            sealed.into_iter().chain([Arc::clone(&state.active)]).collect::<Vec<_>>()
        };
        let all: Vec<_> =
            self.streams.read().iter().map(|(tenant, index)| (tenant.clone(), Arc::clone(index))).collect();
        let open = self.indexes.held();
        for (tenant, index) in all {
            let mut used = RoaringBitmap::new();
            for buffer in generations.iter().filter_map(|generation| generation.tenant(&tenant)) {
                used |= buffer.stream_ids();
            }
            // Numbers of other tenants' files keep a stream of this one at worst.
            open.iter().for_each(|file| used.extend(file.stream_ids.iter().copied()));
            index.forget_unused(&used);
        }
        self.forget_tenants();
    }

    /// Forgets tenants that have neither files nor streams.
    fn forget_tenants(&self) {
        let with_files = Arc::clone(&self.state.read().files.tenants);
        let mut streams = self.streams.write();
        // Whoever holds one is about to use it.
        streams.retain(|tenant, index| {
            with_files.contains(tenant) || Arc::strong_count(index) > 1 || !index.is_empty()
        });
        self.rates.keep(|tenant| streams.contains_key(tenant));
    }

    /// Removes files and streams in files that hold nothing inside retention.
    pub(super) async fn expire(self: &Arc<Self>) -> LogStoreResult<()> {
        let now_ns = self.expiry_clock.lock().look(&*self.clock);
        let rules = &self.settings.retention;
        if !self.state.read().files.files.iter().any(|file| may_expire(file, rules, now_ns)) {
            return Ok(());
        }
        let inner = Arc::clone(self);
        let work = move || {
            let _rewriting = inner.rewriting.lock();
            inner.expire_files(now_ns)
        };
        let done = self.tasks.spawn_blocking("log-store-expire", work).await;
        done.map_err(|_| LogStoreError::stopped("the expiry thread of the log store ended"))?
    }

    /// One file that cannot be dealt with keeps no other: its error comes at the end.
    fn expire_files(&self, now_ns: i64) -> LogStoreResult<()> {
        let rules = &self.settings.retention;
        let files = Arc::clone(&self.state.read().files.files);
        let (mut gone, mut failure) = (Vec::new(), Ok(()));
        for data in files.iter().filter(|file| may_expire(file, rules, now_ns)) {
            match self.expire_file(data, now_ns) {
                Ok(true) => gone.push(Arc::clone(data)),
                Ok(false) => {}
                Err(error) => failure = failure.and(Err(error)),
            }
        }
        if gone.is_empty() {
            return failure;
        }
        let removed = self.remove_files(|file| gone.iter().any(|gone| gone.number == file.number))?;
        drop(gone);
        drop(files);
        self.metrics.expired_files.increment(removed.len() as u64);
        self.doom(removed);
        failure
    }

    /// Writes a file anew without the streams that are past retention; whether all of them are, so that it may go.
    fn expire_file(&self, data: &Arc<DataFile>, now_ns: i64) -> LogStoreResult<bool> {
        let (rules, tenant) = (&self.settings.retention, &data.about.tenant);
        if !rules.has_streams(tenant) {
            return Ok(true);
        }
        let file = match self.indexes.get(&self.place, data, &self.stream_index(tenant)) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.quarantine_file(data, &error);
                return Ok(false);
            }
            found => found?,
        };
        let streams = &file.file.index().streams;
        let end = |stream: &format::LogFileStream| {
            stream.max_ns.saturating_add(rules.of_stream_ns(tenant, &stream.labels))
        };
        let expired = streams.iter().filter(|stream| end(stream) < now_ns).count();
        if expired == 0 {
            let first = streams.iter().map(end).min().unwrap_or(i64::MAX);
            data.expires_ns.store(first, Ordering::Relaxed);
        } else if expired < streams.len() {
            self.rewrite(data, &Expired { rules, tenant, now_ns })?;
        }
        Ok(expired == streams.len())
    }
}

/// Whether something in a file may be past retention, as far as is known without its index.
fn may_expire(file: &DataFile, rules: &RetentionRules, now_ns: i64) -> bool {
    let (tenant, about) = (&file.about.tenant, &file.about);
    if rules.has_streams(tenant) {
        let known_ns = file.expires_ns.load(Ordering::Relaxed);
        return known_ns < now_ns && about.min_ns.saturating_add(rules.shortest_ns(tenant)) < now_ns;
    }
    about.max_ns.saturating_add(rules.of_tenant_ns(tenant)) < now_ns
}

/// Entries past the retention of their stream.
struct Expired<'a> {
    rules: &'a RetentionRules,
    tenant: &'a TenantId,
    now_ns: i64,
}

impl Expired<'_> {
    /// Entries before it are past retention.
    fn oldest_ns(&self, labels: &Labels) -> i64 {
        self.now_ns.saturating_sub(self.rules.of_stream_ns(self.tenant, labels))
    }
}

impl LogMask for Expired<'_> {
    fn concerns(&self, labels: &Labels, range: TimeRange) -> bool {
        range.min < self.oldest_ns(labels)
    }

    fn mark(&self, labels: &Labels, entries: &LogEntries, gone: &mut [bool]) {
        let oldest_ns = self.oldest_ns(labels);
        let times = entries.timestamps_ns().iter();
        gone.iter_mut().zip(times).for_each(|(gone, &time)| *gone |= time < oldest_ns);
    }
}

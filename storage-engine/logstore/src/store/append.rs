//! Taking entries: limits, memory, write-ahead log, then visible.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use format::encode_log_batch;
use model::{AppendReport, ErrorKind, LogEntries, TenantId};
use storage_api::{BoxFuture, LogAppender, LogBatch, StorageError, StorageResult, StreamEntries};

use super::{Inner, LogStore};
use crate::error::LogStoreError;
use crate::limits::LimitCheck;
use crate::memtable::WriterGuard;
use crate::settings::LogLimits;
use crate::streams::StreamIndex;

/// When to try again after a refusal for want of memory: a flush takes about as long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Text of one write-ahead record at most; larger batches become several. Half of what the log takes.
const RECORD_TEXT_BYTES_MAX: usize = 32 << 20;

impl LogAppender for LogStore {
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: LogBatch,
    ) -> BoxFuture<'a, StorageResult<AppendReport>> {
        Box::pin(self.0.append(tenant, batch))
    }
}

impl Inner {
    async fn append(&self, tenant: &TenantId, batch: LogBatch) -> StorageResult<AppendReport> {
        self.place.refuse_taken()?;
        let mut report = AppendReport::default();
        let (limits, retention) = (self.settings.limits_of(tenant), &self.settings.retention);
        let mut check = LimitCheck::new(limits, retention, tenant, self.clock.now_ns());
        let mut streams: Vec<StreamEntries> =
            batch.streams.into_iter().filter_map(|stream| check.check(stream, &mut report)).collect();
        if streams.is_empty() {
            self.metrics.rejected_entries.increment(report.rejected_count());
            return Ok(report);
        }
        let index = self.admit(tenant, limits, &streams)?;
        self.wait_for_memory(tenant).await?;
        let guard = self.enter();
        self.refuse_new_streams(tenant, &index, &guard, &mut streams, &mut report);
        self.metrics.rejected_entries.increment(report.rejected_count());
        let streams = split_large(streams);
        for record in records(&streams) {
            self.write_ahead(tenant, &guard, record).await?;
        }
        let (mut entries, mut bytes) = (0, 0);
        for stream in &streams {
            entries += stream.entries.len() as u64;
            bytes += stream.entries.text_bytes() as u64;
        }
        self.followers.storing(tenant, streams, |streams| {
            let ids = index.ids(streams.iter().map(|stream| &stream.labels));
            let with_ids =
                ids.into_iter().zip(streams).map(|(id, stream)| (id, stream.labels, stream.entries));
            guard.insert(tenant, with_ids, &self.budget);
        });
        report.stored += entries;
        self.metrics.appended_entries.increment(entries);
        self.metrics.appended_bytes.increment(bytes);
        if guard.generation().bytes() >= self.flush_bytes() {
            self.flush_wanted.notify_one();
        }
        Ok(report)
    }

    /// The streams of a tenant that may append so much now.
    fn admit(
        &self,
        tenant: &TenantId,
        limits: &LogLimits,
        streams: &[StreamEntries],
    ) -> StorageResult<Arc<StreamIndex>> {
        let now_ns = self.clock.monotonic_ns();
        let index = self.appending_tenant(tenant);
        let admitted = index.map_err(StorageError::from).and_then(|index| {
            self.rates.take(tenant, limits, now_ns, size_of_streams(streams)).map(|()| index)
        });
        if admitted.is_err() {
            self.metrics.throttled_appends.increment(1);
        }
        admitted
    }

    /// Bytes in memory at which a flush begins: at most an eighth of the process' memory limit, because writing files
    /// needs about as much again.
    pub(super) fn flush_bytes(&self) -> u64 {
        self.settings.flush_bytes.min(self.budget.ceiling_bytes() / 8)
    }

    /// Bytes in memory at which appends wait.
    fn memory_bytes_max(&self) -> u64 {
        self.settings.memory_bytes_max.min(self.budget.ceiling_bytes() / 4)
    }

    fn enter(&self) -> WriterGuard {
        self.state.read().active.enter()
    }

    /// Waits until there is room in memory, for a while.
    async fn wait_for_memory(&self, tenant: &TenantId) -> StorageResult<()> {
        let wait = async {
            loop {
                let room = self.room.notified();
                if self.closed.load(Ordering::Acquire) || self.memory_bytes() < self.memory_bytes_max() {
                    return;
                }
                self.flush_wanted.notify_one();
                room.await;
            }
        };
        let waited = tokio::time::timeout(self.settings.memory_wait, wait).await;
        if self.closed.load(Ordering::Acquire) {
            return Err(Self::closed_error());
        }
        waited.map_err(|_| {
            self.metrics.throttled_appends.increment(1);
            let message = format!(
                "log store: {} bytes of entries wait in memory to be written to files, at most {} are allowed (tenant {tenant})",
                self.memory_bytes(),
                self.memory_bytes_max()
            );
            StorageError::new(ErrorKind::Throttled, message).with_retry_after(RETRY_AFTER)
        })
    }

    /// Takes out streams that would pass the limit of streams with entries in memory.
    fn refuse_new_streams(
        &self,
        tenant: &TenantId,
        index: &StreamIndex,
        guard: &WriterGuard,
        streams: &mut Vec<StreamEntries>,
        report: &mut AppendReport,
    ) {
        let max = self.settings.limits_of(tenant).streams_max;
        let buffer = guard.generation().tenant(tenant);
        let held = buffer.as_ref().map_or(0, |buffer| buffer.stream_count());
        if held + streams.len() <= max {
            return;
        }
        let mut room = max.saturating_sub(held);
        streams.retain(|stream| {
            let known = index.known(&stream.labels);
            if known.is_some_and(|id| buffer.as_ref().is_some_and(|buffer| buffer.has_stream(id))) {
                return true;
            }
            if room > 0 {
                room -= 1;
                return true;
            }
            report.reject("stream_limit", stream.entries.len() as u64, || {
                format!(
                    "maximum active stream limit exceeded when trying to create stream {}, reduce the number of active \
                     streams (reduce labels or reduce label values), or contact your Loki administrator to see if the \
                     limit can be increased, user: '{tenant}' (limit: {max})",
                    stream.labels
                )
            });
            false
        });
    }

    async fn write_ahead(
        &self,
        tenant: &TenantId,
        guard: &WriterGuard,
        streams: &[StreamEntries],
    ) -> StorageResult<()> {
        let failed =
            |error: wal::WalError| StorageError::from(LogStoreError::wal(error.kind(), error.to_string()));
        let permit = self.wal.admit().await.map_err(failed)?;
        let ticket = permit.append_with(|log| {
            let columns = streams.iter().map(|stream| (&stream.labels, &stream.entries));
            encode_log_batch(guard.generation().id, tenant, columns, log);
        });
        ticket.await.map_err(failed)?;
        Ok(())
    }
}

/// Entries of streams and bytes of their text.
fn size_of_streams(streams: &[StreamEntries]) -> (u64, u64) {
    streams.iter().fold((0, 0), |(entries, bytes), stream| {
        (entries + stream.entries.len() as u64, bytes + stream.entries.text_bytes() as u64)
    })
}

/// Cuts streams that alone pass the size of a record.
fn split_large(streams: Vec<StreamEntries>) -> Vec<StreamEntries> {
    if streams.iter().all(|stream| stream.entries.text_bytes() <= RECORD_TEXT_BYTES_MAX) {
        return streams;
    }
    let mut cut = Vec::new();
    for StreamEntries { labels, entries } in streams {
        let mut start = 0;
        while start < entries.len() {
            let (mut end, mut text) = (start, 0);
            // Limits keep one entry far below the size of a record.
            while end < entries.len() && text < RECORD_TEXT_BYTES_MAX / 2 {
                text += entries.line(end).len() + entries.metadata_bytes(end);
                end += 1;
            }
            let mut part = LogEntries::new();
            part.extend_from(&entries, start..end);
            cut.push(StreamEntries { labels: labels.clone(), entries: part });
            start = end;
        }
    }
    cut
}

/// Groups of streams that make up a record each.
fn records(streams: &[StreamEntries]) -> impl Iterator<Item = &[StreamEntries]> {
    let mut rest = streams;
    std::iter::from_fn(move || {
        let mut text = 0;
        let count = rest
            .iter()
            .take_while(|stream| {
                let first = text == 0;
                text += stream.entries.text_bytes().max(1);
                first || text <= RECORD_TEXT_BYTES_MAX
            })
            .count();
        let (record, after) = rest.split_at(count);
        rest = after;
        (!record.is_empty()).then_some(record)
    })
}

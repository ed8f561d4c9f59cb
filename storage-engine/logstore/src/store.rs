//! The log store: what it is made of, how it opens and closes.
//!
//! The way of an entry: limits, write-ahead log, fsync, memory (now it is visible), file, manifest; then its part of
//! the write-ahead log is removed. Files and manifest are on the local disk or in an object store (`files/shared.rs`).
//! Invariants, quoted by tests:
//! - LOG-1: an append resolves `Ok` only when its entries are durable as the settings ask, and then queries see them.
//! - LOG-2: every write-ahead record names the generation that took it; the manifest names the last generation whose
//!   entries are all in files. Replay skips those up to it, so a stop between manifest and truncation doubles nothing.
//! - LOG-3: files, the generation being written and the active one change under one lock, so a query sees each entry
//!   in exactly one of them.
//!
//! Exact duplicates (stream, time, line, metadata): memory and files each hold one. Where a retry meets entries that
//! are in a file already, both are kept, and readers of `LogQuerier` drop the second, as its contract says.

mod append;
mod compact;
mod counts;
mod files;
mod flush;
mod open;
mod rewrite;
mod select;
mod stop;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use hashbrown::HashMap;
use model::TenantId;
use parking_lot::{Mutex, RwLock};
use runtime::{Clock, Disk, MemoryBudget, Tasks};
use storage_api::{BoxFuture, LogMaintenance, LogMask, StorageError, StorageResult};
use tokio::sync::Notify;
use wal::Wal;

use crate::error::{LogStoreError, LogStoreResult};
use crate::expiry_clock::ExpiryClock;
use crate::files::{DataFile, FileSet, IndexCache, PageCache, Place, QuarantinedUnit};
use crate::follow::Followers;
use crate::memtable::Generation;
use crate::metrics::LogStoreMetrics;
use crate::rate::IngestRates;
use crate::settings::LogStoreSettings;
use crate::streams::StreamIndex;

/// A log store. Clones share it.
#[derive(Clone)]
pub struct LogStore(Arc<Inner>);

struct Inner {
    place: Place,
    settings: LogStoreSettings,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    budget: Arc<MemoryBudget>,
    metrics: LogStoreMetrics,
    wal: Wal,
    state: RwLock<State>,
    streams: RwLock<HashMap<TenantId, Arc<StreamIndex>>>,
    rates: IngestRates,
    /// When it was last looked for streams to forget, ns of the monotonic clock.
    streams_swept_ns: AtomicI64,
    /// What time it is for what is past its retention.
    expiry_clock: Mutex<ExpiryClock>,
    indexes: IndexCache,
    pages: PageCache,
    followers: Followers,
    quarantined: Mutex<Vec<QuarantinedUnit>>,
    /// Held while the manifest is written and the list of files changed. Blocking work runs under it.
    commit: Mutex<()>,
    /// Files that are no longer of the store and are removed when no query reads them.
    doomed: Mutex<Vec<Arc<DataFile>>>,
    /// Held while files are merged or rewritten: of what one of the two reads the other takes nothing away.
    rewriting: Mutex<()>,
    /// Held by the flush that runs.
    flushing: tokio::sync::Mutex<()>,
    /// Wakes the flusher before its time.
    flush_wanted: Notify,
    /// Wakes the compactor.
    merge_wanted: Notify,
    /// Wakes appends that wait for memory.
    room: Notify,
    closed: AtomicBool,
}

/// Where entries are now.
struct State {
    active: Arc<Generation>,
    /// Being written to files; stays here when that fails, until it succeeds.
    sealed: Option<Sealed>,
    files: FileSet,
}

/// A generation that takes no more entries.
#[derive(Clone)]
struct Sealed {
    generation: Arc<Generation>,
    /// Write-ahead records below this number are of it or of those before it.
    wal_sequence: u64,
}

impl LogStore {
    /// Opens the store in `dir`, replays its write-ahead log and starts its flusher. Blocks on the disk and the object
    /// store; call it inside a Tokio runtime.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        settings: LogStoreSettings,
        tasks: &Tasks,
        clock: Arc<dyn Clock>,
        budget: Arc<MemoryBudget>,
    ) -> StorageResult<Self> {
        let store = Self(Inner::open(disk, &dir, settings, tasks, clock, budget)?);
        let flusher = Arc::clone(&store.0);
        tasks.spawn("log-store-flusher", async move { flusher.run_flusher().await });
        let compactor = Arc::clone(&store.0);
        tasks.spawn("log-store-compactor", async move { compactor.run_compactor().await });
        if store.0.place.is_shared() {
            let refresher = Arc::clone(&store.0);
            tasks.spawn("log-store-refresher", async move { refresher.run_refresher().await });
        }
        Ok(store)
    }

    /// Takes no more appends, writes what is in memory to files and ends the write-ahead log. What cannot be written
    /// stays in the write-ahead log and comes back at the next start.
    pub async fn close(&self) -> StorageResult<()> {
        let inner = &self.0;
        inner.closed.store(true, Ordering::Release);
        inner.room.notify_waiters();
        inner.followers.close();
        let mut flushed = inner.flush_once().await;
        if flushed.is_ok() {
            // A generation that an earlier flush had failed to write comes first; the active one is the second.
            flushed = inner.flush_once().await;
        }
        inner.remove_doomed();
        inner.wal.close().await;
        match flushed {
            Err(error) if inner.place.is_shared() && error.kind() == model::ErrorKind::Unavailable => {
                tracing::warn!(%error, "entries stay in the write-ahead log until the next start");
                Ok(())
            }
            flushed => flushed.map_err(StorageError::from),
        }
    }

    /// Writes what is in memory to files now.
    pub async fn flush(&self) -> StorageResult<()> {
        self.0.flush_once().await.map_err(StorageError::from)
    }

    pub(crate) fn followers(&self) -> &Followers {
        &self.0.followers
    }

    /// Merges small files as long as there is something to merge, as the store does by itself after a flush.
    pub async fn compact(&self) -> StorageResult<()> {
        self.0.compact_all().await.map_err(StorageError::from)
    }

    /// What could not be read and was set aside since the store was opened.
    pub fn quarantined(&self) -> Vec<QuarantinedUnit> {
        self.0.quarantined.lock().clone()
    }
}

impl LogMaintenance for LogStore {
    fn flush(&self) -> BoxFuture<'_, StorageResult<()>> {
        Box::pin(async {
            // Twice: a generation that an earlier flush had failed to write comes first.
            self.0.flush_once().await.map_err(StorageError::from)?;
            self.0.flush_once().await.map_err(StorageError::from)?;
            self.0.merge_wanted.notify_one();
            Ok(())
        })
    }

    fn remove<'a>(
        &'a self,
        tenant: &'a TenantId,
        mask: Arc<dyn LogMask>,
    ) -> BoxFuture<'a, StorageResult<u64>> {
        Box::pin(async move { self.0.remove(tenant, mask).await.map_err(StorageError::from) })
    }
}

impl Inner {
    /// Gives up what is in memory of a file that is no longer of the store.
    fn forget_file(&self, file: &DataFile) {
        self.indexes.forget(&file.path);
        self.pages.forget(file.number);
    }

    fn stream_index(&self, tenant: &TenantId) -> Arc<StreamIndex> {
        stream_index(&self.streams, tenant)
    }

    /// The streams of a tenant that appends, which is made if it is new and one more tenant may be.
    fn appending_tenant(&self, tenant: &TenantId) -> LogStoreResult<Arc<StreamIndex>> {
        if let Some(index) = self.streams.read().get(tenant) {
            return Ok(Arc::clone(index));
        }
        let with_files = Arc::clone(&self.state.read().files.tenants);
        let mut streams = self.streams.write();
        if !streams.contains_key(tenant) && !with_files.contains(tenant) {
            let limit = self.settings.tenants_max;
            let without_files = streams.keys().filter(|known| !with_files.contains(*known)).count();
            if with_files.len() + without_files >= limit {
                return Err(LogStoreError::tenant_limit(tenant, limit));
            }
        }
        Ok(Arc::clone(streams.entry(tenant.clone()).or_default()))
    }

    /// Bytes of entries in memory.
    fn memory_bytes(&self) -> u64 {
        let state = self.state.read();
        state.active.bytes() + state.sealed.as_ref().map_or(0, |sealed| sealed.generation.bytes())
    }

    fn closed_error() -> StorageError {
        StorageError::new(model::ErrorKind::Closed, "the log store is closed")
    }
}

/// The streams of a tenant, made when it is new.
fn stream_index(all: &RwLock<HashMap<TenantId, Arc<StreamIndex>>>, tenant: &TenantId) -> Arc<StreamIndex> {
    if let Some(index) = all.read().get(tenant) {
        return Arc::clone(index);
    }
    Arc::clone(all.write().entry(tenant.clone()).or_default())
}

#[cfg(test)]
mod tests;

//! The store as the rest of the program sees it: tenants by name behind the appender and querier seams.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, Matcher, MetricMetadata, TenantId, TimeRange};
use parking_lot::{Mutex, RwLock};
use runtime::{Clock, Disk, Tasks};
use storage_api::{
    AppendOutcome, BoxFuture, MetricsAppender, MetricsQuerier, MetricsSelect, SampleBatch, Series,
    SeriesExemplars, SeriesRef, StorageResult,
};
use tokio::sync::Semaphore;

use crate::TsdbSettings;
use crate::error::TsdbError;
use crate::filenames;
use crate::head::SHARDS;
use crate::head::series::BLOCK_MS_MAX;
use crate::metrics::HeadMetrics;
use crate::tenant::Tenant;

mod admin;

/// Time between two looks at what is due; with short blocks, which only tests have, a quarter of one.
const MAINTENANCE_EVERY: Duration = Duration::from_secs(5);

/// Shortest time between two looks.
const MAINTENANCE_EVERY_MIN: Duration = Duration::from_millis(100);

/// Reads at the same time, for each core; others wait. One goes on when nobody waits for it any more, so that the bounds
/// of those who ask do not bound them.
const READS_PER_CORE: usize = 8;

/// The metrics store. Clones share it.
#[derive(Clone)]
pub struct Tsdb(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    settings: TsdbSettings,
    metrics: HeadMetrics,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    /// Held while a tenant is made or let go. Numbers of series below these may be known to writers from tenants that
    /// were let go, and are not given again.
    opening: Mutex<[u32; SHARDS as usize]>,
    reads: Arc<Semaphore>,
}

/// What a tenant's head holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series.
    pub series: u64,
    /// Chunks, those that still grow included.
    pub chunks: u64,
    /// Bytes of memory, by the store's own count.
    pub memory_bytes: u64,
    /// Times of the oldest and newest sample, ms; `None` when there is no sample.
    pub range: Option<TimeRange>,
}

impl Tsdb {
    /// Opens the store in `root` (made if it is missing) and replays the log of every tenant in it. Blocks on the
    /// disk. Install the metrics recorder before: its handles are taken here.
    pub fn open(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        settings: TsdbSettings,
        tasks: Tasks,
        clock: Arc<dyn Clock>,
    ) -> StorageResult<Self> {
        let (got, most) = (settings.block_duration_ms, BLOCK_MS_MAX);
        if !(1..=most).contains(&got) {
            return Err(TsdbError::BlockDuration { got, most }.into());
        }
        disk.create_dir_all(&root).map_err(|error| TsdbError::disk(&root, error))?;
        let metrics = HeadMetrics::new();
        let inner = Inner {
            disk,
            root,
            settings,
            metrics,
            tasks,
            clock,
            tenants: RwLock::default(),
            opening: Mutex::new([0; SHARDS as usize]),
            reads: Arc::new(Semaphore::new(
                READS_PER_CORE * std::thread::available_parallelism().map_or(1, NonZero::get),
            )),
        };
        for entry in inner.disk.list(&inner.root).map_err(|error| TsdbError::disk(&inner.root, error))? {
            match TenantId::new(&entry.name) {
                Ok(tenant) if entry.is_dir => {
                    let opened = inner.open_tenant(&tenant)?;
                    inner.tenants.write().insert(tenant, Arc::new(opened));
                }
                _ => tracing::warn!(name = entry.name, "not a tenant's folder, left alone"),
            }
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Writes what waits and ends the logs. Appends after this fail with `Closed`; queries still work.
    pub async fn close(&self) {
        let tenants: Vec<_> = self.0.tenants.read().values().cloned().collect();
        for tenant in tenants {
            tenant.close().await;
        }
    }

    /// Tenants with data, in order.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<_> = self.0.tenants.read().keys().cloned().collect();
        tenants.sort_unstable();
        tenants
    }

    /// What a tenant's head holds; nothing for a tenant without data.
    pub fn head_stats(&self, tenant: &TenantId) -> HeadStats {
        self.0.find(tenant).map_or_else(HeadStats::default, |tenant| tenant.head.stats())
    }

    /// Does what is due for each tenant: flushes, checkpoints, compaction, retention; some of it, when there is much.
    /// Tells whether more is due. Blocks on the disk. A tenant that fails is logged and counted, and comes again with
    /// the next call.
    pub fn maintain(&self) -> bool {
        let tenants: Vec<_> =
            self.0.tenants.read().iter().map(|(id, it)| (id.clone(), Arc::clone(it))).collect();
        let mut more = false;
        for (id, tenant) in tenants {
            match tenant.maintain() {
                Ok(due) => {
                    more |= due;
                    self.0.let_go(&id, &tenant);
                }
                Err(error) => {
                    tracing::error!(tenant = %id, %error, "the metrics store could not be maintained; it goes on");
                }
            }
        }
        more
    }

    /// Maintains the store from now on, as a task.
    pub fn start_maintenance(&self) {
        let (store, tasks) = (self.clone(), self.0.tasks.clone());
        let quarter_ms = u64::try_from(self.0.settings.block_duration_ms / 4).unwrap_or_default();
        let every = Duration::from_millis(quarter_ms).clamp(MAINTENANCE_EVERY_MIN, MAINTENANCE_EVERY);
        self.0.tasks.spawn("metrics-maintenance", async move {
            let mut more = false;
            loop {
                tokio::select! {
                    () = tasks.cancelled() => return,
                    () = tokio::time::sleep(if more { Duration::ZERO } else { every }) => {}
                }
                let store = store.clone();
                let done = tasks.spawn_blocking("metrics-maintenance-run", move || store.maintain()).await;
                more = done.unwrap_or_else(|error| {
                    tracing::error!(%error, "the maintenance of the metrics store ended early");
                    false
                });
            }
        });
    }

    /// Runs `read` over a tenant's data on a thread that may take its time; a tenant without data has none.
    async fn read<T, F>(&self, tenant: &TenantId, read: F) -> StorageResult<Vec<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Tenant) -> StorageResult<Vec<T>> + Send + 'static,
    {
        let Some(tenant) = self.0.find(tenant) else { return Ok(Vec::new()) };
        let slot = Arc::clone(&self.0.reads).acquire_owned().await;
        let slot = slot.map_err(|error| TsdbError::Task(error.to_string()))?;
        let task = self.0.tasks.spawn_blocking("metrics-read", move || {
            let _slot = slot;
            read(&tenant)
        });
        task.await.map_err(|error| TsdbError::Task(error.to_string()))?
    }
}

impl Inner {
    fn find(&self, tenant: &TenantId) -> Option<Arc<Tenant>> {
        self.tenants.read().get(tenant).cloned()
    }

    /// The tenant, made if it is new. Only then does this touch the disk.
    fn find_or_create(&self, tenant: &TenantId) -> Result<Arc<Tenant>, TsdbError> {
        if let Some(found) = self.find(tenant) {
            return Ok(found);
        }
        // Opening waits for the disk: only other new tenants wait with it, not the appends and queries of those there are.
        let next_locals = self.opening.lock();
        if let Some(found) = self.find(tenant) {
            return Ok(found);
        }
        let limit = self.settings.tenants_max;
        if self.tenants.read().len() >= limit {
            return Err(TsdbError::TenantLimit { tenant: tenant.clone(), limit });
        }
        let created = Arc::new(self.open_tenant(tenant)?);
        created.head.skip_to(*next_locals);
        self.tenants.write().insert(tenant.clone(), Arc::clone(&created));
        Ok(created)
    }

    /// The tenant for somebody who writes to it.
    fn find_to_write(&self, tenant: &TenantId) -> Result<Arc<Tenant>, TsdbError> {
        let found = self.find_or_create(tenant)?;
        found.touch();
        Ok(found)
    }

    /// The series with these labels in a tenant that was found a moment ago, or in the one that came in its place.
    fn series(&self, found: &Tenant, tenant: &TenantId, labels: &Labels) -> Result<SeriesRef, TsdbError> {
        match found.series(labels) {
            Err(TsdbError::LetGo { .. }) => self.find_to_write(tenant)?.series(labels),
            made => made,
        }
    }

    /// Forgets a tenant that has no data and that nobody writes to, so that another one finds room.
    fn let_go(&self, id: &TenantId, tenant: &Arc<Tenant>) {
        let mut next_locals = self.opening.lock();
        if !tenant.is_unused(self.settings.tenant_idle) || !tenant.close_at_rest() {
            return;
        }
        // Whoever holds it still is told that its log is closed, and finds or makes another one when it comes again.
        self.tenants.write().remove(id);
        tenant.head.close();
        tenant.head.forget_empty_series();
        for (next, of_tenant) in next_locals.iter_mut().zip(tenant.head.next_locals()) {
            *next = (*next).max(of_tenant);
        }
        tracing::info!(tenant = %id, "a tenant without data was let go");
        if let Err(error) = tenant.remove_folder() {
            tracing::warn!(tenant = %id, %error, "the folder of a tenant without data could not be removed");
        }
    }

    fn open_tenant(&self, tenant: &TenantId) -> Result<Tenant, TsdbError> {
        let dir = filenames::tenant(&self.root, tenant);
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        Tenant::open(tenant, disk, dir, &self.settings, &self.metrics, &self.tasks, clock)
    }
}

impl MetricsAppender for Tsdb {
    fn series(&self, tenant: &TenantId, labels: &Labels) -> StorageResult<SeriesRef> {
        let found = self.0.find_to_write(tenant)?;
        Ok(self.0.series(&found, tenant, labels)?)
    }

    fn prepare<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.0.find(tenant).is_some() {
                return;
            }
            let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
            let opened =
                self.0.tasks.spawn_blocking("metrics-new-tenant", move || inner.find_to_write(&tenant));
            // Who makes a series tries again, and is told.
            let _ = opened.await;
        })
    }

    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: SampleBatch,
    ) -> BoxFuture<'a, StorageResult<AppendOutcome>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(AppendOutcome::default());
            }
            let tenant = self.0.find_to_write(tenant)?;
            Ok(tenant.append(batch, &*self.0.clock, &self.0.tasks).await?)
        })
    }

    fn set_metadata(&self, tenant: &TenantId, metric: &str, metadata: &MetricMetadata) {
        match self.0.find_to_write(tenant) {
            Ok(tenant) => tenant.set_metadata(metric, metadata),
            Err(error) => tracing::warn!(%error, metric, "metadata is not kept"),
        }
    }
}

impl MetricsQuerier for Tsdb {
    fn select<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        let MetricsSelect { tenant, range, matchers } = select.clone();
        Box::pin(async move { self.read(&tenant, move |tenant| tenant.select(&matchers, range)).await })
    }

    fn label_names<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        let MetricsSelect { tenant, range, matchers } = select.clone();
        Box::pin(async move { self.read(&tenant, move |tenant| tenant.label_names(&matchers, range)).await })
    }

    fn label_values<'a>(
        &'a self,
        name: &'a str,
        select: &'a MetricsSelect,
    ) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        let MetricsSelect { tenant, range, matchers } = select.clone();
        let name = name.to_owned();
        Box::pin(async move {
            self.read(&tenant, move |tenant| tenant.label_values(&name, &matchers, range)).await
        })
    }

    fn series_labels<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Labels>>> {
        let MetricsSelect { tenant, range, matchers } = select.clone();
        Box::pin(
            async move { self.read(&tenant, move |tenant| tenant.series_labels(&matchers, range)).await },
        )
    }

    fn metadata<'a>(
        &'a self,
        tenant: &'a TenantId,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, StorageResult<Vec<(String, MetricMetadata)>>> {
        let found = self.0.find(tenant).map_or_else(Vec::new, |tenant| tenant.metadata(metric));
        Box::pin(async move { Ok(found) })
    }

    fn exemplars<'a>(
        &'a self,
        tenant: &'a TenantId,
        selectors: &'a [Vec<Matcher>],
        range: TimeRange,
    ) -> BoxFuture<'a, StorageResult<Vec<SeriesExemplars>>> {
        let selectors = selectors.to_vec();
        Box::pin(async move {
            self.read(tenant, move |tenant| Ok(tenant.head.exemplars(&selectors, range))).await
        })
    }

    fn missing(&self, tenant: &TenantId, range: TimeRange) -> Vec<String> {
        self.0.find(tenant).map_or_else(Vec::new, |tenant| tenant.blocks.missing(range))
    }

    fn tenants(&self) -> Vec<TenantId> {
        Tsdb::tenants(self)
    }

    fn bounds(&self, tenant: &TenantId) -> Option<TimeRange> {
        self.0.find(tenant)?.bounds()
    }
}

#[cfg(test)]
mod tests;

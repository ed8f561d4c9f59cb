//! The stores of this process: opened, handed to exporters and APIs, closed.

mod metrics;
mod unopened;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bucket::{BucketObjects, PageCache};
use exporters::Stores;
use logstore::{LogStore, LogStoreSettings};
use runtime::{Clock, Disk, LocalDisk, MemoryBudget, Objects, Tasks};
use storage_api::{LogFollower, LogMaintenance, LogQuerier, MetricsAdmin, MetricsQuerier};
use tokio::runtime::Handle;
use tsdb::Tsdb;

use crate::api::loki::deletes::{DeleteRequests, MaskedQuerier, worker};
use crate::config::types::{Durability, StorageConfig};
use crate::data_lock::DataLock;
use unopened::Unopened;

/// Where the requests to delete log lines are, below the data folder.
pub(crate) const LOG_DELETES_FILE: &str = "log-deletes.json";

/// Bytes in memory of what was read of log files in a bucket; at most a sixteenth of the process' memory limit.
const LOG_CACHE_BYTES: u64 = 64 << 20;
/// How long the log store waits for its bucket, longer for a large upload: less than queries and senders do.
const LOG_BUCKET_PATIENCE: Duration = Duration::from_secs(15);

/// Both stores, open.
pub(crate) struct OpenStores {
    /// Keeps every other process out of the data folder.
    _lock: DataLock,
    metrics: Arc<Tsdb>,
    logs: Arc<LogStore>,
    log_deletes: Arc<DeleteRequests>,
}

impl OpenStores {
    /// Stores that take nothing, for checking a config without touching its data.
    pub(crate) fn not_opened() -> Stores {
        Stores { metrics: Some(Arc::new(Unopened)), logs: Some(Arc::new(Unopened)) }
    }

    /// Opens both stores and replays their logs.
    pub(crate) async fn open(
        config: &StorageConfig,
        tasks: &Tasks,
        clock: &Arc<dyn Clock>,
        budget: &Arc<MemoryBudget>,
    ) -> anyhow::Result<Self> {
        let lock = DataLock::take(&config.directory)?;
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let (deletes_disk, deletes_file) = (Arc::clone(&disk), config.directory.join(LOG_DELETES_FILE));
        let cancel_period = config.logs.delete_request_cancel_period;
        let open_deletes = move || DeleteRequests::open(deletes_disk, deletes_file, cancel_period);
        let log_deletes = Arc::new(tasks.spawn_blocking("open_log_deletes", open_deletes).await?);
        warn_of_full_disk(&*disk, config);
        let mut metrics_settings = metrics::settings(&config.metrics);
        metrics_settings.wal.free_bytes_min = config.free_bytes_min;
        metrics_settings.upload_gate = crate::bucket_work::gate(config);
        let (limits, tenant_limits) = config.logs.limits().map_err(|reason| anyhow!(reason))?;
        let log_settings = LogStoreSettings {
            durability: durability(config.logs.durability),
            free_bytes_min: config.free_bytes_min,
            retention: config.logs.retention_rules().map_err(|reason| anyhow!(reason))?,
            objects: log_objects(config, tasks, budget)?,
            tenants_max: config.logs.tenants_max,
            limits,
            tenant_limits,
            ..LogStoreSettings::default()
        };
        let (metrics_folder, logs_folder) = (config.directory.join("metrics"), config.directory.join("logs"));
        let (metrics_disk, metrics_tasks, metrics_clock) =
            (Arc::clone(&disk), tasks.clone(), Arc::clone(clock));
        let open_metrics = tasks.spawn_blocking("open_metrics_store", move || {
            Tsdb::open(metrics_disk, metrics_folder, metrics_settings, metrics_tasks, metrics_clock)
        });
        let (logs_tasks, logs_clock, logs_budget) = (tasks.clone(), Arc::clone(clock), Arc::clone(budget));
        let open_logs = tasks.spawn_blocking("open_log_store", move || {
            LogStore::open(disk, logs_folder, log_settings, &logs_tasks, logs_clock, logs_budget)
        });
        let shown = config.directory.display();
        // Both are waited for, so that the one that opened can be closed if the other did not.
        let (metrics, logs) = tokio::join!(open_metrics, open_logs);
        let metrics = metrics.map_err(anyhow::Error::from);
        let metrics = metrics.and_then(|opened| opened.map_err(|error| anyhow!("{error}")));
        let metrics = metrics.with_context(|| format!("opening the metrics store in {shown}"));
        let logs = logs.map_err(anyhow::Error::from);
        let logs = logs.and_then(|opened| opened.map_err(|error| anyhow!("{error}")));
        let logs = logs.with_context(|| format!("opening the log store in {shown}"));
        match (metrics, logs) {
            (Ok(metrics), Ok(logs)) => {
                metrics.start_maintenance();
                let logs = Arc::new(logs);
                let (requests, store) =
                    (Arc::clone(&log_deletes), Arc::clone(&logs) as Arc<dyn LogMaintenance>);
                tasks.spawn("log-deletes", worker::run(requests, store, Arc::clone(clock), tasks.clone()));
                Ok(Self { _lock: lock, metrics: Arc::new(metrics), logs, log_deletes })
            }
            (Ok(metrics), Err(error)) => {
                metrics.close().await;
                Err(error)
            }
            (Err(error), Ok(logs)) => {
                if let Err(close) = logs.close().await {
                    tracing::warn!(error = %close, "closing the log store failed");
                }
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// What PromQL reads from in a process without stores: nothing.
    pub(crate) fn no_metrics() -> Arc<dyn MetricsQuerier> {
        Arc::new(Unopened)
    }

    /// What exporters get.
    pub(crate) fn for_exporters(&self) -> Stores {
        Stores { metrics: Some(self.metrics.clone()), logs: Some(self.logs.clone()) }
    }

    /// What PromQL reads from.
    pub(crate) fn metrics_querier(&self) -> Arc<dyn MetricsQuerier> {
        self.metrics.clone()
    }

    /// Figures, deletion and snapshots of the metrics store, if it has them.
    pub(crate) fn metrics_admin(&self) -> Option<Arc<dyn MetricsAdmin>> {
        Some(self.metrics.clone())
    }

    /// What LogQL reads from.
    pub(crate) fn log_querier(&self) -> Arc<dyn LogQuerier> {
        Arc::new(MaskedQuerier::new(self.logs.clone(), Arc::clone(&self.log_deletes)))
    }

    /// What tails of logs follow.
    pub(crate) fn log_follower(&self) -> Arc<dyn LogFollower> {
        self.logs.clone()
    }

    /// Upkeep of the log store.
    pub(crate) fn log_maintenance(&self) -> Arc<dyn LogMaintenance> {
        self.logs.clone()
    }

    /// Requests to delete log lines.
    pub(crate) fn log_deletes(&self) -> Arc<DeleteRequests> {
        Arc::clone(&self.log_deletes)
    }

    /// Writes what is in memory only and ends; at most `deadline`.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> anyhow::Result<()> {
        let close = async {
            let ((), logs) = tokio::join!(self.metrics.close(), self.logs.close());
            logs.map_err(|error| anyhow!("closing the log store: {error}"))
        };
        tokio::time::timeout(deadline, close).await.context("the stores did not close in time")?
    }
}

/// Where the files of the log store are, if not on the local disk.
fn log_objects(
    config: &StorageConfig,
    tasks: &Tasks,
    budget: &Arc<MemoryBudget>,
) -> anyhow::Result<Option<Arc<dyn Objects>>> {
    let Some(bucket) = &config.logs.bucket else { return Ok(None) };
    // The tasks end after the stores closed, or did not in time: no request outlives the runtime that drives it.
    let bucket = bucket.open(Handle::current()).context("opening storage.logs.bucket")?.until(tasks.clone());
    let requests = ::metrics::counter!("tidegate_log_store_page_requests_total");
    let hits = ::metrics::counter!("tidegate_log_store_page_hits_total");
    let cache_bytes = LOG_CACHE_BYTES.min(budget.ceiling_bytes() / 16);
    let cache = PageCache::counted(cache_bytes, requests, hits);
    Ok(Some(Arc::new(BucketObjects::new(bucket.with_patience(LOG_BUCKET_PATIENCE), cache))))
}

/// Warns when the disk has less free than it must have for anything to be written.
fn warn_of_full_disk(disk: &dyn Disk, config: &StorageConfig) {
    let Ok(free) = disk.free_bytes(&config.directory) else { return };
    if free < config.free_bytes_min {
        tracing::warn!(
            directory = %config.directory.display(), free_mib = free >> 20, least_mib = config.free_bytes_min >> 20,
            "the disk has less free than storage.free_bytes_min: every write is refused until there is room"
        );
    }
}

fn durability(config: Durability) -> logstore::Durability {
    match config {
        Durability::Async => logstore::Durability::Async,
        Durability::Group => logstore::Durability::Group,
        Durability::Sync => logstore::Durability::Sync,
    }
}

//! What a process does with its bucket beside its other work: uploads finished blocks of each tenant, and compacts the
//! bucket if the config says so.
//!
//! Both go on when the bucket is out of service: blocks wait on disk, and local compaction and retention wait for their
//! upload.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bucket::{Bucket, Lease, META, Shipper, ShipperState, is_wanted};
use compactor::{Compactor, CompactorResult, Done, Watch};
use model::{ErrorKind, Labels, TenantId};
use parking_lot::Mutex;
use runtime::{Clock, Disk, LocalDisk, Tasks};
use storage_api::MetricsAdmin;
use thanos::BucketStoreHandle;
use tokio::runtime::Handle;
use tsdb::UploadGate;
use tsdb::block::BlockMeta;
use ulid::Ulid;

use crate::config::Config;
use crate::config::types::{MergingConfig, StorageConfig};

/// Time between two looks for blocks to upload (`Sync` every 30 s in cmd/thanos/sidecar.go and receive.go).
const SHIP_EVERY: Duration = Duration::from_secs(30);

/// Below the data folder: the blocks of each tenant.
const METRICS: &str = "metrics";

/// Below the data folder: where blocks are put together.
const WORK: &str = "compactor";

/// The lease of whoever compacts a bucket.
const LEASE: &str = "compactor";

/// How long giving a lease back may take: it ends by itself as well.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// A lease is kept this often while it lasts.
const KEPT_TIMES: u32 = 4;

/// Where `who` puts blocks of a bucket together; one of each name at a time, because one has the lease of the bucket.
pub(crate) fn work_dir(storage: &StorageConfig, who: &str, bucket: &Bucket) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = bucket.shown().chars().map(plain).collect();
    storage.directory.join(WORK).join(format!("{who}-{}", name.trim_matches('-')))
}

/// Opens the bucket of a config, if it names one.
pub(crate) fn open(storage: &StorageConfig, handle: &Handle) -> anyhow::Result<Option<Bucket>> {
    let opened = storage.bucket.as_ref().map(|config| config.open(handle.clone()));
    opened.transpose().context("opening storage.bucket")
}

/// What keeps local compaction and retention from blocks that are still to be uploaded; nothing without a bucket.
pub(crate) fn gate(storage: &StorageConfig) -> Option<UploadGate> {
    let upload_compacted = storage.upload_compacted;
    let is_wanted = move |dir: &Path, ulid: Ulid| {
        let bytes = LocalDisk.read(&dir.join(ulid.to_string()).join(META)).ok();
        bytes
            .and_then(|bytes| BlockMeta::decode(&bytes).ok())
            .is_none_or(|meta| is_wanted(&meta, upload_compacted))
    };
    let is_done =
        move |dir: &Path, ulid| ShipperState::read(&LocalDisk, dir).has(ulid) || !is_wanted(dir, ulid);
    storage.bucket.as_ref().map(|_| UploadGate::new(is_done))
}

/// Starts what the config asks for, as tasks.
pub(crate) fn start(
    config: &Config,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
    store: Option<Arc<dyn MetricsAdmin>>,
) -> anyhow::Result<()> {
    let Some(bucket) = open(&config.storage, &Handle::current())? else { return Ok(()) };
    let has_store = store.is_some();
    if let Some(store) = store {
        let uploads = Uploads {
            bucket: bucket.until(tasks.clone()),
            storage: config.storage.clone(),
            root: config.storage.directory.join(METRICS),
            store,
            handle: Handle::current(),
            clock: Arc::clone(clock),
            shippers: Arc::default(),
        };
        tasks.spawn("block-shipper", ship(uploads, tasks.clone()));
    }
    if config.compactor.enabled {
        if has_store && config.compactor.deduplication.func == MergingConfig::Penalty {
            tracing::warn!(
                "compactor.deduplication.func is penalty: of samples that were pushed to one of several replicas some are \
                 thrown away; one-to-one keeps all"
            );
        }
        let settings = config.compactor.settings(work_dir(&config.storage, "server", &bucket));
        let compactor = Compactor::new(bucket.until(tasks.clone()), Arc::clone(clock), settings)?;
        let compactor = Arc::new(compactor);
        let rounds = Rounds {
            bucket,
            compactor,
            every: config.compactor.wait_interval,
            lease: config.compactor.lease_duration,
            tasks: tasks.clone(),
            clock: Arc::clone(clock),
        };
        tasks.spawn("bucket-compactor", rounds.run());
    }
    Ok(())
}

/// The bucket as a store for queries, if the config says so.
pub(crate) fn serve(
    config: &Config,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<BucketStoreHandle>> {
    if !config.store_gateway.enabled {
        return Ok(None);
    }
    let bucket = open(&config.storage, &Handle::current())?;
    let settings = config.store_gateway.settings(&config.storage.directory);
    let start =
        |bucket| BucketStoreHandle::start(bucket, Arc::new(LocalDisk), settings, Arc::clone(clock), tasks);
    Ok(bucket.map(start))
}

/// Uploads the blocks of all tenants.
#[derive(Clone)]
struct Uploads {
    bucket: Bucket,
    storage: StorageConfig,
    root: PathBuf,
    store: Arc<dyn MetricsAdmin>,
    handle: Handle,
    clock: Arc<dyn Clock>,
    /// By tenant.
    shippers: Arc<Mutex<HashMap<String, Shipper>>>,
}

async fn ship(uploads: Uploads, tasks: Tasks) {
    loop {
        let round = uploads.clone();
        let round = tasks.spawn_blocking("block-shipper-round", move || round.round());
        if let Err(error) = round.await {
            tracing::error!(%error, "a round of uploads ended early");
        }
        tokio::select! {
            () = tasks.cancelled() => return,
            () = tokio::time::sleep(SHIP_EVERY) => {}
        }
    }
}

impl Uploads {
    /// Uploads what there is of each tenant; one that fails does not keep the others waiting.
    fn round(&self) {
        let entries = match LocalDisk.list(&self.root) {
            Ok(entries) => entries,
            Err(error) => {
                return tracing::warn!(%error, path = %self.root.display(), "no blocks can be uploaded");
            }
        };
        let mut shippers = self.shippers.lock();
        shippers.retain(|tenant, _| entries.iter().any(|entry| entry.name == *tenant));
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            match self.tenant(&entry.name, &mut shippers) {
                Ok(()) => {}
                Err(error) if is_canceled(&error) => return,
                Err(error) => {
                    let (tenant, error) = (&entry.name, format!("{error:#}"));
                    tracing::error!(tenant, error, "blocks could not be uploaded; they are tried again");
                }
            }
        }
    }

    fn tenant(&self, tenant: &str, shippers: &mut HashMap<String, Shipper>) -> anyhow::Result<()> {
        let shipper = shippers.entry(tenant.to_owned()).or_insert_with(|| {
            let labels = tenant_labels(&self.storage.external_labels, &self.storage.tenant_label, tenant);
            let (disk, clock, dir) = (Arc::new(LocalDisk), Arc::clone(&self.clock), self.root.join(tenant));
            Shipper::new(self.bucket.clone(), disk, clock, dir, labels, self.storage.upload_compacted)
        });
        if shipper.has_deletions()? {
            let id = TenantId::new(tenant)?;
            let cleaned = self.handle.block_on(self.store.clean_tombstones(&id));
            cleaned.map_err(|error| anyhow::anyhow!("cleaning what was deleted: {error}"))?;
        }
        shipper.sync()?;
        Ok(())
    }
}

fn is_canceled(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<bucket::BucketError>();
    error.is_some_and(|error| error.kind() == ErrorKind::Canceled)
}

/// The external labels of a tenant's blocks: the default tenant's are those of the config.
pub(crate) fn tenant_labels(external: &Labels, tenant_label: &str, tenant: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        external.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if tenant != TenantId::DEFAULT {
        labels.insert(tenant_label.to_owned(), tenant.to_owned());
    }
    labels
}

/// Compacts a bucket from time to time, if no other process does.
pub(crate) struct Rounds {
    pub(crate) bucket: Bucket,
    pub(crate) compactor: Arc<Compactor>,
    pub(crate) every: Duration,
    pub(crate) lease: Duration,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Rounds {
    async fn run(self) {
        loop {
            self.round().await;
            tokio::select! {
                () = self.tasks.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn round(&self) {
        match self.once(Arc::new(Logged::default()), Compactor::run).await {
            Ok(Round::Done(done)) if done == Done::default() => {
                metrics::counter!("thanos_compact_iterations_total").increment(1);
            }
            Ok(Round::Done(done)) => {
                metrics::counter!("thanos_compact_iterations_total").increment(1);
                tracing::info!(?done, "the bucket was compacted");
            }
            Ok(Round::Taken(owner)) => tracing::debug!(owner, "another process compacts the bucket"),
            // What was under way ended with the process.
            Err(error) if self.tasks.is_cancelled() => {
                tracing::debug!(error = format!("{error:#}"), "not compacted")
            }
            Err(error) => {
                metrics::counter!("thanos_compact_retries_total").increment(1);
                tracing::error!(
                    error = format!("{error:#}"),
                    "the bucket could not be compacted; it is tried again"
                );
            }
        }
    }
}

/// What became of a round.
#[derive(Debug)]
pub(crate) enum Round {
    /// All that was due is done.
    Done(Done),
    /// Somebody else compacts the bucket: who.
    Taken(String),
}

/// Who looks on while the bucket is compacted, and can be told to end.
pub(crate) trait Cancel: Watch {
    /// Ends the work as soon as possible.
    fn cancel(&self);
}

impl Rounds {
    /// Does `run` as the only one, and gives the lease back. Ends early when the lease is lost or the process shuts down.
    pub(crate) async fn once<W: Cancel + 'static>(
        &self,
        watch: Arc<W>,
        run: impl FnOnce(&Compactor, &dyn Watch) -> CompactorResult<Done> + Send + 'static,
    ) -> anyhow::Result<Round> {
        let owner = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let lasts_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        let mut lease = Lease::new(self.bucket.clone(), Arc::clone(&self.clock), LEASE, owner, lasts_ms);
        let taken = tokio::select! {
            taken = lease.take() => taken?,
            // A bucket that hangs does not hold up the end. What was taken all the same ends by itself.
            () = self.tasks.cancelled() => anyhow::bail!("the process ends"),
        };
        if let Some(other) = taken {
            return Ok(Round::Taken(other.owner));
        }
        let (worker, looker) = (Arc::clone(&self.compactor), Arc::clone(&watch));
        let mut work = self.tasks.spawn_blocking("bucket-compactor-round", move || run(&worker, &*looker));
        let mut is_ending = false;
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = self.tasks.cancelled(), if !is_ending => {
                    is_ending = true;
                    watch.cancel();
                }
                () = tokio::time::sleep(self.lease / KEPT_TIMES) => {
                    if !keep(&mut lease).await {
                        tracing::warn!("another process took over the compaction of the bucket");
                        watch.cancel();
                    }
                }
            }
        };
        match tokio::time::timeout(GIVE_BACK_WITHIN, lease.give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease of the compactor could not be given back; it ends by itself");
            }
            Err(_) => tracing::warn!("the bucket does not answer; the lease of the compactor ends by itself"),
        }
        Ok(Round::Done(done.context("the work ended early")??))
    }
}

/// Keeps a lease for longer; says whether it is still held.
async fn keep(lease: &mut Lease) -> bool {
    match lease.take().await {
        Ok(other) => other.is_none(),
        // The store may be out of service for a moment; the lease lasts longer.
        Err(error) => {
            tracing::warn!(%error, "the lease of the compactor could not be kept");
            lease.is_held()
        }
    }
}

/// Tells the log.
#[derive(Debug, Default)]
struct Logged {
    is_canceled: AtomicBool,
}

impl Watch for Logged {
    fn begin(&self, what: &str, series: u64) {
        tracing::info!(what, series, "compactor");
    }

    fn end(&self, outcome: &str) {
        tracing::info!(outcome, "compactor: done");
    }

    fn is_canceled(&self) -> bool {
        self.is_canceled.load(Ordering::Relaxed)
    }
}

impl Cancel for Logged {
    fn cancel(&self) {
        self.is_canceled.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use model::Labels;

    use super::tenant_labels;

    #[test]
    fn tenants_but_the_default_one_have_their_name_among_the_labels() {
        let external = Labels::from_pairs([("cluster", "c")]);
        let of = |tenant| tenant_labels(&external, "tenant_id", tenant).into_iter().collect::<Vec<_>>();
        let cluster = ("cluster".to_owned(), "c".to_owned());
        assert_eq!(of("default"), std::slice::from_ref(&cluster));
        assert_eq!(of("x"), [cluster, ("tenant_id".to_owned(), "x".to_owned())]);
    }
}

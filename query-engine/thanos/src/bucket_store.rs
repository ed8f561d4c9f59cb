//! A store gateway: the blocks of a bucket, whoever wrote them, as a store (pkg/store/bucket.go).
//!
//! The bucket is listed from time to time; which of its blocks count and which of them answer a query is decided by pure
//! functions (`choice`). What every query needs of a block is fetched once and kept on the local disk, the rest goes
//! through a cache of a fixed size; blocks are open only while queries use them. A block that cannot be read fails the
//! queries that need it: nothing is left out in silence.

mod block;
mod choice;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bucket::{BlockCache, Bucket, Fetcher};
use futures_util::{StreamExt, TryStreamExt, stream};
use metrics::{counter, gauge};
use model::{ErrorKind, Labels, Matcher, TimeRange};
use parking_lot::RwLock;
use runtime::{Clock, Disk, Tasks};
use tokio::sync::watch;
use ulid::Ulid;

pub(crate) use block::BlockSeries;
use block::{Place, StoredBlock};
pub use choice::TimeBound;
use choice::{Resolutions, served};

use crate::error::{ThanosError, ThanosResult};
use crate::select::{StoreSelect, without_external};
use crate::series_frame::StoreSeries;
use crate::stream::SeriesStream;

/// Blocks that a query reads at a time (about the threads that wait for the bucket).
const BLOCKS_AT_ONCE: usize = 32;
/// Blocks whose headers are fetched at a time after a listing.
const PREPARED_AT_ONCE: usize = 4;
/// Bytes of chunks that one query has on their way, over all of its blocks; and the least and most of one block.
const ON_THE_WAY_BYTES: u64 = 32 << 20;
const BATCH_BYTES_MIN: u64 = 128 << 10;
const BATCH_BYTES_MAX: u64 = 1 << 20;
/// A block that no query used for so long is closed.
const IDLE_MS: i64 = 10 * 60 * 1000;
/// The source's name in errors, and its address for `storeMatch[]`.
pub(crate) const BUCKET_ADDRESS: &str = "bucket";

/// How a bucket is served.
#[derive(Clone, Debug)]
pub struct BucketStoreSettings {
    /// Where index headers are kept.
    pub folder: PathBuf,
    /// Memory for parts of blocks, bytes.
    pub cache_bytes: u64,
    /// Time between two listings.
    pub sync_interval: Duration,
    /// A block that is marked to be removed is served this much longer, ms.
    pub deletion_delay_ms: i64,
    /// Nothing older is served.
    pub min_time: TimeBound,
    /// Nothing newer is served.
    pub max_time: TimeBound,
}

impl Default for BucketStoreSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("store-gateway"),
            cache_bytes: 256 << 20,
            sync_interval: Duration::from_secs(180),
            deletion_delay_ms: 24 * 3600 * 1000,
            min_time: TimeBound::At(i64::MIN),
            max_time: TimeBound::At(i64::MAX),
        }
    }
}

/// The blocks of a bucket as a store.
pub(crate) struct BucketStore {
    fetcher: Fetcher,
    place: Arc<Place>,
    settings: BucketStoreSettings,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    state: RwLock<State>,
}

#[derive(Clone, Default)]
struct State {
    /// `None` before the first listing that succeeded.
    served: Option<Arc<Served>>,
    /// Why the last listing failed.
    error: Option<String>,
}

/// What is served now.
#[derive(Default)]
struct Served {
    by_ulid: HashMap<Ulid, Arc<StoredBlock>>,
    by_labels: BTreeMap<Labels, Resolutions<Arc<StoredBlock>>>,
}

/// The blocks of a bucket, kept up to date. Clones share them.
#[derive(Clone)]
pub struct BucketStoreHandle {
    store: Arc<BucketStore>,
    /// Whether the bucket was listed once, well or not.
    is_known: watch::Receiver<bool>,
}

impl BucketStoreHandle {
    /// Serves `bucket` from now on: it is listed as a task until shutdown begins.
    pub fn start(
        bucket: Bucket,
        disk: Arc<dyn Disk>,
        settings: BucketStoreSettings,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Self {
        let cache = BlockCache::new(disk, settings.folder.clone(), settings.cache_bytes);
        let store = Arc::new(BucketStore {
            fetcher: Fetcher::new(bucket.clone()),
            place: Arc::new(Place { bucket, cache }),
            settings,
            clock,
            tasks: tasks.clone(),
            state: RwLock::default(),
        });
        let (known, is_known) = watch::channel(false);
        let synced = Arc::clone(&store);
        tasks.spawn("store-gateway-sync", async move {
            loop {
                tokio::select! {
                    () = synced.tasks.cancelled() => return,
                    () = synced.round(&known) => {}
                }
                tokio::select! {
                    () = synced.tasks.cancelled() => return,
                    () = tokio::time::sleep(synced.settings.sync_interval) => {}
                }
            }
        });
        Self { store, is_known }
    }

    /// The store, once the bucket was listed.
    pub(crate) async fn known(&self) -> &BucketStore {
        let mut is_known = self.is_known.clone();
        // An error means that the task has ended: what is known is all there will be.
        let _ = is_known.wait_for(|known| *known).await;
        &self.store
    }
}

impl BucketStore {
    /// One listing with what follows from it.
    async fn round(&self, known: &watch::Sender<bool>) {
        counter!("thanos_blocks_meta_syncs_total").increment(1);
        let new = match self.sync().await {
            Ok(new) => new,
            Err(error) => {
                counter!("thanos_blocks_meta_sync_failures_total").increment(1);
                tracing::error!(%error, "the bucket could not be listed; what was known is served");
                self.state.write().error = Some(error.to_string());
                Vec::new()
            }
        };
        // Nobody waits for it any more once it is true.
        let _ = known.send(true);
        let prepare = |block: Arc<StoredBlock>| async move {
            let place = Arc::clone(&self.place);
            let made = self.tasks.spawn_blocking("store-gateway-header", move || {
                place.cache.prepare(&place.bucket, &block.block)
            });
            if let Ok(Err(error)) = made.await {
                tracing::warn!(%error, "a block's header could not be fetched; the first query tries again");
            }
        };
        stream::iter(new).for_each_concurrent(PREPARED_AT_ONCE, prepare).await;
    }

    /// Lists the bucket; gives the blocks that are new.
    async fn sync(&self) -> ThanosResult<Vec<Arc<StoredBlock>>> {
        let view = self.fetcher.fetch().await;
        let view = view.map_err(|error| ThanosError::new(error.kind(), error.to_string()))?;
        let now = self.clock.now_ms();
        let before = self.state.read().served.clone().unwrap_or_default();
        let is_first = self.state.read().served.is_none();
        let mut served_now = Served::default();
        let mut new = Vec::new();
        for block in served(&view, self.range(now), self.settings.deletion_delay_ms, now) {
            let known =
                before.by_ulid.get(&block.ulid()).filter(|known| known.block.objects == block.objects);
            let stored = known.cloned().unwrap_or_else(|| {
                let stored = Arc::new(StoredBlock::new(block.clone()));
                new.push(Arc::clone(&stored));
                stored
            });
            let resolutions = served_now.by_labels.entry(stored.labels.clone()).or_default();
            resolutions.add(block.thanos.resolution_ms(), stored.range, Arc::clone(&stored));
            served_now.by_ulid.insert(block.ulid(), stored);
        }
        for (ulid, block) in &before.by_ulid {
            if served_now.by_ulid.contains_key(ulid) {
                block.close_unless_used(now - IDLE_MS);
            } else {
                counter!("thanos_bucket_store_block_drops_total").increment(1);
            }
        }
        counter!("thanos_bucket_store_block_loads_total").increment(new.len() as u64);
        gauge!("thanos_bucket_store_blocks_loaded").set(served_now.by_ulid.len() as f64);
        let open = served_now.by_ulid.values().filter(|block| block.is_open()).count();
        gauge!("tidegate_store_gateway_blocks_open").set(open as f64);
        let served_now = Arc::new(served_now);
        *self.state.write() = State { served: Some(Arc::clone(&served_now)), error: None };
        if is_first || served_now.by_ulid.len() != before.by_ulid.len() + new.len() {
            let place = Arc::clone(&self.place);
            let clean = self.tasks.spawn_blocking("store-gateway-clean", move || {
                place.cache.retain(|ulid| served_now.by_ulid.contains_key(&ulid))
            });
            if let Ok(Err(error)) = clean.await {
                tracing::warn!(%error, "headers of blocks that are gone could not be removed");
            }
        }
        Ok(new)
    }

    fn range(&self, now_ms: i64) -> TimeRange {
        TimeRange::new(self.settings.min_time.at(now_ms), self.settings.max_time.at(now_ms))
    }

    /// What is served; an error before the bucket was ever listed.
    fn served(&self) -> ThanosResult<Arc<Served>> {
        let state = self.state.read();
        state.served.clone().ok_or_else(|| {
            let why = state.error.as_deref().unwrap_or("it was not listed yet");
            ThanosError::new(ErrorKind::Unavailable, format!("the bucket cannot be served: {why}"))
        })
    }

    /// External labels with the times of their blocks, ms, both ends included.
    pub(crate) fn contents(&self) -> ThanosResult<Vec<(Labels, TimeRange)>> {
        let served = self.served()?;
        let of = |(labels, blocks): (&Labels, &Resolutions<_>)| Some((labels.clone(), blocks.range()?));
        Ok(served.by_labels.iter().filter_map(of).collect())
    }

    /// Streams of the series that match, one for each block.
    pub(crate) async fn select(&self, select: &StoreSelect) -> ThanosResult<Vec<SeriesStream>> {
        let now = self.clock.now_ms();
        let bounds = self.range(now);
        let range = TimeRange::new(select.range.min.max(bounds.min), select.range.max.min(bounds.max));
        if range.min > range.max {
            return Ok(Vec::new());
        }
        let served = self.served()?;
        let mut blocks: Vec<Arc<StoredBlock>> = Vec::new();
        for (labels, resolutions) in &served.by_labels {
            if without_external(&select.matchers, labels).is_some() {
                blocks.extend(resolutions.choose(range, select.resolution_ms).into_iter().cloned());
            }
        }
        let select = Arc::new(StoreSelect { range, ..select.clone() });
        let is_labels = select.skip_chunks;
        let found: Vec<Option<BlockSeries>> = stream::iter(blocks)
            .map(|block| {
                let (place, select) = (Arc::clone(&self.place), Arc::clone(&select));
                self.work("store-gateway-select", move || block.select(&place, &select, now))
            })
            .buffered(BLOCKS_AT_ONCE)
            .try_collect()
            .await?;
        let found: Vec<BlockSeries> = found.into_iter().flatten().collect();
        if is_labels {
            let series = |labels| StoreSeries { labels, chunks: Vec::new() };
            let ready = |found: BlockSeries| {
                SeriesStream::ready(BUCKET_ADDRESS.to_owned(), found.into_labels().map(series).collect())
            };
            return Ok(found.into_iter().map(ready).collect());
        }
        let batch = ON_THE_WAY_BYTES / (2 * found.len().max(1) as u64);
        let batch = batch.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
        Ok(found.into_iter().map(|found| SeriesStream::block(found, batch, &self.tasks)).collect())
    }

    /// Names of the labels of the series that match, in no order and some twice.
    pub(crate) async fn label_names(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> ThanosResult<Vec<String>> {
        let now = self.clock.now_ms();
        let ask = move |block: &StoredBlock, place: &Place, matchers: &[Matcher]| {
            block.label_names(place, matchers, range, now)
        };
        self.texts(range, matchers, ask).await
    }

    /// Values of a label of the series that match, in no order and some twice.
    pub(crate) async fn label_values(
        &self,
        name: &str,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> ThanosResult<Vec<String>> {
        let (now, name) = (self.clock.now_ms(), name.to_owned());
        let ask = move |block: &StoredBlock, place: &Place, matchers: &[Matcher]| {
            block.label_values(place, &name, matchers, range, now)
        };
        self.texts(range, matchers, ask).await
    }

    /// Texts that `ask` finds in the blocks of a range.
    async fn texts(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        ask: impl Fn(&StoredBlock, &Place, &[Matcher]) -> storage_api::StorageResult<Vec<String>>
        + Clone
        + Send
        + 'static,
    ) -> ThanosResult<Vec<String>> {
        let served = self.served()?;
        let mut asked: Vec<(Arc<StoredBlock>, Vec<Matcher>)> = Vec::new();
        for (labels, resolutions) in &served.by_labels {
            let Some(matchers) = without_external(matchers, labels) else { continue };
            // Labels are the same at every resolution, and coarse blocks are large.
            let blocks = resolutions.choose(range, i64::MAX).into_iter();
            asked.extend(blocks.map(|block| (Arc::clone(block), matchers.clone())));
        }
        let found: Vec<Vec<String>> = stream::iter(asked)
            .map(|(block, matchers)| {
                let (place, ask) = (Arc::clone(&self.place), ask.clone());
                let work = move || ask(&block, &place, &matchers).map_err(ThanosError::from);
                self.work("store-gateway-labels", work)
            })
            .buffer_unordered(BLOCKS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.concat())
    }

    /// Does `work` on a thread that may wait for the bucket.
    async fn work<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> ThanosResult<T> + Send + 'static,
    ) -> ThanosResult<T> {
        let done = self.tasks.spawn_blocking(name, work).await;
        done.map_err(|error| ThanosError::new(ErrorKind::Internal, error.to_string()))?
    }
}

#[cfg(test)]
mod tests;

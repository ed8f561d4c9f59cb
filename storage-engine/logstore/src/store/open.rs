//! Opening: which files there are, then what of the write-ahead log is not in them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use format::{LogManifest, decode_log_batch};
use hashbrown::HashMap;
use model::{ErrorKind, TenantId};
use parking_lot::{Mutex, RwLock};
use runtime::{Clock, Disk, MemoryBudget, Objects, Tasks};
use tokio::sync::Notify;
use wal::{Wal, WalSettings};

use super::{Inner, State, stream_index};
use crate::error::{LogStoreError, LogStoreResult};
use crate::expiry_clock::ExpiryClock;
use crate::filenames;
use crate::files::{self, IndexCache, Loaded, PageCache, Place, SharedPlace};
use crate::follow::Followers;
use crate::memtable::Generation;
use crate::metrics::LogStoreMetrics;
use crate::rate::IngestRates;
use crate::settings::LogStoreSettings;
use crate::streams::StreamIndex;

/// Metric prefix of the write-ahead log.
const WAL_METRIC_PREFIX: &str = "tidegate_log_store";
/// Bytes of write-ahead records that may wait for the disk.
const WAL_QUEUE_BYTES_MAX: usize = 32 << 20;

/// Streams of each tenant.
type Streams = RwLock<HashMap<TenantId, Arc<StreamIndex>>>;

/// What of the write-ahead log is not in files.
struct Replayed {
    wal: Wal,
    generation: Arc<Generation>,
    /// The newest generation of any record.
    newest: u64,
    entries: u64,
    damaged: usize,
}

impl Inner {
    /// Blocks on the disk and the object store.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: LogStoreSettings,
        tasks: &Tasks,
        clock: Arc<dyn Clock>,
        budget: Arc<MemoryBudget>,
    ) -> LogStoreResult<Arc<Self>> {
        let metrics = LogStoreMetrics::new();
        let (place, loaded) = open_place(&disk, dir, settings.objects.clone(), &clock)?;
        let streams = Streams::default();
        let replayed = replay(disk, dir, &settings, tasks, &streams, &budget, &loaded)?;
        metrics.replayed_entries.increment(replayed.entries);
        metrics.quarantined.increment((replayed.damaged + loaded.quarantined.len()) as u64);
        metrics.files.set(loaded.set.files.len() as f64);
        let active = replayed.generation.renumbered(replayed.newest + 1);
        let streams_swept_ns = AtomicI64::new(clock.monotonic_ns());
        let expiry_clock = Mutex::new(ExpiryClock::new(&*clock));
        let indexes = IndexCache::new(settings.index_cache_bytes);
        let page_cache_bytes = (settings.page_cache_bytes as u64).min(budget.ceiling_bytes() / 16);
        let pages = PageCache::new(page_cache_bytes as usize, Arc::clone(&budget));
        Ok(Arc::new(Self {
            place,
            settings,
            tasks: tasks.clone(),
            clock,
            budget,
            metrics,
            wal: replayed.wal,
            state: RwLock::new(State { active, sealed: None, files: loaded.set }),
            streams,
            rates: IngestRates::default(),
            streams_swept_ns,
            expiry_clock,
            indexes,
            pages,
            followers: Followers::default(),
            quarantined: Mutex::new(loaded.quarantined),
            commit: Mutex::default(),
            rewriting: Mutex::default(),
            doomed: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
            flush_wanted: Notify::new(),
            merge_wanted: Notify::new(),
            room: Notify::new(),
            closed: AtomicBool::new(false),
        }))
    }
}

/// The files that there are.
fn open_place(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    objects: Option<Arc<dyn Objects>>,
    clock: &Arc<dyn Clock>,
) -> LogStoreResult<(Place, Loaded)> {
    let Some(objects) = objects else {
        let loaded = files::load(&**disk, dir)?;
        return Ok((Place::Local { disk: Arc::clone(disk), dir: dir.to_owned() }, loaded));
    };
    refuse_local_files(&**disk, dir)?;
    let (shared, set) = SharedPlace::open(objects, Arc::clone(clock), &**disk, dir)?;
    let newest_generation = set.flushed_generation;
    Ok((Place::Shared(shared), Loaded { set, newest_generation, quarantined: Vec::new() }))
}

/// Files of a store that was on the local disk would not be read.
fn refuse_local_files(disk: &dyn Disk, dir: &Path) -> LogStoreResult<()> {
    let path = filenames::manifest(dir);
    if !disk.exists(&path) {
        return Ok(());
    }
    let bytes = disk.read(&path).map_err(|error| LogStoreError::io("reading", &path, error))?;
    let files = LogManifest::decode(&bytes).map(|manifest| manifest.files.len());
    let files = files.map_err(|error| LogStoreError::format(&path, error))?;
    if files == 0 {
        return Ok(());
    }
    let text = format!(
        "{} has {files} data files on the local disk, which would not be read: leave \
         storage.logs.bucket out, or move the folder away",
        dir.display()
    );
    Err(LogStoreError::shared(ErrorKind::Invalid, text))
}

fn replay(
    disk: Arc<dyn Disk>,
    dir: &Path,
    settings: &LogStoreSettings,
    tasks: &Tasks,
    streams: &Streams,
    budget: &Arc<MemoryBudget>,
    loaded: &Loaded,
) -> LogStoreResult<Replayed> {
    let flushed = loaded.set.flushed_generation;
    let generation = Generation::new(0, budget);
    let (mut newest, mut entries, mut unreadable) = (loaded.newest_generation, 0u64, None);
    let wal_settings = WalSettings {
        metric_prefix: WAL_METRIC_PREFIX,
        durability: settings.durability,
        free_bytes_min: settings.free_bytes_min,
        queue_bytes_max: WAL_QUEUE_BYTES_MAX,
        ..WalSettings::default()
    };
    let deliver = |record: wal::Record<'_>| match decode_log_batch(record.bytes) {
        Ok(batch) => {
            newest = newest.max(batch.generation);
            if batch.generation > flushed {
                let index = stream_index(streams, &batch.tenant);
                let ids = index.ids(batch.streams.iter().map(|(labels, _)| labels));
                entries += batch.streams.iter().map(|(_, entries)| entries.len() as u64).sum::<u64>();
                let with_ids =
                    ids.into_iter().zip(batch.streams).map(|(id, (labels, rows))| (id, labels, rows));
                generation.enter().insert(&batch.tenant, with_ids, budget);
            }
        }
        // The log checked its checksum: this is a record of a version that we do not know, or our defect.
        Err(error) => {
            unreadable.get_or_insert((record.sequence, error));
        }
    };
    let (wal, report) = Wal::open(disk, filenames::wal(dir), wal_settings, tasks, deliver)
        .map_err(|error| LogStoreError::wal(error.kind(), error.to_string()))?;
    if let Some((sequence, error)) = unreadable {
        // Going on would remove the record with its segment after the next flush.
        let text = format!("record {sequence} cannot be replayed: {error}");
        return Err(LogStoreError::wal(ErrorKind::Internal, text));
    }
    Ok(Replayed { wal, generation, newest, entries, damaged: report.damage.len() })
}

//! The samples of a tenant that are in memory: shards of series, their labels and postings, and what queries see.
//!
//! Locks, in the order in which they are taken: `names`, `gather`, `visible`, a shard's `index`, its `data`, the
//! symbols. An append holds `visible` shared from its first sample to its place in the log; a query takes it alone for a
//! moment to begin a new epoch and then reads at leisure what was there before (TSDB-2). `names` is held shared by
//! whoever carries numbers of series or symbols from one lock to the next, and alone to take series away.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use hashbrown::HashTable;
use model::{Labels, TenantId, TimeRange};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rapidhash::fast::RandomState;
use runtime::Disk;
use std::hash::BuildHasher;
use storage_api::SeriesRef;

use crate::error::TsdbError;
use crate::metrics::HeadMetrics;
use crate::{HeadStats, TsdbSettings};

pub(crate) mod append;
pub(crate) mod checkpoint;
mod delete;
mod exemplars;
pub(crate) mod flush;
mod forget;
pub(crate) mod mend;
mod paged;
mod pieces;
mod postings;
mod read;
mod refusals;
pub(crate) mod replay;
mod selection;
pub(crate) mod series;
pub(crate) mod spill;
mod stats;
mod symbols;
mod value;

use exemplars::Exemplars;
use paged::Paged;
use pieces::Pieces;
use postings::Postings;
use series::{Room, Series};
use spill::Spill;
use symbols::{Interner, Symbol, Symbols};

/// Shards of every head. Part of the log's content (a record names shard and number), so it is not a setting. Enough
/// for as many cores to append at once; few enough that the postings of rare values stay small.
pub(crate) const SHARDS: u32 = 8;

pub(crate) struct Head {
    tenant: TenantId,
    settings: TsdbSettings,
    metrics: HeadMetrics,
    shards: Vec<Shard>,
    symbols: Symbols,
    spill: Spill,
    /// The epoch of appends: begins at 1, and every query that reads samples starts the next.
    visible: RwLock<u64>,
    /// One query at a time reads against the marks of its epoch.
    gather: Mutex<()>,
    names: RwLock<()>,
    /// Whether it makes no more series; changes while `names` is held alone.
    is_closed: AtomicBool,
    exemplars: Mutex<Exemplars>,
    series_count: AtomicU64,
    memory_bytes: AtomicU64,
    chunk_count: AtomicU64,
    /// Oldest and newest sample, ms; the newest below the oldest when there is none.
    oldest_ms: AtomicI64,
    newest_ms: AtomicI64,
    /// Everything before this time was written to blocks, ms; what comes for it is late.
    flushed_ms: AtomicI64,
}

#[derive(Default)]
struct Shard {
    index: RwLock<Index>,
    data: Mutex<Data>,
}

/// Labels of a shard's series: changes when a series comes.
struct Index {
    /// Series numbers by their labels.
    table: HashTable<u32>,
    hasher: RandomState,
    /// Alternating symbols of names and values, by series number.
    labels: Paged<Box<[Symbol]>>,
    postings: Postings,
}

/// Samples of a shard's series, by series number.
struct Data {
    series: Paged<Series>,
    /// Bytes of the chunks that grow.
    pieces: Pieces,
}

impl Data {
    /// The series, and what they need to change.
    fn split<'a>(&'a mut self, head: &'a Head) -> (&'a mut Paged<Series>, Room<'a>) {
        let Self { series, pieces } = self;
        let block_ms = head.settings.block_duration_ms;
        (series, Room { pieces, spill: &head.spill, block_ms, looked: None })
    }
}

/// Bytes that a series takes beside its labels, postings and chunks: itself, its list of labels, its place in the
/// table.
const SERIES_BYTES: usize = size_of::<Series>() + size_of::<Box<[Symbol]>>() + 8;

impl Default for Index {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            hasher: RandomState::new(),
            labels: Paged::new(),
            postings: Postings::default(),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self { series: Paged::new(), pieces: Pieces::new() }
    }
}

/// A series by number and shard; what a [`SeriesRef`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) shard: u32,
    pub(crate) local: u32,
}

impl Place {
    pub(crate) fn to_ref(self) -> SeriesRef {
        SeriesRef(u64::from(self.shard) << 32 | u64::from(self.local))
    }

    /// The place that a reference names, if there is such a shard.
    #[inline]
    pub(crate) fn of(series: SeriesRef) -> Option<Self> {
        let shard = u32::try_from(series.0 >> 32).expect("32 bits are left");
        let local = u32::try_from(series.0 & u64::from(u32::MAX)).expect("32 bits are left");
        (shard < SHARDS).then_some(Self { shard, local })
    }
}

impl Head {
    pub(crate) fn new(tenant: TenantId, settings: TsdbSettings, metrics: HeadMetrics) -> Self {
        let exemplars = Exemplars::new(settings.exemplars_max, settings.out_of_order_window_ms);
        let spill = Spill::new(settings.head_block_bytes, metrics.clone());
        Self {
            tenant,
            settings,
            metrics,
            spill,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            symbols: Symbols::new(),
            visible: RwLock::new(1),
            gather: Mutex::new(()),
            names: RwLock::new(()),
            is_closed: AtomicBool::new(false),
            exemplars: Mutex::new(exemplars),
            series_count: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            chunk_count: AtomicU64::new(0),
            oldest_ms: AtomicI64::new(i64::MAX),
            newest_ms: AtomicI64::new(i64::MIN),
            flushed_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Lets closed chunks go to files in `folder`, of which whatever is there is removed.
    pub(crate) fn spill_to(&mut self, disk: Arc<dyn Disk>, folder: PathBuf) -> Result<(), TsdbError> {
        self.spill.set_folder(disk, folder, self.settings.wal.free_bytes_min)
    }

    /// Whether the caller is to see to it that [`Head::write_closed`] runs.
    pub(crate) fn claim_closed(&self) -> bool {
        self.spill.claim()
    }

    /// Writes closed chunks to their files if there are enough. Blocks on the disk.
    pub(crate) fn write_closed(&self) {
        if self.spill.is_due() {
            self.spill.write();
        }
    }

    /// What the head holds.
    pub(crate) fn stats(&self) -> HeadStats {
        let range =
            TimeRange::new(self.oldest_ms.load(Ordering::Relaxed), self.newest_ms.load(Ordering::Relaxed));
        HeadStats {
            series: self.series_count.load(Ordering::Relaxed),
            chunks: self.chunk_count.load(Ordering::Relaxed),
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed)
                + (self.symbols.memory_bytes() + self.spill.memory_bytes()) as u64,
            range: (!range.is_empty()).then_some(range),
        }
    }

    /// The series with these labels; one that is new is made, and `created` hears of it before anybody else can find
    /// it, under the locks of its shard.
    pub(crate) fn series(&self, labels: &Labels, created: impl FnOnce(Place)) -> Result<Place, TsdbError> {
        self.check_labels(labels)?;
        let shard = shard_of(labels);
        let mut symbols = Vec::with_capacity(2 * labels.len());
        if self.symbols.read().find_all(labels.iter(), &mut symbols)
            && let Some(local) = self.shards[shard as usize].index.read().find(&symbols)
        {
            return Ok(Place { shard, local });
        }
        let _names = self.names.read();
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(TsdbError::LetGo { tenant: self.tenant.clone() });
        }
        self.reserve_series()?;
        self.symbols.intern(PairIter(labels, 0), &mut symbols);
        let index = &mut *self.shards[shard as usize].index.write();
        if let Some(local) = index.find(&symbols) {
            self.series_count.fetch_sub(1, Ordering::Relaxed);
            return Ok(Place { shard, local });
        }
        let data = &mut *self.shards[shard as usize].data.lock();
        let place =
            Place { shard, local: u32::try_from(data.series.len()).expect("series_max is far below 2^32") };
        created(place);
        self.insert(index, data, symbols.into_boxed_slice());
        Ok(place)
    }

    /// Adds a series at the next number of a shard.
    fn insert(&self, index: &mut Index, data: &mut Data, symbols: Box<[Symbol]>) {
        let local = u32::try_from(data.series.len()).expect("series_max is far below 2^32");
        let bytes = index.postings.add(local, &symbols) + SERIES_BYTES + size_of_val(&*symbols);
        let Index { table, hasher, labels, .. } = index;
        let hash = hasher.hash_one(&*symbols);
        labels.push(symbols);
        table.insert_unique(hash, local, |other| {
            hasher.hash_one(labels.get(*other).map(|symbols| &**symbols).unwrap_or_default())
        });
        data.series.push(Series::default());
        self.add_memory(append::size(bytes));
        self.metrics.series.increment(1.0);
        self.metrics.series_created.increment(1);
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), TsdbError> {
        let TsdbSettings { labels_max, label_bytes_max, .. } = self.settings;
        if labels.is_empty() {
            return Err(TsdbError::NoLabels);
        }
        if labels.len() > labels_max {
            return Err(TsdbError::TooManyLabels { got: labels.len(), limit: labels_max });
        }
        if labels.text_bytes() > label_bytes_max {
            return Err(TsdbError::LabelsTooLong { got: labels.text_bytes(), limit: label_bytes_max });
        }
        Ok(())
    }

    /// Counts one more series, unless the tenant is at its limit.
    fn reserve_series(&self) -> Result<(), TsdbError> {
        let limit = self.settings.series_max;
        let grown = self
            .series_count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1));
        grown.map_err(|_| TsdbError::SeriesLimit { tenant: self.tenant.clone(), limit })?;
        Ok(())
    }

    /// Keeps queries from beginning while it is held; the epoch is what appends are marked with.
    pub(crate) fn begin_append(&self) -> RwLockReadGuard<'_, u64> {
        self.visible.read()
    }

    /// The same, unless it had to wait for a query that begins, which waits for the appends before it.
    pub(crate) fn try_begin_append(&self) -> Option<RwLockReadGuard<'_, u64>> {
        self.visible.try_read()
    }

    /// Whether there may be appends under way for which [`Head::wait_for_appends`] waits.
    pub(crate) fn has_appends(&self) -> bool {
        self.visible.try_write().is_none()
    }

    /// Waits until every append that is under way has its place in the log.
    pub(crate) fn wait_for_appends(&self) {
        drop(self.visible.write());
    }

    /// Whether there is such a series.
    fn has(&self, place: Place) -> bool {
        self.shards[place.shard as usize].data.lock().series.get(place.local).is_some()
    }

    /// Makes no more series from now on; those who are about to have made theirs.
    pub(crate) fn close(&self) {
        let _nobody_makes_series = self.names.write();
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// The number of the next series of each shard.
    pub(crate) fn next_locals(&self) -> [u32; SHARDS as usize] {
        let next =
            |shard: &Shard| u32::try_from(shard.data.lock().series.len()).expect("numbers have 32 bits");
        std::array::from_fn(|number| next(&self.shards[number]))
    }

    /// Gives no series a number below these.
    pub(crate) fn skip_to(&self, next_locals: [u32; SHARDS as usize]) {
        for (shard, next) in self.shards.iter().zip(next_locals) {
            let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
            index.labels.skip_to(next);
            data.series.skip_to(next);
        }
    }

    /// Whether no series has a sample or an exemplar.
    pub(crate) fn is_without_samples(&self) -> bool {
        let mut shards = self.shards.iter();
        shards.all(|shard| shard.data.lock().series.iter().all(|(_, series)| series.is_empty()))
            && self.exemplars.lock().iter().next().is_none()
    }

    /// See `TsdbSettings::checkpoint_log_bytes`.
    pub(crate) fn checkpoint_log_bytes(&self) -> u64 {
        self.settings.checkpoint_log_bytes
    }

    /// Time of the newest sample, ms; `i64::MIN` when there is none.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    /// Everything before this time is in blocks, ms.
    pub(crate) fn flushed_ms(&self) -> i64 {
        self.flushed_ms.load(Ordering::Relaxed)
    }

    /// Says that everything before `time_ms` is in blocks. How late a sample is counts from there, too.
    pub(crate) fn set_flushed_ms(&self, time_ms: i64) {
        self.flushed_ms.fetch_max(time_ms, Ordering::Relaxed);
        self.newest_ms.fetch_max(time_ms.saturating_sub(1), Ordering::Relaxed);
    }

    fn add_chunks(&self, chunks: i64) {
        self.chunk_count.fetch_add(chunks.cast_unsigned(), Ordering::Relaxed);
        self.metrics.chunks_created.increment(u64::try_from(chunks).unwrap_or(0));
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        self.metrics.chunks.increment(chunks as f64);
    }

    fn add_range(&self, range: TimeRange) {
        self.oldest_ms.fetch_min(range.min, Ordering::Relaxed);
        self.newest_ms.fetch_max(range.max, Ordering::Relaxed);
    }

    /// Counts memory that is held from now on, or, when negative, that is given back.
    fn add_memory(&self, bytes: i64) {
        self.memory_bytes.fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        self.metrics.memory_bytes.increment(bytes as f64);
    }

    /// The labels of a series as text, for a message.
    pub(crate) fn labels(&self, place: Place) -> Labels {
        let index = self.shards[place.shard as usize].index.read();
        let texts = self.symbols.read();
        index.labels.get(place.local).map_or_else(Labels::empty, |symbols| resolve(symbols, &texts))
    }
}

impl Index {
    fn find(&self, symbols: &[Symbol]) -> Option<u32> {
        let same = |local: &u32| self.labels.get(*local).is_some_and(|labels| **labels == *symbols);
        self.table.find(self.hasher.hash_one(symbols), same).copied()
    }
}

/// A label set from its symbols, which are in name order.
fn resolve(symbols: &[Symbol], texts: &Interner) -> Labels {
    Labels::from_sorted(symbols.chunks_exact(2).map(|pair| (texts.text(pair[0]), texts.text(pair[1]))))
}

/// Which shard a label set belongs to. The log depends on it: never change it.
fn shard_of(labels: &Labels) -> u32 {
    let mut hash = 0u64;
    for (name, value) in labels.iter() {
        let pair = rapidhash::v3::rapidhash_v3(name.as_bytes()).rotate_left(17)
            ^ rapidhash::v3::rapidhash_v3(value.as_bytes());
        hash = (hash ^ pair).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    u32::try_from(hash >> 32 & u64::from(SHARDS - 1)).expect("below the number of shards")
}

/// Label pairs, cloneable, for two passes over one set.
#[derive(Clone)]
struct PairIter<'a>(&'a Labels, usize);

impl<'a> Iterator for PairIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.1;
        self.1 += 1;
        (at < self.0.len()).then(|| self.0.at(at))
    }
}

#[cfg(test)]
mod tests;

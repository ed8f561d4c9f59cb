//! One tenant: its head, its log, its metadata, and the order in which they change.
//!
//! The order lock makes "take the new series, queue them, queue the samples" one step, so that no record can use a
//! series before the record that makes it (TSDB-4). A sample is put into the head before it is queued; if the log then
//! fails, the log still writes it as soon as it can (WAL-3), and whoever sends it again waits for that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use format::head_record::{SERIES, put_series};
use model::{Labels, MetricMetadata, TenantId};
use parking_lot::Mutex;
use runtime::{Clock, Disk, Tasks};
use storage_api::{AppendOutcome, SampleBatch, SeriesRef};
use wal::{Permit, Ticket, Wal, WalSettings};

use crate::TsdbSettings;
use crate::blocks::{Blocks, BlocksSettings};
use crate::checkpoint::read_checkpoint;
use crate::error::TsdbError;
use crate::filenames;
use crate::head::Head;
use crate::head::append::Applied;
use crate::metrics::HeadMetrics;

mod maintain;
mod mend;
mod metadata;
mod read;
mod replay;

/// Samples of one record, so that it stays far below the log's limit (26 bytes a sample at worst).
const RECORD_SAMPLES_MAX: usize = 1 << 20;

/// Native histograms and exemplars of one part of a batch, which are a kilobyte or so each.
const RECORD_ITEMS_MAX: usize = 1 << 13;

/// Larger batches leave the async threads: at 0.1 µs a sample they would hold one for over half a millisecond.
const INLINE_SAMPLES_MAX: usize = 5000;

/// A histogram, an exemplar or a late sample takes as long as this many samples, about.
const ITEM_SAMPLES: usize = 20;

/// New series and metadata are queued in records of about this size.
const NAMES_RECORD_BYTES: usize = 1 << 20;

pub(crate) struct Tenant {
    pub(crate) head: Head,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    metrics: HeadMetrics,
    pub(crate) blocks: Blocks,
    wal: Wal,
    /// Bytes that were queued for the log since the last checkpoint.
    log_bytes: AtomicU64,
    maintenance: Mutex<maintain::Maintenance>,
    pending: Mutex<Pending>,
    metadata: Mutex<BTreeMap<String, MetricMetadata>>,
    future_max_ms: i64,
    families_max: u64,
    family_bytes_max: usize,
    /// When somebody wrote to it last.
    touched: Mutex<Instant>,
    /// Whether there is something in its folder that a person may want to look at.
    is_damaged: bool,
}

/// What goes into the log in front of the next samples. Its lock is the order lock.
#[derive(Default)]
struct Pending {
    /// Records of new series, each with its kind byte.
    series: Vec<Vec<u8>>,
    /// Families whose metadata changed; their newest is what gets written. Each is in `Tenant::metadata`, so they are
    /// bounded with it.
    families: BTreeSet<String>,
}

/// What became of a batch in the head, and the ticket of its last record.
struct Logged {
    ticket: Option<Ticket>,
    applied: Applied,
}

impl Tenant {
    /// Opens a tenant's store in `dir`: reads its checkpoint and replays its log. Blocks on the disk.
    pub(crate) fn open(
        tenant: &TenantId,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        settings: &TsdbSettings,
        metrics: &HeadMetrics,
        tasks: &Tasks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TsdbError> {
        let blocks_settings = BlocksSettings {
            block_duration_ms: settings.block_duration_ms,
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
            upload_gate: settings.upload_gate.clone(),
        };
        let blocks = Blocks::open(Arc::clone(&disk), clock, &dir, blocks_settings)?;
        let mut head = Head::new(tenant.clone(), settings.clone(), metrics.clone());
        head.spill_to(Arc::clone(&disk), filenames::scratch(&dir))?;
        let metadata = Mutex::default();
        let (mut log_bytes, mut is_damaged) = (0, disk.exists(&filenames::damaged_checkpoint(&dir)));
        let ((wal, checkpoint), restored) = replay::replay(&head, &metadata, |deliver| {
            let checkpoint = read_checkpoint(&*disk, &dir, &mut *deliver)?;
            let sequence = checkpoint.sequence;
            // Numbers below are in the checkpoint: the log never gives them again.
            let wal_settings = WalSettings { sequence_min: sequence, ..settings.wal.clone() };
            let (wal, report) =
                Wal::open(Arc::clone(&disk), filenames::wal(&dir), wal_settings, tasks, |record| {
                    if record.sequence >= sequence {
                        log_bytes += record.bytes.len() as u64;
                        deliver(record.bytes);
                    }
                })?;
            is_damaged |= !report.damage.is_empty() || checkpoint.damaged > 0;
            Ok((wal, checkpoint))
        })?;
        if let Some(flushed_ms) = blocks.flushed_until_ms() {
            head.set_flushed_ms(flushed_ms);
        }
        metrics.checkpoint_damage.increment(checkpoint.damaged + restored.damaged);
        if restored.damaged > 0 {
            tracing::error!(
                %tenant, chunks = restored.damaged,
                "chunks in the checkpoint are not what their records say; they are left out"
            );
        }
        if restored.unknown > 0 {
            metrics.replay_unknown_samples.increment(restored.unknown);
            tracing::error!(
                %tenant, samples = restored.unknown,
                "samples in the log belong to series whose records were lost to damage; they are left out"
            );
        }
        Ok(Self {
            head,
            blocks,
            disk,
            dir,
            metrics: metrics.clone(),
            wal,
            log_bytes: AtomicU64::new(log_bytes),
            maintenance: Mutex::new(maintain::Maintenance::new(checkpoint.bytes)),
            pending: Mutex::default(),
            metadata,
            future_max_ms: i64::try_from(settings.future_max.as_millis()).unwrap_or(i64::MAX),
            families_max: settings.series_max,
            family_bytes_max: settings.label_bytes_max,
            touched: Mutex::new(Instant::now()),
            is_damaged,
        })
    }

    /// Notes that somebody writes to it.
    pub(crate) fn touch(&self) {
        *self.touched.lock() = Instant::now();
    }

    /// Whether there is nothing in it that anybody could miss, and nobody wrote for `idle`.
    pub(crate) fn is_unused(&self, idle: Duration) -> bool {
        self.touched.lock().elapsed() >= idle
            && self.head.is_without_samples()
            && self.blocks.readers().is_empty()
            && self.blocks.quarantined().is_empty()
            && !self.is_damaged
            && !self.disk.exists(&filenames::snapshots(&self.dir))
    }

    /// Takes no more records if none is on its way; tells whether it does so now.
    pub(crate) fn close_at_rest(&self) -> bool {
        self.wal.close_at_rest()
    }

    /// Removes its folder.
    pub(crate) fn remove_folder(&self) -> Result<(), TsdbError> {
        self.disk.remove_dir_all(&self.dir).map_err(|error| TsdbError::disk(&self.dir, error))
    }

    pub(crate) fn series(&self, labels: &Labels) -> Result<SeriesRef, TsdbError> {
        let place = self.head.series(labels, |place| {
            let series = &mut self.pending.lock().series;
            if series.last().is_none_or(|record| record.len() >= NAMES_RECORD_BYTES) {
                series.push(vec![SERIES]);
            }
            let record = series.last_mut().expect("pushed above when there was none");
            put_series(record, place.shard, place.local, labels.iter());
        })?;
        Ok(place.to_ref())
    }

    /// Stores a batch and waits until it is durable. Not cancel-safe: a cancelled append may be stored or not.
    pub(crate) async fn append(
        self: Arc<Self>,
        batch: SampleBatch,
        clock: &dyn Clock,
        tasks: &Tasks,
    ) -> Result<AppendOutcome, TsdbError> {
        check_shape(&batch)?;
        let permit = self.wal.admit().await?;
        let time_max_ms = clock.now_ms().saturating_add(self.future_max_ms);
        let ended = |error: tokio::task::JoinError| TsdbError::Task(error.to_string());
        let at_once = if self.is_short(&batch) { self.try_apply(&permit, &batch, time_max_ms) } else { None };
        let (ticket, outcome) = if let Some(logged) = at_once {
            if self.head.claim_closed() {
                let tenant = Arc::clone(&self);
                tasks.spawn_blocking("metrics-closed-chunks", move || tenant.head.write_closed());
            }
            if logged.applied.duplicates > 0 && self.head.has_appends() {
                let task = tasks.spawn_blocking("metrics-append-again", move || {
                    self.head.wait_for_appends();
                    self.finish(logged)
                });
                task.await.map_err(ended)?
            } else {
                self.finish(logged)
            }
        } else {
            let task = tasks.spawn_blocking("metrics-append", move || {
                let logged = self.apply(&permit, &batch, time_max_ms, &self.head.begin_append());
                if logged.applied.duplicates > 0 {
                    self.head.wait_for_appends();
                }
                let finished = self.finish(logged);
                if self.head.claim_closed() {
                    self.head.write_closed();
                }
                finished
            });
            task.await.map_err(ended)?
        };
        if let Some(ticket) = ticket {
            ticket.await?;
        }
        Ok(outcome)
    }

    /// Whether a batch takes so little time that it may be put into the head by an async thread.
    pub(crate) fn is_short(&self, batch: &SampleBatch) -> bool {
        let items = batch.histograms.len() + batch.exemplars.len();
        let fits = |items: usize| batch.len() + items * ITEM_SAMPLES <= INLINE_SAMPLES_MAX;
        fits(items) && fits(items + self.head.count_late(&batch.timestamps_ms))
    }

    /// Puts a batch into the head, unless it had to wait for a query that waits for a long append.
    fn try_apply(&self, permit: &Permit, batch: &SampleBatch, time_max_ms: i64) -> Option<Logged> {
        let visible = self.head.try_begin_append()?;
        Some(self.apply(permit, batch, time_max_ms, &visible))
    }

    /// Puts a batch into the head as part of the epoch `visible`, which the caller holds, and queues it for the log.
    fn apply(&self, permit: &Permit, batch: &SampleBatch, time_max_ms: i64, visible: &u64) -> Logged {
        let mut ticket = None;
        // The ticket of the last record stands for those in front of it.
        let mut log = |record: &[u8]| ticket = Some(self.log(permit, record));
        let items = batch.histograms.len().max(batch.exemplars.len());
        let applied = if batch.len() <= RECORD_SAMPLES_MAX && items <= RECORD_ITEMS_MAX {
            self.head.apply(batch, *visible, time_max_ms, &mut log)
        } else {
            // One append all the same: queries see it whole, as the parts become visible together.
            let mut applied = Applied::default();
            for part in parts(batch) {
                let of_part = self.head.apply(&part.batch, *visible, time_max_ms, &mut log);
                applied.extend(part.start, part.first_exemplar, of_part);
            }
            applied
        };
        Logged { ticket, applied }
    }

    /// The ticket to wait for, and what to answer then. The first append of duplicates may still be on its way to the
    /// log: the caller has waited until it has its place there, and the ticket is for all in front of this moment
    /// (TSDB-4).
    fn finish(&self, logged: Logged) -> (Option<Ticket>, AppendOutcome) {
        let Logged { mut ticket, applied } = logged;
        if applied.duplicates > 0 {
            ticket = Some(self.wal.barrier());
        }
        let Applied { report, stale_refs, refused, exemplars, stale_exemplar_refs, .. } = applied;
        (ticket, AppendOutcome { report, stale_refs, refused, exemplars, stale_exemplar_refs })
    }

    /// Queues a record for the log, behind the new series and metadata that wait.
    fn log(&self, permit: &Permit, record: &[u8]) -> Ticket {
        // The long part, before others have to wait.
        let mut scratch = Vec::new();
        let prepared = permit.prepare(record, &mut scratch);
        let mut pending = self.pending.lock();
        let mut bytes = record.len();
        for series in pending.series.drain(..) {
            bytes += series.len();
            permit.append(&series);
        }
        self.log_metadata(permit, std::mem::take(&mut pending.families));
        self.log_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        match prepared {
            Ok(prepared) => permit.append_prepared(&prepared),
            // Fails again, as a ticket that says so.
            Err(_) => permit.append(record),
        }
    }

    /// The right to put records into the log.
    pub(crate) async fn admit(&self) -> Result<Permit, TsdbError> {
        Ok(self.wal.admit().await?)
    }

    /// Writes what waits and ends the log.
    pub(crate) async fn close(&self) {
        self.wal.close().await;
    }
}

fn check_shape(batch: &SampleBatch) -> Result<(), TsdbError> {
    let (refs, timestamps, values) = (batch.refs.len(), batch.timestamps_ms.len(), batch.values.len());
    if refs != timestamps || refs != values {
        return Err(TsdbError::UnequalColumns { refs, timestamps, values });
    }
    let positions = &batch.histograms;
    if !positions.is_sorted_by(|a, b| a.0 < b.0)
        || positions.last().is_some_and(|last| last.0 as usize >= refs)
    {
        return Err(TsdbError::HistogramPositions);
    }
    Ok(())
}

/// A part of a batch that is small enough for its records.
struct BatchPart {
    start: usize,
    first_exemplar: usize,
    batch: SampleBatch,
}

/// Cuts a batch: samples first, then exemplars.
fn parts(batch: &SampleBatch) -> impl Iterator<Item = BatchPart> {
    let mut start = 0;
    let samples = std::iter::from_fn(move || {
        if start >= batch.len() {
            return None;
        }
        let first = batch.histograms.partition_point(|(position, _)| (*position as usize) < start);
        let too_many = batch.histograms.get(first + RECORD_ITEMS_MAX).map(|(position, _)| *position as usize);
        let end = too_many.unwrap_or(batch.len()).min(batch.len()).min(start + RECORD_SAMPLES_MAX);
        let last = batch.histograms.partition_point(|(position, _)| (*position as usize) < end);
        let offset = u32::try_from(start).expect("a batch has fewer than 2^32 samples");
        let moved = |(position, histogram): &(u32, _)| (position - offset, Clone::clone(histogram));
        let part = SampleBatch {
            refs: batch.refs[start..end].to_vec(),
            timestamps_ms: batch.timestamps_ms[start..end].to_vec(),
            values: batch.values[start..end].to_vec(),
            histograms: batch.histograms[first..last].iter().map(moved).collect(),
            exemplars: Vec::new(),
        };
        let part = BatchPart { start, first_exemplar: 0, batch: part };
        start = end;
        Some(part)
    });
    let exemplars = (0..).step_by(RECORD_ITEMS_MAX).zip(batch.exemplars.chunks(RECORD_ITEMS_MAX));
    let exemplars = exemplars.map(|(first_exemplar, some)| BatchPart {
        start: 0,
        first_exemplar,
        batch: SampleBatch { exemplars: some.to_vec(), ..SampleBatch::default() },
    });
    samples.chain(exemplars)
}

//! One tenant: its head, its log, its metadata, and the order in which they change.
//!
//! The order lock makes "take the new series, queue them, queue the samples" one step, so that no record can use a
//! series before the record that makes it (TSDB-4). A sample is put into the head before it is queued; if the log then
//! fails, the log still writes it as soon as it can (WAL-3), and whoever sends it again waits for that.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use format::head_record::{METADATA, MetadataItem, SAMPLES, SERIES, put_metadata, put_series, read_metadata};
use model::{Labels, MetricMetadata, MetricType, TenantId};
use parking_lot::Mutex;
use runtime::{Clock, Disk, Tasks};
use storage_api::{AppendOutcome, SampleBatch, SeriesRef};
use wal::{Permit, Ticket, Wal};

use crate::TsdbSettings;
use crate::error::TsdbError;
use crate::head::append::Applied;
use crate::head::replay::Restored;
use crate::head::{Head, SHARDS};
use crate::metrics::HeadMetrics;

/// Samples of one record, so that it stays far below the log's limit (26 bytes a sample at worst).
const RECORD_SAMPLES_MAX: usize = 1 << 20;

/// Larger batches leave the async threads: at 0.1 µs a sample they would hold one for over half a millisecond.
const INLINE_SAMPLES_MAX: usize = 5000;

/// New series and metadata are queued in records of about this size.
const NAMES_RECORD_BYTES: usize = 1 << 20;

/// Longest help and unit that are kept, bytes; longer ones are cut. People's texts are a few sentences.
const METADATA_TEXT_BYTES_MAX: usize = 4 << 10;

/// Records that wait for a replay worker: enough to keep it busy, little memory.
const REPLAY_QUEUE: usize = 64;

/// More workers than this only wait for the reader.
const REPLAY_WORKERS_MAX: u32 = 4;

pub(crate) struct Tenant {
    pub(crate) head: Head,
    wal: Wal,
    pending: Mutex<Pending>,
    metadata: Mutex<BTreeMap<String, MetricMetadata>>,
    future_max_ms: i64,
    families_max: u64,
    family_bytes_max: usize,
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

impl Tenant {
    /// Opens a tenant's store and replays its log. Blocks on the disk.
    pub(crate) fn open(
        tenant: &TenantId,
        disk: Arc<dyn Disk>,
        wal_dir: PathBuf,
        settings: &TsdbSettings,
        metrics: &HeadMetrics,
        tasks: &Tasks,
    ) -> Result<Self, TsdbError> {
        let head = Head::new(tenant.clone(), settings.clone(), metrics.clone());
        let metadata = Mutex::default();
        let (wal, restored) = replay(&head, &metadata, |deliver| {
            let (wal, _) =
                Wal::open(disk, wal_dir, settings.wal.clone(), tasks, |record| deliver(record.bytes))?;
            Ok(wal)
        })?;
        if restored.unknown > 0 {
            metrics.replay_unknown_samples.increment(restored.unknown);
            tracing::error!(
                %tenant, samples = restored.unknown,
                "samples in the log belong to series whose records were lost to damage; they are left out"
            );
        }
        let future_max_ms = i64::try_from(settings.future_max.as_millis()).unwrap_or(i64::MAX);
        let (families_max, family_bytes_max) = (settings.series_max, settings.label_bytes_max);
        let pending = Mutex::default();
        Ok(Self { head, wal, pending, metadata, future_max_ms, families_max, family_bytes_max })
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
        let (ticket, outcome) = if batch.len() <= INLINE_SAMPLES_MAX {
            self.apply(&permit, &batch, time_max_ms)
        } else {
            let task =
                tasks.spawn_blocking("metrics-append", move || self.apply(&permit, &batch, time_max_ms));
            task.await.map_err(|error| TsdbError::Task(error.to_string()))?
        };
        if let Some(ticket) = ticket {
            ticket.await?;
        }
        Ok(outcome)
    }

    fn apply(
        &self,
        permit: &Permit,
        batch: &SampleBatch,
        time_max_ms: i64,
    ) -> (Option<Ticket>, AppendOutcome) {
        let visible = self.head.begin_append();
        let mut ticket = None;
        let mut log = |record: &[u8]| {
            let mut pending = self.pending.lock();
            for series in pending.series.drain(..) {
                permit.append(&series);
            }
            self.log_metadata(permit, std::mem::take(&mut pending.families));
            // The ticket of the last record stands for those in front of it.
            ticket = Some(permit.append(record));
        };
        let applied = if batch.len() <= RECORD_SAMPLES_MAX {
            self.head.apply(batch, *visible, time_max_ms, &mut log)
        } else {
            // One append all the same: queries see it whole, as the parts become visible together.
            let mut applied = Applied::default();
            for start in (0..batch.len()).step_by(RECORD_SAMPLES_MAX) {
                let part = part(batch, start);
                applied.extend(start, self.head.apply(&part, *visible, time_max_ms, &mut log));
            }
            applied
        };
        drop(visible);
        if applied.duplicates > 0 {
            // The first append of these samples may still be on its way to the log: wait until it has its place
            // there, and then for all that is in front of this moment (TSDB-4).
            self.head.wait_for_appends();
            ticket = Some(self.wal.barrier());
        }
        let Applied { report, stale_refs, refused, .. } = applied;
        (ticket, AppendOutcome { report, stale_refs, refused, ..AppendOutcome::default() })
    }

    /// Queues the metadata of `changed` families. Takes the lock of the families inside the order lock; nobody takes
    /// them the other way round.
    fn log_metadata(&self, permit: &Permit, changed: BTreeSet<String>) {
        if changed.is_empty() {
            return;
        }
        let families = self.metadata.lock();
        let mut record = vec![METADATA];
        for metric in &changed {
            let Some(MetricMetadata { metric_type, help, unit }) = families.get(metric) else { continue };
            let metric_type = type_number(*metric_type);
            put_metadata(&mut record, &MetadataItem { metric, metric_type, help, unit });
            if record.len() >= NAMES_RECORD_BYTES {
                permit.append(&record);
                record.truncate(1);
            }
        }
        if record.len() > 1 {
            permit.append(&record);
        }
    }

    pub(crate) fn set_metadata(&self, metric: &str, metadata: &MetricMetadata) {
        let (help, unit) = (cut(&metadata.help), cut(&metadata.unit));
        let mut families = self.metadata.lock();
        let known = families.get(metric);
        if known.is_some_and(|known| {
            known.metric_type == metadata.metric_type && known.help == help && known.unit == unit
        }) {
            return;
        }
        if metric.len() > self.family_bytes_max {
            let (bytes, limit) = (metric.len(), self.family_bytes_max);
            return tracing::warn!(
                bytes,
                limit,
                "the name of a metric family is too long: metadata is not kept"
            );
        }
        if known.is_none() && families.len() as u64 >= self.families_max {
            return tracing::warn!(metric, "too many metric families: metadata is not kept");
        }
        let (help, unit) = (help.to_owned(), unit.to_owned());
        let metric_type = metadata.metric_type;
        families.insert(metric.to_owned(), MetricMetadata { metric_type, help, unit });
        drop(families);
        self.pending.lock().families.insert(metric.to_owned());
    }

    pub(crate) fn metadata(&self, metric: Option<&str>) -> Vec<(String, MetricMetadata)> {
        let families = self.metadata.lock();
        match metric {
            Some(metric) => {
                families.get(metric).map(|found| (metric.to_owned(), found.clone())).into_iter().collect()
            }
            None => families.iter().map(|(metric, found)| (metric.clone(), found.clone())).collect(),
        }
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
    if !batch.histograms.is_empty() || !batch.exemplars.is_empty() {
        return Err(TsdbError::FloatsOnly);
    }
    Ok(())
}

/// The samples of one record, from position `start` on.
fn part(batch: &SampleBatch, start: usize) -> SampleBatch {
    let range = start..batch.len().min(start + RECORD_SAMPLES_MAX);
    SampleBatch {
        refs: batch.refs[range.clone()].to_vec(),
        timestamps_ms: batch.timestamps_ms[range.clone()].to_vec(),
        values: batch.values[range].to_vec(),
        ..SampleBatch::default()
    }
}

/// As much of a text as is kept.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(METADATA_TEXT_BYTES_MAX)]
}

/// Runs `open`, which reads the log, with workers that fill the head: each owns some shards and gets every record, so
/// the records of a shard are applied in order.
fn replay(
    head: &Head,
    metadata: &Mutex<BTreeMap<String, MetricMetadata>>,
    open: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<Wal, TsdbError>,
) -> Result<(Wal, Restored), TsdbError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = u32::try_from(cores).unwrap_or(REPLAY_WORKERS_MAX).min(REPLAY_WORKERS_MAX).min(SHARDS);
    // Scoped threads: they are joined before this returns, so no task set needs to own them.
    std::thread::scope(|scope| {
        let start = |worker: u32| {
            let (sender, records) = sync_channel::<Arc<[u8]>>(REPLAY_QUEUE);
            (sender, scope.spawn(move || restore_all(head, &records, |shard| shard % workers == worker)))
        };
        let (senders, threads): (Vec<SyncSender<_>>, Vec<_>) = (0..workers).map(start).unzip();
        let wal = open(&mut |record| match record.split_first() {
            Some((&METADATA, items)) => restore_metadata(items, metadata),
            Some(_) => {
                let record: Arc<[u8]> = record.into();
                for sender in &senders {
                    // A worker ends only when its channel does.
                    sender
                        .send(Arc::clone(&record))
                        .expect("the worker is there until the sender is dropped");
                }
            }
            None => {}
        });
        drop(senders);
        let mut total = Restored::default();
        for thread in threads {
            let restored = thread.join().expect("a replay worker does not panic");
            total.samples += restored.samples;
            total.unknown += restored.unknown;
        }
        wal.map(|wal| (wal, total))
    })
}

fn restore_all(head: &Head, records: &Receiver<Arc<[u8]>>, mine: impl Fn(u32) -> bool) -> Restored {
    let mut total = Restored::default();
    for record in records {
        let restored = match record.split_first() {
            Some((&SERIES, items)) => head.restore_series(items, &mine).map(|()| Restored::default()),
            Some((&SAMPLES, items)) => head.restore_samples(items, &mine),
            _ => {
                tracing::error!(
                    kind = record[0],
                    "a record in the log is of an unknown kind and is left out"
                );
                continue;
            }
        };
        match restored {
            Ok(restored) => {
                total.samples += restored.samples;
                total.unknown += restored.unknown;
            }
            // Its checksum was right, so it was written like that: a defect of ours, or another version's record.
            Err(error) => tracing::error!(%error, "a record in the log cannot be read to its end"),
        }
    }
    total
}

fn restore_metadata(items: &[u8], metadata: &Mutex<BTreeMap<String, MetricMetadata>>) {
    let mut families = metadata.lock();
    let read = read_metadata(items, |item| {
        let known = MetricMetadata {
            metric_type: type_of_number(item.metric_type),
            help: item.help.to_owned(),
            unit: item.unit.to_owned(),
        };
        families.insert(item.metric.to_owned(), known);
    });
    if let Err(error) = read {
        tracing::error!(%error, "a metadata record in the log cannot be read to its end");
    }
}

/// Numbers of metric types in Prometheus' log (tsdb/record/record.go).
const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

fn type_number(metric_type: MetricType) -> u8 {
    let index = TYPES.iter().position(|known| *known == metric_type).expect("the table has every type");
    u8::try_from(index).expect("eight types")
}

fn type_of_number(number: u8) -> MetricType {
    TYPES.get(usize::from(number)).copied().unwrap_or_default()
}

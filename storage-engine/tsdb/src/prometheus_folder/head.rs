//! What the head of a Prometheus has, found as its start finds it (tsdb/head_wal.go): series and deletions out of the
//! log, then the chunks that it keeps on disk, then the samples of the log behind those, then the late ones.
//!
//! The log is read twice: chunks name series by numbers that the log explains, and deletions count for the samples in
//! front of them. Memory: 40 bytes a series and one segment of 128 MiB.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{
    ChunkSample, Intervals, PrometheusHeadChunk, PrometheusItem, read_chunk_samples,
    read_prometheus_head_chunks, read_prometheus_record,
};
use hashbrown::HashMap;
use model::{Exemplar, Labels, MetricMetadata, MetricType, NativeHistogram, TimeRange};
use storage_api::{SampleBatch, SeriesRef, StorageError, StorageResult};

use super::log::{Fault, log_files, numbered, read_segment};
use super::{PrometheusFolder, PrometheusHeadReport, PrometheusHeadSink};
use crate::block::failed;

/// Samples that are handed on at once.
const BATCH_SAMPLES: usize = 8192;

/// Faults that are described; more say nothing new.
const FAULTS_MAX: usize = 20;

/// A series of the log.
struct Known {
    series: SeriesRef,
    family: Arc<str>,
    /// Samples in order up to here are in chunks on disk, ms.
    chunks_until_ms: i64,
    deleted: Option<Box<Intervals>>,
}

struct Reading<'a> {
    sink: &'a mut dyn PrometheusHeadSink,
    progress: &'a mut dyn FnMut(u64, u64),
    report: PrometheusHeadReport,
    known: HashMap<u64, Known>,
    /// Names of metrics, each once.
    families: HashSet<Arc<str>>,
    distinct: HashSet<SeriesRef>,
    batch: SampleBatch,
    /// The first thing that the sink could not do.
    failure: Option<StorageError>,
    in_blocks_until_ms: i64,
    done_bytes: u64,
    all_bytes: u64,
}

/// Which samples of a log are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// None: series, deletions and metadata.
    Names,
    /// Those behind blocks and chunks.
    InOrder,
    /// All.
    Late,
}

/// Reads the head of `folder`.
pub(super) fn read(
    folder: &PrometheusFolder,
    sink: &mut dyn PrometheusHeadSink,
    progress: &mut dyn FnMut(u64, u64),
) -> StorageResult<PrometheusHeadReport> {
    let PrometheusFolder { disk, dir, .. } = folder;
    let paths = |files: Vec<(u64, PathBuf)>| files.into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    let log = log_files(&**disk, &dir.join("wal"))?;
    let late = paths(numbered(&**disk, &dir.join("wbl"))?);
    let chunks = paths(numbered(&**disk, &dir.join("chunks_head"))?);
    let mut all_bytes = 0;
    for path in log.iter().chain(&log).chain(&late).chain(&chunks) {
        let file = disk.open_read(path).map_err(|error| failed(path, &error))?;
        all_bytes += file.len().map_err(|error| failed(path, &error))?;
    }
    let mut reading = Reading {
        sink,
        progress,
        report: PrometheusHeadReport::default(),
        known: HashMap::new(),
        families: HashSet::new(),
        distinct: HashSet::new(),
        batch: SampleBatch::default(),
        failure: None,
        in_blocks_until_ms: folder.in_blocks_until_ms(),
        done_bytes: 0,
        all_bytes,
    };
    let load = |path: &Path| disk.read(path).map_err(|error| failed(path, &error));
    for path in &log {
        reading.log_file(path, &load(path)?, Pass::Names)?;
    }
    for path in &chunks {
        reading.chunk_file(path, &load(path)?)?;
    }
    for path in &log {
        reading.log_file(path, &load(path)?, Pass::InOrder)?;
    }
    for path in &late {
        reading.log_file(path, &load(path)?, Pass::Late)?;
    }
    reading.hand_on();
    reading.check()?;
    reading.report.series = reading.distinct.len() as u64;
    Ok(reading.report)
}

impl Reading<'_> {
    fn log_file(&mut self, path: &Path, bytes: &[u8], pass: Pass) -> StorageResult<()> {
        let fault = read_segment(path, bytes, |record| {
            let known = read_prometheus_record(record, |item| self.item(item, pass));
            match known {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("a record of type {} is not known", record[0])),
                Err(error) => Err(error.to_string()),
            }
        });
        // The passes over one file find the same.
        match fault.filter(|_| pass != Pass::InOrder) {
            Some(Fault::Torn(bytes)) => self.report.torn_bytes += bytes,
            Some(Fault::Damage(text)) => self.fault(text),
            None => {}
        }
        self.done(bytes.len());
        self.check()
    }

    fn chunk_file(&mut self, path: &Path, bytes: &[u8]) -> StorageResult<()> {
        let mut wrong = None;
        let read = read_prometheus_head_chunks(bytes, |chunk| {
            wrong = wrong.take().or(self.chunk(&chunk).err());
        });
        if let Some(error) = wrong.or(read.err()) {
            self.fault(format!("{}: {error}", path.display()));
        }
        self.done(bytes.len());
        self.check()
    }

    fn fault(&mut self, text: String) {
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(text);
        }
    }

    fn done(&mut self, bytes: usize) {
        self.done_bytes += bytes as u64;
        (self.progress)(self.done_bytes, self.all_bytes);
    }

    fn check(&mut self) -> StorageResult<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn item(&mut self, item: PrometheusItem<'_>, pass: Pass) {
        match (item, pass) {
            (PrometheusItem::Series { series, labels }, Pass::Names) => self.name(series, &labels),
            (PrometheusItem::Deletion { series, first_ms, last_ms }, Pass::Names) => {
                if let Some(known) = self.known.get_mut(&series) {
                    let range = TimeRange::new(first_ms, last_ms);
                    known.deleted.get_or_insert_default().add(range);
                }
            }
            (PrometheusItem::Metadata { series, metric_type, help, unit }, Pass::Names) => {
                if let Some(known) = self.known.get(&series) {
                    let metric_type = MetricType::ALL.get(usize::from(metric_type)).copied();
                    let metric_type = metric_type.unwrap_or_default();
                    let told = MetricMetadata { metric_type, help: help.to_owned(), unit: unit.to_owned() };
                    self.sink.metadata(&known.family, &told);
                }
            }
            (PrometheusItem::Float { series, time_ms, value }, Pass::InOrder | Pass::Late) => {
                self.sample(series, time_ms, ChunkSample::Float(value), pass);
            }
            (PrometheusItem::Histogram { series, time_ms, histogram }, Pass::InOrder | Pass::Late) => {
                self.sample(series, time_ms, ChunkSample::Histogram(histogram), pass);
            }
            (PrometheusItem::Exemplar { series, time_ms, value, labels }, Pass::InOrder) => {
                let Some(known) = self.known.get(&series) else {
                    self.report.unknown += 1;
                    return;
                };
                let labels = Labels::from_pairs(labels);
                self.batch.push_exemplar(known.series, Exemplar { labels, value, timestamp_ms: time_ms });
                self.report.exemplars += 1;
            }
            _ => {}
        }
    }

    fn name(&mut self, number: u64, labels: &[(&str, &str)]) {
        let labels = Labels::from_pairs(labels.iter().copied().filter(|(_, value)| !value.is_empty()));
        let series = match self.sink.series(&labels) {
            Ok(series) => series,
            Err(error) => {
                self.failure.get_or_insert(error);
                return;
            }
        };
        self.distinct.insert(series);
        let name = labels.metric_name().unwrap_or_default();
        let family = self.families.get(name).cloned().unwrap_or_else(|| {
            let family: Arc<str> = name.into();
            self.families.insert(Arc::clone(&family));
            family
        });
        let new = Known { series, family, chunks_until_ms: i64::MIN, deleted: None };
        self.known.entry(number).or_insert(new);
    }

    fn chunk(&mut self, chunk: &PrometheusHeadChunk<'_>) -> Result<(), format::FormatError> {
        let is_repeated = !chunk.is_out_of_order && chunk.max_ms < self.in_blocks_until_ms;
        if is_repeated {
            return Ok(());
        }
        let pass = if chunk.is_out_of_order { Pass::Late } else { Pass::InOrder };
        // Known only once all of it was read: what is damaged comes out of the log.
        let mut samples = Vec::new();
        read_chunk_samples(chunk.encoding, chunk.data, |time_ms, sample| samples.push((time_ms, sample)))?;
        for (time_ms, sample) in samples {
            self.sample(chunk.series, time_ms, sample, pass);
        }
        if let Some(known) = self.known.get_mut(&chunk.series).filter(|_| !chunk.is_out_of_order) {
            known.chunks_until_ms = known.chunks_until_ms.max(chunk.max_ms);
        }
        Ok(())
    }

    fn sample(&mut self, number: u64, time_ms: i64, sample: ChunkSample, pass: Pass) {
        let Some(known) = self.known.get(&number) else {
            self.report.unknown += 1;
            return;
        };
        if pass == Pass::InOrder && (time_ms < self.in_blocks_until_ms || time_ms <= known.chunks_until_ms) {
            self.report.repeated += 1;
            return;
        }
        if known.deleted.as_ref().is_some_and(|deleted| deleted.contains(time_ms)) {
            self.report.deleted += 1;
            return;
        }
        match sample {
            ChunkSample::Float(value) => {
                self.batch.push(known.series, time_ms, value);
                self.report.floats += 1;
            }
            ChunkSample::Histogram(histogram) => {
                self.batch.push_histogram(known.series, time_ms, without_guess(histogram));
                self.report.histograms += 1;
            }
        }
        if self.batch.len() >= BATCH_SAMPLES {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() || self.failure.is_some() {
            return;
        }
        match self.sink.append(batch) {
            Ok(report) => self.report.stored.merge(report),
            Err(error) => self.failure = Some(error),
        }
    }
}

/// Chunks say of a histogram whether a reset lies before it; what they are put into finds that out again.
fn without_guess(mut histogram: NativeHistogram) -> NativeHistogram {
    let hint = match &mut histogram {
        NativeHistogram::Integer(histogram) => &mut Arc::make_mut(histogram).counter_reset_hint,
        NativeHistogram::Float(histogram) => &mut Arc::make_mut(histogram).counter_reset_hint,
    };
    if *hint == model::CounterResetHint::NotReset {
        *hint = model::CounterResetHint::Unknown;
    }
    histogram
}

//! Turns the entries of a range aggregation into series: reads pages on all threads and gives each sample to its
//! series, either as counts per set of windows or, for unwrapped values, as single samples.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use model::{ErrorKind, Labels, LogEntries, TimeRange};
use storage_api::EntryCount;

use super::counted::{Counted, MINUTE_NS};
use super::grid::Windows;
use crate::pipeline::{
    CompiledLabelFilter, ERROR_LABEL, EntryLabels, PRESERVE_ERROR_LABEL, Pipeline, PipelineRun, StageError,
    Wanted,
};
use crate::scan::{self, Budget, PageVisitor, ScanPage};
use crate::syntax::Conversion;
use crate::units::{go_seconds, parse_bytes, parse_go_duration, parse_go_float};
use crate::{LogqlError, LogqlResult};

/// Which labels samples keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    /// Sorted.
    By(Vec<String>),
    Without(Vec<String>),
}

/// What a sample's value is.
#[derive(Clone, Debug)]
pub(super) enum ValueOf {
    /// 1 per entry.
    Entry,
    /// The line's length.
    LineBytes,
    /// A label.
    Label { name: String, conversion: Conversion, filters: Vec<CompiledLabelFilter> },
}

/// How a range aggregation takes its samples.
#[derive(Clone, Debug)]
pub(super) struct SampleSpec {
    pub(super) pipeline: Pipeline,
    pub(super) wanted: Arc<Wanted>,
    pub(super) keep: Keep,
    pub(super) value: ValueOf,
    pub(super) windows: Windows,
}

/// Entries that count for the same steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// Samples of one series.
#[derive(Clone, Debug, Default)]
pub(super) struct SeriesSamples {
    /// For counts; in no order.
    pub(super) runs: Vec<Run>,
    /// For values: time and value; in no order.
    pub(super) values: Vec<(i64, f64)>,
}

/// All series of a range aggregation.
pub(super) type SampleSeries = HashMap<Labels, SeriesSamples>;

/// Reads the samples of planned pages, and adds what was counted instead of being read.
pub(super) async fn collect(
    tasks: &runtime::Tasks,
    budget: &Arc<Budget>,
    mut pages: Vec<ScanPage>,
    counted: Arc<Counted>,
    spec: Arc<SampleSpec>,
    threads: usize,
) -> LogqlResult<SampleSeries> {
    let visitor = || Visitor::new(&spec, &counted, budget);
    let mut all = if counted.streams.is_empty() {
        SampleSeries::default()
    } else {
        let adding = visitor();
        let added = tasks.spawn_blocking("logql counts", move || adding.counts());
        added.await.map_err(|error| {
            LogqlError::new(ErrorKind::Internal, format!("adding what was counted failed: {error}"))
        })??
    };
    // Any order will do: that in which they are stored, so that what several have in common is decoded once.
    pages.sort_by_key(|page| page.page.place());
    let visitors = (0..threads.min(pages.len()).max(1)).map(|_| visitor()).collect();
    for table in scan::run(tasks, budget, Arc::new(pages), visitors).await? {
        if all.is_empty() {
            all = table;
            continue;
        }
        for (labels, samples) in table {
            let known = all.entry(labels).or_default();
            known.runs.extend(samples.runs);
            known.values.extend(samples.values);
        }
    }
    Ok(all)
}

/// The metadata by which stores count.
const LEVEL: &str = "detected_level";
/// What remembering an entry that may come again costs.
const CONTESTED_ENTRY_BYTES: usize = 32;
/// Charged at once when this much more is held.
const CHARGE_BYTES: usize = 1 << 20;

struct Visitor {
    spec: Arc<SampleSpec>,
    counted: Arc<Counted>,
    budget: Arc<Budget>,
    run: PipelineRun,
    table: SeriesTable,
    hits: Vec<u32>,
    /// How much of what the table holds was charged.
    charged_bytes: usize,
}

impl Visitor {
    fn new(spec: &Arc<SampleSpec>, counted: &Arc<Counted>, budget: &Arc<Budget>) -> Self {
        Self {
            spec: Arc::clone(spec),
            counted: Arc::clone(counted),
            budget: Arc::clone(budget),
            run: PipelineRun::new(&spec.pipeline, Arc::clone(&spec.wanted)),
            table: SeriesTable::default(),
            hits: Vec::new(),
            charged_bytes: 0,
        }
    }
}

impl PageVisitor for Visitor {
    type Output = SampleSeries;

    fn visit(&mut self, _index: usize, page: &ScanPage) -> LogqlResult<bool> {
        let range = self.spec.windows.samples();
        if !page.page.range().overlaps(range) {
            return Ok(true);
        }
        let Some((entries, rows)) = scan::search(&*page.page, &self.budget)? else { return Ok(true) };
        let (line_bytes, metadata_bytes) = scan::text_bytes(&entries, rows.clone());
        let inside = scan::inside(&entries, rows, range);
        let left = self.counted.left_to_read(&page.labels, &entries, inside);
        let lines = left.iter().map(ExactSizeIterator::len).sum();
        self.budget.charge_page(line_bytes + metadata_bytes, metadata_bytes, lines)?;
        self.run.set_stream(&page.labels);
        self.table.base_series = None;
        let search = self.spec.pipeline.search();
        let mut hits = std::mem::take(&mut self.hits);
        hits.clear();
        if search.is_empty() && self.counts_without_looking(&entries, page) {
            left.into_iter().for_each(|inside| self.count_all(&entries, page, inside));
        } else {
            left.into_iter().for_each(|inside| search.select(&entries, inside, &mut hits));
            self.sample_hits(&entries, page, &hits)?;
        }
        self.hits = hits;
        if let Some(labels) = &self.table.failed {
            return Err(pipeline_failed(labels));
        }
        self.charge(0)?;
        Ok(true)
    }

    fn finish(self) -> SampleSeries {
        self.table.into_series()
    }
}

impl Visitor {
    /// Samples of what the store counted.
    fn counts(mut self) -> LogqlResult<SampleSeries> {
        let counted = Arc::clone(&self.counted);
        let mut of_level: HashMap<&str, usize> = HashMap::new();
        for stream in &counted.streams {
            self.budget.check_time()?;
            self.run.set_stream(&stream.labels);
            self.table.base_series = None;
            of_level.clear();
            for bucket in &stream.buckets {
                let start_ns = bucket.minute.saturating_mul(MINUTE_NS);
                // Edges are starts of buckets, so that whatever comes later is in the windows of the next nanosecond.
                let parts = [(start_ns, bucket.at_start), (start_ns.saturating_add(1), bucket.later)];
                for (time, EntryCount { entries: count, bytes }) in parts {
                    let steps = self.spec.windows.steps(time).filter(|_| count > 0);
                    let Some((first, last, _)) = steps else { continue };
                    let series = match of_level.get(&*bucket.level) {
                        Some(&series) => series,
                        None => {
                            *of_level.entry(&bucket.level).insert(self.series_of_level(&bucket.level)).get()
                        }
                    };
                    self.table.add_run(series, Run { first, last, count, bytes });
                }
            }
            self.charge(0)?;
        }
        Ok(self.table.into_series())
    }

    /// The series of entries of the stream that have this level, or none, and no other metadata that matters.
    fn series_of_level(&mut self, level: &str) -> usize {
        let mut entry = LogEntries::new();
        entry.push(0, "", (!level.is_empty()).then_some((LEVEL, level)));
        self.run.process(0, "", entry.metadata(0));
        self.table.series_of(self.run.labels(), &self.spec.keep)
    }

    /// Whether every entry of the page counts for the same series, whatever its line and metadata.
    fn counts_without_looking(&self, entries: &LogEntries, page: &ScanPage) -> bool {
        let one_series = match &self.spec.keep {
            Keep::By(names) => names.iter().all(|name| page.labels.get(name).is_some()),
            Keep::All | Keep::Without(_) => false,
        };
        let no_metadata = entries.text_bytes() == entries.lines().len();
        self.spec.pipeline.is_search_only()
            && page.contested.is_empty()
            && !matches!(self.spec.value, ValueOf::Label { .. })
            && (one_series || no_metadata)
    }

    fn count_all(&mut self, entries: &LogEntries, page: &ScanPage, inside: std::ops::Range<usize>) {
        self.run.process(0, "", model::MetadataPairs::default());
        let series = self.table.series_of(self.run.labels(), &self.spec.keep);
        let times = entries.timestamps_ns();
        let ends = entries.line_ends();
        let offset = |at: usize| if at == 0 { 0 } else { u64::from(ends[at - 1]) };
        let mut at = inside.start;
        while at < inside.end {
            let Some((first, last, same_until)) = self.spec.windows.steps(times[at]) else {
                let next = self.spec.windows.next_covered(times[at]);
                at = at + 1 + times[at + 1..inside.end].partition_point(|&time| time < next);
                continue;
            };
            let end = at + times[at..inside.end].partition_point(|&time| time <= same_until);
            let run = Run { first, last, count: (end - at) as u64, bytes: offset(end) - offset(at) };
            self.table.add_run(series, run);
            at = end;
        }
        debug_assert!(page.contested.is_empty(), "copies would be counted twice");
        self.budget.lines_kept.fetch_add(inside.len() as u64, Ordering::Relaxed);
    }

    /// Charges what the table holds more than before, when it is at least `bytes`.
    fn charge(&mut self, bytes: usize) -> LogqlResult<()> {
        let more = self.table.held_bytes - self.charged_bytes;
        if more >= bytes {
            self.charged_bytes = self.table.held_bytes;
            self.budget.charge_memory(more)?;
        }
        Ok(())
    }

    fn sample_hits(&mut self, entries: &LogEntries, page: &ScanPage, hits: &[u32]) -> LogqlResult<()> {
        // Steps of the last sample: neighbours mostly share them.
        let mut steps: Option<(u32, u32, i64)> = None;
        let mut steps_from = i64::MIN;
        let mut kept = 0u64;
        for &hit in hits {
            self.budget.check_stop()?;
            let at = hit as usize;
            let time = entries.timestamps_ns()[at];
            if !page.contested.is_empty() {
                self.table.held_bytes += CONTESTED_ENTRY_BYTES;
                if !page.contested.is_first(entries, at) {
                    continue;
                }
            }
            let line = entries.line(at);
            if !self.run.process(time, line, entries.metadata(at)) {
                continue;
            }
            let value = match &self.spec.value {
                ValueOf::Entry => None,
                ValueOf::LineBytes => None,
                ValueOf::Label { name, conversion, filters } => {
                    match unwrap(self.run.labels_mut(), name, *conversion, filters) {
                        Some(value) => Some(value),
                        None => continue,
                    }
                }
            };
            kept += 1;
            // One entry may make a label of a MiB: a page is too late.
            self.charge(CHARGE_BYTES)?;
            if !steps.is_some_and(|(_, _, until)| steps_from <= time && time <= until) {
                steps = self.spec.windows.steps(time);
                steps_from = time;
            }
            let Some((first, last, _)) = steps else { continue };
            let series = self.table.series_of(self.run.labels(), &self.spec.keep);
            match value {
                Some(value) => self.table.add_value(series, time, value),
                None => {
                    let bytes = self.run.line(line).len() as u64;
                    self.table.add_run(series, Run { first, last, count: 1, bytes });
                }
            }
        }
        self.budget.lines_kept.fetch_add(kept, Ordering::Relaxed);
        Ok(())
    }
}

/// The number in a label; `None` when there is none or a filter after it refuses the entry. A text that is no number
/// marks the entry and counts as 0, so that filters may drop it.
fn unwrap(
    labels: &mut EntryLabels,
    name: &str,
    conversion: Conversion,
    filters: &[CompiledLabelFilter],
) -> Option<f64> {
    let text = labels.get(name).filter(|text| !text.is_empty())?;
    let converted = match conversion {
        Conversion::Number => parse_go_float(text),
        Conversion::Bytes => parse_bytes(text).map(|bytes| bytes as f64),
        Conversion::Duration | Conversion::DurationSeconds => parse_go_duration(text).map(go_seconds),
    };
    let value = match converted {
        Ok(value) => value,
        Err(reason) => {
            labels.set_error(StageError::SampleExtraction, &reason);
            0.0
        }
    };
    filters.iter().all(|filter| filter.keeps(labels)).then_some(value)
}

/// Series of one thread, found by the labels that samples keep.
#[derive(Default)]
struct SeriesTable {
    /// By the text of the kept labels in the order in which entries have them.
    by_text: HashMap<String, usize>,
    by_labels: HashMap<Labels, usize>,
    series: Vec<(Labels, SeriesSamples)>,
    /// Series of entries of the current page whose labels are just the stream's.
    base_series: Option<usize>,
    key: String,
    held_bytes: usize,
    /// The first series whose entries have an error.
    failed: Option<Labels>,
}

impl SeriesTable {
    fn series_of(&mut self, labels: &EntryLabels, keep: &Keep) -> usize {
        let unchanged = labels.is_unchanged();
        if unchanged && let Some(series) = self.base_series {
            return series;
        }
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let mut push = |name: &str, value: &str| {
            key.push_str(name);
            key.push('\0');
            key.push_str(value);
            key.push('\0');
        };
        // An entry with an error keeps all labels, so that the error can be shown.
        let keep = if labels.has_error() { &Keep::All } else { keep };
        match keep {
            Keep::All => labels.all().for_each(|(name, value)| push(name, value)),
            Keep::By(names) => names.iter().for_each(|name| push(name, labels.get(name).unwrap_or(""))),
            Keep::Without(names) => {
                let kept = labels.all().filter(|(name, _)| !names.iter().any(|gone| gone == name));
                kept.for_each(|(name, value)| push(name, value));
            }
        }
        let series = match self.by_text.get(&key) {
            Some(&series) => series,
            None => self.add_series(labels, keep, &key),
        };
        self.key = key;
        if unchanged {
            self.base_series = Some(series);
        }
        series
    }

    fn add_series(&mut self, labels: &EntryLabels, keep: &Keep, key: &str) -> usize {
        let kept = match keep {
            Keep::All => labels.to_labels(),
            Keep::By(names) => Labels::from_pairs(
                names.iter().filter_map(|name| labels.get(name).map(|value| (name.as_str(), value))),
            ),
            Keep::Without(names) => {
                Labels::from_pairs(labels.all().filter(|(name, _)| !names.iter().any(|gone| gone == name)))
            }
        };
        if self.failed.is_none() && labels.has_error() && pipeline_error(&kept).is_some() {
            self.failed = Some(kept.clone());
        }
        self.held_bytes += key.len() + kept.text_bytes() + 256;
        let series = *self.by_labels.entry(kept).or_insert_with_key(|kept| {
            self.series.push((kept.clone(), SeriesSamples::default()));
            self.series.len() - 1
        });
        self.by_text.insert(key.to_owned(), series);
        series
    }

    fn add_run(&mut self, series: usize, run: Run) {
        let runs = &mut self.series[series].1.runs;
        match runs.last_mut() {
            Some(last) if last.first == run.first && last.last == run.last => {
                last.count += run.count;
                last.bytes += run.bytes;
            }
            _ => {
                runs.push(run);
                self.held_bytes += size_of::<Run>();
            }
        }
    }

    fn add_value(&mut self, series: usize, time_ns: i64, value: f64) {
        self.series[series].1.values.push((time_ns, value));
        self.held_bytes += size_of::<(i64, f64)>();
    }

    fn into_series(self) -> SampleSeries {
        self.series.into_iter().collect()
    }
}

/// The error that an entry of this series carries, unless the query asked for it.
fn pipeline_error(labels: &Labels) -> Option<&str> {
    labels.get(ERROR_LABEL).filter(|_| labels.get(PRESERVE_ERROR_LABEL) != Some("true"))
}

/// Loki's text (`PipelineError` in pkg/logqlmodel/error.go), which Grafana shows as it is.
fn pipeline_failed(labels: &Labels) -> LogqlError {
    let kind = labels.get(ERROR_LABEL).unwrap_or("");
    LogqlError::limit(format!(
        "pipeline error: '{kind}' for series: '{labels}'.\n\
         Use a label filter to intentionally skip this error. (e.g | __error__!=\"{kind}\").\n\
         To skip all potential errors you can match empty errors.(e.g __error__=\"\")\n\
         The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    ))
}

/// Time range to select for a spec.
pub(super) fn select_range(spec: &SampleSpec) -> TimeRange {
    spec.windows.samples()
}

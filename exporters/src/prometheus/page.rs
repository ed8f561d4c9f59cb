//! The last value of every series, and the page that they make.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use model::{Exemplar, Labels, MetricMetadata, MetricType, NativeHistogram, is_stale_nan};
use pipelines::PipelineError;
use smallvec::SmallVec;
use wire::otlp_to_prometheus::{Resolved, SampleSink, SeriesKey, SeriesResolver};
use wire::prometheus_text::{put_family, put_sample};
use wire::remote_write::family_of;

/// Number of a series on the page.
type SeriesNumber = u32;

/// Series and what is known about their families.
pub(super) struct SeriesPage {
    /// Series by where they come from: a memo, which starts over when it has more than twice the series of a full page.
    runs: HashMap<SeriesKey, SmallVec<[SeriesNumber; 2]>>,
    /// Numbers in `runs`.
    run_numbers: usize,
    numbers: HashMap<Labels, SeriesNumber>,
    series: Vec<Series>,
    families: BTreeMap<String, MetricMetadata>,
    series_max: usize,
    /// When series were last looked through for those that have expired, ms.
    looked_ms: i64,
}

struct Series {
    labels: Labels,
    /// Value and its time, ms; `None` when there is none, or none any more.
    last: Option<(f64, i64)>,
    /// When the last value came, ms.
    came_ms: i64,
}

/// The values of one batch.
#[derive(Default)]
pub(super) struct Values {
    list: Vec<(SeriesNumber, i64, f64)>,
    /// Points that are native histograms.
    pub(super) natives: u64,
}

impl SampleSink<SeriesNumber> for Values {
    fn point(&mut self, handles: &[SeriesNumber], timestamp_ms: i64, values: &[f64]) {
        self.list.extend(handles.iter().zip(values).map(|(&series, &value)| (series, timestamp_ms, value)));
    }

    fn histogram(&mut self, _: SeriesNumber, _: i64, _: NativeHistogram) {
        self.natives += 1;
    }

    fn exemplar(&mut self, _: SeriesNumber, _: Exemplar) {}

    fn target_info(&mut self, handle: SeriesNumber, timestamp_ms: i64) {
        self.list.push((handle, timestamp_ms, 1.0));
    }
}

impl SeriesResolver for SeriesPage {
    type Handle = SeriesNumber;
    type Error = PipelineError;

    fn lookup(&mut self, key: SeriesKey) -> Option<&[SeriesNumber]> {
        self.runs.get(&key).map(|run| run.as_slice())
    }

    fn insert(
        &mut self,
        key: SeriesKey,
        series: &[Labels],
    ) -> Result<Resolved<'_, SeriesNumber>, PipelineError> {
        let new = series.iter().filter(|labels| !self.numbers.contains_key(*labels)).count();
        if self.series.len() + new > self.series_max {
            let message = format!(
                "the page holds {} series, max_series of the exporter allows no more",
                self.series_max
            );
            return Ok(Resolved::Refused { reason: "max_series", message });
        }
        let mut run = SmallVec::with_capacity(series.len());
        for labels in series {
            let next = SeriesNumber::try_from(self.series.len()).expect("memory holds fewer series");
            let number = *self.numbers.entry(labels.clone()).or_insert(next);
            if number == next {
                self.series.push(Series { labels: labels.clone(), last: None, came_ms: 0 });
            }
            run.push(number);
        }
        if self.run_numbers + run.len() > self.series_max.saturating_mul(2) {
            self.runs.clear();
            self.run_numbers = 0;
        }
        self.run_numbers += run.len();
        Ok(Resolved::Handles(self.runs.entry(key).insert(run).into_mut()))
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        // Families of refused points come here too. What a full page does not know is of no type.
        let has_room = self.families.len() < self.series_max || self.families.contains_key(family);
        if has_room && self.families.get(family) != Some(metadata) {
            self.families.insert(family.to_owned(), metadata.clone());
        }
    }
}

impl SeriesPage {
    pub(super) fn new(series_max: usize) -> Self {
        Self {
            runs: HashMap::new(),
            run_numbers: 0,
            numbers: HashMap::new(),
            series: Vec::new(),
            families: BTreeMap::new(),
            series_max,
            looked_ms: i64::MIN,
        }
    }

    /// Forgets series that have expired, for pages that nobody scrapes: a few times in the life of a series, as every
    /// series is looked at.
    pub(super) fn expire_when_due(&mut self, now_ms: i64, expiration_ms: i64) {
        if now_ms.saturating_sub(self.looked_ms) >= expiration_ms / 4 {
            self.looked_ms = now_ms;
            self.expire(now_ms.saturating_sub(expiration_ms));
        }
    }

    /// Takes the values of a batch; of each series the newest counts.
    pub(super) fn put(&mut self, values: Values, now_ms: i64) {
        for (number, timestamp_ms, value) in values.list {
            let series = &mut self.series[number as usize];
            if series.last.is_none_or(|(_, known_ms)| known_ms <= timestamp_ms) {
                // A point that says that there is no value takes the series off the page.
                series.last = (!is_stale_nan(value)).then_some((value, timestamp_ms));
                series.came_ms = now_ms;
            }
        }
    }

    /// Forgets series whose last value came before `oldest_ms`.
    pub(super) fn expire(&mut self, oldest_ms: i64) {
        if self.series.iter().all(|series| series.came_ms >= oldest_ms) {
            return;
        }
        self.series.retain(|series| series.came_ms >= oldest_ms);
        self.runs.clear();
        self.run_numbers = 0;
        self.numbers.clear();
        for (number, series) in self.series.iter().enumerate() {
            let number = SeriesNumber::try_from(number).expect("fewer than before");
            self.numbers.insert(series.labels.clone(), number);
        }
        let mut families = std::mem::take(&mut self.families);
        let left: HashSet<&str> =
            self.series.iter().map(|series| family(&families, &series.labels)).collect();
        let left: HashSet<String> = left.into_iter().map(str::to_owned).collect();
        families.retain(|name, _| left.contains(name));
        self.families = families;
    }

    /// What the page shows now, to be written when the series are free again: the labels are shared, not copied.
    pub(super) fn snapshot(&self) -> Snapshot {
        let shown = |series: &Series| series.last.map(|last| (series.labels.clone(), last));
        Snapshot { series: self.series.iter().filter_map(shown).collect(), families: self.families.clone() }
    }
}

/// The values of a page at one moment.
pub(super) struct Snapshot {
    /// Value and its time, ms, of each series, in the order in which they came.
    series: Vec<(Labels, (f64, i64))>,
    families: BTreeMap<String, MetricMetadata>,
}

impl Snapshot {
    /// The page: families by name, series in the order in which they came.
    pub(super) fn render(&self, with_times: bool) -> String {
        let mut by_family: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, (labels, _)) in self.series.iter().enumerate() {
            by_family.entry(family(&self.families, labels)).or_default().push(index);
        }
        let unknown =
            MetricMetadata { metric_type: MetricType::Unknown, help: String::new(), unit: String::new() };
        let mut out = String::new();
        for (family, list) in by_family {
            put_family(&mut out, family, self.families.get(family).unwrap_or(&unknown));
            for (labels, (value, timestamp_ms)) in list.into_iter().map(|index| &self.series[index]) {
                put_sample(&mut out, labels, *value, with_times.then_some(*timestamp_ms));
            }
        }
        out
    }
}

/// The family of a series: its name, or for parts of a histogram or summary the name without its suffix.
fn family<'a>(families: &BTreeMap<String, MetricMetadata>, labels: &'a Labels) -> &'a str {
    let name = labels.metric_name().unwrap_or_default();
    if families.contains_key(name) {
        return name;
    }
    let Some((stem, _)) = name.rsplit_once('_') else { return name };
    match families.get(stem) {
        Some(known) if family_of(labels, known.metric_type) == stem => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests;

//! The series that were sent before, by the hash of their wire bytes, and the samples of one batch.
//!
//! The table is bounded: [`SeriesTable::make_room`] empties a full one between two batches, so that numbers stay valid
//! for the whole of a batch.

use hashbrown::HashMap;
use model::{Exemplar, Labels, MetricMetadata, NativeHistogram, Sample};
use pipelines::PipelineError;
use smallvec::SmallVec;
use wire::otlp_to_prometheus::{Resolved, SampleSink, SeriesKey, SeriesResolver};
use wire::remote_write::family_of;
use xxhash_rust::xxh3::Xxh3;

/// Number of a series in a [`SeriesTable`].
pub(super) type SeriesNumber = u32;

/// Labels by number, numbers by key.
pub(super) struct SeriesTable {
    runs: HashMap<SeriesKey, SmallVec<[SeriesNumber; 2]>>,
    labels: Vec<(Labels, u64)>,
    /// What is known about each family.
    families: HashMap<String, MetricMetadata>,
    /// Families that became known since [`SeriesTable::take_new_families`].
    new_families: Vec<String>,
    series_max: usize,
}

impl SeriesTable {
    /// A table of about `series_max` series.
    pub(super) fn new(series_max: usize) -> Self {
        let (runs, labels, families, new_families) = Default::default();
        Self { runs, labels, families, new_families, series_max }
    }

    /// Forgets everything if the table is full. Not inside a batch.
    pub(super) fn make_room(&mut self) {
        if self.labels.len() >= self.series_max {
            self.runs.clear();
            self.labels.clear();
            self.families.clear();
            self.new_families.clear();
        }
    }

    /// What is known about the family of a series.
    pub(super) fn metadata_of(&self, series: SeriesNumber) -> Option<&MetricMetadata> {
        let labels = self.labels(series);
        let name = labels.metric_name()?;
        // A classic histogram's family is its series' name without the suffix.
        self.families.get(name).or_else(|| {
            let (family, _) = name.rsplit_once('_')?;
            self.families.get(family).filter(|known| family_of(labels, known.metric_type) == family)
        })
    }

    /// Families that became known since the last call, with what is known.
    pub(super) fn take_new_families(&mut self) -> Vec<(String, MetricMetadata)> {
        let new = std::mem::take(&mut self.new_families);
        new.into_iter()
            .filter_map(|family| Some((family.clone(), self.families.get(&family)?.clone())))
            .collect()
    }

    pub(super) fn labels(&self, series: SeriesNumber) -> &Labels {
        &self.labels[series as usize].0
    }

    /// A hash of the labels alone: equal labels have equal hashes, by whatever key they came.
    pub(super) fn labels_hash(&self, series: SeriesNumber) -> u64 {
        self.labels[series as usize].1
    }
}

impl SeriesResolver for SeriesTable {
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
        let mut run = SmallVec::with_capacity(series.len());
        for labels in series {
            run.push(u32::try_from(self.labels.len()).expect("a batch has fewer than 2^32 series"));
            let mut hash = Xxh3::new();
            for (name, value) in labels.iter() {
                hash.update(name.as_bytes());
                hash.update(&[0xff]);
                hash.update(value.as_bytes());
                hash.update(&[0xff]);
            }
            self.labels.push((labels.clone(), hash.digest()));
        }
        let run = self.runs.entry(key).insert(run).into_mut();
        Ok(Resolved::Handles(run))
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        if self.families.get(family) != Some(metadata) {
            self.families.insert(family.to_owned(), metadata.clone());
            self.new_families.push(family.to_owned());
        }
    }
}

/// Something of a series at a time.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Sample(Sample),
    /// With its time, ms.
    Histogram(i64, NativeHistogram),
    /// Boxed, so that the many samples stay small.
    Exemplar(Box<Exemplar>),
}

impl Item {
    /// Milliseconds since the Unix epoch.
    pub(super) fn timestamp_ms(&self) -> i64 {
        match self {
            Self::Sample(sample) => sample.timestamp_ms,
            Self::Histogram(timestamp_ms, _) => *timestamp_ms,
            Self::Exemplar(exemplar) => exemplar.timestamp_ms,
        }
    }
}

/// What a batch has for its series.
#[derive(Debug, Default)]
pub(super) struct ItemList(pub(super) Vec<(SeriesNumber, Item)>);

impl SampleSink<SeriesNumber> for ItemList {
    fn point(&mut self, handles: &[SeriesNumber], timestamp_ms: i64, values: &[f64]) {
        let samples = handles.iter().zip(values);
        self.0
            .extend(samples.map(|(&series, &value)| (series, Item::Sample(Sample { timestamp_ms, value }))));
    }

    fn histogram(&mut self, handle: SeriesNumber, timestamp_ms: i64, histogram: NativeHistogram) {
        self.0.push((handle, Item::Histogram(timestamp_ms, histogram)));
    }

    fn exemplar(&mut self, handle: SeriesNumber, exemplar: Exemplar) {
        self.0.push((handle, Item::Exemplar(Box::new(exemplar))));
    }

    fn target_info(&mut self, handle: SeriesNumber, timestamp_ms: i64) {
        self.0.push((handle, Item::Sample(Sample { timestamp_ms, value: 1.0 })));
    }
}

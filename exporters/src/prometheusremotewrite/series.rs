//! The series that were sent before, by the hash of their wire bytes, and the samples of one batch.
//!
//! The table is bounded: [`SeriesTable::make_room`] empties a full one between two batches, so that numbers stay valid
//! for the whole of a batch.

use hashbrown::HashMap;
use model::{Labels, MetricMetadata, Sample};
use pipelines::PipelineError;
use smallvec::SmallVec;
use wire::otlp_to_prometheus::{Resolved, SampleSink, SeriesKey, SeriesResolver};
use xxhash_rust::xxh3::Xxh3;

/// Number of a series in a [`SeriesTable`].
pub(super) type SeriesNumber = u32;

/// Labels by number, numbers by key.
pub(super) struct SeriesTable {
    runs: HashMap<SeriesKey, SmallVec<[SeriesNumber; 2]>>,
    labels: Vec<(Labels, u64)>,
    series_max: usize,
}

impl SeriesTable {
    /// A table of about `series_max` series.
    pub(super) fn new(series_max: usize) -> Self {
        Self { runs: HashMap::new(), labels: Vec::new(), series_max }
    }

    /// Forgets everything if the table is full. Not inside a batch.
    pub(super) fn make_room(&mut self) {
        if self.labels.len() >= self.series_max {
            self.runs.clear();
            self.labels.clear();
        }
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

    fn metadata(&mut self, _family: &str, _metadata: &MetricMetadata) {
        // Not sent: `send_metadata` is refused.
    }
}

/// The samples of a batch.
#[derive(Debug, Default)]
pub(super) struct SampleList(pub(super) Vec<(SeriesNumber, Sample)>);

impl SampleSink<SeriesNumber> for SampleList {
    fn point(&mut self, handles: &[SeriesNumber], timestamp_ms: i64, values: &[f64]) {
        self.0.extend(
            handles.iter().zip(values).map(|(&series, &value)| (series, Sample { timestamp_ms, value })),
        );
    }

    fn target_info(&mut self, handle: SeriesNumber, timestamp_ms: i64) {
        self.0.push((handle, Sample { timestamp_ms, value: 1.0 }));
    }
}

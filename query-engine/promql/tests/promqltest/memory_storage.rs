//! Series in memory behind the storage seam.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    CounterResetHint, ErrorKind, FloatHistogram, Labels, MetricMetadata, SampleColumns, TenantId, TimeRange,
    is_stale_nan,
};
use storage_api::{
    BoxFuture, EncodedChunk, MetricsQuerier, MetricsSelect, Series, SeriesChunks, StorageError, StorageResult,
};

/// A store of decoded samples.
#[derive(Default)]
pub struct MemoryStorage {
    series: BTreeMap<Labels, Arc<Samples>>,
}

#[derive(Clone, Default)]
struct Samples(SampleColumns);

impl MemoryStorage {
    /// Appends samples that are newer than what the series has.
    pub fn append(&mut self, labels: Labels, new: &SampleColumns) {
        let samples = Arc::make_mut(self.series.entry(labels).or_default());
        let columns = &mut samples.0;
        let mut histograms = new.histograms.iter().peekable();
        for (index, (time, value)) in new.timestamps_ms.iter().zip(&new.values).enumerate() {
            let histogram = histograms.next_if(|(at, _)| *at == index);
            if columns.timestamps_ms.last().is_some_and(|last| last >= time) {
                continue;
            }
            match histogram {
                Some((_, histogram)) => {
                    let histogram = with_hint(columns, histogram);
                    columns.push_histogram(*time, histogram);
                }
                None => columns.push(*time, *value),
            }
        }
    }
}

/// The histogram with the hint that a store of chunks gives it: inside a chunk there is no reset, a reset starts a new
/// one, and of the first histogram of a chunk nothing is known.
fn with_hint(columns: &SampleColumns, histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    use CounterResetHint as H;
    let before = columns.histograms.last().filter(|(at, before)| {
        at + 1 == columns.len() && before.counter_reset_hint != H::Gauge && !is_stale_nan(before.sum)
    });
    let hint = match (histogram.counter_reset_hint, before) {
        (H::Gauge, _) => H::Gauge,
        (H::Reset, _) => H::Reset,
        (_, None) => H::Unknown,
        (_, Some((_, before))) => {
            let unhinted = FloatHistogram { counter_reset_hint: H::Unknown, ..(**histogram).clone() };
            let is_other_layout =
                before.schema != histogram.schema || before.zero_threshold != histogram.zero_threshold;
            if is_other_layout || unhinted.detect_reset(before) { H::Unknown } else { H::NotReset }
        }
    };
    Arc::new(FloatHistogram { counter_reset_hint: hint, ..(**histogram).clone() })
}

impl MetricsQuerier for MemoryStorage {
    fn select<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        let matching = self.series.iter().filter(|(labels, samples)| {
            select.matchers.iter().all(|matcher| matcher.matches_labels(labels))
                && samples.has_samples(select.range)
        });
        let series = matching
            .map(|(labels, samples)| Series {
                labels: labels.clone(),
                chunks: Arc::clone(samples) as Arc<dyn SeriesChunks>,
            })
            .collect();
        Box::pin(async { Ok(series) })
    }

    fn label_names<'a>(&'a self, _: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async { Err(unused()) })
    }

    fn label_values<'a>(
        &'a self,
        _: &'a str,
        _: &'a MetricsSelect,
    ) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async { Err(unused()) })
    }

    fn series_labels<'a>(&'a self, _: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Labels>>> {
        Box::pin(async { Err(unused()) })
    }

    fn metadata<'a>(
        &'a self,
        _: &'a TenantId,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, StorageResult<Vec<(String, MetricMetadata)>>> {
        Box::pin(async { Err(unused()) })
    }
}

fn unused() -> StorageError {
    StorageError::new(ErrorKind::Internal, "the engine only selects")
}

impl Samples {
    fn has_samples(&self, range: TimeRange) -> bool {
        let times = &self.0.timestamps_ms;
        let first = times.partition_point(|time| *time < range.min);
        times.get(first).is_some_and(|time| *time <= range.max)
    }
}

impl SeriesChunks for Samples {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        let columns = &self.0;
        let first = columns.timestamps_ms.partition_point(|time| *time < range.min);
        let last = columns.timestamps_ms.partition_point(|time| *time <= range.max);
        let shift = out.timestamps_ms.len();
        out.timestamps_ms.extend_from_slice(&columns.timestamps_ms[first..last]);
        out.values.extend_from_slice(&columns.values[first..last]);
        let inside = columns.histograms.iter().filter(|(at, _)| (first..last).contains(at));
        out.histograms.extend(inside.map(|(at, h)| (at - first + shift, Arc::clone(h))));
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        Err(unused())
    }
}

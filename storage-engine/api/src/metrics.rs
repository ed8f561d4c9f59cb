//! The metrics store's seam: append by series reference, read label sets with encoded chunks.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use model::{AppendReport, Labels, Matcher, MetricMetadata, SampleColumns, TenantId, TimeRange};

use crate::{BoxFuture, StorageResult};

/// Handle of a series inside one tenant's store. It stays valid until the store forgets the series; an append with a
/// reference that is no longer known is reported back, never misfiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// Samples to append, as columns of equal length. Samples of one series must be in time order.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    /// Which series.
    pub refs: Vec<SeriesRef>,
    /// Milliseconds since the Unix epoch.
    pub timestamps_ms: Vec<i64>,
    /// Values.
    pub values: Vec<f64>,
}

impl SampleBatch {
    /// Appends one sample.
    pub fn push(&mut self, series: SeriesRef, timestamp_ms: i64, value: f64) {
        self.refs.push(series);
        self.timestamps_ms.push(timestamp_ms);
        self.values.push(value);
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }
}

/// Writes into a metrics store.
pub trait MetricsAppender: Send + Sync {
    /// The reference of the series with these labels, made if it is new. Fails with `Throttled` at the tenant's
    /// series limit and `Invalid` for labels that the store does not take, both of which concern this series alone; any
    /// other error concerns the request. Does not block on disk: the series record becomes durable together with the
    /// first append that uses it.
    fn series(&self, tenant: &TenantId, labels: &Labels) -> StorageResult<SeriesRef>;

    /// Appends samples; resolves when they are durable. `stale_refs` of the answer lists positions whose reference
    /// is unknown: those samples were not stored, the caller resolves the labels again and retries just them.
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: SampleBatch,
    ) -> BoxFuture<'a, StorageResult<AppendOutcome>>;

    /// Remembers what is known about metric families; never fails, the newest wins.
    fn set_metadata(&self, tenant: &TenantId, metric: &str, metadata: &MetricMetadata);
}

/// Result of [`MetricsAppender::append`].
#[derive(Clone, Debug, Default)]
pub struct AppendOutcome {
    /// What was stored and refused.
    pub report: AppendReport,
    /// Positions in the batch whose series the store has forgotten.
    pub stale_refs: Vec<u32>,
    /// The refused samples that `report.rejected` counts: position in the batch, ascending, and index of the reason in
    /// `report.rejected`. A data point may be several samples, and its sender is told of points.
    pub refused: Vec<(u32, u32)>,
}

/// What to read from a metrics store.
#[derive(Clone, Debug)]
pub struct MetricsSelect {
    /// Whose data.
    pub tenant: TenantId,
    /// Milliseconds, both ends included.
    pub range: TimeRange,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

/// Reads from a metrics store.
pub trait MetricsQuerier: Send + Sync {
    /// Series that match and may have samples in the range, sorted by labels, each label set once.
    fn select<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>>;

    /// Sorted label names of the series that match.
    fn label_names<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<String>>>;

    /// Sorted values that label `name` has in the series that match.
    fn label_values<'a>(
        &'a self,
        name: &'a str,
        select: &'a MetricsSelect,
    ) -> BoxFuture<'a, StorageResult<Vec<String>>>;

    /// Label sets of the series that match, sorted.
    fn series_labels<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Labels>>>;

    /// Known metadata, by metric name in order; `metric` narrows to one.
    fn metadata<'a>(
        &'a self,
        tenant: &'a TenantId,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, StorageResult<Vec<(String, MetricMetadata)>>>;
}

/// A selected series: its labels and a handle on its chunks.
#[derive(Clone)]
pub struct Series {
    /// The labels, `__name__` included.
    pub labels: Labels,
    /// Its chunks in the selected range, still encoded.
    pub chunks: Arc<dyn SeriesChunks>,
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Encoded chunks of one series. Implementations are snapshots: later appends do not show.
pub trait SeriesChunks: Send + Sync {
    /// Decodes the samples inside `range` (ms, both ends included) and appends them to `out` in time order, each
    /// timestamp once. CPU only.
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()>;

    /// The chunks as they are, for protocols that carry encoded chunks. They may overlap.
    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>>;
}

/// Chunk encodings by their number in Prometheus' files (tsdb/chunkenc/chunk.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkEncoding {
    /// 1, floats.
    Xor,
    /// 2, native histograms with integer counts.
    Histogram,
    /// 3, native histograms with float counts.
    FloatHistogram,
}

/// One chunk as bytes.
#[derive(Clone, Debug)]
pub struct EncodedChunk {
    /// Time of the first and last sample, ms.
    pub range: TimeRange,
    /// How `data` is encoded.
    pub encoding: ChunkEncoding,
    /// The chunk without length, encoding byte or checksum.
    pub data: Bytes,
}

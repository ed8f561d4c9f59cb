//! The metrics store's seam: append by series reference, read label sets with encoded chunks.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use model::{
    AppendReport, Exemplar, Labels, Matcher, MetricMetadata, NativeHistogram, SampleColumns, TenantId,
    TimeRange,
};

use crate::{BoxFuture, StorageResult};

mod admin;

pub use admin::{BlockSummary, MetricsAdmin, MetricsStats};

/// Names of the reasons for which a metrics store refuses single samples and exemplars (`Rejection::reason`).
pub mod reject_reason {
    /// Another value is stored for this time.
    pub const DUPLICATE_TIMESTAMP: &str = "duplicate_timestamp";
    /// Older than the newest sample of its series, and the store takes none out of order.
    pub const OUT_OF_ORDER: &str = "out_of_order";
    /// Older than the out-of-order window reaches.
    pub const TOO_OLD: &str = "too_old";
    /// Older than what the store still takes in when it takes nothing out of order: its time is in a block already.
    pub const OUT_OF_BOUNDS: &str = "out_of_bounds";
    /// Further ahead of the clock than is allowed.
    pub const TOO_FAR_IN_FUTURE: &str = "too_far_in_future";
    /// A native histogram that is not sound.
    pub const INVALID_HISTOGRAM: &str = "invalid_histogram";
    /// What is stored around its time cannot be read back, so that it cannot be put into its place.
    pub const UNREADABLE: &str = "unreadable";
    /// The labels of an exemplar are too long.
    pub const EXEMPLAR_LABELS_TOO_LONG: &str = "exemplar_labels_too_long";
}

/// Handle of a series inside one tenant's store. It stays valid until the store forgets the series; an append with a
/// reference that is no longer known is reported back, never misfiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// Samples to append, as columns of equal length, and exemplars beside them. Samples of one series that are not in time
/// order cost more and may be refused.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    /// Which series.
    pub refs: Vec<SeriesRef>,
    /// Milliseconds since the Unix epoch.
    pub timestamps_ms: Vec<i64>,
    /// Values; without meaning where `histograms` has an entry.
    pub values: Vec<f64>,
    /// Native histograms among the samples: position in the columns and value, in ascending order.
    pub histograms: Vec<(u32, NativeHistogram)>,
    /// Exemplars; their series need no sample in the batch.
    pub exemplars: Vec<(SeriesRef, Exemplar)>,
}

impl SampleBatch {
    /// Appends one sample.
    pub fn push(&mut self, series: SeriesRef, timestamp_ms: i64, value: f64) {
        self.refs.push(series);
        self.timestamps_ms.push(timestamp_ms);
        self.values.push(value);
    }

    /// Appends one native histogram.
    pub fn push_histogram(&mut self, series: SeriesRef, timestamp_ms: i64, histogram: NativeHistogram) {
        let position = u32::try_from(self.refs.len()).expect("a batch has fewer than 2^32 samples");
        self.histograms.push((position, histogram));
        self.push(series, timestamp_ms, 0.0);
    }

    /// Appends one exemplar.
    pub fn push_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) {
        self.exemplars.push((series, exemplar));
    }

    /// Number of samples, native histograms included.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether there is neither a sample nor an exemplar.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty() && self.exemplars.is_empty()
    }
}

/// Writes into a metrics store.
pub trait MetricsAppender: Send + Sync {
    /// The reference of the series with these labels, made if it is new. Fails with `Throttled` at the tenant's
    /// series limit and `Invalid` for labels that the store does not take, both of which concern this series alone; any
    /// other error concerns the request. Does not block on disk: the series record becomes durable together with the
    /// first append that uses it.
    fn series(&self, tenant: &TenantId, labels: &Labels) -> StorageResult<SeriesRef>;

    /// Does beforehand what may take long the first time that a tenant writes, so that [`MetricsAppender::series`] does
    /// not: nothing for a tenant with data. Cancel-safe; a failure shows when a series is made.
    fn prepare<'a>(&'a self, _tenant: &'a TenantId) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Appends samples, native histograms and exemplars; resolves when they are durable. `stale_refs` of the answer
    /// lists positions whose reference is unknown: those samples were not stored, the caller resolves the labels again
    /// and retries just them. Fails with `Invalid` for columns of unequal length and positions that are not there.
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
    /// What was stored and refused of the exemplars.
    pub exemplars: AppendReport,
    /// Positions in `SampleBatch::exemplars` whose series the store has forgotten.
    pub stale_exemplar_refs: Vec<u32>,
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

/// What a store that puts replicas or downsampled data together wants to know of the query around a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectHints {
    /// Name of the innermost function or aggregation around the selector; empty without one and inside an operation of
    /// two operands.
    pub function: String,
    /// The range of a range vector selector, ms; 0 for an instant selector.
    pub range_ms: i64,
    /// Times between which all selectors of the query look, ms, both ends included.
    pub bounds: TimeRange,
}

impl Default for SelectHints {
    /// A selector alone that looks at all times.
    fn default() -> Self {
        Self { function: String::new(), range_ms: 0, bounds: TimeRange::ALL }
    }
}

/// Reads from a metrics store.
pub trait MetricsQuerier: Send + Sync {
    /// Series that match and may have samples in the range, sorted by labels, each label set once.
    fn select<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>>;

    /// Whether [`Self::select_hinted`] does more than [`Self::select`], so that a query asks it for each selector.
    fn wants_hints(&self) -> bool {
        false
    }

    /// As [`Self::select`], for a selector with these surroundings.
    fn select_hinted<'a>(
        &'a self,
        select: &'a MetricsSelect,
        _hints: &'a SelectHints,
    ) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        self.select(select)
    }

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

    /// Exemplars inside `range` (ms, both ends included) of the series that match all matchers of at least one of
    /// `selectors`: by series in label order, each in time order. A store without exemplars has none.
    fn exemplars<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _selectors: &'a [Vec<Matcher>],
        _range: TimeRange,
    ) -> BoxFuture<'a, StorageResult<Vec<SeriesExemplars>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// A sentence for each piece of data inside `range` (ms, both ends included) that the store lost and answers miss.
    fn missing(&self, _tenant: &TenantId, _range: TimeRange) -> Vec<String> {
        Vec::new()
    }

    /// Tenants with data, in order. A store that does not know its tenants names none.
    fn tenants(&self) -> Vec<TenantId> {
        Vec::new()
    }

    /// Times between which all samples of a tenant lie, ms; the bounds may be wider than the samples. `None` when there
    /// is no sample or the store does not know.
    fn bounds(&self, _tenant: &TenantId) -> Option<TimeRange> {
        None
    }
}

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The labels of the series.
    pub labels: Labels,
    /// Its exemplars, in time order.
    pub exemplars: Vec<Exemplar>,
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

/// Chunk encodings by their number in Prometheus' files (tsdb/chunkenc/chunk.go). The store writes the first three and
/// reads all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChunkEncoding {
    /// 1, floats.
    Xor = 1,
    /// 2, native histograms with integer counts.
    Histogram = 2,
    /// 3, native histograms with float counts.
    FloatHistogram = 3,
    /// 4, floats with start timestamps.
    Xor2 = 4,
    /// 5, native histograms with integer counts and start timestamps.
    HistogramSt = 5,
    /// 6, native histograms with float counts and start timestamps.
    FloatHistogramSt = 6,
}

impl ChunkEncoding {
    /// The encoding with this number in files.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Xor,
            2 => Self::Histogram,
            3 => Self::FloatHistogram,
            4 => Self::Xor2,
            5 => Self::HistogramSt,
            6 => Self::FloatHistogramSt,
            _ => return None,
        })
    }

    /// Its number in files.
    pub fn number(self) -> u8 {
        self as u8
    }
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

//! What a person or a program asks of a metrics store beside reading and writing: figures, deletion, snapshots, flush.

use model::{Matcher, TenantId, TimeRange};

use crate::{BoxFuture, StorageResult};

/// Administration of a metrics store. A tenant that has no data has nothing to administer: figures are zero, and the
/// rest does nothing and succeeds.
pub trait MetricsAdmin: Send + Sync {
    /// Figures about the head of a tenant's store; each list has at most `limit` entries.
    fn stats<'a>(&'a self, tenant: &'a TenantId, limit: usize) -> BoxFuture<'a, StorageResult<MetricsStats>>;

    /// The blocks of a tenant's store, in the order of their time.
    fn blocks<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, StorageResult<Vec<BlockSummary>>>;

    /// Deletes the samples inside `range` (ms, both ends included) of the series that match all of `matchers`; durable
    /// when it resolves. Blocks keep them as tombstones until they are rewritten.
    fn delete<'a>(
        &'a self,
        tenant: &'a TenantId,
        matchers: &'a [Matcher],
        range: TimeRange,
    ) -> BoxFuture<'a, StorageResult<()>>;

    /// Rewrites the blocks that have tombstones without what those cover.
    fn clean_tombstones<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, StorageResult<()>>;

    /// Makes a folder of blocks with everything in the store (without the head with `skip_head`) that another program
    /// can read; resolves to its name inside the tenant's `snapshots` folder.
    fn snapshot<'a>(&'a self, tenant: &'a TenantId, skip_head: bool) -> BoxFuture<'a, StorageResult<String>>;

    /// Writes everything that is in the head to blocks now, whatever their age. New samples may be older than such a
    /// block's end as far as the out-of-order window allows.
    fn flush<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, StorageResult<()>>;
}

/// Figures about a tenant's head, as `/api/v1/status/tsdb` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsStats {
    /// Series in the head.
    pub series: u64,
    /// Distinct pairs of label name and value.
    pub label_pairs: u64,
    /// Chunks in the head.
    pub chunks: u64,
    /// Times of the oldest and newest sample in the head, ms; `None` when there is none.
    pub range: Option<TimeRange>,
    /// Bytes of memory of the head, by the store's own count.
    pub memory_bytes: u64,
    /// Metric names with the most series.
    pub series_by_metric_name: Vec<(String, u64)>,
    /// Label names with the most values.
    pub values_by_label_name: Vec<(String, u64)>,
    /// Label names whose values have the most bytes over all series.
    pub bytes_by_label_name: Vec<(String, u64)>,
    /// Pairs `name=value` with the most series.
    pub series_by_label_pair: Vec<(String, u64)>,
}

/// A block on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSummary {
    /// Its identifier and the name of its folder.
    pub ulid: String,
    /// Times of its samples, ms: from the first included to the last excluded, as meta.json has it.
    pub min_time_ms: i64,
    /// See `min_time_ms`.
    pub max_time_ms: i64,
    /// Samples in it, native histograms included.
    pub samples: u64,
    /// Series in it.
    pub series: u64,
    /// Chunks in it.
    pub chunks: u64,
    /// How often its data was compacted; 1 is straight from a head.
    pub level: u32,
    /// Bytes on disk.
    pub bytes: u64,
}

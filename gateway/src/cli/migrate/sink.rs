//! Where the samples of a head go: into a store, or nowhere when they are only counted.

use std::collections::HashMap;

use model::{AppendReport, ErrorKind, Labels, MetricMetadata, TenantId};
use storage_api::{MetricsAppender, SampleBatch, SeriesRef, StorageError, StorageResult};
use tokio::runtime::Handle;
use tsdb::{PrometheusHeadSink, Tsdb};

/// Puts everything into a store.
pub(super) struct Storing<'a> {
    pub(super) store: &'a Tsdb,
    pub(super) tenant: &'a TenantId,
    pub(super) runtime: &'a Handle,
}

impl PrometheusHeadSink for Storing<'_> {
    fn series(&mut self, labels: &Labels) -> StorageResult<SeriesRef> {
        self.store.series(self.tenant, labels)
    }

    fn append(&mut self, batch: SampleBatch) -> StorageResult<AppendReport> {
        let outcome = self.runtime.block_on(self.store.append(self.tenant, batch))?;
        if !outcome.stale_refs.is_empty() {
            return Err(StorageError::new(ErrorKind::Internal, "the store forgot a series of the migration"));
        }
        Ok(outcome.report)
    }

    fn metadata(&mut self, metric: &str, metadata: &MetricMetadata) {
        self.store.set_metadata(self.tenant, metric, metadata);
    }
}

/// Counts.
#[derive(Default)]
pub(super) struct Counting {
    series: HashMap<Labels, SeriesRef>,
}

impl PrometheusHeadSink for Counting {
    fn series(&mut self, labels: &Labels) -> StorageResult<SeriesRef> {
        let next = SeriesRef(self.series.len() as u64);
        Ok(*self.series.entry(labels.clone()).or_insert(next))
    }

    fn append(&mut self, batch: SampleBatch) -> StorageResult<AppendReport> {
        Ok(AppendReport { stored: batch.len() as u64, ..AppendReport::default() })
    }

    fn metadata(&mut self, _metric: &str, _metadata: &MetricMetadata) {}
}

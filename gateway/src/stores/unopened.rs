//! Stores that were never opened: `validate` makes the exporters in front of them, and nothing is ever sent.

use model::{AppendReport, ErrorKind, Labels, MetricMetadata, TenantId};
use storage_api::{
    AppendOutcome, BoxFuture, LogAppender, LogBatch, MetricsAppender, SampleBatch, SeriesRef, StorageError,
    StorageResult,
};

/// Refuses everything.
pub(super) struct Unopened;

fn refused<T>() -> StorageResult<T> {
    Err(StorageError::new(ErrorKind::Closed, "the store is not open"))
}

impl MetricsAppender for Unopened {
    fn series(&self, _tenant: &TenantId, _labels: &Labels) -> StorageResult<SeriesRef> {
        refused()
    }

    fn append<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _batch: SampleBatch,
    ) -> BoxFuture<'a, StorageResult<AppendOutcome>> {
        Box::pin(async { refused() })
    }

    fn set_metadata(&self, _tenant: &TenantId, _metric: &str, _metadata: &MetricMetadata) {}
}

impl LogAppender for Unopened {
    fn append<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _batch: LogBatch,
    ) -> BoxFuture<'a, StorageResult<AppendReport>> {
        Box::pin(async { refused() })
    }
}

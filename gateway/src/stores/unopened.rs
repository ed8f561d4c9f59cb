//! Stores that were never opened: `validate` makes the exporters in front of them, and nothing is ever sent; a process
//! that only forwards has nothing to select.

use model::{AppendReport, ErrorKind, Labels, MetricMetadata, TenantId};
use storage_api::{
    AppendOutcome, BoxFuture, LogAppender, LogBatch, MetricsAppender, MetricsQuerier, MetricsSelect,
    SampleBatch, Series, SeriesRef, StorageError, StorageResult,
};

/// Takes nothing and has nothing.
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

impl MetricsQuerier for Unopened {
    fn select<'a>(&'a self, _select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn label_names<'a>(&'a self, _select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn label_values<'a>(
        &'a self,
        _name: &'a str,
        _select: &'a MetricsSelect,
    ) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn series_labels<'a>(&'a self, _select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Labels>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn metadata<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _metric: Option<&'a str>,
    ) -> BoxFuture<'a, StorageResult<Vec<(String, MetricMetadata)>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
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

//! Administration: figures, deletion, snapshots, flush on demand.

use std::sync::Arc;

use model::{Matcher, TenantId, TimeRange};
use storage_api::{BlockSummary, BoxFuture, MetricsAdmin, MetricsStats, StorageResult};

use super::Tsdb;
use crate::error::TsdbError;
use crate::tenant::Tenant;

impl Tsdb {
    /// Runs `work` for a tenant on a thread that may block; a tenant without data has nothing to do.
    async fn work<T, F>(&self, tenant: &TenantId, work: F) -> StorageResult<T>
    where
        T: Default + Send + 'static,
        F: FnOnce(&Tenant, i64) -> StorageResult<T> + Send + 'static,
    {
        let Some(tenant) = self.0.find(tenant) else { return Ok(T::default()) };
        let now_ms = self.0.clock.now_ms();
        let task = self.0.tasks.spawn_blocking("metrics-admin", move || work(&tenant, now_ms));
        task.await.map_err(|error| TsdbError::Task(error.to_string()))?
    }
}

impl MetricsAdmin for Tsdb {
    fn stats<'a>(&'a self, tenant: &'a TenantId, limit: usize) -> BoxFuture<'a, StorageResult<MetricsStats>> {
        Box::pin(self.work(tenant, move |tenant, _| Ok(tenant.head.cardinality(limit))))
    }

    fn blocks<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, StorageResult<Vec<BlockSummary>>> {
        Box::pin(self.work(tenant, |tenant, _| Ok(tenant.blocks.summaries())))
    }

    fn delete<'a>(
        &'a self,
        tenant: &'a TenantId,
        matchers: &'a [Matcher],
        range: TimeRange,
    ) -> BoxFuture<'a, StorageResult<()>> {
        let matchers = matchers.to_vec();
        Box::pin(async move {
            let Some(tenant) = self.0.find(tenant) else { return Ok(()) };
            let permit = tenant.admit().await?;
            let owned = Arc::clone(&tenant);
            let work = move || owned.delete(&permit, &matchers, range);
            let task = self.0.tasks.spawn_blocking("metrics-delete", work);
            let ticket = task.await.map_err(|error| TsdbError::Task(error.to_string()))??;
            match ticket {
                Some(ticket) => Ok(ticket.await.map(|_| ()).map_err(TsdbError::from)?),
                None => Ok(()),
            }
        })
    }

    fn clean_tombstones<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, StorageResult<()>> {
        Box::pin(self.work(tenant, |tenant, _| tenant.clean_tombstones()))
    }

    fn snapshot<'a>(&'a self, tenant: &'a TenantId, skip_head: bool) -> BoxFuture<'a, StorageResult<String>> {
        Box::pin(self.work(tenant, move |tenant, now_ms| tenant.snapshot(skip_head, now_ms)))
    }

    fn flush<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, StorageResult<()>> {
        Box::pin(self.work(tenant, |tenant, _| tenant.flush()))
    }
}

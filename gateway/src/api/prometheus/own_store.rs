//! This process' own store as one request reads it: it remembers which times were asked for, so that the answer can say
//! what the store lost of them.

use model::{Labels, Matcher, MetricMetadata, TenantId, TimeRange};
use parking_lot::Mutex;
use storage_api::{
    BoxFuture, MetricsQuerier, MetricsSelect, SelectHints, Series, SeriesExemplars, StorageResult,
};

/// The store, for one request.
pub(super) struct OwnStore<'a> {
    store: &'a dyn MetricsQuerier,
    /// Whose data was asked for, and the times from the first to the last.
    asked: Mutex<Option<(TenantId, TimeRange)>>,
}

impl<'a> OwnStore<'a> {
    pub(super) fn new(store: &'a dyn MetricsQuerier) -> Self {
        Self { store, asked: Mutex::default() }
    }

    /// What the store lost of the times that were asked for.
    pub(super) fn missing(&self) -> Vec<String> {
        match &*self.asked.lock() {
            Some((tenant, range)) => self.store.missing(tenant, *range),
            None => Vec::new(),
        }
    }

    fn note(&self, tenant: &TenantId, range: TimeRange) {
        let mut asked = self.asked.lock();
        let known = asked.as_ref().map_or(range, |(_, known)| *known);
        let hull = TimeRange::new(known.min.min(range.min), known.max.max(range.max));
        *asked = Some((tenant.clone(), hull));
    }
}

impl MetricsQuerier for OwnStore<'_> {
    fn select<'b>(&'b self, select: &'b MetricsSelect) -> BoxFuture<'b, StorageResult<Vec<Series>>> {
        self.note(&select.tenant, select.range);
        self.store.select(select)
    }

    fn wants_hints(&self) -> bool {
        self.store.wants_hints()
    }

    fn select_hinted<'b>(
        &'b self,
        select: &'b MetricsSelect,
        hints: &'b SelectHints,
    ) -> BoxFuture<'b, StorageResult<Vec<Series>>> {
        self.note(&select.tenant, select.range);
        self.store.select_hinted(select, hints)
    }

    fn label_names<'b>(&'b self, select: &'b MetricsSelect) -> BoxFuture<'b, StorageResult<Vec<String>>> {
        self.note(&select.tenant, select.range);
        self.store.label_names(select)
    }

    fn label_values<'b>(
        &'b self,
        name: &'b str,
        select: &'b MetricsSelect,
    ) -> BoxFuture<'b, StorageResult<Vec<String>>> {
        self.note(&select.tenant, select.range);
        self.store.label_values(name, select)
    }

    fn series_labels<'b>(&'b self, select: &'b MetricsSelect) -> BoxFuture<'b, StorageResult<Vec<Labels>>> {
        self.note(&select.tenant, select.range);
        self.store.series_labels(select)
    }

    fn metadata<'b>(
        &'b self,
        tenant: &'b TenantId,
        metric: Option<&'b str>,
    ) -> BoxFuture<'b, StorageResult<Vec<(String, MetricMetadata)>>> {
        self.store.metadata(tenant, metric)
    }

    fn exemplars<'b>(
        &'b self,
        tenant: &'b TenantId,
        selectors: &'b [Vec<Matcher>],
        range: TimeRange,
    ) -> BoxFuture<'b, StorageResult<Vec<SeriesExemplars>>> {
        self.store.exemplars(tenant, selectors, range)
    }

    fn missing(&self, tenant: &TenantId, range: TimeRange) -> Vec<String> {
        self.store.missing(tenant, range)
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.store.tenants()
    }

    fn bounds(&self, tenant: &TenantId) -> Option<TimeRange> {
        self.store.bounds(tenant)
    }
}

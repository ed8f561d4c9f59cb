//! The store of this process as a Thanos store: every tenant is a TSDB with external labels, as in Thanos' receive.
//!
//! Series of all tenants are shown together, told apart by the tenant's label; the tenant of a request's metadata only
//! names who asks, as in Thanos' stores. The default tenant carries no label of its own, so that a process with one
//! tenant looks like a sidecar. Chunks leave as Thanos knows them (CHUNK-1): encodings 1 to 3 and, within a series, in
//! time order without overlap, since a querier takes overlapping chunks for replicas.

use std::sync::Arc;

use model::{Labels, Matcher, SampleColumns, TenantId, TimeRange};
use storage_api::{
    ChunkEncoding, EncodedChunk, MetricsQuerier, MetricsSelect, Series, SeriesChunks, StorageResult,
};

use crate::error::ThanosResult;
use crate::proto::{Empty, ExemplarsInfo, InfoResponse, LabelSet, StoreInfo, TsdbInfo};
use crate::replicas::encode;
use crate::select::{StoreSelect, for_series, shown, without_external};

/// How the store of this process presents itself.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Labels on every series.
    pub external_labels: Labels,
    /// Label with the tenant on series of all tenants but the default one. Thanos' name is `tenant_id`.
    pub tenant_label: String,
    /// `receive`, `sidecar` or `store`, as Thanos' queriers list it.
    pub component: String,
}

/// The store of this process.
#[derive(Clone)]
pub struct LocalStore {
    querier: Arc<dyn MetricsQuerier>,
    settings: LocalSettings,
    /// Only this one's data.
    only: Option<TenantId>,
}

/// A tenant and what its series carry.
struct Part {
    tenant: TenantId,
    external: Labels,
}

/// A series that was found; its chunks are read later.
#[derive(Clone)]
pub(crate) struct FoundSeries {
    /// Labels as they are shown.
    pub(crate) labels: Labels,
    /// `None` where only labels were asked for.
    pub(crate) chunks: Option<Arc<dyn SeriesChunks>>,
}

impl LocalStore {
    /// A store over what `querier` reads.
    pub fn new(querier: Arc<dyn MetricsQuerier>, settings: LocalSettings) -> Self {
        Self { querier, settings, only: None }
    }

    /// The same store with the data of one tenant alone.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> Self {
        Self { only: Some(tenant.clone()), ..self.clone() }
    }

    /// What it reads.
    pub(crate) fn querier(&self) -> &Arc<dyn MetricsQuerier> {
        &self.querier
    }

    /// Tenants with data; without any the default one, so that external labels are known from the beginning.
    fn parts(&self) -> Vec<Part> {
        let mut tenants = match &self.only {
            Some(only) => vec![only.clone()],
            None => self.querier.tenants(),
        };
        if tenants.is_empty() {
            tenants.push(TenantId::default());
        }
        tenants.into_iter().map(|tenant| Part { external: self.external(&tenant), tenant }).collect()
    }

    /// What the series of a tenant carry.
    pub(crate) fn external(&self, tenant: &TenantId) -> Labels {
        let external = &self.settings.external_labels;
        if tenant.as_str() == TenantId::DEFAULT {
            return external.clone();
        }
        external.to_builder().set(&self.settings.tenant_label, tenant.as_str()).build()
    }

    /// Each tenant with what its series carry.
    pub(crate) fn tenants(&self) -> Vec<(TenantId, Labels)> {
        self.parts().into_iter().map(|part| (part.tenant, part.external)).collect()
    }

    /// What it has, as `Info` tells.
    pub(crate) fn info(&self) -> InfoResponse {
        let tsdbs: Vec<(Labels, i64)> = self
            .parts()
            .into_iter()
            .map(|part| {
                let first = self.querier.bounds(&part.tenant).map_or(i64::MAX, |bounds| bounds.min);
                (part.external, first)
            })
            .collect();
        // Written to: what comes next is inside as well.
        let max_time = i64::MAX;
        let first = tsdbs.iter().map(|(_, first)| *first).min().unwrap_or(i64::MAX);
        let labelled = tsdbs.iter().filter(|(labels, _)| !labels.is_empty());
        let tsdb_infos = labelled.clone().map(|(labels, min_time)| TsdbInfo {
            labels: Some(LabelSet::of(labels)),
            min_time: *min_time,
            max_time,
        });
        // One label set that is empty matches everything; beside others it would be ignored, so that none are named.
        let label_sets = if tsdbs.iter().all(|(labels, _)| !labels.is_empty()) {
            labelled.clone().map(|(labels, _)| LabelSet::of(labels)).collect()
        } else {
            Vec::new()
        };
        InfoResponse {
            label_sets,
            component_type: self.settings.component.clone(),
            store: Some(StoreInfo {
                min_time: first,
                max_time,
                supports_sharding: true,
                supports_without_replica_labels: true,
                tsdb_infos: tsdb_infos.collect(),
            }),
            exemplars: Some(ExemplarsInfo { min_time: first, max_time }),
            status: Some(Empty {}),
            ..InfoResponse::default()
        }
    }

    /// Series that match, in the order of their labels as shown.
    pub(crate) async fn select(&self, select: &StoreSelect) -> ThanosResult<Vec<FoundSeries>> {
        let mut all: Vec<FoundSeries> = Vec::new();
        let mut scratch = Vec::new();
        for part in self.parts() {
            let Some(matchers) = for_series(&select.matchers, &part.external)? else { continue };
            let inner = MetricsSelect { tenant: part.tenant, range: select.range, matchers };
            let found: Vec<FoundSeries> = if select.skip_chunks {
                let labels = self.querier.series_labels(&inner).await?;
                labels.into_iter().map(|labels| FoundSeries { labels, chunks: None }).collect()
            } else {
                let series = self.querier.select(&inner).await?;
                let found = |Series { labels, chunks }| FoundSeries { labels, chunks: Some(chunks) };
                series.into_iter().map(found).collect()
            };
            for mut series in found {
                series.labels = shown(&series.labels, &part.external, &select.without);
                if select.shard.as_ref().is_none_or(|shard| shard.contains(&series.labels, &mut scratch)) {
                    all.push(series);
                }
            }
        }
        if !all.is_sorted_by(|a, b| a.labels <= b.labels) {
            all.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        if select.limit > 0 {
            all.truncate(select.limit);
        }
        Ok(all)
    }

    /// Sorted names of the labels of the series that match.
    pub(crate) async fn label_names(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        without: &[String],
    ) -> ThanosResult<Vec<String>> {
        let mut names = Vec::new();
        for part in self.parts() {
            let Some(matchers) = without_external(matchers, &part.external) else { continue };
            let select = MetricsSelect { tenant: part.tenant, range, matchers };
            let found = self.querier.label_names(&select).await?;
            if !found.is_empty() {
                names.extend(found);
                names.extend(part.external.iter().map(|(name, _)| name.to_owned()));
            }
        }
        names.retain(|name| !without.contains(name));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Sorted values of label `name` of the series that match.
    pub(crate) async fn label_values(
        &self,
        name: &str,
        range: TimeRange,
        matchers: &[Matcher],
        without: &[String],
    ) -> ThanosResult<Vec<String>> {
        let mut values = Vec::new();
        if without.iter().any(|other| other == name) {
            return Ok(values);
        }
        for part in self.parts() {
            let Some(matchers) = without_external(matchers, &part.external) else { continue };
            let has_matchers = !matchers.is_empty();
            let select = MetricsSelect { tenant: part.tenant, range, matchers };
            match part.external.get(name) {
                None => values.extend(self.querier.label_values(name, &select).await?),
                Some(value) => {
                    if !has_matchers || !self.querier.label_names(&select).await?.is_empty() {
                        values.push(value.to_owned());
                    }
                }
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}

/// Chunks of a series that overlap `range`, as CHUNK-1 wants them.
pub(crate) fn chunks(series: &dyn SeriesChunks, range: TimeRange) -> StorageResult<Vec<EncodedChunk>> {
    let mut chunks = series.encoded()?;
    chunks.retain(|chunk| chunk.range.overlaps(range));
    chunks.sort_by_key(|chunk| (chunk.range.min, chunk.range.max));
    let is_known = |chunk: &EncodedChunk| chunk.encoding.number() <= ChunkEncoding::FloatHistogram.number();
    let follows = |pair: &[EncodedChunk]| pair[0].range.max < pair[1].range.min;
    if chunks.iter().all(is_known) && chunks.windows(2).all(follows) {
        return Ok(chunks);
    }
    let mut whole = Vec::with_capacity(chunks.len());
    let mut rest = chunks.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut covered = first.range;
        let mut is_alone = is_known(&first);
        while let Some(next) = rest.next_if(|next| next.range.min <= covered.max) {
            covered.max = covered.max.max(next.range.max);
            is_alone = false;
        }
        if is_alone {
            whole.push(first);
        } else {
            let mut columns = SampleColumns::default();
            series.decode(covered, &mut columns)?;
            whole.append(&mut encode(&columns)?);
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;

//! A metrics store in memory and chunks made of samples, for tests.

use std::sync::Arc;

use bytes::Bytes;
use format::XorAppender;
use model::{Labels, MetricMetadata, SampleColumns, TenantId, TimeRange};
use storage_api::{
    BoxFuture, ChunkEncoding, EncodedChunk, MetricsQuerier, MetricsSelect, Series, SeriesChunks,
    StorageResult,
};

use crate::series_frame::{AggrChunk, RawChunk};

/// Labels of pairs.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// A chunk of floats.
pub(crate) fn xor(samples: &[(i64, f64)]) -> EncodedChunk {
    let (mut appender, mut data) = (XorAppender::EMPTY, Vec::new());
    samples.iter().for_each(|(time, value)| appender.append(&mut data, *time, *value));
    EncodedChunk {
        range: TimeRange::new(samples[0].0, samples[samples.len() - 1].0),
        encoding: ChunkEncoding::Xor,
        data: data.into(),
    }
}

/// The same as a store sends it.
pub(crate) fn raw(samples: &[(i64, f64)]) -> AggrChunk {
    let EncodedChunk { range, data, .. } = xor(samples);
    AggrChunk { range, raw: Some(RawChunk { encoding: 1, data }), aggregates: None }
}

/// The samples of a chunk of floats.
pub(crate) fn samples(encoding: u8, data: &Bytes) -> Vec<(i64, f64)> {
    let mut columns = SampleColumns::default();
    format::decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, &mut columns).expect("a chunk");
    columns.timestamps_ms.into_iter().zip(columns.values).collect()
}

/// Series by tenant.
#[derive(Default)]
pub(crate) struct Memory {
    series: Vec<(TenantId, Labels, Arc<MemoryChunks>)>,
}

/// Chunks as they were put in.
pub(crate) struct MemoryChunks(Vec<EncodedChunk>);

impl Memory {
    /// Adds a series of the default tenant.
    pub(crate) fn with(self, pairs: &[(&str, &str)], chunks: Vec<EncodedChunk>) -> Self {
        self.with_tenant(TenantId::DEFAULT, pairs, chunks)
    }

    /// Adds a series.
    pub(crate) fn with_tenant(
        mut self,
        tenant: &str,
        pairs: &[(&str, &str)],
        chunks: Vec<EncodedChunk>,
    ) -> Self {
        let tenant = TenantId::new(tenant).expect("a tenant");
        self.series.push((tenant, labels(pairs), Arc::new(MemoryChunks(chunks))));
        self.series.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        self
    }

    /// The chunks of the first series of this name.
    pub(crate) fn series_of(&self, name: &str) -> Arc<MemoryChunks> {
        let found = self.series.iter().find(|(_, labels, _)| labels.metric_name() == Some(name));
        Arc::clone(&found.expect("a series of this name").2)
    }

    fn find(&self, select: &MetricsSelect) -> Vec<Series> {
        let fits = |(tenant, labels, chunks): &&(TenantId, Labels, Arc<MemoryChunks>)| {
            *tenant == select.tenant
                && select.matchers.iter().all(|matcher| matcher.matches_labels(labels))
                && chunks.0.iter().any(|chunk| chunk.range.overlaps(select.range))
        };
        let series = |(_, labels, chunks): &(TenantId, Labels, Arc<MemoryChunks>)| Series {
            labels: labels.clone(),
            chunks: chunks.clone(),
        };
        self.series.iter().filter(fits).map(series).collect()
    }
}

impl SeriesChunks for MemoryChunks {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        let mut all: Vec<(i64, f64)> =
            self.0.iter().flat_map(|chunk| samples(chunk.encoding.number(), &chunk.data)).collect();
        all.sort_by_key(|(time, _)| *time);
        all.dedup_by_key(|(time, _)| *time);
        all.into_iter()
            .filter(|(time, _)| range.contains(*time))
            .for_each(|(time, value)| out.push(time, value));
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        Ok(self.0.clone())
    }
}

impl MetricsQuerier for Memory {
    fn select<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        Box::pin(async { Ok(self.find(select)) })
    }

    fn label_names<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async {
            let found = self.find(select);
            let names = found.iter().flat_map(|series| series.labels.iter()).map(|(name, _)| name.to_owned());
            let mut names: Vec<String> = names.collect();
            names.sort_unstable();
            names.dedup();
            Ok(names)
        })
    }

    fn label_values<'a>(
        &'a self,
        name: &'a str,
        select: &'a MetricsSelect,
    ) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async move {
            let found = self.find(select);
            let values = found.iter().filter_map(|series| series.labels.get(name)).map(str::to_owned);
            let mut values: Vec<String> = values.collect();
            values.sort_unstable();
            values.dedup();
            Ok(values)
        })
    }

    fn series_labels<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Labels>>> {
        Box::pin(async { Ok(self.find(select).into_iter().map(|series| series.labels).collect()) })
    }

    fn metadata<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _metric: Option<&'a str>,
    ) -> BoxFuture<'a, StorageResult<Vec<(String, MetricMetadata)>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = self.series.iter().map(|(tenant, ..)| tenant.clone()).collect();
        tenants.dedup();
        tenants
    }

    fn bounds(&self, tenant: &TenantId) -> Option<TimeRange> {
        let of_tenant = self.series.iter().filter(|(own, ..)| own == tenant);
        let ranges = of_tenant.flat_map(|(_, _, chunks)| chunks.0.iter().map(|chunk| chunk.range));
        ranges.reduce(|all, range| TimeRange::new(all.min.min(range.min), all.max.max(range.max)))
    }
}

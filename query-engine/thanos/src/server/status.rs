//! `TSDBStatistics`: figures about each tenant's head.

use std::collections::HashMap;

use storage_api::MetricsStats;

use super::StoreApiServer;
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::Compression;
use crate::grpc::server::{self, Pieces};
use crate::local::LocalStore;
use crate::proto::{
    HeadStatistics, Statistic, TsdbStatistics, TsdbStatisticsEntry, TsdbStatisticsRequest,
    TsdbStatisticsResponse,
};
use crate::select::{matchers, without_external};

/// Entries of a list when the request does not say.
const LIMIT_DEFAULT: usize = 10;
/// Most entries of a list.
const LIMIT_MAX: usize = 10_000;

impl StoreApiServer {
    pub(super) async fn statistics(
        &self,
        request: TsdbStatisticsRequest,
        compression: Compression,
    ) -> ThanosResult<Pieces> {
        let matchers = matchers(&request.matchers)?;
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let limit = limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
        let mut statistics = HashMap::new();
        for (tenant, external) in self.sources.local.iter().flat_map(LocalStore::tenants) {
            let is_other = !request.tenant.is_empty() && request.tenant != tenant.as_str();
            // As in receive: matchers are on external labels, and one on any other label matches nothing there.
            let is_out = without_external(&matchers, &external)
                .is_none_or(|left| left.iter().any(|matcher| !matcher.matches_empty()));
            if is_other || is_out {
                continue;
            }
            if let Some(admin) = &self.admin {
                let stats = admin.stats(&tenant, limit).await?;
                statistics.insert(tenant.as_str().to_owned(), entry(stats));
            }
        }
        let answer = TsdbStatisticsResponse { statistics: Some(TsdbStatistics { statistics }) };
        server::single(&answer, compression)
            .map_err(|status| ThanosError::new(model::ErrorKind::Internal, status.message()))
    }
}

fn entry(stats: MetricsStats) -> TsdbStatisticsEntry {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let list = |pairs: Vec<(String, u64)>| {
        pairs.into_iter().map(|(name, value)| Statistic { name, value }).collect::<Vec<_>>()
    };
    TsdbStatisticsEntry {
        head: Some(HeadStatistics {
            series: stats.series,
            label_pairs: count(stats.label_pairs),
            chunks: count(stats.chunks),
            min_time: stats.range.map_or(i64::MAX, |range| range.min),
            max_time: stats.range.map_or(i64::MIN, |range| range.max),
        }),
        series_by_metric_name: list(stats.series_by_metric_name),
        values_by_label_name: list(stats.values_by_label_name),
        bytes_by_label_name: list(stats.bytes_by_label_name),
        series_by_label_pair: list(stats.series_by_label_pair),
    }
}

//! What a querier asks a store about beside its series: metadata of metrics; rules and targets, of which there are none
//! here; and whether it serves at all (`grpc.health.v1`).

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use model::MetricMetadata;
use tonic::Status;

use super::StoreApiServer;
use crate::error::ThanosResult;
use crate::grpc::Compression;
use crate::grpc::server::{self, Pieces};
use crate::proto::{
    Described, HealthCheckRequest, HealthCheckResponse, Meta, MetadataEntries, MetadataRequest,
    MetadataResponse,
};

/// `HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;
/// The services of which one may ask; the empty name is the whole server.
const SERVICES: [&str; 10] = [
    "",
    "thanos.Store",
    "thanos.info.Info",
    "thanos.Exemplars",
    "thanos.Status",
    "thanos.Metadata",
    "thanos.Query",
    "thanos.Rules",
    "thanos.Targets",
    "thanos.WriteableStore",
];

impl StoreApiServer {
    /// `MetricMetadata`: what is known about the metrics of all tenants.
    pub(super) async fn metadata(
        &self,
        request: MetadataRequest,
        compression: Compression,
    ) -> ThanosResult<Pieces> {
        let metric = Some(request.metric.as_str()).filter(|metric| !metric.is_empty());
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut metadata: HashMap<String, MetadataEntries> = HashMap::new();
        if let Some(local) = &self.sources.local {
            for (tenant, _) in local.tenants() {
                for (name, known) in local.querier().metadata(&tenant, metric).await? {
                    if metadata.len() >= limit && !metadata.contains_key(&name) {
                        continue;
                    }
                    let entries = &mut metadata.entry(name).or_default().metas;
                    let meta = meta(&known);
                    if !entries.contains(&meta) {
                        entries.push(meta);
                    }
                }
            }
        }
        let answer = MetadataResponse { metadata: Some(Described { metadata }) };
        server::single(&answer, compression).map_err(|status| crate::ThanosError::from_status(&status))
    }

    /// An answer without a message: there is nothing of the kind.
    pub(super) fn none() -> Pieces {
        stream::empty().boxed()
    }
}

fn meta(known: &MetricMetadata) -> Meta {
    Meta { kind: known.metric_type.name().to_owned(), help: known.help.clone(), unit: known.unit.clone() }
}

/// `Check`; `Watch` is not served: its answers would stay open for as long as the server does.
pub(super) fn health(request: &HealthCheckRequest, compression: Compression) -> Result<Pieces, Status> {
    if !SERVICES.contains(&request.service.as_str()) {
        return Err(Status::not_found("unknown service"));
    }
    server::single(&HealthCheckResponse { status: SERVING }, compression)
}

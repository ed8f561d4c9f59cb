//! `Exemplars`: those of the series that a query's selectors name.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use model::{Labels, Matcher, TimeRange};
use prost::Message;

use super::StoreApiServer;
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::server::Pieces;
use crate::grpc::{Compression, put_message};
use crate::proto::{Exemplar, ExemplarData, ExemplarsRequest, ExemplarsResponse, ExemplarsResult, LabelSet};
use crate::select::{shown, without_external};

impl StoreApiServer {
    pub(super) async fn exemplars(
        &self,
        request: ExemplarsRequest,
        compression: Compression,
    ) -> ThanosResult<Pieces> {
        let expr = promql::parse_expr(&request.query, promql::ParseOptions::default())
            .map_err(|error| ThanosError::invalid(error.to_string()))?;
        let selectors: Vec<Vec<Matcher>> = expr.selectors().iter().map(|one| one.matchers.clone()).collect();
        let range = TimeRange::new(request.start, request.end);
        let mut out = Vec::new();
        let local = self.sources.local.iter();
        for (local, (tenant, external)) in
            local.flat_map(|local| local.tenants().into_iter().map(move |of| (local, of)))
        {
            let inside: Vec<Vec<Matcher>> =
                selectors.iter().filter_map(|set| without_external(set, &external)).collect();
            if inside.is_empty() {
                continue;
            }
            for series in local.querier().exemplars(&tenant, &inside, range).await? {
                let message = ExemplarsResponse {
                    result: Some(ExemplarsResult::Data(data(
                        &series,
                        &shown(&series.labels, &external, &[]),
                    ))),
                };
                put_message(&mut out, &message.encode_to_vec(), compression)
                    .map_err(|status| ThanosError::new(model::ErrorKind::Internal, status.message()))?;
            }
        }
        let piece = (!out.is_empty()).then(|| Ok(Bytes::from(out)));
        Ok(stream::iter(piece).boxed())
    }
}

fn data(series: &storage_api::SeriesExemplars, labels: &Labels) -> ExemplarData {
    let exemplar = |exemplar: &model::Exemplar| Exemplar {
        labels: Some(LabelSet::of(&exemplar.labels)),
        value: exemplar.value,
        timestamp_ms: exemplar.timestamp_ms,
    };
    ExemplarData {
        series_labels: Some(LabelSet::of(labels)),
        exemplars: series.exemplars.iter().map(exemplar).collect(),
    }
}

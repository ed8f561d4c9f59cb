//! The gRPC server: which path is which method, how its request is read and its answer written.
//!
//! It answers for the store of this process, for a bucket, or for both. `Series` is made while it is sent (`series`):
//! nothing but label sets and places of chunks is held for a whole answer. It sends no warnings: they would fail every
//! request of a ruler.

mod described;
mod exemplars;
mod info;
mod query;
mod series;
mod status;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use model::{ErrorKind, TimeRange};
use prost::Message;
use runtime::{MemoryBudget, Tasks};
use storage_api::MetricsAdmin;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::bucket_store::BucketStoreHandle;
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::server::{self, AnswerBody, Pieces};
use crate::grpc::{Compression, Room};
use crate::local::LocalStore;
use crate::proto;
use crate::receive::WriteTarget;
use crate::select;

/// Cap on a request that asks, bytes.
const ASK_BYTES_MAX: usize = 16 << 20;
/// Bytes of a request that asks for which there is always room.
const ASK_BYTES_FREE: usize = 16 << 10;
/// Cap on a request that writes, bytes, after decompression.
const WRITE_BYTES_MAX: usize = 128 << 20;
/// `Series` calls that select at the same time; others wait (`--store.grpc.series-max-concurrency`).
const SERIES_CONCURRENCY_MAX: usize = 20;

pub use query::Queries;

/// What a server answers from: at least one of them.
#[derive(Clone, Default)]
pub struct Sources {
    /// The store of this process.
    pub local: Option<LocalStore>,
    /// The blocks of a bucket.
    pub bucket: Option<BucketStoreHandle>,
}

/// What serves the StoreAPI.
pub struct StoreApiServer {
    sources: Sources,
    admin: Option<Arc<dyn MetricsAdmin>>,
    write: Option<Arc<dyn WriteTarget>>,
    queries: Option<Queries>,
    budget: Arc<MemoryBudget>,
    tasks: Tasks,
    slots: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Info,
    Series,
    LabelNames,
    LabelValues,
    Exemplars,
    TsdbStatistics,
    Metadata,
    Rules,
    Targets,
    Query,
    QueryRange,
    Health,
    RemoteWrite,
}

/// Every method with its path.
const METHODS: [(&str, Method); 13] = [
    ("/thanos.info.Info/Info", Method::Info),
    ("/thanos.Store/Series", Method::Series),
    ("/thanos.Store/LabelNames", Method::LabelNames),
    ("/thanos.Store/LabelValues", Method::LabelValues),
    ("/thanos.Exemplars/Exemplars", Method::Exemplars),
    ("/thanos.Status/TSDBStatistics", Method::TsdbStatistics),
    ("/thanos.Metadata/MetricMetadata", Method::Metadata),
    ("/thanos.Rules/Rules", Method::Rules),
    ("/thanos.Targets/Targets", Method::Targets),
    ("/thanos.Query/Query", Method::Query),
    ("/thanos.Query/QueryRange", Method::QueryRange),
    ("/grpc.health.v1.Health/Check", Method::Health),
    ("/thanos.WriteableStore/RemoteWrite", Method::RemoteWrite),
];

impl StoreApiServer {
    /// A server for `sources`, with figures from `admin` and a place for what is written.
    pub fn new(
        sources: Sources,
        admin: Option<Arc<dyn MetricsAdmin>>,
        write: Option<Arc<dyn WriteTarget>>,
        tasks: Tasks,
    ) -> Self {
        Self {
            sources,
            admin,
            write,
            queries: None,
            budget: MemoryBudget::new(u64::MAX),
            tasks,
            slots: Arc::new(Semaphore::new(SERIES_CONCURRENCY_MAX)),
        }
    }

    /// The same, with queries evaluated by `queries`.
    pub fn with_queries(self, queries: Queries) -> Self {
        Self { queries: Some(queries), ..self }
    }

    /// The same; requests are read within this budget.
    #[must_use]
    pub fn with_budget(self, budget: Arc<MemoryBudget>) -> Self {
        Self { budget, ..self }
    }

    /// Answers a call.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        let call = match server::check(&request) {
            Ok(call) => call,
            Err(response) => return *response,
        };
        let compression = call.compression;
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let Some((_, method)) = METHODS.iter().find(|(known, _)| *known == path) else {
            return server::refused(&unknown(path));
        };
        let cap = if *method == Method::RemoteWrite { WRITE_BYTES_MAX } else { ASK_BYTES_MAX };
        let free = if *method == Method::RemoteWrite { 0 } else { ASK_BYTES_FREE };
        let room = Room::new(&self.budget, free);
        // It is held until the request is done, for a write until it is written.
        let (message, _room) = match server::read_message(body, compression, cap, room).await {
            Ok(read) => read,
            Err(status) => return server::refused(&status),
        };
        match self.call(*method, message, compression).await {
            Ok(pieces) => server::streamed(pieces, compression),
            Err(status) => server::refused(&status),
        }
    }

    async fn call(&self, method: Method, message: Bytes, compression: Compression) -> Result<Pieces, Status> {
        let answer = match method {
            Method::Info => match self.info().await {
                Ok(info) => return server::single(&info, compression),
                Err(error) => Err(error),
            },
            Method::Series => return self.series(decode(&message)?, compression).await,
            Method::LabelNames => match self.label_names(decode(&message)?).await {
                Ok(names) => return server::single(&names, compression),
                Err(error) => Err(error),
            },
            Method::LabelValues => match self.label_values(decode(&message)?).await {
                Ok(values) => return server::single(&values, compression),
                Err(error) => Err(error),
            },
            Method::Exemplars => self.exemplars(decode(&message)?, compression).await,
            Method::TsdbStatistics => self.statistics(decode(&message)?, compression).await,
            Method::Metadata => self.metadata(decode(&message)?, compression).await,
            Method::Rules | Method::Targets => Ok(Self::none()),
            Method::Query => self.query(decode(&message)?, compression).await,
            Method::QueryRange => self.query_range(decode(&message)?, compression).await,
            Method::Health => return described::health(&decode(&message)?, compression),
            Method::RemoteWrite => match &self.write {
                Some(target) => {
                    let written = target.remote_write(message).await;
                    written.map_err(|error| error.to_status())?;
                    return server::single(&proto::Empty {}, compression);
                }
                None => Err(ThanosError::new(ErrorKind::Unavailable, "this store takes no writes")),
            },
        };
        answer.map_err(|error| error.to_status())
    }

    async fn label_names(
        &self,
        request: proto::LabelNamesRequest,
    ) -> ThanosResult<proto::LabelNamesResponse> {
        let range = TimeRange::new(request.start, request.end);
        let matchers = select::matchers(&request.matchers)?;
        let without = &request.without_replica_labels;
        let mut names = match &self.sources.local {
            Some(local) => local.label_names(range, &matchers, without).await?,
            None => Vec::new(),
        };
        if let Some(bucket) = &self.sources.bucket {
            let more = bucket.known().await.label_names(range, &matchers).await?;
            names.extend(more.into_iter().filter(|name| !without.contains(name)));
            names.sort_unstable();
            names.dedup();
        }
        truncate(&mut names, request.limit);
        Ok(proto::LabelNamesResponse { names, warnings: Vec::new() })
    }

    async fn label_values(
        &self,
        request: proto::LabelValuesRequest,
    ) -> ThanosResult<proto::LabelValuesResponse> {
        if request.label.is_empty() {
            return Err(ThanosError::invalid("label name parameter cannot be empty"));
        }
        let range = TimeRange::new(request.start, request.end);
        let matchers = select::matchers(&request.matchers)?;
        let without = &request.without_replica_labels;
        let mut values = match &self.sources.local {
            Some(local) => local.label_values(&request.label, range, &matchers, without).await?,
            None => Vec::new(),
        };
        if let Some(bucket) = self.sources.bucket.as_ref().filter(|_| !without.contains(&request.label)) {
            values.extend(bucket.known().await.label_values(&request.label, range, &matchers).await?);
            values.sort_unstable();
            values.dedup();
        }
        truncate(&mut values, request.limit);
        Ok(proto::LabelValuesResponse { values, warnings: Vec::new() })
    }
}

fn truncate(list: &mut Vec<String>, limit: i64) {
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        list.truncate(limit);
    }
}

fn decode<M: Message + Default>(message: &Bytes) -> Result<M, Status> {
    M::decode(&message[..])
        .map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}

/// Texts of grpc-go (server.go, handleStream).
fn unknown(path: &str) -> Status {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    let is_known =
        |(known, _): &(&str, Method)| known[1..].rsplit_once('/').map(|(name, _)| name) == Some(service);
    if METHODS.iter().any(is_known) {
        return Status::unimplemented(format!("unknown method {method} for service {service}"));
    }
    Status::unimplemented(format!("unknown service {service}"))
}

#[cfg(test)]
mod tests;

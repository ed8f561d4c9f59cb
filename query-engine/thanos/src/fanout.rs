//! Many stores as one querier: this process' own store and those of others (pkg/query/querier.go, pkg/store/proxy.go).
//!
//! Stores are left out that cannot have what is asked for by their labels and times. A store that fails is a warning
//! under partial response, and fails the query otherwise. The tenant of a request reaches other stores as metadata, and
//! for every tenant but the default one as a matcher on the tenant's label, so that no tenant sees another's series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use model::{ErrorKind, Labels, Matcher, MetricMetadata, TenantId, TimeRange};
use parking_lot::Mutex;
use runtime::Tasks;
use storage_api::{
    BoxFuture, MetricsQuerier, MetricsSelect, SelectHints, Series, SeriesExemplars, StorageError,
    StorageResult,
};

use crate::bucket_store::{BUCKET_ADDRESS, BucketStoreHandle};
use crate::chunk_columns::Wanted;
use crate::dedup::DedupFunction;
use crate::endpoints::{Endpoint, EndpointSet, Seen};
use crate::local::LocalStore;
use crate::merge::{Failed, merge};
use crate::proto::{
    LabelNamesRequest, LabelNamesResponse, LabelValuesRequest, LabelValuesResponse, STRATEGY_ABORT,
    STRATEGY_WARN, SeriesRequest,
};
use crate::replicas::ReplicaChunks;
use crate::select::{StoreSelect, aggregates, shown, to_messages};
use crate::series_frame::StoreSeries;
use crate::server::Sources;
use crate::stream::{LOCAL_ADDRESS, SeriesStream, describe};

/// Series of one message, as Thanos' querier asks.
const BATCH: i64 = 64;
/// Most bytes of labels and chunks that one selector may bring from all stores together.
const SELECT_BYTES_MAX: usize = 1 << 30;
/// What Thanos calls the tenant of requests that name none.
const DEFAULT_TENANT: &str = "default-tenant";

/// How a querier asks and merges.
#[derive(Clone, Debug)]
pub struct FanoutSettings {
    /// Labels that tell replicas apart.
    pub replica_labels: Vec<String>,
    /// How replicas become one.
    pub dedup: DedupFunction,
    /// Whether a store that fails is a warning only, unless a request says otherwise.
    pub partial_response: bool,
    /// How long a store may be silent; `None` is for ever.
    pub response_timeout: Option<Duration>,
    /// Label with the tenant on the series of other stores.
    pub tenant_label: String,
}

/// What one request asks for.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// Whether replicas become one.
    pub dedup: bool,
    /// In place of the settings' ones.
    pub replica_labels: Vec<String>,
    /// Whether a store that fails is a warning only.
    pub partial_response: bool,
    /// Coarsest resolution of downsampled data, ms; 0 is raw data only.
    pub max_resolution_ms: i64,
    /// Only stores whose `__address__` matches all of one of these; empty is all stores.
    pub store_matchers: Vec<Vec<Matcher>>,
    /// Whether the data of all tenants of this process counts, as it does on the StoreAPI.
    pub all_tenants: bool,
}

/// The stores.
pub struct Fanout {
    sources: Sources,
    endpoints: EndpointSet,
    settings: FanoutSettings,
    tasks: Tasks,
}

impl Fanout {
    /// What this process has itself, if anything, and the stores of others.
    pub fn new(sources: Sources, endpoints: EndpointSet, settings: FanoutSettings, tasks: Tasks) -> Self {
        Self { sources, endpoints, settings, tasks }
    }

    /// What a request asks for that says nothing.
    pub fn options(&self) -> FanoutOptions {
        FanoutOptions {
            dedup: true,
            replica_labels: self.settings.replica_labels.clone(),
            partial_response: self.settings.partial_response,
            max_resolution_ms: 0,
            store_matchers: Vec::new(),
            all_tenants: false,
        }
    }

    /// The stores of others.
    pub fn endpoints(&self) -> &EndpointSet {
        &self.endpoints
    }

    /// A querier for one request.
    pub fn querier(self: &Arc<Self>, options: FanoutOptions) -> FanoutQuerier {
        FanoutQuerier {
            fanout: Arc::clone(self),
            options,
            warnings: Mutex::default(),
            lacked: AtomicBool::new(false),
        }
    }
}

/// The stores, for one request.
pub struct FanoutQuerier {
    fanout: Arc<Fanout>,
    options: FanoutOptions,
    warnings: Mutex<Vec<String>>,
    /// Whether a store was left out that may have had something.
    lacked: AtomicBool,
}

/// What is asked of all stores.
struct Ask<'a> {
    tenant: &'a TenantId,
    range: TimeRange,
    matchers: Vec<Matcher>,
    without: Vec<String>,
}

impl FanoutQuerier {
    /// What the request asks for.
    pub fn options(&self) -> &FanoutOptions {
        &self.options
    }

    /// Whether no store was left out so far that may have had something: one that does not answer at the moment is
    /// no warning, as in Thanos, but what is known without it must not be taken for the whole later on.
    pub fn is_whole(&self) -> bool {
        !self.lacked.load(Ordering::Relaxed)
    }

    /// What is missing in the answers so far, each once.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    fn is_deduplicating(&self) -> bool {
        self.options.dedup && !self.options.replica_labels.is_empty()
    }

    fn ask<'a>(&self, select: &'a MetricsSelect) -> Ask<'a> {
        let mut matchers = select.matchers.clone();
        if select.tenant.as_str() != TenantId::DEFAULT {
            matchers.push(Matcher::equal(&self.fanout.settings.tenant_label, select.tenant.as_str()));
        }
        let without = if self.is_deduplicating() { self.options.replica_labels.clone() } else { Vec::new() };
        Ask { tenant: &select.tenant, range: known_times(select.range), matchers, without }
    }

    fn strategy(&self) -> i32 {
        if self.options.partial_response { STRATEGY_WARN } else { STRATEGY_ABORT }
    }

    /// A store failed: a warning, or the end.
    fn failed(&self, Failed { source, message }: Failed) -> StorageResult<()> {
        if !self.options.partial_response {
            let text = format!("fetch series from {source}: {message}");
            return Err(StorageError::new(ErrorKind::Unavailable, text));
        }
        tracing::warn!(store = source, error = message, "a store failed; the answer is partial");
        self.warn([message]);
        Ok(())
    }

    /// Adds what is missing in the answers, each once.
    fn warn(&self, messages: impl IntoIterator<Item = String>) {
        let mut warnings = self.warnings.lock();
        for message in messages {
            if !warnings.contains(&message) {
                warnings.push(message);
            }
        }
    }

    /// Stores of others that may have what is asked for.
    async fn stores(&self, ask: &Ask<'_>) -> Vec<(Arc<Endpoint>, Arc<Seen>)> {
        self.fanout.endpoints.known().await;
        let is_asked = |address: &str| self.is_asked(address);
        if self.fanout.endpoints.lacks(ask.range, &ask.matchers, is_asked) {
            self.lacked.store(true, Ordering::Relaxed);
            // A store that is silent is known and comes back; a name that means nothing is a mistake that somebody made.
            self.warn(self.fanout.endpoints.unresolved());
        }
        let mut living = self.fanout.endpoints.living();
        living.retain(|(endpoint, seen)| {
            seen.may_have(ask.range, &ask.matchers) && self.is_asked(&endpoint.address)
        });
        living
    }

    fn local(&self, tenant: &TenantId) -> Option<LocalStore> {
        let local = self.fanout.sources.local.as_ref().filter(|_| self.is_asked(LOCAL_ADDRESS))?;
        Some(if self.options.all_tenants { local.clone() } else { local.of_tenant(tenant) })
    }

    fn bucket(&self) -> Option<&BucketStoreHandle> {
        self.fanout.sources.bucket.as_ref().filter(|_| self.is_asked(BUCKET_ADDRESS))
    }

    /// Whether the request wants a store of this address.
    fn is_asked(&self, address: &str) -> bool {
        let labels = Labels::from_pairs([("__address__", address)]);
        let sets = &self.options.store_matchers;
        sets.is_empty() || sets.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(&labels)))
    }

    /// Series of all stores, in order.
    async fn series(&self, ask: &Ask<'_>, request: &SeriesRequest) -> StorageResult<Vec<StoreSeries>> {
        let stores = self.stores(ask).await;
        let held = AtomicUsize::new(0);
        let asked =
            join_all(stores.iter().map(|(endpoint, seen)| self.open(endpoint, seen, ask, request, &held)));
        let select = StoreSelect {
            range: ask.range,
            matchers: ask.matchers.clone(),
            without: ask.without.clone(),
            shard: None,
            skip_chunks: request.skip_chunks,
            limit: 0,
            resolution_ms: request.max_resolution_window,
            aggregates: aggregates(&request.aggregates),
        };
        let local = async {
            let store = self.local(ask.tenant)?;
            Some(store.select(&select).await)
        };
        let bucket = async { Some(self.bucket()?.known().await.select(&select).await) };
        let (asked, local, bucket) = tokio::join!(asked, local, bucket);
        let mut streams = Vec::with_capacity(asked.len() + 1);
        match local {
            None => {}
            Some(Ok(found)) => {
                streams.push(SeriesStream::local(found, &select, self.fanout.tasks.clone()));
            }
            Some(Err(error)) => self.failed(Failed::own(LOCAL_ADDRESS, &error))?,
        }
        match bucket {
            None => {}
            Some(Ok(mut found)) => streams.append(&mut found),
            Some(Err(error)) => self.failed(Failed::own(BUCKET_ADDRESS, &error))?,
        }
        for stream in asked {
            match stream {
                Ok(stream) => streams.push(stream),
                Err(failed) => self.failed(failed)?,
            }
        }
        check_bytes(held.into_inner())?;
        let mut bytes = 0;
        let took = |more: usize| {
            bytes += more;
            check_bytes(bytes)
        };
        merge(streams, |failed| self.failed(failed), took).await
    }

    /// Asks one store; `held` counts the bytes of series that have to be in memory before the first can be given.
    async fn open(
        &self,
        endpoint: &Endpoint,
        seen: &Seen,
        ask: &Ask<'_>,
        request: &SeriesRequest,
        held: &AtomicUsize,
    ) -> Result<SeriesStream, Failed> {
        let name = endpoint.address.clone();
        let failed = |message: String| Failed { source: name.clone(), message };
        let timeout = self.fanout.settings.response_timeout;
        let call = endpoint.client.call("/thanos.Store/Series", request, Some(tenant_name(ask.tenant)));
        let answer = match timeout {
            None => call.await,
            Some(timeout) => tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
                Err(tonic::Status::deadline_exceeded(format!("no answer in {timeout:?}")))
            }),
        };
        let messages =
            answer.map_err(|status| failed(format!("fetch series for {name}: {}", describe(&status))))?;
        let stream = SeriesStream::remote(name.clone(), messages, timeout);
        if ask.without.is_empty() || seen.supports_without {
            return Ok(stream);
        }
        // It does not take labels away and order what is left: that is done here, with all of its series in memory.
        Ok(without_labels(stream, &ask.without, held).await)
    }

    async fn select_series(&self, select: &MetricsSelect, hints: &SelectHints) -> StorageResult<Vec<Series>> {
        let ask = self.ask(select);
        let wanted = Wanted::for_function(&hints.function);
        let request = SeriesRequest {
            min_time: ask.range.min,
            max_time: ask.range.max,
            matchers: to_messages(&ask.matchers),
            max_resolution_window: resolution(self.options.max_resolution_ms, hints),
            aggregates: wanted.numbers(),
            partial_response_strategy: self.strategy(),
            without_replica_labels: ask.without.clone(),
            response_batch_size: BATCH,
            ..SeriesRequest::default()
        };
        let found = self.series(&ask, &request).await?;
        let is_counter = matches!(hints.function.as_str(), "increase" | "rate" | "irate" | "resets");
        let function = self.fanout.settings.dedup;
        let series = |StoreSeries { labels, chunks }: StoreSeries| {
            let chunks = if self.is_deduplicating() {
                ReplicaChunks::deduplicated(chunks, wanted, function, is_counter, hints.bounds)
            } else {
                ReplicaChunks::single(chunks, wanted, hints.bounds)
            };
            Series { labels, chunks: Arc::new(chunks) }
        };
        Ok(found.into_iter().map(series).collect())
    }

    async fn select_labels(&self, select: &MetricsSelect) -> StorageResult<Vec<Labels>> {
        let ask = self.ask(select);
        let request = SeriesRequest {
            min_time: ask.range.min,
            max_time: ask.range.max,
            matchers: to_messages(&ask.matchers),
            skip_chunks: true,
            partial_response_strategy: self.strategy(),
            without_replica_labels: ask.without.clone(),
            response_batch_size: BATCH,
            ..SeriesRequest::default()
        };
        Ok(self.series(&ask, &request).await?.into_iter().map(|series| series.labels).collect())
    }

    /// Sorted texts that every store is asked for.
    async fn texts<F, L, B>(
        &self,
        ask: &Ask<'_>,
        remote: impl Fn(Arc<Endpoint>) -> F,
        local: L,
        bucket: B,
    ) -> StorageResult<Vec<String>>
    where
        F: Future<Output = Result<(Vec<String>, Vec<String>), tonic::Status>>,
        L: Future<Output = Option<crate::ThanosResult<Vec<String>>>>,
        B: Future<Output = Option<crate::ThanosResult<Vec<String>>>>,
    {
        let stores = self.stores(ask).await;
        let answers = join_all(stores.iter().map(|(endpoint, _)| remote(Arc::clone(endpoint))));
        let (answers, local, bucket) = tokio::join!(answers, local, bucket);
        let mut all = Vec::new();
        for (source, found) in [(LOCAL_ADDRESS, local), (BUCKET_ADDRESS, bucket)] {
            match found {
                Some(Ok(found)) => all.extend(found),
                Some(Err(error)) => self.failed(Failed::own(source, &error))?,
                None => {}
            }
        }
        for ((endpoint, _), answer) in stores.iter().zip(answers) {
            let source = || endpoint.address.clone();
            match answer {
                Ok((found, warnings)) => {
                    all.extend(found);
                    for message in warnings {
                        self.failed(Failed { source: source(), message })?;
                    }
                }
                Err(status) => {
                    let message = format!("fetch labels from {}: {}", source(), describe(&status));
                    self.failed(Failed { source: source(), message })?;
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}

/// Refuses more than one selector may bring.
fn check_bytes(bytes: usize) -> StorageResult<()> {
    if bytes <= SELECT_BYTES_MAX {
        return Ok(());
    }
    let text = format!("the stores sent more than {SELECT_BYTES_MAX} bytes for one selector; select less");
    Err(StorageError::new(ErrorKind::Invalid, text))
}

/// All of a store's series without some labels and in order again, with what it warned of. Ends early when `held`, which
/// others count in as well, passes what the selector may bring.
async fn without_labels(mut stream: SeriesStream, without: &[String], held: &AtomicUsize) -> SeriesStream {
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    loop {
        let more = match stream.next().await {
            Ok(Some(mut series)) => {
                series.labels = shown(&series.labels, &Labels::empty(), without);
                let bytes = series.bytes();
                all.push(series);
                bytes
            }
            Ok(None) => break,
            // What came before an error, and around a warning, counts as it does while it is streamed.
            Err(message) => {
                let bytes = message.len();
                warnings.push(message);
                bytes
            }
        };
        if held.fetch_add(more, Ordering::Relaxed) + more > SELECT_BYTES_MAX {
            break;
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    SeriesStream::ready_with(stream.name().to_owned(), all, warnings)
}

/// The times that other stores can read: some write them as dates. Years 1 to 9999.
fn known_times(range: TimeRange) -> TimeRange {
    const FIRST_MS: i64 = -62_135_596_800_000;
    const LAST_MS: i64 = 253_402_300_799_000;
    TimeRange::new(range.min.max(FIRST_MS), range.max.min(LAST_MS))
}

fn tenant_name(tenant: &TenantId) -> &str {
    match tenant.as_str() {
        TenantId::DEFAULT => DEFAULT_TENANT,
        other => other,
    }
}

/// The coarsest resolution that still gives functions of two samples two of them (`maxResolutionFromSelectHints`).
fn resolution(max_ms: i64, hints: &SelectHints) -> i64 {
    const OF_TWO_SAMPLES: [&str; 9] = [
        "rate",
        "irate",
        "increase",
        "delta",
        "idelta",
        "deriv",
        "predict_linear",
        "holt_winters",
        "double_exponential_smoothing",
    ];
    let is_limited = hints.range_ms > 0 && OF_TWO_SAMPLES.contains(&hints.function.as_str());
    if is_limited { max_ms.min(hints.range_ms / 2) } else { max_ms }
}

impl MetricsQuerier for FanoutQuerier {
    fn select<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        Box::pin(async move {
            let hints = SelectHints { bounds: select.range, ..SelectHints::default() };
            self.select_series(select, &hints).await
        })
    }

    fn wants_hints(&self) -> bool {
        true
    }

    fn select_hinted<'a>(
        &'a self,
        select: &'a MetricsSelect,
        hints: &'a SelectHints,
    ) -> BoxFuture<'a, StorageResult<Vec<Series>>> {
        Box::pin(self.select_series(select, hints))
    }

    /// With the labels of replicas, as Thanos' API shows them.
    fn label_names<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async move {
            let ask = self.ask(select);
            let request = LabelNamesRequest {
                partial_response_strategy: self.strategy(),
                start: ask.range.min,
                end: ask.range.max,
                matchers: to_messages(&ask.matchers),
                ..LabelNamesRequest::default()
            };
            let (request, tenant) = (&request, tenant_name(ask.tenant));
            let remote = |endpoint: Arc<Endpoint>| async move {
                let path = "/thanos.Store/LabelNames";
                let answer = endpoint.client.call_unary::<LabelNamesResponse>(path, request, Some(tenant));
                answer.await.map(|answer| (answer.names, answer.warnings))
            };
            let local = async {
                let store = self.local(ask.tenant)?;
                Some(store.label_names(ask.range, &ask.matchers, &[]).await)
            };
            let bucket =
                async { Some(self.bucket()?.known().await.label_names(ask.range, &ask.matchers).await) };
            self.texts(&ask, remote, local, bucket).await
        })
    }

    fn label_values<'a>(
        &'a self,
        name: &'a str,
        select: &'a MetricsSelect,
    ) -> BoxFuture<'a, StorageResult<Vec<String>>> {
        Box::pin(async move {
            let ask = self.ask(select);
            let request = LabelValuesRequest {
                label: name.to_owned(),
                partial_response_strategy: self.strategy(),
                start: ask.range.min,
                end: ask.range.max,
                matchers: to_messages(&ask.matchers),
                ..LabelValuesRequest::default()
            };
            let (request, tenant) = (&request, tenant_name(ask.tenant));
            let remote = |endpoint: Arc<Endpoint>| async move {
                let path = "/thanos.Store/LabelValues";
                let answer = endpoint.client.call_unary::<LabelValuesResponse>(path, request, Some(tenant));
                answer.await.map(|answer| (answer.values, answer.warnings))
            };
            let local = async {
                let store = self.local(ask.tenant)?;
                Some(store.label_values(name, ask.range, &ask.matchers, &[]).await)
            };
            let bucket = async {
                let store = self.bucket()?.known().await;
                Some(store.label_values(name, ask.range, &ask.matchers).await)
            };
            self.texts(&ask, remote, local, bucket).await
        })
    }

    fn series_labels<'a>(&'a self, select: &'a MetricsSelect) -> BoxFuture<'a, StorageResult<Vec<Labels>>> {
        Box::pin(self.select_labels(select))
    }

    fn metadata<'a>(
        &'a self,
        tenant: &'a TenantId,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, StorageResult<Vec<(String, MetricMetadata)>>> {
        match &self.fanout.sources.local {
            Some(local) => local.querier().metadata(tenant, metric),
            None => Box::pin(async { Ok(Vec::new()) }),
        }
    }

    fn exemplars<'a>(
        &'a self,
        tenant: &'a TenantId,
        selectors: &'a [Vec<Matcher>],
        range: TimeRange,
    ) -> BoxFuture<'a, StorageResult<Vec<SeriesExemplars>>> {
        match &self.fanout.sources.local {
            Some(local) => local.querier().exemplars(tenant, selectors, range),
            None => Box::pin(async { Ok(Vec::new()) }),
        }
    }
}

#[cfg(test)]
mod tests;

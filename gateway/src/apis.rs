//! The API servers' routes, made of the stores and the config.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use axum::Router;
use http::StatusCode;
use runtime::{Clock, Tasks};
use thanos::{
    BucketStoreHandle, EndpointSet, Fanout, FanoutSettings, Frontend, LocalSettings, LocalStore, Queries,
    Sources, StoreApiServer, StoreWriter, WriteTarget,
};
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use crate::api::answers::bounded;
use crate::api::loki::LokiApi;
use crate::api::process::{self, ProcessInfo};
use crate::api::prometheus::PrometheusApi;
use crate::api::{loki, prometheus};
use crate::config::Config;
use crate::config::types::{EndpointConfig, StorageConfig};
use crate::duration;
use crate::stores::OpenStores;

/// What `server.prometheus` serves, receivers' routes aside. Without stores there is nothing to select, and the rest
/// answers as ever.
pub(crate) fn prometheus(
    config: &Config,
    stores: Option<&OpenStores>,
    bucket: &Option<BucketStoreHandle>,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
    process: &Arc<ProcessInfo>,
) -> anyhow::Result<Router> {
    let query = config.query.clone();
    let api = PrometheusApi {
        engine: promql::Engine::new(query.engine(), tasks.clone()),
        querier: stores.map_or_else(OpenStores::no_metrics, OpenStores::metrics_querier),
        fanout: fanout(config, stores, bucket.clone(), tasks, clock)?.map(Arc::new),
        frontend: frontend(config, clock),
        external_labels: config.storage.external_labels.clone(),
        clock: Arc::clone(clock),
        slots: Arc::new(Semaphore::new(query.max_concurrency)),
        tasks: tasks.clone(),
        query,
        process: Arc::clone(process),
        admin: stores.and_then(OpenStores::metrics_admin),
        is_admin_enabled: config.server.prometheus.enable_admin_api,
        is_lifecycle_enabled: config.server.prometheus.enable_lifecycle,
    };
    let routes = prometheus::router(Arc::new(api)).merge(process::prometheus_routes(Arc::clone(process)));
    Ok(with_edges(routes, process))
}

/// The stores of others and the bucket with the store of this process; none when the config names neither.
fn fanout(
    config: &Config,
    stores: Option<&OpenStores>,
    bucket: Option<BucketStoreHandle>,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Fanout>> {
    let section = &config.query.store_apis;
    if section.endpoints.is_empty() && bucket.is_none() {
        return Ok(None);
    }
    let endpoints = section.endpoints.iter().map(EndpointConfig::settings);
    let endpoints =
        endpoints.collect::<Result<Vec<_>, _>>().map_err(|error| anyhow!("query::store_apis: {error}"))?;
    let endpoints = EndpointSet::start(&endpoints, Arc::clone(clock), tasks)?;
    let settings = fanout_settings(config);
    let local = stores.map(|stores| local_store(&config.storage, "receive", stores));
    Ok(Some(Fanout::new(Sources { local, bucket }, endpoints, settings, tasks.clone())))
}

/// How several stores are asked and merged.
fn fanout_settings(config: &Config) -> FanoutSettings {
    let section = &config.query.store_apis;
    FanoutSettings {
        replica_labels: section.replica_labels.clone(),
        dedup: section.deduplication.into(),
        partial_response: section.partial_response,
        response_timeout: Some(section.response_timeout).filter(|timeout| !timeout.is_zero()),
        tenant_label: config.storage.tenant_label.clone(),
    }
}

/// What range queries go through, if the config says so.
fn frontend(config: &Config, clock: &Arc<dyn Clock>) -> Option<Frontend> {
    let section = &config.query.frontend;
    let settings = section.settings(config.storage.metrics.out_of_order_window);
    section.enabled.then(|| Frontend::new(settings, Arc::clone(clock)))
}

/// What `server.loki` serves without stores: what it is asked about the process.
pub(crate) fn loki_without_stores(process: &Arc<ProcessInfo>) -> Router {
    with_edges(process::loki_routes(Arc::clone(process)), process)
}

/// What `server.loki` serves, receivers' routes aside.
pub(crate) fn loki(
    config: &Config,
    stores: &OpenStores,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
    process: &Arc<ProcessInfo>,
) -> Router {
    let (query, limits) = (config.query.clone(), &config.server.loki);
    let settings = logql::EngineSettings {
        tasks: tasks.clone(),
        timeout: query.timeout,
        entries_max: limits.max_entries_limit_per_query,
        series_max: limits.max_query_series.get(),
        ..logql::EngineSettings::default()
    };
    let api = LokiApi {
        engine: logql::Engine::new(settings),
        querier: stores.log_querier(),
        follower: stores.log_follower(),
        maintenance: stores.log_maintenance(),
        deletes: stores.log_deletes(),
        is_delete_enabled: limits.enable_delete,
        tasks: tasks.clone(),
        tails: loki::RunningTails::default(),
        process: Arc::clone(process),
        clock: Arc::clone(clock),
        slots: Arc::new(Semaphore::new(query.max_concurrency)),
        query,
        logs: config.storage.logs.clone(),
    };
    with_edges(loki::router(Arc::new(api)).merge(process::loki_routes(Arc::clone(process))), process)
}

/// What `server.store_api` serves; none without anything to show.
pub(crate) fn store_api(
    config: &Config,
    stores: Option<&OpenStores>,
    bucket: Option<BucketStoreHandle>,
    router: Option<Arc<thanos::Router>>,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<StoreApiServer>> {
    if stores.is_none() && bucket.is_none() && router.is_none() {
        return Ok(None);
    }
    let component = config.server.store_api.component.name();
    let local = stores.map(|stores| local_store(&config.storage, component, stores));
    let routed = router.map(|router| router as Arc<dyn WriteTarget>);
    let writer = routed.or_else(|| stores.and_then(|stores| writer(stores, tasks)));
    let admin = stores.and_then(OpenStores::metrics_admin);
    let sources = Sources { local, bucket };
    // What it has itself: queriers that ask it ask the other stores as well.
    let endpoints = EndpointSet::start(&[], Arc::clone(clock), tasks)?;
    let stores = Arc::new(Fanout::new(sources.clone(), endpoints, fanout_settings(config), tasks.clone()));
    let queries = Queries { engine: promql::Engine::new(config.query.engine(), tasks.clone()), stores };
    Ok(Some(StoreApiServer::new(sources, admin, writer, tasks.clone()).with_queries(queries)))
}

/// What takes writes of Thanos' routers into the metrics store.
pub(crate) fn writer(stores: &OpenStores, tasks: &Tasks) -> Option<Arc<dyn WriteTarget>> {
    let appender = stores.for_exporters().metrics?;
    Some(Arc::new(StoreWriter::new(appender, tasks.clone())))
}

/// The metrics store as Thanos sees it.
fn local_store(config: &StorageConfig, component: &str, stores: &OpenStores) -> LocalStore {
    let settings = LocalSettings {
        external_labels: config.external_labels.clone(),
        tenant_label: config.tenant_label.clone(),
        component: component.to_owned(),
    };
    LocalStore::new(stores.metrics_querier(), settings)
}

/// Compressed answers for clients that take them, a 500 for a query that hits a defect, and Go's text for paths that are not there: Grafana tells by it
/// that a feature is missing and not broken.
fn with_edges(routes: Router, process: &ProcessInfo) -> Router {
    // Streams of remote read go as they are, as from Prometheus: what is in them is compressed.
    let streams = NotForContentType::const_new("application/x-streamed-protobuf");
    let compressed = DefaultPredicate::new().and(streams);
    bounded(routes, Arc::clone(&process.answers))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n") })
        .layer(CatchPanicLayer::new())
        // Answers are compressed while a client waits, most often one on the same network.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(compressed))
}

/// Settings that have a flag in Prometheus, by that name.
pub(crate) fn flags(config: &Config) -> BTreeMap<&'static str, String> {
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs());
    let metrics = &config.storage.metrics;
    BTreeMap::from([
        ("query.lookback-delta", seconds(config.query.lookback_delta)),
        ("query.max-concurrency", config.query.max_concurrency.to_string()),
        ("query.max-samples", config.query.max_samples.to_string()),
        ("query.timeout", seconds(config.query.timeout)),
        ("storage.tsdb.path", config.storage.directory.join("metrics").display().to_string()),
        ("web.enable-admin-api", config.server.prometheus.enable_admin_api.to_string()),
        ("web.enable-lifecycle", config.server.prometheus.enable_lifecycle.to_string()),
        ("web.enable-otlp-receiver", "true".to_owned()),
        ("storage.tsdb.retention.size", format!("{}B", metrics.retention_size)),
        ("storage.tsdb.retention.time", duration::prometheus_text(metrics.retention)),
        ("web.enable-remote-write-receiver", takes_remote_write(config).to_string()),
        ("web.listen-address", config.server.prometheus.endpoint().to_owned()),
    ])
}

/// Whether a pipeline takes what is written to `/api/v1/write`.
fn takes_remote_write(config: &Config) -> bool {
    let pipelines = config.value().pointer("/service/pipelines").and_then(serde_json::Value::as_object);
    let receivers =
        pipelines.into_iter().flat_map(|all| all.values()).filter_map(|own| own["receivers"].as_array());
    let mut kinds = receivers.flatten().filter_map(|id| id.as_str()?.split('/').next());
    kinds.any(|kind| kind.trim() == "prometheusremotewrite")
}

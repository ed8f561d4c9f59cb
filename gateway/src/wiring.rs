//! Puts the process together: stores, pipelines, receivers, servers; exchanges what a new config changes; and takes it
//! apart again in the right order.
//!
//! Start: stores, then extensions, then pipelines from the back, then listeners. Shutdown: listeners first (requests in
//! flight are answered), then the pipelines front to back, then the stores; all under one deadline (WIRE-UP-1). A reload
//! (`reload`) makes the new parts beside the old ones, exchanges the handlers of listeners that stay open, and drains
//! the old parts; no request is refused on its way (WIRE-UP-2).

mod build;
mod faults;
mod generation;
mod listeners;
mod reload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use model::Signal;
use pipelines::{ConfigError, Graph, GraphContext};
use runtime::{Clock, MemoryBudget, SystemClock, Tasks};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::process::{Control, Described, OwnMetrics, ProcessInfo};
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::config::redact::redact;
use crate::config::types::{LokiApiConfig, MetricsLevel, PrometheusApiConfig};
use crate::receivers::{ApiServer, Listener};
use crate::server::auth::{AuthConfig, ServerAuths, protect, refuse_in_text};
use crate::server::cors::CorsConfig;
use crate::server::listen::BoundAddress;
use crate::server::tls::TlsServerConfig;
use crate::server::{ServeSettings, router_handler};
use crate::stores::OpenStores;
use crate::telemetry::exposition::Names;
use crate::{apis, telemetry};
use build::Parts;
pub use build::check;
use generation::Generation;
use listeners::{Open, Stage};

/// A listener that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What speaks there: `OTLP gRPC`, `OTLP HTTP`, `Prometheus API`, `Loki API`, `Metrics`.
    pub what: &'static str,
    /// Where.
    pub address: BoundAddress,
}

/// A running gateway.
pub struct Gateway {
    process: Arc<ProcessInfo>,
    control: Option<mpsc::Receiver<Control>>,
    config: Config,
    /// What components get of their surroundings, extensions aside.
    context: GraphContext,
    stores: OpenStores,
    apis: ApiRoutes,
    graph: Graph,
    generation: Arc<Generation>,
    open: Vec<Open>,
    bound: Vec<Bound>,
}

/// The routes of the API servers without those of receivers.
#[derive(Clone)]
struct ApiRoutes {
    prometheus: Router,
    loki: Router,
    metrics: OwnMetrics,
}

/// What runs in front of the stores.
struct Front {
    graph: Graph,
    generation: Arc<Generation>,
    open: Vec<Open>,
    bound: Vec<Bound>,
}

/// Tells that a part did not end after a start that failed; the start's own error is what the caller gets.
fn end<E: std::fmt::Display>(what: &str, ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::warn!(%error, "after a start that failed, the {what} did not end in order");
    }
}

impl Gateway {
    /// Starts everything that a config asks for. On an error nothing is left running.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        check(&config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::new();
        let budget = MemoryBudget::new(u64::MAX);
        let recorder = telemetry::recorder();
        let started_ms = clock.now_ms();
        telemetry::keep_up(recorder.clone(), &tasks, started_ms, &config.service.telemetry.resource);
        let level = config.service.telemetry.metrics.level;
        let metrics = (level != MetricsLevel::None).then_some(recorder);
        let (process, control) = ProcessInfo::new(started_ms, metrics, describe(&config, started_ms)?);

        let timeout = config.server.shutdown_timeout;
        let stores = match OpenStores::open(&config.storage, &tasks, &clock, &budget).await {
            Ok(stores) => stores,
            Err(error) => {
                end("tasks", tasks.shutdown(timeout).await);
                return Err(error);
            }
        };
        let apis = ApiRoutes {
            prometheus: apis::prometheus(&config, &stores, &tasks, &clock, &process),
            loki: apis::loki(&config, &stores, &tasks, &clock, &process),
            metrics: OwnMetrics(Arc::clone(&process)),
        };
        let extensions = pipelines::Extensions::default();
        let context = GraphContext { clock, tasks: tasks.clone(), budget, extensions };
        match Self::in_front(&config, &stores, &context, &apis, &process).await {
            Ok(Front { graph, generation, open, bound }) => {
                process.set_ready(true);
                let control = Some(control);
                Ok(Self { process, control, config, context, stores, apis, graph, generation, open, bound })
            }
            Err(error) => {
                end("stores", stores.shutdown(timeout).await);
                end("tasks", tasks.shutdown(timeout).await);
                Err(error)
            }
        }
    }

    /// Starts what comes in front of open stores. On an error nothing of it is left running.
    async fn in_front(
        config: &Config,
        stores: &OpenStores,
        context: &GraphContext,
        apis: &ApiRoutes,
        process: &Arc<ProcessInfo>,
    ) -> anyhow::Result<Front> {
        let mut parts = build::build(config, &stores.for_exporters(), context, process, None)?;
        for (id, start) in &parts.extensions.starts {
            start().with_context(|| format!("failed to start extension {id}"))?;
        }
        let generation = Arc::new(Generation::default());
        let wanted = wanted(config, &mut parts, apis)?;
        let prepared = listeners::prepare(wanted, &[], &generation).await?;
        let graph = parts.graph;
        if let Err(error) = graph.start().await {
            end("pipelines", graph.shutdown(config.server.shutdown_timeout).await);
            return Err(anyhow!("{error}"));
        }
        let mut open = Vec::new();
        let bound = prepared.bound(&open);
        prepared.commit(&mut open);
        Ok(Front { graph, generation, open, bound })
    }

    /// What listens where.
    pub fn listeners(&self) -> &[Bound] {
        &self.bound
    }

    /// Signals that no pipeline takes; whoever sends them is refused.
    pub fn refused(&self) -> Vec<Signal> {
        let is_refused = |signal: &Signal| self.graph.receivers().all(|(taken, _)| taken != *signal);
        Signal::ALL.into_iter().filter(is_refused).collect()
    }

    /// The TCP address of a listener by its name.
    pub fn address(&self, what: &str) -> Option<SocketAddr> {
        let found = self.bound.iter().find(|listener| listener.what == what)?;
        match found.address {
            BoundAddress::Tcp(address) => Some(address),
            BoundAddress::Unix(_) => None,
        }
    }

    /// What requests ask of the process; for the one who can do it, once.
    pub fn take_control(&mut self) -> Option<mpsc::Receiver<Control>> {
        self.control.take()
    }

    /// Drains and ends everything. What was acknowledged is kept even if the deadline passes; the error says what did
    /// not end in time.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.process.set_ready(false);
        let end = Instant::now() + self.config.server.shutdown_timeout;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let mut late = listeners::stop(&self.open, Some(Stage::Intake), left()).await;
        if let Err(error) = self.graph.shutdown(left()).await {
            late.push(error.to_string());
        }
        if let Err(error) = self.stores.shutdown(left()).await {
            late.push(format!("{error:#}"));
        }
        late.extend(listeners::stop(&self.open, Some(Stage::Status), left()).await);
        if let Err(error) = self.context.tasks.shutdown(left()).await {
            late.push(error.to_string());
        }
        if late.is_empty() { Ok(()) } else { Err(anyhow!("shutdown was not complete: {}", late.join("; "))) }
    }
}

/// The config as it may be shown.
fn describe(config: &Config, loaded_ms: i64) -> anyhow::Result<Described> {
    let mut shown = config.value().clone();
    redact(&mut shown);
    let yaml = crate::cli::print_config::redacted_yaml(config)?;
    Ok(Described { loaded_ms, flags: apis::flags(config), yaml, config: shown })
}

/// Every listener that a config asks for.
fn wanted(
    config: &Config,
    parts: &mut Parts,
    apis: &ApiRoutes,
) -> Result<Vec<(Stage, Listener)>, ConfigFault> {
    let mut intake = Vec::new();
    let ApiRoutes { mut prometheus, mut loki, metrics } = apis.clone();
    for receiver in parts.receivers.drain(..) {
        intake.extend(receiver.listeners);
        for mount in receiver.mounts {
            match mount.server {
                ApiServer::Prometheus => prometheus = prometheus.merge(mount.routes),
                ApiServer::Loki => loki = loki.merge(mount.routes),
            }
        }
    }
    let PrometheusApiConfig { tls, auth, cors, .. } = &config.server.prometheus;
    let edge =
        Edge { tls: tls.as_ref(), auth: auth.as_ref(), cors: cors.as_ref(), auths: &parts.extensions.auths };
    let endpoint = config.server.prometheus.endpoint();
    let listener = edge.listener("Prometheus API", endpoint, prometheus);
    intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "prometheus"])))?);
    let LokiApiConfig { tls, auth, cors, .. } = &config.server.loki;
    let edge =
        Edge { tls: tls.as_ref(), auth: auth.as_ref(), cors: cors.as_ref(), auths: &parts.extensions.auths };
    let listener = edge.listener("Loki API", config.server.loki.endpoint(), loki);
    intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "loki"])))?);
    let mut status = own_metrics(config, metrics);
    let of_extensions = parts.extensions.listeners.drain(..);
    status.extend(of_extensions);
    let intake = intake.into_iter().map(|listener| (Stage::Intake, listener));
    Ok(intake.chain(status.into_iter().map(|listener| (Stage::Status, listener))).collect())
}

/// What stands between an API and those who ask it.
struct Edge<'a> {
    tls: Option<&'a TlsServerConfig>,
    auth: Option<&'a AuthConfig>,
    cors: Option<&'a CorsConfig>,
    auths: &'a ServerAuths,
}

impl Edge<'_> {
    /// The listener of an API; none for an empty endpoint.
    fn listener(
        &self,
        what: &'static str,
        endpoint: &str,
        routes: Router,
    ) -> Result<Option<Listener>, ConfigError> {
        let mut routes = protect(routes, self.auths.resolve(self.auth)?, refuse_in_text);
        if let Some(cors) = self.cors {
            routes = cors.around(routes)?;
        }
        Ok((!endpoint.is_empty()).then(|| Listener {
            what,
            endpoint: endpoint.to_owned(),
            settings: ServeSettings { tls: self.tls.cloned(), ..ServeSettings::default() },
            handler: router_handler(routes),
        }))
    }
}

/// The listeners of `service::telemetry::metrics`.
fn own_metrics(config: &Config, metrics: OwnMetrics) -> Vec<Listener> {
    let section = &config.service.telemetry.metrics;
    let listener = |endpoint: String, routes: Router| Listener {
        what: "Metrics",
        endpoint,
        settings: ServeSettings::default(),
        handler: router_handler(routes),
    };
    let address =
        section.address.iter().map(|address| listener(address.clone(), metrics.routes(Names::default())));
    let readers = section.readers.iter().filter_map(|reader| reader.pull.as_ref()).map(|pull| {
        let reader = &pull.exporter.prometheus;
        let names =
            Names { with_type_suffix: !reader.without_type_suffix, with_units: !reader.without_units };
        let host = if reader.host.contains(':') { format!("[{}]", reader.host) } else { reader.host.clone() };
        listener(format!("{host}:{}", reader.port), metrics.routes(names))
    });
    address.chain(readers).collect()
}

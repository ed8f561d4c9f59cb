//! Puts the process together: stores, pipelines, receivers, servers, and takes it apart again in the right order.
//!
//! Start: stores, then pipelines from the back, then listeners. Shutdown: listeners first (requests in flight are
//! answered), then the pipelines front to back, then the stores; all under one deadline (WIRE-UP-1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use exporters::{EXPORTERS, Stores};
use metrics_exporter_prometheus::PrometheusHandle;
use model::Signal;
use pipelines::{
    ComponentConfig, ComponentId, ConfigError, Graph, GraphContext, PROCESSORS, PipelinesConfig, Registries,
};
use runtime::{Clock, MemoryBudget, SystemClock, Tasks};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::api::process::ProcessInfo;
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::config::types::MetricsLevel;
use crate::receivers::{ApiServer, Entries, Listener, RECEIVERS, Receiver, ReceiverContext};
use crate::server::{ServeSettings, router_handler, serve};
use crate::stores::OpenStores;
use crate::{apis, telemetry};

/// A listener that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What speaks there: `OTLP gRPC`, `OTLP HTTP`, `Prometheus API`, `Loki API`, `Metrics`.
    pub what: &'static str,
    /// The address, with the real port where the config said 0.
    pub address: SocketAddr,
}

/// A running gateway.
pub struct Gateway {
    process: Arc<ProcessInfo>,
    servers: Tasks,
    tasks: Tasks,
    graph: Graph,
    stores: OpenStores,
    listeners: Vec<Bound>,
    refused: Vec<Signal>,
    shutdown_timeout: Duration,
}

/// What runs in front of the stores.
struct Started {
    process: Arc<ProcessInfo>,
    servers: Tasks,
    graph: Graph,
    listeners: Vec<Bound>,
}

/// Tells that a part did not end after a start that failed; the start's own error is what the caller gets.
fn end<E: std::fmt::Display>(what: &str, ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::warn!(%error, "after a start that failed, the {what} did not end in order");
    }
}

/// Makes every component of a config without starting anything.
pub fn check(config: &Config) -> Result<(), ConfigFault> {
    let context = GraphContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
        extensions: pipelines::Extensions::default(),
    };
    build(config, &OpenStores::not_opened(), &context).map(|_| ())
}

/// The graph and the receivers in front of it.
fn build(
    config: &Config,
    stores: &Stores,
    context: &GraphContext,
) -> Result<(Graph, Vec<(ComponentId, Receiver)>), ConfigFault> {
    config.read(|value| {
        let registries = Registries { processors: PROCESSORS, exporters: EXPORTERS, stores };
        let graph = Graph::build(&PipelinesConfig::parse(value)?, &registries, context)?;
        let receivers = receivers(value, &graph, context)?;
        Ok((graph, receivers))
    })
}

fn receivers(
    value: &Value,
    graph: &Graph,
    context: &GraphContext,
) -> Result<Vec<(ComponentId, Receiver)>, ConfigError> {
    let Some(Value::Object(sections)) = value.get("receivers") else { return Ok(Vec::new()) };
    let mut made = Vec::new();
    let mut mounted: Vec<(ApiServer, &'static str)> = Vec::new();
    for (key, section) in sections {
        let at = |error: ConfigError| error.under(&["receivers", key]);
        let id = ComponentId::parse(key).map_err(|error| at(ConfigError::at("", error.to_string())))?;
        let Some(row) = RECEIVERS.iter().find(|row| row.kind == id.kind) else {
            let known: Vec<&str> = RECEIVERS.iter().map(|row| row.kind).collect();
            let message =
                format!("unknown type: {:?} for id: \"{id}\" (valid values: [{}])", id.kind, known.join(" "));
            return Err(at(ConfigError::at("", message)));
        };
        let unknown =
            |(signal, named): &(Signal, &ComponentId)| **named == id && !row.signals.contains(signal);
        if let Some((signal, _)) = graph.receivers().find(unknown) {
            let message =
                format!("receiver \"{id}\" does not produce {signal}: telemetry type is not supported");
            return Err(at(ConfigError::at("", message)));
        }
        let entries = Entries::new(|signal| graph.entry(signal, &id));
        let receiver_context =
            ReceiverContext { entries, budget: Arc::clone(&context.budget), tasks: context.tasks.clone() };
        let receiver =
            (row.create)(&ComponentConfig { id: &id, value: section }, &receiver_context).map_err(at)?;
        for path in
            receiver.mounts.iter().flat_map(|mount| mount.paths.iter().map(|path| (mount.server, *path)))
        {
            if mounted.contains(&path) {
                return Err(at(ConfigError::at("", format!("another receiver already serves {}", path.1))));
            }
            mounted.push(path);
        }
        // As in the collector, a receiver that no pipeline names is checked and not started.
        if graph.receivers().any(|(_, named)| *named == id) {
            made.push((id, receiver));
        }
    }
    Ok(made)
}

impl Gateway {
    /// Starts everything that a config asks for. On an error nothing is left running.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        check(&config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::new();
        let budget = MemoryBudget::new(u64::MAX);
        let recorder = telemetry::recorder();
        telemetry::keep_up(recorder.clone(), &tasks, clock.now_ms());

        let timeout = config.server.shutdown_timeout;
        let stores = match OpenStores::open(&config.storage, &tasks, &clock, &budget).await {
            Ok(stores) => stores,
            Err(error) => {
                end("tasks", tasks.shutdown(timeout).await);
                return Err(error);
            }
        };
        let context = GraphContext {
            clock,
            tasks: tasks.clone(),
            budget,
            extensions: pipelines::Extensions::default(),
        };
        let started = Self::on_stores(&config, &stores, &context, recorder).await;
        match started {
            Ok(Started { process, servers, graph, listeners }) => {
                let refused = Signal::ALL.into_iter();
                let refused = refused.filter(|signal| graph.receivers().all(|(taken, _)| taken != *signal));
                let refused = refused.collect();
                let shutdown_timeout = timeout;
                Ok(Self { process, servers, tasks, graph, stores, listeners, refused, shutdown_timeout })
            }
            Err(error) => {
                end("stores", stores.shutdown(timeout).await);
                end("tasks", tasks.shutdown(timeout).await);
                Err(error)
            }
        }
    }

    /// Starts what comes in front of open stores. On an error nothing of it is left running.
    async fn on_stores(
        config: &Config,
        stores: &OpenStores,
        context: &GraphContext,
        recorder: PrometheusHandle,
    ) -> anyhow::Result<Started> {
        let GraphContext { clock, tasks, .. } = context;
        let level = config.service.telemetry.metrics.level;
        let (graph, receivers) = build(config, &stores.for_exporters(), context)?;
        let process = Arc::new(ProcessInfo {
            started_ms: clock.now_ms(),
            flags: apis::flags(config),
            config_yaml: crate::cli::print_config::redacted_yaml(config)?,
            ready: AtomicBool::new(false),
            metrics: (level != MetricsLevel::None).then_some(recorder),
        });

        let mut listeners = Vec::new();
        let mut mounts = Vec::new();
        for (_, receiver) in receivers {
            listeners.extend(receiver.listeners);
            mounts.extend(receiver.mounts);
        }
        let mut on_prometheus = apis::prometheus(config, stores, tasks, clock, &process);
        let mut on_loki = apis::loki(config, stores, tasks, clock, &process);
        for mount in mounts {
            match mount.server {
                ApiServer::Prometheus => on_prometheus = on_prometheus.merge(mount.routes),
                ApiServer::Loki => on_loki = on_loki.merge(mount.routes),
            }
        }
        listeners.extend(api_listener("Prometheus API", &config.server.prometheus.endpoint, on_prometheus));
        listeners.extend(api_listener("Loki API", &config.server.loki.endpoint, on_loki));
        if let Some(address) = &config.service.telemetry.metrics.address {
            let routes = crate::api::process::metrics_routes(Arc::clone(&process));
            listeners.extend(api_listener("Metrics", address, routes));
        }

        let bound = bind_all(&listeners).await?;
        let mut open = Vec::new();
        for (listener, sockets) in listeners.iter().zip(&bound) {
            open.push(Bound { what: listener.what, address: sockets[0].local_addr()? });
        }
        if let Err(error) = graph.start().await {
            end("pipelines", graph.shutdown(config.server.shutdown_timeout).await);
            return Err(anyhow!("{error}"));
        }
        let servers = Tasks::new();
        for (listener, sockets) in listeners.into_iter().zip(bound) {
            for socket in sockets {
                serve(socket, Arc::clone(&listener.handler), &listener.settings, &servers);
            }
        }
        process.ready.store(true, Ordering::Release);
        Ok(Started { process, servers, graph, listeners: open })
    }

    /// What listens where.
    pub fn listeners(&self) -> &[Bound] {
        &self.listeners
    }

    /// Signals that no pipeline takes; whoever sends them is refused.
    pub fn refused(&self) -> &[Signal] {
        &self.refused
    }

    /// The address of a listener by its name.
    pub fn address(&self, what: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|listener| listener.what == what).map(|listener| listener.address)
    }

    /// Drains and ends everything. What was acknowledged is kept even if the deadline passes; the error says what did
    /// not end in time.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.process.ready.store(false, Ordering::Release);
        let end = Instant::now() + self.shutdown_timeout;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let mut late = Vec::new();
        if let Err(error) = self.servers.shutdown(left()).await {
            late.push(error.to_string());
        }
        if let Err(error) = self.graph.shutdown(left()).await {
            late.push(error.to_string());
        }
        if let Err(error) = self.stores.shutdown(left()).await {
            late.push(format!("{error:#}"));
        }
        if let Err(error) = self.tasks.shutdown(left()).await {
            late.push(error.to_string());
        }
        if late.is_empty() { Ok(()) } else { Err(anyhow!("shutdown was not complete: {}", late.join("; "))) }
    }
}

fn api_listener(what: &'static str, endpoint: &str, routes: Router) -> Option<Listener> {
    (!endpoint.is_empty()).then(|| Listener {
        what,
        endpoint: endpoint.to_owned(),
        settings: ServeSettings::default(),
        handler: router_handler(routes),
    })
}

/// Opens every listener, or none.
async fn bind_all(listeners: &[Listener]) -> anyhow::Result<Vec<Vec<TcpListener>>> {
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let sockets = bind(&listener.endpoint).await;
        bound.push(
            sockets.with_context(|| format!("{}: cannot listen on {}", listener.what, listener.endpoint))?,
        );
    }
    Ok(bound)
}

/// Opens `host:port`. No host is every interface, as in Go; `localhost` is both loopback addresses, because some
/// clients try IPv6 first.
async fn bind(endpoint: &str) -> anyhow::Result<Vec<TcpListener>> {
    let (host, port) = endpoint.rsplit_once(':').context("want host:port")?;
    let port: u16 = port.parse().with_context(|| format!("port {port:?} is not a number up to 65535"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host {
        "" => match TcpListener::bind(("::", port)).await {
            Ok(socket) => Ok(vec![socket]),
            Err(_) => Ok(vec![TcpListener::bind(("0.0.0.0", port)).await?]),
        },
        "localhost" => {
            let first = TcpListener::bind(("127.0.0.1", port)).await?;
            let port = first.local_addr()?.port();
            let second = TcpListener::bind(("::1", port)).await.ok();
            Ok(std::iter::once(first).chain(second).collect())
        }
        host => Ok(vec![TcpListener::bind((host, port)).await?]),
    }
}

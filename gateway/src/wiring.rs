//! Puts the process together: stores, pipelines, receivers, servers; exchanges what a new config changes; and takes it
//! apart again in the right order.
//!
//! Start: stores, then extensions, then pipelines from the back, then listeners. Shutdown: listeners first (requests in
//! flight are answered), then the pipelines front to back, then the stores; all under one deadline (WIRE-UP-1). A reload
//! (`reload`) makes the new parts beside the old ones, exchanges the handlers of listeners that stay open, and drains
//! the old parts; no request is refused on its way (WIRE-UP-2).

mod build;
mod faults;
mod front;
mod generation;
mod listeners;
mod reload;
mod wanted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use exporters::Stores;
use futures_util::future::join_all;
use model::Signal;
use pipelines::{Graph, GraphContext};
use runtime::{Clock, MemoryBudget, SystemClock, Tasks};
use thanos::StoreApiServer;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::process::{Control, Described, OwnMetrics, ProcessInfo};
use crate::config::Config;
use crate::config::redact::redact;
use crate::config::types::MetricsLevel;
use crate::receivers::Worker;
use crate::server::listen::BoundAddress;
use crate::stores::OpenStores;
use crate::{apis, bucket_work, receive_work, telemetry};
pub use build::{check, endpoints};
use front::{Front, Ground};
use generation::Generation;
use listeners::{Open, Stage};

/// A listener that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What speaks there: `OTLP gRPC`, `OTLP HTTP`, `Prometheus API`, `Loki API`, `StoreAPI`, `Metrics`.
    pub what: &'static str,
    /// Where.
    pub address: BoundAddress,
    /// Whether it speaks TLS.
    pub is_encrypted: bool,
}

impl Bound {
    /// Whether it is an address that one can connect to from elsewhere.
    pub fn is_tcp(&self) -> bool {
        matches!(self.address, BoundAddress::Tcp(_))
    }

    /// The scheme of URLs that lead there.
    pub fn scheme(&self) -> &'static str {
        if self.is_encrypted { "https" } else { "http" }
    }
}

/// A running gateway.
pub struct Gateway {
    process: Arc<ProcessInfo>,
    control: Option<mpsc::Receiver<Control>>,
    config: Config,
    /// What components get of their surroundings, extensions aside.
    context: GraphContext,
    /// None in a process that only forwards.
    stores: Option<OpenStores>,
    apis: ApiRoutes,
    graph: Graph,
    generation: Arc<Generation>,
    workers: Vec<Arc<dyn Worker>>,
    /// What ends the parts that a reload replaced.
    retiring: Vec<JoinHandle<()>>,
    open: Vec<Open>,
    bound: Vec<Bound>,
}

/// The routes of the API servers without those of receivers.
#[derive(Clone)]
struct ApiRoutes {
    prometheus: Router,
    loki: Router,
    /// None without stores and without a bucket that is served.
    store_api: Option<Arc<StoreApiServer>>,
    /// None without a hash ring.
    receive: Option<Router>,
    metrics: OwnMetrics,
}

/// What runs in front of the stores.
struct Started {
    graph: Graph,
    generation: Arc<Generation>,
    workers: Vec<Arc<dyn Worker>>,
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

        process.answers.share(&budget);

        let timeout = config.server.shutdown_timeout;
        let stores = match needs_stores(&config) {
            false => None,
            true => match OpenStores::open(&config.storage, &tasks, &clock, &budget).await {
                Ok(stores) => Some(stores),
                Err(error) => {
                    end("tasks", tasks.shutdown(timeout).await);
                    return Err(error);
                }
            },
        };
        let context = GraphContext {
            clock,
            tasks: tasks.clone(),
            budget,
            extensions: pipelines::Extensions::default(),
        };
        let started = Self::over_stores(&config, stores.as_ref(), &context, &process).await;
        let (apis, Started { graph, generation, workers, open, bound }) = match started {
            Ok(started) => started,
            Err(error) => {
                if let Some(stores) = &stores {
                    end("stores", stores.shutdown(timeout).await);
                }
                end("tasks", tasks.shutdown(timeout).await);
                return Err(error);
            }
        };
        process.set_ready(true);
        Ok(Self {
            process,
            control: Some(control),
            config,
            context,
            stores,
            apis,
            graph,
            generation,
            workers,
            retiring: Vec::new(),
            open,
            bound,
        })
    }

    /// Starts everything but the stores. On an error only tasks of its own are left running.
    async fn over_stores(
        config: &Config,
        stores: Option<&OpenStores>,
        context: &GraphContext,
        process: &Arc<ProcessInfo>,
    ) -> anyhow::Result<(ApiRoutes, Started)> {
        let GraphContext { clock, tasks, budget, .. } = context;
        let bucket_store = bucket_work::serve(config, tasks, clock)?;
        let router = receive_work::start(config, stores, budget, tasks)?;
        let loki = match stores {
            Some(stores) => apis::loki(config, stores, tasks, clock, process),
            None => apis::loki_without_stores(process),
        };
        let prometheus = apis::prometheus(config, stores, &bucket_store, tasks, clock, process)?;
        let store_api = apis::store_api(config, stores, bucket_store, router.clone(), tasks, clock)?;
        let apis = ApiRoutes {
            prometheus,
            loki,
            store_api: store_api.map(|server| Arc::new(server.with_budget(Arc::clone(budget)))),
            receive: router.map(|router| receive_work::routes(router, budget, tasks)),
            metrics: OwnMetrics(Arc::clone(process)),
        };
        bucket_work::start(config, tasks, clock, stores.and_then(OpenStores::metrics_admin))?;
        let front = Self::in_front(config, stores, context, &apis, process).await?;
        Ok((apis, front))
    }

    /// Starts what comes in front of open stores. On an error nothing of it is left running.
    async fn in_front(
        config: &Config,
        stores: Option<&OpenStores>,
        context: &GraphContext,
        apis: &ApiRoutes,
        process: &Arc<ProcessInfo>,
    ) -> anyhow::Result<Started> {
        let ground = Ground { stores, context, apis, process };
        let Front { graph, generation, workers, listeners } =
            Front::make(config, ground, None, |_| Ok(())).await?;
        let timeout = config.server.shutdown_timeout;
        if let Err(error) = start_workers(&workers, timeout).await {
            end("pipelines", graph.shutdown(timeout).await);
            return Err(error);
        }
        let mut open = Vec::new();
        let bound = listeners.bound(&open);
        listeners.commit(&mut open);
        Ok(Started { graph, generation, workers, open, bound })
    }

    /// Whether it keeps data itself.
    pub fn has_stores(&self) -> bool {
        self.stores.is_some()
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

    /// How long a shutdown may take.
    pub fn shutdown_timeout(&self) -> Duration {
        self.config.server.shutdown_timeout
    }

    /// What requests ask of the process; for the one who can do it, once.
    pub fn take_control(&mut self) -> Option<mpsc::Receiver<Control>> {
        self.control.take()
    }

    /// Drains and ends everything. What stores and queues on disk acknowledged is kept even if the deadline passes; the
    /// error says what did not end in time.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.process.set_ready(false);
        let end = Instant::now() + self.config.server.shutdown_timeout;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let stop_listeners = listeners::stop(&self.open, Some(Stage::Intake), left());
        let (mut late, late_workers) = tokio::join!(stop_listeners, stop_workers(&self.workers, left()));
        late.extend(late_workers);
        // What a reload replaced drains into the same stores.
        if tokio::time::timeout(left(), join_all(self.retiring)).await.is_err() {
            late.push("pipelines that a reload replaced".to_owned());
        }
        if let Err(error) = self.graph.shutdown(left()).await {
            late.push(error.to_string());
        }
        if let Some(stores) = &self.stores
            && let Err(error) = stores.shutdown(left()).await
        {
            late.push(format!("{error:#}"));
        }
        late.extend(listeners::stop(&self.open, Some(Stage::Status), left()).await);
        if let Err(error) = self.context.tasks.shutdown(left()).await {
            late.push(error.to_string());
        }
        if late.is_empty() { Ok(()) } else { Err(anyhow!("shutdown was not complete: {}", late.join("; "))) }
    }
}

/// Starts the parts of receivers that fetch by themselves, all or none.
async fn start_workers(workers: &[Arc<dyn Worker>], timeout: Duration) -> anyhow::Result<()> {
    for (started, worker) in workers.iter().enumerate() {
        if let Err(error) = worker.start().await {
            let late = stop_workers(&workers[..started], timeout).await;
            end("receivers", late.map_or(Ok(()), Err));
            return Err(anyhow!("{error}"));
        }
    }
    Ok(())
}

/// Ends the parts of receivers that fetch by themselves; the text says that they did not end in time.
async fn stop_workers(workers: &[Arc<dyn Worker>], timeout: Duration) -> Option<String> {
    let ended = join_all(workers.iter().map(|worker| worker.shutdown()));
    let in_time = tokio::time::timeout(timeout, ended).await;
    in_time.err().map(|_| format!("receivers not ended within {timeout:?}"))
}

/// Whether a pipeline leads to a store of this process.
fn needs_stores(config: &Config) -> bool {
    config.has_exporter(&["metrics_store", "log_store"])
}

/// What exporters get. Those that no pipeline names are made all the same, in front of stores that take nothing.
fn for_exporters(stores: Option<&OpenStores>) -> Stores {
    stores.map_or_else(OpenStores::not_opened, OpenStores::for_exporters)
}

/// The config as it may be shown.
fn describe(config: &Config, loaded_ms: i64) -> anyhow::Result<Described> {
    let mut shown = config.value().clone();
    redact(&mut shown);
    let yaml = crate::cli::print_config::redacted_yaml(config)?;
    Ok(Described { loaded_ms, flags: apis::flags(config), yaml, config: shown })
}

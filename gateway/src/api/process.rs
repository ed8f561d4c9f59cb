//! What every server answers about the process: health, readiness, its own metrics, and the requests that control it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::answers::WaitingAnswers;
use crate::telemetry::exposition::{self, Names};

/// What the process knows about itself.
pub struct ProcessInfo {
    /// When it started, ms since the Unix epoch.
    pub started_ms: i64,
    /// The process' own metrics; `None` with `service::telemetry::metrics::level: none`.
    pub metrics: Option<PrometheusHandle>,
    /// Set when everything runs, cleared when shutdown begins.
    ready: AtomicBool,
    /// Set when the last reload was refused.
    reload_failed: AtomicBool,
    described: RwLock<Arc<Described>>,
    /// Answers that wait for their readers.
    pub answers: Arc<WaitingAnswers>,
    control: mpsc::Sender<Control>,
}

/// The config that runs, as it may be shown.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// When it was loaded, ms since the Unix epoch.
    pub loaded_ms: i64,
    /// Settings by the name of Prometheus' flag for them.
    pub flags: BTreeMap<&'static str, String>,
    /// The config without secrets, YAML.
    pub yaml: String,
    /// The same as JSON.
    pub config: Value,
}

/// What a request may ask of the process as a whole.
#[derive(Debug)]
pub enum Control {
    /// Load the config again, and say how that went.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Drain and end.
    Quit,
}

/// Where a reload is asked for.
pub const RELOAD_PATH: &str = "/-/reload";

/// Control requests that wait; more are refused.
const CONTROL_WAITING_MAX: usize = 4;

impl ProcessInfo {
    /// A process that is not ready yet, and where its control requests come out.
    pub fn new(
        started_ms: i64,
        metrics: Option<PrometheusHandle>,
        described: Described,
    ) -> (Arc<Self>, mpsc::Receiver<Control>) {
        let (control, requests) = mpsc::channel(CONTROL_WAITING_MAX);
        let info = Self {
            started_ms,
            metrics,
            ready: AtomicBool::new(false),
            reload_failed: AtomicBool::new(false),
            described: RwLock::new(Arc::new(described)),
            answers: Arc::default(),
            control,
        };
        (Arc::new(info), requests)
    }

    /// Whether everything runs.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Says whether everything runs.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// The config that runs.
    pub fn described(&self) -> Arc<Described> {
        Arc::clone(&self.described.read())
    }

    /// The config that runs, without secrets, YAML.
    pub fn config_yaml(&self) -> String {
        self.described.read().yaml.clone()
    }

    /// The config that runs, without secrets.
    pub fn config(&self) -> Value {
        self.described.read().config.clone()
    }

    /// Whether the last load of a config succeeded.
    pub fn reload_succeeded(&self) -> bool {
        !self.reload_failed.load(Ordering::Acquire)
    }

    /// Another config runs from now on, or, with `None`, one was refused.
    pub fn reloaded(&self, described: Option<Described>) {
        self.reload_failed.store(described.is_none(), Ordering::Release);
        if let Some(described) = described {
            *self.described.write() = Arc::new(described);
        }
    }

    /// Asks the process for something; `false` when nobody listens or too many wait.
    pub fn ask(&self, control: Control) -> bool {
        self.control.try_send(control).is_ok()
    }
}

/// `/-/healthy`, `/-/ready` (Prometheus), `/metrics`.
pub fn prometheus_routes(process: Arc<ProcessInfo>) -> Router {
    let healthy = || async { "Tidegate is Healthy.\n" };
    let ready = |State(process): State<Arc<ProcessInfo>>| async move {
        if process.is_ready() {
            return (StatusCode::OK, "Tidegate is Ready.\n").into_response();
        }
        (StatusCode::SERVICE_UNAVAILABLE, [("X-Prometheus-Stopping", "false")], "Service Unavailable")
            .into_response()
    };
    Router::new()
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(process)
}

/// `/-/reload` and `/-/quit`, where they are switched on; else 403 with Prometheus' text (web/web.go).
pub fn lifecycle_routes(process: Arc<ProcessInfo>, is_enabled: bool) -> Router {
    let only_post = || async { (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed") };
    if !is_enabled {
        let forbidden = || async { (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.") };
        let refused = get(only_post).post(forbidden).put(forbidden);
        return Router::new().route(RELOAD_PATH, refused.clone()).route("/-/quit", refused);
    }
    let quit = |State(process): State<Arc<ProcessInfo>>| async move {
        if process.ask(Control::Quit) { "Requesting termination... Goodbye!" } else { "Already ending." }
    };
    Router::new()
        .route(RELOAD_PATH, get(only_post).post(reload).put(reload))
        .route("/-/quit", get(only_post).post(quit).put(quit))
        .with_state(process)
}

async fn reload(State(process): State<Arc<ProcessInfo>>) -> Response {
    let (done, outcome) = oneshot::channel();
    let outcome = match process.ask(Control::Reload(done)) {
        true => outcome.await.unwrap_or_else(|_| Err("the process is ending".to_owned())),
        false => Err("too many requests to reload are waiting".to_owned()),
    };
    match outcome {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            let text = format!("failed to reload config: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// `/ready`, `/metrics` (Loki).
pub fn loki_routes(process: Arc<ProcessInfo>) -> Router {
    let ready = |State(process): State<Arc<ProcessInfo>>| async move {
        if process.is_ready() {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n")
        }
    };
    Router::new().route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(process)
}

/// `/metrics` for listeners of its own.
#[derive(Clone)]
pub(crate) struct OwnMetrics(pub(crate) Arc<ProcessInfo>);

impl OwnMetrics {
    /// `/metrics` alone, with metrics named as a reader asks.
    pub(crate) fn routes(&self, names: Names) -> Router {
        let process = Arc::clone(&self.0);
        let page = move || {
            let answer = text(&process, names);
            async move { answer }
        };
        Router::new().route("/metrics", get(page))
    }
}

async fn metrics(State(process): State<Arc<ProcessInfo>>) -> Response {
    text(&process, Names::default())
}

fn text(process: &ProcessInfo, names: Names) -> Response {
    match &process.metrics {
        Some(handle) => {
            let content_type = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (content_type, exposition::text(handle, names)).into_response()
        }
        None => (StatusCode::NOT_FOUND, "metrics are off: service::telemetry::metrics::level is none\n")
            .into_response(),
    }
}

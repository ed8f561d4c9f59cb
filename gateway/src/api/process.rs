//! What every server answers about the process: health, readiness, its own metrics.

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

/// What the process knows about itself.
pub struct ProcessInfo {
    /// When it started, ms since the Unix epoch.
    pub started_ms: i64,
    /// Settings by the name of Prometheus' flag for them.
    pub flags: BTreeMap<&'static str, String>,
    /// The config without secrets.
    pub config_yaml: String,
    /// Set when everything runs, cleared when shutdown begins.
    pub ready: AtomicBool,
    /// The process' own metrics; `None` with `service::telemetry::metrics::level: none`.
    pub metrics: Option<PrometheusHandle>,
}

/// `/-/healthy`, `/-/ready` (Prometheus), `/metrics`.
pub fn prometheus_routes(process: Arc<ProcessInfo>) -> Router {
    let healthy = || async { "Tidegate is Healthy.\n" };
    let ready = |State(process): State<Arc<ProcessInfo>>| async move {
        if process.ready.load(Ordering::Acquire) {
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

/// `/ready`, `/metrics` (Loki).
pub fn loki_routes(process: Arc<ProcessInfo>) -> Router {
    let ready = |State(process): State<Arc<ProcessInfo>>| async move {
        if process.ready.load(Ordering::Acquire) {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n")
        }
    };
    Router::new().route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(process)
}

/// `/metrics` alone, for a listener of its own.
pub fn metrics_routes(process: Arc<ProcessInfo>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(process)
}

async fn metrics(State(process): State<Arc<ProcessInfo>>) -> Response {
    match &process.metrics {
        Some(handle) => {
            let text = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (text, handle.render()).into_response()
        }
        None => (StatusCode::NOT_FOUND, "metrics are off: service::telemetry::metrics::level is none\n")
            .into_response(),
    }
}

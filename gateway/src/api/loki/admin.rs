//! What Grafana, logcli and operators ask a Loki about itself and its rules. There is no ring, no ingester and no ruler
//! here: those paths answer with what is true of one process, or in the form of "none".

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use logql::syntax;

use super::params::LokiError;
use super::{LOKI_VERSION, LokiApi, Shared, storage_error, tenant_and_form, volume};
use crate::api::whole;
use crate::duration;
use crate::receivers::tenant;

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Routes outside `/loki/api/v1`.
pub(super) fn routes() -> Router<Arc<LokiApi>> {
    Router::new()
        .route("/config", get(config))
        .route("/services", get(|| async { whole(StatusCode::OK, TEXT, "tidegate => Running\n") }))
        .route("/log_level", get(log_level))
        .route("/flush", get(flush).post(flush))
        .route(
            "/memberlist",
            get(|| async { whole(StatusCode::OK, TEXT, "This instance doesn't use memberlist.") }),
        )
        .route("/prometheus/api/v1/rules", get(|| async { prometheus_list("groups") }))
        .route("/prometheus/api/v1/alerts", get(|| async { prometheus_list("alerts") }))
        .route("/api/prom/rules", get(no_rules).fallback(no_ruler))
        .route("/api/prom/rules/{*rest}", get(no_rules).fallback(no_ruler))
}

/// `format_query`: the query in its canonical form.
pub(super) async fn format_query(request: Request<Body>) -> Response<Body> {
    let form = match tenant_and_form(request).await {
        Ok((_, form)) => form,
        Err(error) => return error.into_response(),
    };
    match syntax::parse(form.get("query").unwrap_or("")) {
        Ok(expr) => {
            let body = serde_json::json!({"status": "success", "data": syntax::pretty(&expr)});
            whole(StatusCode::OK, JSON, format!("{body}\n"))
        }
        Err(error) => {
            let body = serde_json::json!({"status": "invalid-query", "error": error.to_string()});
            whole(StatusCode::BAD_REQUEST, JSON, format!("{body}\n"))
        }
    }
}

/// `drilldown-limits`: what Logs Drilldown asks for before anything else (pkg/loki/drilldown_config.go).
pub(super) async fn drilldown_limits(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let tenant = match tenant(request.headers()) {
        Ok(tenant) => tenant,
        Err(error) => return LokiError::bad_request(error).into_response(),
    };
    let own = api.logs.overrides.get(tenant.as_str()).and_then(|own| own.retention_period);
    let settings = api.engine.settings();
    let body = serde_json::json!({
        "limits": {
            "discover_log_levels": true,
            "discover_service_name": ["service", "app", "application", "app_name", "name", "app_kubernetes_io_name",
                "container", "container_name", "k8s_container_name", "component", "workload", "job", "k8s_job_name"],
            "log_level_fields": ["level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity",
                "SeverityText", "lvl", "LVL", "Lvl", "severity_text", "Severity_Text", "SEVERITY_TEXT"],
            "max_entries_limit_per_query": settings.entries_max,
            "max_query_series": settings.series_max,
            "query_timeout": format!("{}s", settings.timeout.as_secs()),
            "volume_enabled": true,
            "volume_max_series": volume::SERIES_MAX,
            "retention_period": duration::prometheus_text(own.unwrap_or(api.logs.retention)),
        },
        "pattern_ingester_enabled": true,
        "version": LOKI_VERSION,
    });
    whole(StatusCode::OK, JSON, format!("{body}\n"))
}

/// The config of the process without its secrets.
async fn config(State(api): Shared) -> Response<Body> {
    whole(StatusCode::OK, TEXT, api.process.config_yaml())
}

async fn log_level() -> Response<Body> {
    let level = tracing::level_filters::LevelFilter::current();
    whole(StatusCode::OK, JSON, format!("{{\"message\":\"Current log level is {level}\"}}\n"))
}

/// `/flush`: writes what is in memory to files. It is durable before, so nobody has to ask.
async fn flush(State(api): Shared) -> Response<Body> {
    match api.maintenance.flush().await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(error) => storage_error(&error).into_response(),
    }
}

/// Rules by namespace, as YAML: there are none.
pub(super) async fn no_rules() -> Response<Body> {
    whole(StatusCode::OK, "application/yaml", "{}\n")
}

/// Rules cannot be written.
pub(super) async fn no_ruler() -> Response<Body> {
    whole(
        StatusCode::NOT_IMPLEMENTED,
        TEXT,
        "there is no ruler for logs here yet: rules can be neither written nor deleted\n",
    )
}

fn prometheus_list(name: &str) -> Response<Body> {
    let body =
        format!("{{\"status\":\"success\",\"data\":{{\"{name}\":[]}},\"errorType\":\"\",\"error\":\"\"}}");
    whole(StatusCode::OK, "application/json", body)
}

//! `status/*` and the endpoints whose subject does not exist here, which answer with the empty form so that clients
//! that probe them (Grafana at start-up) go on.

use axum::body::Body;
use axum::extract::State;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::error::ApiError;
use super::params::time_or;
use super::{Shared, tenant_and_form};
use crate::api::whole;
use axum::response::IntoResponse;

/// The release of Prometheus whose API this is. Grafana switches features on by it.
const PROMETHEUS_VERSION: &str = "3.15.0";

fn success(data: serde_json::Value) -> Response<Body> {
    whole(StatusCode::OK, "application/json", json!({"status": "success", "data": data}).to_string())
}

/// `GET status/buildinfo`. It has no `features`: with them Grafana takes the server for Mimir.
pub(super) async fn buildinfo() -> Response<Body> {
    success(json!({
        "version": PROMETHEUS_VERSION,
        "revision": concat!("tidegate-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// `GET status/runtimeinfo`.
pub(super) async fn runtimeinfo(State(api): Shared) -> Response<Body> {
    let rfc3339 = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).map(|time| time.to_rfc3339());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    success(json!({
        "startTime": rfc3339(api.process.started_ms),
        "CWD": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "hostname": std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim(),
        "serverTime": rfc3339(api.clock.now_ms()),
        "reloadConfigSuccess": api.process.reload_succeeded(),
        "lastConfigTime": rfc3339(api.process.described().loaded_ms),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    }))
}

/// `GET status/flags`: the settings that have a flag in Prometheus, by that name.
pub(super) async fn flags(State(api): Shared) -> Response<Body> {
    success(json!(api.process.described().flags))
}

/// `GET status/config`, without secrets.
pub(super) async fn config(State(api): Shared) -> Response<Body> {
    success(json!({"yaml": api.process.config_yaml()}))
}

/// `GET rules`.
pub(super) async fn rules() -> Response<Body> {
    success(json!({"groups": []}))
}

/// `GET alerts`.
pub(super) async fn alerts() -> Response<Body> {
    success(json!({"alerts": []}))
}

/// `GET alertmanagers`.
pub(super) async fn alertmanagers() -> Response<Body> {
    success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

/// `GET targets`.
pub(super) async fn targets() -> Response<Body> {
    success(json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}))
}

/// `GET scrape_pools`.
pub(super) async fn scrape_pools() -> Response<Body> {
    success(json!({"scrapePools": []}))
}

/// `GET targets/metadata`.
pub(super) async fn targets_metadata() -> Response<Body> {
    success(json!([]))
}

/// `GET|POST query_exemplars`: none are stored; the query and the times are checked all the same.
pub(super) async fn query_exemplars(request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (_, form) = tenant_and_form(request).await?;
        let start = time_or(&form, "start", i64::MIN)?;
        let end = time_or(&form, "end", i64::MAX)?;
        if end < start {
            return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
        }
        promql::parse_expr(form.get("query").unwrap_or(""), promql::ParseOptions::default())
            .map_err(|error| ApiError::query(&error))?;
        Ok(success(json!([])))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

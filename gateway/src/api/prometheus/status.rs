//! `status/*` and the endpoints whose subject does not exist here, which answer with the empty form so that clients
//! that probe them (Grafana at start-up) go on.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::error::ApiError;
use super::{Shared, tenant_and_form};
use crate::api::whole;
use crate::config::types::QueryFeature;
use axum::response::IntoResponse;

/// The release of Prometheus whose API this is. Grafana switches features on by it.
const PROMETHEUS_VERSION: &str = "3.15.0";

pub(super) fn success(data: serde_json::Value) -> Response<Body> {
    // `status` first, as ever; readers that stream rely on it.
    whole(StatusCode::OK, "application/json", format!(r#"{{"status":"success","data":{data}}}"#))
}

/// `GET status/buildinfo`. It has no `features`: with them Grafana takes the server for Mimir.
pub(super) async fn buildinfo() -> Response<Body> {
    success(build())
}

fn build() -> serde_json::Value {
    json!({
        "version": PROMETHEUS_VERSION,
        "revision": concat!("tidegate-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
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
        "storageRetention": retention(&api.process.described().flags),
    }))
}

/// The bounds of what is kept, as web/api/v1/api.go words them: `15d`, `15d or 10GB`.
fn retention(flags: &BTreeMap<&'static str, String>) -> String {
    let flag = |name: &str| flags.get(name).filter(|text| !text.starts_with('0')).cloned();
    let bounds = [flag("storage.tsdb.retention.time"), flag("storage.tsdb.retention.size")];
    bounds.into_iter().flatten().collect::<Vec<_>>().join(" or ")
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
pub(super) async fn rules(request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (_, form) = tenant_and_form(request).await?;
        let kind = form.get("type").unwrap_or("").to_ascii_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(ApiError::parameter("type", format_args!("not supported value {kind:?}")));
        }
        Ok(success(json!({"groups": []})))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
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

/// `GET status/walreplay`: requests are answered only when the replay is over.
pub(super) async fn walreplay() -> Response<Body> {
    success(json!({"min": 0, "max": 0, "current": 0}))
}

/// `GET notifications`.
pub(super) async fn notifications() -> Response<Body> {
    success(json!([]))
}

/// `GET notifications/live`: there never is one. 204 tells a browser's event source not to come again.
pub(super) async fn notifications_live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET targets/relabel_steps`: there are no scrape pools.
pub(super) async fn relabel_steps(request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (_, form) = tenant_and_form(request).await?;
        let pool = form.get("scrapePool").unwrap_or("");
        if pool.is_empty() {
            return Err(ApiError::bad_data("no scrapePool parameter provided"));
        }
        Err::<Response<Body>, _>(ApiError::bad_data(format!("scrape pool {pool:?} not found")))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET features`: what of Prometheus' features is here, by its names.
pub(super) async fn features(State(api): Shared) -> Response<Body> {
    let extended_selectors = api.query.has(QueryFeature::PromqlExtendedRangeSelectors);
    success(json!({
        "api": {
            "admin": api.is_admin_enabled,
            "exclude_alerts": true,
            "label_values_match": true,
            "lifecycle": api.is_lifecycle_enabled,
            "otlp_write_receiver": true,
            "query_stats": true,
            "query_warnings": true,
            "time_range_labels": true,
            "time_range_series": true,
        },
        "prometheus": {"agent_mode": false, "server_mode": true},
        "promql": {
            "anchored": extended_selectors,
            "at_modifier": true,
            "bool": true,
            "by": true,
            "duration_expr": true,
            "group_left": true,
            "group_right": true,
            "ignoring": true,
            "negative_offset": true,
            "offset": true,
            "on": true,
            "per_query_lookback_delta": true,
            "smoothed": extended_selectors,
            "subqueries": true,
            "unless": true,
            "without": true,
        },
    }))
}

/// `GET /version`, outside of `/api/v1` and its envelope.
pub(super) async fn version() -> Response<Body> {
    whole(StatusCode::OK, "text/plain; charset=utf-8", build().to_string() + "\n")
}

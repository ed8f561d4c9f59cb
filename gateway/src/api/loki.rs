//! The Loki HTTP API, `/loki/api/v1` (pkg/util/constants/api_paths.go, pkg/loki/modules.go).
//!
//! Errors are plain text, an unknown path under `/loki/api/v1/` is a JSON 404: clients tell features apart by it.

mod admin;
pub mod deletes;
mod fields;
mod legacy;
mod params;
mod patterns;
mod query;
mod result;
mod streams;
mod tail;
mod volume;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get};
use http::{Request, Response, StatusCode};
use model::{ErrorKind, TenantId};
use runtime::{Clock, Tasks};
use storage_api::{LogFollower, LogMaintenance, LogQuerier, StorageError};
use tokio::sync::Semaphore;

use self::deletes::DeleteRequests;
use self::params::LokiError;
pub use self::tail::RunningTails;
use super::form::Form;
use super::process::ProcessInfo;
use super::whole;
use crate::config::types::{LogStoreConfig, QueryConfig};
use crate::receivers::tenant;

/// The release of Loki whose API this is. Clients switch features on by it.
const LOKI_VERSION: &str = "3.7.0";

/// What the API needs.
pub struct LokiApi {
    /// Evaluates queries.
    pub engine: logql::Engine,
    /// What they read from.
    pub querier: Arc<dyn LogQuerier>,
    /// What tails follow.
    pub follower: Arc<dyn LogFollower>,
    /// Upkeep of the store.
    pub maintenance: Arc<dyn LogMaintenance>,
    /// Requests to delete lines.
    pub deletes: Arc<DeleteRequests>,
    /// Whether such requests are taken.
    pub is_delete_enabled: bool,
    /// Owner of the tails.
    pub tasks: Tasks,
    /// Those that run.
    pub tails: RunningTails,
    /// What the process knows about itself.
    pub process: Arc<ProcessInfo>,
    /// The time, for requests that name none.
    pub clock: Arc<dyn Clock>,
    /// Limits of queries.
    pub query: QueryConfig,
    /// How long the store keeps what.
    pub logs: LogStoreConfig,
    /// One permit for each query that may run or has an answer that is not read yet.
    pub slots: Arc<Semaphore>,
}

type Shared = State<Arc<LokiApi>>;

/// The routes.
pub fn router(api: Arc<LokiApi>) -> Router {
    let routes = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/labels", get(streams::label_names).post(streams::label_names))
        .route("/label", get(streams::label_names).post(streams::label_names))
        .route("/label/{name}/values", get(streams::label_values).post(streams::label_values))
        .route("/series", get(streams::series).post(streams::series))
        .route("/tail", get(tail::tail))
        .route("/index/stats", get(volume::stats).post(volume::stats))
        .route("/index/shards", get(volume::shards).post(volume::shards))
        .route("/index/volume", get(volume::volume).post(volume::volume))
        .route("/index/volume_range", get(volume::volume_range).post(volume::volume_range))
        .route("/detected_labels", get(fields::detected_labels).post(fields::detected_labels))
        .route("/detected_fields", get(fields::detected_fields).post(fields::detected_fields))
        .route("/detected_field/{name}/values", get(fields::field_values).post(fields::field_values))
        .route("/patterns", get(patterns::patterns).post(patterns::patterns))
        .route("/format_query", get(admin::format_query).post(admin::format_query))
        .route("/drilldown-limits", get(admin::drilldown_limits))
        .route("/delete", get(deletes::list).post(deletes::add).put(deletes::add).delete(deletes::cancel))
        .route("/cache/generation_numbers", get(deletes::generation))
        .route("/rules", get(admin::no_rules).fallback(admin::no_ruler))
        .route("/rules/{*rest}", get(admin::no_rules).fallback(admin::no_ruler))
        .route("/status/buildinfo", get(buildinfo))
        .route("/{*unknown}", any(not_found));
    let legacy = Router::new()
        .route("/query", get(legacy::query).post(legacy::query))
        .route("/label", get(legacy::label_names).post(legacy::label_names))
        .route("/label/{name}/values", get(legacy::label_values).post(legacy::label_values))
        .route("/series", get(streams::series).post(streams::series))
        .route("/tail", get(tail::tail));
    Router::new()
        .nest("/loki/api/v1", routes)
        .nest("/api/prom", legacy)
        .merge(admin::routes())
        .with_state(api)
}

async fn not_found() -> Response<Body> {
    let body = r#"{"code":404,"status":"error","message":"not found"}"#;
    whole(StatusCode::NOT_FOUND, "application/json; charset=utf-8", body)
}

async fn buildinfo() -> Response<Body> {
    let body = serde_json::json!({
        "version": LOKI_VERSION,
        "revision": concat!("tidegate-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    whole(StatusCode::OK, "application/json; charset=UTF-8", body.to_string())
}

fn success(body: Vec<u8>) -> Response<Body> {
    whole(StatusCode::OK, "application/json; charset=UTF-8", body)
}

/// Whose data a request is about, and its parameters.
async fn tenant_and_form(request: Request<Body>) -> Result<(TenantId, Form), LokiError> {
    let tenant = tenant(request.headers()).map_err(LokiError::bad_request)?;
    let form = Form::read(request).await.map_err(LokiError::bad_request)?;
    Ok((tenant, form))
}

fn storage_error(error: &StorageError) -> LokiError {
    LokiError { status: status_of(error.kind()), message: exporters::for_clients(error.to_string()) }
}

/// Statuses of pkg/util/server/error.go.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Canceled => StatusCode::from_u16(499).expect("499 is a three-digit status"),
        ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests;

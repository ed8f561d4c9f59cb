//! The Loki HTTP API, `/loki/api/v1` (pkg/util/constants/api_paths.go, pkg/loki/modules.go).
//!
//! Errors are plain text, an unknown path under `/loki/api/v1/` is a JSON 404: clients tell features apart by it.

mod params;
mod query;
mod result;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get};
use http::{Request, Response, StatusCode};
use model::{ErrorKind, TenantId};
use runtime::Clock;
use storage_api::{LogQuerier, StorageError};
use tokio::sync::Semaphore;

use self::params::LokiError;
use super::form::Form;
use super::whole;
use crate::config::types::QueryConfig;
use crate::receivers::tenant;

/// The release of Loki whose API this is. Clients switch features on by it.
const LOKI_VERSION: &str = "3.7.0";

/// What the API needs.
pub struct LokiApi {
    /// Evaluates queries.
    pub engine: logql::Engine,
    /// What they read from.
    pub querier: Arc<dyn LogQuerier>,
    /// The time, for requests that name none.
    pub clock: Arc<dyn Clock>,
    /// Limits of queries.
    pub query: QueryConfig,
    /// One permit for each query that may run.
    pub slots: Semaphore,
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
        .route("/index/stats", get(streams::index_stats).post(streams::index_stats))
        .route("/index/volume", get(streams::index_volume).post(streams::index_volume))
        .route("/detected_labels", get(streams::detected_labels).post(streams::detected_labels))
        .route("/status/buildinfo", get(buildinfo))
        .route("/{*unknown}", any(not_found))
        .with_state(api);
    Router::new().nest("/loki/api/v1", routes)
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
    LokiError { status: status_of(error.kind()), message: error.to_string() }
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

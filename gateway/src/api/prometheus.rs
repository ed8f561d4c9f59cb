//! The Prometheus HTTP API, `/api/v1` (web/api/v1/api.go): query, labels, series, metadata, status, administration.
//! Endpoints whose subject does not exist here answer in their empty form, so that clients that probe them go on.
//!
//! Everything reads through the storage seam and the PromQL engine; this module is parameters in, JSON out.

mod admin;
mod error;
mod exemplars;
mod federate;
mod histogram;
mod labels;
mod own_store;
mod params;
mod query;
mod remote_read;
mod result;
mod slot;
mod status;
mod stores;
mod syntax_tree;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use http::Request;
use model::{Labels, TenantId};
use runtime::{Clock, Tasks};
use storage_api::{MetricsAdmin, MetricsQuerier};
use thanos::{Fanout, Frontend};
use tokio::sync::Semaphore;

use self::error::ApiError;
use super::form::Form;
use super::process::{ProcessInfo, lifecycle_routes};
use crate::config::types::QueryConfig;
use crate::receivers::tenant;

/// What the API needs.
pub struct PrometheusApi {
    /// Evaluates queries.
    pub engine: promql::Engine,
    /// What they read from.
    pub querier: Arc<dyn MetricsQuerier>,
    /// That and the stores of others, if there are any.
    pub fanout: Option<Arc<Fanout>>,
    /// What range queries go through, if the config says so.
    pub frontend: Option<Frontend>,
    /// What series get in answers to other programs that read them (`storage.external_labels`).
    pub external_labels: Labels,
    /// The time, for queries that name none.
    pub clock: Arc<dyn Clock>,
    /// Limits of queries.
    pub query: QueryConfig,
    /// One permit for each query that may run.
    pub slots: Arc<Semaphore>,
    /// Owner of work that blocks.
    pub tasks: Tasks,
    /// What `status/*` tells.
    pub process: Arc<ProcessInfo>,
    /// Figures, deletion and snapshots, if the store has them.
    pub admin: Option<Arc<dyn MetricsAdmin>>,
    /// Whether `admin/*` is served.
    pub is_admin_enabled: bool,
    /// Whether `/-/reload` and `/-/quit` are served.
    pub is_lifecycle_enabled: bool,
}

type Shared = State<Arc<PrometheusApi>>;

/// The routes: those under `/api/v1`, `/federate`, `/version` and the lifecycle.
pub fn router(api: Arc<PrometheusApi>) -> Router {
    let lifecycle = lifecycle_routes(Arc::clone(&api.process), api.is_lifecycle_enabled);
    let federate = Router::new().route("/federate", get(federate::federate)).with_state(Arc::clone(&api));
    let routes = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(exemplars::query).post(exemplars::query))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route("/labels", get(labels::label_names).post(labels::label_names))
        .route("/label/{name}/values", get(labels::label_values))
        .route("/read", post(remote_read::read))
        .route("/series", get(labels::series).post(labels::series))
        .route("/metadata", get(labels::metadata))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/targets", get(status::targets))
        .route("/targets/metadata", get(status::targets_metadata))
        .route("/scrape_pools", get(status::scrape_pools))
        .route("/targets/relabel_steps", get(status::relabel_steps))
        .route("/features", get(status::features))
        .route("/notifications", get(status::notifications))
        .route("/notifications/live", get(status::notifications_live))
        .route("/stores", get(stores::stores))
        .route("/status/tsdb", get(admin::tsdb))
        .route("/status/tsdb/blocks", get(admin::blocks))
        .route("/status/walreplay", get(status::walreplay))
        .route("/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series))
        .route("/admin/tsdb/clean_tombstones", post(admin::clean_tombstones).put(admin::clean_tombstones))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/flags", get(status::flags))
        .route("/status/config", get(status::config))
        .with_state(api);
    Router::new()
        .nest("/api/v1", routes)
        .merge(federate)
        .merge(lifecycle)
        .route("/version", get(status::version))
}

/// Whose data a request is about, and its parameters.
async fn tenant_and_form(request: Request<Body>) -> Result<(TenantId, Form), ApiError> {
    let tenant = tenant(request.headers()).map_err(ApiError::bad_data)?;
    let form = Form::read(request)
        .await
        .map_err(|error| ApiError::bad_data(format!("error parsing form values: {error}")))?;
    Ok((tenant, form))
}

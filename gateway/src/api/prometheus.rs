//! The Prometheus HTTP API, `/api/v1` (web/api/v1/api.go): query, labels, series, metadata, status.
//!
//! Everything reads through the storage seam and the PromQL engine; this module is parameters in, JSON out.

mod error;
mod histogram;
mod labels;
mod params;
mod query;
mod result;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::Request;
use model::TenantId;
use runtime::Clock;
use storage_api::MetricsQuerier;
use tokio::sync::Semaphore;

use self::error::ApiError;
use super::form::Form;
use super::process::ProcessInfo;
use crate::config::types::QueryConfig;
use crate::receivers::tenant;

/// What the API needs.
pub struct PrometheusApi {
    /// Evaluates queries.
    pub engine: promql::Engine,
    /// What they read from.
    pub querier: Arc<dyn MetricsQuerier>,
    /// The time, for queries that name none.
    pub clock: Arc<dyn Clock>,
    /// Limits of queries.
    pub query: QueryConfig,
    /// One permit for each query that may run.
    pub slots: Semaphore,
    /// What `status/*` tells.
    pub process: Arc<ProcessInfo>,
}

type Shared = State<Arc<PrometheusApi>>;

/// The routes, all under `/api/v1`.
pub fn router(api: Arc<PrometheusApi>) -> Router {
    let routes = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(status::query_exemplars).post(status::query_exemplars))
        .route("/format_query", get(query::format).post(query::format))
        .route("/labels", get(labels::label_names).post(labels::label_names))
        .route("/label/{name}/values", get(labels::label_values))
        .route("/series", get(labels::series).post(labels::series))
        .route("/metadata", get(labels::metadata))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/targets", get(status::targets))
        .route("/targets/metadata", get(status::targets_metadata))
        .route("/scrape_pools", get(status::scrape_pools))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/flags", get(status::flags))
        .route("/status/config", get(status::config))
        .with_state(api);
    Router::new().nest("/api/v1", routes)
}

/// Whose data a request is about, and its parameters.
async fn tenant_and_form(request: Request<Body>) -> Result<(TenantId, Form), ApiError> {
    let tenant = tenant(request.headers()).map_err(ApiError::bad_data)?;
    let form = Form::read(request)
        .await
        .map_err(|error| ApiError::bad_data(format!("error parsing form values: {error}")))?;
    Ok((tenant, form))
}

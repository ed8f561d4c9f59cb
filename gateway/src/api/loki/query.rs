//! `query`, `query_range`, `format_query`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use exporters::for_clients;
use http::{HeaderMap, Request, Response, StatusCode};
use logql::{LogqlError, QueryParams};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::params::{LokiError, bounds, direction, interval, limit, step, time_or};
use super::result::{CATEGORIZE_LABELS, answer};
use super::{LokiApi, Shared, status_of, success, tenant_and_form};
use crate::api::answers::holding;

/// Query text may have this many bytes (pkg/logql/syntax, maxInputSize).
const QUERY_BYTES_MAX: usize = 131_072;

/// `query_range`.
pub(super) async fn range(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let categorize = categorize(request.headers());
    let run = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let query = query_text(form.get("query"))?;
        let (start_ns, end_ns) = bounds(&form, api.clock.now_ns())?;
        let params = QueryParams {
            start_ns,
            end_ns,
            step_ns: step(&form, start_ns, end_ns)?,
            limit: limit(&form)?,
            direction: direction(&form)?,
            interval_ns: interval(&form)?,
        };
        let arrived = Instant::now();
        let slot = slot(&api).await?;
        let queued = arrived.elapsed();
        let cancel = CancellationToken::new();
        let output = api.engine.query_range(query, params, &tenant, Arc::clone(&api.querier), &cancel).await;
        let output = output.map_err(|error| query_error(&error))?;
        Ok(holding(answer(&api.tasks, output, categorize, queued).await?, slot))
    };
    run.await.unwrap_or_else(LokiError::into_response)
}

/// `query`.
pub(super) async fn instant(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let categorize = categorize(request.headers());
    let run = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let query = query_text(form.get("query"))?;
        let time_ns = time_or(&form, "time", api.clock.now_ns())?;
        // Not used by metric queries, which are the only ones here, and checked all the same.
        limit(&form)?;
        direction(&form)?;
        let arrived = Instant::now();
        let slot = slot(&api).await?;
        let queued = arrived.elapsed();
        let cancel = CancellationToken::new();
        let output =
            api.engine.query_instant(query, time_ns, &tenant, Arc::clone(&api.querier), &cancel).await;
        let output = output.map_err(|error| query_error(&error))?;
        Ok(holding(answer(&api.tasks, output, categorize, queued).await?, slot))
    };
    run.await.unwrap_or_else(LokiError::into_response)
}

/// Waits for a slot, at most a query's own time. It is held until the answer is read: a result lies in memory until
/// then, so that readers that do not read take slots and not ever more memory.
pub(super) async fn slot(api: &LokiApi) -> Result<OwnedSemaphorePermit, LokiError> {
    match tokio::time::timeout(api.query.timeout, Arc::clone(&api.slots).acquire_owned()).await {
        Ok(Ok(slot)) => Ok(slot),
        Ok(Err(_)) | Err(_) => Err(timed_out()),
    }
}

/// The answer whose body `work` makes, in a slot and in the time of a query: what asks a store takes its part of it.
pub(super) async fn in_slot(
    api: &LokiApi,
    work: impl Future<Output = Result<Vec<u8>, LokiError>>,
) -> Result<Response<Body>, LokiError> {
    let slot = slot(api).await?;
    match tokio::time::timeout(api.query.timeout, work).await {
        Ok(body) => Ok(holding(success(body?), slot)),
        Err(_) => Err(timed_out()),
    }
}

/// What `work` makes, which takes longer than an async thread may be held.
pub(super) async fn computed<T: Send + 'static>(
    api: &LokiApi,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LokiError> {
    let done = api.tasks.spawn_blocking("loki_answer", work).await;
    done.map_err(|_| LokiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: "the making of the answer ended early".to_owned(),
    })
}

/// The refusal of what takes longer than a query may.
pub(super) fn timed_out() -> LokiError {
    query_error(&LogqlError::timed_out())
}

pub(super) fn query_text(query: Option<&str>) -> Result<&str, LokiError> {
    let query = query.unwrap_or("");
    if query.len() > QUERY_BYTES_MAX {
        return Err(LokiError::bad_request(format!(
            "parse error : input size too long ({} > {QUERY_BYTES_MAX})",
            query.len()
        )));
    }
    Ok(query)
}

pub(super) fn query_error(error: &LogqlError) -> LokiError {
    let text = error.to_string();
    // Those of stores alone: others may quote what only looks like a path.
    let message = if error.is_of_store() { for_clients(text) } else { text };
    LokiError { status: status_of(error.kind()), message }
}

pub(super) fn categorize(headers: &HeaderMap) -> bool {
    let flags = headers.get("x-loki-response-encoding-flags").and_then(|value| value.to_str().ok());
    flags.is_some_and(|flags| flags.split(',').any(|flag| flag.trim() == CATEGORIZE_LABELS))
}

//! `delete`: requests to delete lines (pkg/compactor/deletion). A request is applied to every query at once, as soon as
//! it is durable; the files keep the lines until it can no longer be taken back, and are written anew then.

mod masked;
mod requests;
pub mod worker;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::DateTime;
use exporters::for_clients;
use http::{HeaderValue, Request, Response, StatusCode};
use logql::syntax;
use model::TenantId;

pub use masked::MaskedQuerier;
pub use requests::{DeleteRequest, DeleteRequests, DeletesError};

use super::params::LokiError;
use super::{LokiApi, Shared};
use crate::api::form::Form;
use crate::api::whole;
use crate::receivers::tenant;

const SECOND_MS: f64 = 1000.0;

/// Refuses where the config does not switch deletion on, as Loki does where a tenant's `deletion_mode` is `disabled`.
fn must_be_enabled(api: &LokiApi) -> Result<(), LokiError> {
    if api.is_delete_enabled {
        return Ok(());
    }
    let message = "deletion is not available for this tenant (server.loki.enable_delete is off)".to_owned();
    Err(LokiError { status: StatusCode::FORBIDDEN, message })
}

/// Refuses while it is not known which requests there are.
fn must_be_known(deletes: &DeleteRequests) -> Result<(), LokiError> {
    deletes.unknown().map_or(Ok(()), |reason| Err(failed(reason.to_owned())))
}

/// POST and PUT: a new request.
pub(super) async fn add(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        must_be_enabled(&api)?;
        let (tenant, form) = url_parameters(request).await?;
        let asked = read(&form, api.clock.now_ms())?;
        let (deletes, clock) = (Arc::clone(&api.deletes), Arc::clone(&api.clock));
        let id = off_the_async_threads(&api, move || deletes.add(&tenant, asked, clock.now_ms())).await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let id = HeaderValue::from_str(&id).expect("an id is made of hexadecimal digits");
        response.headers_mut().insert("x-delete-request-id", id);
        Ok(response)
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// GET: the requests of the tenant, the oldest first.
pub(super) async fn list(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        must_be_enabled(&api)?;
        let (tenant, _) = url_parameters(request).await?;
        must_be_known(&api.deletes)?;
        let shown: Vec<serde_json::Value> = api.deletes.of_tenant(&tenant).iter().map(shown).collect();
        let body = serde_json::Value::Array(shown).to_string() + "\n";
        Ok(whole(StatusCode::OK, "application/json", body))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// DELETE: takes a request back.
pub(super) async fn cancel(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        must_be_enabled(&api)?;
        let (tenant, form) = url_parameters(request).await?;
        must_be_known(&api.deletes)?;
        let id = form.get("request_id").unwrap_or("").to_owned();
        let found = api.deletes.of_tenant(&tenant).into_iter().find(|request| request.id == id);
        let found = found.ok_or_else(|| LokiError {
            status: StatusCode::NOT_FOUND,
            message: "could not find delete request with given id".to_owned(),
        })?;
        let period_ms = api.deletes.cancel_period_ms();
        let is_late = found.processed_ms.is_some() || api.clock.now_ms() - found.created_ms > period_ms;
        if is_late && form.get("force") != Some("true") {
            return Err(LokiError::bad_request(format!(
                "Cancellation of partially completed delete request or delete request past the deadline of {} since \
                 its creation is not allowed. To force, use the ?force query parameter",
                go_duration(period_ms)
            )));
        }
        let deletes = Arc::clone(&api.deletes);
        off_the_async_threads(&api, move || deletes.remove(&tenant, &id)).await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `cache/generation_numbers`: changes with every change of the requests, so that caches of results are left.
pub(super) async fn generation(State(api): Shared, request: Request<Body>) -> Response<Body> {
    match url_parameters(request).await {
        Ok((tenant, _)) => {
            let generation = api.deletes.generation(&tenant);
            let body = if generation == 0 { "\"\"\n".to_owned() } else { format!("\"{generation}\"\n") };
            whole(StatusCode::OK, "text/plain; charset=utf-8", body)
        }
        Err(error) => error.into_response(),
    }
}

/// Parameters come in the URL whatever the method.
async fn url_parameters(request: Request<Body>) -> Result<(TenantId, Form), LokiError> {
    let (head, _) = request.into_parts();
    let tenant = tenant(&head.headers).map_err(LokiError::bad_request)?;
    let mut parameters = Request::new(Body::empty());
    *parameters.uri_mut() = head.uri;
    Ok((tenant, Form::read(parameters).await.map_err(LokiError::bad_request)?))
}

/// Whole seconds as Go writes durations.
fn go_duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// What is to be deleted.
fn read(form: &Form, now_ms: i64) -> Result<requests::NewDelete, LokiError> {
    let query = form.get("query").ok_or_else(|| LokiError::bad_request("query not set"))?;
    match syntax::parse(query) {
        Ok(syntax::Expr::Log(_)) => {}
        _ => return Err(LokiError::bad_request("invalid query expression")),
    }
    let start_text = form.get("start").ok_or_else(|| LokiError::bad_request("start time not set"))?;
    let wrong = |name: &str| {
        LokiError::bad_request(format!("invalid {name} time: require unix seconds or RFC3339 format"))
    };
    let start_ms = parse_time(start_text).ok_or_else(|| wrong("start"))?;
    let end_ms = match form.get("end") {
        None => now_ms,
        Some(text) => parse_time(text).ok_or_else(|| wrong("end"))?,
    };
    if end_ms > now_ms {
        return Err(LokiError::bad_request("deletes in the future are not allowed"));
    }
    if start_ms >= end_ms {
        return Err(LokiError::bad_request("start time can't be greater than or equal to end time"));
    }
    Ok(requests::NewDelete { query: query.to_owned(), start_ms, end_ms })
}

/// Seconds with decimals, or RFC 3339. In milliseconds.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * SECOND_MS).round();
        return (ms.abs() < 9e15).then_some(ms as i64);
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

fn shown(request: &DeleteRequest) -> serde_json::Value {
    let seconds = |ms: i64| {
        if ms % 1000 == 0 { serde_json::json!(ms / 1000) } else { serde_json::json!(ms as f64 / SECOND_MS) }
    };
    serde_json::json!({
        "request_id": request.id,
        "start_time": seconds(request.start_ms),
        "end_time": seconds(request.end_ms),
        "query": request.query,
        "status": if request.processed_ms.is_some() { "processed" } else { "received" },
        "created_at": seconds(request.created_ms),
        "user_id": "",
    })
}

/// Runs work that waits for the disk.
async fn off_the_async_threads<T: Send + 'static>(
    api: &LokiApi,
    work: impl FnOnce() -> Result<T, DeletesError> + Send + 'static,
) -> Result<T, LokiError> {
    let done = api.tasks.spawn_blocking("log_delete_requests", work).await;
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error @ (DeletesError::TooMany { .. } | DeletesError::Query(_)))) => {
            Err(LokiError::bad_request(error.to_string()))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Where a file is stands in the log.
fn failed(message: String) -> LokiError {
    LokiError { status: StatusCode::INTERNAL_SERVER_ERROR, message: for_clients(message) }
}

#[cfg(test)]
mod tests;

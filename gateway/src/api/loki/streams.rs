//! What is answered from stream tables alone: labels, their values, series.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response};
use model::{Labels, Matcher, TenantId};
use storage_api::{LogSelect, StreamSummary};

use super::params::{LokiError, range};
use super::query::{computed, in_slot};
use super::{LokiApi, Shared, storage_error, tenant_and_form};
use crate::api::form::Form;
use crate::api::json::{self, Html};

/// `labels`, `label`.
pub(super) async fn label_names(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        in_slot(&api, async { Ok(text_list(&label_set(&api, &tenant, &form).await?)) }).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `label/<name>/values`.
pub(super) async fn label_values(
    State(api): Shared,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        in_slot(&api, async { Ok(text_list(&value_set(&api, &tenant, &form, &name).await?)) }).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// Names of the labels of selected streams.
pub(super) async fn label_set(
    api: &LokiApi,
    tenant: &TenantId,
    form: &Form,
) -> Result<BTreeSet<String>, LokiError> {
    let streams = by_query(api, tenant, form).await?;
    computed(api, move || {
        let names: BTreeSet<&str> =
            streams.iter().flat_map(|stream| stream.labels.iter().map(|(name, _)| name)).collect();
        names.into_iter().map(str::to_owned).collect()
    })
    .await
}

/// Values of one label of selected streams.
pub(super) async fn value_set(
    api: &LokiApi,
    tenant: &TenantId,
    form: &Form,
    name: &str,
) -> Result<BTreeSet<String>, LokiError> {
    let streams = by_query(api, tenant, form).await?;
    let name = name.to_owned();
    computed(api, move || {
        let values: BTreeSet<&str> = streams.iter().filter_map(|stream| stream.labels.get(&name)).collect();
        values.into_iter().map(str::to_owned).collect()
    })
    .await
}

/// `series`: `match` and `match[]`, several are joined; none or `{}` is everything.
pub(super) async fn series(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let mut selectors: Vec<&str> = form.all("match").chain(form.all("match[]")).collect();
        if selectors.is_empty() {
            selectors.push("{}");
        }
        let work = async {
            let mut found: Vec<StreamSummary> = Vec::new();
            for selector in selectors {
                let matchers = selector_matchers(selector)?;
                found.extend(select(&api, &tenant, &form, matchers).await?);
            }
            computed(&api, move || series_body(found)).await
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

fn series_body(found: Vec<StreamSummary>) -> Vec<u8> {
    let found: BTreeSet<Labels> = found.into_iter().map(|stream| stream.labels).collect();
    let mut body = br#"{"status":"success","data":["#.to_vec();
    for (index, labels) in found.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        json::labels(&mut body, labels, Html::Escaped);
    }
    body.extend_from_slice(b"]}\n");
    body
}

/// Streams that the optional `query` selects.
pub(super) async fn by_query(
    api: &LokiApi,
    tenant: &TenantId,
    form: &Form,
) -> Result<Vec<StreamSummary>, LokiError> {
    let matchers = selector_matchers(form.get("query").unwrap_or("{}"))?;
    select(api, tenant, form, matchers).await
}

async fn select(
    api: &LokiApi,
    tenant: &TenantId,
    form: &Form,
    matchers: Vec<Matcher>,
) -> Result<Vec<StreamSummary>, LokiError> {
    let range = range(form, api.clock.now_ns())?;
    let select = LogSelect { tenant: tenant.clone(), range, matchers, line_contains: Vec::new() };
    api.querier.streams(&select).await.map_err(|error| storage_error(&error))
}

/// The matchers of a selector; `{}` has none.
fn selector_matchers(selector: &str) -> Result<Vec<Matcher>, LokiError> {
    if selector.trim_matches(|c: char| c.is_whitespace()) == "{}" {
        return Ok(Vec::new());
    }
    logql::syntax::parse_selector(selector).map_err(|error| LokiError::bad_request(error.to_string()))
}

/// `data` is left out when it is empty (pkg/util/marshal WriteLabelResponseJSON).
fn text_list(texts: &BTreeSet<String>) -> Vec<u8> {
    let mut body = br#"{"status":"success""#.to_vec();
    if !texts.is_empty() {
        body.extend_from_slice(br#","data":"#);
        json::strings(&mut body, texts.iter().map(String::as_str), Html::Escaped);
    }
    body.extend_from_slice(b"}\n");
    body
}

//! `detected_labels`, `detected_fields`, `detected_field/<name>/values`: what a user can filter by.
//!
//! Fields are read from the newest `line_limit` lines that the query finds (pkg/querier/queryrange/detected_fields.go);
//! labels come from the stream tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response};
use logql::{DetectedField, FieldType, QueryParams, QueryResult, Streams};
use model::{Direction, TenantId};
use storage_api::StreamSummary;
use tokio_util::sync::CancellationToken;

use super::params::{LokiError, bounds, positive};
use super::query::{computed, in_slot, query_error, query_text, timed_out};
use super::streams::by_query;
use super::{LokiApi, Shared, tenant_and_form};
use crate::api::form::Form;
use crate::api::json::{self, Html};

/// Lines that are looked at without `line_limit` (pkg/loghttp/query.go).
const LINES_DEFAULT: u32 = 100;
/// Fields or values of an answer without `limit`.
const FIELDS_DEFAULT: u32 = 1000;
/// Labels that are shown even if their values are all ids.
const ALWAYS_SHOWN: [&str; 4] = ["cluster", "instance", "namespace", "pod"];

/// `detected_labels`: labels with the number of their values, ids left out.
pub(super) async fn detected_labels(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let work = async {
            let streams = by_query(&api, &tenant, &form).await?;
            computed(&api, move || labels_body(&streams)).await
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

fn labels_body(streams: &[StreamSummary]) -> Vec<u8> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in streams.iter().flat_map(|stream| stream.labels.iter()) {
        values.entry(name).or_default().insert(value);
    }
    values.retain(|name, values| ALWAYS_SHOWN.contains(name) || !are_ids(values));
    if values.is_empty() {
        return b"{}\n".to_vec();
    }
    let mut body = br#"{"detectedLabels":["#.to_vec();
    for (index, (name, values)) in values.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"label":"#);
        json::string(&mut body, name, Html::Escaped);
        body.extend_from_slice(br#","cardinality":"#);
        json::integer(&mut body, values.len());
        body.push(b'}');
    }
    body.extend_from_slice(b"]}\n");
    body
}

/// Whether all values are numbers or UUIDs; `0` and `1` alone are truth values.
fn are_ids(values: &BTreeSet<&str>) -> bool {
    let are_truth_values = values.iter().all(|value| matches!(*value, "0" | "1"));
    !are_truth_values && values.iter().all(|value| value.parse::<f64>().is_ok() || is_uuid(value))
}

/// The forms of github.com/google/uuid: with hyphens, without, in braces, as a URN.
fn is_uuid(text: &str) -> bool {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        32 => is_hex(text),
        36 => {
            let mut parts = text.split('-');
            [8, 4, 4, 4, 12]
                .iter()
                .all(|&len| parts.next().is_some_and(|part| part.len() == len && is_hex(part)))
                && parts.next().is_none()
        }
        _ => false,
    }
}

/// `detected_fields`.
pub(super) async fn detected_fields(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let limit = limit(&form)?;
        let look = move |lines: &Streams, goes_on: &dyn Fn() -> bool| {
            logql::detect_fields(lines, limit as usize, goes_on).map(|fields| fields_body(&fields, limit))
        };
        looked_at(&api, &tenant, &form, look).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

fn fields_body(fields: &[DetectedField], limit: u32) -> Vec<u8> {
    if fields.is_empty() {
        return b"{}\n".to_vec();
    }
    let mut body = br#"{"fields":["#.to_vec();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_field(&mut body, field);
    }
    body.extend_from_slice(br#"],"limit":"#);
    json::integer(&mut body, limit);
    body.extend_from_slice(b"}\n");
    body
}

/// `detected_field/<name>/values`.
pub(super) async fn field_values(
    State(api): Shared,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let limit = limit(&form)?;
        let look = move |lines: &Streams, goes_on: &dyn Fn() -> bool| {
            let values = logql::detect_values(lines, &name, limit as usize, goes_on);
            values.map(|values| values_body(&values, limit))
        };
        looked_at(&api, &tenant, &form, look).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

fn values_body(values: &[String], limit: u32) -> Vec<u8> {
    if values.is_empty() {
        return b"{}\n".to_vec();
    }
    let mut body = br#"{"limit":"#.to_vec();
    json::integer(&mut body, limit);
    body.extend_from_slice(br#","values":"#);
    json::strings(&mut body, values.iter().map(String::as_str), Html::Escaped);
    body.extend_from_slice(b"}\n");
    body
}

/// `limit`, formerly `field_limit`.
fn limit(form: &Form) -> Result<u32, LokiError> {
    let name = if form.get("limit").is_none() && form.get("field_limit").is_some() {
        "field_limit"
    } else {
        "limit"
    };
    positive(form, name, FIELDS_DEFAULT)
}

/// What `look` makes of the newest lines of the query, with its slot and in its time; `look` asks now and then whether
/// to go on, and gives nothing when it did not.
async fn looked_at(
    api: &LokiApi,
    tenant: &TenantId,
    form: &Form,
    look: impl FnOnce(&Streams, &dyn Fn() -> bool) -> Option<Vec<u8>> + Send + 'static,
) -> Result<Response<Body>, LokiError> {
    let query = query_text(form.get("query"))?;
    let (start_ns, end_ns) = bounds(form, api.clock.now_ns())?;
    if matches!(
        logql::syntax::parse(query).map_err(|error| query_error(&error))?,
        logql::syntax::Expr::Metric(_)
    ) {
        return Err(LokiError::bad_request("only log selector is supported"));
    }
    let params = QueryParams {
        start_ns,
        end_ns,
        step_ns: 0,
        limit: positive(form, "line_limit", LINES_DEFAULT)?,
        direction: Direction::Backward,
        interval_ns: 0,
    };
    let work = async {
        let deadline = Instant::now() + api.query.timeout;
        let stop = CancellationToken::new();
        let output = api.engine.query_range(query, params, tenant, Arc::clone(&api.querier), &stop).await;
        let QueryResult::Streams(lines) = output.map_err(|error| query_error(&error))?.result else {
            return Err(LokiError::bad_request("only log selector is supported"));
        };
        // A request that ends early, because its reader left or its time is over, ends the look.
        let _stops = stop.clone().drop_guard();
        let goes_on = move || !stop.is_cancelled() && Instant::now() < deadline;
        computed(api, move || look(&lines, &goes_on)).await?.ok_or_else(timed_out)
    };
    in_slot(api, work).await
}

fn write_field(out: &mut Vec<u8>, field: &DetectedField) {
    let field_type = match field.field_type {
        FieldType::Int => "int",
        FieldType::Float => "float",
        FieldType::Boolean => "boolean",
        FieldType::Duration => "duration",
        FieldType::Bytes => "bytes",
        FieldType::String => "string",
    };
    out.extend_from_slice(br#"{"label":"#);
    json::string(out, &field.label, Html::Escaped);
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(field_type.as_bytes());
    out.extend_from_slice(br#"","cardinality":"#);
    json::integer(out, field.cardinality);
    out.extend_from_slice(br#","parsers":"#);
    if field.parsers.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        json::strings(out, field.parsers.iter().copied(), Html::Escaped);
    }
    if !field.json_path.is_empty() {
        out.extend_from_slice(br#","jsonPath":"#);
        json::strings(out, field.json_path.iter().map(String::as_str), Html::Escaped);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::are_ids;

    #[test]
    fn labels_whose_values_are_all_ids_are_told_apart() {
        for (values, want) in [
            (&["1", "2"][..], true),
            (&["0", "1"], false),
            (&["1", "a"], false),
            (&["3f2504e0-4f89-11d3-9a0c-0305e82c3301"], true),
            (&["3f2504e04f8911d39a0c0305e82c3301", "7.5"], true),
            (&["3f2504e0-4f89-11d3-9a0c-0305e82c33"], false),
        ] {
            assert_eq!(are_ids(&BTreeSet::from_iter(values.iter().copied())), want, "{values:?}");
        }
    }
}

//! The paths below `/api/prom` that clients from before Loki 1.0 use (pkg/util/marshal/legacy).
//!
//! Labels come as `{"values":[…]}`, entries with their labels as one text and RFC 3339 times; only log queries are
//! answered. `series` and `tail` are the same as below `/loki/api/v1`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use chrono::{DateTime, SecondsFormat};
use http::{Request, Response};
use logql::{Grouping, QueryParams, QueryResult};
use tokio_util::sync::CancellationToken;

use super::params::{LokiError, bounds, direction, limit};
use super::query::{in_slot, query_error, query_text, slot};
use super::result::{grouped, stats};
use super::streams::{label_set, value_set};
use super::{Shared, success, tenant_and_form};
use crate::api::answers::holding;
use crate::api::json::{self, Html};

/// `/api/prom/label`.
pub(super) async fn label_names(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let work = async {
            let names = label_set(&api, &tenant, &form).await?;
            Ok(values(names.iter().map(String::as_str)))
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `/api/prom/label/<name>/values`.
pub(super) async fn label_values(
    State(api): Shared,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let work = async {
            let found = value_set(&api, &tenant, &form, &name).await?;
            Ok(values(found.iter().map(String::as_str)))
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

fn values<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut body = br#"{"values":"#.to_vec();
    json::strings(&mut body, texts, Html::Escaped);
    body.extend_from_slice(b"}\n");
    body
}

/// `/api/prom/query`; `regexp` is one more line filter.
pub(super) async fn query(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let mut query = query_text(form.get("query"))?.to_owned();
        if let Some(regexp) = form.get("regexp") {
            query = format!("{query} |~ {}", logql::syntax::quoted(regexp));
        }
        let (start_ns, end_ns) = bounds(&form, api.clock.now_ns())?;
        let params = QueryParams {
            start_ns,
            end_ns,
            step_ns: 0,
            limit: limit(&form)?,
            direction: direction(&form)?,
            interval_ns: 0,
        };
        if matches!(
            logql::syntax::parse(&query).map_err(|error| query_error(&error))?,
            logql::syntax::Expr::Metric(_)
        ) {
            return Err(LokiError::bad_request("legacy endpoints only support streams result type"));
        }
        let arrived = std::time::Instant::now();
        let slot = slot(&api).await?;
        let queued = arrived.elapsed();
        let cancel = CancellationToken::new();
        let output = api.engine.query_range(&query, params, &tenant, Arc::clone(&api.querier), &cancel).await;
        let output = output.map_err(|error| query_error(&error))?;
        let QueryResult::Streams(streams) = output.result else {
            return Err(LokiError::bad_request("legacy endpoints only support streams result type"));
        };
        let streams = grouped(&api.tasks, streams, Grouping::AllLabels).await?;
        let mut body = br#"{"streams":["#.to_vec();
        for stream in 0..streams.len() {
            if stream > 0 {
                body.push(b',');
            }
            body.extend_from_slice(br#"{"labels":"#);
            json::string(&mut body, &streams.labels_text(stream), Html::Escaped);
            body.extend_from_slice(br#","entries":["#);
            for (index, entry) in streams.entries(stream).iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(br#"{"ts":"#);
                json::string(&mut body, &rfc3339(entry.timestamp_ns), Html::Escaped);
                body.extend_from_slice(br#","line":"#);
                json::string(&mut body, &entry.line, Html::Escaped);
                body.push(b'}');
            }
            body.extend_from_slice(b"]}");
        }
        body.extend_from_slice(br#"],"stats":"#);
        body.extend_from_slice(stats(&output.stats, queued).to_string().as_bytes());
        body.extend_from_slice(b"}\n");
        Ok(holding(success(body), slot))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// A time as Go writes it: without zeros at the end of its fraction.
fn rfc3339(timestamp_ns: i64) -> String {
    let text = DateTime::from_timestamp_nanos(timestamp_ns).to_rfc3339_opts(SecondsFormat::Nanos, false);
    let text = text.strip_suffix("+00:00").unwrap_or(&text);
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_end_with_no_zeros() {
        for (ns, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (100_000_000, "1970-01-01T00:00:00.1Z"),
            (1_795_316_945_918_060_390, "2026-11-22T03:09:05.91806039Z"),
            (1_000_000_000_000_000_001, "2001-09-09T01:46:40.000000001Z"),
        ] {
            assert_eq!(rfc3339(ns), expected);
        }
    }
}

//! `patterns`: the patterns of the lines of streams, with counts by step (pkg/querier/pattern).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response};
use logql::LinePattern;
use model::TimeRange;

use super::params::{LokiError, bounds, step};
use super::query::{query_error, slot};
use super::{Shared, success, tenant_and_form};
use crate::api::answers::holding;
use crate::api::json::{self, Html};

/// The finest step of counts (pkg/pattern/drain, TimeResolution).
const STEP_MIN_NS: i64 = 10_000_000_000;

/// `patterns`.
pub(super) async fn patterns(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let (start_ns, end_ns) = bounds(&form, api.clock.now_ns())?;
        let step_ns = step(&form, start_ns, end_ns)?.max(STEP_MIN_NS);
        let matchers = logql::syntax::parse_selector(form.get("query").unwrap_or(""))
            .map_err(|error| query_error(&error))?;
        let range = TimeRange::new(start_ns, end_ns);
        let slot = slot(&api).await?;
        let found = api.engine.patterns(matchers, range, step_ns, &tenant, Arc::clone(&api.querier)).await;
        let found = found.map_err(|error| query_error(&error))?;
        let mut body = br#"{"status":"success","data":["#.to_vec();
        for (index, pattern) in found.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            write_pattern(&mut body, pattern);
        }
        body.extend_from_slice(b"]}\n");
        Ok(holding(success(body), slot))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

fn write_pattern(out: &mut Vec<u8>, found: &LinePattern) {
    out.extend_from_slice(br#"{"pattern":"#);
    json::string(out, &found.pattern, Html::Escaped);
    out.extend_from_slice(br#","level":"#);
    json::string(out, &found.level, Html::Escaped);
    out.extend_from_slice(br#","samples":["#);
    for (index, (at_ns, count)) in found.counts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'[');
        json::integer(out, at_ns.div_euclid(1_000_000_000));
        out.push(b',');
        json::integer(out, *count);
        out.push(b']');
    }
    out.extend_from_slice(b"]}");
}

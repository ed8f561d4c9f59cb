//! `query_exemplars` (web/api/v1/api.go).

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use model::TimeRange;
use storage_api::SeriesExemplars;

use super::error::ApiError;
use super::params::time_or;
use super::syntax_tree::selectors;
use super::{Shared, tenant_and_form};
use crate::api::json::{self, Html};
use crate::api::whole;

/// `GET|POST query_exemplars`: the exemplars of all series that the query selects.
pub(super) async fn query(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let start = time_or(&form, "start", i64::MIN)?;
        let end = time_or(&form, "end", i64::MAX)?;
        if end < start {
            return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
        }
        let expr = promql::parse_expr(form.get("query").unwrap_or(""), api.engine.settings().parse)
            .map_err(|error| ApiError::bad_data(error.to_string()))?;
        let selectors = selectors(&expr);
        if selectors.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let found = api.querier.exemplars(&tenant, &selectors, TimeRange::new(start, end)).await;
        let found = found.map_err(|error| ApiError::storage(&error))?;
        Ok(whole(StatusCode::OK, "application/json", body(&found)))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

fn body(found: &[SeriesExemplars]) -> Vec<u8> {
    let mut out = br#"{"status":"success","data":["#.to_vec();
    for (index, series) in found.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",{" } else { b"{" });
        out.extend_from_slice(br#""seriesLabels":"#);
        json::labels(&mut out, &series.labels, Html::Plain);
        out.extend_from_slice(br#","exemplars":["#);
        for (index, exemplar) in series.exemplars.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b",{" } else { b"{" });
            out.extend_from_slice(br#""labels":"#);
            json::labels(&mut out, &exemplar.labels, Html::Plain);
            out.extend_from_slice(br#","value":""#);
            json::float(&mut out, exemplar.value);
            out.extend_from_slice(br#"","timestamp":"#);
            json::timestamp(&mut out, exemplar.timestamp_ms);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use model::{Exemplar, Labels};
    use storage_api::SeriesExemplars;

    use super::body;

    /// The example of Prometheus' documentation (docs/querying/api.md), shortened.
    #[test]
    fn the_answer_has_the_documented_form() {
        let found = SeriesExemplars {
            labels: Labels::from_pairs([("__name__", "test_exemplar_metric_total"), ("job", "prometheus")]),
            exemplars: vec![Exemplar {
                labels: Labels::from_pairs([("trace_id", "EpTxMJ40fUus7aGY")]),
                value: 6.0,
                timestamp_ms: 1_600_096_945_479,
            }],
        };
        assert_eq!(
            String::from_utf8(body(&[found])).expect("JSON is text"),
            r#"{"status":"success","data":[{"seriesLabels":{"__name__":"test_exemplar_metric_total","job":"prometheus"},"exemplars":[{"labels":{"trace_id":"EpTxMJ40fUus7aGY"},"value":"6","timestamp":1600096945.479}]}]}"#
        );
        assert_eq!(body(&[]), br#"{"status":"success","data":[]}"#);
    }
}

//! `admin/tsdb/*` and what `status` tells of the metrics store (web/api/v1/api.go).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use model::TimeRange;
use serde_json::{Value, json};
use storage_api::MetricsAdmin;

use super::error::{ApiError, ErrorType};
use super::params::{matchers, time_or};
use super::status::success;
use super::{PrometheusApi, Shared, tenant_and_form};

/// Entries of each list of `status/tsdb` unless the request says.
const LIST_DEFAULT: usize = 10;
/// Most entries of such a list.
const LIST_MAX: usize = 10_000;

/// Refuses where the config does not switch the administration on.
fn must_be_enabled(api: &PrometheusApi) -> Result<(), ApiError> {
    match api.is_admin_enabled {
        true => Ok(()),
        false => Err(ApiError::new(ErrorType::Unavailable, "admin APIs disabled")),
    }
}

fn store(api: &PrometheusApi) -> Result<&Arc<dyn MetricsAdmin>, ApiError> {
    let missing = || ApiError::new(ErrorType::Unavailable, "the metrics store has no administration");
    api.admin.as_ref().ok_or_else(missing)
}

/// `POST|PUT admin/tsdb/delete_series`.
pub(super) async fn delete_series(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        must_be_enabled(&api)?;
        let (tenant, form) = tenant_and_form(request).await?;
        if !form.has("match[]") {
            return Err(ApiError::bad_data("no match[] parameter provided"));
        }
        let start = time_or(&form, "start", i64::MIN)?;
        let end = time_or(&form, "end", i64::MAX)?;
        let selectors = matchers(&form)?;
        let admin = store(&api)?;
        if start <= end {
            for selector in &selectors {
                let deleted = admin.delete(&tenant, selector, TimeRange::new(start, end)).await;
                deleted.map_err(|error| ApiError::storage(&error))?;
            }
        }
        if let Some(frontend) = &api.frontend {
            frontend.forget();
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `POST|PUT admin/tsdb/clean_tombstones`.
pub(super) async fn clean_tombstones(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        must_be_enabled(&api)?;
        let (tenant, _) = tenant_and_form(request).await?;
        store(&api)?.clean_tombstones(&tenant).await.map_err(|error| ApiError::storage(&error))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `POST|PUT admin/tsdb/snapshot`.
pub(super) async fn snapshot(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        must_be_enabled(&api)?;
        let (tenant, form) = tenant_and_form(request).await?;
        let skip_head = match form.get("skip_head").unwrap_or("") {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            text => {
                let message =
                    format!("unable to parse boolean: strconv.ParseBool: parsing {text:?}: invalid syntax");
                return Err(ApiError::parameter("skip_head", message));
            }
        };
        let name =
            store(&api)?.snapshot(&tenant, skip_head).await.map_err(|error| ApiError::storage(&error))?;
        Ok(success(json!({"name": name})))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET status/tsdb`.
pub(super) async fn tsdb(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let limit = match form.get("limit") {
            None | Some("") => LIST_DEFAULT,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| *limit > 0);
                let limit: usize =
                    limit.ok_or_else(|| ApiError::bad_data("limit must be a positive number"))?;
                if limit > LIST_MAX {
                    return Err(ApiError::bad_data(format!("limit must not exceed {LIST_MAX}")));
                }
                limit
            }
        };
        let stats = store(&api)?.stats(&tenant, limit).await.map_err(|error| ApiError::storage(&error))?;
        let list = |rows: &[(String, u64)]| -> Vec<Value> {
            rows.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        };
        // An empty head has the bounds of an empty range, as in Prometheus.
        let (min, max) = stats.range.map_or((i64::MAX, i64::MIN), |range| (range.min, range.max));
        Ok(success(json!({
            "headStats": {
                "numSeries": stats.series,
                "numLabelPairs": stats.label_pairs,
                "chunkCount": stats.chunks,
                "minTime": min,
                "maxTime": max,
            },
            "seriesCountByMetricName": list(&stats.series_by_metric_name),
            "labelValueCountByLabelName": list(&stats.values_by_label_name),
            "memoryInBytesByLabelName": list(&stats.bytes_by_label_name),
            "seriesCountByLabelValuePair": list(&stats.series_by_label_pair),
        })))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET status/tsdb/blocks`.
pub(super) async fn blocks(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, _) = tenant_and_form(request).await?;
        let blocks = store(&api)?.blocks(&tenant).await.map_err(|error| ApiError::storage(&error))?;
        let blocks: Vec<Value> = blocks
            .iter()
            .map(|block| {
                json!({
                    "ulid": block.ulid,
                    "minTime": block.min_time_ms,
                    "maxTime": block.max_time_ms,
                    "stats": {
                        "numSamples": block.samples,
                        "numSeries": block.series,
                        "numChunks": block.chunks,
                    },
                    "compaction": {"level": block.level, "sources": [block.ulid]},
                    "version": 1,
                })
            })
            .collect();
        Ok(success(json!({"blocks": blocks})))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

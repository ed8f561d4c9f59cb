//! `labels`, `label/<name>/values`, `series`, `metadata` (web/api/v1/api.go).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use model::{Labels, METRIC_NAME, MatchOp, Matcher, TenantId};
use storage_api::MetricsSelect;

use super::error::{ApiError, ErrorType};
use super::params::{limit, matchers, time_range, unescape_name};
use super::result::annotations;
use super::stores::Source;
use super::{Shared, tenant_and_form};
use crate::api::form::Form;
use crate::api::json::{self, Html};
use crate::api::whole;

/// `GET|POST labels`.
pub(super) async fn label_names(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let source = Source::new(&api, &form, None)?;
        let mut names = Vec::new();
        for select in selects(&tenant, &form)? {
            names.extend(
                source.querier().label_names(&select).await.map_err(|error| ApiError::storage(&error))?,
            );
        }
        names.sort_unstable();
        names.dedup();
        Ok(text_list(names, limit(&form, "limit")?, source.warnings()))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET label/<name>/values`.
pub(super) async fn label_values(
    State(api): Shared,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let name = unescape_name(&name);
        if name.is_empty() {
            return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
        }
        let source = Source::new(&api, &form, None)?;
        let mut values = Vec::new();
        for select in selects(&tenant, &form)? {
            let found = source.querier().label_values(&name, &select).await;
            values.extend(found.map_err(|error| ApiError::storage(&error))?);
        }
        values.sort_unstable();
        values.dedup();
        Ok(text_list(values, limit(&form, "limit")?, source.warnings()))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET|POST series`.
pub(super) async fn series(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        if !form.has("match[]") {
            return Err(ApiError::bad_data("no match[] parameter provided"));
        }
        let max = limit(&form, "limit")?;
        let source = Source::new(&api, &form, None)?;
        let mut found: Vec<Labels> = Vec::new();
        for select in selects(&tenant, &form)? {
            let labels = source.querier().series_labels(&select).await;
            found.extend(labels.map_err(|error| ApiError::storage(&error))?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(list(found, max, source.warnings(), |out, labels| json::labels(out, &labels, Html::Plain)))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET metadata`.
pub(super) async fn metadata(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let max = match form.get("limit") {
            None => usize::MAX,
            Some(text) => text.parse::<i64>().map_or_else(
                |_| Err(ApiError::bad_data("limit must be a number")),
                |limit| Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
            )?,
        };
        let per_metric = match form.get("limit_per_metric") {
            None => usize::MAX,
            Some(text) => text.parse::<i64>().map_or_else(
                |_| Err(ApiError::bad_data("limit_per_metric must be a number")),
                |limit| Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX)),
            )?,
        };
        let known = api.querier.metadata(&tenant, form.get("metric")).await;
        let known = known.map_err(|error| ApiError::storage(&error))?;
        let mut body = br#"{"status":"success","data":{"#.to_vec();
        let mut start = 0;
        let mut metrics = 0;
        while start < known.len() && metrics < max {
            let name = &known[start].0;
            let count = known[start..].iter().take_while(|(other, _)| other == name).count();
            if metrics > 0 {
                body.push(b',');
            }
            json::string(&mut body, name, Html::Plain);
            body.extend_from_slice(b":[");
            for (index, (_, metadata)) in known[start..start + count].iter().take(per_metric).enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                let metric_type = metadata.metric_type.to_string();
                json::pairs(
                    &mut body,
                    [("type", metric_type.as_str()), ("help", &metadata.help), ("unit", &metadata.unit)],
                    Html::Plain,
                );
            }
            body.push(b']');
            metrics += 1;
            start += count;
        }
        body.extend_from_slice(b"}}");
        Ok(whole(StatusCode::OK, "application/json", body))
    };
    let answer: Result<_, ApiError> = answer.await;
    answer.unwrap_or_else(ApiError::into_response)
}

/// One select for each `match[]`; without any, one for everything.
fn selects(tenant: &TenantId, form: &Form) -> Result<Vec<MetricsSelect>, ApiError> {
    let range = time_range(form)?;
    let mut sets = matchers(form)?;
    if sets.is_empty() {
        // Every series has a name that is not empty or is matched by nothing else anyway.
        let all = Matcher::new(METRIC_NAME, MatchOp::Regex, ".*");
        sets.push(vec![all.map_err(|error| ApiError::new(ErrorType::Internal, error.to_string()))?]);
    }
    Ok(sets.into_iter().map(|matchers| MetricsSelect { tenant: tenant.clone(), range, matchers }).collect())
}

fn text_list(texts: Vec<String>, max: usize, warnings: Vec<String>) -> Response<Body> {
    list(texts, max, warnings, |out, text| json::string(out, &text, Html::Plain))
}

fn list<T>(
    mut items: Vec<T>,
    max: usize,
    mut warnings: Vec<String>,
    write: impl Fn(&mut Vec<u8>, T),
) -> Response<Body> {
    if max > 0 && items.len() > max {
        items.truncate(max);
        warnings.push("results truncated due to limit".to_owned());
    }
    let mut body = br#"{"status":"success","data":["#.to_vec();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write(&mut body, item);
    }
    body.push(b']');
    annotations(&mut body, "warnings", &warnings);
    body.push(b'}');
    whole(StatusCode::OK, "application/json", body)
}

//! What is answered from stream tables alone: labels, values, series, index statistics and volume.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response};
use model::{Labels, Matcher, TenantId};
use storage_api::{LogSelect, StreamSummary};

use super::params::{LokiError, positive, range};
use super::{LokiApi, Shared, storage_error, success, tenant_and_form};
use crate::api::form::Form;
use crate::api::json::{self, Html};

/// `labels`, `label`.
pub(super) async fn label_names(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let streams = by_query(&api, &tenant, &form).await?;
        let names: BTreeSet<&str> =
            streams.iter().flat_map(|stream| stream.labels.iter().map(|(name, _)| name)).collect();
        Ok(text_list(&names))
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
        let streams = by_query(&api, &tenant, &form).await?;
        let values: BTreeSet<&str> = streams.iter().filter_map(|stream| stream.labels.get(&name)).collect();
        Ok(text_list(&values))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `series`: `match` and `match[]`, several are joined; none or `{}` is everything.
pub(super) async fn series(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let mut selectors: Vec<&str> = form.all("match").chain(form.all("match[]")).collect();
        if selectors.is_empty() {
            selectors.push("{}");
        }
        let mut found: BTreeSet<Labels> = BTreeSet::new();
        for selector in selectors {
            let matchers = selector_matchers(selector)?;
            let streams = select(&api, &tenant, &form, matchers).await?;
            found.extend(streams.into_iter().map(|stream| stream.labels));
        }
        let mut body = br#"{"status":"success","data":["#.to_vec();
        for (index, labels) in found.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            json::labels(&mut body, labels, Html::Escaped);
        }
        body.extend_from_slice(b"]}\n");
        Ok(success(body))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `index/stats`. A stream here is one unit of storage, so `chunks` counts streams.
pub(super) async fn index_stats(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let streams = by_query(&api, &tenant, &form).await?;
        let (mut bytes, mut entries) = (0, 0);
        for stream in &streams {
            bytes += stream.bytes;
            entries += stream.entries;
        }
        let count = streams.len();
        Ok(success(
            format!("{{\"streams\":{count},\"chunks\":{count},\"bytes\":{bytes},\"entries\":{entries}}}\n")
                .into_bytes(),
        ))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `index/volume`: bytes by the labels that `targetLabels` or the selector name, or by label name.
pub(super) async fn index_volume(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let limit = positive(&form, "limit", 100)?;
        let matchers = selector_matchers(form.get("query").unwrap_or("{}"))?;
        let targets: Vec<String> = match form.get("targetLabels") {
            Some(names) => names.split(',').map(|name| name.trim().to_owned()).collect(),
            None => matchers.iter().map(|matcher| matcher.name().to_owned()).collect(),
        };
        let by_label = match form.get("aggregateBy").unwrap_or("series") {
            "series" => false,
            "labels" => true,
            other => {
                return Err(LokiError::bad_request(format!(
                    "invalid aggregation option {other:?}, want series or labels"
                )));
            }
        };
        let end_ns = range(&form, api.clock.now_ns())?.max;
        let streams = select(&api, &tenant, &form, matchers).await?;
        let volumes = volumes(&streams, &targets, by_label);
        Ok(success(volume_body(volumes, by_label, limit as usize, end_ns / 1_000_000)))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `detected_labels`: labels with the number of their values.
pub(super) async fn detected_labels(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let streams = by_query(&api, &tenant, &form).await?;
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, value) in streams.iter().flat_map(|stream| stream.labels.iter()) {
            values.entry(name).or_default().insert(value);
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
        Ok(success(body))
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// Bytes for each group.
fn volumes(streams: &[StreamSummary], targets: &[String], by_label: bool) -> BTreeMap<Labels, u64> {
    let wanted = |name: &str| targets.is_empty() || targets.iter().any(|target| target == name);
    let mut volumes: BTreeMap<Labels, u64> = BTreeMap::new();
    for stream in streams {
        if by_label {
            for (name, _) in stream.labels.iter().filter(|(name, _)| wanted(name)) {
                // The name is what is counted; as a label set it needs a value, which is not shown.
                *volumes.entry(Labels::from_pairs([(name, "-")])).or_default() += stream.bytes;
            }
        } else {
            *volumes.entry(stream.labels.without(|name| !wanted(name))).or_default() += stream.bytes;
        }
    }
    volumes
}

fn volume_body(volumes: BTreeMap<Labels, u64>, by_label: bool, limit: usize, end_ms: i64) -> Vec<u8> {
    let mut volumes: Vec<(Labels, u64)> = volumes.into_iter().collect();
    volumes.sort_by(|(labels, bytes), (other_labels, other)| {
        other.cmp(bytes).then_with(|| labels.cmp(other_labels))
    });
    volumes.truncate(limit);
    let mut body = br#"{"status":"success","data":{"resultType":"vector","result":["#.to_vec();
    for (index, (labels, bytes)) in volumes.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"metric":"#);
        let shown = labels.iter().map(|(name, value)| (name, if by_label { "" } else { value }));
        json::pairs(&mut body, shown, Html::Escaped);
        body.extend_from_slice(br#","value":["#);
        json::short_timestamp(&mut body, end_ms);
        body.extend_from_slice(b",\"");
        json::integer(&mut body, *bytes);
        body.extend_from_slice(b"\"]}");
    }
    body.extend_from_slice(b"]}}\n");
    body
}

/// Streams that the optional `query` selects.
async fn by_query(api: &LokiApi, tenant: &TenantId, form: &Form) -> Result<Vec<StreamSummary>, LokiError> {
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
fn text_list(texts: &BTreeSet<&str>) -> Response<Body> {
    let mut body = br#"{"status":"success""#.to_vec();
    if !texts.is_empty() {
        body.extend_from_slice(br#","data":"#);
        json::strings(&mut body, texts.iter().copied(), Html::Escaped);
    }
    body.extend_from_slice(b"}\n");
    success(body)
}

//! Queries over the stores of others: Thanos' parameters, warnings of partial answers, and `stores`
//! (pkg/api/query/v1.go). Without such stores the parameters mean nothing, as in Prometheus.

use axum::body::Body;
use axum::extract::State;
use http::Response;
use model::{Matcher, TimeRange};
use serde_json::{Map, Value, json};
use storage_api::MetricsQuerier;
use thanos::{FanoutOptions, FanoutQuerier, StoreStatus};

use super::error::ApiError;
use super::own_store::OwnStore;
use super::params::optional_duration;
use super::{PrometheusApi, Shared};
use crate::api::form::Form;

/// What a request reads from.
pub(super) enum Source<'a> {
    /// This process' own store.
    Own(OwnStore<'a>),
    /// Several stores.
    Several(Box<FanoutQuerier>),
}

impl<'a> Source<'a> {
    /// For a request; `step_ms` is the step of a range query.
    pub(super) fn new(api: &'a PrometheusApi, form: &Form, step_ms: Option<i64>) -> Result<Self, ApiError> {
        let Some(fanout) = &api.fanout else { return Ok(Self::Own(OwnStore::new(api.querier.as_ref()))) };
        let options = read_options(fanout.options(), form, step_ms)?;
        Ok(Self::Several(Box::new(fanout.querier(options))))
    }

    pub(super) fn querier(&self) -> &dyn MetricsQuerier {
        match self {
            Self::Own(store) => store,
            Self::Several(querier) => querier.as_ref(),
        }
    }

    /// Whether every store was asked that may have something. One that does not answer at the moment is left out without
    /// a warning.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Several(querier) => querier.is_whole(),
        }
    }

    /// What is missing in the answer.
    pub(super) fn warnings(&self) -> Vec<String> {
        match self {
            Self::Own(store) => store.missing(),
            Self::Several(querier) => querier.take_warnings(),
        }
    }

    /// How far back an instant selector looks when nobody says: downsampled data is sparse
    /// (`LookbackDeltaFactory` in cmd/thanos/query.go).
    pub(super) fn lookback_ms(&self, default_ms: i64) -> Option<i64> {
        const RESOLUTIONS_MS: [i64; 2] = [5 * 60 * 1000, 3600 * 1000];
        let Self::Several(querier) = self else { return None };
        match querier.options().max_resolution_ms {
            0 => None,
            max => Some(if max > RESOLUTIONS_MS[0] { RESOLUTIONS_MS[1] } else { RESOLUTIONS_MS[0] })
                .filter(|lookback| *lookback > default_ms),
        }
    }
}

fn read_options(
    mut options: FanoutOptions,
    form: &Form,
    step_ms: Option<i64>,
) -> Result<FanoutOptions, ApiError> {
    if let Some(dedup) = flag(form, "dedup")? {
        options.dedup = dedup;
    }
    if let Some(partial) = flag(form, "partial_response")? {
        options.partial_response = partial;
    }
    let labels: Vec<String> = form.all("replicaLabels[]").map(str::to_owned).collect();
    if !labels.is_empty() {
        options.replica_labels = labels;
    }
    options.max_resolution_ms = match (form.get("max_source_resolution"), step_ms) {
        (Some("auto"), Some(step_ms)) => step_ms / 5,
        (Some("auto"), None) | (None, _) => 0,
        (Some(_), _) => optional_duration(form, "max_source_resolution")?.unwrap_or(0),
    };
    if options.max_resolution_ms < 0 {
        return Err(ApiError::bad_data(
            "negative 'max_source_resolution' is not accepted. Try a positive integer",
        ));
    }
    options.store_matchers = store_matchers(form)?;
    Ok(options)
}

fn flag(form: &Form, name: &str) -> Result<Option<bool>, ApiError> {
    match form.get(name) {
        None | Some("") => Ok(None),
        // strconv.ParseBool
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(Some(false)),
        Some(other) => {
            let text = format!("'{name}' parameter: strconv.ParseBool: parsing {other:?}: invalid syntax");
            Err(ApiError::bad_data(text))
        }
    }
}

fn store_matchers(form: &Form) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let parse =
        |text| promql::parse_selector(text).map_err(|error| ApiError::parameter("storeMatch[]", error));
    form.all("storeMatch[]").map(parse).collect()
}

/// `GET stores`: the stores that queries are answered from, by component.
pub(super) async fn stores(State(api): Shared) -> Response<Body> {
    let mut listed = Map::new();
    if let Some(fanout) = &api.fanout {
        for (component, stores) in fanout.endpoints().status() {
            listed.insert(component, stores.iter().map(store).collect());
        }
    }
    super::status::success(Value::Object(listed))
}

fn store(store: &StoreStatus) -> Value {
    let labels = |labels: &model::Labels| -> Value {
        Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    };
    let TimeRange { min, max } = store.range;
    let checked = store.last_check_ms.and_then(chrono::DateTime::from_timestamp_millis);
    json!({
        "name": store.name,
        "lastCheck": checked.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)),
        "lastError": store.last_error,
        "labelSets": store.label_sets.iter().map(labels).collect::<Vec<_>>(),
        "minTime": min,
        "maxTime": max,
    })
}

//! `health_check`: one page that says whether the process serves (extension of the same name in the collector's contrib
//! repository, its answers byte for byte but for the times).

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pipelines::{ComponentConfig, ConfigError, Stability};
use runtime::{Clock, SystemClock};
use serde::Deserialize;

use super::{Extension, ExtensionContext, ExtensionFactory, OwnPage};
use crate::api::process::ProcessInfo;
use crate::server::section::HttpSection;

pub(super) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "health_check", stability: Stability::Beta, create };

/// Where to listen unless the config says.
const ENDPOINT_DEFAULT: &str = "localhost:13133";

/// The keys beside those of the listener.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The page. Default `/`.
    path: String,
    /// Fixed bodies instead of the JSON.
    response_body: Option<ResponseBody>,
    check_collector_pipeline: Option<PipelineCheck>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResponseBody {
    healthy: String,
    unhealthy: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PipelineCheck {
    enabled: bool,
    #[serde(rename = "interval")]
    _interval: Option<String>,
    #[serde(rename = "exporter_failure_threshold")]
    _exporter_failure_threshold: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: "/".to_owned(), response_body: None, check_collector_pipeline: None }
    }
}

fn create(config: &ComponentConfig<'_>, context: &ExtensionContext) -> Result<Extension, ConfigError> {
    let (server, own) = HttpSection::split(config)?;
    let config: Config = ComponentConfig { id: config.id, value: &own }.parse()?;
    let endpoint = server.endpoint.clone().unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
    if endpoint.is_empty() {
        return Err(ConfigError::at("endpoint", "bad config: endpoint must be specified"));
    }
    if !config.path.starts_with('/') || config.path.contains(['{', '}', '*']) {
        return Err(ConfigError::at("path", "bad config: path must start with /"));
    }
    if config.check_collector_pipeline.is_some_and(|check| check.enabled) {
        let message = "is not supported by this version; the collector says itself that it does not work";
        return Err(ConfigError::at("check_collector_pipeline.enabled", message));
    }
    let (process, bodies) = (Arc::clone(&context.process), config.response_body);
    let page = move || {
        let answer = answer(&process, bodies.as_ref());
        async move { answer }
    };
    let mut routes = Router::new().route(&config.path, axum::routing::any(page.clone()));
    // As Go's ServeMux: a path that ends in a slash has all that is below it.
    if config.path.ends_with('/') {
        routes = routes.route(&format!("{}{{*below}}", config.path), axum::routing::any(page));
    }
    let page = OwnPage { what: "Health check", endpoint, server, routes };
    Ok(Extension { page: Some(page), ..Extension::default() })
}

fn answer(process: &ProcessInfo, bodies: Option<&ResponseBody>) -> Response {
    let is_ready = process.is_ready();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if let Some(bodies) = bodies {
        let body = if is_ready { &bodies.healthy } else { &bodies.unhealthy };
        return (status, body.clone()).into_response();
    }
    let (text, since, uptime) = if is_ready {
        let since = chrono::DateTime::from_timestamp_millis(process.started_ms).unwrap_or_default();
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        ("Server available", since, crate::duration::go_text(SystemClock.now_ms() - process.started_ms))
    } else {
        ("Server not available", "0001-01-01T00:00:00Z".to_owned(), String::new())
    };
    let body = format!(r#"{{"status":"{text}","upSince":"{since}","uptime":"{uptime}"}}"#);
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

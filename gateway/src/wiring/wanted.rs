//! The listeners that a config asks for: those of receivers, APIs, own metrics and extensions.

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pipelines::{ComponentConfig, ConfigError, Page};
use thanos::StoreApiServer;

use super::ApiRoutes;
use super::build::Parts;
use super::listeners::Stage;
use crate::api::process::OwnMetrics;
use crate::api::thanos::store_api_handler;
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::config::types::{LokiApiConfig, MetricsLevel, PrometheusApiConfig, StoreApiConfig};
use crate::receivers::{ApiServer, Listener, Receiver};
use crate::server::auth::{AuthConfig, ServerAuths, protect, refuse_in_text};
use crate::server::cors::CorsConfig;
use crate::server::section::HttpSection;
use crate::server::tls::TlsServerConfig;
use crate::server::{ServeSettings, router_handler};
use crate::telemetry::exposition::Names;

/// Where the collector serves its own metrics when its config does not say.
const OWN_METRICS_DEFAULT: &str = "localhost:8888";

const PROMETHEUS_API: &str = "Prometheus API";
const LOKI_API: &str = "Loki API";
const THANOS_RECEIVE: &str = "Thanos receive";
const STORE_API: &str = "StoreAPI";
const OWN_METRICS: &str = "Metrics";
const EXPORTER_PAGE: &str = "Prometheus exporter";

/// What speaks at each endpoint that a process with this config opens.
pub(super) fn endpoints(
    config: &Config,
    parts: &Parts,
    has_stores: bool,
    serves_blocks: bool,
) -> Vec<(&'static str, String)> {
    let of = |listeners: &[Listener]| -> Vec<_> {
        listeners.iter().map(|listener| (listener.what, listener.endpoint.clone())).collect()
    };
    let mut all: Vec<_> = parts.receivers.iter().flat_map(|receiver| of(&receiver.listeners)).collect();
    let [prometheus, loki] = api_endpoints(config, &parts.receivers, has_stores);
    all.push((PROMETHEUS_API, prometheus.to_owned()));
    all.push((LOKI_API, loki.to_owned()));
    all.push((THANOS_RECEIVE, config.receive.endpoint.clone()));
    if has_stores || serves_blocks {
        all.push((STORE_API, config.server.store_api.endpoint.clone()));
    }
    let has_api = !prometheus.is_empty() || !loki.is_empty();
    all.extend(own_metrics_places(config, has_api).into_iter().map(|(endpoint, _)| (OWN_METRICS, endpoint)));
    all.extend(of(&parts.extensions.listeners));
    all.extend(of(&parts.pages));
    all.retain(|(_, endpoint)| !endpoint.is_empty());
    all
}

/// Where the Prometheus API and the Loki API listen, empty for one that does not.
fn api_endpoints<'c>(config: &'c Config, receivers: &[Receiver], has_stores: bool) -> [&'c str; 2] {
    let server = &config.server;
    let mut is_needed =
        [has_stores || server.prometheus.endpoint.is_some(), has_stores || server.loki.endpoint.is_some()];
    for receiver in receivers.iter().filter(|receiver| receiver.listeners.is_empty()) {
        receiver.mounts.iter().for_each(|mount| is_needed[mount.server as usize] = true);
    }
    [
        if is_needed[ApiServer::Prometheus as usize] { server.prometheus.endpoint() } else { "" },
        if is_needed[ApiServer::Loki as usize] { server.loki.endpoint() } else { "" },
    ]
}

/// Every listener that a config asks for. In a process without stores an API listens only where its endpoint is given or
/// a receiver has no other place.
pub(super) fn wanted(
    config: &Config,
    parts: &mut Parts,
    apis: &ApiRoutes,
    has_stores: bool,
) -> Result<Vec<(Stage, Listener)>, ConfigFault> {
    let mut intake = Vec::new();
    let ApiRoutes { mut prometheus, mut loki, store_api, receive, metrics } = apis.clone();
    let api_endpoints = api_endpoints(config, &parts.receivers, has_stores);
    for receiver in parts.receivers.drain(..) {
        intake.extend(receiver.listeners);
        for mount in receiver.mounts {
            match mount.server {
                ApiServer::Prometheus => prometheus = prometheus.merge(mount.routes),
                ApiServer::Loki => loki = loki.merge(mount.routes),
            }
        }
    }
    let PrometheusApiConfig { tls, auth, cors, .. } = &config.server.prometheus;
    let edge =
        Edge { tls: tls.as_ref(), auth: auth.as_ref(), cors: cors.as_ref(), auths: &parts.extensions.auths };
    let listener = edge.listener(PROMETHEUS_API, api_endpoints[ApiServer::Prometheus as usize], prometheus);
    intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "prometheus"])))?);
    let LokiApiConfig { tls, auth, cors, .. } = &config.server.loki;
    let edge =
        Edge { tls: tls.as_ref(), auth: auth.as_ref(), cors: cors.as_ref(), auths: &parts.extensions.auths };
    let listener = edge.listener(LOKI_API, api_endpoints[ApiServer::Loki as usize], loki);
    intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "loki"])))?);
    if let Some(routes) = receive {
        let section = &config.receive;
        let edge = Edge {
            tls: section.tls.as_ref(),
            auth: section.auth.as_ref(),
            cors: None,
            auths: &parts.extensions.auths,
        };
        let listener = edge.listener(THANOS_RECEIVE, &section.endpoint, routes);
        intake.extend(listener.map_err(|error| config.fault(error.under(&["receive"])))?);
    }
    if let Some(server) = store_api {
        let listener = store_api_listener(&config.server.store_api, server, &parts.extensions.auths);
        intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "store_api"])))?);
    }
    let is_api = |listener: &Listener| matches!(listener.what, PROMETHEUS_API | LOKI_API);
    let mut status = own_metrics(config, metrics, intake.iter().any(is_api));
    let of_extensions = parts.extensions.listeners.drain(..);
    status.extend(of_extensions);
    status.append(&mut parts.pages);
    let intake = intake.into_iter().map(|listener| (Stage::Intake, listener));
    Ok(intake.chain(status.into_iter().map(|listener| (Stage::Status, listener))).collect())
}

/// What stands between an API and those who ask it.
struct Edge<'a> {
    tls: Option<&'a TlsServerConfig>,
    auth: Option<&'a AuthConfig>,
    cors: Option<&'a CorsConfig>,
    auths: &'a ServerAuths,
}

impl Edge<'_> {
    /// The listener of an API; none for an empty endpoint.
    fn listener(
        &self,
        what: &'static str,
        endpoint: &str,
        routes: Router,
    ) -> Result<Option<Listener>, ConfigError> {
        let mut routes = protect(routes, self.auths.resolve(self.auth)?, refuse_in_text);
        if let Some(cors) = self.cors {
            routes = cors.around(routes)?;
        }
        Ok((!endpoint.is_empty()).then(|| Listener {
            what,
            endpoint: endpoint.to_owned(),
            settings: ServeSettings { tls: self.tls.cloned(), ..ServeSettings::default() },
            handler: router_handler(routes),
        }))
    }
}

/// The listener of Thanos' StoreAPI; none for an empty endpoint.
fn store_api_listener(
    config: &StoreApiConfig,
    server: Arc<StoreApiServer>,
    auths: &ServerAuths,
) -> Result<Option<Listener>, ConfigError> {
    let auth = auths.resolve(config.auth.as_ref())?;
    Ok((!config.endpoint.is_empty()).then(|| Listener {
        what: STORE_API,
        endpoint: config.endpoint.clone(),
        settings: ServeSettings {
            tls: config.tls.clone(),
            http2_only: true,
            // Queriers keep one connection open for as long as they live, and ask on it from time to time.
            idle_timeout: None,
            ..ServeSettings::default()
        },
        handler: store_api_handler(server, auth),
    }))
}

/// The listener of an exporter's page.
pub(super) fn page_listener(page: Page, auths: &ServerAuths) -> Result<Listener, ConfigError> {
    let Page { id, endpoint, server, path, content_type, render } = page;
    let at = |error: ConfigError| error.under(&["exporters", &id.to_string()]);
    let server = HttpSection::parse(&ComponentConfig { id: &id, value: &server }).map_err(at)?;
    let answer = move || {
        let rendered = render();
        async move {
            match rendered.await {
                Some(text) => ([(CONTENT_TYPE, content_type)], text).into_response(),
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
    };
    server.listener(EXPORTER_PAGE, endpoint, Router::new().route(path, get(answer)), auths).map_err(at)
}

/// The listeners of `service::telemetry::metrics`.
fn own_metrics(config: &Config, metrics: OwnMetrics, has_api: bool) -> Vec<Listener> {
    let places = own_metrics_places(config, has_api).into_iter();
    let listener = |(endpoint, names)| Listener {
        what: OWN_METRICS,
        endpoint,
        settings: ServeSettings::default(),
        handler: router_handler(metrics.routes(names)),
    };
    places.map(listener).collect()
}

/// Where the process shows its own metrics; where neither the config nor an API does, the collector's place.
fn own_metrics_places(config: &Config, has_api: bool) -> Vec<(String, Names)> {
    let section = &config.service.telemetry.metrics;
    let address = section.address.iter().map(|address| (address.clone(), Names::default()));
    let readers = section.readers.iter().filter_map(|reader| reader.pull.as_ref()).map(|pull| {
        let reader = &pull.exporter.prometheus;
        let names =
            Names { with_type_suffix: !reader.without_type_suffix, with_units: !reader.without_units };
        let host = if reader.host.contains(':') { format!("[{}]", reader.host) } else { reader.host.clone() };
        (format!("{host}:{}", reader.port), names)
    });
    let mut places: Vec<_> = address.chain(readers).collect();
    if places.is_empty() && !has_api && section.level != MetricsLevel::None {
        places.push((OWN_METRICS_DEFAULT.to_owned(), Names::default()));
    }
    places
}

//! The listeners that a config asks for: those of receivers, APIs, own metrics and extensions.

use std::sync::Arc;

use axum::Router;
use pipelines::ConfigError;
use thanos::StoreApiServer;

use super::ApiRoutes;
use super::build::Parts;
use super::listeners::Stage;
use crate::api::process::OwnMetrics;
use crate::api::thanos::store_api_handler;
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::config::types::{LokiApiConfig, MetricsLevel, PrometheusApiConfig, StoreApiConfig};
use crate::receivers::{ApiServer, Listener};
use crate::server::auth::{AuthConfig, ServerAuths, protect, refuse_in_text};
use crate::server::cors::CorsConfig;
use crate::server::tls::TlsServerConfig;
use crate::server::{ServeSettings, router_handler};
use crate::telemetry::exposition::Names;

/// Where the collector serves its own metrics when its config does not say.
const OWN_METRICS_DEFAULT: &str = "localhost:8888";

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
    let mut is_needed = [
        has_stores || config.server.prometheus.endpoint.is_some(),
        has_stores || config.server.loki.endpoint.is_some(),
    ];
    for receiver in parts.receivers.drain(..) {
        let has_no_other = receiver.listeners.is_empty();
        intake.extend(receiver.listeners);
        for mount in receiver.mounts {
            is_needed[mount.server as usize] |= has_no_other;
            match mount.server {
                ApiServer::Prometheus => prometheus = prometheus.merge(mount.routes),
                ApiServer::Loki => loki = loki.merge(mount.routes),
            }
        }
    }
    let PrometheusApiConfig { tls, auth, cors, .. } = &config.server.prometheus;
    let edge =
        Edge { tls: tls.as_ref(), auth: auth.as_ref(), cors: cors.as_ref(), auths: &parts.extensions.auths };
    let endpoint =
        if is_needed[ApiServer::Prometheus as usize] { config.server.prometheus.endpoint() } else { "" };
    let listener = edge.listener("Prometheus API", endpoint, prometheus);
    intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "prometheus"])))?);
    let LokiApiConfig { tls, auth, cors, .. } = &config.server.loki;
    let edge =
        Edge { tls: tls.as_ref(), auth: auth.as_ref(), cors: cors.as_ref(), auths: &parts.extensions.auths };
    let endpoint = if is_needed[ApiServer::Loki as usize] { config.server.loki.endpoint() } else { "" };
    let listener = edge.listener("Loki API", endpoint, loki);
    intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "loki"])))?);
    if let Some(routes) = receive {
        let section = &config.receive;
        let edge = Edge {
            tls: section.tls.as_ref(),
            auth: section.auth.as_ref(),
            cors: None,
            auths: &parts.extensions.auths,
        };
        let listener = edge.listener("Thanos receive", &section.endpoint, routes);
        intake.extend(listener.map_err(|error| config.fault(error.under(&["receive"])))?);
    }
    if let Some(server) = store_api {
        let listener = store_api_listener(&config.server.store_api, server, &parts.extensions.auths);
        intake.extend(listener.map_err(|error| config.fault(error.under(&["server", "store_api"])))?);
    }
    let is_api = |listener: &Listener| matches!(listener.what, "Prometheus API" | "Loki API");
    let mut status = own_metrics(config, metrics, intake.iter().any(is_api));
    let of_extensions = parts.extensions.listeners.drain(..);
    status.extend(of_extensions);
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
        what: "StoreAPI",
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

/// The listeners of `service::telemetry::metrics`; where neither they nor an API show the metrics, the collector's.
fn own_metrics(config: &Config, metrics: OwnMetrics, has_api: bool) -> Vec<Listener> {
    let section = &config.service.telemetry.metrics;
    let listener = |endpoint: String, routes: Router| Listener {
        what: "Metrics",
        endpoint,
        settings: ServeSettings::default(),
        handler: router_handler(routes),
    };
    let address =
        section.address.iter().map(|address| listener(address.clone(), metrics.routes(Names::default())));
    let readers = section.readers.iter().filter_map(|reader| reader.pull.as_ref()).map(|pull| {
        let reader = &pull.exporter.prometheus;
        let names =
            Names { with_type_suffix: !reader.without_type_suffix, with_units: !reader.without_units };
        let host = if reader.host.contains(':') { format!("[{}]", reader.host) } else { reader.host.clone() };
        listener(format!("{host}:{}", reader.port), metrics.routes(names))
    });
    let mut listeners: Vec<Listener> = address.chain(readers).collect();
    if listeners.is_empty() && !has_api && section.level != MetricsLevel::None {
        listeners.push(listener(OWN_METRICS_DEFAULT.to_owned(), metrics.routes(Names::default())));
    }
    listeners
}

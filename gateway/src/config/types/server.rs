//! `server`: the listeners of the query APIs.

use std::num::NonZeroUsize;
use std::time::Duration;

use pipelines::ConfigError;
use serde::Deserialize;

use super::store_api::StoreApiConfig;
use crate::duration;
use crate::server::auth::AuthConfig;
use crate::server::cors::CorsConfig;
use crate::server::listen::{self, Transport};
use crate::server::tls::TlsServerConfig;

/// `server`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The Prometheus API and everything that is not Loki's.
    pub prometheus: PrometheusApiConfig,
    /// The Loki API.
    pub loki: LokiApiConfig,
    /// Thanos' StoreAPI.
    pub store_api: StoreApiConfig,
    /// How long a shutdown may take before it gives up on what is in flight. Default 30s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub shutdown_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            prometheus: PrometheusApiConfig::default(),
            loki: LokiApiConfig::default(),
            store_api: StoreApiConfig::default(),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerConfig {
    /// Refuses what contradicts itself.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let listeners = [
            ("prometheus", self.prometheus.endpoint(), &self.prometheus.tls),
            ("loki", self.loki.endpoint(), &self.loki.tls),
            ("store_api", &self.store_api.endpoint, &self.store_api.tls),
        ];
        for (name, endpoint, tls) in listeners {
            let at = |error: ConfigError| error.under(&["server", name]);
            if let Some(tls) = tls {
                tls.validate().map_err(at)?;
            }
            check_api_endpoint(endpoint).map_err(at)?;
        }
        Ok(())
    }
}

/// Refuses the endpoint of an API that cannot be opened; an empty one opens nothing.
pub(super) fn check_api_endpoint(endpoint: &str) -> Result<(), ConfigError> {
    if endpoint.is_empty() {
        return Ok(());
    }
    listen::check(endpoint, Transport::Tcp).map_err(|fault| ConfigError::at("endpoint", fault))
}

/// `server.prometheus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusApiConfig {
    /// `host:port` or the path of a unix socket with `unix:` before it; port 0 takes a free one; empty text switches the
    /// API off. Default `localhost:9090`.
    pub endpoint: Option<String>,
    /// TLS. Default none.
    pub tls: Option<TlsServerConfig>,
    /// Who may ask. Default everybody.
    pub auth: Option<AuthConfig>,
    /// Web pages that may ask. Default none.
    pub cors: Option<CorsConfig>,
    /// Whether `/api/v1/admin/tsdb/*` deletes and makes snapshots. Default false.
    pub enable_admin_api: bool,
    /// Whether `POST /-/reload` and `/-/quit` are obeyed. Default false.
    pub enable_lifecycle: bool,
}

impl PrometheusApiConfig {
    /// Where it listens if nothing else is said.
    pub const ENDPOINT_DEFAULT: &str = "localhost:9090";

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(Self::ENDPOINT_DEFAULT)
    }
}

/// `server.loki`. Limits of queries have the names that they have in Loki's `limits_config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LokiApiConfig {
    /// As for `server.prometheus`. Default `localhost:3100`.
    pub endpoint: Option<String>,
    /// TLS. Default none.
    pub tls: Option<TlsServerConfig>,
    /// Who may ask. Default everybody.
    pub auth: Option<AuthConfig>,
    /// Web pages that may ask. Default none.
    pub cors: Option<CorsConfig>,
    /// Whether `/loki/api/v1/delete` takes, lists and cancels requests to delete lines. Default false. Those that were
    /// taken count in any case.
    pub enable_delete: bool,
    /// Lines that a query may ask for; 0 for any number. Default 5000.
    pub max_entries_limit_per_query: u32,
    /// Series of an answer: of more the largest are answered, with a warning. Default 10000.
    pub max_query_series: NonZeroUsize,
}

impl Default for LokiApiConfig {
    fn default() -> Self {
        let limits = logql::EngineSettings::default();
        Self {
            endpoint: None,
            tls: None,
            auth: None,
            cors: None,
            enable_delete: false,
            max_entries_limit_per_query: limits.entries_max,
            max_query_series: NonZeroUsize::new(limits.series_max).expect("an answer has a series"),
        }
    }
}

impl LokiApiConfig {
    /// Where it listens if nothing else is said.
    pub const ENDPOINT_DEFAULT: &str = "localhost:3100";

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(Self::ENDPOINT_DEFAULT)
    }
}

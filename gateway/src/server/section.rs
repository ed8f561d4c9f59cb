//! The keys of a section that opens an HTTP listener for a page of its own (config/confighttp of the collector):
//! extensions `health_check` and `zpages`, exporter `prometheus`.
//!
//! Such a section has keys of the page beside these; [`HttpSection::split`] takes them apart. Nobody sends a body to a
//! page, so that the keys about bodies are read and have no effect.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use http::{HeaderMap, HeaderName, HeaderValue};
use pipelines::{ComponentConfig, ConfigDuration, ConfigError, PAGE_SERVER_KEYS};
use serde::Deserialize;
use serde_json::Value;

use super::auth::{AuthConfig, ServerAuths, protect, refuse_in_text};
use super::cors::CorsConfig;
use super::listen::{Transport, check};
use super::tls::TlsServerConfig;
use super::{HEADER_READ_TIMEOUT_DEFAULT, IDLE_TIMEOUT_DEFAULT, ServeSettings, router_handler};
use crate::receivers::{Listener, NotSupported};

/// Keys of the listener of a page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// `host:port`, or the path of a unix socket.
    pub endpoint: Option<String>,
    /// What the endpoint names. Default `tcp`.
    transport: Transport,
    /// TLS. Default none.
    tls: Option<TlsServerConfig>,
    /// Web pages that may read it. Default none.
    cors: Option<CorsConfig>,
    /// Who may read it. Default everybody.
    auth: Option<AuthConfig>,
    /// Headers that every answer gets.
    response_headers: BTreeMap<String, String>,
    /// Whether connections are kept after an answer. Default true.
    keep_alives_enabled: bool,
    /// How long a client may take to send a request's head; 0 is for ever. Default 30s (the collector: 1m).
    read_header_timeout: Option<ConfigDuration>,
    /// How long a connection without a request is kept; 0 is for ever. Default 5m (the collector: 1m).
    idle_timeout: Option<ConfigDuration>,
    #[serde(rename = "read_timeout")]
    _read_timeout: Option<ConfigDuration>,
    #[serde(rename = "write_timeout")]
    _write_timeout: Option<ConfigDuration>,
    #[serde(rename = "max_request_body_size")]
    _max_request_body_size: u64,
    #[serde(rename = "compression_algorithms")]
    _compression_algorithms: Vec<String>,
    #[serde(rename = "include_metadata")]
    _include_metadata: bool,
    middlewares: NotSupported,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            endpoint: None,
            transport: Transport::Tcp,
            tls: None,
            cors: None,
            auth: None,
            response_headers: BTreeMap::new(),
            keep_alives_enabled: true,
            read_header_timeout: None,
            idle_timeout: None,
            _read_timeout: None,
            _write_timeout: None,
            _max_request_body_size: 0,
            _compression_algorithms: Vec::new(),
            _include_metadata: false,
            middlewares: NotSupported,
        }
    }
}

impl HttpSection {
    /// The listener's keys of a section, and what is left of it for the page.
    pub fn split(config: &ComponentConfig<'_>) -> Result<(Self, Value), ConfigError> {
        let (own, rest) = pipelines::split(config.value, PAGE_SERVER_KEYS);
        Ok((Self::parse(&ComponentConfig { id: config.id, value: &own })?, rest))
    }

    /// Reads keys of the listener alone.
    pub fn parse(keys: &ComponentConfig<'_>) -> Result<Self, ConfigError> {
        let section: Self = keys.parse()?;
        if let Some(tls) = &section.tls {
            tls.validate()?;
        }
        response_headers(&section.response_headers)?;
        // Only to see that it can be.
        section.cors.as_ref().map_or(Ok(()), |cors| cors.around(Router::new()).map(drop))?;
        Ok(section)
    }

    /// The listener of a page; who may read it is decided by what runs.
    pub fn listener(
        &self,
        what: &'static str,
        endpoint: String,
        routes: Router,
        auths: &ServerAuths,
    ) -> Result<Listener, ConfigError> {
        let mut routes = protect(routes, auths.resolve(self.auth.as_ref())?, refuse_in_text);
        if let Some(cors) = &self.cors {
            routes = cors.around(routes)?;
        }
        check(&endpoint, self.transport).map_err(|fault| ConfigError::at("endpoint", fault))?;
        let headers = response_headers(&self.response_headers)?;
        if !headers.is_empty() {
            routes = routes.layer(from_fn(move |request: Request, next: Next| {
                let headers = headers.clone();
                async move {
                    let mut answer = next.run(request).await;
                    answer.headers_mut().extend(headers);
                    answer
                }
            }));
        }
        let connections = Connections {
            transport: self.transport,
            tls: self.tls.clone(),
            read_header_timeout: self.read_header_timeout,
            idle_timeout: self.idle_timeout,
            keep_alives_enabled: self.keep_alives_enabled,
        };
        Ok(Listener { what, endpoint, settings: connections.settings(), handler: router_handler(routes) })
    }
}

/// The keys of any HTTP listener that say how its connections are treated.
pub struct Connections {
    /// `transport`.
    pub transport: Transport,
    /// `tls`.
    pub tls: Option<TlsServerConfig>,
    /// `read_header_timeout`; 0 is for ever.
    pub read_header_timeout: Option<ConfigDuration>,
    /// `idle_timeout`; 0 is for ever.
    pub idle_timeout: Option<ConfigDuration>,
    /// `keep_alives_enabled`.
    pub keep_alives_enabled: bool,
}

impl Connections {
    /// The same as settings.
    pub fn settings(self) -> ServeSettings {
        let limit = |configured: Option<ConfigDuration>, default: Duration| {
            Some(configured.map_or(default, |limit| limit.0)).filter(|limit| !limit.is_zero())
        };
        ServeSettings {
            transport: self.transport,
            tls: self.tls,
            header_read_timeout: limit(self.read_header_timeout, HEADER_READ_TIMEOUT_DEFAULT),
            idle_timeout: limit(self.idle_timeout, IDLE_TIMEOUT_DEFAULT),
            keep_alive: self.keep_alives_enabled,
            ..ServeSettings::default()
        }
    }
}

/// `response_headers` of a listener: what every answer gets.
pub fn response_headers(configured: &BTreeMap<String, String>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (name, value) =
            pair.ok_or_else(|| ConfigError::at("response_headers", format!("header {name:?} is not valid")))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;

//! Keys of the `otlp` receiver (otlpreceiver, configgrpc and confighttp of the collector).

use std::collections::BTreeMap;

use pipelines::ConfigDuration;
use serde::{Deserialize, Deserializer};

use crate::receivers::NotSupported;
use crate::server::auth::AuthConfig;
use crate::server::cors::CorsConfig;
use crate::server::listen::Transport;
use crate::server::tls::TlsServerConfig;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// Which protocols are served; at least one. A key without value has all defaults.
    pub(super) protocols: Protocols,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Protocols {
    #[serde(deserialize_with = "present")]
    pub(super) grpc: Option<GrpcConfig>,
    #[serde(deserialize_with = "present")]
    pub(super) http: Option<HttpConfig>,
}

/// `protocols.grpc` (configgrpc server).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GrpcConfig {
    /// `host:port`, or the path of a unix socket. Default `localhost:4317`.
    pub(super) endpoint: String,
    /// What the endpoint names. Default `tcp`.
    pub(super) transport: Transport,
    /// TLS. Default none.
    pub(super) tls: Option<TlsServerConfig>,
    /// Who may send. Default everybody.
    pub(super) auth: Option<AuthConfig>,
    /// Largest message after decompression, MiB. Default 64.
    pub(super) max_recv_msg_size_mib: u32,
    /// Requests in flight on one connection; 0 means the default. Default 200.
    pub(super) max_concurrent_streams: Option<u32>,
    /// Accepted for the collector's configs; buffers size themselves here.
    #[serde(rename = "read_buffer_size")]
    _read_buffer_size: Option<u64>,
    /// Accepted for the collector's configs; buffers size themselves here.
    #[serde(rename = "write_buffer_size")]
    _write_buffer_size: Option<u64>,
    pub(super) keepalive: Keepalive,
    /// Whether processors see the request's metadata. Default false.
    pub(super) include_metadata: bool,
    middlewares: NotSupported,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4317".to_owned(),
            transport: Transport::Tcp,
            tls: None,
            auth: None,
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: None,
            _read_buffer_size: None,
            _write_buffer_size: None,
            keepalive: Keepalive::default(),
            include_metadata: false,
            middlewares: NotSupported,
        }
    }
}

/// `keepalive`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keepalive {
    pub(super) server_parameters: ServerParameters,
    /// Accepted for the collector's configs; a client's pings are never punished here.
    #[serde(rename = "enforcement_policy")]
    _enforcement_policy: EnforcementPolicy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServerParameters {
    /// A connection without a request for this long is told to end. Default never.
    pub(super) max_connection_idle: Option<ConfigDuration>,
    /// A connection of this age is told to end. Default never.
    pub(super) max_connection_age: Option<ConfigDuration>,
    /// How long requests may go on after that. Default for ever.
    pub(super) max_connection_age_grace: Option<ConfigDuration>,
    /// The client is pinged after this long without a sign of it. Default 2h.
    pub(super) time: Option<ConfigDuration>,
    /// It has this long to answer. Default 20s.
    pub(super) timeout: Option<ConfigDuration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnforcementPolicy {
    #[serde(rename = "min_time")]
    _min_time: Option<ConfigDuration>,
    #[serde(rename = "permit_without_stream")]
    _permit_without_stream: bool,
}

/// `protocols.http` (confighttp server).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpConfig {
    /// `host:port`, or the path of a unix socket. Default `localhost:4318`.
    pub(super) endpoint: String,
    /// What the endpoint names. Default `tcp`.
    pub(super) transport: Transport,
    /// TLS. Default none.
    pub(super) tls: Option<TlsServerConfig>,
    /// Web pages that may send. Default none.
    pub(super) cors: Option<CorsConfig>,
    /// Who may send. Default everybody.
    pub(super) auth: Option<AuthConfig>,
    /// Largest body, as sent and after decompression, bytes; 0 means the default. Default 20971520.
    pub(super) max_request_body_size: u64,
    /// `Content-Encoding`s that are taken. Default all.
    pub(super) compression_algorithms: Option<Vec<String>>,
    /// Whether processors see the request's headers. Default false.
    pub(super) include_metadata: bool,
    /// Headers that every answer gets.
    pub(super) response_headers: BTreeMap<String, String>,
    /// Whether connections are kept after an answer. Default true.
    pub(super) keep_alives_enabled: bool,
    /// How long a client may take to send a request's head; 0 is for ever. Default 30s (the collector: for ever).
    pub(super) read_header_timeout: Option<ConfigDuration>,
    /// How long a connection without a request is kept; 0 is for ever. Default 5m (the collector: for ever).
    pub(super) idle_timeout: Option<ConfigDuration>,
    /// Accepted for the collector's configs. A body may not pause for 30 s nor stay below 1 KiB a second here.
    #[serde(rename = "read_timeout")]
    _read_timeout: Option<ConfigDuration>,
    /// Accepted for the collector's configs. A client may leave an answer unread for 60 s here.
    #[serde(rename = "write_timeout")]
    _write_timeout: Option<ConfigDuration>,
    middlewares: NotSupported,
    /// Default `/v1/traces`.
    pub(super) traces_url_path: String,
    /// Default `/v1/metrics`.
    pub(super) metrics_url_path: String,
    /// Default `/v1/logs`.
    pub(super) logs_url_path: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4318".to_owned(),
            transport: Transport::Tcp,
            tls: None,
            cors: None,
            auth: None,
            max_request_body_size: 0,
            compression_algorithms: None,
            include_metadata: false,
            response_headers: BTreeMap::new(),
            keep_alives_enabled: true,
            read_header_timeout: None,
            idle_timeout: None,
            _read_timeout: None,
            _write_timeout: None,
            middlewares: NotSupported,
            traces_url_path: "/v1/traces".to_owned(),
            metrics_url_path: "/v1/metrics".to_owned(),
            logs_url_path: "/v1/logs".to_owned(),
        }
    }
}

/// A key that is there without a value means all defaults.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Some(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
}

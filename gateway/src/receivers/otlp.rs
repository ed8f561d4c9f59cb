//! The `otlp` receiver: OTLP over gRPC and HTTP.
//!
//! Keys, defaults and texts are those of the collector's otlpreceiver, configgrpc and confighttp, with two differences
//! on purpose, both from the OTLP specification 1.11: a gRPC message may have 64 MiB (grpc-go: 4), and a body over the
//! limit is 413 (the collector: 400). Keys that need what is not there (TLS, authentication, CORS) are refused.

mod answer;
mod grpc;
mod http;
mod ingest;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use model::Signal;
use pipelines::{ComponentConfig, ComponentId, ConfigDuration, ConfigError, Stability};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

use self::http::{Dialect, HttpSettings};
use self::ingest::Ingest;
use super::{ApiServer, Listener, Mount, NotSupported, Receiver, ReceiverContext, ReceiverFactory};
use crate::server::{CONCURRENT_STREAMS_DEFAULT, ServeSettings, router_handler};

pub(super) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "otlp", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Which protocols are served; at least one. A key without value has all defaults.
    protocols: Protocols,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Protocols {
    #[serde(deserialize_with = "present")]
    grpc: Option<GrpcConfig>,
    #[serde(deserialize_with = "present")]
    http: Option<HttpConfig>,
}

/// `protocols.grpc` (configgrpc server).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GrpcConfig {
    /// `host:port`. Default `localhost:4317`.
    endpoint: String,
    /// `tcp`, the only one.
    transport: Transport,
    /// Largest message after decompression, MiB. Default 64.
    max_recv_msg_size_mib: u32,
    /// Requests in flight on one connection; 0 means the default. Default 200.
    max_concurrent_streams: Option<u32>,
    /// Accepted for the collector's configs; buffers size themselves here.
    read_buffer_size: Option<u64>,
    /// Accepted for the collector's configs; buffers size themselves here.
    write_buffer_size: Option<u64>,
    keepalive: Keepalive,
    /// Whether processors see the request's metadata. Default false.
    include_metadata: bool,
    tls: NotSupported,
    auth: NotSupported,
    middlewares: NotSupported,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4317".to_owned(),
            transport: Transport::Tcp,
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: None,
            read_buffer_size: None,
            write_buffer_size: None,
            keepalive: Keepalive::default(),
            include_metadata: false,
            tls: NotSupported,
            auth: NotSupported,
            middlewares: NotSupported,
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    #[default]
    Tcp,
}

/// `keepalive`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keepalive {
    server_parameters: ServerParameters,
    /// Accepted for the collector's configs; a client's pings are never punished here.
    enforcement_policy: EnforcementPolicy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerParameters {
    max_connection_idle: NotSupported,
    /// A connection of this age is told to end. Default never.
    max_connection_age: Option<ConfigDuration>,
    /// How long requests may go on after that. Default for ever.
    max_connection_age_grace: Option<ConfigDuration>,
    /// The client is pinged after this long without a sign of it. Default 2h.
    time: Option<ConfigDuration>,
    /// It has this long to answer. Default 20s.
    timeout: Option<ConfigDuration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnforcementPolicy {
    min_time: Option<ConfigDuration>,
    permit_without_stream: bool,
}

/// `protocols.http` (confighttp server).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpConfig {
    /// `host:port`. Default `localhost:4318`.
    endpoint: String,
    /// `tcp`, the only one.
    transport: Transport,
    /// Largest body, as sent and after decompression, bytes; 0 means the default. Default 20971520.
    max_request_body_size: u64,
    /// `Content-Encoding`s that are taken. Default all.
    compression_algorithms: Option<Vec<String>>,
    /// Whether processors see the request's headers. Default false.
    include_metadata: bool,
    /// Headers that every answer gets.
    response_headers: BTreeMap<String, String>,
    /// Whether connections are kept after an answer. Default true.
    keep_alives_enabled: bool,
    /// How long a client may take to send a request's head; 0 is for ever, the default.
    read_header_timeout: ConfigDuration,
    read_timeout: NotSupported,
    write_timeout: NotSupported,
    idle_timeout: NotSupported,
    tls: NotSupported,
    cors: NotSupported,
    auth: NotSupported,
    middlewares: NotSupported,
    /// Default `/v1/traces`.
    traces_url_path: String,
    /// Default `/v1/metrics`.
    metrics_url_path: String,
    /// Default `/v1/logs`.
    logs_url_path: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4318".to_owned(),
            transport: Transport::Tcp,
            max_request_body_size: 0,
            compression_algorithms: None,
            include_metadata: false,
            response_headers: BTreeMap::new(),
            keep_alives_enabled: true,
            read_header_timeout: ConfigDuration::default(),
            read_timeout: NotSupported,
            write_timeout: NotSupported,
            idle_timeout: NotSupported,
            tls: NotSupported,
            cors: NotSupported,
            auth: NotSupported,
            middlewares: NotSupported,
            traces_url_path: "/v1/traces".to_owned(),
            metrics_url_path: "/v1/metrics".to_owned(),
            logs_url_path: "/v1/logs".to_owned(),
        }
    }
}

/// `POST path` for OTLP logs as Loki takes them: 204 on success, statuses always in protobuf (pkg/loghttp/push/otlp.go).
pub(super) fn loki_routes(id: &ComponentId, context: &ReceiverContext, path: &str) -> Router {
    let ingest = Arc::new(Ingest::new(id, "http", false, context));
    let settings = HttpSettings {
        paths: vec![(Signal::Logs, path.to_owned())],
        body_bytes_max: LOKI_BODY_BYTES_MAX,
        encodings: vec!["", "gzip", "zstd", "lz4"],
        response_headers: Vec::new(),
        dialect: Dialect::Loki,
    };
    http::router(&ingest, settings)
}

/// A key that is there without a value means all defaults.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Some(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
}

/// Loki's distributor.max-recv-msg-size, bytes.
const LOKI_BODY_BYTES_MAX: u64 = 100 << 20;
/// confighttp's default of max_request_body_size, bytes.
const BODY_BYTES_DEFAULT: u64 = 20 << 20;

fn create(config: &ComponentConfig<'_>, context: &ReceiverContext) -> Result<Receiver, ConfigError> {
    let Config { protocols } = config.parse()?;
    if protocols.grpc.is_none() && protocols.http.is_none() {
        return Err(ConfigError::at("", "must specify at least one protocol when using the OTLP receiver"));
    }
    let mut receiver = Receiver::default();
    if let Some(grpc) = protocols.grpc {
        receiver.listeners.push(grpc_listener(grpc, config, context)?);
    }
    if let Some(http) = protocols.http {
        let ingest = Arc::new(Ingest::new(config.id, "http", http.include_metadata, context));
        let settings = http_settings(&http)?;
        // Prometheus takes OTLP metrics on its own port; one receiver can own that path.
        if config.id.name.is_empty() {
            const PATH: &str = "/api/v1/otlp/v1/metrics";
            let mounted = settings.with_paths([(Signal::Metrics, PATH.to_owned())]);
            receiver.mounts.push(Mount {
                server: ApiServer::Prometheus,
                paths: vec![PATH],
                routes: http::router(&Arc::clone(&ingest), mounted),
            });
        }
        receiver.listeners.push(Listener {
            what: "OTLP HTTP",
            endpoint: http.endpoint,
            settings: ServeSettings {
                header_read_timeout: Some(http.read_header_timeout.0).filter(|timeout| !timeout.is_zero()),
                keep_alive: http.keep_alives_enabled,
                ..ServeSettings::default()
            },
            handler: router_handler(http::router(&ingest, settings).merge(http::front_page())),
        });
    }
    Ok(receiver)
}

fn grpc_listener(
    grpc: GrpcConfig,
    config: &ComponentConfig<'_>,
    context: &ReceiverContext,
) -> Result<Listener, ConfigError> {
    if !(1..=2047).contains(&grpc.max_recv_msg_size_mib) {
        return Err(ConfigError::at(
            "protocols.grpc.max_recv_msg_size_mib",
            format!("must be from 1 to 2047, got {}", grpc.max_recv_msg_size_mib),
        ));
    }
    let parameters = grpc.keepalive.server_parameters;
    let ingest = Arc::new(Ingest::new(config.id, "grpc", grpc.include_metadata, context));
    Ok(Listener {
        what: "OTLP gRPC",
        endpoint: grpc.endpoint,
        settings: ServeSettings {
            http2_only: true,
            concurrent_streams_max: grpc
                .max_concurrent_streams
                .filter(|streams| *streams > 0)
                .or(Some(CONCURRENT_STREAMS_DEFAULT)),
            // grpc-go's defaults (keepalive.ServerParameters).
            ping_interval: Some(parameters.time.map_or(Duration::from_secs(7200), |time| time.0)),
            ping_timeout: parameters.timeout.map_or(Duration::from_secs(20), |timeout| timeout.0),
            connection_age_max: parameters.max_connection_age.map(|age| age.0),
            connection_age_grace: parameters.max_connection_age_grace.map(|grace| grace.0),
            ..ServeSettings::default()
        },
        handler: grpc::handler(ingest, u64::from(grpc.max_recv_msg_size_mib) << 20),
    })
}

fn http_settings(http: &HttpConfig) -> Result<HttpSettings, ConfigError> {
    let under = |key: &str, message: String| ConfigError::at(&format!("protocols.http.{key}"), message);
    let encodings = match &http.compression_algorithms {
        None => http::ENCODINGS.to_vec(),
        Some(chosen) => {
            let known = |name: &String| {
                http::ENCODINGS.iter().copied().find(|known| known == name).ok_or_else(|| {
                    under(
                        "compression_algorithms",
                        format!(
                            "unsupported compression algorithm {name:?}, have {}",
                            http::ENCODINGS.join(", ")
                        ),
                    )
                })
            };
            chosen.iter().map(known).collect::<Result<_, _>>()?
        }
    };
    let mut response_headers = Vec::new();
    for (name, value) in &http.response_headers {
        let pair = ::http::HeaderName::try_from(name).ok().zip(::http::HeaderValue::try_from(value).ok());
        response_headers
            .push(pair.ok_or_else(|| under("response_headers", format!("header {name:?} is not valid")))?);
    }
    let paths = [
        (Signal::Traces, with_slash(&http.traces_url_path)),
        (Signal::Metrics, with_slash(&http.metrics_url_path)),
        (Signal::Logs, with_slash(&http.logs_url_path)),
    ];
    for (index, (_, path)) in paths.iter().enumerate() {
        if path == "/" || path.contains(['{', '}', '*']) || paths[..index].iter().any(|(_, p)| p == path) {
            return Err(under("", format!("url path {path:?} is taken or not allowed")));
        }
    }
    let body_bytes_max = match http.max_request_body_size {
        0 => BODY_BYTES_DEFAULT,
        bytes => bytes,
    };
    Ok(HttpSettings {
        paths: paths.to_vec(),
        body_bytes_max,
        encodings,
        response_headers,
        dialect: Dialect::Otlp,
    })
}

fn with_slash(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests;

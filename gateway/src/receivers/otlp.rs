//! The `otlp` receiver: OTLP over gRPC and HTTP.
//!
//! Keys, defaults and texts are those of the collector's otlpreceiver, configgrpc and confighttp, with two differences
//! on purpose, both from the OTLP specification 1.11: a gRPC message may have 64 MiB (grpc-go: 4), and a body over the
//! limit is 413 (the collector: 400). Slow and silent clients are cut off by default.

mod answer;
mod config;
mod grpc;
mod http;
mod ingest;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use axum::Router;
use model::Signal;
use pipelines::{ComponentConfig, ComponentId, ConfigError, Stability};

use self::config::{Config, GrpcConfig, HttpConfig};
use self::http::{Dialect, HttpSettings};
use self::ingest::Ingest;
use super::{Listener, Receiver, ReceiverContext, ReceiverFactory};
use crate::server::auth::protect;
use crate::server::section::{Connections, response_headers};
use crate::server::{CONCURRENT_STREAMS_DEFAULT, ServeSettings, router_handler};

pub(super) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "otlp", signals: &Signal::ALL, stability: Stability::Beta, create };

/// `POST path` for OTLP logs as Loki takes them: 204 on success, statuses always in protobuf (pkg/loghttp/push/otlp.go).
pub(super) fn loki_routes(id: &ComponentId, context: &ReceiverContext, path: &str) -> Router {
    let ingest = Arc::new(Ingest::new(id, "http", false, context));
    let settings = HttpSettings {
        paths: vec![(Signal::Logs, path.to_owned())],
        body_bytes_max: LOKI_BODY_BYTES_MAX,
        encodings: vec!["", "gzip", "zstd", "lz4"],
        response_headers: HeaderMap::new(),
        dialect: Dialect::Loki,
    };
    http::router(&ingest, settings)
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
        let listener = http_listener(http, settings, &ingest, context);
        receiver.listeners.push(listener.map_err(|error| error.under(&["protocols", "http"]))?);
    }
    Ok(receiver)
}

fn http_listener(
    http: HttpConfig,
    settings: HttpSettings,
    ingest: &Arc<Ingest>,
    context: &ReceiverContext,
) -> Result<Listener, ConfigError> {
    if let Some(tls) = &http.tls {
        tls.validate()?;
    }
    let auth = context.auths.resolve(http.auth.as_ref())?;
    let routes = http::router(ingest, settings).merge(http::front_page());
    let routes = protect(routes, auth, http::refuse_unauthenticated);
    let routes = http.cors.unwrap_or_default().around(routes)?;
    let connections = Connections {
        transport: http.transport,
        tls: http.tls,
        read_header_timeout: http.read_header_timeout,
        idle_timeout: http.idle_timeout,
        keep_alives_enabled: http.keep_alives_enabled,
    };
    Ok(Listener {
        what: "OTLP HTTP",
        endpoint: http.endpoint,
        settings: connections.settings(),
        handler: router_handler(routes),
    })
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
    let under = |error: ConfigError| error.under(&["protocols", "grpc"]);
    if let Some(tls) = &grpc.tls {
        tls.validate().map_err(under)?;
    }
    let auth = context.auths.resolve(grpc.auth.as_ref()).map_err(under)?;
    let parameters = grpc.keepalive.server_parameters;
    let ingest = Arc::new(Ingest::new(config.id, "grpc", grpc.include_metadata, context));
    Ok(Listener {
        what: "OTLP gRPC",
        endpoint: grpc.endpoint,
        settings: ServeSettings {
            transport: grpc.transport,
            tls: grpc.tls,
            http2_only: true,
            // A channel that waits for its first request is as good as any; the pings find the dead ones.
            idle_timeout: parameters.max_connection_idle.map(|idle| idle.0),
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
        handler: grpc::handler(ingest, auth, u64::from(grpc.max_recv_msg_size_mib) << 20),
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
    let response_headers = response_headers(&http.response_headers);
    let response_headers = response_headers.map_err(|error| error.under(&["protocols", "http"]))?;
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

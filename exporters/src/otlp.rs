//! `otlp` (also `otlp_grpc`): sends telemetry on as OTLP over gRPC.
//!
//! Keys: exporter/otlpexporter and config/configgrpc of the collector. A payload goes out as it came in, compressed if
//! so configured. What the server refuses by `partial_success` is logged and counted, not sent again; RetryInfo of the
//! server is honoured.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use model::{AppendReport, Signal};
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, Extensions, PipelineResult, Stability, split,
};
use runtime::Tasks;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wire::compression::Encoding;
use wire::otlp::response_from_protobuf;

use crate::Stores;
use crate::client::{
    Attempts, AuthConfig, Credentials, Forwarder, GrpcClient, GrpcSettings, Headers, SendingConfig,
    TlsConfig, not_started, otlp_report, unsupported,
};

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "otlp",
    aliases: &["otlp_grpc"],
    signals: &Signal::ALL,
    stability: Stability::Beta,
    create,
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// `host:port`, or with `http://` (plain) or `https://` before it. Required.
    endpoint: String,
    /// gzip, zstd, snappy or none. Default gzip.
    compression: String,
    /// TLS keys.
    tls: TlsConfig,
    /// Metadata of every request. Default none.
    headers: Headers,
    /// HTTP/2 pings. Default every 10s, each answered within 10s.
    keepalive: Option<Keepalive>,
    /// `:authority` to send instead of the endpoint's host.
    authority: String,
    /// pick_first; there is one connection for each exporter.
    balancer_name: String,
    /// Read for compatibility, no effect: a request waits for its connection up to `timeout`.
    wait_for_ready: bool,
    /// Read for compatibility, no effect: buffers are sized by what is sent.
    read_buffer_size: u64,
    /// Read for compatibility, no effect.
    write_buffer_size: u64,
    /// The extension that puts credentials on requests. Default none.
    auth: Option<AuthConfig>,
    middlewares: Option<Value>,
    user_agent: Option<Value>,
    batcher: Option<Value>,
}

/// `keepalive` of configgrpc clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keepalive {
    /// Time without traffic after which a ping is sent. Default 10s.
    time: ConfigDuration,
    /// How long an answer may take. Default 10s.
    timeout: ConfigDuration,
    /// Whether pings are sent when no request is under way. Default false.
    permit_without_stream: bool,
}

impl Default for Keepalive {
    fn default() -> Self {
        let ten = ConfigDuration::from_secs(10);
        Self { time: ten, timeout: ten, permit_without_stream: false }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            compression: "gzip".to_owned(),
            tls: TlsConfig::default(),
            headers: Headers::default(),
            keepalive: None,
            authority: String::new(),
            balancer_name: String::new(),
            wait_for_ready: false,
            read_buffer_size: 0,
            write_buffer_size: 0,
            auth: None,
            middlewares: None,
            user_agent: None,
            batcher: None,
        }
    }
}

impl Config {
    fn settings(&self, extensions: &Extensions) -> Result<GrpcSettings, ConfigError> {
        self.tls.validate()?;
        unsupported(&[
            ("middlewares", self.middlewares.is_some()),
            ("user_agent", self.user_agent.is_some()),
            ("batcher", self.batcher.is_some()),
        ])?;
        if !matches!(self.balancer_name.as_str(), "" | "pick_first") {
            let message = format!("{:?} is not supported, supported is pick_first", self.balancer_name);
            return Err(ConfigError::at("balancer_name", message));
        }
        let authority = match self.authority.as_str() {
            "" => None,
            text => Some(format!("http://{text}").parse::<Uri>().map_err(|error| {
                ConfigError::at("authority", format!("{text:?} is not an authority: {error}"))
            })?),
        };
        Ok(GrpcSettings {
            uri: uri(&self.endpoint, self.tls.insecure)?,
            tls: self.tls.clone(),
            headers: self.headers.to_map()?,
            credentials: Credentials::resolve(self.auth.as_ref(), extensions)?,
            encoding: encoding(&self.compression)?,
            keepalive: {
                let keepalive = self.keepalive.clone().unwrap_or_default();
                Some((keepalive.time.0, keepalive.timeout.0, keepalive.permit_without_stream))
            },
            authority,
        })
    }
}

/// The endpoint as a URI whose scheme says whether the connection is plain.
fn uri(endpoint: &str, insecure: bool) -> Result<Uri, ConfigError> {
    let at = |message: String| ConfigError::at("endpoint", message);
    if endpoint.is_empty() {
        return Err(at("requires a non-empty \"endpoint\"".to_owned()));
    }
    if let Some((scheme @ ("unix" | "xds" | "passthrough"), _)) = endpoint.split_once(':') {
        return Err(at(format!("{endpoint:?}: the scheme {scheme} is not supported yet, use host:port")));
    }
    let plain = if insecure { "http" } else { "https" };
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(("dns", rest)) => (plain, rest.trim_start_matches('/')),
        Some((scheme, _)) => return Err(at(format!("{endpoint:?}: unknown scheme {scheme:?}"))),
        None => (plain, endpoint.strip_prefix("dns:").unwrap_or(endpoint)),
    };
    let port = rest.trim_end_matches('/').rsplit_once(':').map_or("", |(_, port)| port);
    if port.parse::<u16>().is_err() {
        return Err(at(format!("invalid port {port:?} in {endpoint:?}: want host:port")));
    }
    format!("{scheme}://{rest}")
        .parse()
        .map_err(|error| at(format!("{endpoint:?} is not host:port: {error}")))
}

/// Names of configgrpc. gRPC's snappy is the framed format (mostynb/go-grpc-compression).
fn encoding(name: &str) -> Result<(&'static str, Encoding), ConfigError> {
    match name {
        "gzip" => Ok(("gzip", Encoding::Gzip)),
        "zstd" => Ok(("zstd", Encoding::Zstd)),
        "snappy" => Ok(("snappy", Encoding::SnappyFramed)),
        "" | "none" => Ok(("identity", Encoding::Identity)),
        other => {
            let message = format!("unsupported compression type {other:?}: want gzip, zstd, snappy or none");
            Err(ConfigError::at("compression", message))
        }
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id;
    let (sending_part, own_part) = split(config.value, SendingConfig::KEYS);
    let sending: SendingConfig = ComponentConfig { id, value: &sending_part }.parse()?;
    let config: Config = ComponentConfig { id, value: &own_part }.parse()?;
    let settings = sending.settings(ConfigDuration::from_secs(5))?;
    let attempts = OtlpAttempts {
        id: id.clone(),
        settings: config.settings(&context.extensions)?,
        timeout: settings.timeout,
        client: OnceLock::new(),
        tasks: context.tasks.clone(),
    };
    Forwarder::create(id, settings, attempts, CancellationToken::new(), context)
}

/// Single attempts to send a batch.
struct OtlpAttempts {
    id: ComponentId,
    settings: GrpcSettings,
    timeout: Duration,
    /// Made at the start.
    client: OnceLock<GrpcClient>,
    tasks: Tasks,
}

impl OtlpAttempts {
    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let Some(client) = self.client.get() else {
            return Err(not_started(&self.id));
        };
        let answer = client.call(path(batch.signal), batch.payload, self.timeout).await?;
        // An answer that cannot be read does not undo that the server took the batch.
        let partial = response_from_protobuf(&answer).unwrap_or_default();
        Ok(otlp_report(&self.id, batch.signal, batch.items, partial))
    }
}

fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    }
}

impl Consumer for OtlpAttempts {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

impl Attempts for OtlpAttempts {
    fn connect(&self) -> PipelineResult<()> {
        let client = GrpcClient::new(self.settings.clone(), self.tasks.clone())?;
        // A second start would find the client of the first, which is as good.
        let _ = self.client.set(client);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

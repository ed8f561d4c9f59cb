//! `otlphttp` (also `otlp_http`): sends telemetry on as OTLP over HTTP.
//!
//! Keys: exporter/otlphttpexporter and config/confighttp of the collector. Each signal goes to its own endpoint, or to
//! `/v1/<signal>` under the common one. 429, 502, 503 and 504 are tried again, `Retry-After` is honoured.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header};
use model::{AppendReport, ErrorKind, Signal};
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, PipelineError, PipelineResult, Stability, split,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use wire::compression::Encoding;
use wire::otlp::{json, response_from_json, response_from_protobuf};
use wire::rpc_status::Status;

use crate::Stores;
use crate::client::{
    Attempts, Forwarder, HttpClient, HttpClientConfig, HttpResponse, SendingConfig, http_failure,
    not_started, otlp_report, permanent,
};

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "otlphttp",
    aliases: &["otlp_http"],
    signals: &Signal::ALL,
    stability: Stability::Beta,
    create,
};

/// How bodies are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum BodyEncoding {
    #[default]
    Proto,
    Json,
}

/// The keys of its own; those of the client are in [`HttpClientConfig`], those of the queue in [`SendingConfig`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// URL under which `v1/metrics`, `v1/logs` and `v1/traces` lie.
    endpoint: String,
    /// Whole URL for traces; default from `endpoint`.
    traces_endpoint: String,
    /// Whole URL for metrics; default from `endpoint`.
    metrics_endpoint: String,
    /// Whole URL for logs; default from `endpoint`.
    logs_endpoint: String,
    /// Read for compatibility, no effect: no pipeline carries profiles.
    profiles_endpoint: String,
    /// proto or json. Default proto.
    encoding: BodyEncoding,
    /// gzip, zstd, zlib, deflate, snappy, x-snappy-framed, lz4 or none. Default gzip.
    compression: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            traces_endpoint: String::new(),
            metrics_endpoint: String::new(),
            logs_endpoint: String::new(),
            profiles_endpoint: String::new(),
            encoding: BodyEncoding::Proto,
            compression: "gzip".to_owned(),
        }
    }
}

impl Config {
    /// The URL of each signal, in the order of [`Signal::ALL`].
    fn urls(&self) -> Result<[String; 3], ConfigError> {
        let all = [&self.endpoint, &self.metrics_endpoint, &self.logs_endpoint, &self.traces_endpoint];
        if all.iter().all(|url| url.is_empty()) {
            return Err(ConfigError::at("endpoint", "at least one endpoint must be specified"));
        }
        for (key, url) in
            ["endpoint", "metrics_endpoint", "logs_endpoint", "traces_endpoint"].into_iter().zip(all)
        {
            let is_http = reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !url.is_empty() && !is_http {
                return Err(ConfigError::at(
                    key,
                    format!("{url:?} is not a URL: want http://… or https://…"),
                ));
            }
        }
        let base = self.endpoint.trim_end_matches('/');
        Ok(Signal::ALL.map(|signal| {
            let own = match signal {
                Signal::Metrics => &self.metrics_endpoint,
                Signal::Logs => &self.logs_endpoint,
                Signal::Traces => &self.traces_endpoint,
            };
            match (own.is_empty(), base.is_empty()) {
                (false, _) => own.clone(),
                (true, false) => format!("{base}/v1/{signal}"),
                (true, true) => String::new(),
            }
        }))
    }

    fn content_encoding(&self) -> Result<Encoding, ConfigError> {
        if self.compression == "none" {
            return Ok(Encoding::Identity);
        }
        Encoding::from_name(&self.compression)
            .map_err(|error| ConfigError::at("compression", format!("{error}, none")))
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id;
    let (client_part, rest) = split(config.value, HttpClientConfig::KEYS);
    let (sending_part, own_part) = split(&rest, SendingConfig::KEYS);
    let mut client_config: HttpClientConfig = ComponentConfig { id, value: &client_part }.parse()?;
    let sending: SendingConfig = ComponentConfig { id, value: &sending_part }.parse()?;
    let config: Config = ComponentConfig { id, value: &own_part }.parse()?;
    client_config.validate(&context.extensions)?;
    let settings = sending.settings(ConfigDuration::from_secs(30))?;
    let attempts = OtlpHttpAttempts {
        id: id.clone(),
        urls: config.urls()?,
        encoding: config.encoding,
        content_encoding: config.content_encoding()?,
        client_config,
        client: OnceLock::new(),
        tasks: context.tasks.clone(),
        clock: Arc::clone(&context.clock),
    };
    Forwarder::create(id, settings, attempts, CancellationToken::new(), context)
}

/// Single attempts to send a batch.
struct OtlpHttpAttempts {
    id: ComponentId,
    /// In the order of [`Signal::ALL`]; empty where no endpoint is configured.
    urls: [String; 3],
    encoding: BodyEncoding,
    content_encoding: Encoding,
    client_config: HttpClientConfig,
    /// Made at the start.
    client: OnceLock<HttpClient>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

impl OtlpHttpAttempts {
    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let Some(client) = self.client.get() else {
            return Err(not_started(&self.id));
        };
        let url = &self.urls[batch.signal as usize];
        if url.is_empty() {
            return Err(permanent(format!(
                "exporter {}: no endpoint for {} is configured",
                self.id, batch.signal
            )));
        }
        let body = self.body(batch.signal, batch.payload).await?;
        let answer = client.post(url, self.headers(), body).await?;
        if !(200..=299).contains(&answer.status) {
            return Err(self.failure(url, &answer));
        }
        let partial = match self.encoding {
            BodyEncoding::Proto => response_from_protobuf(&answer.body),
            BodyEncoding::Json if answer.body.is_empty() => Ok(None),
            BodyEncoding::Json => response_from_json(batch.signal, &answer.body),
        };
        // An answer that cannot be read does not undo that the server took the batch.
        Ok(otlp_report(&self.id, batch.signal, batch.items, partial.unwrap_or_default()))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let content_type = match self.encoding {
            BodyEncoding::Proto => "application/x-protobuf",
            BodyEncoding::Json => "application/json",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.content_encoding != Encoding::Identity {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(self.content_encoding.name()));
        }
        headers
    }

    /// The body as it goes out; written off the async threads unless it goes as it is.
    async fn body(&self, signal: Signal, payload: Bytes) -> PipelineResult<Bytes> {
        let (encoding, content_encoding) = (self.encoding, self.content_encoding);
        if encoding == BodyEncoding::Proto && content_encoding == Encoding::Identity {
            return Ok(payload);
        }
        let write = self.tasks.spawn_blocking("encode request", move || {
            let body = match encoding {
                BodyEncoding::Proto => payload,
                BodyEncoding::Json => {
                    let mut body = Vec::with_capacity(2 * payload.len());
                    json::from_protobuf(signal, &payload, &mut body)?;
                    Bytes::from(body)
                }
            };
            Ok(match content_encoding {
                Encoding::Identity => body,
                _ => Bytes::from(content_encoding.encode(None, &body)),
            })
        });
        let written =
            write.await.map_err(|_| PipelineError::new(ErrorKind::Unavailable, "encoding was cancelled"))?;
        written.map_err(|error: wire::DecodeError| permanent(format!("cannot encode the request: {error}")))
    }

    fn failure(&self, url: &str, answer: &HttpResponse) -> PipelineError {
        let is_retryable = matches!(answer.status, 429 | 502 | 503 | 504);
        let status = match self.encoding {
            BodyEncoding::Proto => Status::from_protobuf(&answer.body),
            BodyEncoding::Json => Status::from_json(&answer.body),
        };
        let message = match status {
            Ok(Status { message, .. }) if !message.is_empty() => format!(", Message={message}"),
            _ => String::new(),
        };
        http_failure(url, answer.status, &answer.headers, &message, is_retryable, self.clock.now_ms())
    }
}

impl Consumer for OtlpHttpAttempts {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

impl Attempts for OtlpHttpAttempts {
    fn connect(&self) -> PipelineResult<()> {
        let url = self.urls.iter().find(|url| !url.is_empty()).map_or("", String::as_str);
        let client = HttpClient::new(&self.client_config, url)?;
        // A second start would find the client of the first, which is as good.
        let _ = self.client.set(client);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

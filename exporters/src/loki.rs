//! `loki`: pushes logs to Loki's `/loki/api/v1/push` as snappy-compressed protobuf.
//!
//! Keys: exporter/lokiexporter of the collector's contrib repository, until it was retired. What becomes of a record are
//! the rules of Loki's own OTLP endpoint: index labels from the resource attributes that Loki chooses by default (or those
//! that the hint `loki.resource.labels` names), everything else as structured metadata, the body as the line. A tenant
//! goes out as `X-Scope-OrgID`. 429 and 5xx are tried again; entries that Loki refuses are counted and not sent again.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::{AppendReport, Signal, TenantId};
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, PipelineResult, Stability, off_thread, split,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wire::loki_push::{PushRequest, PushStream, encode_proto};
use wire::otlp_to_loki::Settings;

use crate::Stores;
use crate::client::{
    Attempts, Forwarder, HttpClient, HttpClientConfig, SendingConfig, body_text, http_failure, not_started,
    permanent, unsupported,
};
use crate::translation::LogTranslators;

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "loki",
    aliases: &[],
    signals: &[Signal::Logs],
    stability: Stability::Beta,
    create,
};

/// The keys of its own; those of the client are in [`HttpClientConfig`], those of the queue in [`SendingConfig`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// URL of the push endpoint, e.g. `http://localhost:3100/loki/api/v1/push`. Required.
    endpoint: String,
    /// snappy, which is always used.
    compression: String,
    default_labels_enabled: Option<Value>,
}

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: String| Err(ConfigError::at(key, message));
        let is_http =
            reqwest::Url::parse(&self.endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_http {
            return at("endpoint", format!("{:?} is not a URL: want http://… or https://…", self.endpoint));
        }
        if !matches!(self.compression.as_str(), "" | "none" | "snappy") {
            return at("compression", format!("{:?} is not supported, want snappy", self.compression));
        }
        unsupported(&[("default_labels_enabled", self.default_labels_enabled.is_some())])
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
    config.validate()?;
    let settings = sending.settings(ConfigDuration::from_secs(30))?;
    let attempts = LokiAttempts {
        id: id.clone(),
        endpoint: config.endpoint,
        client_config,
        client: OnceLock::new(),
        translators: Arc::new(LogTranslators::new(
            Settings { key_seed: rand::random(), ..Settings::default() },
            TRANSLATORS_IDLE_MAX,
        )),
        tasks: context.tasks.clone(),
        clock: Arc::clone(&context.clock),
    };
    Forwarder::create(id, settings, attempts, CancellationToken::new(), context)
}

/// Single attempts to send a batch.
struct LokiAttempts {
    id: ComponentId,
    endpoint: String,
    client_config: HttpClientConfig,
    /// Made at the start.
    client: OnceLock<HttpClient>,
    translators: Arc<LogTranslators>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

/// Translators kept between batches: about as many as consumers that work at a time.
const TRANSLATORS_IDLE_MAX: usize = 4;

impl LokiAttempts {
    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let client = self.client.get().ok_or_else(|| not_started(&self.id))?;
        let headers = headers(&batch.tenant, client.default_headers())?;
        let (body, mut report) = self.body(batch.payload).await?;
        let Some(body) = body else { return Ok(report) };
        let answer = client.post(&self.endpoint, headers, body).await?;
        if (200..=299).contains(&answer.status) {
            return Ok(report);
        }
        let text = body_text(&answer.body);
        if answer.status == 400
            && let Some(refused) = refused_entries(&answer.body)
        {
            // Loki stores the entries of such a request that it does not refuse.
            let refused = refused.min(report.stored);
            report.stored -= refused;
            report.reject("refused_by_endpoint", refused, || text);
            return Ok(report);
        }
        let is_retryable = answer.status == 429 || (500..=599).contains(&answer.status);
        let now_ms = self.clock.now_ms();
        Err(http_failure(&self.endpoint, answer.status, &answer.headers, &text, is_retryable, now_ms))
    }

    /// The push request of a payload, unless nothing in it can be pushed, and the report of the translation.
    async fn body(&self, payload: Bytes) -> PipelineResult<(Option<Bytes>, AppendReport)> {
        let translators = Arc::clone(&self.translators);
        let now_ns = self.clock.now_ns();
        let write = move || {
            let translated = translators.translate(&payload, now_ns)?;
            let streams = translated.streams.into_iter();
            let streams: Vec<_> = streams.map(|(labels, entries)| PushStream { labels, entries }).collect();
            if streams.is_empty() {
                return Ok((None, translated.report));
            }
            let message = encode_proto(&PushRequest { streams });
            let body = snap::raw::Encoder::new().compress_vec(&message);
            let body =
                body.map_err(|error| permanent(format!("a push of {} bytes: {error}", message.len())))?;
            Ok((Some(Bytes::from(body)), translated.report))
        };
        off_thread(&self.tasks, &self.id, "writing a push", write).await
    }
}

const TENANT_HEADER: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Content type, and the tenant unless the config names one.
fn headers(tenant: &TenantId, configured: &HeaderMap) -> PipelineResult<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    if *tenant != TenantId::default() && !configured.contains_key(TENANT_HEADER) {
        let value = HeaderValue::from_str(tenant.as_str());
        let value = value.map_err(|_| permanent(format!("tenant {tenant} cannot be a header value")))?;
        headers.insert(TENANT_HEADER, value);
    }
    Ok(headers)
}

/// Entries that a 400 of Loki's distributor or ingester says it refused: `… total ignored: N out of M for stream …`,
/// once for each stream (pkg/ingester/stream.go); `None` when it does not say.
fn refused_entries(body: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(body);
    let counts = text.split("total ignored: ").skip(1);
    let counts: Option<Vec<u64>> =
        counts.map(|rest| rest.split_once(" out of ")?.0.trim().parse().ok()).collect();
    counts.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().sum())
}

impl Consumer for LokiAttempts {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

impl Attempts for LokiAttempts {
    fn connect(&self) -> PipelineResult<()> {
        let client = HttpClient::new(&self.client_config, &self.endpoint)?;
        // A second start would find the client of the first, which is as good.
        let _ = self.client.set(client);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

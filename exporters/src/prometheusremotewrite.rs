//! `prometheusremotewrite`: sends metrics on as Prometheus remote write, 1.0 or 2.0.
//!
//! Keys: exporter/prometheusremotewriteexporter of the collector's contrib repository. Batches leave the queue one
//! after the other; inside a batch the series are spread over `num_consumers` lanes that send side by side, each series
//! in one lane and its samples in time order. Invariant PRW-1: samples of one series are never sent out of order. 5xx and
//! 429 are tried again with `Retry-After` honoured; what the endpoint refuses otherwise, and what the protocol cannot
//! carry, is dropped, counted and, once a minute and reason, logged. An endpoint that does not take version 2 (415, or
//! success without the headers that say how much was written) gets version 1 from then on, as the specification asks.

mod requests;
mod series;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, Outage, PipelineError, PipelineResult, QueueConfig, RetryConfig, Sending,
    SendingSettings, Stability, Throttle, off_thread, retry, split,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wire::otlp_to_prometheus::{Settings, Translator};
use wire::prometheus_names::Strategy;
use wire::remote_write::{Version, WRITTEN_HEADERS};

use self::requests::{Counts, Form, Lane, Request, lanes};
use self::series::{ItemList, SeriesTable};
use crate::Stores;
use crate::client::{HttpClient, HttpClientConfig, HttpResponse, http_failure, unsupported};

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "prometheusremotewrite",
    aliases: &[],
    signals: &[Signal::Metrics],
    stability: Stability::Beta,
    create,
};

/// The keys of its own; those of the client are in [`HttpClientConfig`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// URL of the endpoint. Required.
    endpoint: String,
    /// Put before every metric name, with an `_`. Default none.
    namespace: String,
    /// Labels of every series that has no such label. Default none.
    external_labels: BTreeMap<String, String>,
    /// Whether names get unit and type suffixes. Default true.
    add_metric_suffixes: bool,
    /// Whether all resource attributes become labels. Default off.
    resource_to_telemetry_conversion: Switch,
    /// Whether `target_info` is written. Default on.
    target_info: TargetInfo,
    /// The queue.
    remote_write_queue: RemoteWriteQueue,
    /// Retries. Default as everywhere, but the first after 50ms.
    retry_on_failure: RetryConfig,
    /// Longest attempt; 0 = no limit. Default 5s.
    timeout: ConfigDuration,
    /// Largest request before compression, bytes. Default 3000000.
    max_batch_size_bytes: usize,
    /// snappy; the protocol knows nothing else.
    compression: String,
    /// Whether version 1 requests tell type, help and unit of families that are new; version 2 always does. Default
    /// false.
    send_metadata: bool,
    /// `prometheus.WriteRequest` (version 1) or `io.prometheus.write.v2.Request` (version 2). Default the former.
    protobuf_message: String,
    wal: Option<Value>,
    export_created_metric: Option<Switch>,
    scope_info: Option<Value>,
    max_batch_request_parallelism: Option<Value>,
    translation_strategy: Option<Value>,
    sending_queue: Option<Value>,
}

/// A section with the one key `enabled`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Switch {
    /// Default false.
    enabled: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TargetInfo {
    /// Default true.
    enabled: bool,
}

impl Default for TargetInfo {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RemoteWriteQueue {
    /// Whether batches wait in a queue; without it the sender waits for the endpoint. Default true.
    enabled: bool,
    /// Batches that may wait. Default 10000.
    queue_size: u64,
    /// Lanes that send at the same time. Default 5.
    num_consumers: usize,
    /// Id of a `file_storage` extension that keeps the queue, and how far it was sent, on disk. Default none: in memory.
    storage: Option<String>,
}

impl Default for RemoteWriteQueue {
    fn default() -> Self {
        Self { enabled: true, queue_size: 10_000, num_consumers: 5, storage: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        let initial_interval = ConfigDuration::from_millis(50);
        Self {
            endpoint: String::new(),
            namespace: String::new(),
            external_labels: BTreeMap::new(),
            add_metric_suffixes: true,
            resource_to_telemetry_conversion: Switch::default(),
            target_info: TargetInfo::default(),
            remote_write_queue: RemoteWriteQueue::default(),
            retry_on_failure: RetryConfig { initial_interval, ..RetryConfig::default() },
            timeout: ConfigDuration::from_secs(5),
            max_batch_size_bytes: 3_000_000,
            compression: "snappy".to_owned(),
            wal: None,
            export_created_metric: None,
            scope_info: None,
            send_metadata: false,
            protobuf_message: Version::V1.message().to_owned(),
            max_batch_request_parallelism: None,
            translation_strategy: None,
            sending_queue: None,
        }
    }
}

/// Most lanes: each holds a connection.
const LANES_MAX: usize = 1000;

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: String| Err(ConfigError::at(key, message));
        let is_http =
            reqwest::Url::parse(&self.endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_http {
            return at("endpoint", format!("{:?} is not a URL: want http://… or https://…", self.endpoint));
        }
        if self.compression != "snappy" {
            return at("compression", format!("{:?} is not supported, want snappy", self.compression));
        }
        let queue = &self.remote_write_queue;
        if queue.enabled && queue.queue_size == 0 {
            return at("remote_write_queue.queue_size", "a 0 size queue will drop all the data".to_owned());
        }
        if queue.num_consumers == 0 || queue.num_consumers > LANES_MAX {
            return at("remote_write_queue.num_consumers", format!("must be between 1 and {LANES_MAX}"));
        }
        if self.max_batch_size_bytes == 0 {
            return at("max_batch_size_bytes", "max_batch_byte_size must be greater than 0".to_owned());
        }
        if self.version().is_none() {
            let [first, second] = Version::ALL.map(Version::message);
            let message = format!("{:?} is not known, want {first} or {second}", self.protobuf_message);
            return at("protobuf_message", message);
        }
        let created = self.export_created_metric.is_some_and(|switch| switch.enabled);
        unsupported(&[
            ("wal", self.wal.is_some()),
            ("export_created_metric.enabled", created),
            ("scope_info", self.scope_info.is_some()),
            ("max_batch_request_parallelism", self.max_batch_request_parallelism.is_some()),
            ("translation_strategy", self.translation_strategy.is_some()),
            ("sending_queue", self.sending_queue.is_some()),
        ])?;
        self.retry_on_failure.validate()
    }

    fn version(&self) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.message() == self.protobuf_message)
    }

    fn translation(&self) -> Settings {
        Settings {
            strategy: Strategy::escaping(self.add_metric_suffixes),
            namespace: self.namespace.clone(),
            external_labels: self.external_labels.clone().into_iter().collect(),
            promote_all_resource_attributes: self.resource_to_telemetry_conversion.enabled,
            target_info: self.target_info.enabled,
            key_seed: rand::random(),
            ..Settings::default()
        }
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id;
    let (client_part, own_part) = split(config.value, HttpClientConfig::KEYS);
    let mut client_config: HttpClientConfig = ComponentConfig { id, value: &client_part }.parse()?;
    let config: Config = ComponentConfig { id, value: &own_part }.parse()?;
    client_config.validate(&context.extensions)?;
    config.validate()?;
    let give_up = CancellationToken::new();
    let queue = config.remote_write_queue.clone();
    let translation = Translation {
        translator: Translator::new(config.translation()),
        series: SeriesTable::new(SERIES_CACHED_MAX),
    };
    let deliveries = Arc::new(Deliveries {
        id: id.clone(),
        translation: Arc::new(Mutex::new(translation)),
        is_v2: AtomicBool::new(config.version() == Some(Version::V2)),
        send_metadata: config.send_metadata,
        lanes: queue.num_consumers,
        request_bytes_max: config.max_batch_size_bytes,
        retry: config.retry_on_failure,
        timeout: config.timeout.0,
        endpoint: config.endpoint,
        client_config,
        client: OnceLock::new(),
        give_up: give_up.clone(),
        tasks: context.tasks.clone(),
        clock: Arc::clone(&context.clock),
        refusals: Throttle::default(),
        outage: Outage::new(id),
    });
    let settings = SendingSettings {
        // One batch at a time keeps the order of each series; the lanes inside a batch give the parallelism.
        queue: QueueConfig {
            enabled: queue.enabled,
            queue_size: queue.queue_size,
            num_consumers: 1,
            storage: queue.storage,
            ..QueueConfig::default()
        },
        // Lanes retry and time out by request, so that what was taken is not sent again.
        retry: RetryConfig { enabled: false, ..RetryConfig::default() },
        timeout: Duration::ZERO,
    };
    let destination = Arc::clone(&deliveries) as Arc<dyn Consumer>;
    let sending = Sending::new(id, settings, destination, give_up, context).map_err(|error| {
        // The key of the queue has another name here.
        match error.path.split_first() {
            Some((queue, rest)) if queue == "sending_queue" => {
                ConfigError { path: rest.to_vec(), message: error.message }.under(&["remote_write_queue"])
            }
            _ => error,
        }
    })?;
    Ok(Arc::new(PrometheusRemoteWrite { sending, deliveries }))
}

/// Series whose labels are remembered; when there are more, all are forgotten and made again. Some 400 bytes each.
const SERIES_CACHED_MAX: usize = 500_000;

/// Payloads above this are translated off the async threads: about 500 points, 300 µs with writing and compression.
const INLINE_BYTES_MAX: usize = 128 << 10;

struct PrometheusRemoteWrite {
    sending: Sending,
    deliveries: Arc<Deliveries>,
}

struct Translation {
    translator: Translator,
    series: SeriesTable,
}

/// Sends whole batches.
struct Deliveries {
    id: ComponentId,
    translation: Arc<Mutex<Translation>>,
    /// Whether the endpoint gets version 2; never again once it did not take it.
    is_v2: AtomicBool,
    send_metadata: bool,
    lanes: usize,
    request_bytes_max: usize,
    retry: RetryConfig,
    timeout: Duration,
    endpoint: String,
    client_config: HttpClientConfig,
    /// Made at the start.
    client: OnceLock<HttpClient>,
    give_up: CancellationToken,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    refusals: Throttle<&'static str>,
    outage: Outage,
}

impl Deliveries {
    async fn deliver(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let (lanes, mut report) = self.translate(batch.clone()).await?;
        let mut outcomes = self.send_lanes(lanes).await;
        if outcomes.iter().any(|outcome| outcome.needs_v1) {
            if self.is_v2.swap(false, Ordering::Relaxed) {
                let endpoint = &self.endpoint;
                tracing::warn!(exporter = %self.id, endpoint, "the endpoint does not take remote write 2.0, it gets 1.0");
            }
            // What some lanes may have delivered already is an exact duplicate the second time.
            let (lanes, again) = self.translate(batch).await?;
            report = again;
            outcomes = self.send_lanes(lanes).await;
        }
        let mut failure = None;
        for outcome in outcomes {
            if let Some((dropped, message)) = outcome.refused {
                // Samples, of which a point may have several: never more than there are points.
                let dropped = dropped.min(report.stored);
                report.stored -= dropped;
                report.reject("refused_by_endpoint", dropped, || message);
            }
            failure = failure.or(outcome.failure);
        }
        let Some(failure) = failure else { return Ok(report) };
        // The report ends here, and what was refused is not sent by a later attempt either.
        self.tell(&report);
        Err(failure)
    }

    async fn send_lanes(&self, lanes: Vec<Lane>) -> Vec<LaneOutcome> {
        join_all(lanes.into_iter().map(|lane| self.send_lane(lane))).await
    }

    fn version(&self) -> Version {
        if self.is_v2.load(Ordering::Relaxed) { Version::V2 } else { Version::V1 }
    }

    /// The requests of a batch, by lane, and the report of the translation.
    async fn translate(&self, batch: Batch) -> PipelineResult<(Vec<Lane>, AppendReport)> {
        let is_small = batch.payload.len() <= INLINE_BYTES_MAX;
        let (translation, send_metadata) = (Arc::clone(&self.translation), self.send_metadata);
        let form = Form { version: self.version(), lanes_max: self.lanes, bytes_max: self.request_bytes_max };
        let work = move || {
            let Translation { translator, series } = &mut *translation.lock();
            series.make_room();
            let mut items = ItemList::default();
            let report = translator.translate(&batch.payload, series, &mut items)?;
            let mut families = series.take_new_families();
            families.retain(|_| send_metadata);
            Ok((lanes(&mut items, series, &families, form), report))
        };
        if is_small {
            return work();
        }
        off_thread(&self.tasks, &self.id, "translate metrics", work).await
    }

    /// Sends the requests of a lane one after the other. After a request that could not be delivered the rest of the
    /// lane is not sent: its samples must not overtake those of a later attempt.
    async fn send_lane(&self, lane: Lane) -> LaneOutcome {
        let mut outcome = LaneOutcome::default();
        for Request { body, counts } in lane {
            let attempt = || self.attempt(body.clone(), counts);
            let sent = retry(&self.retry, &self.give_up, &self.outage, attempt).await;
            let (written, message) = match sent {
                Ok(Answer::Taken) => continue,
                Ok(Answer::NeedsV1) => {
                    outcome.needs_v1 = true;
                    return outcome;
                }
                Ok(Answer::Refused { written, message }) => (written, message),
                Err(error) => {
                    outcome.failure = Some(error);
                    return outcome;
                }
            };
            let (dropped, _) = outcome.refused.take().unwrap_or_default();
            let left_out = counts.points().saturating_sub(written.points());
            outcome.refused = Some((dropped + left_out, message));
        }
        outcome
    }

    /// One request; an error is worth another try.
    async fn attempt(&self, body: Bytes, sent: Counts) -> PipelineResult<Answer> {
        let Some(client) = self.client.get() else {
            return Err(PipelineError::new(
                ErrorKind::Unavailable,
                format!("exporter {} is not started", self.id),
            ));
        };
        let version = self.version();
        let post = client.post(&self.endpoint, headers(version), body);
        let answer = if self.timeout.is_zero() {
            post.await?
        } else {
            tokio::time::timeout(self.timeout, post).await.map_err(|_| {
                let message = format!("exporter {}: no answer within {:?} (timeout)", self.id, self.timeout);
                PipelineError::new(ErrorKind::Timeout, message)
            })??
        };
        let HttpResponse { status, headers, body } = answer;
        let written = written(&headers);
        if (200..=299).contains(&status) {
            return Ok(match (version, written) {
                (Version::V1, _) => Answer::Taken,
                (Version::V2, None) => Answer::NeedsV1,
                (Version::V2, Some(written)) if written.points() < sent.points() => {
                    let (told, sent) = (written.points(), sent.points());
                    let message = format!("the endpoint says that it wrote {told} of {sent} samples");
                    Answer::Refused { written, message }
                }
                (Version::V2, Some(_)) => Answer::Taken,
            });
        }
        if status == 415 && version == Version::V2 {
            return Ok(Answer::NeedsV1);
        }
        let is_retryable = status == 429 || (500..=599).contains(&status);
        let text = String::from_utf8_lossy(&body[..body.len().min(MESSAGE_BYTES_MAX)]);
        let message = match text.trim() {
            "" => String::new(),
            text => format!(": {text}"),
        };
        let error =
            http_failure(&self.endpoint, status, &headers, &message, is_retryable, self.clock.now_ms());
        if is_retryable {
            return Err(error);
        }
        let written = written.filter(|_| version == Version::V2).unwrap_or_default();
        Ok(Answer::Refused { written, message: error.to_string() })
    }

    /// Logs what was refused now and then, as the queue does with reports that come to it.
    fn tell(&self, report: &AppendReport) {
        for rejection in report.rejected.iter().filter(|rejection| rejection.count > 0) {
            let due = self.refusals.add(rejection.reason, rejection.count);
            if let Some(dropped_items) = due {
                tracing::warn!(
                    exporter = %self.id, reason = rejection.reason, dropped_items, example = rejection.message,
                    "points were not sent; more of this reason are told in a minute"
                );
            }
        }
    }
}

/// Most bytes of an error body that are told, as Prometheus does.
const MESSAGE_BYTES_MAX: usize = 1024;

#[derive(Default)]
struct LaneOutcome {
    /// Samples that the endpoint refused for good, and what it said last.
    refused: Option<(u64, String)>,
    /// Why the lane ended early.
    failure: Option<PipelineError>,
    /// Whether it ended early because the endpoint does not take version 2.
    needs_v1: bool,
}

/// What an endpoint made of a request.
enum Answer {
    Taken,
    /// Some or all of it is refused for good.
    Refused {
        written: Counts,
        message: String,
    },
    /// The endpoint does not take version 2.
    NeedsV1,
}

/// How much the endpoint says it wrote; all three headers must be there.
fn written(headers: &HeaderMap) -> Option<Counts> {
    let count = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    let [samples, histograms, exemplars] = WRITTEN_HEADERS;
    Some(Counts { samples: count(samples)?, histograms: count(histograms)?, exemplars: count(exemplars)? })
}

fn headers(version: Version) -> HeaderMap {
    let (version_name, version_number) = version.header();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    if let Ok(name) = HeaderName::from_bytes(version_name.as_bytes()) {
        headers.insert(name, HeaderValue::from_static(version_number));
    }
    headers
}

impl Consumer for Deliveries {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.deliver(batch))
    }
}

impl Consumer for PrometheusRemoteWrite {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        self.sending.consume(batch)
    }
}

impl Exporter for PrometheusRemoteWrite {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            let deliveries = &self.deliveries;
            let client = HttpClient::new(&deliveries.client_config, &deliveries.endpoint)?;
            // A second start would find the client of the first, which is as good.
            let _ = deliveries.client.set(client);
            self.sending.start().await
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            self.sending.shutdown().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;

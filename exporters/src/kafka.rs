//! `kafka`: writes telemetry to topics of Apache Kafka, one message for each batch or for each of its parts.
//!
//! Keys: exporter/kafkaexporter of the collector's contrib repository. A batch is delivered when the brokers have
//! acknowledged all its messages; by default all in-sync replicas do (`required_acks: -1`), and the producer is
//! idempotent, so that the client's own retries store nothing twice. A batch of a tenant other than the default one
//! carries it in the header `x-scope-orgid`. The client is librdkafka, with OpenSSL if the feature `kafka-tls` is on.

mod client;
mod messages;
mod security;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, PipelineError, PipelineResult, QueueConfig, Stability, off_thread,
};
use rdkafka::producer::FutureProducer;
use runtime::Tasks;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::client::{KafkaEncoding, client_config};
use self::client::{Logging, failure, is_fatal, send};
use self::messages::{Keys, Message, messages};
pub use self::security::{Auth, Tls};
use crate::Stores;
use crate::client::{Attempts, Forwarder, SendingConfig, not_started, permanent, split, unsupported};

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "kafka",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Beta,
    create,
};

/// The keys of its own; those of the queue are in [`SendingConfig`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// `host:port` of brokers to start from. Default `localhost:9092`.
    brokers: Vec<String>,
    /// Read for compatibility, no effect: the client asks brokers what they speak.
    protocol_version: String,
    /// How the client names itself. Default `otel-collector`.
    client_id: String,
    /// Traces: topic (default `otlp_spans`) and encoding (`otlp_proto`, the default, or `otlp_json`).
    traces: SignalConfig,
    /// Metrics: topic (default `otlp_metrics`) and encoding.
    metrics: SignalConfig,
    /// Logs: topic (default `otlp_logs`) and encoding.
    logs: SignalConfig,
    /// One topic for all signals; the older key of the collector. Default none.
    topic: String,
    /// One encoding for all signals; the older key of the collector. Default none.
    encoding: Option<KafkaEncoding>,
    /// Read for compatibility, no effect: no pipeline carries profiles.
    profiles: Value,
    /// Headers of every message. Default none.
    record_headers: Vec<RecordHeader>,
    /// Client metadata that becomes headers of each message. Default none.
    include_metadata_keys: Vec<String>,
    /// A message for each trace, its id being the key. Default false.
    partition_traces_by_id: bool,
    /// A message for each resource, a hash of its attributes being the key. Default false.
    partition_metrics_by_resource_attributes: bool,
    /// A message for each resource, a hash of its attributes being the key. Default false.
    partition_logs_by_resource_attributes: bool,
    /// How the client shows who it is.
    auth: Auth,
    /// TLS to the brokers. Default none.
    tls: Option<Tls>,
    /// What the client asks about the cluster.
    metadata: MetadataConfig,
    /// How messages are made.
    producer: ProducerConfig,
    topic_from_attribute: Option<Value>,
    partition_logs_by_trace_id: bool,
    resolve_canonical_bootstrap_servers_only: bool,
    record_partitioner: Option<Value>,
    /// Read for compatibility, no effect: the client decides when an idle connection is closed.
    conn_idle_timeout: ConfigDuration,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SignalConfig {
    topic: String,
    encoding: Option<KafkaEncoding>,
    topic_from_metadata_key: String,
    message_key_from_metadata_key: String,
}

/// A header; names may come several times.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RecordHeader {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetadataConfig {
    /// Read for compatibility, no effect: only topics in use are asked for.
    full: bool,
    /// How often brokers and partitions are asked for. Default 10m.
    refresh_interval: ConfigDuration,
    /// Read for compatibility, no effect: the client asks until the timeout.
    retry: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProducerConfig {
    /// Largest message, bytes before compression; a larger batch is split. Default 1000000.
    max_message_bytes: usize,
    /// Replicas that must have a message: -1 = all in-sync ones, 1 = the leader, 0 = nobody is asked. Default -1
    /// (the collector's is 1). Other values than -1 switch the idempotent producer off.
    required_acks: i8,
    /// none, gzip, snappy, lz4 or zstd. Default none.
    compression: String,
    /// How hard to compress.
    compression_params: CompressionParams,
    /// Longest wait for more messages to send at once. Default 10ms.
    linger: ConfigDuration,
    /// Most messages sent at once. Default 10000.
    flush_max_messages: u32,
    /// Whether brokers may make a topic that is missing, if they are configured to. Only true is possible.
    allow_auto_topic_creation: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CompressionParams {
    /// Level of gzip, lz4 or zstd; default the codec's own.
    level: Option<i8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: vec!["localhost:9092".to_owned()],
            protocol_version: "2.1.0".to_owned(),
            client_id: "otel-collector".to_owned(),
            traces: SignalConfig::default(),
            metrics: SignalConfig::default(),
            logs: SignalConfig::default(),
            topic: String::new(),
            encoding: None,
            profiles: Value::Null,
            record_headers: Vec::new(),
            include_metadata_keys: Vec::new(),
            partition_traces_by_id: false,
            partition_metrics_by_resource_attributes: false,
            partition_logs_by_resource_attributes: false,
            auth: Auth::default(),
            tls: None,
            metadata: MetadataConfig::default(),
            producer: ProducerConfig::default(),
            topic_from_attribute: None,
            partition_logs_by_trace_id: false,
            resolve_canonical_bootstrap_servers_only: false,
            record_partitioner: None,
            conn_idle_timeout: ConfigDuration::from_secs(540),
        }
    }
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self { full: true, refresh_interval: ConfigDuration::from_secs(600), retry: Value::Null }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 1_000_000,
            required_acks: -1,
            compression: "none".to_owned(),
            compression_params: CompressionParams::default(),
            linger: ConfigDuration::from_millis(10),
            flush_max_messages: 10_000,
            allow_auto_topic_creation: true,
        }
    }
}

/// Topic, encoding and keys of a signal's messages.
#[derive(Clone, Debug)]
struct Route {
    topic: String,
    encoding: KafkaEncoding,
    keys: Keys,
}

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: String| Err(ConfigError::at(key, message));
        let signals = [("traces", &self.traces), ("metrics", &self.metrics), ("logs", &self.logs)];
        for (name, signal) in signals {
            let [topic, key] = ["topic_from_metadata_key", "message_key_from_metadata_key"]
                .map(|key| format!("{name}.{key}"));
            unsupported(&[
                (topic.as_str(), !signal.topic_from_metadata_key.is_empty()),
                (key.as_str(), !signal.message_key_from_metadata_key.is_empty()),
            ])?;
        }
        unsupported(&[
            ("topic_from_attribute", self.topic_from_attribute.is_some()),
            ("partition_logs_by_trace_id", self.partition_logs_by_trace_id),
            ("resolve_canonical_bootstrap_servers_only", self.resolve_canonical_bootstrap_servers_only),
            ("record_partitioner", self.record_partitioner.is_some()),
        ])?;
        let ProducerConfig { max_message_bytes, required_acks, compression, .. } = &self.producer;
        if !(1000..=1_000_000_000).contains(max_message_bytes) {
            return at("producer.max_message_bytes", "must be between 1000 and 1000000000".to_owned());
        }
        if !(-1..=1).contains(required_acks) {
            return at("producer.required_acks", format!("{required_acks}: want -1 (all), 1 or 0"));
        }
        if !matches!(compression.as_str(), "none" | "gzip" | "snappy" | "lz4" | "zstd") {
            let message = format!("{compression:?} is not supported, want none, gzip, snappy, lz4 or zstd");
            return at("producer.compression", message);
        }
        if !self.producer.allow_auto_topic_creation {
            return at(
                "producer.allow_auto_topic_creation",
                "false is not supported: brokers decide by auto.create.topics.enable".to_owned(),
            );
        }
        Ok(())
    }

    /// Batching behind the queue joins batches of several senders, of which only what keeps them apart is left.
    fn check_partition(&self, queue: &QueueConfig) -> Result<(), ConfigError> {
        let Some(batch) = &queue.batch else { return Ok(()) };
        let kept = &batch.partition.metadata_keys;
        let lost = self.include_metadata_keys.iter().find(|key| !kept.contains(key));
        let at =
            |message: String| Err(ConfigError::at("sending_queue.batch.partition.metadata_keys", message));
        match lost {
            Some(_) if kept.is_empty() => {
                at("must be configured when include_metadata_keys is set and batching is enabled".to_owned())
            }
            Some(key) => at(format!("must include all include_metadata_keys values: missing {key:?}")),
            None => Ok(()),
        }
    }

    fn route(&self, signal: Signal) -> Route {
        let (own, default, keys) = match signal {
            Signal::Metrics => (
                &self.metrics,
                "otlp_metrics",
                if self.partition_metrics_by_resource_attributes { Keys::Resource } else { Keys::None },
            ),
            Signal::Logs => (
                &self.logs,
                "otlp_logs",
                if self.partition_logs_by_resource_attributes { Keys::Resource } else { Keys::None },
            ),
            Signal::Traces => (
                &self.traces,
                "otlp_spans",
                if self.partition_traces_by_id { Keys::Trace } else { Keys::None },
            ),
        };
        let named = [own.topic.as_str(), self.topic.as_str(), default];
        let topic = named.into_iter().find(|topic| !topic.is_empty()).unwrap_or(default).to_owned();
        Route { topic, encoding: own.encoding.or(self.encoding).unwrap_or_default(), keys }
    }

    /// The client's settings; `timeout` is for a message from its making to its acknowledgement.
    fn client(&self, timeout: Duration) -> Result<rdkafka::ClientConfig, ConfigError> {
        let mut client = client_config(&self.brokers, &self.client_id, &self.auth, self.tls.as_ref())?;
        let producer = &self.producer;
        let refresh_ms = self.metadata.refresh_interval.0.as_millis().clamp(10, 3_600_000);
        client
            .set("message.timeout.ms", timeout.as_millis().min(i32::MAX as u128).to_string())
            .set("topic.metadata.refresh.interval.ms", refresh_ms.to_string())
            // The limit is on messages as they were made; what surrounds them needs some room.
            .set("message.max.bytes", (producer.max_message_bytes + 1000).min(1_000_000_000).to_string())
            .set("acks", producer.required_acks.to_string())
            .set("enable.idempotence", (producer.required_acks == -1).to_string())
            .set("compression.codec", &producer.compression)
            .set("linger.ms", producer.linger.0.as_millis().min(900_000).to_string())
            .set("batch.num.messages", producer.flush_max_messages.clamp(1, 1_000_000).to_string());
        if let Some(level) = producer.compression_params.level {
            client.set("compression.level", level.to_string());
        }
        Ok(client)
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
    let mut settings = sending.settings(ConfigDuration::from_secs(5))?;
    config.validate()?;
    config.check_partition(&settings.queue)?;
    // The client keeps the time of each message: an attempt that ended earlier would leave messages behind it.
    let timeout = std::mem::take(&mut settings.timeout);
    let attempts = KafkaAttempts {
        id: id.clone(),
        routes: Signal::ALL.map(|signal| config.route(signal)),
        headers: config.include_metadata_keys.clone(),
        fixed_headers: config.record_headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect(),
        message_bytes_max: config.producer.max_message_bytes,
        client_config: config.client(timeout)?,
        producer: Mutex::default(),
        tasks: context.tasks.clone(),
    };
    Forwarder::create(id, settings, attempts, CancellationToken::new(), context)
}

/// A client whose threads are joined away from the async ones, whoever has it last.
struct Client {
    producer: Option<FutureProducer<Logging>>,
    tasks: Tasks,
}

type Producer = Arc<Client>;

impl Client {
    fn producer(&self) -> &FutureProducer<Logging> {
        self.producer.as_ref().expect("only the drop takes it")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Without a runtime there are no async threads to keep free.
        if let Some(producer) = self.producer.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            // Not waited for: the tasks know it until it has ended.
            drop(self.tasks.spawn_blocking("end kafka client", move || drop(producer)));
        }
    }
}

/// Single attempts to send a batch.
struct KafkaAttempts {
    id: ComponentId,
    /// In the order of [`Signal::ALL`].
    routes: [Route; 3],
    headers: Vec<String>,
    /// Headers of every message.
    fixed_headers: Vec<(String, String)>,
    message_bytes_max: usize,
    client_config: rdkafka::ClientConfig,
    /// Made at the start, and again after an error that the idempotent producer cannot go on from.
    producer: Mutex<Option<Producer>>,
    tasks: Tasks,
}

/// Payloads above this are split and encoded off the async threads: about 500 µs of JSON.
const INLINE_BYTES_MAX: usize = 32 << 10;

impl KafkaAttempts {
    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let producer = self.producer.lock().clone().ok_or_else(|| not_started(&self.id))?;
        let items = batch.items;
        let route = &self.routes[batch.signal as usize];
        let made = self.messages(&batch, route).await?;
        let headers = self.headers_of(&batch);
        let sent = made.into_iter().map(|message| {
            let (producer, headers) = (Arc::clone(&producer), headers.clone());
            async move {
                let Message { key, payload, items } = message;
                let sent = send(producer.producer(), &route.topic, key.as_deref(), &payload, headers).await;
                sent.map_err(|error| (error, items))
            }
        });
        let mut report = AppendReport { stored: items, rejected: Vec::new() };
        for outcome in join_all(sent).await {
            let Err((error, lost)) = outcome else { continue };
            if is_fatal(&error) {
                self.replace(&producer);
            }
            let failure = failure(&self.id, &route.topic, &error);
            if failure.kind().is_retryable() {
                return Err(failure);
            }
            // The rest of the batch is stored; sending it again would double it.
            report.stored -= lost.min(report.stored);
            report.reject("refused_by_broker", lost, || failure.to_string());
        }
        match report.stored {
            0 if items > 0 => Err(permanent(report.rejected.swap_remove(0).message)),
            _ => Ok(report),
        }
    }

    /// The messages of a batch.
    async fn messages(&self, batch: &Batch, route: &Route) -> PipelineResult<Vec<Message>> {
        let (signal, payload, items) = (batch.signal, batch.payload.clone(), batch.items);
        let (encoding, keys, bytes_max) = (route.encoding, route.keys, self.message_bytes_max);
        let make = move || {
            let made = messages(signal, &payload, items, encoding, keys, bytes_max);
            made.map_err(|error| permanent(format!("cannot encode the batch: {error}")))
        };
        // One message that is the payload.
        let is_plain = encoding == KafkaEncoding::OtlpProto && keys == Keys::None;
        if is_plain && batch.payload.len() <= bytes_max || batch.payload.len() <= INLINE_BYTES_MAX {
            return make();
        }
        off_thread(&self.tasks, &self.id, "making messages", make).await
    }

    /// What is known about the sender and asked for, and the tenant.
    fn headers_of(&self, batch: &Batch) -> Vec<(String, String)> {
        let mut headers = self.fixed_headers.clone();
        for key in &self.headers {
            let pairs = batch.client.metadata.iter();
            let named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(key));
            headers.extend(named.map(|(_, value)| (key.clone(), value.clone())));
        }
        if batch.tenant != model::TenantId::default() {
            headers.push((TENANT_HEADER.to_owned(), batch.tenant.to_string()));
        }
        headers
    }

    fn make_producer(&self) -> PipelineResult<Producer> {
        let made = self.client_config.create_with_context(Logging::new(&self.id));
        let client = |producer| Arc::new(Client { producer: Some(producer), tasks: self.tasks.clone() });
        made.map(client)
            .map_err(|error| PipelineError::new(ErrorKind::Invalid, format!("exporter {}: {error}", self.id)))
    }

    /// Puts a new producer in place of `broken`, unless somebody did.
    fn replace(&self, broken: &Producer) {
        let mut current = self.producer.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, broken)) {
            match self.make_producer() {
                Ok(producer) => *current = Some(producer),
                Err(error) => tracing::error!(exporter = %self.id, %error, "cannot make a new producer"),
            }
        }
    }
}

/// Header that carries a tenant through a topic.
pub const TENANT_HEADER: &str = "x-scope-orgid";

impl Consumer for KafkaAttempts {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

impl Attempts for KafkaAttempts {
    fn connect(&self) -> PipelineResult<()> {
        *self.producer.lock() = Some(self.make_producer()?);
        Ok(())
    }

    fn disconnect(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            let producer = self.producer.lock().take();
            // Joins the client's threads.
            let end = move || {
                let client = producer.and_then(Arc::into_inner);
                client.map(|mut client| drop(client.producer.take()))
            };
            let ended = self.tasks.spawn_blocking("end kafka client", end).await.map(drop);
            ended.map_err(|_| PipelineError::new(ErrorKind::Internal, "ending the kafka client panicked"))
        })
    }
}

#[cfg(test)]
mod tests;

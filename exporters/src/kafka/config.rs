//! The keys of exporter `kafka`, and what they mean for the client and for each signal's messages.
//!
//! Names, defaults and contradictions are those of exporter/kafkaexporter and pkg/kafka/configkafka of the collector's
//! contrib repository. What librdkafka decides by itself is read and has no effect; what it cannot do is refused.

use std::time::Duration;

use model::Signal;
use pipelines::{ConfigDuration, ConfigError, QueueConfig};
use serde::Deserialize;
use serde_json::Value;

use super::client::{KafkaEncoding, client_config};
use super::messages::Keys;
use super::security::{Auth, Tls};
use crate::client::unsupported;

/// The keys of its own; those of the queue are in [`SendingConfig`](crate::client::SendingConfig).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
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
    pub(super) record_headers: Vec<RecordHeader>,
    /// Client metadata that becomes headers of each message. Default none.
    pub(super) include_metadata_keys: Vec<String>,
    /// The resource attribute whose text is the topic of its items; there is then a message for each resource. Where
    /// it is missing the signal's topic is taken. Default none.
    topic_from_attribute: String,
    /// A message for each trace, its id being the key. Default false.
    partition_traces_by_id: bool,
    /// A message for each resource, a hash of its attributes being the key. Default false.
    partition_metrics_by_resource_attributes: bool,
    /// A message for each resource, a hash of its attributes being the key. Default false.
    partition_logs_by_resource_attributes: bool,
    /// A message for each trace that log records belong to, its id being the key, and one without a key for the records
    /// of none. Default false.
    partition_logs_by_trace_id: bool,
    /// Which partition a message goes to. Default by the hash of its key that Sarama has.
    record_partitioner: RecordPartitioner,
    /// How the client shows who it is.
    auth: Auth,
    /// TLS to the brokers. Default none.
    tls: Option<Tls>,
    /// What the client asks about the cluster.
    metadata: MetadataConfig,
    /// How messages are made.
    pub(super) producer: ProducerConfig,
    /// Where the client is, for brokers that care. Default unknown.
    rack_id: String,
    /// Read for compatibility, no effect: it is about reading.
    use_leader_epoch: bool,
    /// Read for compatibility, no effect, as in the collector.
    resolve_canonical_bootstrap_servers_only: bool,
    /// Read for compatibility, no effect: the client decides when an idle connection is closed.
    conn_idle_timeout: ConfigDuration,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SignalConfig {
    topic: String,
    encoding: Option<KafkaEncoding>,
    /// The client metadata whose first value is the topic; goes before `topic_from_attribute` and `topic`. Whoever sends
    /// chooses the topic then.
    topic_from_metadata_key: String,
    /// The client metadata whose first value is the key of messages.
    message_key_from_metadata_key: String,
}

/// A header; names may come several times.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RecordHeader {
    pub(super) name: String,
    pub(super) value: String,
}

/// At most one of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RecordPartitioner {
    /// By a hash of the key; messages without one stay at a partition for a while.
    sticky_key: Option<StickyKey>,
    /// One partition after the other, whatever the key.
    round_robin: Option<Nothing>,
    least_backup: Option<Value>,
    extension: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StickyKey {
    /// `sarama_compat` (FNV-1a, the default of the section above) or `murmur2`, which Java's client has. Required.
    hasher: Hasher,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hasher {
    SaramaCompat,
    Murmur2,
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
pub(super) struct ProducerConfig {
    /// Largest message, bytes before compression; a larger batch is split. Default 1000000.
    pub(super) max_message_bytes: usize,
    /// Read for compatibility, no effect but that it is at least 104857600, as in the collector: the client writes
    /// requests of at most a few messages.
    max_broker_write_bytes: usize,
    /// Replicas that must have a message: -1 or all = all in-sync ones, 1 = the leader, 0 = nobody is asked. Default -1
    /// (the collector's is 1). Other values than -1 switch the idempotent producer off.
    required_acks: RequiredAcks,
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

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Value")]
struct RequiredAcks(i8);

impl TryFrom<Value> for RequiredAcks {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match (value.as_str(), value.as_i64()) {
            (Some("all"), _) | (None, Some(-1)) => Ok(Self(-1)),
            (None, Some(0)) => Ok(Self(0)),
            (None, Some(1)) => Ok(Self(1)),
            _ => Err(format!("{value}: want -1 or all, 1 or 0")),
        }
    }
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
            topic_from_attribute: String::new(),
            partition_traces_by_id: false,
            partition_metrics_by_resource_attributes: false,
            partition_logs_by_resource_attributes: false,
            partition_logs_by_trace_id: false,
            record_partitioner: RecordPartitioner::default(),
            auth: Auth::default(),
            tls: None,
            metadata: MetadataConfig::default(),
            producer: ProducerConfig::default(),
            rack_id: String::new(),
            use_leader_epoch: true,
            resolve_canonical_bootstrap_servers_only: false,
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
            max_broker_write_bytes: BROKER_WRITE_BYTES_MIN,
            required_acks: RequiredAcks(-1),
            compression: "none".to_owned(),
            compression_params: CompressionParams::default(),
            linger: ConfigDuration::from_millis(10),
            flush_max_messages: 10_000,
            allow_auto_topic_creation: true,
        }
    }
}

const BROKER_WRITE_BYTES_MIN: usize = 100 << 20;

/// Topic, encoding and keys of a signal's messages.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Where messages go that nothing else has a topic for.
    pub(super) topic: String,
    pub(super) topic_metadata: Option<String>,
    pub(super) topic_attribute: Option<String>,
    pub(super) key_metadata: Option<String>,
    pub(super) encoding: KafkaEncoding,
    pub(super) keys: Keys,
}

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: String| Err(ConfigError::at(key, message));
        if self.partition_logs_by_resource_attributes && self.partition_logs_by_trace_id {
            let message = "cannot be combined with partition_logs_by_resource_attributes".to_owned();
            return at("partition_logs_by_trace_id", message);
        }
        for (signal, name, own) in self.signals() {
            if !own.message_key_from_metadata_key.is_empty() && self.keys(signal) != Keys::None {
                let key = format!("{name}.message_key_from_metadata_key");
                return at(&key, "cannot be combined with a partition_… key of the same signal".to_owned());
            }
        }
        self.record_partitioner.validate()?;
        let ProducerConfig { max_message_bytes, max_broker_write_bytes, compression, .. } = &self.producer;
        if !(1000..=1_000_000_000).contains(max_message_bytes) {
            return at("producer.max_message_bytes", "must be between 1000 and 1000000000".to_owned());
        }
        if *max_broker_write_bytes < BROKER_WRITE_BYTES_MIN.max(*max_message_bytes) {
            let message =
                format!("must be at least {BROKER_WRITE_BYTES_MIN} and no less than max_message_bytes");
            return at("producer.max_broker_write_bytes", message);
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

    fn signals(&self) -> [(Signal, &'static str, &SignalConfig); 3] {
        [
            (Signal::Traces, "traces", &self.traces),
            (Signal::Metrics, "metrics", &self.metrics),
            (Signal::Logs, "logs", &self.logs),
        ]
    }

    /// Batching behind the queue joins batches of several senders, of which only what keeps them apart is left.
    pub(super) fn check_partition(&self, queue: &QueueConfig) -> Result<(), ConfigError> {
        let Some(batch) = &queue.batch else { return Ok(()) };
        let kept = &batch.partition.metadata_keys;
        let lost = self.include_metadata_keys.iter().find(|key| !kept.contains(key));
        let at =
            |message: String| Err(ConfigError::at("sending_queue.batch.partition.metadata_keys", message));
        match lost {
            Some(_) if kept.is_empty() => {
                return at(
                    "must be configured when include_metadata_keys is set and batching is enabled".to_owned()
                );
            }
            Some(key) => {
                return at(format!("must include all include_metadata_keys values: missing {key:?}"));
            }
            None => {}
        }
        for (_, name, own) in self.signals() {
            let keys = [
                ("topic_from_metadata_key", &own.topic_from_metadata_key),
                ("message_key_from_metadata_key", &own.message_key_from_metadata_key),
            ];
            if let Some((key, lost)) = keys.iter().find(|(_, key)| !key.is_empty() && !kept.contains(key)) {
                let message =
                    "must be in sending_queue::batch::partition::metadata_keys if batching is enabled";
                return Err(ConfigError::at(&format!("{name}.{key}"), format!("{lost:?} {message}")));
            }
        }
        Ok(())
    }

    fn keys(&self, signal: Signal) -> Keys {
        let by_resource = match signal {
            Signal::Metrics => self.partition_metrics_by_resource_attributes,
            Signal::Logs => self.partition_logs_by_resource_attributes,
            Signal::Traces => false,
        };
        let by_trace = match signal {
            Signal::Metrics => false,
            Signal::Logs => self.partition_logs_by_trace_id,
            Signal::Traces => self.partition_traces_by_id,
        };
        match (by_resource, by_trace) {
            (true, _) => Keys::Resource,
            (false, true) => Keys::Trace,
            (false, false) => Keys::None,
        }
    }

    pub(super) fn route(&self, signal: Signal) -> Route {
        let (own, default) = match signal {
            Signal::Metrics => (&self.metrics, "otlp_metrics"),
            Signal::Logs => (&self.logs, "otlp_logs"),
            Signal::Traces => (&self.traces, "otlp_spans"),
        };
        let named = [own.topic.as_str(), self.topic.as_str(), default];
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Route {
            topic: named.into_iter().find(|topic| !topic.is_empty()).unwrap_or(default).to_owned(),
            topic_metadata: given(&own.topic_from_metadata_key),
            topic_attribute: given(&self.topic_from_attribute),
            key_metadata: given(&own.message_key_from_metadata_key),
            encoding: own.encoding.or(self.encoding).unwrap_or_default(),
            keys: self.keys(signal),
        }
    }

    /// Whether messages go round the partitions, which librdkafka leaves to us.
    pub(super) fn goes_round(&self) -> bool {
        self.record_partitioner.round_robin.is_some()
    }

    /// The client's settings; `timeout` is for a message from its making to its acknowledgement.
    pub(super) fn client(&self, timeout: Duration) -> Result<rdkafka::ClientConfig, ConfigError> {
        let mut client = client_config(&self.brokers, &self.client_id, &self.auth, self.tls.as_ref())?;
        let producer = &self.producer;
        let refresh_ms = self.metadata.refresh_interval.0.as_millis().clamp(10, 3_600_000);
        let acks = producer.required_acks.0;
        client
            .set("message.timeout.ms", timeout.as_millis().min(i32::MAX as u128).to_string())
            .set("topic.metadata.refresh.interval.ms", refresh_ms.to_string())
            // The limit is on messages as they were made; what surrounds them needs some room.
            .set("message.max.bytes", (producer.max_message_bytes + 1000).min(1_000_000_000).to_string())
            .set("acks", acks.to_string())
            .set("enable.idempotence", (acks == -1).to_string())
            .set("compression.codec", &producer.compression)
            .set("linger.ms", producer.linger.0.as_millis().min(900_000).to_string())
            .set("batch.num.messages", producer.flush_max_messages.clamp(1, 1_000_000).to_string());
        if let Some(level) = producer.compression_params.level {
            client.set("compression.level", level.to_string());
        }
        if !self.rack_id.is_empty() {
            client.set("client.rack", &self.rack_id);
        }
        match self.record_partitioner.sticky_key.map(|sticky| sticky.hasher) {
            // Else librdkafka keeps messages without a key at a partition and does not ask.
            _ if self.goes_round() => client.set("sticky.partitioning.linger.ms", "0"),
            None | Some(Hasher::SaramaCompat) => client.set("partitioner", "fnv1a_random"),
            Some(Hasher::Murmur2) => client.set("partitioner", "murmur2_random"),
        };
        Ok(client)
    }
}

impl RecordPartitioner {
    fn validate(&self) -> Result<(), ConfigError> {
        let Self { sticky_key, round_robin, least_backup, extension } = self;
        let set = [sticky_key.is_some(), round_robin.is_some(), least_backup.is_some(), extension.is_some()];
        if set.into_iter().filter(|is_set| *is_set).count() > 1 {
            let message = "at most one record_partitioner strategy may be configured";
            return Err(ConfigError::at("record_partitioner", message));
        }
        unsupported(&[
            ("record_partitioner.least_backup", least_backup.is_some()),
            ("record_partitioner.extension", extension.is_some()),
        ])
    }
}

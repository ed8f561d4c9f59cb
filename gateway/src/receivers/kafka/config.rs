//! The keys of receiver `kafka`, and what they mean for the client.
//!
//! Names and defaults are those of receiver/kafkareceiver and pkg/kafka/configkafka of the collector's contrib repository.
//! What would lose acknowledged data or is not in librdkafka is refused by name.

use exporters::kafka::{Auth, Tls, client_config};
use model::Signal;
use pipelines::{ConfigDuration, ConfigError};
use rdkafka::ClientConfig;
use serde::Deserialize;
use serde_json::Value;

use super::encoding::Encoding;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// `host:port` of brokers to start from. Default `localhost:9092`.
    brokers: Vec<String>,
    /// Read for compatibility, no effect: the client asks brokers what they speak.
    protocol_version: String,
    /// How the client names itself. Default `otel-collector`.
    client_id: String,
    /// The consumer group. Default `otel-collector`.
    group_id: String,
    /// A fixed name of this member, so that a restart within `session_timeout` moves no partition. Default none.
    group_instance_id: String,
    /// Where a group without committed offsets starts: `latest` (default) or `earliest`.
    initial_offset: InitialOffset,
    /// How long the group waits for a member before it gives its partitions away. Default 10s.
    session_timeout: ConfigDuration,
    /// How often a member says that it is there. Default 3s.
    heartbeat_interval: ConfigDuration,
    /// range (default; the collector's is cooperative-sticky), roundrobin or cooperative-sticky.
    group_rebalance_strategy: String,
    /// Several of them, the first one being preferred; instead of the single one. Default none.
    group_rebalance_strategies: Vec<String>,
    /// Traces: topics (default `otlp_spans`) and encoding (`otlp_proto`, the default, or `otlp_json`; of logs also `raw`,
    /// `text` or `json`).
    traces: SignalConfig,
    /// Metrics: topics (default `otlp_metrics`) and encoding.
    metrics: SignalConfig,
    /// Logs: topics (default `otlp_logs`) and encoding.
    logs: SignalConfig,
    /// One topic for the one signal that a pipeline takes from here; the older key of the collector. Default none.
    topic: String,
    /// One encoding for all signals; the older key of the collector. Default none.
    encoding: Option<Encoding>,
    /// How the client shows who it is.
    auth: Auth,
    /// TLS to the brokers. Default none.
    tls: Option<Tls>,
    /// When offsets are committed.
    autocommit: Autocommit,
    /// Which messages count as done.
    pub(super) message_marking: MessageMarking,
    /// Headers that become resource attributes `kafka.header.<name>`.
    pub(super) header_extraction: HeaderExtraction,
    /// Least bytes that a fetch waits for. Default 1.
    min_fetch_size: u32,
    /// Bytes that a fetch brings at most. Default eight times those from one partition.
    max_fetch_size: Option<u32>,
    /// Bytes that a fetch brings at most from one partition. Default 1048576.
    max_partition_fetch_size: Option<u32>,
    /// The older name of `max_partition_fetch_size`.
    default_fetch_size: Option<u32>,
    /// Longest wait for `min_fetch_size`. Default 250ms.
    max_fetch_wait: ConfigDuration,
    /// Read for compatibility, no effect: only topics in use are asked for.
    metadata: Value,
    /// Read for compatibility, no effect: no pipeline carries profiles.
    profiles: Value,
    /// Read for compatibility, no effect: the client decides when an idle connection is closed.
    conn_idle_timeout: ConfigDuration,
    /// Only without the metric that it can switch on.
    telemetry: Telemetry,
    /// Where the client is, so that brokers let it read from a replica nearby. Default unknown.
    rack_id: String,
    /// Only true: the client always asks for leaders' epochs.
    use_leader_epoch: bool,
    /// Read for compatibility, no effect, as in the collector.
    resolve_canonical_bootstrap_servers_only: bool,
    /// How long a delivery that failed waits.
    pub(super) error_backoff: ErrorBackoff,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Telemetry {
    metrics: TelemetryMetrics,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TelemetryMetrics {
    kafka_receiver_records_delay: Switch,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Switch {
    enabled: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SignalConfig {
    /// One topic.
    topic: String,
    /// Several topics; a name that starts with `^` is a regular expression.
    topics: Vec<String>,
    /// Regular expressions (POSIX, without commas) of topics that the ones above match and that are not read. They go
    /// for all signals of the receiver.
    exclude_topics: Vec<String>,
    /// The older way to write one.
    exclude_topic: String,
    encoding: Option<Encoding>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum InitialOffset {
    #[default]
    Latest,
    Earliest,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Autocommit {
    /// Only true: stored offsets are committed every `interval`.
    enable: bool,
    /// Default 1s.
    interval: ConfigDuration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MessageMarking {
    /// Only true: a message is done when it is delivered. (The collector's default is false.)
    after: bool,
    /// Whether a message is done when its delivery failed, too. Default false.
    pub(super) on_error: bool,
    /// Whether a message that nobody will ever take is done. Only true: it would hold up its partition for ever.
    on_permanent_error: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HeaderExtraction {
    /// Default false.
    pub(super) extract_headers: bool,
    /// Names of headers.
    pub(super) headers: Vec<String>,
}

/// How long a delivery that failed waits for the next attempt.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ErrorBackoff {
    /// Read for compatibility: attempts are always spaced.
    enabled: bool,
    /// First wait. Default 100ms.
    pub(super) initial_interval: ConfigDuration,
    /// Longest wait. Default 5s.
    pub(super) max_interval: ConfigDuration,
    /// By how much each wait is longer than the one before. Default 1.5.
    pub(super) multiplier: f64,
    /// How far a wait may differ from that, as a share of it. Default 0.5.
    pub(super) randomization_factor: f64,
    /// Only 0: a message is never given up for a failure that may pass.
    max_elapsed_time: ConfigDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: vec!["localhost:9092".to_owned()],
            protocol_version: "2.1.0".to_owned(),
            client_id: "otel-collector".to_owned(),
            group_id: "otel-collector".to_owned(),
            group_instance_id: String::new(),
            initial_offset: InitialOffset::Latest,
            session_timeout: ConfigDuration::from_secs(10),
            heartbeat_interval: ConfigDuration::from_secs(3),
            group_rebalance_strategy: String::new(),
            group_rebalance_strategies: Vec::new(),
            profiles: Value::Null,
            conn_idle_timeout: ConfigDuration::from_secs(540),
            telemetry: Telemetry::default(),
            traces: SignalConfig::default(),
            metrics: SignalConfig::default(),
            logs: SignalConfig::default(),
            topic: String::new(),
            encoding: None,
            auth: Auth::default(),
            autocommit: Autocommit::default(),
            message_marking: MessageMarking::default(),
            header_extraction: HeaderExtraction::default(),
            min_fetch_size: 1,
            max_fetch_size: None,
            max_partition_fetch_size: None,
            default_fetch_size: None,
            max_fetch_wait: ConfigDuration::from_millis(250),
            metadata: Value::Null,
            tls: None,
            rack_id: String::new(),
            use_leader_epoch: true,
            resolve_canonical_bootstrap_servers_only: false,
            error_backoff: ErrorBackoff::default(),
        }
    }
}

impl Default for Autocommit {
    fn default() -> Self {
        Self { enable: true, interval: ConfigDuration::from_secs(1) }
    }
}

impl Default for MessageMarking {
    fn default() -> Self {
        Self { after: true, on_error: false, on_permanent_error: true }
    }
}

impl Default for ErrorBackoff {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: ConfigDuration::from_millis(100),
            max_interval: ConfigDuration::from_secs(5),
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_elapsed_time: ConfigDuration::default(),
        }
    }
}

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: &str| Err(ConfigError::at(key, message));
        if self.group_id.is_empty() {
            return at("group_id", "want the name of a consumer group");
        }
        if !self.autocommit.enable {
            return at(
                "autocommit.enable",
                "false is not supported: offsets of delivered messages are committed",
            );
        }
        if !self.message_marking.after {
            return at("message_marking.after", "false is not supported: it loses what is being delivered");
        }
        if !self.message_marking.on_permanent_error {
            return at(
                "message_marking.on_permanent_error",
                "false is not supported: it stops a partition for ever",
            );
        }
        if !self.error_backoff.max_elapsed_time.0.is_zero() {
            return at("error_backoff.max_elapsed_time", "only 0 is supported: nothing is given up");
        }
        if !self.use_leader_epoch {
            return at("use_leader_epoch", "false is not supported: the client always uses it");
        }
        if self.telemetry.metrics.kafka_receiver_records_delay.enabled {
            return at(
                "telemetry.metrics.kafka_receiver_records_delay",
                "is not supported, leave it disabled",
            );
        }
        if self.max_fetch_size.is_some_and(|max| max < self.min_fetch_size) {
            return at("max_fetch_size", "cannot be less than min_fetch_size");
        }
        if !self.group_rebalance_strategy.is_empty() && !self.group_rebalance_strategies.is_empty() {
            return at("group_rebalance_strategy", "cannot be combined with group_rebalance_strategies");
        }
        for (signal, name, own) in self.signals() {
            own.encoding.map_or(Ok(()), |encoding| encoding.check(signal, name))?;
            own.check_exclusions(name)?;
        }
        let strategies = self.strategies();
        let is_known = |name: &&str| matches!(*name, "range" | "roundrobin" | "cooperative-sticky");
        if let Some(other) = strategies.iter().find(|name| !is_known(name)) {
            let message =
                format!("{other:?} is not supported, supported are range, roundrobin and cooperative-sticky");
            return at("group_rebalance_strategy", &message);
        }
        if strategies.len() > 1 && strategies.contains(&"cooperative-sticky") {
            let message =
                "cooperative-sticky beside others is not supported: their members cannot share a group";
            return at("group_rebalance_strategies", message);
        }
        if self.heartbeat_interval.0 >= self.session_timeout.0 {
            return at("heartbeat_interval", "must be less than session_timeout");
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

    /// What no signal's topics are, as regular expressions.
    fn exclusions(&self) -> impl Iterator<Item = &str> {
        self.signals().into_iter().flat_map(|(_, _, own)| own.exclusions())
    }

    fn strategies(&self) -> Vec<&str> {
        match (self.group_rebalance_strategies.is_empty(), self.group_rebalance_strategy.as_str()) {
            (true, "") => vec!["range"],
            (true, one) => vec![one],
            (false, _) => self.group_rebalance_strategies.iter().map(String::as_str).collect(),
        }
    }

    pub(super) fn client(&self) -> Result<ClientConfig, ConfigError> {
        let mut client = client_config(&self.brokers, &self.client_id, &self.auth, self.tls.as_ref())?;
        let ms = |duration: ConfigDuration| duration.0.as_millis().clamp(1, 86_400_000).to_string();
        let partition_bytes = self.max_partition_fetch_size.or(self.default_fetch_size).unwrap_or(1 << 20);
        let partition_bytes = partition_bytes.clamp(1024, 1_000_000_000);
        let fetch_bytes = self.max_fetch_size.unwrap_or(partition_bytes.saturating_mul(8));
        client
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "true")
            .set("enable.auto.offset.store", "false")
            .set("auto.commit.interval.ms", ms(self.autocommit.interval))
            .set("session.timeout.ms", ms(self.session_timeout))
            .set("heartbeat.interval.ms", ms(self.heartbeat_interval))
            .set("partition.assignment.strategy", self.strategies().join(","))
            .set("fetch.min.bytes", self.min_fetch_size.clamp(1, 100_000_000).to_string())
            .set("fetch.wait.max.ms", ms(self.max_fetch_wait))
            .set("max.partition.fetch.bytes", partition_bytes.to_string())
            // No less than a message may have, says the client.
            .set("fetch.max.bytes", fetch_bytes.clamp(1 << 20, 2_000_000_000).to_string())
            // What the client fetches ahead for each partition, before we have room for it.
            .set("queued.max.messages.kbytes", FETCHED_AHEAD_KIB.to_string())
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("allow.auto.create.topics", "true")
            .set(
                "auto.offset.reset",
                match self.initial_offset {
                    InitialOffset::Latest => "latest",
                    InitialOffset::Earliest => "earliest",
                },
            );
        if !self.group_instance_id.is_empty() {
            client.set("group.instance.id", &self.group_instance_id);
        }
        if !self.rack_id.is_empty() {
            client.set("client.rack", &self.rack_id);
        }
        let exclusions: Vec<_> = self.exclusions().collect();
        if !exclusions.is_empty() {
            client.set("topic.blacklist", exclusions.join(","));
        }
        Ok(client)
    }

    /// The topics of a signal and how their messages are written.
    pub(super) fn topics(
        &self,
        signal: Signal,
        is_only: bool,
    ) -> Result<(Vec<String>, Encoding), ConfigError> {
        let (own, default) = match signal {
            Signal::Metrics => (&self.metrics, "otlp_metrics"),
            Signal::Logs => (&self.logs, "otlp_logs"),
            Signal::Traces => (&self.traces, "otlp_spans"),
        };
        let mut topics = own.topics.clone();
        topics.extend(Some(own.topic.clone()).filter(|topic| !topic.is_empty()));
        if topics.is_empty() {
            let common = Some(self.topic.clone()).filter(|topic| is_only && !topic.is_empty());
            topics.push(common.unwrap_or_else(|| default.to_owned()));
        }
        let encoding = own.encoding.or(self.encoding).unwrap_or_default();
        encoding.check(signal, signal.name())?;
        Ok((topics, encoding))
    }
}

impl SignalConfig {
    fn exclusions(&self) -> impl Iterator<Item = &str> {
        let older = Some(self.exclude_topic.as_str()).filter(|one| !one.is_empty());
        older.into_iter().chain(self.exclude_topics.iter().map(String::as_str))
    }

    fn check_exclusions(&self, section: &str) -> Result<(), ConfigError> {
        let at = |message: String| Err(ConfigError::at(&format!("{section}.exclude_topics"), message));
        let has_pattern = self.topics.iter().chain(Some(&self.topic)).any(|topic| topic.starts_with('^'));
        for exclusion in self.exclusions() {
            if !has_pattern {
                return at(
                    "want a topic that is a regular expression (starts with ^) to exclude from".to_owned()
                );
            }
            if exclusion.is_empty() {
                return at("an empty expression would exclude every topic".to_owned());
            }
            if exclusion.contains(',') {
                return at(format!("{exclusion:?}: a comma in an expression is not supported"));
            }
            if let Err(error) = regex::Regex::new(exclusion) {
                return at(format!("{exclusion:?}: {error}"));
            }
        }
        Ok(())
    }
}

/// Kibibytes that the client fetches ahead for each partition.
const FETCHED_AHEAD_KIB: u32 = 4096;

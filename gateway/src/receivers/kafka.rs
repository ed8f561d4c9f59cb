//! The `kafka` receiver: reads telemetry from topics, as a member of a consumer group.
//!
//! Keys: receiver/kafkareceiver of the collector's contrib repository. Messages of a partition are delivered in their
//! order, a run of them at a time; partitions go side by side. An offset is stored, to be committed, only when the
//! pipeline has acknowledged the message and all before it (KAFKA-1): whatever dies, the next member of the group starts
//! at what was not delivered. A failure that may pass is tried again until it does, which holds the partition up; a
//! message that nobody will ever take is counted, logged and passed.

mod assignment;
mod delivery;

use std::sync::Arc;
use std::time::Duration;

use exporters::kafka::{Auth, KafkaEncoding, Tls, client_config};
use futures_util::future::BoxFuture;
use model::Signal;
use parking_lot::Mutex;
use pipelines::{
    ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, PipelineError, PipelineResult,
    ReceiverMetrics, Stability,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use runtime::{MemoryBudget, Tasks};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::assignment::Assignment;
use super::{NotSupported, Receiver, ReceiverContext, ReceiverFactory, Worker};

pub(super) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "kafka", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
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
    /// range (default), roundrobin or cooperative-sticky.
    group_rebalance_strategy: String,
    /// Several of them, the first one being preferred; goes before the single one. Default none.
    group_rebalance_strategies: Vec<String>,
    /// Traces: topics (default `otlp_spans`) and encoding (`otlp_proto`, the default, or `otlp_json`).
    traces: SignalConfig,
    /// Metrics: topics (default `otlp_metrics`) and encoding.
    metrics: SignalConfig,
    /// Logs: topics (default `otlp_logs`) and encoding.
    logs: SignalConfig,
    /// One topic for the one signal that a pipeline takes from here; the older key of the collector. Default none.
    topic: String,
    /// One encoding for all signals; the older key of the collector. Default none.
    encoding: Option<KafkaEncoding>,
    /// How the client shows who it is.
    auth: Auth,
    /// TLS to the brokers. Default none.
    tls: Option<Tls>,
    /// When offsets are committed.
    autocommit: Autocommit,
    /// Which messages count as done.
    message_marking: MessageMarking,
    /// Headers that become resource attributes `kafka.header.<name>`.
    header_extraction: HeaderExtraction,
    /// Least bytes that a fetch waits for. Default 1.
    min_fetch_size: u32,
    /// Bytes that a fetch brings at most, from one partition and in all. Default 1048576.
    default_fetch_size: u32,
    /// Longest wait for `min_fetch_size`. Default 250ms.
    max_fetch_wait: ConfigDuration,
    /// Read for compatibility, no effect: only topics in use are asked for.
    metadata: Value,
    /// Read for compatibility, no effect: no pipeline carries profiles.
    profiles: Value,
    /// Read for compatibility, no effect: the client decides when an idle connection is closed.
    conn_idle_timeout: ConfigDuration,
    telemetry: NotSupported,
    rack_id: NotSupported,
    resolve_canonical_bootstrap_servers_only: NotSupported,
    error_backoff: ErrorBackoff,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SignalConfig {
    /// One topic.
    topic: String,
    /// Several topics; a name that starts with `^` is a regular expression.
    topics: Vec<String>,
    exclude_topics: NotSupported,
    encoding: Option<KafkaEncoding>,
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
struct MessageMarking {
    /// Only true: a message is done when it is delivered. (The collector's default is false.)
    after: bool,
    /// Whether a message is done when its delivery failed, too. Default false.
    on_error: bool,
    /// Whether a message that nobody will ever take is done. Only true: it would hold up its partition for ever.
    on_permanent_error: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HeaderExtraction {
    /// Default false.
    extract_headers: bool,
    /// Names of headers.
    headers: Vec<String>,
}

/// How long a delivery that failed waits for the next attempt.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ErrorBackoff {
    /// Read for compatibility: attempts are always spaced.
    enabled: bool,
    /// First wait. Default 100ms.
    initial_interval: ConfigDuration,
    /// Longest wait. Default 5s.
    max_interval: ConfigDuration,
    /// By how much each wait is longer than the one before. Default 1.5.
    multiplier: f64,
    /// How far a wait may differ from that, as a share of it. Default 0.5.
    randomization_factor: f64,
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
            group_rebalance_strategy: "range".to_owned(),
            group_rebalance_strategies: Vec::new(),
            profiles: Value::Null,
            conn_idle_timeout: ConfigDuration::from_secs(540),
            telemetry: NotSupported,
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
            default_fetch_size: 1 << 20,
            max_fetch_wait: ConfigDuration::from_millis(250),
            metadata: Value::Null,
            tls: None,
            rack_id: NotSupported,
            resolve_canonical_bootstrap_servers_only: NotSupported,
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
    fn validate(&self) -> Result<(), ConfigError> {
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

    fn strategies(&self) -> Vec<&str> {
        match self.group_rebalance_strategies.is_empty() {
            true => vec![&self.group_rebalance_strategy],
            false => self.group_rebalance_strategies.iter().map(String::as_str).collect(),
        }
    }

    fn client(&self) -> Result<ClientConfig, ConfigError> {
        let mut client = client_config(&self.brokers, &self.client_id, &self.auth, self.tls.as_ref())?;
        let ms = |duration: ConfigDuration| duration.0.as_millis().clamp(1, 86_400_000).to_string();
        let fetch_bytes = self.default_fetch_size.clamp(1024, 1_000_000_000);
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
            .set("max.partition.fetch.bytes", fetch_bytes.to_string())
            .set(
                "fetch.max.bytes",
                fetch_bytes.saturating_mul(8).clamp(fetch_bytes, 2_000_000_000).to_string(),
            )
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
        Ok(client)
    }

    /// The topics of a signal and how their messages are written.
    fn topics(&self, signal: Signal, is_only: bool) -> (Vec<String>, KafkaEncoding) {
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
        (topics, own.encoding.or(self.encoding).unwrap_or_default())
    }
}

/// Kibibytes that the client fetches ahead for each partition.
const FETCHED_AHEAD_KIB: u32 = 4096;

fn create(config: &ComponentConfig<'_>, context: &ReceiverContext) -> Result<Receiver, ConfigError> {
    let id = config.id;
    let config: Config = config.parse()?;
    config.validate()?;
    let client = config.client()?;
    let taken: Vec<Signal> =
        Signal::ALL.into_iter().filter(|signal| context.entries.get(*signal).is_some()).collect();
    let mut routes = Vec::new();
    for signal in &taken {
        let (topics, encoding) = config.topics(*signal, taken.len() == 1);
        for topic in topics {
            if routes.iter().any(|route: &Route| route.topic == topic) {
                let message =
                    format!("topic {topic:?} has more than one signal, each needs topics of its own");
                return Err(ConfigError::at("", message));
            }
            let pattern = topic.starts_with('^').then(|| regex::Regex::new(&topic)).transpose();
            let pattern =
                pattern.map_err(|error| ConfigError::at("", format!("topic {topic:?}: {error}")))?;
            let entry = context.entries.get(*signal).map(Arc::clone);
            let entry = entry.expect("only signals with an entry are taken");
            routes.push(Route { topic, pattern, signal: *signal, encoding, entry });
        }
    }
    let headers = config.header_extraction.headers;
    let shared = Shared {
        id: id.clone(),
        routes,
        attribute_headers: if config.header_extraction.extract_headers { headers } else { Vec::new() },
        pass_failed: config.message_marking.on_error,
        backoff: pipelines::RetryConfig {
            enabled: true,
            initial_interval: config.error_backoff.initial_interval,
            randomization_factor: config.error_backoff.randomization_factor.clamp(0.0, 1.0),
            multiplier: config.error_backoff.multiplier.max(1.0),
            max_interval: config.error_backoff.max_interval,
            max_elapsed_time: ConfigDuration::default(),
        },
        metrics: ReceiverMetrics::new(id, "kafka"),
        budget: Arc::clone(&context.budget),
        tasks: context.tasks.clone(),
        stop: CancellationToken::new(),
    };
    let worker = Kafka { client, shared: Arc::new(shared), running: Mutex::default() };
    Ok(Receiver { workers: vec![Arc::new(worker)], ..Receiver::default() })
}

/// What comes from a topic and where it goes.
struct Route {
    topic: String,
    /// For a topic that is a regular expression.
    pattern: Option<regex::Regex>,
    signal: Signal,
    encoding: KafkaEncoding,
    entry: Arc<dyn Consumer>,
}

/// What the tasks of a receiver share.
struct Shared {
    id: ComponentId,
    routes: Vec<Route>,
    attribute_headers: Vec<String>,
    pass_failed: bool,
    backoff: pipelines::RetryConfig,
    metrics: ReceiverMetrics,
    budget: Arc<MemoryBudget>,
    tasks: Tasks,
    /// Nothing more is read.
    stop: CancellationToken,
}

impl Shared {
    fn route(&self, topic: &str) -> Option<&Route> {
        let matches = |route: &&Route| match &route.pattern {
            Some(pattern) => pattern.is_match(topic),
            None => route.topic == topic,
        };
        self.routes.iter().find(matches)
    }
}

type GroupMember = StreamConsumer<Assignment>;

/// A member of the group.
struct Kafka {
    client: ClientConfig,
    shared: Arc<Shared>,
    running: Mutex<Option<(Arc<GroupMember>, JoinHandle<()>)>>,
}

/// Longest wait for the last commit.
const COMMIT_WAIT: Duration = Duration::from_secs(10);

impl Worker for Kafka {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            let shared = &self.shared;
            let failed = |error: rdkafka::error::KafkaError| {
                PipelineError::new(model::ErrorKind::Invalid, format!("receiver {}: {error}", shared.id))
            };
            let member: GroupMember =
                self.client.create_with_context(Assignment::new(&shared.id)).map_err(failed)?;
            let topics: Vec<&str> = shared.routes.iter().map(|route| route.topic.as_str()).collect();
            member.subscribe(&topics).map_err(failed)?;
            let member = Arc::new(member);
            let run = delivery::run(Arc::clone(shared), Arc::clone(&member));
            let task = shared.tasks.spawn("kafka receiver", run);
            *self.running.lock() = Some((member, task));
            Ok(())
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.stop.cancel();
            let Some((member, task)) = self.running.lock().take() else { return };
            // It ends when the deliveries under way are answered.
            let _ = task.await;
            let leave = self.shared.tasks.spawn_blocking("leave kafka group", move || {
                let committed = member.commit_consumer_state(CommitMode::Sync);
                // Leaves the group, so that others need not wait for the session to end.
                drop(member);
                committed
            });
            match tokio::time::timeout(COMMIT_WAIT, leave).await {
                // Nothing was delivered since the last commit.
                Ok(Ok(
                    Ok(())
                    | Err(rdkafka::error::KafkaError::ConsumerCommit(
                        rdkafka::error::RDKafkaErrorCode::NoOffset,
                    )),
                )) => {}
                Ok(Ok(Err(error))) => {
                    tracing::warn!(receiver = %self.shared.id, %error, "the last offsets are not committed");
                }
                _ => tracing::warn!(receiver = %self.shared.id, "the last offsets are perhaps not committed"),
            }
        })
    }
}

#[cfg(test)]
mod tests;

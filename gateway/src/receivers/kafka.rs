//! The `kafka` receiver: reads telemetry from topics, as a member of a consumer group.
//!
//! Keys: receiver/kafkareceiver of the collector's contrib repository. Messages of a partition are delivered in their
//! order, a run of them at a time; partitions go side by side. An offset is stored, to be committed, only when the
//! pipeline has acknowledged the message and all before it (KAFKA-1): whatever dies, the next member of the group starts
//! at what was not delivered. A failure that may pass is tried again until it does, which holds the partition up; a
//! message that nobody will ever take is counted, logged and passed.

mod assignment;
mod config;
mod delivery;
mod encoding;

use std::sync::Arc;
use std::time::Duration;

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
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::assignment::Assignment;
use self::config::Config;
use self::encoding::Encoding;
use super::{Receiver, ReceiverContext, ReceiverFactory, Worker};

pub(super) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "kafka", signals: &Signal::ALL, stability: Stability::Beta, create };

fn create(config: &ComponentConfig<'_>, context: &ReceiverContext) -> Result<Receiver, ConfigError> {
    let id = config.id;
    let config: Config = config.parse()?;
    config.validate()?;
    let client = config.client()?;
    let taken: Vec<Signal> =
        Signal::ALL.into_iter().filter(|signal| context.entries.get(*signal).is_some()).collect();
    let mut routes = Vec::new();
    for signal in &taken {
        let (topics, encoding) = config.topics(*signal, taken.len() == 1)?;
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
    encoding: Encoding,
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
            let member: GroupMember = self
                .client
                .create_with_context(Assignment::new(&shared.id, shared.stop.clone()))
                .map_err(failed)?;
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

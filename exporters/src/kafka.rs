//! `kafka`: writes telemetry to topics of Apache Kafka, one message for each batch or for each of its parts.
//!
//! Keys: exporter/kafkaexporter of the collector's contrib repository. A batch is delivered when the brokers have
//! acknowledged all its messages; by default all in-sync replicas do (`required_acks: -1`), and the producer is
//! idempotent, so that the client's own retries store nothing twice. A batch of a tenant other than the default one
//! carries it in the header `x-scope-orgid`. The client is librdkafka, with OpenSSL.

mod client;
mod client_log;
mod config;
mod messages;
mod resource_key;
mod round;
mod security;
mod topics;

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, PipelineError, PipelineResult, Stability, off_thread, split,
};
use rdkafka::config::FromClientConfigAndContext;
use runtime::Tasks;
use tokio_util::sync::CancellationToken;

use self::client::{Context, failure, is_fatal, send};
pub use self::client::{KafkaEncoding, client_config};
pub use self::client_log::ClientLog;
use self::config::{Config, Route};
use self::messages::{Message, Recipe, messages};
pub use self::security::{Auth, Tls};
use self::topics::Topics;
use crate::Stores;
use crate::client::{Attempts, Forwarder, SendingConfig, not_started, permanent};

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "kafka",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Beta,
    create,
};

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
        goes_round: config.goes_round(),
        topics: Topics::default(),
        producer: Mutex::default(),
        end: CancellationToken::new(),
        tasks: context.tasks.clone(),
    };
    Forwarder::create(id, settings, attempts, CancellationToken::new(), context)
}

/// A client whose threads are joined away from the async ones, whoever has it last.
struct Client {
    producer: Option<client::Producer>,
    tasks: Tasks,
}

type Producer = Arc<Client>;

impl Client {
    fn producer(&self) -> &client::Producer {
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
    goes_round: bool,
    /// Those that senders chose.
    topics: Topics,
    /// Made at the start, and again after an error that the idempotent producer cannot go on from.
    producer: Mutex<Option<Producer>>,
    /// Nothing more is sent.
    end: CancellationToken,
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
        let named = route.topic_metadata.as_deref().and_then(|key| first_value(&batch, key));
        let sent = made.iter().map(|message| {
            // What the request names goes before what its data name.
            let chosen = named.or(message.topic.as_deref());
            self.send_message(&producer, chosen, &route.topic, message, &headers)
        });
        let mut report = AppendReport { stored: items, rejected: Vec::new() };
        for (outcome, message) in join_all(sent).await.into_iter().zip(&made) {
            let Err(failure) = outcome else { continue };
            if failure.kind().is_retryable() {
                return Err(failure);
            }
            // The rest of the batch is stored; sending it again would double it.
            report.stored -= message.items.min(report.stored);
            report.reject("refused_by_broker", message.items, || failure.to_string());
        }
        match report.stored {
            0 if items > 0 => Err(permanent(report.rejected.swap_remove(0).message)),
            _ => Ok(report),
        }
    }

    /// Sends a message to the topic that was chosen for it, or to the signal's.
    async fn send_message(
        &self,
        producer: &Producer,
        chosen: Option<&str>,
        default: &str,
        message: &Message,
        headers: &[(String, String)],
    ) -> PipelineResult<()> {
        if let Some(topic) = chosen {
            let checked = self.topics.check(topic);
            checked.map_err(|fault| permanent(format!("exporter {}: topic {fault}", self.id)))?;
        }
        let topic = chosen.unwrap_or(default);
        let Message { key, payload, .. } = message;
        let sent = send(producer.producer(), topic, key.as_deref(), payload, headers).await;
        sent.map_err(|error| {
            if is_fatal(&error) {
                self.replace(producer);
            }
            failure(&self.id, topic, &error)
        })
    }

    /// The messages of a batch.
    async fn messages(&self, batch: &Batch, route: &Route) -> PipelineResult<Vec<Message>> {
        let (payload, items) = (batch.payload.clone(), batch.items);
        let key = route.key_metadata.as_deref().and_then(|key| first_value(batch, key));
        let recipe = Recipe {
            signal: batch.signal,
            encoding: route.encoding,
            keys: route.keys,
            key: key.map(|key| key.as_bytes().to_vec()),
            topic_attribute: route.topic_attribute.clone(),
            bytes_max: self.message_bytes_max,
        };
        let is_quick = recipe.is_plain(&payload) || payload.len() <= INLINE_BYTES_MAX;
        let make = move || {
            let made = messages(&recipe, &payload, items);
            made.map_err(|error| permanent(format!("cannot encode the batch: {error}")))
        };
        match is_quick {
            true => make(),
            false => off_thread(&self.tasks, &self.id, "making messages", make).await,
        }
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
        let log = ClientLog::of_exporter(&self.id, self.end.clone());
        let context = Context::new(log, self.goes_round);
        let made = client::Producer::from_config_and_context(&self.client_config, context);
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

/// The first value of this name that the sender gave, unless it is empty.
fn first_value<'a>(batch: &'a Batch, key: &str) -> Option<&'a str> {
    let named = batch.client.metadata.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
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
            self.end.cancel();
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

//! The Kafka client that the exporter and the receiver share: its settings, its log, and what its errors mean.

use std::time::Duration;

use model::ErrorKind;
use pipelines::{ComponentId, ConfigError, PipelineError};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::client_log::ClientLog;
use super::round::Round;
use super::security::{Auth, Tls, secure};

/// How a batch is written in a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum KafkaEncoding {
    /// The protobuf message `Export…ServiceRequest`.
    #[default]
    OtlpProto,
    /// The same as OTLP/JSON.
    OtlpJson,
}

impl TryFrom<String> for KafkaEncoding {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "otlp_proto" => Ok(Self::OtlpProto),
            "otlp_json" => Ok(Self::OtlpJson),
            _ => {
                Err(format!("the encoding {name:?} is not supported, supported are otlp_proto and otlp_json"))
            }
        }
    }
}

/// Settings of a client for these brokers.
pub fn client_config(
    brokers: &[String],
    client_id: &str,
    auth: &Auth,
    tls: Option<&Tls>,
) -> Result<ClientConfig, ConfigError> {
    if brokers.is_empty() || brokers.iter().any(|broker| broker.trim().is_empty()) {
        return Err(ConfigError::at("brokers", "want host:port of at least one broker"));
    }
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers.join(","))
        .set("client.id", client_id)
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Info);
    secure(&mut config, auth, tls)?;
    Ok(config)
}

/// What the client calls back: for its log, for what became of a message, and for the partition of one.
pub(super) struct Context {
    log: ClientLog,
    round: Option<Round>,
}

impl Context {
    /// With `goes_round`, messages go to one partition after the other.
    pub(super) fn new(log: ClientLog, goes_round: bool) -> Self {
        Self { log, round: goes_round.then(Round::default) }
    }
}

impl ProducerContext<Round> for Context {
    type DeliveryOpaque = Box<oneshot::Sender<KafkaResult<()>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let result = result.as_ref().map(|_message| ()).map_err(|(error, _message)| error.clone());
        // Nobody waits when the attempt was given up.
        let _ = told.send(result);
    }

    fn get_custom_partitioner(&self) -> Option<&Round> {
        self.round.as_ref()
    }
}

/// A producer with a thread of its own.
pub(super) type Producer = ThreadedProducer<Context, Round>;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(&error, reason);
    }
}

/// How long to wait for room in the client's queue before it is asked again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(10);

/// Sends a message and waits for the brokers' acknowledgement, at most for the client's `message.timeout.ms`.
pub(super) async fn send(
    producer: &Producer,
    topic: &str,
    key: Option<&[u8]>,
    payload: &[u8],
    headers: &[(String, String)],
) -> KafkaResult<()> {
    let (told, answer) = oneshot::channel();
    let mut record: BaseRecord<'_, [u8], [u8], _> =
        BaseRecord::with_opaque_to(topic, Box::new(told)).payload(payload);
    record.key = key;
    if !headers.is_empty() {
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (key, value) in headers {
            owned = owned.insert(Header { key, value: Some(value) });
        }
        record = record.headers(owned);
    }
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                tokio::time::sleep(QUEUE_FULL_WAIT).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
    // An error here: the producer went away with the message.
    answer.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Whether the producer cannot go on.
pub(super) fn is_fatal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::InvalidProducerEpoch
                | RDKafkaErrorCode::OutOfOrderSequenceNumber
                | RDKafkaErrorCode::UnknownProducerId
        )
    )
}

/// What a failed message means for its batch: what the message itself is at fault for is not tried again.
pub(super) fn failure(id: &ComponentId, topic: &str, error: &KafkaError) -> PipelineError {
    let kind = match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::PolicyViolation,
        ) => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    PipelineError::new(kind, format!("exporter {id}: topic {topic}: {error}"))
}

//! The Kafka client that the exporter and the receiver share: its settings, its log, and what its errors mean.

use std::time::Duration;

use model::ErrorKind;
use pipelines::{ComponentId, ConfigError, PipelineError};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::Deserialize;

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

/// Passes the client's log on.
#[derive(Clone)]
pub(super) struct Logging(ComponentId);

impl Logging {
    pub(super) fn new(id: &ComponentId) -> Self {
        Self(id.clone())
    }
}

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(exporter = %self.0, facility, message, "kafka client");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::warn!(exporter = %self.0, facility, message, "kafka client");
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(exporter = %self.0, facility, message, "kafka client");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(exporter = %self.0, %error, reason, "kafka client");
    }
}

/// How long to wait for room in the client's queue before it is asked again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(10);

/// Sends a message and waits for the brokers' acknowledgement, at most for the client's `message.timeout.ms`.
pub(super) async fn send(
    producer: &FutureProducer<Logging>,
    topic: &str,
    key: Option<&[u8]>,
    payload: &[u8],
    headers: Vec<(String, String)>,
) -> KafkaResult<()> {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (key, value) in &headers {
        owned = owned.insert(Header { key, value: Some(value) });
    }
    let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).payload(payload);
    record.key = key;
    if !headers.is_empty() {
        record = record.headers(owned);
    }
    let delivery = loop {
        match producer.send_result(record) {
            Ok(delivery) => break delivery,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                tokio::time::sleep(QUEUE_FULL_WAIT).await;
            }
            Err((error, _)) => return Err(error),
        }
    };
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        // The producer went away with the message.
        Err(_) => Err(KafkaError::Canceled),
    }
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

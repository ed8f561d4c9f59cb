//! `sending_queue` of an exporter: keys, defaults and limits of the collector's exporterhelper.

use std::time::Duration;

use bytes::Bytes;
use model::Signal;
use serde::Deserialize;
use serde_json::Value;
use wire::otlp::PartsRoom;

use super::RetryConfig;
use super::batcher::split_bytes;
use crate::{Batch, ConfigDuration, ConfigError, PipelineError, PipelineResult};

/// What a queue's size counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Sizer {
    /// Batches.
    #[default]
    Requests,
    /// Points, log records, spans.
    Items,
    /// Bytes of the payload.
    Bytes,
}

/// `sending_queue` of an exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Whether batches wait in a queue; without it the sender waits for the destination. Default true.
    pub enabled: bool,
    /// Tasks that deliver at the same time. Default 10.
    pub num_consumers: usize,
    /// Capacity, in the unit of `sizer`, of what waits and is being delivered. Default 1000.
    pub queue_size: u64,
    /// Unit of `queue_size`: requests, items or bytes. Default requests.
    pub sizer: Sizer,
    /// Whether a sender waits for room (true) or is refused with a retry hint (false) when the queue is full.
    /// Default false.
    pub block_on_overflow: bool,
    /// Whether a sender waits for the outcome of the delivery. Default false; not with `storage`.
    pub wait_for_result: bool,
    /// Id of a `file_storage` extension that keeps the queue on disk. Default none: in memory.
    pub storage: Option<String>,
    /// Merges and splits batches behind the queue. Default off.
    #[serde(deserialize_with = "batch_section")]
    pub batch: Option<QueueBatchConfig>,
}

/// `sending_queue.batch` of an exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueBatchConfig {
    /// A batch leaves after this time whatever its size. Default 200ms.
    pub flush_timeout: ConfigDuration,
    /// A batch of this size leaves at once, in the unit of `sizer`. Default 8192.
    pub min_size: u64,
    /// Largest batch; what is larger is split. 0 = no limit. Default 0.
    pub max_size: u64,
    /// Unit of the sizes: items or bytes. Default items.
    pub sizer: Sizer,
    /// What batches are kept apart by.
    pub partition: PartitionConfig,
}

/// `sending_queue.batch.partition` of an exporter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionConfig {
    /// Names of client metadata whose values keep batches apart. Default none.
    pub metadata_keys: Vec<String>,
}

/// A section that is there and empty asks for batching with all defaults, as in the collector.
fn batch_section<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<QueueBatchConfig>, D::Error> {
    let section = Value::deserialize(deserializer)?;
    if section.is_null() {
        return Ok(Some(QueueBatchConfig::default()));
    }
    serde_json::from_value(section).map(Some).map_err(serde::de::Error::custom)
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            num_consumers: 10,
            queue_size: 1000,
            sizer: Sizer::Requests,
            block_on_overflow: false,
            wait_for_result: false,
            storage: None,
            batch: None,
        }
    }
}

impl Default for QueueBatchConfig {
    fn default() -> Self {
        Self {
            flush_timeout: ConfigDuration::from_millis(200),
            min_size: 8192,
            max_size: 0,
            sizer: Sizer::Items,
            partition: PartitionConfig::default(),
        }
    }
}

/// Most delivering tasks of one exporter: each may hold a connection and a batch.
const NUM_CONSUMERS_MAX: usize = 1000;

impl QueueConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: String| Err(ConfigError::at(&format!("sending_queue.{key}"), message));
        if !self.enabled {
            return Ok(());
        }
        if self.queue_size == 0 {
            return at("queue_size", "`queue_size` must be positive".to_owned());
        }
        if self.num_consumers == 0 || self.num_consumers > NUM_CONSUMERS_MAX {
            return at("num_consumers", format!("`num_consumers` must be between 1 and {NUM_CONSUMERS_MAX}"));
        }
        if self.storage.is_some() && self.wait_for_result {
            let message =
                "`wait_for_result` is not supported with a persistent queue configured with `storage`";
            return at("wait_for_result", message.to_owned());
        }
        match &self.batch {
            Some(batch) => batch.validate(self),
            None => Ok(()),
        }
    }
}

impl QueueBatchConfig {
    fn validate(&self, queue: &QueueConfig) -> Result<(), ConfigError> {
        let at = |key: &str, message: &str| {
            Err(ConfigError::at(&format!("sending_queue.batch.{key}"), message.to_owned()))
        };
        if self.sizer == Sizer::Requests {
            return at("sizer", "`batch` supports only `items` or `bytes` sizer");
        }
        if self.flush_timeout.0.is_zero() {
            return at("flush_timeout", "`flush_timeout` must be positive");
        }
        if self.max_size > 0 && self.max_size < self.min_size {
            return at("max_size", "`max_size` must be greater or equal to `min_size`");
        }
        if queue.sizer == self.sizer && self.min_size > queue.queue_size {
            return at("min_size", "`min_size` must be less than or equal to `queue_size`");
        }
        Ok(())
    }
}

impl Sizer {
    /// The size of a batch in this unit.
    pub(crate) fn size(self, batch: &Batch) -> u64 {
        match self {
            Self::Requests => 1,
            Self::Items => batch.items,
            Self::Bytes => batch.payload.len() as u64,
        }
    }

    /// Parts of a payload of at most `max` in this unit, each with its items: as small as that, or single items. A payload
    /// of too many parts stays whole where bytes count.
    pub(crate) fn split(
        self,
        signal: Signal,
        payload: &Bytes,
        items: u64,
        max: u64,
    ) -> PipelineResult<Vec<(Bytes, u64)>> {
        match self {
            Self::Requests => Ok(vec![(payload.clone(), items)]),
            Self::Items => wire::otlp::split(signal, payload, max).map_err(PipelineError::from),
            Self::Bytes => {
                let mut room = PartsRoom::of(payload.len());
                let parts = split_bytes(signal, payload, items, max, &mut room);
                Ok(parts.unwrap_or_else(|| vec![(payload.clone(), items)]))
            }
        }
    }
}

/// How an exporter sends.
#[derive(Clone, Debug)]
pub struct SendingSettings {
    /// The queue.
    pub queue: QueueConfig,
    /// Retries.
    pub retry: RetryConfig,
    /// Longest attempt; zero = no limit.
    pub timeout: Duration,
}

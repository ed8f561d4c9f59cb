//! The partitions that a member of a consumer group has now, and the client's log.
//!
//! A rebalance takes partitions away in the middle of a poll; what waits for them is dropped, because their next owner
//! reads it again from the last committed offset.

use std::collections::VecDeque;
use std::sync::Arc;

use exporters::kafka::ClientLog;
use hashbrown::HashMap;
use parking_lot::Mutex;
use pipelines::ComponentId;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Topic and partition.
pub(super) type Place = (String, i32);

/// What waits for one partition's delivery.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) waiting: Mutex<Waiting>,
    /// Something came, or the partition was taken away.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) messages: VecDeque<OwnedMessage>,
    pub(super) bytes: usize,
    /// The client was asked to fetch no more.
    pub(super) is_paused: bool,
    /// The partition belongs to somebody else.
    pub(super) is_gone: bool,
}

/// The context of a group member.
pub(super) struct Assignment {
    id: ComponentId,
    pub(super) log: ClientLog,
    partitions: Mutex<HashMap<Place, Arc<Partition>>>,
}

impl Assignment {
    /// `stop` is set when the receiver is to end.
    pub(super) fn new(id: &ComponentId, stop: CancellationToken) -> Self {
        Self { id: id.clone(), log: ClientLog::of_receiver(id, stop), partitions: Mutex::default() }
    }

    /// The partition's queue, and whether it was made by this call.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> (Arc<Partition>, bool) {
        let mut partitions = self.partitions.lock();
        let mut is_new = false;
        let place = (topic.to_owned(), partition);
        let queue = partitions.entry(place).or_insert_with(|| {
            is_new = true;
            Arc::default()
        });
        (Arc::clone(queue), is_new)
    }

    fn take_away(&self, lost: &TopicPartitionList) {
        let mut partitions = self.partitions.lock();
        for element in lost.elements() {
            if let Some(queue) = partitions.remove(&(element.topic().to_owned(), element.partition())) {
                let mut waiting = queue.waiting.lock();
                waiting.is_gone = true;
                waiting.messages.clear();
                waiting.bytes = 0;
                drop(waiting);
                queue.changed.notify_waiters();
            }
        }
    }
}

impl ClientContext for Assignment {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(&error, reason);
    }
}

impl ConsumerContext for Assignment {
    fn pre_rebalance(&self, _member: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(assigned) => {
                tracing::info!(receiver = %self.id, partitions = assigned.count(), "partitions assigned");
            }
            Rebalance::Revoke(lost) => {
                tracing::info!(receiver = %self.id, partitions = lost.count(), "partitions taken away");
                self.take_away(lost);
            }
            Rebalance::Error(error) => tracing::warn!(receiver = %self.id, %error, "rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(receiver = %self.id, %error, "offsets were not committed, trying again");
        }
    }
}

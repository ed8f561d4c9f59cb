//! Messages without a key go from partition to partition (`record_partitioner: {round_robin: {}}`).
//!
//! A partition without a leader would hold its messages up and is passed over. The client knows of a topic's partitions
//! before it has a connection to the leader of each, and gives the messages that waited for the topic their partitions
//! just then: they must not all go to the one that came first. So a partition that had none yet is taken for some time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rdkafka::producer::Partitioner;

/// How long after a topic's first message a partition that never had a leader's connection is taken like the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Goes from partition to partition.
#[derive(Default)]
pub(super) struct Round {
    /// The next partition's number. One for all topics: each gets them in turn as far as messages are alike.
    next: AtomicU32,
    topics: Mutex<HashMap<String, Topic>>,
}

struct Topic {
    /// When its first message was given a partition.
    since: Instant,
    /// Of each partition, whether it had a leader's connection at some time.
    led: Vec<bool>,
}

impl Partitioner for Round {
    fn partition(
        &self,
        topic: &str,
        _key: Option<&[u8]>,
        partitions: i32,
        is_available: impl Fn(i32) -> bool,
    ) -> i32 {
        self.partition_at(Instant::now(), topic, partitions, is_available)
    }
}

impl Round {
    fn partition_at(
        &self,
        now: Instant,
        topic: &str,
        partitions: i32,
        is_available: impl Fn(i32) -> bool,
    ) -> i32 {
        let count = partitions.max(1).cast_unsigned();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % count;
        let mut topics = self.topics.lock();
        let topic = topics.entry_ref(topic).or_insert_with(|| Topic { since: now, led: Vec::new() });
        topic.led.resize(count as usize, false);
        let is_new = now.duration_since(topic.since) < PATIENCE;
        for partition in (0..count).map(|step| (first + step) % count) {
            let led = &mut topic.led[partition as usize];
            let available = is_available(partition.cast_signed());
            *led |= available;
            if available || (is_new && !*led) {
                return partition.cast_signed();
            }
        }
        first.cast_signed()
    }
}

#[cfg(test)]
mod tests;

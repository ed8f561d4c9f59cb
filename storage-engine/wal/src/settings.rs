//! How a log behaves.

use std::time::Duration;

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After an fsync that is shared by all records that wait for one; survives a power loss.
    #[default]
    Group,
    /// Like `Group` without any wait for company.
    Sync,
    /// After the write; an fsync follows within [`WalSettings::async_wait`]. Survives kill -9, and a power loss up to
    /// that time.
    Async,
}

/// Set by the store that owns the log.
#[derive(Clone, Debug)]
pub struct WalSettings {
    /// First part of the log's metric names, e.g. `prometheus_tsdb`.
    pub metric_prefix: &'static str,
    /// When a record counts as written.
    pub durability: Durability,
    /// The first record appended gets at least this number, for a store that remembers numbers outside the log.
    pub sequence_min: u64,
    /// `Group`: shortest time between two fsyncs, so the longest that a record waits for company.
    pub group_wait: Duration,
    /// `Async`: longest time between a write and its fsync.
    pub async_wait: Duration,
    /// A segment that reaches this size is followed by a new one.
    pub segment_bytes_max: u64,
    /// Bytes that may wait for the disk; past it `admit` waits.
    pub queue_bytes_max: usize,
    /// Records of at least this size are compressed with LZ4 if that makes them smaller; `usize::MAX` for never.
    pub compress_bytes_min: usize,
    /// No segment is started with less than this free on the disk: what is left is for the rest of the system, and
    /// for getting rid of data. More than `segment_bytes_max`, so that a started segment finds room.
    pub free_bytes_min: u64,
    /// Time between attempts to start a new segment after a failed write.
    pub retry_wait: Duration,
    /// The writer gives its thread back when nothing came for so long; the next record starts another.
    pub idle_wait: Duration,
}

/// A record larger than this is refused, and one that claims to be is damage.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

impl Default for WalSettings {
    fn default() -> Self {
        Self {
            metric_prefix: "tidegate",
            durability: Durability::Group,
            sequence_min: 0,
            group_wait: Duration::from_millis(2),
            async_wait: Duration::from_millis(500),
            segment_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            compress_bytes_min: usize::MAX,
            free_bytes_min: 256 << 20,
            retry_wait: Duration::from_millis(500),
            idle_wait: Duration::from_secs(30),
        }
    }
}

//! What a log tells about itself. Names that Prometheus has too mean the same here.

use metrics::{Counter, Histogram};

#[derive(Clone)]
pub(crate) struct WalMetrics {
    pub(crate) fsync_seconds: Histogram,
    pub(crate) writes_failed: Counter,
    pub(crate) written_bytes: Counter,
    pub(crate) corruptions: Counter,
    pub(crate) torn_bytes: Counter,
    pub(crate) truncations: Counter,
}

impl WalMetrics {
    pub(crate) fn new(prefix: &str) -> Self {
        let counter = |name: &str| metrics::counter!(format!("{prefix}_wal_{name}"));
        Self {
            fsync_seconds: metrics::histogram!(format!("{prefix}_wal_fsync_duration_seconds")),
            writes_failed: counter("writes_failed_total"),
            written_bytes: counter("written_bytes_total"),
            corruptions: counter("corruptions_total"),
            torn_bytes: counter("torn_bytes_total"),
            truncations: counter("truncations_total"),
        }
    }
}

//! Metrics of the log store.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles, looked up once.
#[derive(Clone)]
pub(crate) struct LogStoreMetrics {
    pub(crate) appended_entries: Counter,
    pub(crate) appended_bytes: Counter,
    pub(crate) rejected_entries: Counter,
    pub(crate) throttled_appends: Counter,
    pub(crate) memory_bytes: Gauge,
    pub(crate) files: Gauge,
    pub(crate) flushes: Counter,
    pub(crate) flush_failures: Counter,
    pub(crate) flush_seconds: Histogram,
    pub(crate) flushed_bytes: Counter,
    pub(crate) file_bytes_written: Counter,
    pub(crate) expired_files: Counter,
    pub(crate) rewritten_files: Counter,
    pub(crate) removed_entries: Counter,
    pub(crate) compactions: Counter,
    pub(crate) compaction_failures: Counter,
    pub(crate) compacted_files: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) replayed_entries: Counter,
}

impl LogStoreMetrics {
    pub(crate) fn new() -> Self {
        Self {
            appended_entries: counter!("tidegate_log_store_appended_entries_total"),
            appended_bytes: counter!("tidegate_log_store_appended_bytes_total"),
            rejected_entries: counter!("tidegate_log_store_rejected_entries_total"),
            throttled_appends: counter!("tidegate_log_store_throttled_appends_total"),
            memory_bytes: gauge!("tidegate_log_store_memory_bytes"),
            files: gauge!("tidegate_log_store_files"),
            flushes: counter!("tidegate_log_store_flushes_total"),
            flush_failures: counter!("tidegate_log_store_flush_failures_total"),
            flush_seconds: histogram!("tidegate_log_store_flush_duration_seconds"),
            flushed_bytes: counter!("tidegate_log_store_flushed_bytes_total"),
            file_bytes_written: counter!("tidegate_log_store_file_bytes_written_total"),
            compactions: counter!("tidegate_log_store_compactions_total"),
            compaction_failures: counter!("tidegate_log_store_compaction_failures_total"),
            compacted_files: counter!("tidegate_log_store_compacted_files_total"),
            rewritten_files: counter!("tidegate_log_store_rewritten_files_total"),
            removed_entries: counter!("tidegate_log_store_removed_entries_total"),
            expired_files: counter!("tidegate_log_store_expired_files_total"),
            quarantined: counter!("tidegate_log_store_quarantined_total"),
            replayed_entries: counter!("tidegate_log_store_replayed_entries_total"),
        }
    }
}

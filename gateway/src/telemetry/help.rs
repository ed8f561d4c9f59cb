//! What each metric of the process means: the HELP text of its family.
//!
//! Names and texts `otelcol_*` are the collector's (documentation.md of receiverhelper, processorhelper, exporterhelper and
//! service); a family that is not listed here is shown without HELP.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use model::Signal;

/// Families that come once for each signal: the name without its items, and a text in which `{}` is the items.
const BY_SIGNAL: [(&str, &str); 7] = [
    ("otelcol_receiver_accepted", "Number of {} successfully pushed into the pipeline."),
    ("otelcol_receiver_refused", "Number of {} that could not be pushed into the pipeline."),
    (
        "otelcol_processor_memory_limiter_accepted",
        "Number of {} successfully pushed into the next component in the pipeline.",
    ),
    (
        "otelcol_processor_memory_limiter_refused",
        "Number of {} that were rejected by the next component in the pipeline.",
    ),
    ("otelcol_exporter_sent", "Number of {} successfully sent to destination."),
    ("otelcol_exporter_send_failed", "Number of {} in failed attempts to send to destination."),
    ("otelcol_exporter_enqueue_failed", "Number of {} failed to be added to the sending queue."),
];

const COUNTERS: [(&str, &str); 53] = [
    ("otelcol_processor_incoming_items", "Number of items passed to the processor."),
    ("otelcol_processor_outgoing_items", "Number of items emitted from the processor."),
    (
        "otelcol_processor_batch_batch_size_trigger_send",
        "Number of times the batch was sent due to a size trigger.",
    ),
    (
        "otelcol_processor_batch_timeout_trigger_send",
        "Number of times the batch was sent due to a timeout trigger.",
    ),
    ("prometheus_tsdb_head_samples_appended_total", "Total number of appended samples."),
    (
        "prometheus_tsdb_head_out_of_order_samples_appended_total",
        "Total number of appended out of order samples.",
    ),
    ("prometheus_tsdb_head_series_created_total", "Total number of series created in the head."),
    ("prometheus_tsdb_head_series_removed_total", "Total number of series removed in the head."),
    ("prometheus_tsdb_head_chunks_created_total", "Total number of chunks created in the head."),
    ("prometheus_tsdb_exemplar_exemplars_appended_total", "Total number of appended exemplars."),
    (
        "prometheus_tsdb_compactions_failed_total",
        "Total number of compactions that failed for the partition.",
    ),
    ("prometheus_tsdb_checkpoint_creations_total", "Total number of checkpoint creations attempted."),
    (
        "prometheus_tsdb_checkpoint_creations_failed_total",
        "Total number of checkpoint creations that failed.",
    ),
    ("tidegate_exporter_rejected_items_total", "Items that a destination refused for good."),
    ("tidegate_tsdb_samples_rejected_total", "Samples that the metrics store refused, by reason."),
    ("tidegate_tsdb_exemplars_rejected_total", "Exemplars that the metrics store refused, by reason."),
    ("tidegate_log_store_appended_entries_total", "Log entries that were stored."),
    ("tidegate_log_store_appended_bytes_total", "Bytes of log entries that were stored."),
    ("tidegate_log_store_rejected_entries_total", "Log entries that the log store refused, by reason."),
    ("tidegate_log_store_flushes_total", "Files that the log store wrote."),
    ("tidegate_log_store_flush_failures_total", "Files that the log store could not write."),
    (
        "tidegate_log_store_rewritten_files_total",
        "Files that the log store wrote anew without lines that had to go.",
    ),
    (
        "tidegate_log_store_removed_entries_total",
        "Entries that the log store took out of files: deleted ones and those past their retention.",
    ),
    ("tidegate_log_store_expired_files_total", "Files that the log store removed because of their age."),
    ("tidegate_log_store_compactions_total", "Merges of small files that the log store made."),
    ("tidegate_log_store_compaction_failures_total", "Merges of small files that failed."),
    ("tidegate_log_store_compacted_files_total", "Files that the log store merged into larger ones."),
    (
        "tidegate_log_store_manifest_conflicts_total",
        "Changes of the log store's files that had to be made again because another process was first.",
    ),
    (
        "tidegate_log_store_garbage_files_total",
        "Files that nobody needs any more and that the log store removed from its bucket.",
    ),
    ("tidegate_log_store_page_requests_total", "Pages of log files in the bucket that were asked for."),
    ("tidegate_log_store_page_hits_total", "Pages of log files in the bucket that were in memory."),
    ("tidegate_log_store_quarantined_total", "Damaged files that the log store set aside."),
    ("prometheus_tsdb_wal_corruptions_total", "Total number of WAL corruptions."),
    (
        "prometheus_tsdb_wal_torn_bytes_total",
        "Bytes at the end of the WAL that were cut off because they were not whole.",
    ),
    ("prometheus_tsdb_wal_truncations_total", "Total number of WAL truncations attempted."),
    ("prometheus_tsdb_wal_writes_failed_total", "Total number of WAL writes that failed."),
    ("prometheus_tsdb_wal_written_bytes_total", "Bytes written to the WAL."),
    ("tidegate_log_store_wal_corruptions_total", "Damaged places in the log store's WAL."),
    (
        "tidegate_log_store_wal_torn_bytes_total",
        "Bytes at the end of the log store's WAL that were cut off because they were not whole.",
    ),
    ("tidegate_log_store_wal_truncations_total", "Removals of segments of the log store's WAL."),
    ("tidegate_log_store_wal_writes_failed_total", "Writes to the log store's WAL that failed."),
    ("tidegate_log_store_wal_written_bytes_total", "Bytes written to the log store's WAL."),
    ("tidegate_log_store_file_bytes_written_total", "Bytes of files that the log store wrote."),
    ("tidegate_log_store_flushed_bytes_total", "Bytes of log lines that went from memory into files."),
    (
        "tidegate_log_store_replayed_entries_total",
        "Log entries that were read back from the WAL at the start.",
    ),
    (
        "tidegate_log_store_throttled_appends_total",
        "Appends that the log store refused because its memory was full.",
    ),
    ("tidegate_tsdb_checkpoint_corruptions_total", "Damaged checkpoints of the metrics store."),
    (
        "tidegate_tsdb_head_chunk_writes_failed_total",
        "Failed writes of closed chunks to scratch files; the chunks stay in memory.",
    ),
    ("tidegate_tsdb_head_chunks_lost_total", "Closed chunks that neither a scratch file nor the log had."),
    ("tidegate_tsdb_head_chunks_mended_total", "Closed chunks that were made again from the log."),
    (
        "tidegate_tsdb_head_chunks_unreadable_total",
        "Closed chunks that could not be read from their scratch files.",
    ),
    ("tidegate_tsdb_replay_unknown_samples_total", "Samples in the WAL whose series is not known."),
    (
        "tidegate_exporter_queue_unreadable_batches_total",
        "Batches of a queue on disk that could not be read.",
    ),
];

const GAUGES: [(&str, &str); 21] = [
    ("otelcol_exporter_queue_size", "Current size of the sending queue."),
    ("otelcol_exporter_queue_capacity", "Fixed capacity of the sending queue."),
    ("otelcol_exporter_in_flight_requests", "Number of requests that are being sent to the destination."),
    (
        "otelcol_processor_batch_metadata_cardinality",
        "Number of distinct metadata value combinations being processed.",
    ),
    ("otelcol_process_uptime", "Uptime of the process in seconds."),
    ("otelcol_process_cpu_seconds", "Total CPU user and system time in seconds."),
    ("otelcol_process_memory_rss", "Total physical memory (resident set size) in bytes."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("prometheus_tsdb_head_series", "Total number of series in the head block."),
    ("prometheus_tsdb_head_chunks", "Total number of chunks in the head block."),
    (
        "prometheus_config_last_reload_successful",
        "Whether the last configuration reload attempt was successful.",
    ),
    (
        "prometheus_config_last_reload_success_timestamp_seconds",
        "Timestamp of the last successful configuration reload.",
    ),
    ("tidegate_build_info", "The version of this program, as a label."),
    ("target_info", "Attributes of this process."),
    ("tidegate_log_store_files", "Files of the log store."),
    ("tidegate_log_store_memory_bytes", "Bytes of log entries that are in memory only."),
    ("tidegate_tsdb_head_memory_bytes", "Bytes of memory of the metrics store's head, by its own count."),
];

const HISTOGRAMS: [(&str, &str); 8] = [
    ("otelcol_processor_batch_batch_send_size", "Number of units in the batch."),
    ("otelcol_processor_batch_batch_send_size_bytes", "Number of bytes in batch that was sent."),
    ("otelcol_exporter_queue_batch_send_size", "Number of units in the batch."),
    ("otelcol_exporter_queue_batch_send_size_bytes", "Number of bytes in batch that was sent."),
    ("prometheus_tsdb_compaction_duration_seconds", "Duration of compaction runs."),
    ("prometheus_tsdb_wal_fsync_duration_seconds", "Duration of write log fsync."),
    ("tidegate_log_store_wal_fsync_duration_seconds", "Duration of an fsync of the log store's WAL."),
    ("tidegate_log_store_flush_duration_seconds", "Duration of writing a file of the log store."),
];

/// Tells the recorder all of them. Units are left out: the recorder would put them into the names.
pub(super) fn describe() {
    for (prefix, text) in BY_SIGNAL {
        for signal in Signal::ALL {
            let items = signal.items_name();
            let text = text.replace("{}", &items.replace('_', " "));
            describe_counter!(format!("{prefix}_{items}"), text);
        }
    }
    for (name, text) in COUNTERS {
        describe_counter!(name, text);
    }
    describe_gauge!("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
    for (name, text) in GAUGES {
        describe_gauge!(name, text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(name, text);
    }
}

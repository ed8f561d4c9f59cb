//! How a log store behaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use runtime::Objects;
use wal::Durability;

use crate::retention::RetentionRules;

/// Set by the program that owns the store.
#[derive(Clone, Debug)]
pub struct LogStoreSettings {
    /// Bytes of entries in memory at which they are written to files.
    pub flush_bytes: u64,
    /// Longest time that entries stay in memory only (besides the write-ahead log).
    pub flush_interval: Duration,
    /// Bytes of entries in memory, those being written included, at which appends wait and then are refused.
    pub memory_bytes_max: u64,
    /// How long an append waits for memory before it is refused with a retry hint.
    pub memory_wait: Duration,
    /// Older entries are refused, and removed from files.
    pub retention: RetentionRules,
    /// When an appended batch counts as stored.
    pub durability: Durability,
    /// Bytes that stay free on the disk: with less, appends are refused.
    pub free_bytes_min: u64,
    /// Line bytes of a page: what is decompressed to read one line.
    pub page_bytes: usize,
    /// Bytes of lines and metadata of a data file, before compression.
    pub file_bytes: u64,
    /// zstd level of small data files when they are first written, which are soon merged.
    pub zstd_level: i32,
    /// zstd level of files that are kept: those that were merged, and large ones.
    pub zstd_level_merged: i32,
    /// Whether small files are merged.
    pub compaction: bool,
    /// Whether files get page signatures, which let a search for a text skip pages without it. They cost about a
    /// nanosecond of CPU a line byte and some 2 % of the lines' bytes.
    pub page_signatures: bool,
    /// Bytes of decoded file indexes kept in memory.
    pub index_cache_bytes: usize,
    /// Bytes of decoded pages kept in memory; at most a sixteenth of the process' memory limit are.
    pub page_cache_bytes: usize,
    /// Where data files are, if they are not on the local disk. The write-ahead log always is.
    pub objects: Option<Arc<dyn Objects>>,
    /// Time between two looks for what other processes changed in the object store.
    pub refresh_interval: Duration,
    /// Tenants that the store has at most: senders make up their names.
    pub tenants_max: usize,
    /// What is refused.
    pub limits: LogLimits,
    /// What is refused of tenants with limits of their own.
    pub tenant_limits: HashMap<TenantId, LogLimits>,
}

/// Limits on what is appended, under the names that Loki gives them (pkg/validation/limits.go).
#[derive(Clone, Debug)]
pub struct LogLimits {
    /// `max_line_size`, bytes.
    pub line_bytes_max: usize,
    /// `max_label_names_per_series`; `service_name` is not counted.
    pub label_names_max: usize,
    /// `max_label_name_length`, bytes.
    pub label_name_bytes_max: usize,
    /// `max_label_value_length`, bytes.
    pub label_value_bytes_max: usize,
    /// `max_structured_metadata_size`, bytes of names and values of one entry.
    pub metadata_bytes_max: usize,
    /// `max_structured_metadata_entries_count` of one entry.
    pub metadata_pairs_max: usize,
    /// `creation_grace_period`: how far in the future an entry may be.
    pub creation_grace: Duration,
    /// `max_global_streams_per_user`, counted over streams with entries in memory. Far above Loki's 5,000: a stream
    /// costs no chunk here.
    pub streams_max: usize,
    /// `ingestion_rate_mb` as bytes a second, of lines and structured metadata. Loki's 4 MB are the share of one tenant
    /// in a cluster; here a tenant may have the most of a machine.
    pub ingest_bytes_per_second: f64,
    /// `ingestion_burst_size_mb` as bytes: what may come at once after a pause.
    pub ingest_burst_bytes: f64,
}

impl LogStoreSettings {
    /// The limits of a tenant.
    pub(crate) fn limits_of(&self, tenant: &TenantId) -> &LogLimits {
        self.tenant_limits.get(tenant).unwrap_or(&self.limits)
    }
}

impl Default for LogStoreSettings {
    fn default() -> Self {
        Self {
            flush_bytes: 64 << 20,
            flush_interval: Duration::from_secs(60),
            memory_bytes_max: 192 << 20,
            memory_wait: Duration::from_secs(2),
            retention: RetentionRules::uniform(Duration::from_secs(31 * 86_400)),
            durability: Durability::Group,
            free_bytes_min: 256 << 20,
            page_bytes: 128 << 10,
            file_bytes: 128 << 20,
            zstd_level: 1,
            zstd_level_merged: 3,
            compaction: true,
            page_signatures: true,
            index_cache_bytes: 64 << 20,
            page_cache_bytes: 48 << 20,
            objects: None,
            refresh_interval: Duration::from_secs(30),
            tenants_max: 1000,
            limits: LogLimits::default(),
            tenant_limits: HashMap::new(),
        }
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 256 << 10,
            label_names_max: 15,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 2048,
            metadata_bytes_max: 64 << 10,
            metadata_pairs_max: 128,
            creation_grace: Duration::from_secs(600),
            streams_max: 200_000,
            ingest_bytes_per_second: f64::from(256 << 20),
            ingest_burst_bytes: f64::from(512 << 20),
        }
    }
}

//! How the metrics store behaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ulid::Ulid;
use wal::WalSettings;

/// Says of a folder of blocks and a block in it whether it was uploaded.
type IsUploaded = dyn Fn(&Path, Ulid) -> bool + Send + Sync;

/// Keeps local compaction and retention from blocks that were not uploaded yet: what compacts the bucket wants them as
/// they are, and nobody else has them.
#[derive(Clone)]
pub struct UploadGate(Arc<IsUploaded>);

impl UploadGate {
    /// A gate that asks `is_uploaded` about a block in a folder of blocks: one that nobody will upload counts.
    pub fn new(is_uploaded: impl Fn(&Path, Ulid) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_uploaded))
    }

    /// Whether a block was uploaded, or is not to be.
    pub(crate) fn is_uploaded(&self, dir: &Path, ulid: Ulid) -> bool {
        (self.0)(dir, ulid)
    }
}

impl std::fmt::Debug for UploadGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UploadGate")
    }
}

/// Set by the program from its configuration.
#[derive(Clone, Debug)]
pub struct TsdbSettings {
    /// The log of each tenant.
    pub wal: WalSettings,
    /// Length of a block and the boundary that no chunk crosses, ms.
    pub block_duration_ms: i64,
    /// Blocks whose end is this far behind that of the newest are removed, ms; `None` keeps them.
    pub retention_ms: Option<i64>,
    /// The oldest blocks beyond so many bytes of a tenant are removed; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// Series that one tenant may have in the head.
    pub series_max: u64,
    /// Tenants that may exist; each costs a log, and a thread while somebody writes to it.
    pub tenants_max: usize,
    /// A tenant without any data that nobody wrote to for so long is let go.
    pub tenant_idle: Duration,
    /// Labels of one series.
    pub labels_max: usize,
    /// Bytes of all label names and values of one series.
    pub label_bytes_max: usize,
    /// How far ahead of the clock a sample may be.
    pub future_max: Duration,
    /// How much older than the newest sample of the tenant a sample may be that is not in order, ms; 0 takes none.
    pub out_of_order_window_ms: i64,
    /// Exemplars that are kept of a tenant; 0 for none.
    pub exemplars_max: usize,
    /// Bytes of the log from which on a checkpoint is written, so that a start has not much more to read; 0 for one at
    /// every look. A checkpoint that is large already waits for half its size.
    pub checkpoint_log_bytes: u64,
    /// Closed chunks of the head are gathered in blocks of so many bytes, at most 1 MiB; four of them go to a file
    /// together.
    pub head_block_bytes: usize,
    /// What local compaction and retention wait for; `None` for nothing.
    pub upload_gate: Option<UploadGate>,
}

impl Default for TsdbSettings {
    fn default() -> Self {
        Self {
            // Large records are those with new series, whose labels repeat.
            wal: WalSettings {
                metric_prefix: "prometheus_tsdb",
                compress_bytes_min: 64 << 10,
                ..WalSettings::default()
            },
            block_duration_ms: 2 * 60 * 60 * 1000,
            retention_ms: Some(15 * 24 * 60 * 60 * 1000),
            retention_bytes: None,
            series_max: 2_000_000,
            tenants_max: 1000,
            tenant_idle: Duration::from_secs(600),
            labels_max: 256,
            label_bytes_max: 64 << 10,
            future_max: Duration::from_secs(600),
            out_of_order_window_ms: 30 * 60 * 1000,
            exemplars_max: 100_000,
            // Some 8 million samples, which a start puts into the head in 0.2 s or so.
            checkpoint_log_bytes: 40 << 20,
            head_block_bytes: 256 << 10,
            upload_gate: None,
        }
    }
}

//! The log store: entries by tenant and stream, durable in a write-ahead log, at rest in Parquet files with an index
//! of our own.
//!
//! [`LogStore`] implements the storage seam's `LogAppender` and `LogQuerier`. Its formats are described in
//! `docs/formats/logs-v1.md`. It knows nothing of protocols, of query languages, or of how labels were chosen.

mod compaction;
mod error;
mod expiry_clock;
mod file;
mod filenames;
mod files;
mod follow;
mod limits;
mod memtable;
mod metrics;
mod partition;
mod rate;
mod retention;
mod settings;
mod store;
mod streams;
mod utc;

pub use error::{LogStoreError, LogStoreResult};
pub use files::QuarantinedUnit;
pub use retention::{RetentionRules, StreamRetention, TenantRetention};
pub use settings::{LogLimits, LogStoreSettings};
pub use store::LogStore;
pub use wal::Durability;

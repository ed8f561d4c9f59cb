//! The metrics store: per tenant a sharded head of XOR chunks with its postings and a write-ahead log.
//!
//! A write is checked and put into the head's chunks under the lock of each shard it touches, queued for the log as
//! one record, and acknowledged when the log says that it is durable. Chunks are encoded as they grow, so that what
//! leaves the head is copied, not re-encoded. Sketch: about 0.1 µs of CPU a sample, 700 bytes a series.
//!
//! Invariants, quoted by asserts and tests:
//! - TSDB-1: an acknowledged sample is found by every later query and after every restart, once, with its value.
//! - TSDB-2: a query sees all samples of an append or none.
//! - TSDB-3: a sample that is not stored is counted in the append's report under its reason.
//! - TSDB-4: an append is in the log at its place before any later append that builds on it: its new series before
//!   their samples, a sample before the acknowledgement of its duplicate.

pub mod block;
mod blocks;
mod checkpoint;
mod compact;
mod error;
mod filenames;
mod head;
mod metrics;
mod prometheus_folder;
mod settings;
mod shortcut;
mod store;
mod tenant;
mod union;

/// How blocks become larger ones: what local compaction and that of a bucket share.
pub mod levels {
    pub use crate::compact::{
        MergedChunk, Settle, merge_series, merged_meta, one_by_one, overlapping, split_by_range,
    };
}

pub use blocks::{Blocks, BlocksSettings, Quarantined};
pub use prometheus_folder::{PrometheusBlock, PrometheusFolder, PrometheusHeadReport, PrometheusHeadSink};
pub use settings::{TsdbSettings, UploadGate};
pub use store::{HeadStats, Tsdb};

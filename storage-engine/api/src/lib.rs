//! The seam between the stores and everything that writes to or reads from them.
//!
//! Writers (exporters) see an appender; readers (query engines, APIs) see a querier. The seam hands over label sets
//! and still encoded chunks or pages, never sample or line iterators, so that a reader decodes whole columns and on
//! as many cores as it likes. Invariant API-1: an append future resolves with `Ok` only when the data is as durable
//! as the store was configured to make it.

mod error;
mod logs;
mod metrics;

pub use error::{StorageError, StorageResult};
pub use logs::{
    BucketCount, EntryCount, Followed, LogAppender, LogBatch, LogCountSelect, LogFollow, LogFollower,
    LogMaintenance, LogMask, LogPage, LogQuerier, LogSelect, SearchedRows, StreamCounts, StreamEntries,
    StreamSummary,
};
pub use metrics::{
    AppendOutcome, BlockSummary, ChunkEncoding, EncodedChunk, MetricsAdmin, MetricsAppender, MetricsQuerier,
    MetricsSelect, MetricsStats, SampleBatch, SelectHints, Series, SeriesChunks, SeriesExemplars, SeriesRef,
    reject_reason,
};

/// A boxed future, `Send`, tied to the borrow it was made from.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;

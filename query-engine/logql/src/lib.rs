//! LogQL, the query language of Loki 3.7: parser, planner, operators.
//!
//! `syntax` reads a query into a tree with positions; `pipeline` compiles its stages; `scan` reads the store's pages on
//! several threads; `engine` ties them together and evaluates metric queries. The crate knows nothing of HTTP or JSON
//! (the API's job) nor of files (the store's, behind `storage_api::LogQuerier`).
//!
//! Line filters run over whole pages with per-line work only for hits; a log query stops reading as soon as its newest
//! (or oldest) lines are certain; an entry that the store hands over twice counts once.

mod detect;
mod engine;
mod entry_filter;
mod error;
mod go_regex;
mod output;
mod patterns;
mod pipeline;
mod scan;
pub mod syntax;
mod template;
mod units;

pub use detect::{DetectedField, FieldType, detect_fields, detect_values};
pub use engine::{Engine, EngineSettings, LinePattern, QueryParams, TailQuery};
pub use entry_filter::EntryFilter;
pub use error::{LogqlError, LogqlResult};
pub use output::{
    GroupedStreams, Grouping, MatrixSeries, QueryOutput, QueryResult, QueryStats, ResultEntry, Streams,
    VectorSample,
};

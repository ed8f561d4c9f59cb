//! PromQL: syntax, planning and evaluation over the storage seam.
//!
//! A query is parsed with Prometheus' error texts, planned (pure rewrites and the list of reads), read through
//! [`storage_api::MetricsQuerier`], and evaluated off the async threads on all cores. Invariant PROMQL-1: results,
//! annotations and their order do not depend on the number of threads.

mod annotations;
mod engine;
mod error;
mod exec;
mod output;
mod plan;
mod syntax;

pub use engine::{Engine, EngineSettings, QueryOptions};
pub use error::{PromqlError, PromqlResult, Stage};
pub use exec::context::Cancel;
pub use output::{MatrixSeries, QueryOutput, QueryStats, QueryValue, SampleValue, VectorSample};
pub use syntax::*;

//! Exporters: where pipelines end. One file a destination, and their registry.
//!
//! The two stores of this process are destinations like any other: `metrics_store` and `log_store` acknowledge a batch
//! when it is durable. Destinations over the network sit behind a sending queue with retries (`pipelines::Sending`).
//! Invariant EXPORT-1: an exporter acknowledges a batch only when its destination has it, or when its queue took it and
//! the configuration says that this is enough.

mod client;
mod debug;
mod file;
pub mod kafka;
mod log_store;
mod loki;
mod metrics_store;
mod nop;
mod otlp;
mod otlphttp;
mod parquet;
mod prometheus;
mod prometheusremotewrite;
mod storage_error;
mod store_gate;
mod translation;

pub use client::tls_provider;
pub use storage_error::for_clients;

use std::sync::Arc;

use pipelines::ExporterFactory;
use storage_api::{LogAppender, MetricsAppender};

/// What this process offers its exporters.
#[derive(Clone, Default)]
pub struct Stores {
    /// The metrics store, if this process has one.
    pub metrics: Option<Arc<dyn MetricsAppender>>,
    /// The log store, if this process has one.
    pub logs: Option<Arc<dyn LogAppender>>,
}

/// Every exporter. The name of a row is its type in configs, its file and its example under `configs/exporters/`.
pub const EXPORTERS: &[ExporterFactory<Stores>] = &[
    debug::FACTORY,
    file::FACTORY,
    kafka::FACTORY,
    log_store::FACTORY,
    loki::FACTORY,
    metrics_store::FACTORY,
    nop::FACTORY,
    otlp::FACTORY,
    otlphttp::FACTORY,
    parquet::FACTORY,
    prometheus::FACTORY,
    prometheusremotewrite::FACTORY,
];

#[cfg(test)]
mod testing;

//! `log_store`: this process' own log store as a destination.
//!
//! OTLP log records are mapped to streams as Loki's OTLP endpoint does and appended; a batch is acknowledged when the
//! store has it durably, so there is no queue.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory,
    ExporterMetrics, PipelineResult, Stability, off_thread,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use storage_api::{LogAppender, LogBatch, StreamEntries};
use wire::otlp_to_loki::{Settings, Translated};

use crate::Stores;
use crate::storage_error::pipeline_error;
use crate::store_gate::StoreGate;
use crate::translation::LogTranslators;

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "log_store",
    aliases: &[],
    signals: &[Signal::Logs],
    stability: Stability::Beta,
    create,
};

/// Defaults are Loki's.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Resource attributes that become index labels; the others become structured metadata. Default Loki's 18.
    index_attributes: Vec<String>,
    /// Labels that stand in for a missing service name; empty = it is not made up. Default Loki's 13.
    discover_service_name: Vec<String>,
    /// Whether `detected_level` is added to the structured metadata. Default true.
    discover_log_levels: bool,
}

impl Default for Config {
    fn default() -> Self {
        let Settings { index_attributes, discover_service_name, discover_log_levels, .. } =
            Settings::default();
        Self { index_attributes, discover_service_name, discover_log_levels }
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id.clone();
    let Config { index_attributes, discover_service_name, discover_log_levels } = config.parse()?;
    let Some(appender) = &stores.logs else {
        return Err(ConfigError::at("", "this process has no log store"));
    };
    let metrics = ExporterMetrics::new(&id);
    let settings =
        Settings { index_attributes, discover_service_name, discover_log_levels, key_seed: rand::random() };
    let shared = Shared {
        id,
        appender: Arc::clone(appender),
        clock: Arc::clone(&context.clock),
        translators: LogTranslators::new(settings, TRANSLATORS_IDLE_MAX),
        gate: StoreGate::new(&context.budget),
        metrics,
    };
    Ok(Arc::new(LogStore { shared: Arc::new(shared), tasks: context.tasks.clone() }))
}

/// Payloads above this are translated off the async threads: about 1700 records, 500 µs.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// Idle translators that are kept: as many as batches are translated at the same time.
const TRANSLATORS_IDLE_MAX: usize = 16;

struct LogStore {
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    id: ComponentId,
    appender: Arc<dyn LogAppender>,
    clock: Arc<dyn Clock>,
    translators: LogTranslators,
    gate: StoreGate,
    metrics: ExporterMetrics,
}

impl LogStore {
    async fn store(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let _room = self.shared.gate.enter(batch.payload.len()).await;
        let Translated { streams, mut report } = self.translate(&batch).await?;
        report.stored = 0;
        if streams.is_empty() {
            return Ok(report);
        }
        let streams =
            streams.into_iter().map(|(labels, entries)| StreamEntries { labels, entries }).collect();
        let appended = self.shared.appender.append(&batch.tenant, LogBatch { streams }).await;
        report.merge(appended.map_err(pipeline_error)?);
        Ok(report)
    }

    async fn translate(&self, batch: &Batch) -> PipelineResult<Translated> {
        if batch.payload.len() <= INLINE_BYTES_MAX {
            return self.shared.translate(batch);
        }
        let (shared, batch) = (Arc::clone(&self.shared), batch.clone());
        off_thread(&self.tasks, &self.shared.id, "translate logs", move || shared.translate(&batch)).await
    }
}

impl Shared {
    fn translate(&self, batch: &Batch) -> PipelineResult<Translated> {
        Ok(self.translators.translate(&batch.payload, self.clock.now_ns())?)
    }
}

impl Consumer for LogStore {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            let items = batch.items;
            let outcome = self.store(batch).await;
            self.shared.metrics.count(Signal::Logs, items, &outcome);
            outcome
        })
    }
}

impl Exporter for LogStore {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        // Nothing is held back: whatever was acknowledged is in the store, which its owner closes.
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;

//! `nop`: takes everything and does nothing with it, as the end of a pipeline in tests and measurements.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use pipelines::{
    Batch, ComponentConfig, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory,
    ExporterMetrics, PipelineResult, Stability,
};
use serde::Deserialize;

use crate::Stores;

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "nop",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Stable,
    create,
};

/// No keys.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

struct Nop {
    metrics: ExporterMetrics,
}

fn create(
    config: &ComponentConfig<'_>,
    _context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let Config {} = config.parse()?;
    Ok(Arc::new(Nop { metrics: ExporterMetrics::new(config.id) }))
}

impl Consumer for Nop {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let taken = Ok(AppendReport { stored: batch.items, rejected: Vec::new() });
        self.metrics.count(batch.signal, batch.items, &taken);
        Box::pin(ready(taken))
    }
}

impl Exporter for Nop {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(ready(Ok(())))
    }
}

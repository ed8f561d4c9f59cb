//! `debug`: writes telemetry to the log, for people.
//!
//! Text forms: exporter/debugexporter of the collector. `basic` is one line of counts for each batch, `normal` adds one
//! line for each item, `detailed` many. Everything goes through the process' own log, so it can be filtered there
//! (target `debug`); sampling bounds how much of it there is.

mod detailed;
mod go_format;
mod normal;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory,
    ExporterMetrics, PipelineError, PipelineResult, Stability,
};
use serde::Deserialize;
use tokio::time::Instant;
use wire::DecodeError;
use wire::otlp;

use crate::Stores;
use crate::client::unsupported;

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "debug",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Alpha,
    create,
};

/// How much is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verbosity {
    #[default]
    Basic,
    Normal,
    Detailed,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// basic, normal or detailed. Default basic.
    verbosity: Verbosity,
    /// Batches written in each second before sampling begins. Default 2.
    sampling_initial: u64,
    /// After those every n-th is written; 0 = none. Default 1, so that all are.
    sampling_thereafter: u64,
    /// Whether the process' own log is used; nothing else is there. Default true.
    use_internal_logger: bool,
    /// Where it goes without the log, which is not there.
    output_paths: Option<Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            verbosity: Verbosity::Basic,
            sampling_initial: 2,
            sampling_thereafter: 1,
            use_internal_logger: true,
            output_paths: None,
        }
    }
}

struct Debug {
    verbosity: Verbosity,
    sampler: Mutex<Sampler>,
    metrics: ExporterMetrics,
}

fn create(
    config: &ComponentConfig<'_>,
    _context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let metrics = ExporterMetrics::new(config.id);
    let config: Config = config.parse()?;
    if !config.use_internal_logger {
        let message = "false is not supported: there is no output but the log, leave the key out";
        return Err(ConfigError::at("use_internal_logger", message));
    }
    unsupported(&[("output_paths", config.output_paths.is_some())])?;
    let sampler =
        Sampler { initial: config.sampling_initial, thereafter: config.sampling_thereafter, window: None };
    Ok(Arc::new(Debug { verbosity: config.verbosity, sampler: Mutex::new(sampler), metrics }))
}

/// Lets the first `initial` batches of a second through and then every `thereafter`-th.
struct Sampler {
    initial: u64,
    thereafter: u64,
    /// When the current second began and how many batches it saw.
    window: Option<(Instant, u64)>,
}

impl Sampler {
    fn admits(&mut self, now: Instant) -> bool {
        let (began, seen) = match self.window {
            Some((began, seen)) if now < began + Duration::from_secs(1) => (began, seen + 1),
            _ => (now, 1),
        };
        self.window = Some((began, seen));
        seen <= self.initial || (self.thereafter > 0 && (seen - self.initial).is_multiple_of(self.thereafter))
    }
}

impl Debug {
    fn write(&self, batch: &Batch) -> Result<(), DecodeError> {
        write_counts(batch)?;
        let text = match self.verbosity {
            Verbosity::Basic => return Ok(()),
            Verbosity::Normal => normal::text(batch.signal, &batch.payload)?,
            Verbosity::Detailed => detailed::text(batch.signal, &batch.payload)?,
        };
        tracing::info!(target: "debug", "{text}");
        Ok(())
    }
}

fn write_counts(batch: &Batch) -> Result<(), DecodeError> {
    let items = batch.items;
    let (mut resources, mut metrics) = (0_u64, 0_u64);
    for group in otlp::resources(&batch.payload) {
        resources += 1;
        if batch.signal == Signal::Metrics {
            for scope in group?.scopes() {
                metrics += scope?.metrics().encoded().count() as u64;
            }
        }
    }
    // The form of the collector's console log: a message and its fields as JSON.
    let line = match batch.signal {
        Signal::Metrics => {
            format!(
                "Metrics {{\"resource metrics\": {resources}, \"metrics\": {metrics}, \"data points\": {items}}}"
            )
        }
        Signal::Logs => format!("Logs {{\"resource logs\": {resources}, \"log records\": {items}}}"),
        Signal::Traces => format!("Traces {{\"resource spans\": {resources}, \"spans\": {items}}}"),
    };
    tracing::info!(target: "debug", "{line}");
    Ok(())
}

impl Consumer for Debug {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let admitted = self.sampler.lock().admits(Instant::now());
        let written = if admitted { self.write(&batch) } else { Ok(()) };
        let outcome = match written {
            Ok(()) => Ok(AppendReport { stored: batch.items, rejected: Vec::new() }),
            Err(error) => Err(PipelineError::new(ErrorKind::Invalid, format!("debug: {error}"))),
        };
        self.metrics.count(batch.signal, batch.items, &outcome);
        Box::pin(ready(outcome))
    }
}

impl Exporter for Debug {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;

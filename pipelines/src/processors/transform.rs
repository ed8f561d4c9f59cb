//! `transform`: changes telemetry with OTTL statements.
//!
//! Groups run one after the other, each over the whole request; what no statement changes keeps its bytes. Config and
//! semantics: processor/transformprocessor of the collector's contrib repository.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use ottl::{RunError, Statements};
use runtime::{Clock, Tasks};
use serde::Deserialize;

use super::hand_on::{edit_and_hand_on, refused};
use super::ottl_programs::{FailureLog, Group, Groups, Mode, at};
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineResult, Processor, ProcessorContext,
    ProcessorFactory, Stability,
};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "transform", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// What a failing statement does: `ignore` (default) logs, `silent` does not, `propagate` refuses the request.
    error_mode: Mode,
    /// Statements for spans, span events, their scopes and resources.
    trace_statements: Groups,
    /// Statements for metrics, data points, their scopes and resources.
    metric_statements: Groups,
    /// Statements for log records, their scopes and resources.
    log_statements: Groups,
    /// Statements for profiles, which no pipeline carries; any is refused.
    profile_statements: Groups,
    /// Refused as in the collector without its feature gate.
    flatten_data: bool,
}

impl Config {
    fn programs(&self, signal: Signal) -> Result<Vec<Statements>, ConfigError> {
        let (key, groups) = match signal {
            Signal::Traces => ("trace_statements", &self.trace_statements),
            Signal::Metrics => ("metric_statements", &self.metric_statements),
            Signal::Logs => ("log_statements", &self.log_statements),
        };
        let groups = groups.all(|statements| Group { statements, ..Group::default() });
        let program = |group: Group| {
            let mode = group.error_mode.unwrap_or(self.error_mode).0;
            let context = group.context.map(|context| context.0);
            Statements::new(signal, context, &group.statements, &group.conditions, mode).map_err(at(key))
        };
        groups.into_iter().map(program).collect()
    }
}

fn create(
    config: &ComponentConfig<'_>,
    signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let log = FailureLog::new(config.id);
    let config: Config = config.parse()?;
    if config.flatten_data {
        let message = "'flatten_data' requires the 'transform.flatten.logs' feature gate to be enabled";
        return Err(ConfigError::at("flatten_data", message));
    }
    if !config.profile_statements.maps.is_empty() || !config.profile_statements.texts.is_empty() {
        let message = "the profiles signal is not supported; supported are metrics, logs and traces";
        return Err(ConfigError::at("profile_statements", message));
    }
    // All sections are checked, whichever pipeline this instance is for.
    for other in Signal::ALL {
        config.programs(other)?;
    }
    let programs = config.programs(signal)?;
    let programs = Programs { programs, log, clock: Arc::clone(&context.clock) };
    Ok(Arc::new(Transform { programs: Arc::new(programs), tasks: context.tasks.clone(), next }))
}

struct Transform {
    programs: Arc<Programs>,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

struct Programs {
    programs: Vec<Statements>,
    log: FailureLog,
    clock: Arc<dyn Clock>,
}

impl Programs {
    fn run(&self, batch: &Batch) -> Result<Bytes, RunError> {
        let now_ns = self.clock.now_ns();
        let log = |text: &str, error: &RunError| self.log.hear(now_ns, text, error);
        let mut payload = batch.payload.clone();
        for program in &self.programs {
            payload = program.run(batch.signal, &payload, batch.around(now_ns), &log)?.payload;
        }
        Ok(payload)
    }
}

impl Consumer for Transform {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let programs = Arc::clone(&self.programs);
        edit_and_hand_on(&*self.next, &self.tasks, "transform processor", batch, move |batch| {
            programs.run(batch).map_err(|error| refused("transform", error.kind(), &error))
        })
    }
}

impl Processor for Transform {}

#[cfg(test)]
mod tests;

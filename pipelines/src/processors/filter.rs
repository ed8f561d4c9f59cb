//! `filter`: drops telemetry that OTTL conditions hold for, or by `include` and `exclude`.
//!
//! What goes is acknowledged: its sender need not send it again. A request of which nothing is left ends here. Config and
//! semantics: processor/filterprocessor of the collector's contrib repository; its `expr` match type is refused.

mod properties;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use metrics::{Counter, counter};
use model::{AppendReport, Signal};
use ottl::{Conditions, Context, Filter, Paths, RunError};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use wire::DecodeError;
use wire::otlp::edit::{Fate, edit_records};
use wire::otlp::item_count;

use super::hand_on::refused;
use super::matching::Selection;
use super::ottl_programs::{FailureLog, Group, Groups, MIXED, Mode, at};
use crate::off_thread::off_thread_if_large;
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineResult, Processor, ProcessorContext,
    ProcessorFactory, Stability,
};
use properties::{LogFilters, MetricFilters, ProfileFilters, SpanProperties, TraceFilters};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "filter", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// What a failing condition does: `ignore` (default) logs, `silent` does not, `propagate` refuses the request.
    error_mode: Mode,
    /// Conditions for spans, span events, their scopes and resources; what one holds for goes.
    trace_conditions: Groups,
    /// The same for metrics and data points.
    metric_conditions: Groups,
    /// The same for log records.
    log_conditions: Groups,
    /// Conditions for profiles, which no pipeline carries; any is refused.
    profile_conditions: Groups,
    /// `include` and `exclude` of spans.
    spans: SpanProperties,
    /// `include`, `exclude` and older conditions of metrics.
    metrics: MetricFilters,
    /// `include`, `exclude` and older conditions of log records.
    logs: LogFilters,
    /// Older conditions of spans.
    traces: TraceFilters,
    /// Conditions for profiles; any is refused.
    profiles: ProfileFilters,
}

/// How the records of one signal are filtered.
enum Program {
    /// Nothing goes.
    Nothing,
    /// Passes, one after the other.
    Conditions(Vec<Filter>),
    /// A record stays when each selection takes it.
    Selections(Vec<Selection>),
}

impl Config {
    /// Rules of `Config.Validate` there.
    fn check(&self) -> Result<(), ConfigError> {
        let fault = |message: &str| Err(ConfigError::at("", message));
        // A transform takes texts behind maps; a filter does not.
        let groups = [&self.trace_conditions, &self.metric_conditions, &self.log_conditions];
        if groups.iter().any(|group| !group.maps.is_empty() && !group.texts.is_empty()) {
            return fault(MIXED);
        }
        let inferred = |given: bool, older: bool, signal: &str| {
            let message = format!(
                "cannot use context inferred {signal} conditions \"{signal}_conditions\" and the older settings of the \
                 signal at the same time"
            );
            if given && older { Err(ConfigError::at("", message)) } else { Ok(()) }
        };
        inferred(self.trace_conditions.is_given, self.traces.is_given(), "trace")?;
        let metrics_match = self.metrics.include.is_some() || self.metrics.exclude.is_some();
        inferred(self.metric_conditions.is_given, self.metrics.is_given() || metrics_match, "metric")?;
        let logs_match = self.logs.include.is_some() || self.logs.exclude.is_some();
        inferred(self.log_conditions.is_given, self.logs.is_given() || logs_match, "log")?;
        if self.traces.is_given() && (self.spans.include.is_some() || self.spans.exclude.is_some()) {
            return fault(
                "cannot use \"traces.resource\", \"traces.span\", \"traces.spanevent\" and the span settings \
                 \"spans.include\", \"spans.exclude\" at the same time",
            );
        }
        if self.metrics.is_given() && metrics_match {
            return fault(
                "cannot use \"metrics.resource\", \"metrics.metric\", \"metrics.datapoint\" and the settings \
                 \"metrics.include\", \"metrics.exclude\" at the same time",
            );
        }
        if self.logs.is_given() && logs_match {
            return fault(
                "cannot use \"logs.resource\", \"logs.log\" and the settings \"logs.include\", \"logs.exclude\" at the \
                 same time",
            );
        }
        let any_profile =
            !(self.profile_conditions.maps.is_empty() && self.profile_conditions.texts.is_empty());
        if any_profile || self.profiles.is_given() {
            return fault("the profiles signal is not supported; supported are metrics, logs and traces");
        }
        Ok(())
    }

    fn program(&self, signal: Signal) -> Result<Program, ConfigError> {
        let (key, groups) = match signal {
            Signal::Traces => ("trace_conditions", &self.trace_conditions),
            Signal::Metrics => ("metric_conditions", &self.metric_conditions),
            Signal::Logs => ("log_conditions", &self.log_conditions),
        };
        let groups = groups.all(|conditions| Group { conditions, ..Group::default() });
        if !groups.is_empty() {
            let filters = groups.into_iter().map(|group| self.filter(signal, key, &group));
            return Ok(Program::Conditions(filters.collect::<Result<_, _>>()?));
        }
        let older: [(&str, Context, &Option<Vec<String>>); 3] = match signal {
            Signal::Traces => [
                ("traces.resource", Context::Resource, &self.traces.resource),
                ("traces.span", Context::Span, &self.traces.span),
                ("traces.spanevent", Context::SpanEvent, &self.traces.spanevent),
            ],
            Signal::Metrics => [
                ("metrics.resource", Context::Resource, &self.metrics.resource),
                ("metrics.metric", Context::Metric, &self.metrics.metric),
                ("metrics.datapoint", Context::DataPoint, &self.metrics.datapoint),
            ],
            Signal::Logs => [
                ("logs.resource", Context::Resource, &self.logs.resource),
                ("logs.log_record", Context::Log, &self.logs.log_record),
                ("logs.log_record", Context::Log, &None),
            ],
        };
        let mut conditions = Vec::new();
        for (key, context, texts) in older {
            if let Some(texts) = texts {
                let mode = self.error_mode.0;
                conditions.push(Conditions::new(context, Paths::Own, texts, mode).map_err(at(key))?);
            }
        }
        if !conditions.is_empty() {
            return Ok(Program::Conditions(vec![Filter::dropping(conditions)]));
        }
        let selections = match signal {
            Signal::Traces => self.spans.selections(),
            Signal::Metrics => self.metrics.selections(),
            Signal::Logs => self.logs.selections(),
        };
        let selections = selections.map_err(|message| ConfigError::at("", message))?;
        Ok(if selections.is_empty() { Program::Nothing } else { Program::Selections(selections) })
    }

    fn filter(&self, signal: Signal, key: &str, group: &Group) -> Result<Filter, ConfigError> {
        if !group.statements.is_empty() {
            return Err(ConfigError::at(key, "unknown field `statements`"));
        }
        let mode = group.error_mode.unwrap_or(self.error_mode).0;
        let Some(context) = group.context.map(|context| context.0) else {
            // Each condition tells its own context.
            let conditions = group.conditions.iter();
            let conditions = conditions
                .map(|text| Conditions::inferred(signal, std::slice::from_ref(text), mode).map_err(at(key)));
            return Ok(Filter::dropping(conditions.collect::<Result<_, _>>()?));
        };
        if !context.fits(signal) {
            let message = format!("the context {:?} does not fit {signal}", context.name());
            return Err(ConfigError::at(key, message));
        }
        let conditions = Conditions::new(context, Paths::Own, &group.conditions, mode).map_err(at(key))?;
        Ok(Filter::dropping(vec![conditions]))
    }
}

fn create(
    config: &ComponentConfig<'_>,
    signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = config.id;
    let config: Config = config.parse()?;
    config.check()?;
    // All sections are checked, whichever pipeline this instance is for.
    for other in Signal::ALL {
        config.program(other)?;
    }
    let what = match signal {
        Signal::Metrics => "datapoints",
        Signal::Logs => "logs",
        Signal::Traces => "spans",
    };
    let name = format!("otelcol_processor_filter_{what}_filtered");
    let running = Running {
        program: config.program(signal)?,
        log: FailureLog::new(id),
        clock: Arc::clone(&context.clock),
    };
    Ok(Arc::new(FilterProcessor {
        running: Arc::new(running),
        filtered: counter!(name, "processor" => id.to_string()),
        tasks: context.tasks.clone(),
        next,
    }))
}

struct FilterProcessor {
    running: Arc<Running>,
    filtered: Counter,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

struct Running {
    program: Program,
    log: FailureLog,
    clock: Arc<dyn Clock>,
}

impl Running {
    fn run(&self, batch: &Batch) -> Result<Bytes, RunError> {
        match &self.program {
            Program::Nothing => Ok(batch.payload.clone()),
            Program::Conditions(filters) => {
                let now_ns = self.clock.now_ns();
                let log = |text: &str, error: &RunError| self.log.hear(now_ns, text, error);
                let mut payload = batch.payload.clone();
                for filter in filters {
                    payload = filter.run(batch.signal, &payload, batch.around(now_ns), &log)?.payload;
                }
                Ok(payload)
            }
            Program::Selections(selections) => edit_records(&batch.payload, |place, record, _| {
                for selection in selections {
                    if !selection.takes(batch.signal, place, record)? {
                        return Ok::<_, DecodeError>(Fate::Removed);
                    }
                }
                Ok(Fate::Kept)
            })
            .map_err(RunError::from),
        }
    }
}

impl FilterProcessor {
    async fn pass_on(&self, mut batch: Batch) -> PipelineResult<AppendReport> {
        let (running, whole) = (Arc::clone(&self.running), batch.clone());
        let work = move || running.run(&whole).map_err(|error| refused("filter", error.kind(), &error));
        let payload = off_thread_if_large(&self.tasks, batch.payload.len(), "filter processor", work).await?;
        if payload.as_ptr() == batch.payload.as_ptr() && payload.len() == batch.payload.len() {
            return self.next.consume(batch).await;
        }
        let items = item_count(batch.signal, &payload)?;
        let dropped = batch.items.saturating_sub(items);
        self.filtered.increment(dropped);
        // What was dropped is dealt with, so that it counts as taken.
        let mut report = AppendReport { stored: dropped, rejected: Vec::new() };
        if !payload.is_empty() {
            batch.payload = payload;
            batch.items = items;
            report.merge(self.next.consume(batch).await?);
        }
        Ok(report)
    }
}

impl Consumer for FilterProcessor {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.pass_on(batch))
    }
}

impl Processor for FilterProcessor {}

#[cfg(test)]
mod tests;

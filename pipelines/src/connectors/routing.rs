//! `routing`: sends records to pipelines by OTTL conditions.
//!
//! The table is asked row by row: what a row matches goes to its pipelines and to no later row (unless it is copied),
//! the rest to `default_pipelines`. Parts are delivered side by side, each whatever becomes of the others: a part that is
//! refused for good is told as refused items, and of one that is to come again only the missing parts are delivered
//! (SETTLED-1). Config and semantics: connector/routingconnector of the collector's contrib repository.

mod request;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use ottl::{Conditions, Context, Filter, Paths, RunError};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use wire::otlp::item_count;

use self::request::RequestCondition;
use crate::connectors::{ConnectorFactory, Outputs, SAME_SIGNAL};
use crate::fan_out::FanOut;
use crate::off_thread::off_thread_if_large;
use crate::processors::{FailureLog, Mode};
use crate::settled::{Outcomes, key};
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineError, PipelineId, PipelineResult,
    ProcessorContext, Stability,
};

pub(crate) const FACTORY: ConnectorFactory =
    ConnectorFactory { kind: "routing", pairs: SAME_SIGNAL, stability: Stability::Beta, check, create };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Pipelines for what no row matches; without any it is dropped.
    default_pipelines: Vec<String>,
    /// What a failing condition does: `propagate` (default) refuses the request, `ignore` and `silent` send what failed to
    /// the default pipelines.
    error_mode: Option<Mode>,
    /// The rows, in order; at least one.
    table: Vec<RowConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RowConfig {
    /// What is asked: `resource` (default), `log`, `span`, `metric`, `datapoint`, or `request`: the client's metadata, of
    /// which there is some where the receiver says `include_metadata: true`.
    context: String,
    /// `route() where <condition>`, or `delete_key(…) where <condition>`, of which the condition counts.
    statement: String,
    /// An OTTL condition, in place of a statement; of a request `request["name"] == "value"`, or with `!=`.
    condition: String,
    /// Whether later rows see what matched: `move` (default) or `copy`.
    action: Action,
    /// Where what matches goes.
    pipelines: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Move,
    Copy,
}

/// A row of the table.
struct Row {
    conditions: RowConditions,
    action: Action,
}

enum RowConditions {
    /// Asks the records.
    Records { matched: Box<Filter>, rest: Box<Filter> },
    /// Asks the request that they came in.
    Request(RequestCondition),
}

/// The condition of a row, out of its statement.
fn condition(row: &RowConfig) -> Result<&str, String> {
    match (row.condition.as_str(), row.statement.as_str()) {
        ("", "") => Err("invalid route: no statement or condition provided".to_owned()),
        ("", statement) => {
            let text = statement.trim();
            let after = text.strip_prefix("route()").map(str::trim_start);
            match after {
                Some("") => Ok("true"),
                Some(after) => after.strip_prefix("where").map(str::trim_start).ok_or_else(|| {
                    format!("unable to parse the statement {statement:?}: want route() where <condition>")
                }),
                None => Err(format!(
                    "the statement {statement:?} is not supported: want route() where <condition>"
                )),
            }
        }
        (condition, "") => Ok(condition),
        _ => Err("invalid route: both condition and statement provided".to_owned()),
    }
}

fn context(row: &RowConfig, signal: Signal) -> Result<Context, String> {
    let context = match row.context.as_str() {
        "" => Some(Context::Resource),
        name => Context::named(name),
    };
    let fits = |context: &Context| match context {
        Context::Resource => true,
        Context::Log => signal == Signal::Logs,
        Context::Span => signal == Signal::Traces,
        Context::Metric | Context::DataPoint => signal == Signal::Metrics,
        Context::Scope | Context::SpanEvent => false,
    };
    match context {
        Some(context) if fits(&context) => Ok(context),
        Some(context) => Err(format!("the context {:?} does not fit {signal}", context.name())),
        None => Err(format!("invalid context: {}", row.context)),
    }
}

/// The pipelines of a list, each of which has the connector as a receiver.
fn pipelines(names: &[String], outputs: &Outputs) -> Result<Arc<dyn Consumer>, String> {
    let mut heads = Vec::with_capacity(names.len());
    for name in names {
        let id = PipelineId::parse(name).map_err(|error| error.to_string())?;
        let head = outputs.heads.get(&id).ok_or_else(|| {
            let known: Vec<String> = outputs.heads.keys().map(|id| id.to_string()).collect();
            format!("pipeline {name:?} does not have this connector as a receiver; have {}", known.join(", "))
        })?;
        heads.push(Arc::clone(head));
    }
    Ok(FanOut::over(heads))
}

fn read(config: &ComponentConfig<'_>) -> Result<Config, ConfigError> {
    let config: Config = config.parse()?;
    if config.table.is_empty() {
        return Err(ConfigError::at("table", "invalid routing table: the routing table is empty"));
    }
    match config.table.iter().position(|row| row.pipelines.is_empty()) {
        Some(index) => {
            Err(ConfigError::at(&format!("table[{index}]"), "invalid route: no pipelines defined"))
        }
        None => Ok(config),
    }
}

/// What can be told without the pipelines around it.
fn check(config: &ComponentConfig<'_>, _: &ProcessorContext) -> Result<(), ConfigError> {
    for (index, row) in read(config)?.table.iter().enumerate() {
        let checked = match row.context.as_str() {
            REQUEST => request_condition(row).map(drop),
            _ => condition(row).map(drop),
        };
        checked.map_err(|message| ConfigError::at(&format!("table[{index}]"), message))?;
    }
    Ok(())
}

/// The context of rows that ask the request.
const REQUEST: &str = "request";

fn request_condition(row: &RowConfig) -> Result<RequestCondition, String> {
    if !row.statement.is_empty() || row.condition.is_empty() {
        return Err("\"request\" context requires a 'condition'".to_owned());
    }
    RequestCondition::parse(&row.condition)
}

/// What a row asks of telemetry of a signal.
fn row_conditions(row: &RowConfig, signal: Signal, mode: ottl::ErrorMode) -> Result<RowConditions, String> {
    if row.context == REQUEST {
        return request_condition(row).map(RowConditions::Request);
    }
    let context = context(row, signal)?;
    let text = [condition(row)?.to_owned()];
    let conditions = || Conditions::new(context, Paths::Own, &text, mode).map_err(|error| error.to_string());
    Ok(RowConditions::Records {
        matched: Box::new(Filter::keeping(vec![conditions()?])),
        rest: Box::new(Filter::dropping(vec![conditions()?])),
    })
}

fn create(
    config: &ComponentConfig<'_>,
    context_of: &ProcessorContext,
    outputs: Outputs,
) -> Result<Arc<dyn Consumer>, ConfigError> {
    let log = FailureLog::new(config.id);
    let config = read(config)?;
    let mode = config.error_mode.map_or(ottl::ErrorMode::Propagate, |mode| mode.0);
    let (mut rows, mut ways) = (Vec::with_capacity(config.table.len()), Vec::new());
    for (index, row) in config.table.iter().enumerate() {
        let at = |message: String| ConfigError::at(&format!("table[{index}]"), message);
        let conditions = row_conditions(row, outputs.from, mode).map_err(at)?;
        rows.push(Row { conditions, action: row.action });
        ways.push(pipelines(&row.pipelines, &outputs).map_err(at)?);
    }
    let has_default = !config.default_pipelines.is_empty();
    if has_default {
        let default = pipelines(&config.default_pipelines, &outputs);
        ways.push(default.map_err(|message| ConfigError::at("default_pipelines", message))?);
    }
    let table = Table { rows, has_default, log, clock: Arc::clone(&context_of.clock) };
    let (tasks, outcomes) = (context_of.tasks.clone(), Outcomes::default());
    Ok(Arc::new(Routing { table: Arc::new(table), ways, tasks, outcomes }))
}

struct Routing {
    table: Arc<Table>,
    /// Where each row leads, and behind them the default.
    ways: Vec<Arc<dyn Consumer>>,
    tasks: Tasks,
    outcomes: Outcomes,
}

struct Table {
    rows: Vec<Row>,
    has_default: bool,
    log: FailureLog,
    clock: Arc<dyn Clock>,
}

/// What goes one way.
struct Routed {
    /// Index of the way.
    way: usize,
    payload: Bytes,
    items: u64,
}

impl Table {
    /// What goes where.
    fn parts(&self, batch: &Batch) -> Result<Vec<Routed>, RunError> {
        let now_ns = self.clock.now_ns();
        let log = |text: &str, error: &RunError| self.log.hear(now_ns, text, error);
        let routed = |way, payload: Bytes| -> Result<Routed, RunError> {
            let items = item_count(batch.signal, &payload)?;
            Ok(Routed { way, payload, items })
        };
        let mut parts = Vec::new();
        let mut rest = batch.payload.clone();
        for (way, row) in self.rows.iter().enumerate() {
            let matched = match &row.conditions {
                RowConditions::Records { matched, .. } => {
                    matched.run(batch.signal, &rest, batch.around(now_ns), &log)?.payload
                }
                RowConditions::Request(condition) if condition.matches(&batch.client) => rest.clone(),
                RowConditions::Request(_) => continue,
            };
            if matched.is_empty() {
                continue;
            }
            parts.push(routed(way, matched)?);
            rest = match &row.conditions {
                _ if row.action == Action::Copy => rest,
                RowConditions::Records { rest: unmatched, .. } => {
                    unmatched.run(batch.signal, &rest, batch.around(now_ns), &log)?.payload
                }
                RowConditions::Request(_) => Bytes::new(),
            };
            if rest.is_empty() {
                return Ok(parts);
            }
        }
        if !rest.is_empty() && self.has_default {
            parts.push(routed(self.rows.len(), rest)?);
        }
        Ok(parts)
    }
}

impl Routing {
    async fn route(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let (table, whole) = (Arc::clone(&self.table), batch.clone());
        let work = move || {
            let parts = table.parts(&whole);
            parts.map_err(|error| PipelineError::new(error.kind(), format!("routing connector: {error}")))
        };
        let parts = off_thread_if_large(&self.tasks, batch.payload.len(), "routing connector", work).await?;
        let deliveries = parts.iter().map(|part| {
            let (payload, items) = (part.payload.clone(), part.items);
            (&*self.ways[part.way], Batch { payload, items, ..batch.clone() })
        });
        let settled = self.outcomes.deliver(|| key_of(&batch, &parts), deliveries.collect()).await?;
        let sent = parts.iter().map(|part| part.items).sum();
        // What matched nothing and has no default is dealt with by dropping it.
        let mut report = AppendReport { stored: batch.items.saturating_sub(sent), rejected: Vec::new() };
        let mut refusal = None;
        for (part, outcome) in parts.iter().zip(settled) {
            match outcome {
                Ok(taken) => report.merge(taken),
                // The other parts have arrived, so that sending all of it again would double them.
                Err(error) => {
                    report.reject("refused_by_pipeline", part.items, || error.to_string());
                    refusal = Some(error);
                }
            }
        }
        // What rows copied has arrived more than once.
        report.stored = report.stored.min(batch.items);
        match refusal {
            Some(error) if report.stored == 0 => Err(error),
            _ => Ok(report),
        }
    }
}

/// What tells a batch with these parts apart: a condition may ask for the time, so that the same batch can fall into
/// other parts later.
fn key_of(batch: &Batch, parts: &[Routed]) -> u128 {
    let mut hash = key(batch);
    for part in parts {
        hash.update(&part.way.to_le_bytes());
        hash.update(&part.payload);
    }
    hash.digest128()
}

impl Consumer for Routing {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.route(batch))
    }
}

#[cfg(test)]
mod tests;

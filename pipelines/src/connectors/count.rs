//! `count`: counts spans, span events, metrics, data points and log records, and sends the counts on as metrics.
//!
//! Config and semantics: connector/countconnector of the collector's contrib repository. A count is a delta sum for each
//! resource, named metric and combination of attribute values; its time is that of the records that it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use ottl::{Conditions, Context, ErrorMode, Paths, RunError};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use serde_json::Value as Json;
use wire::otlp::edit::{copy_fields, put_key_value};
use wire::protobuf::{begin_message, put_bytes_field, put_fixed64_field, put_message, put_varint_field};

use crate::attributes::encoded;
use crate::connectors::{ConnectorFactory, Outputs};
use crate::off_thread::off_thread_if_large;
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineError, PipelineResult, ProcessorContext, Stability,
};

pub(crate) const FACTORY: ConnectorFactory = ConnectorFactory {
    kind: "count",
    pairs: &[
        (Signal::Metrics, Signal::Metrics),
        (Signal::Logs, Signal::Metrics),
        (Signal::Traces, Signal::Metrics),
    ],
    stability: Stability::Beta,
    check: |config, context| create(config, context, Outputs::none(Signal::Logs, Signal::Metrics)).map(drop),
    create,
};

/// Named counts of one kind of thing.
type Section = BTreeMap<String, MetricConfig>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Counts of spans. Default `trace.span.count`.
    spans: Option<Section>,
    /// Counts of span events. Default `trace.span.event.count`.
    spanevents: Option<Section>,
    /// Counts of metrics. Default `metric.count`.
    metrics: Option<Section>,
    /// Counts of data points. Default `metric.datapoint.count`.
    datapoints: Option<Section>,
    /// Counts of log records. Default `log.record.count`.
    logs: Option<Section>,
    /// Counts of profiles, which no pipeline carries; any is refused.
    profiles: Option<Section>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetricConfig {
    /// The metric's description.
    description: String,
    /// OTTL conditions, of which one must hold; none counts everything.
    conditions: Vec<String>,
    /// Attributes by whose values counts are kept apart; what lacks one is not counted.
    attributes: Vec<AttributeConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AttributeConfig {
    key: String,
    /// Taken when the attribute is not there.
    default_value: Option<Json>,
}

/// A named count.
struct Counted {
    name: String,
    description: String,
    context: Context,
    conditions: Option<Conditions>,
    /// Keys and encoded default values.
    attributes: Vec<(String, Option<Vec<u8>>)>,
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ProcessorContext,
    outputs: Outputs,
) -> Result<Arc<dyn Consumer>, ConfigError> {
    let config: Config = config.parse()?;
    if config.profiles.is_some_and(|section| !section.is_empty()) {
        let message = "the profiles signal is not supported; supported are metrics, logs and traces";
        return Err(ConfigError::at("profiles", message));
    }
    let mut counts = Vec::new();
    let sections = [
        ("spans", config.spans, Context::Span, "trace.span.count", "The number of spans observed."),
        (
            "spanevents",
            config.spanevents,
            Context::SpanEvent,
            "trace.span.event.count",
            "The number of span events observed.",
        ),
        ("metrics", config.metrics, Context::Metric, "metric.count", "The number of metrics observed."),
        (
            "datapoints",
            config.datapoints,
            Context::DataPoint,
            "metric.datapoint.count",
            "The number of data points observed.",
        ),
        ("logs", config.logs, Context::Log, "log.record.count", "The number of log records observed."),
    ];
    for (key, section, context, name, description) in sections {
        let section = section.filter(|section| !section.is_empty()).unwrap_or_else(|| {
            let metric = MetricConfig { description: description.to_owned(), ..MetricConfig::default() };
            BTreeMap::from([(name.to_owned(), metric)])
        });
        for (name, metric) in section {
            counts.push(counted(context, name, &metric).map_err(|error| error.under(&[key]))?);
        }
    }
    let signal = outputs.from;
    counts.retain(|counted| {
        let of = match counted.context {
            Context::Log => Signal::Logs,
            Context::Metric | Context::DataPoint => Signal::Metrics,
            _ => Signal::Traces,
        };
        of == signal
    });
    let counting = Counting { counts, clock: Arc::clone(&context.clock) };
    Ok(Arc::new(Count { counting: Arc::new(counting), tasks: context.tasks.clone(), next: outputs.all() }))
}

fn counted(context: Context, name: String, metric: &MetricConfig) -> Result<Counted, ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::at("", "metric name missing"));
    }
    if context == Context::Metric && !metric.attributes.is_empty() {
        return Err(ConfigError::at(&name, "metrics attributes not supported"));
    }
    if metric.attributes.iter().any(|attribute| attribute.key.is_empty()) {
        return Err(ConfigError::at(&name, "attribute key missing"));
    }
    let conditions = match metric.conditions.is_empty() {
        true => None,
        false => {
            let paths = match metric.conditions.iter().any(|text| names_its_context(context, text)) {
                true => Paths::Named,
                false => Paths::Own,
            };
            let conditions = Conditions::new(context, paths, &metric.conditions, ErrorMode::Propagate);
            Some(conditions.map_err(|error| ConfigError::at(&name, error.to_string()))?)
        }
    };
    let attributes = metric.attributes.iter();
    let attributes =
        attributes.map(|attribute| (attribute.key.clone(), attribute.default_value.as_ref().map(encoded)));
    let attributes = attributes.collect();
    Ok(Counted { name, description: metric.description.clone(), context, conditions, attributes })
}

/// Whether a condition is written with the names of contexts in its paths; both ways are taken.
fn names_its_context(context: Context, text: &str) -> bool {
    text.contains(&format!("{}.", context.name()))
}

struct Count {
    counting: Arc<Counting>,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

struct Counting {
    counts: Vec<Counted>,
    clock: Arc<dyn Clock>,
}

/// The counts of one resource.
#[derive(Default)]
struct Counts {
    resource: Vec<u8>,
    /// By index of the named count and its encoded attributes.
    values: BTreeMap<(usize, Vec<u8>), u64>,
    /// Start and end of what was counted, by context.
    times: Vec<(Context, u64, u64)>,
}

impl Counts {
    fn take_time(&mut self, context: Context, (first, last): (u64, u64)) {
        for time in [first, last].into_iter().filter(|time| *time != 0) {
            match self.times.iter_mut().find(|(known, ..)| *known == context) {
                Some((_, start, end)) => (*start, *end) = (time.min(*start), time.max(*end)),
                None => self.times.push((context, time, time)),
            }
        }
    }

    fn times(&self, context: Context, now: u64) -> (u64, u64) {
        let known = self.times.iter().find(|(known, ..)| *known == context);
        known.map_or((now, now), |(_, start, end)| (*start, *end))
    }
}

impl Counting {
    fn count(&self, batch: &Batch) -> Result<(Bytes, u64), RunError> {
        let now_ns = self.clock.now_ns();
        let mut all: Vec<Counts> = Vec::new();
        let mut contexts: Vec<Context> = self.counts.iter().map(|counted| counted.context).collect();
        contexts.push(Context::Resource);
        ottl::look(batch.signal, &batch.payload, &contexts, batch.around(now_ns), |context, spot| {
            if context == Context::Resource {
                // Only its attributes, as the collector does it: a count is no record of that resource.
                let mut resource = Vec::new();
                copy_fields(&spot.resource()?, &mut resource, |number| number == 1)?;
                all.push(Counts { resource, ..Counts::default() });
                return Ok(());
            }
            let Some(counts) = all.last_mut() else { return Ok(()) };
            counts.take_time(context, spot.times(context));
            for (index, counted) in self.counts.iter().enumerate().filter(|(_, c)| c.context == context) {
                let Some(attributes) = attributes_of(counted, context, &spot)? else { continue };
                let holds = match &counted.conditions {
                    Some(conditions) => spot.matches(conditions, &|_, _| ())?,
                    None => true,
                };
                if holds {
                    *counts.values.entry((index, attributes)).or_default() += 1;
                }
            }
            Ok(())
        })?;
        let mut out = Vec::new();
        let mut items = 0;
        for counts in all.iter().filter(|counts| !counts.values.is_empty()) {
            items += counts.values.len() as u64;
            self.write(counts, now_ns as u64, &mut out);
        }
        Ok((out.into(), items))
    }

    /// Appends a `ResourceMetrics` with a delta sum for each named count.
    fn write(&self, counts: &Counts, now: u64, out: &mut Vec<u8>) {
        /// `AGGREGATION_TEMPORALITY_DELTA`.
        const DELTA: u64 = 1;
        const SCOPE: &str =
            "github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector";
        put_message(out, 1, |out| {
            put_bytes_field(out, 1, &counts.resource);
            put_message(out, 2, |out| {
                put_message(out, 1, |out| put_bytes_field(out, 1, SCOPE.as_bytes()));
                for (index, counted) in self.counts.iter().enumerate() {
                    let values = counts.values.range((index, Vec::new())..(index + 1, Vec::new()));
                    let mut values = values.peekable();
                    if values.peek().is_none() {
                        continue;
                    }
                    let (start, end) = counts.times(counted.context, now);
                    put_message(out, 2, |out| {
                        put_bytes_field(out, 1, counted.name.as_bytes());
                        put_bytes_field(out, 2, counted.description.as_bytes());
                        let sum = begin_message(out, 7);
                        for ((_, attributes), value) in values {
                            put_message(out, 1, |out| {
                                out.extend_from_slice(attributes);
                                put_fixed64_field(out, 2, start);
                                put_fixed64_field(out, 3, end);
                                put_fixed64_field(out, 6, *value);
                            });
                        }
                        put_varint_field(out, 2, DELTA);
                        put_varint_field(out, 3, 1);
                        sum.end(out);
                    });
                }
            });
        });
    }
}

impl Count {
    async fn pass_on(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let (counting, counted) = (Arc::clone(&self.counting), batch.clone());
        let work = move || {
            let counts = counting.count(&counted);
            counts.map_err(|error| PipelineError::new(error.kind(), format!("count connector: {error}")))
        };
        let (payload, items) =
            off_thread_if_large(&self.tasks, batch.payload.len(), "count connector", work).await?;
        if items > 0 {
            let counts = Batch { signal: Signal::Metrics, payload, items, ..batch.clone() };
            self.next.consume(counts).await?;
        }
        // The records themselves are dealt with: they are counted.
        Ok(AppendReport { stored: batch.items, rejected: Vec::new() })
    }
}

/// The attributes of a count, as encoded fields of a data point; `None` when one is missing.
fn attributes_of(
    counted: &Counted,
    context: Context,
    spot: &ottl::Spot<'_, '_>,
) -> Result<Option<Vec<u8>>, RunError> {
    /// Field of `NumberDataPoint` that holds its attributes.
    const ATTRIBUTES: u32 = 7;
    let mut fields = Vec::new();
    for (key, default) in &counted.attributes {
        match spot.attribute(context, key)?.or_else(|| default.clone()) {
            Some(value) => put_key_value(&mut fields, ATTRIBUTES, key, &value),
            None => return Ok(None),
        }
    }
    Ok(Some(fields))
}

impl Consumer for Count {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.pass_on(batch))
    }
}

#[cfg(test)]
mod tests;

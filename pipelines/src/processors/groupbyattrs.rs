//! `groupbyattrs`: moves attributes of records up to their resource, and puts records of equal resources together.
//!
//! Without keys it only joins equal resources, scopes and metrics of a request (compaction). Records are moved as bytes;
//! a record that has none of the keys keeps its own. As in the collector (processor/groupbyattrsprocessor), resources are
//! equal when their attributes are, whatever their order, and of what is around
//! records only the attributes of resources and the scopes are kept.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hashbrown::HashMap;
use model::{AppendReport, Signal};
use runtime::Tasks;
use serde::Deserialize;
use wire::DecodeError;
use wire::otlp::edit::{
    copy_fields, is_group, is_metric_data, is_point, is_record, is_scope_group, put_key_value, singular,
};
use wire::otlp::{KeyValue, View};
use wire::protobuf::{Fields, begin_message, put_bytes_field};

use super::hand_on::{edit_and_hand_on, refused};
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineResult, Processor, ProcessorContext,
    ProcessorFactory, Stability,
};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "groupbyattrs", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Attributes that move from records to their resource. Default none: equal resources are joined.
    keys: Vec<String>,
}

fn create(
    config: &ComponentConfig<'_>,
    _signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let config: Config = config.parse()?;
    // Of keys that are given twice one is enough; an empty key names nothing.
    let mut keys: Vec<String> = Vec::new();
    for key in config.keys {
        if !key.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(Arc::new(GroupByAttrs { keys: keys.into(), tasks: context.tasks.clone(), next }))
}

struct GroupByAttrs {
    keys: Arc<[String]>,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

impl Consumer for GroupByAttrs {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let keys = Arc::clone(&self.keys);
        edit_and_hand_on(&*self.next, &self.tasks, "groupbyattrs processor", batch, move |batch| {
            let grouped = Grouping::of(batch.signal, &batch.payload, &keys);
            grouped.map_err(|error| refused("groupbyattrs", error.kind(), &error))
        })
    }
}

impl Processor for GroupByAttrs {}

/// The groups of a request as they grow.
struct Grouping<'a> {
    keys: &'a [String],
    groups: Vec<Group<'a>>,
    /// Groups by the attributes of their resource, in one order.
    by_attributes: HashMap<Vec<u8>, usize>,
}

struct Group<'a> {
    resource: Vec<u8>,
    scopes: Vec<ScopeOf<'a>>,
}

struct ScopeOf<'a> {
    scope: &'a [u8],
    /// Log records or spans as encoded fields.
    records: Vec<u8>,
    metrics: Vec<MetricOf<'a>>,
}

struct MetricOf<'a> {
    name: &'a [u8],
    /// The metric, for everything but its points.
    metric: &'a [u8],
    /// The field that holds the points, and its content.
    data_number: u32,
    data: &'a [u8],
    points: Vec<u8>,
}

/// The pairs of a message that have one of the keys, in the order of the keys.
type Moved<'a> = Vec<(&'a str, &'a [u8])>;

/// Every child of `message` in the fields that `is_child` names.
fn children<'a>(
    message: &'a [u8],
    is_child: impl Fn(u32) -> bool,
    mut each: impl FnMut(u32, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        if is_child(field.number) {
            each(field.number, field.bytes()?)?;
        }
    }
    Ok(())
}

impl<'a> Grouping<'a> {
    fn of(signal: Signal, payload: &'a [u8], keys: &'a [String]) -> Result<Bytes, DecodeError> {
        let mut grouping = Self { keys, groups: Vec::new(), by_attributes: HashMap::new() };
        children(payload, is_group, |_, group| {
            let resource = singular(group, 1)?;
            children(group, is_scope_group, |_, scope_group| {
                let scope = singular(scope_group, 1)?;
                children(scope_group, is_record, |_, record| match signal {
                    Signal::Logs => grouping.record(resource, scope, record, 6),
                    Signal::Traces => grouping.record(resource, scope, record, 9),
                    Signal::Metrics => grouping.metric(resource, scope, record),
                })
            })
        })?;
        Ok(grouping.written(payload.len())?.into())
    }

    fn record(
        &mut self,
        resource: &'a [u8],
        scope: &'a [u8],
        record: &'a [u8],
        attributes: u32,
    ) -> Result<(), DecodeError> {
        let moved = self.moved(record, attributes)?;
        let scope = self.scope(resource, scope, &moved)?;
        put_without(&mut scope.records, 2, record, attributes, &moved)
    }

    fn metric(&mut self, resource: &'a [u8], scope: &'a [u8], metric: &'a [u8]) -> Result<(), DecodeError> {
        let name = singular(metric, 1)?;
        children(metric, is_metric_data, |data_number, data| {
            let attributes = match data_number {
                9 => 9,
                10 => 1,
                _ => 7,
            };
            children(data, is_point, |_, point| {
                let moved = self.moved(point, attributes)?;
                let metrics = &mut self.scope(resource, scope, &moved)?.metrics;
                let known = metrics.iter().position(|m| m.name == name && m.data_number == data_number);
                let index = known.unwrap_or(metrics.len());
                if known.is_none() {
                    metrics.push(MetricOf { name, metric, data_number, data, points: Vec::new() });
                }
                put_without(&mut metrics[index].points, 1, point, attributes, &moved)
            })
        })
    }

    fn moved(&self, record: &'a [u8], attributes: u32) -> Result<Moved<'a>, DecodeError> {
        let mut found = Vec::new();
        if self.keys.is_empty() {
            return Ok(found);
        }
        children(
            record,
            |number| number == attributes,
            |_, pair| {
                let pair = KeyValue::parse(pair)?;
                let key = pair.key()?;
                if self.keys.iter().any(|wanted| wanted == key)
                    && !found.iter().any(|(known, _)| *known == key)
                {
                    found.push((key, pair.value_bytes()));
                }
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// The scope of the group whose resource is `resource` with the moved attributes.
    fn scope(
        &mut self,
        resource: &'a [u8],
        scope: &'a [u8],
        moved: &Moved<'a>,
    ) -> Result<&mut ScopeOf<'a>, DecodeError> {
        let mut pairs: Moved<'a> = Vec::new();
        children(
            resource,
            |number| number == 1,
            |_, pair| {
                let pair = KeyValue::parse(pair)?;
                pairs.push((pair.key()?, pair.value_bytes()));
                Ok(())
            },
        )?;
        for (key, value) in moved {
            match pairs.iter_mut().find(|(known, _)| known == key) {
                Some(known) => known.1 = value,
                None => pairs.push((key, value)),
            }
        }
        let mut sorted = pairs.clone();
        sorted.sort_unstable();
        let mut key = Vec::new();
        sorted.iter().for_each(|(name, value)| put_key_value(&mut key, 1, name, value));
        let index = match self.by_attributes.get(&key) {
            Some(index) => *index,
            None => {
                let mut written = Vec::with_capacity(resource.len() + 32);
                pairs.iter().for_each(|(name, value)| put_key_value(&mut written, 1, name, value));
                self.groups.push(Group { resource: written, scopes: Vec::new() });
                self.by_attributes.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let scopes = &mut self.groups[index].scopes;
        let position = scopes.iter().position(|known| known.scope == scope);
        let position = position.unwrap_or(scopes.len());
        if position == scopes.len() {
            scopes.push(ScopeOf { scope, records: Vec::new(), metrics: Vec::new() });
        }
        Ok(&mut scopes[position])
    }

    fn written(&self, len: usize) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::with_capacity(len);
        for group in &self.groups {
            let open = begin_message(&mut out, 1);
            put_bytes_field(&mut out, 1, &group.resource);
            for scope in &group.scopes {
                let open = begin_message(&mut out, 2);
                put_bytes_field(&mut out, 1, scope.scope);
                out.extend_from_slice(&scope.records);
                for metric in &scope.metrics {
                    let open = begin_message(&mut out, 2);
                    copy_fields(metric.metric, &mut out, |number| !is_metric_data(number))?;
                    let data = begin_message(&mut out, metric.data_number);
                    out.extend_from_slice(&metric.points);
                    copy_fields(metric.data, &mut out, |number| !is_point(number))?;
                    data.end(&mut out);
                    open.end(&mut out);
                }
                open.end(&mut out);
            }
            open.end(&mut out);
        }
        Ok(out)
    }
}

/// Appends `record` as field `number` without the moved attributes.
fn put_without(
    out: &mut Vec<u8>,
    number: u32,
    record: &[u8],
    attributes: u32,
    moved: &Moved<'_>,
) -> Result<(), DecodeError> {
    if moved.is_empty() {
        put_bytes_field(out, number, record);
        return Ok(());
    }
    let open = begin_message(out, number);
    let mut fields = Fields::new(record);
    let mut start = 0;
    while let Some(field) = fields.next_field()? {
        let end = fields.offset();
        let is_moved = field.number == attributes && {
            let key = KeyValue::parse(field.bytes()?)?.key_bytes();
            moved.iter().any(|(name, _)| name.as_bytes() == key)
        };
        if !is_moved {
            out.extend_from_slice(&record[start..end]);
        }
        start = end;
    }
    open.end(out);
    Ok(())
}

#[cfg(test)]
mod tests;

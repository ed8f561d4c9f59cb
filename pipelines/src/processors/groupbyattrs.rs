//! `groupbyattrs`: moves attributes of records up to their resource, and puts records of equal resources together.
//!
//! Without keys it only joins equal resources, scopes and metrics of a request (compaction). Records are moved as bytes;
//! a record that has none of the keys keeps its own. As in the collector (processor/groupbyattrsprocessor), resources are
//! equal when their attributes are, whatever their order, and of what is around
//! records only the attributes of resources and the scopes are kept.

use std::rc::Rc;
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
use wire::otlp::{KeyValue, PartsRoom, View};
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

/// The groups of a request as they grow. What is the same for many records (resource, scope, the metric around points)
/// is read once, and places are found by hashes of its numbers: a record costs no more for what is around it.
struct Grouping<'a> {
    keys: &'a [String],
    groups: Vec<Group<'a>>,
    /// Groups by the attributes of their resource, in one order.
    by_attributes: HashMap<Vec<u8>, usize>,
    /// Numbers of scopes and of names of metrics, by their bytes.
    scope_numbers: HashMap<&'a [u8], usize>,
    name_numbers: HashMap<&'a [u8], usize>,
    /// Places by group and number of the scope.
    scope_places: HashMap<(usize, usize), usize>,
    /// Places by group, place of the scope, number of the name and field of the points.
    metric_places: HashMap<(usize, usize, usize, u32), usize>,
    /// For everything that is written once for each group.
    room: PartsRoom,
}

struct Group<'a> {
    resource: Vec<u8>,
    scopes: Vec<ScopeOf<'a>>,
}

struct ScopeOf<'a> {
    scope: &'a [u8],
    /// Log records or spans as encoded fields.
    records: Vec<u8>,
    metrics: Vec<MetricOf>,
}

struct MetricOf {
    around: Rc<AroundPoints>,
    points: Vec<u8>,
}

/// A metric without its points.
struct AroundPoints {
    /// Its fields but for the one with the points.
    metric: Vec<u8>,
    /// The field that holds the points, and its other fields.
    data_number: u32,
    data: Vec<u8>,
}

/// The pairs of a message that have one of the keys, in the order of the message.
type Moved<'a> = Vec<(&'a str, &'a [u8])>;

/// A resource of the request, read once.
struct Base<'a> {
    pairs: Moved<'a>,
    /// The groups of its records by what moves up to it.
    groups: HashMap<Moved<'a>, usize>,
}

impl<'a> Base<'a> {
    fn read(resource: &'a [u8]) -> Result<Self, DecodeError> {
        let mut pairs = Vec::new();
        children(
            resource,
            |number| number == 1,
            |_, pair| {
                let pair = KeyValue::parse(pair)?;
                pairs.push((pair.key()?, pair.value_bytes()));
                Ok(())
            },
        )?;
        Ok(Self { pairs, groups: HashMap::new() })
    }

    /// Its pairs with others moved up to it.
    fn with(&self, moved: &Moved<'a>) -> Moved<'a> {
        let mut pairs = self.pairs.clone();
        for (key, value) in moved {
            match pairs.iter_mut().find(|(known, _)| known == key) {
                Some(known) => known.1 = value,
                None => pairs.push((key, value)),
            }
        }
        pairs
    }
}

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
        let mut grouping = Self {
            keys,
            groups: Vec::new(),
            by_attributes: HashMap::new(),
            scope_numbers: HashMap::new(),
            name_numbers: HashMap::new(),
            scope_places: HashMap::new(),
            metric_places: HashMap::new(),
            room: PartsRoom::of(payload.len()),
        };
        children(payload, is_group, |_, group| {
            let mut base = Base::read(singular(group, 1)?)?;
            children(group, is_scope_group, |_, scope_group| {
                let scope = singular(scope_group, 1)?;
                let next = grouping.scope_numbers.len();
                let scope = (*grouping.scope_numbers.entry(scope).or_insert(next), scope);
                children(scope_group, is_record, |_, record| match signal {
                    Signal::Logs => grouping.record(&mut base, scope, record, 6),
                    Signal::Traces => grouping.record(&mut base, scope, record, 9),
                    Signal::Metrics => grouping.metric(&mut base, scope, record),
                })
            })
        })?;
        Ok(grouping.written(payload.len()).into())
    }

    fn record(
        &mut self,
        base: &mut Base<'a>,
        scope: (usize, &'a [u8]),
        record: &'a [u8],
        attributes: u32,
    ) -> Result<(), DecodeError> {
        let moved = self.moved(record, attributes)?;
        let (group, place) = self.place(base, scope, &moved)?;
        put_without(&mut self.groups[group].scopes[place].records, 2, record, attributes, &moved)
    }

    fn metric(
        &mut self,
        base: &mut Base<'a>,
        scope: (usize, &'a [u8]),
        metric: &'a [u8],
    ) -> Result<(), DecodeError> {
        let next = self.name_numbers.len();
        let name = *self.name_numbers.entry(singular(metric, 1)?).or_insert(next);
        let mut around_metric = Vec::new();
        copy_fields(metric, &mut around_metric, |number| !is_metric_data(number))?;
        children(metric, is_metric_data, |data_number, data| {
            let mut around = AroundPoints { metric: around_metric.clone(), data_number, data: Vec::new() };
            copy_fields(data, &mut around.data, |number| !is_point(number))?;
            let around = Rc::new(around);
            let attributes = match data_number {
                9 => 9,
                10 => 1,
                _ => 7,
            };
            children(data, is_point, |_, point| {
                let moved = self.moved(point, attributes)?;
                let (group, scope) = self.place(base, scope, &moved)?;
                let metrics = &mut self.groups[group].scopes[scope].metrics;
                let place =
                    *self.metric_places.entry((group, scope, name, data_number)).or_insert(metrics.len());
                if place == metrics.len() {
                    self.room.take(PLACE_BYTES + around.metric.len() + around.data.len())?;
                    metrics.push(MetricOf { around: Rc::clone(&around), points: Vec::new() });
                }
                put_without(&mut metrics[place].points, 1, point, attributes, &moved)
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

    /// The group of a resource with the moved attributes, and the place of a scope in it.
    fn place(
        &mut self,
        base: &mut Base<'a>,
        (number, scope): (usize, &'a [u8]),
        moved: &Moved<'a>,
    ) -> Result<(usize, usize), DecodeError> {
        let group = match base.groups.get(moved) {
            Some(group) => *group,
            None => {
                let group = self.group(base.with(moved))?;
                base.groups.insert(moved.clone(), group);
                group
            }
        };
        let scopes = &mut self.groups[group].scopes;
        let place = *self.scope_places.entry((group, number)).or_insert(scopes.len());
        if place == scopes.len() {
            self.room.take(PLACE_BYTES + scope.len())?;
            scopes.push(ScopeOf { scope, records: Vec::new(), metrics: Vec::new() });
        }
        Ok((group, place))
    }

    /// The group of these attributes, whatever their order.
    fn group(&mut self, pairs: Moved<'a>) -> Result<usize, DecodeError> {
        let mut sorted = pairs.clone();
        sorted.sort_unstable();
        let mut key = Vec::new();
        sorted.iter().for_each(|(name, value)| put_key_value(&mut key, 1, name, value));
        // In the index and in the group; or read in vain, which takes its time too.
        self.room.take(PLACE_BYTES + 2 * key.len())?;
        let next = self.groups.len();
        let group = *self.by_attributes.entry(key).or_insert(next);
        if group == next {
            let mut resource = Vec::new();
            pairs.iter().for_each(|(name, value)| put_key_value(&mut resource, 1, name, value));
            self.groups.push(Group { resource, scopes: Vec::new() });
        }
        Ok(group)
    }

    fn written(&self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        for group in &self.groups {
            let open = begin_message(&mut out, 1);
            put_bytes_field(&mut out, 1, &group.resource);
            for scope in &group.scopes {
                let open = begin_message(&mut out, 2);
                put_bytes_field(&mut out, 1, scope.scope);
                out.extend_from_slice(&scope.records);
                for MetricOf { around, points } in &scope.metrics {
                    let open = begin_message(&mut out, 2);
                    out.extend_from_slice(&around.metric);
                    let data = begin_message(&mut out, around.data_number);
                    out.extend_from_slice(points);
                    out.extend_from_slice(&around.data);
                    data.end(&mut out);
                    open.end(&mut out);
                }
                open.end(&mut out);
            }
            open.end(&mut out);
        }
        out
    }
}

/// What a group, a scope or a metric costs beside its bytes.
const PLACE_BYTES: usize = 64;

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

//! What a statement sees: the record that is at hand and everything around it.

use crate::message::Message;
use crate::value::Map;

/// Which message a path reaches into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// `ResourceLogs` and its like: the schema URL.
    Group,
    Resource,
    /// `ScopeLogs` and its like: the schema URL.
    ScopeGroup,
    Scope,
    /// The log record, span or metric.
    Record,
    /// A metric's `Gauge`, `Sum`, … around its points.
    Data,
    /// The data point or span event.
    Item,
}

/// The messages around one place of a payload.
#[derive(Debug, Default)]
pub(crate) struct Frame<'p> {
    pub(crate) group: Message<'p>,
    pub(crate) resource: Message<'p>,
    pub(crate) scope_group: Message<'p>,
    pub(crate) scope: Message<'p>,
    pub(crate) record: Message<'p>,
    pub(crate) data: Message<'p>,
    pub(crate) item: Message<'p>,
    /// Field of the metric that holds `data`: 5 gauge, 7 sum, 9 histogram, 10 exponential histogram, 11 summary; 0 none.
    pub(crate) data_number: u32,
    /// Position of the span event at hand.
    pub(crate) event_index: i64,
    pub(crate) cache: Map<'p>,
    /// The time of the run, nanoseconds since the Unix epoch.
    pub(crate) now_ns: i64,
}

impl<'p> Frame<'p> {
    pub(crate) fn message(&self, level: Level) -> &Message<'p> {
        match level {
            Level::Group => &self.group,
            Level::Resource => &self.resource,
            Level::ScopeGroup => &self.scope_group,
            Level::Scope => &self.scope,
            Level::Record => &self.record,
            Level::Data => &self.data,
            Level::Item => &self.item,
        }
    }

    pub(crate) fn message_mut(&mut self, level: Level) -> &mut Message<'p> {
        match level {
            Level::Group => &mut self.group,
            Level::Resource => &mut self.resource,
            Level::ScopeGroup => &mut self.scope_group,
            Level::Scope => &mut self.scope,
            Level::Record => &mut self.record,
            Level::Data => &mut self.data,
            Level::Item => &mut self.item,
        }
    }
}

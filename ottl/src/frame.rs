//! What a statement sees: the record that is at hand and everything around it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::{Eval, RunError};
use crate::message::Message;
use crate::sender::Sender;
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
    /// Who sent the payload.
    pub(crate) sender: Option<Arc<dyn Sender>>,
    /// Encoded metrics that come behind those of the scope at hand.
    pub(crate) added: Vec<Vec<u8>>,
    pub(crate) added_bytes: usize,
    /// Every point of the summary at hand, as statements left it so far, where points are visited.
    pub(crate) points: Vec<Cow<'p, [u8]>>,
    /// Which of them is in `item`.
    pub(crate) point: usize,
}

/// Most bytes of metrics that statements may add to a payload: what a point adds may hold all points of its metric.
const ADDED_BYTES_MAX: usize = 64 << 20;

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

    /// Adds a metric behind those of its scope.
    pub(crate) fn add(&mut self, metric: Vec<u8>) -> Eval<()> {
        self.added_bytes += metric.len();
        if self.added_bytes > ADDED_BYTES_MAX {
            return Err(RunError::new(format!(
                "the statements add more than {ADDED_BYTES_MAX} bytes of metrics to one payload"
            )));
        }
        self.added.push(metric);
        Ok(())
    }

    /// The point of the summary at hand as it now is, if a statement changed it.
    fn changed_point(&self) -> Eval<Option<Cow<'p, [u8]>>> {
        if !self.item.is_changed() {
            return Ok(None);
        }
        let mut out = Vec::new();
        self.item.write(&mut out)?;
        Ok(Some(Cow::Owned(out)))
    }

    /// The points of the summary at hand, the one that is being visited as it now is.
    pub(crate) fn points_now(&self) -> Eval<Vec<Cow<'p, [u8]>>> {
        let mut points = self.points.clone();
        if let (Some(place), Some(point)) = (points.get_mut(self.point), self.changed_point()?) {
            *place = point;
        }
        Ok(points)
    }

    /// Ends the visit of a point of a summary.
    pub(crate) fn keep_point(&mut self) -> Eval<()> {
        let changed = self.changed_point()?;
        if let (Some(place), Some(point)) = (self.points.get_mut(self.point), changed) {
            *place = point;
        }
        self.point += 1;
        Ok(())
    }
}

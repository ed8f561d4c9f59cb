//! The walk over a payload: loads the messages around each place, lets a visitor see and change them, writes what changed.

use bytes::Bytes;
use model::Signal;
use wire::otlp::edit::{
    Fate, Fates, edit_children, is_group, is_metric_data, is_point, is_record, is_scope_group, singular,
};
use wire::protobuf::{Fields, begin_message, put_bytes_field};

use super::Outcome;
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::message::Message;
use crate::path::SUMMARY;
use crate::sender::Around;

/// What happens at the places of a walk.
pub(super) trait Visit<'p> {
    /// Whether it wants to see the places of this context.
    fn wants(&self, context: Context) -> bool;

    /// Sees a place, may change it, and says whether it stays.
    fn visit(&mut self, context: Context, frame: &mut Frame<'p>) -> Eval<bool>;

    /// Whether groups and metrics without content go.
    fn drops_empty(&self) -> bool;
}

/// Field of a scope's group that holds its records.
const RECORDS: u32 = 2;

/// Field of a span that holds its events.
const EVENTS: u32 = 11;

/// A walk under way.
pub(super) struct Walk<'v, 'p, V> {
    signal: Signal,
    visitor: &'v mut V,
    frame: Frame<'p>,
    /// How deep the visitor wants to look.
    deepest: Depth,
    drops_empty: bool,
    /// Most that a group may become.
    out_bytes_max: usize,
    /// How many metrics of each scope, in order, an earlier pass has seen; `None` in the first pass.
    known: Option<&'v [usize]>,
    /// The same for a next pass.
    seen: Vec<usize>,
    /// Position of the record at hand in its scope.
    record: usize,
    has_added: bool,
}

/// What a pass over a payload made.
pub(super) struct Pass {
    pub(super) outcome: Outcome,
    /// How many metrics of each scope have been seen.
    pub(super) seen: Vec<usize>,
    /// Whether metrics were added, which have not been seen.
    pub(super) has_added: bool,
}

/// A group may become this many times as large as the payload, and [`OUTPUT_BYTES_SPARE`]: statements that copy a lot into
/// each record could take all memory.
const OUTPUT_RATIO_MAX: usize = 32;
const OUTPUT_BYTES_SPARE: usize = 32 << 20;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Resource,
    Scope,
    Record,
    Item,
}

impl<'v, 'p, V: Visit<'p>> Walk<'v, 'p, V> {
    /// Walks a payload.
    pub(super) fn over(
        signal: Signal,
        payload: &'p Bytes,
        around: &Around,
        visitor: &'v mut V,
    ) -> Eval<Outcome> {
        Self::pass(signal, payload, around, visitor, None).map(|pass| pass.outcome)
    }

    /// Walks a payload, and shows of its records only those that an earlier pass has not seen.
    pub(super) fn pass(
        signal: Signal,
        payload: &'p Bytes,
        around: &Around,
        visitor: &'v mut V,
        known: Option<&'v [usize]>,
    ) -> Eval<Pass> {
        let depths = [
            (Context::SpanEvent, Depth::Item),
            (Context::DataPoint, Depth::Item),
            (Context::Log, Depth::Record),
            (Context::Span, Depth::Record),
            (Context::Metric, Depth::Record),
            (Context::Scope, Depth::Scope),
        ];
        let wanted = depths.into_iter().filter(|(context, _)| visitor.wants(*context));
        let deepest = wanted.map(|(_, depth)| depth).max().unwrap_or(Depth::Resource);
        let drops_empty = visitor.drops_empty();
        let Around { now_ns, sender } = around.clone();
        let frame = Frame { now_ns, sender, ..Frame::default() };
        let out_bytes_max = payload.len() * OUTPUT_RATIO_MAX + OUTPUT_BYTES_SPARE;
        let mut walk = Self {
            signal,
            visitor,
            frame,
            deepest,
            drops_empty,
            out_bytes_max,
            known,
            seen: Vec::new(),
            record: 0,
            has_added: false,
        };
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 8);
        let fates = edit_children(payload, &mut out, is_group, |_, group, out| walk.group(group, out))?;
        let is_changed = fates.any_change();
        let (seen, has_added) = (walk.seen, walk.has_added);
        let payload = if is_changed { out.into() } else { payload.clone() };
        Ok(Pass { outcome: Outcome { payload, is_changed }, seen, has_added })
    }

    /// Visits a place; its cache is its own.
    fn visit(&mut self, context: Context) -> Eval<bool> {
        if !self.visitor.wants(context) {
            return Ok(true);
        }
        self.frame.cache.0.clear();
        self.visitor.visit(context, &mut self.frame)
    }

    fn group(&mut self, group: &'p [u8], out: &mut Vec<u8>) -> Eval<Fate> {
        self.frame.group.load(group, |number| number <= 2)?;
        let resource = singular(group, 1)?;
        self.frame.resource.load(resource, |_| false)?;
        if !self.visit(Context::Resource)? {
            return Ok(Fate::Removed);
        }
        let goes_on = self.deepest > Depth::Resource;
        let fates = edit_children(group, out, is_scope_group, |_, scope_group, out| match goes_on {
            true => self.scope_group(scope_group, out),
            false => Ok(Fate::Kept),
        })?;
        let frame = &self.frame;
        envelope(fates, self.drops_empty, resource, &frame.resource, &frame.group, out)
    }

    fn scope_group(&mut self, group: &'p [u8], out: &mut Vec<u8>) -> Eval<Fate> {
        self.frame.scope_group.load(group, |number| number <= 2)?;
        let scope = singular(group, 1)?;
        self.frame.scope.load(scope, |_| false)?;
        if !self.visit(Context::Scope)? {
            return Ok(Fate::Removed);
        }
        let goes_on = self.deepest > Depth::Scope;
        self.record = 0;
        let mut fates =
            edit_children(group, out, is_record, |_, record, out| match (goes_on, self.signal) {
                (false, _) => Ok(Fate::Kept),
                (true, Signal::Logs) => self.log(record, out),
                (true, Signal::Traces) => self.span(record, out),
                (true, Signal::Metrics) => {
                    let is_known = self.known.is_some_and(|known| {
                        known.get(self.seen.len()).is_some_and(|count| self.record < *count)
                    });
                    self.record += 1;
                    if is_known { Ok(Fate::Kept) } else { self.metric(record, out) }
                }
            })?;
        self.seen.push(self.record);
        for metric in self.frame.added.drain(..) {
            put_bytes_field(out, RECORDS, &metric);
            fates.replaced += 1;
            self.has_added = true;
        }
        let frame = &self.frame;
        envelope(fates, self.drops_empty, scope, &frame.scope, &frame.scope_group, out)
    }

    fn log(&mut self, record: &'p [u8], out: &mut Vec<u8>) -> Eval<Fate> {
        self.frame.record.load(record, |_| false)?;
        if !self.visit(Context::Log)? {
            return Ok(Fate::Removed);
        }
        written(&self.frame.record, out, self.out_bytes_max)
    }

    fn span(&mut self, span: &'p [u8], out: &mut Vec<u8>) -> Eval<Fate> {
        if self.visitor.wants(Context::Span) {
            self.frame.record.load(span, |_| false)?;
            if !self.visit(Context::Span)? {
                return Ok(Fate::Removed);
            }
        }
        if self.deepest < Depth::Item {
            return written(&self.frame.record, out, self.out_bytes_max);
        }
        self.frame.record.load(span, |number| number == EVENTS)?;
        self.frame.event_index = -1;
        let fates = edit_children(
            span,
            out,
            |number| number == EVENTS,
            |_, event, out| {
                self.frame.event_index += 1;
                self.frame.item.load(event, |_| false)?;
                match self.visit(Context::SpanEvent)? {
                    true => written(&self.frame.item, out, self.out_bytes_max),
                    false => Ok(Fate::Removed),
                }
            },
        )?;
        if !fates.any_change() && !self.frame.record.is_changed() {
            return Ok(Fate::Kept);
        }
        self.frame.record.write(out)?;
        Ok(Fate::Replaced)
    }

    fn metric(&mut self, metric: &'p [u8], out: &mut Vec<u8>) -> Eval<Fate> {
        self.frame.record.load(metric, is_metric_data)?;
        let (number, data) = metric_data(metric)?;
        self.frame.data_number = number;
        if self.visitor.wants(Context::Metric) {
            self.frame.data.load(data, |_| false)?;
            if !self.visit(Context::Metric)? {
                return Ok(Fate::Removed);
            }
        }
        // A statement may have made a metric of another type of it.
        let number = self.frame.data_number;
        if number == 0 {
            // A metric without data.
            return written(&self.frame.record, out, self.out_bytes_max);
        }
        let open = begin_message(out, number);
        let mut fates = Fates::default();
        if self.deepest == Depth::Item {
            fates = self.points(data, number, out)?;
            if self.drops_empty && fates.none_left() {
                return Ok(Fate::Removed);
            }
        }
        let frame = &self.frame;
        if !fates.any_change() && !frame.record.is_changed() && !frame.data.is_changed() {
            return Ok(Fate::Kept);
        }
        frame.data.write(out)?;
        open.end(out);
        frame.record.write(out)?;
        Ok(Fate::Replaced)
    }

    /// The points of a metric whose points are in field `number`.
    fn points(&mut self, data: &'p [u8], number: u32, out: &mut Vec<u8>) -> Eval<Fates> {
        // Some functions make of each point of a summary a metric of all of them.
        let is_summary = number == SUMMARY;
        if is_summary {
            self.frame.data.load(data, |_| false)?;
            self.frame.points = self.frame.data.all_bytes(1);
            self.frame.point = 0;
        }
        self.frame.data.load(data, is_point)?;
        edit_children(data, out, is_point, |_, point, out| {
            self.frame.item.load(point, |_| false)?;
            let stays = self.visit(Context::DataPoint)?;
            if is_summary {
                self.frame.keep_point()?;
            }
            match stays {
                true => written(&self.frame.item, out, self.out_bytes_max),
                false => Ok(Fate::Removed),
            }
        })
    }
}

/// Ends a group: writes the message that it is about and its other fields, if anything changed.
fn envelope(
    fates: Fates,
    drops_empty: bool,
    raw: &[u8],
    about: &Message<'_>,
    rest: &Message<'_>,
    out: &mut Vec<u8>,
) -> Eval<Fate> {
    if drops_empty && fates.none_left() {
        return Ok(Fate::Removed);
    }
    if !fates.any_change() && !about.is_changed() && !rest.is_changed() {
        return Ok(Fate::Kept);
    }
    if about.is_changed() {
        let open = begin_message(out, 1);
        about.write(out)?;
        open.end(out);
    } else if !raw.is_empty() {
        put_bytes_field(out, 1, raw);
    }
    rest.write(out)?;
    Ok(Fate::Replaced)
}

fn written(message: &Message<'_>, out: &mut Vec<u8>, out_bytes_max: usize) -> Eval<Fate> {
    if !message.is_changed() {
        return Ok(Fate::Kept);
    }
    message.write(out)?;
    if out.len() > out_bytes_max {
        return Err(RunError::new(format!(
            "the payload would grow beyond {out_bytes_max} bytes, {OUTPUT_RATIO_MAX} times its size and a little"
        )));
    }
    Ok(Fate::Replaced)
}

/// The field that holds a metric's points, and its content; 0 when there is none.
fn metric_data(metric: &[u8]) -> Eval<(u32, &[u8])> {
    let mut found: (u32, &[u8]) = (0, &[]);
    let mut fields = Fields::new(metric);
    while let Some(field) = fields.next_field()? {
        if is_metric_data(field.number) {
            found = (field.number, field.bytes()?);
        }
    }
    Ok(found)
}

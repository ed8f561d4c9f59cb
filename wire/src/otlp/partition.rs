//! Parting a payload by what its items have in common: a payload for each resource, or for each trace.
//!
//! The bytes of items are copied, never changed; the headers around them are repeated where items part. Every item is
//! in exactly one part; what is repeated is bounded (SPLIT-2).

use bytes::Bytes;
use hashbrown::HashMap;

use super::edit::copy_fields;
use super::split::{PART_BYTES, PartsRoom, item_count};
use super::{LogRecord, Span, View, resources};
use crate::DecodeError;
use crate::protobuf::{Fields, begin_message, put_bytes_field};

use model::Signal;

/// A part of a payload: what its items have in common, and their payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Encoded `Resource` message, or trace id; empty when the items have none.
    pub key: Bytes,
    /// A payload of the same signal.
    pub payload: Bytes,
    /// Data points, log records or spans in it.
    pub items: u64,
}

/// A part for each `Resource…` message of a payload, in order. Equal resources that come twice stay two parts; those
/// without items are left out.
pub fn split_by_resource(signal: Signal, payload: &Bytes) -> Result<Vec<Part>, DecodeError> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut fields = Fields::new(payload);
    let mut groups = resources(payload);
    while let Some(field) = fields.next_field()? {
        let end = fields.offset();
        if field.number == 1 {
            let Some(group) = groups.next() else { break };
            let part = payload.slice(start..end);
            let items = item_count(signal, &part)?;
            if items > 0 {
                parts.push(Part { key: payload.slice_ref(group?.resource_bytes()), payload: part, items });
            }
        }
        start = end;
    }
    Ok(parts)
}

/// A part for each trace id of a traces payload, in the order in which the ids come first.
pub fn split_by_trace(payload: &Bytes, room: &mut PartsRoom) -> Result<Vec<Part>, DecodeError> {
    by_trace(payload, |span| Ok(Span::parse(span)?.trace_id), room)
}

/// A part for each trace id of a logs payload, in the order in which the ids come first. Records of no trace are one.
pub fn split_logs_by_trace(payload: &Bytes, room: &mut PartsRoom) -> Result<Vec<Part>, DecodeError> {
    by_trace(payload, |record| Ok(LogRecord::parse(record)?.trace_id), room)
}

/// The trace id of an encoded span or log record.
type TraceOf = for<'a> fn(&'a [u8]) -> Result<&'a [u8], DecodeError>;

fn by_trace(payload: &Bytes, trace_of: TraceOf, room: &mut PartsRoom) -> Result<Vec<Part>, DecodeError> {
    let mut traces = Traces { list: Vec::new(), places: HashMap::new(), trace_of, room };
    let mut groups = Fields::new(payload);
    while let Some(group) = groups.next_field()? {
        if group.number != 1 {
            continue;
        }
        let group = group.bytes()?;
        let mut header = Vec::new();
        copy_fields(group, &mut header, |number| number != 2)?;
        let mut scopes = Fields::new(group);
        while let Some(scope) = scopes.next_field()? {
            if scope.number == 2 {
                traces.take_scope(&header, scope.bytes()?)?;
            }
        }
    }
    let parts = traces.list.into_iter();
    Ok(parts.map(|(id, out, items)| Part { key: id.to_vec().into(), payload: out.into(), items }).collect())
}

struct Traces<'a> {
    /// Id, payload and items of each trace.
    list: Vec<(&'a [u8], Vec<u8>, u64)>,
    places: HashMap<&'a [u8], usize>,
    trace_of: TraceOf,
    room: &'a mut PartsRoom,
}

impl<'a> Traces<'a> {
    /// Adds the items of one scope to their traces, under what their group is but for its scopes.
    fn take_scope(&mut self, group_header: &[u8], scope: &'a [u8]) -> Result<(), DecodeError> {
        let mut scope_header = Vec::new();
        copy_fields(scope, &mut scope_header, |number| number != 2)?;
        // Items of this scope by trace, in the order of the traces.
        let mut found: Vec<(usize, &'a [u8])> = Vec::new();
        let mut fields = Fields::new(scope);
        while let Some(field) = fields.next_field()? {
            if field.number != 2 {
                continue;
            }
            let item = field.bytes()?;
            let id = (self.trace_of)(item)?;
            let place = *self.places.entry(id).or_insert_with(|| {
                self.list.push((id, Vec::new(), 0));
                self.list.len() - 1
            });
            found.push((place, item));
        }
        found.sort_by_key(|(place, _)| *place);
        for run in found.chunk_by(|(a, _), (b, _)| a == b) {
            self.room.take(PART_BYTES + group_header.len() + scope_header.len())?;
            let (_, out, items) = &mut self.list[run[0].0];
            let open_group = begin_message(out, 1);
            out.extend_from_slice(group_header);
            let open_scope = begin_message(out, 2);
            out.extend_from_slice(&scope_header);
            for (_, item) in run {
                put_bytes_field(out, 2, item);
            }
            open_scope.end(out);
            open_group.end(out);
            *items += run.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

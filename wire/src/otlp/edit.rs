//! Edits of resources as splices of bytes: a processor sees one `Resource` message at a time and writes another one;
//! everything else of the payload is copied, or not even that when nothing changes.
//!
//! What an edit does is the processor's; here is how its result gets into the payload, and a memo, because a sender
//! repeats its few resources in every request.

mod records;

use bytes::Bytes;
use hashbrown::HashMap;

use super::views::{AnyValue, Attributes};
use crate::DecodeError;
use crate::protobuf::{
    Fields, len_delimited_len, put_bytes_field, put_double_field, put_len_header, put_varint_field,
};

pub use records::{
    Fate, Fates, Place, edit_children, edit_message, edit_points, edit_records, is_group, is_metric_data,
    is_point, is_record, is_scope_group, singular,
};

/// What an edit made of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// It stays as it is; what was written is ignored.
    Unchanged,
    /// It is replaced by what was written.
    Replaced,
}

/// Edits the resource of every `ResourceMetrics`, `ResourceLogs` or `ResourceSpans`.
///
/// `edit` gets the bytes of a `Resource` message (empty when there is none) and an empty buffer for the new one;
/// [`put_resource`] fills it. An unchanged payload comes back as it is, without a copy.
pub fn edit_resources(
    payload: &Bytes,
    mut edit: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Edited, DecodeError>,
) -> Result<Bytes, DecodeError> {
    let mut out = Vec::new();
    let mut replacement = Vec::new();
    let (mut start, mut copied) = (0, 0);
    let mut fields = Fields::new(payload);
    while let Some(field) = fields.next_field()? {
        let end = fields.offset();
        if field.number == 1 {
            let group = field.bytes()?;
            let (resource, resource_fields_len) = find_resource(group)?;
            replacement.clear();
            if edit(resource, &mut replacement)? == Edited::Replaced {
                if out.is_empty() {
                    out.reserve(payload.len() + payload.len() / 8 + replacement.len());
                }
                out.extend_from_slice(&payload[copied..start]);
                copied = end;
                let len = group.len() - resource_fields_len + len_delimited_len(1, replacement.len());
                put_len_header(&mut out, 1, len);
                put_bytes_field(&mut out, 1, &replacement);
                copy_fields(group, &mut out, |number| number != 1)?;
            }
        }
        start = end;
    }
    if copied == 0 {
        return Ok(payload.clone());
    }
    out.extend_from_slice(&payload[copied..]);
    Ok(out.into())
}

/// The resource of a group and the length of all fields that hold one.
fn find_resource(group: &[u8]) -> Result<(&[u8], usize), DecodeError> {
    let (mut resource, mut len): (&[u8], _) = (&[], 0);
    let mut fields = Fields::new(group);
    let mut start = 0;
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            resource = field.bytes()?;
            len += fields.offset() - start;
        }
        start = fields.offset();
    }
    Ok((resource, len))
}

/// Appends those fields of `message` whose numbers `keep` names, in their order.
pub fn copy_fields(message: &[u8], out: &mut Vec<u8>, keep: impl Fn(u32) -> bool) -> Result<(), DecodeError> {
    let mut fields = Fields::new(message);
    let (mut start, mut run_start) = (0, 0);
    while let Some(field) = fields.next_field()? {
        if !keep(field.number) {
            out.extend_from_slice(&message[run_start..start]);
            run_start = fields.offset();
        }
        start = fields.offset();
    }
    out.extend_from_slice(&message[run_start..]);
    Ok(())
}

/// Remembers what an edit made of each resource, so that it runs once per resource and not once per request.
///
/// Only for edits that depend on nothing but the resource.
#[derive(Debug)]
pub struct ResourceMemo {
    /// Keyed by the whole bytes, so that a collision of hashes cannot give one sender the resource of another.
    edited: HashMap<Box<[u8]>, Replacement, rapidhash::fast::RandomState>,
    bytes: usize,
    bytes_max: usize,
}

/// `None` for a resource that stays as it is.
type Replacement = Option<Box<[u8]>>;

impl ResourceMemo {
    /// A memo that holds up to `bytes_max` bytes of resources before and after; a full one starts over.
    pub fn new(bytes_max: usize) -> Self {
        Self { edited: HashMap::default(), bytes: 0, bytes_max }
    }

    /// [`edit_resources`], with `edit` called only for resources that are not known yet.
    pub fn edit_resources(
        &mut self,
        payload: &Bytes,
        mut edit: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Edited, DecodeError>,
    ) -> Result<Bytes, DecodeError> {
        edit_resources(payload, |resource, out| {
            if let Some(known) = self.edited.get(resource) {
                return Ok(match known {
                    None => Edited::Unchanged,
                    Some(replacement) => {
                        out.extend_from_slice(replacement);
                        Edited::Replaced
                    }
                });
            }
            let edited = edit(resource, out)?;
            self.remember(resource, (edited == Edited::Replaced).then_some(out.as_slice()));
            Ok(edited)
        })
    }

    fn remember(&mut self, resource: &[u8], replacement: Option<&[u8]>) {
        /// What an entry costs beside its bytes: two fat pointers, the table's slack, two allocations.
        const ENTRY_BYTES: usize = 96;
        let bytes = resource.len() + replacement.map_or(0, <[u8]>::len) + ENTRY_BYTES;
        if bytes > self.bytes_max {
            return;
        }
        if self.bytes + bytes > self.bytes_max {
            self.edited.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.edited.insert(resource.into(), replacement.map(Into::into));
    }
}

/// Writes a `Resource` message: `attributes` as pairs of key and encoded `AnyValue` (see [`put_any_value`] and
/// `KeyValue::value_bytes`), and everything else as in `original`.
pub fn put_resource<'a>(
    out: &mut Vec<u8>,
    original: &[u8],
    attributes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), DecodeError> {
    for (key, value) in attributes {
        put_key_value(out, 1, key, value);
    }
    copy_fields(original, out, |number| number != 1)
}

/// Appends a `KeyValue` field with an encoded `AnyValue`.
pub fn put_key_value(out: &mut Vec<u8>, number: u32, key: &str, value: &[u8]) {
    put_len_header(out, number, len_delimited_len(1, key.len()) + len_delimited_len(2, value.len()));
    put_bytes_field(out, 1, key.as_bytes());
    put_bytes_field(out, 2, value);
}

/// Appends the content of an `AnyValue` message.
pub fn put_any_value(out: &mut Vec<u8>, value: &AnyValue<'_>) {
    match value {
        AnyValue::Empty => (),
        AnyValue::String(text) => put_bytes_field(out, 1, text.as_bytes()),
        AnyValue::Bool(value) => put_varint_field(out, 2, (*value).into()),
        AnyValue::Int(value) => put_varint_field(out, 3, *value as u64),
        AnyValue::Double(value) => put_double_field(out, 4, *value),
        AnyValue::Array(array) => put_bytes_field(out, 5, array.encoded_message()),
        AnyValue::Map(map) => put_map(out, map),
        AnyValue::Bytes(bytes) => put_bytes_field(out, 7, bytes),
    }
}

/// A map's entries may be attributes of another field number, which become field 1 of a `KeyValueList`.
fn put_map(out: &mut Vec<u8>, map: &Attributes<'_>) {
    let open = crate::protobuf::begin_message(out, 6);
    for pair in map.encoded().flatten() {
        put_bytes_field(out, 1, pair);
    }
    open.end(out);
}

#[cfg(test)]
mod tests;

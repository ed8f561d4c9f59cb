//! Edits of the messages inside a payload: records, data points, events are kept, replaced or removed one by one, and
//! what is kept is copied whole.
//!
//! Everything nests from two steps: [`edit_children`] writes the children of a message, [`edit_message`] adds the rest of
//! it. Lengths around an edit are written anew; nothing else is decoded.

use bytes::Bytes;

use super::copy_fields;
use crate::DecodeError;
use crate::protobuf::{Fields, begin_message};

/// What an edit made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is; what was written is ignored.
    Kept,
    /// It is replaced by what was written.
    Replaced,
    /// It goes, and what was written is ignored.
    Removed,
}

/// How many children of a message met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Children that stayed as they were.
    pub kept: u64,
    /// Children that were replaced.
    pub replaced: u64,
    /// Children that went.
    pub removed: u64,
}

impl Fates {
    /// Whether the children are others than before.
    pub fn any_change(self) -> bool {
        self.replaced + self.removed > 0
    }

    /// Whether none is left.
    pub fn none_left(self) -> bool {
        self.kept + self.replaced == 0
    }
}

/// Appends the children of `message` (its message fields whose numbers `is_child` names) to `out`, each as `edit` leaves
/// it; `edit` gets the field's number, the child and `out` to append a replacement's content to. Other fields of
/// `message` are not written.
pub fn edit_children<'a, E: From<DecodeError>>(
    message: &'a [u8],
    out: &mut Vec<u8>,
    is_child: impl Fn(u32) -> bool,
    mut edit: impl FnMut(u32, &'a [u8], &mut Vec<u8>) -> Result<Fate, E>,
) -> Result<Fates, E> {
    let mut fates = Fates::default();
    let mut fields = Fields::new(message);
    let mut start = 0;
    while let Some(field) = fields.next_field()? {
        let end = fields.offset();
        if is_child(field.number) {
            let child = field.bytes()?;
            let mark = out.len();
            let open = begin_message(out, field.number);
            match edit(field.number, child, out)? {
                Fate::Kept => {
                    out.truncate(mark);
                    out.extend_from_slice(&message[start..end]);
                    fates.kept += 1;
                }
                Fate::Replaced => {
                    open.end(out);
                    fates.replaced += 1;
                }
                Fate::Removed => {
                    out.truncate(mark);
                    fates.removed += 1;
                }
            }
        }
        start = end;
    }
    Ok(fates)
}

/// Edits the children of `message` and appends the whole message; what was appended is of no use when the answer is
/// [`Fate::Kept`] or [`Fate::Removed`]. A message that an edit leaves without children goes itself.
pub fn edit_message<'a, E: From<DecodeError>>(
    message: &'a [u8],
    out: &mut Vec<u8>,
    is_child: impl Fn(u32) -> bool,
    edit: impl FnMut(u32, &'a [u8], &mut Vec<u8>) -> Result<Fate, E>,
) -> Result<Fate, E> {
    let fates = edit_children(message, out, &is_child, edit)?;
    if !fates.any_change() {
        return Ok(Fate::Kept);
    }
    if fates.none_left() {
        return Ok(Fate::Removed);
    }
    copy_fields(message, out, |number| !is_child(number))?;
    Ok(Fate::Replaced)
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The encoded `Resource`, empty when there is none.
    pub resource: &'a [u8],
    /// The encoded `InstrumentationScope`, empty when there is none.
    pub scope: &'a [u8],
}

/// Edits every metric, log record or span of a payload. A payload in which nothing changes comes back as it is, without a
/// copy; groups that lose their last record go.
pub fn edit_records<'a, E: From<DecodeError>>(
    payload: &'a Bytes,
    mut edit: impl FnMut(&Place<'a>, &'a [u8], &mut Vec<u8>) -> Result<Fate, E>,
) -> Result<Bytes, E> {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8);
    let fates = edit_children(payload, &mut out, is_group, |_, group, out| {
        let resource = singular(group, 1)?;
        edit_message(group, out, is_scope_group, |_, scope_group, out| {
            let place = Place { resource, scope: singular(scope_group, 1)? };
            edit_message(scope_group, out, is_record, |_, record, out| edit(&place, record, out))
        })
    })?;
    Ok(if fates.any_change() { out.into() } else { payload.clone() })
}

/// Edits every data point of a `Metric`; `edit` gets the number of the field that holds the metric's data (5 gauge, 7
/// sum, 9 histogram, 10 exponential histogram, 11 summary) and the point. As [`edit_message`].
pub fn edit_points<'a, E: From<DecodeError>>(
    metric: &'a [u8],
    out: &mut Vec<u8>,
    mut edit: impl FnMut(u32, &'a [u8], &mut Vec<u8>) -> Result<Fate, E>,
) -> Result<Fate, E> {
    edit_message(metric, out, is_metric_data, |number, data, out| {
        edit_message(data, out, is_point, |_, point, out| edit(number, point, out))
    })
}

/// Whether a field of a request is a `ResourceMetrics`, `ResourceLogs` or `ResourceSpans`.
pub fn is_group(number: u32) -> bool {
    number == 1
}

/// Whether a field of a resource group is a `ScopeMetrics`, `ScopeLogs` or `ScopeSpans`.
pub fn is_scope_group(number: u32) -> bool {
    number == 2
}

/// Whether a field of a scope group is a metric, log record or span.
pub fn is_record(number: u32) -> bool {
    number == 2
}

/// Whether a field of a metric holds its data points.
pub fn is_metric_data(number: u32) -> bool {
    matches!(number, 5 | 7 | 9 | 10 | 11)
}

/// Whether a field of a metric's data is a data point.
pub fn is_point(number: u32) -> bool {
    number == 1
}

/// The last occurrence of a message field that may occur once; empty when there is none.
pub fn singular(message: &[u8], number: u32) -> Result<&[u8], DecodeError> {
    let mut found: &[u8] = &[];
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            found = field.bytes()?;
        }
    }
    Ok(found)
}

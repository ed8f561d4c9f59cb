//! Proves a request well-formed, once, at the door.
//!
//! One pass over the bytes, by the tables of `schema`: lengths, wire types of known fields, UTF-8 of strings, depth of
//! values. What is wrong there fails the whole request. An id of a wrong length fails only its item, because one bad
//! id must not take a batch with it: the item's bytes are cut out and the lengths around them rewritten. Nothing is
//! copied when nothing is cut.
//!
//! - CHECK-1: the payload that comes out passes `check` again, unchanged, with the same item count.

use bytes::Bytes;
use model::{AppendReport, Signal};

use super::schema::{self, Field, Kind, Label, Message, Role};
use super::views::{ANY_VALUE_DEPTH_MAX, plain_key_value, plain_string, too_deep};
use crate::DecodeError;
use crate::protobuf::{Fields, Value, begin_message, read_varint, text};

/// What [`check`] made of a request.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The well-formed rest: the request's own bytes when nothing was cut out.
    pub payload: Bytes,
    /// Data points, log records or spans in `payload`.
    pub items: u64,
    /// What was cut out and why; `stored` is 0. An entry with count 0 warns of something left out of an item.
    pub report: AppendReport,
}

/// Checks the bytes of an export request of `signal` and cuts out the items whose ids have a wrong length.
///
/// Fails with kind `Invalid`, naming the path of fields, when the bytes are malformed.
pub fn check(signal: Signal, payload: Bytes) -> Result<Checked, DecodeError> {
    if u32::try_from(payload.len()).is_err() {
        return Err(DecodeError::invalid(format!(
            "request of {} bytes, at most 4 GiB are allowed",
            payload.len()
        )));
    }
    let mut checker = Checker {
        signal,
        base: address(&payload),
        items: 0,
        seen: 0,
        bad: None,
        cuts: Vec::new(),
        report: AppendReport::default(),
    };
    checker.message(&payload, schema::request(signal), ANY_VALUE_DEPTH_MAX)?;
    let Checker { items, cuts, report, .. } = checker;
    let payload = if cuts.is_empty() { payload } else { without(&payload, &cuts) };
    Ok(Checked { payload, items, report })
}

/// A range of the payload to leave out: one or several whole fields of one message. Half the size of a `Range<usize>`,
/// since hostile requests can ask for many.
#[derive(Clone, Copy)]
struct Cut {
    start: u32,
    end: u32,
}

/// An id of a wrong length, until the item around it is known to be over.
#[derive(Clone, Copy)]
struct BadId {
    name: &'static str,
    len: usize,
    expected: usize,
}

struct Checker {
    signal: Signal,
    /// Address of the payload, to turn slices of it into offsets.
    base: usize,
    /// Items that stay.
    items: u64,
    /// Items walked, refused ones included.
    seen: u64,
    bad: Option<BadId>,
    /// Ascending and disjoint.
    cuts: Vec<Cut>,
    report: AppendReport,
}

impl Checker {
    fn message(&mut self, bytes: &[u8], message: &'static Message, depth: u8) -> Result<(), DecodeError> {
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        let mut has_data = false;
        while let Some(read) = fields.next_field()? {
            let end = fields.offset();
            if let Some(field) = message.field(read.number) {
                match (field.kind, read.value) {
                    (Kind::Message(inner), Value::Bytes(content)) => {
                        let is_data = message.role == Role::Metric && inner.role != Role::KeyValue;
                        if is_data && std::mem::replace(&mut has_data, true) {
                            return Err(DecodeError::invalid("metric with more than one data field"));
                        }
                        self.nested(content, field, inner, depth)?;
                        if self.bad.is_some() && matches!(inner.role, Role::Item | Role::Exemplar) {
                            self.cut(inner.role, &bytes[start..end]);
                        }
                    }
                    _ => self.scalar(&read, field)?,
                }
            }
            start = end;
        }
        Ok(())
    }

    #[inline]
    fn nested(
        &mut self,
        bytes: &[u8],
        field: &'static Field,
        message: &'static Message,
        depth: u8,
    ) -> Result<(), DecodeError> {
        match message.role {
            Role::KeyValue => key_value(bytes, depth),
            Role::AnyValue => any_value(bytes, depth),
            Role::Item => {
                self.seen += 1;
                self.items += 1;
                self.message(bytes, message, depth)
            }
            _ => self.message(bytes, message, depth),
        }
        .map_err(|error| error.within(field.name))
    }

    #[inline]
    fn scalar(
        &mut self,
        read: &crate::protobuf::Field<'_>,
        field: &'static Field,
    ) -> Result<(), DecodeError> {
        match (field.kind, read.value) {
            (Kind::String, Value::Bytes(bytes)) => {
                check_text(bytes).map_err(|error| error.within(field.name))
            }
            (Kind::Bytes, Value::Bytes(_)) => Ok(()),
            (Kind::Id(expected), Value::Bytes(id)) => {
                if !id.is_empty() && id.len() != expected {
                    self.bad.get_or_insert(BadId { name: field.name, len: id.len(), expected });
                }
                Ok(())
            }
            (Kind::Fixed64 | Kind::Sfixed64 | Kind::Double, Value::Fixed64(_)) => Ok(()),
            (Kind::Fixed32, Value::Fixed32(_)) => Ok(()),
            (
                Kind::Bool | Kind::Uint32 | Kind::Uint64 | Kind::Int64 | Kind::Sint32 | Kind::Enum(_),
                Value::Varint(_),
            ) => Ok(()),
            (Kind::Fixed64 | Kind::Double, Value::Bytes(packed))
                if field.label == Label::Repeated && packed.len().is_multiple_of(8) =>
            {
                Ok(())
            }
            (Kind::Uint64, Value::Bytes(mut packed)) if field.label == Label::Repeated => {
                while !packed.is_empty() {
                    read_varint(&mut packed).map_err(|error| error.within(field.name))?;
                }
                Ok(())
            }
            _ => Err(read.wrong_type(expected_type(field)).within(field.name)),
        }
    }

    /// Leaves out the item or exemplar whose whole field is `bytes`, for the id found inside.
    #[cold]
    fn cut(&mut self, role: Role, bytes: &[u8]) {
        let Some(BadId { name, len, expected }) = self.bad.take() else { return };
        let start = address(bytes) - self.base;
        // `check` refuses payloads beyond 4 GiB, so offsets fit.
        let cut = Cut { start: start as u32, end: (start + bytes.len()) as u32 };
        match self.cuts.last_mut() {
            // Neighbours become one cut. They are of one message: the tag and length of a next message lie between.
            Some(last) if last.end == cut.start => last.end = cut.end,
            _ => self.cuts.push(cut),
        }
        let index = self.seen - 1;
        if role == Role::Exemplar {
            self.report.reject("exemplar_id_length", 0, || {
                format!("exemplar of data point {index} left out: {name} has {len} bytes, 0 or {expected} are allowed")
            });
            return;
        }
        self.items -= 1;
        let item = match self.signal {
            Signal::Metrics => "data point",
            Signal::Logs => "log record",
            Signal::Traces => "span",
        };
        let reason = if name == "traceId" { "trace_id_length" } else { "span_id_length" };
        self.report.reject(reason, 1, || {
            format!("{item} {index}: {name} has {len} bytes, 0 or {expected} are allowed")
        });
    }
}

/// [`Checker::message`] for the message of which there are most.
fn key_value(bytes: &[u8], depth: u8) -> Result<(), DecodeError> {
    if let Some((key, value)) = plain_key_value(bytes) {
        check_text(key)?;
        return any_value(value, depth);
    }
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => check_text(field.bytes()?)?,
            2 => any_value(field.bytes()?, depth)?,
            // An index into the profiles' dictionary: nothing to us, but typed for whoever we forward to.
            3 => drop(field.varint()?),
            _ => (),
        }
    }
    Ok(())
}

/// `depth` levels are allowed, this one included.
fn any_value(bytes: &[u8], depth: u8) -> Result<(), DecodeError> {
    let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
    if let Some(plain) = plain_string(bytes) {
        return check_text(plain);
    }
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => check_text(field.bytes()?)?,
            2 | 3 => drop(field.varint()?),
            4 => drop(field.fixed64()?),
            5 => elements(field.bytes()?, |value| any_value(value, depth))?,
            6 => elements(field.bytes()?, |pair| key_value(pair, depth))?,
            7 => drop(field.bytes()?),
            // An index into the profiles' dictionary, as in `key_value`.
            8 => drop(field.varint()?),
            _ => (),
        }
    }
    Ok(())
}

/// The elements of an `ArrayValue` or `KeyValueList`.
fn elements(bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            each(field.bytes()?)?;
        }
    }
    Ok(())
}

#[inline]
fn check_text(bytes: &[u8]) -> Result<(), DecodeError> {
    // Nearly all keys and most values are ASCII, and seeing that is several times faster than a UTF-8 check.
    if bytes.is_ascii() { Ok(()) } else { text(bytes).map(drop) }
}

fn expected_type(field: &Field) -> &'static str {
    match field.kind {
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => "length-delimited",
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => "fixed64",
        Kind::Fixed32 => "fixed32",
        _ => "varint",
    }
}

fn address(bytes: &[u8]) -> usize {
    bytes.as_ptr().addr()
}

/// `payload` without `cuts`.
fn without(payload: &[u8], cuts: &[Cut]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len());
    let mut rest = cuts;
    copy_without(payload, 0, &mut rest, &mut out);
    assert!(rest.is_empty(), "every cut is a run of whole fields of a message in the payload");
    out.into()
}

/// Copies `message`, which lies at `offset` of the payload, up to the first cut behind it.
fn copy_without(message: &[u8], offset: usize, cuts: &mut &[Cut], out: &mut Vec<u8>) {
    let mut fields = Fields::new(message);
    let (mut start, mut copied) = (0, 0);
    while let Some(Ok(field)) = fields.next() {
        let end = fields.offset();
        if let Some(cut) = cuts.first()
            && (cut.start as usize) < offset + end
        {
            out.extend_from_slice(&message[copied..start]);
            copied = end;
            if cut.start as usize <= offset + start {
                if cut.end as usize == offset + end {
                    *cuts = &cuts[1..];
                }
            } else if let Value::Bytes(content) = field.value {
                let open = begin_message(out, field.number);
                copy_without(content, offset + end - content.len(), cuts, out);
                open.end(out);
            }
        }
        start = end;
    }
    out.extend_from_slice(&message[copied..]);
}

#[cfg(test)]
mod tests;

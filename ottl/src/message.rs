//! A message taken apart one level deep: its fields as they came, and over them what statements set.
//!
//! Reading asks the fields; setting puts a field in another's place. The attributes are taken apart as a map only when a
//! statement needs all of them or changes one. Writing copies what is untouched, byte by byte.

use std::borrow::Cow;

use wire::otlp::{KeyValue, View};
use wire::protobuf::{self, Fields, Value as Wire};

use crate::error::{Eval, RunError};
use crate::value::{Map, Value};

/// A message under edit. An empty one stands for a message that is not there.
#[derive(Debug, Default)]
pub(crate) struct Message<'p> {
    slots: Vec<Slot<'p>>,
    /// The field of key-value pairs that is taken apart, and its entries.
    map: Option<(u32, Map<'p>)>,
    /// The body of a log record, when it is taken apart.
    body: Option<Value<'p>>,
    is_changed: bool,
}

#[derive(Debug)]
struct Slot<'p> {
    number: u32,
    content: Content<'p>,
}

#[derive(Debug)]
enum Content<'p> {
    /// As it came: the whole field, tag included, and its value.
    Kept {
        field: &'p [u8],
        value: Wire<'p>,
    },
    Set(Scalar),
}

/// A field's new value.
#[derive(Debug)]
pub(crate) enum Scalar {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Vec<u8>),
}

impl<'p> Message<'p> {
    /// Takes `bytes` apart in place of what was here. Fields that `skip` names are left out, and not written either.
    pub(crate) fn load(&mut self, bytes: &'p [u8], skip: impl Fn(u32) -> bool) -> Eval<()> {
        self.slots.clear();
        self.map = None;
        self.body = None;
        self.is_changed = false;
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            let end = fields.offset();
            if !skip(field.number) {
                let content = Content::Kept { field: &bytes[start..end], value: field.value };
                self.slots.push(Slot { number: field.number, content });
            }
            start = end;
        }
        Ok(())
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Appends the message's fields.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Eval<()> {
        let map_number = self.map.as_ref().map(|(number, _)| *number);
        for slot in &self.slots {
            let replaced = Some(slot.number) == map_number || (slot.number == BODY && self.body.is_some());
            if replaced {
                continue;
            }
            match &slot.content {
                Content::Kept { field, .. } => out.extend_from_slice(field),
                Content::Set(Scalar::Varint(value)) => protobuf::put_varint_field(out, slot.number, *value),
                Content::Set(Scalar::Fixed64(value)) => protobuf::put_fixed64_field(out, slot.number, *value),
                Content::Set(Scalar::Fixed32(value)) => protobuf::put_fixed32_field(out, slot.number, *value),
                Content::Set(Scalar::Bytes(bytes)) => protobuf::put_bytes_field(out, slot.number, bytes),
            }
        }
        if let Some((number, map)) = &self.map {
            map.encode(*number, out)?;
        }
        if let Some(body) = &self.body {
            let open = protobuf::begin_message(out, BODY);
            body.encode(out)?;
            open.end(out);
        }
        Ok(())
    }

    fn last(&self, number: u32) -> Option<&Content<'p>> {
        self.slots.iter().rev().find(|slot| slot.number == number).map(|slot| &slot.content)
    }

    /// An integer, boolean, enum or fixed field as its bits; 0 when it is not there.
    pub(crate) fn bits(&self, number: u32) -> u64 {
        match self.last(number) {
            Some(
                Content::Kept { value: Wire::Varint(value) | Wire::Fixed64(value), .. }
                | Content::Set(Scalar::Varint(value) | Scalar::Fixed64(value)),
            ) => *value,
            Some(
                Content::Kept { value: Wire::Fixed32(value), .. } | Content::Set(Scalar::Fixed32(value)),
            ) => u64::from(*value),
            _ => 0,
        }
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.last(number).is_some()
    }

    /// A length-delimited field; empty when it is not there.
    pub(crate) fn bytes(&self, number: u32) -> Cow<'p, [u8]> {
        match self.last(number) {
            Some(Content::Kept { value: Wire::Bytes(bytes), .. }) => Cow::Borrowed(bytes),
            Some(Content::Set(Scalar::Bytes(bytes))) => Cow::Owned(bytes.clone()),
            _ => Cow::Borrowed(&[]),
        }
    }

    /// A text field; empty when it is not there.
    pub(crate) fn text(&self, number: u32) -> Eval<Cow<'p, str>> {
        Ok(match self.bytes(number) {
            Cow::Borrowed(bytes) => Cow::Borrowed(protobuf::text(bytes)?),
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map_err(|_| RunError::new("a text field is not valid utf-8"))?.into()
            }
        })
    }

    /// Every occurrence of a length-delimited field.
    pub(crate) fn all_bytes(&self, number: u32) -> Vec<Cow<'p, [u8]>> {
        let of_number = self.slots.iter().filter(|slot| slot.number == number);
        of_number
            .filter_map(|slot| match &slot.content {
                Content::Kept { value: Wire::Bytes(bytes), .. } => Some(Cow::Borrowed(*bytes)),
                Content::Set(Scalar::Bytes(bytes)) => Some(Cow::Owned(bytes.clone())),
                _ => None,
            })
            .collect()
    }

    /// The elements of a repeated scalar field, packed or not, as their bits.
    pub(crate) fn repeated(&self, number: u32, is_fixed: bool) -> Eval<Vec<u64>> {
        let mut all = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.number == number) {
            let value = match &slot.content {
                Content::Kept { value, .. } => *value,
                Content::Set(Scalar::Bytes(bytes)) => Wire::Bytes(bytes),
                Content::Set(_) => continue,
            };
            let field = protobuf::Field { number, value };
            match is_fixed {
                true => field.fixed64s(|bits| all.push(bits))?,
                false => field.varints(|bits| all.push(bits))?,
            }
        }
        Ok(all)
    }

    /// Sets a field, in the place of all its occurrences.
    pub(crate) fn set(&mut self, number: u32, value: Scalar) {
        self.is_changed = true;
        let mut value = Some(value);
        self.slots.retain_mut(|slot| {
            if slot.number != number {
                return true;
            }
            match value.take() {
                Some(value) => {
                    slot.content = Content::Set(value);
                    true
                }
                None => false,
            }
        });
        if let Some(value) = value {
            self.slots.push(Slot { number, content: Content::Set(value) });
        }
    }

    /// Sets a repeated message field.
    pub(crate) fn set_all(&mut self, number: u32, items: Vec<Cow<'p, [u8]>>) {
        self.remove(number);
        let slots = items
            .into_iter()
            .map(|item| Slot { number, content: Content::Set(Scalar::Bytes(item.into_owned())) });
        self.slots.extend(slots);
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.is_changed = true;
        self.slots.retain(|slot| slot.number != number);
    }

    /// The value of a key of the pairs in field `number`.
    pub(crate) fn pair(&self, number: u32, key: &str) -> Eval<Option<Value<'p>>> {
        if let Some((taken, map)) = &self.map
            && *taken == number
        {
            return map.get(key).map(Value::resolved).transpose();
        }
        for slot in self.slots.iter().filter(|slot| slot.number == number) {
            if let Content::Kept { value: Wire::Bytes(bytes), .. } = &slot.content {
                let pair = KeyValue::parse(bytes)?;
                if pair.key_bytes() == key.as_bytes() {
                    return Value::decode(pair.value_bytes()).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn take_apart(&self, number: u32) -> Eval<Map<'p>> {
        let mut entries = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.number == number) {
            if let Content::Kept { value: Wire::Bytes(bytes), .. } = &slot.content {
                let pair = KeyValue::parse(bytes)?;
                entries.push((Cow::Borrowed(pair.key()?), Value::Raw(pair.value_bytes())));
            }
        }
        Ok(Map(entries))
    }

    /// The pairs in field `number`.
    pub(crate) fn map(&self, number: u32) -> Eval<Map<'p>> {
        match &self.map {
            Some((taken, map)) if *taken == number => Ok(map.clone()),
            _ => self.take_apart(number),
        }
    }

    /// The pairs in field `number`, to be changed.
    pub(crate) fn map_mut(&mut self, number: u32) -> Eval<&mut Map<'p>> {
        self.is_changed = true;
        if self.map.as_ref().is_none_or(|(taken, _)| *taken != number) {
            // No message has two such fields that statements reach.
            self.map = Some((number, self.take_apart(number)?));
        }
        match &mut self.map {
            Some((_, map)) => Ok(map),
            None => Err(RunError::new("the attributes are out of reach")),
        }
    }

    /// The body of a log record.
    pub(crate) fn body(&self) -> Eval<Value<'p>> {
        match &self.body {
            Some(body) => Ok(body.clone()),
            None => match self.last(BODY) {
                Some(Content::Kept { value: Wire::Bytes(bytes), .. }) => Value::decode(bytes),
                _ => Ok(Value::Nil),
            },
        }
    }

    /// The body of a log record, to be changed.
    pub(crate) fn body_mut(&mut self) -> Eval<&mut Value<'p>> {
        self.is_changed = true;
        if self.body.is_none() {
            self.body = Some(self.body()?);
        }
        match &mut self.body {
            Some(body) => Ok(body),
            None => Err(RunError::new("the body is out of reach")),
        }
    }
}

/// Field of `LogRecord` that holds the body.
const BODY: u32 = 5;

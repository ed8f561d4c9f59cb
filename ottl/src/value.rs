//! Values: what paths give, functions take and attributes hold.
//!
//! A value borrows from the payload (or the program's literals) where it can. Values inside lists and maps stay encoded
//! ([`Value::Raw`]) until somebody asks for them; what nobody asks for is copied as it came.

use std::borrow::Cow;
use std::collections::HashMap;

use wire::otlp::edit::put_key_value;
use wire::otlp::{AnyValue, Attributes, View};
use wire::protobuf::{self, Fields};

use crate::error::{Eval, RunError};
use crate::time::Time;

/// Largest value that a statement may make, bytes: many times a record, and little beside the memory of a process.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 20;

/// Most elements of a value that is made of a text: each takes room besides its text, so that a text of delimiters would
/// become many times as large.
pub(crate) const ELEMENTS_MAX: usize = VALUE_BYTES_MAX / size_of::<Value<'_>>();

/// Entries from which on a map that grows finds its keys by hash.
const HASHED_MIN: usize = 32;

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value<'p> {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'p, str>),
    Bytes(Cow<'p, [u8]>),
    List(Vec<Self>),
    Map(Map<'p>),
    /// An encoded `AnyValue`; only inside lists and maps.
    Raw(&'p [u8]),
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    TraceId([u8; 16]),
    SpanId([u8; 8]),
    /// A repeated or nested message that has no form as a value: events, points, a status.
    Messages(Messages<'p>),
}

/// Encoded messages of one field.
#[derive(Clone, Debug)]
pub(crate) struct Messages<'p> {
    /// The Go type, for errors and for knowing what may be set to what.
    pub(crate) kind: &'static str,
    pub(crate) items: Vec<Cow<'p, [u8]>>,
}

/// A map's entries in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map<'p>(pub(crate) Vec<(Cow<'p, str>, Value<'p>)>);

impl<'p> Value<'p> {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// Reads an encoded `AnyValue`; the inside of lists and maps stays encoded.
    pub(crate) fn decode(raw: &'p [u8]) -> Eval<Self> {
        Ok(match AnyValue::parse(raw)? {
            AnyValue::Empty => Self::Nil,
            AnyValue::String(text) => Self::Text(Cow::Borrowed(text)),
            AnyValue::Bool(flag) => Self::Bool(flag),
            AnyValue::Int(int) => Self::Int(int),
            AnyValue::Double(double) => Self::Double(double),
            AnyValue::Bytes(bytes) => Self::Bytes(Cow::Borrowed(bytes)),
            AnyValue::Array(array) => {
                let mut list = Vec::new();
                let mut fields = Fields::new(array.encoded_message());
                while let Some(field) = fields.next_field()? {
                    if field.number == 1 {
                        list.push(Self::Raw(field.bytes()?));
                    }
                }
                Self::List(list)
            }
            AnyValue::Map(map) => Self::Map(Map::decode(map)?),
        })
    }

    /// The value itself when it is still encoded.
    pub(crate) fn resolve(self) -> Eval<Self> {
        match self {
            Self::Raw(raw) => Self::decode(raw),
            value => Ok(value),
        }
    }

    /// A copy that is not encoded any more, one level deep; cheap for what is encoded.
    pub(crate) fn resolved(&self) -> Eval<Self> {
        match self {
            Self::Raw(raw) => Self::decode(raw),
            value => Ok(value.clone()),
        }
    }

    /// Decodes in place, for who changes the inside.
    pub(crate) fn resolve_in_place(&mut self) -> Eval<&mut Self> {
        if let Self::Raw(raw) = self {
            *self = Self::decode(raw)?;
        }
        Ok(self)
    }

    /// A copy whose borrowed texts are shared rather than copied.
    pub(crate) fn shared(&'p self) -> Self {
        match self {
            Self::Text(text) => Self::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Self::Bytes(Cow::Borrowed(bytes)),
            value => value.clone(),
        }
    }

    /// Whether there is no value, which includes an encoded one without content.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The name of the type as the error messages of `pkg/ottl` write it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil | Self::Raw(_) => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int64",
            Self::Double(_) => "float64",
            Self::Text(_) => "string",
            Self::Bytes(_) => "[]uint8",
            Self::List(_) => "pcommon.Slice",
            Self::Map(_) => "pcommon.Map",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::TraceId(_) => "pcommon.TraceID",
            Self::SpanId(_) => "pcommon.SpanID",
            Self::Messages(messages) => messages.kind,
        }
    }

    /// The name of the type of an `AnyValue`, as `pcommon.ValueType.String` writes it.
    pub(crate) fn any_type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "Bool",
            Self::Int(_) => "Int",
            Self::Double(_) => "Double",
            Self::Text(_) => "Str",
            Self::Bytes(_) => "Bytes",
            Self::List(_) => "Slice",
            Self::Map(_) => "Map",
            _ => "Empty",
        }
    }

    /// Appends the content of the `AnyValue`. A value that attributes cannot hold is an error.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Eval<()> {
        match self {
            Self::Nil => {}
            Self::Bool(flag) => protobuf::put_varint_field(out, 2, u64::from(*flag)),
            Self::Int(int) => protobuf::put_varint_field(out, 3, *int as u64),
            Self::Double(double) => protobuf::put_double_field(out, 4, *double),
            Self::Text(text) => protobuf::put_bytes_field(out, 1, text.as_bytes()),
            Self::Bytes(bytes) => protobuf::put_bytes_field(out, 7, bytes),
            Self::Raw(raw) => out.extend_from_slice(raw),
            Self::List(list) => {
                let open = protobuf::begin_message(out, 5);
                for value in list {
                    let element = protobuf::begin_message(out, 1);
                    value.encode(out)?;
                    element.end(out);
                }
                open.end(out);
            }
            Self::Map(map) => {
                let open = protobuf::begin_message(out, 6);
                map.encode(1, out)?;
                open.end(out);
            }
            Self::Time(_) | Self::Duration(_) | Self::TraceId(_) | Self::SpanId(_) | Self::Messages(_) => {
                return Err(RunError::new(format!(
                    "unsupported type {} for set operation",
                    self.type_name()
                )));
            }
        }
        Ok(())
    }

    /// An owned encoded form, for looking at a computed value through wire views.
    pub(crate) fn encoded(&self) -> Eval<Vec<u8>> {
        let mut out = Vec::new();
        self.encode(&mut out)?;
        Ok(out)
    }

    /// Refuses a value that is larger than [`VALUE_BYTES_MAX`]: statements that double one could take all memory.
    pub(crate) fn check_size(&self) -> Eval<()> {
        let mut left = VALUE_BYTES_MAX;
        match self.take_from(&mut left) {
            true => Ok(()),
            false => Err(too_large()),
        }
    }

    /// Takes its size from `left`; `false` when that is not enough.
    fn take_from(&self, left: &mut usize) -> bool {
        let own = match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Raw(raw) => raw.len(),
            Self::Messages(messages) => messages.items.iter().map(|item| item.len()).sum(),
            _ => size_of::<Self>(),
        };
        if own > *left {
            return false;
        }
        *left -= own;
        match self {
            Self::List(list) => list.iter().all(|value| value.take_from(left)),
            Self::Map(map) => map.0.iter().all(|(key, value)| {
                let fits = key.len() <= *left;
                *left = left.saturating_sub(key.len());
                fits && value.take_from(left)
            }),
            _ => true,
        }
    }

    /// Whether attributes can hold it.
    pub(crate) fn is_storable(&self) -> bool {
        match self {
            Self::Time(_) | Self::Duration(_) | Self::TraceId(_) | Self::SpanId(_) | Self::Messages(_) => {
                false
            }
            Self::List(list) => list.iter().all(Self::is_storable),
            Self::Map(map) => map.0.iter().all(|(_, value)| value.is_storable()),
            _ => true,
        }
    }
}

impl<'p> Map<'p> {
    pub(crate) fn decode(attributes: Attributes<'p>) -> Eval<Self> {
        let mut entries = Vec::new();
        for pair in attributes.iter() {
            let pair = pair?;
            entries.push((Cow::Borrowed(pair.key()?), Value::Raw(pair.value_bytes())));
        }
        Ok(Self(entries))
    }

    /// Appends each entry as a `KeyValue` in field `number`.
    pub(crate) fn encode(&self, number: u32, out: &mut Vec<u8>) -> Eval<()> {
        for (key, value) in &self.0 {
            if let Value::Raw(raw) = value {
                put_key_value(out, number, key, raw);
                continue;
            }
            let open = protobuf::begin_message(out, number);
            protobuf::put_bytes_field(out, 1, key.as_bytes());
            let inner = protobuf::begin_message(out, 2);
            value.encode(out)?;
            inner.end(out);
            open.end(out);
        }
        Ok(())
    }

    pub(crate) fn position(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|(name, _)| name == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value<'p>> {
        self.position(key).map(|index| &self.0[index].1)
    }

    /// Sets a key, at its place or at the end.
    pub(crate) fn put(&mut self, key: Cow<'p, str>, value: Value<'p>) {
        match self.position(&key) {
            Some(index) => self.0[index].1 = value,
            None => self.0.push((key, value)),
        }
    }

    /// The value of a key, made empty when it is not there.
    pub(crate) fn entry(&mut self, key: &str) -> &mut Value<'p> {
        let index = match self.position(key) {
            Some(index) => index,
            None => {
                self.0.push((Cow::Owned(key.to_owned()), Value::Nil));
                self.0.len() - 1
            }
        };
        &mut self.0[index].1
    }

    /// Removes a key as `pcommon.Map.Remove` does: the last entry takes its place.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(index) = self.position(key) {
            self.0.swap_remove(index);
        }
    }
}

/// The error of a value that is larger than [`VALUE_BYTES_MAX`].
pub(crate) fn too_large() -> RunError {
    RunError::new(format!(
        "the value would have more than {VALUE_BYTES_MAX} bytes, the most that a statement may make"
    ))
}

/// Refuses the elements of a value that have become more than [`ELEMENTS_MAX`].
pub(crate) fn check_count(elements: usize) -> Eval<()> {
    if elements > ELEMENTS_MAX { Err(too_large()) } else { Ok(()) }
}

/// A map that takes many entries: a large one finds its keys by hash, where [`Map::put`] looks at each.
#[derive(Default)]
pub(crate) struct Filling<'p> {
    map: Map<'p>,
    /// Where each key is; empty while the map is small.
    places: HashMap<Cow<'p, str>, usize>,
}

impl<'p> Filling<'p> {
    pub(crate) fn of(map: Map<'p>) -> Self {
        let mut filling = Self { map, places: HashMap::new() };
        filling.hash_if_large();
        filling
    }

    fn hash_if_large(&mut self) {
        if self.places.is_empty() && self.map.0.len() >= HASHED_MIN {
            for (place, (key, _)) in self.map.0.iter().enumerate() {
                // Of equal keys the first is the one that counts.
                self.places.entry(key.clone()).or_insert(place);
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value<'p>> {
        match self.places.is_empty() {
            true => self.map.get(key),
            false => self.places.get(key).map(|place| &self.map.0[*place].1),
        }
    }

    /// Sets a key, at its place or at the end.
    pub(crate) fn put(&mut self, key: Cow<'p, str>, value: Value<'p>) {
        if self.places.is_empty() {
            self.map.put(key, value);
            return self.hash_if_large();
        }
        match self.places.get(&key) {
            Some(place) => self.map.0[*place].1 = value,
            None => {
                self.places.insert(key.clone(), self.map.0.len());
                self.map.0.push((key, value));
            }
        }
    }

    pub(crate) fn finish(self) -> Map<'p> {
        self.map
    }
}

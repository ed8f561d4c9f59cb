//! Views that every signal shares: attributes, values, resource, scope, and repeated messages.
//!
//! A view is parsed with one pass over its message; strings stay bytes until they are asked for, because most walks
//! never look at most of them, and then the UTF-8 check would be the dearest part.

use std::marker::PhantomData;

use crate::DecodeError;
use crate::protobuf::{Fields, text};

/// Deepest nesting of `AnyValue` inside `AnyValue` (arrays and maps): a plain attribute has depth 1.
pub const ANY_VALUE_DEPTH_MAX: u8 = 64;

/// A message that can be looked at without being decoded.
pub trait View<'a>: Sized {
    /// Reads one message's bytes, without tag and length.
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError>;
}

/// The messages of one repeated field, parsed one by one. After an error the walk is over.
#[derive(Clone, Debug)]
pub struct Views<'a, T> {
    encoded: EncodedMessages<'a>,
    view: PhantomData<T>,
}

impl<'a, T: View<'a>> Views<'a, T> {
    pub(super) fn new(message: &'a [u8], number: u32) -> Self {
        Self { encoded: EncodedMessages { fields: Fields::new(message), number }, view: PhantomData }
    }

    /// The same messages as bytes.
    pub fn encoded(&self) -> EncodedMessages<'a> {
        self.encoded.clone()
    }
}

impl<'a, T: View<'a>> Iterator for Views<'a, T> {
    type Item = Result<T, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let view = self.encoded.next()?.and_then(T::parse);
        if view.is_err() {
            self.encoded.fields = Fields::new(&[]);
        }
        Some(view)
    }
}

/// The messages of one repeated field as bytes, without tag and length.
#[derive(Clone, Debug)]
pub struct EncodedMessages<'a> {
    fields: Fields<'a>,
    number: u32,
}

impl<'a> Iterator for EncodedMessages<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.next()? {
                Ok(field) if field.number == self.number => return Some(field.bytes()),
                Ok(_) => (),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Where the occurrences of a repeated field lie in its message: collected while the message is parsed, so that
/// nothing has to be stored per element.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    start: usize,
    end: usize,
    inside: usize,
}

impl Run {
    /// Takes up the occurrence at `start..end` of the message.
    #[inline(always)]
    pub(super) fn add(&mut self, start: usize, end: usize) {
        if self.inside == 0 {
            self.start = start;
        }
        self.end = end;
        self.inside += end - start;
    }

    /// The part of `message` from the first to the last occurrence.
    #[inline(always)]
    pub(super) fn of(self, message: &[u8]) -> &[u8] {
        &message[self.start..self.end]
    }

    /// Whether no other field lies between the occurrences.
    #[inline(always)]
    pub(super) fn is_contiguous(self) -> bool {
        self.end - self.start == self.inside
    }
}

/// A list of `KeyValue`: attributes of anything, or the entries of a map value. Keys may repeat; senders are not to
/// do that, and consumers differ in what they make of it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    number: u32,
    contiguous: bool,
    depth: u8,
}

impl<'a> Attributes<'a> {
    #[inline(always)]
    pub(super) fn new(message: &'a [u8], number: u32, run: Run) -> Self {
        Self { bytes: run.of(message), number, contiguous: run.is_contiguous(), depth: ANY_VALUE_DEPTH_MAX }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The attributes as one run of encoded fields (tags included), when nothing else lies between them, which every
    /// known writer sees to. Equal runs are equal attributes; unequal runs may be, in another order or encoding.
    #[inline]
    pub fn contiguous_bytes(&self) -> Option<&'a [u8]> {
        self.contiguous.then_some(self.bytes)
    }

    /// Each encoded `KeyValue` message.
    #[inline]
    pub fn encoded(&self) -> EncodedMessages<'a> {
        EncodedMessages { fields: Fields::new(self.bytes), number: self.number }
    }

    /// Each attribute in wire order.
    #[inline]
    pub fn iter(&self) -> AttributesIter<'a> {
        AttributesIter { encoded: self.encoded(), depth: self.depth }
    }

    /// The value of the first attribute with this key.
    pub fn get(&self, key: &str) -> Result<Option<AnyValue<'a>>, DecodeError> {
        for attribute in self.iter() {
            let attribute = attribute?;
            if attribute.key_bytes() == key.as_bytes() {
                return attribute.value().map(Some);
            }
        }
        Ok(None)
    }
}

/// Walks [`Attributes`].
#[derive(Clone, Debug)]
pub struct AttributesIter<'a> {
    encoded: EncodedMessages<'a>,
    depth: u8,
}

impl<'a> Iterator for AttributesIter<'a> {
    type Item = Result<KeyValue<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.encoded.next()?.and_then(|bytes| KeyValue::parse_at(bytes, self.depth)))
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct KeyValue<'a> {
    key: &'a [u8],
    value: &'a [u8],
    depth: u8,
}

impl<'a> KeyValue<'a> {
    #[inline]
    fn parse_at(bytes: &'a [u8], depth: u8) -> Result<Self, DecodeError> {
        if let Some((key, value)) = plain_key_value(bytes) {
            return Ok(Self { key, value, depth });
        }
        let mut pair = Self { key: &[], value: &[], depth };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => pair.key = field.bytes()?,
                2 => pair.value = field.bytes()?,
                _ => (),
            }
        }
        Ok(pair)
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> Result<&'a str, DecodeError> {
        text(self.key)
    }

    /// The key without a UTF-8 check, for comparing.
    #[inline]
    pub fn key_bytes(&self) -> &'a [u8] {
        self.key
    }

    /// The value; [`AnyValue::Empty`] when there is none.
    #[inline]
    pub fn value(&self) -> Result<AnyValue<'a>, DecodeError> {
        AnyValue::parse_at(self.value, self.depth)
    }

    /// The encoded `AnyValue` message.
    #[inline]
    pub fn value_bytes(&self) -> &'a [u8] {
        self.value
    }
}

impl<'a> View<'a> for KeyValue<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::parse_at(bytes, ANY_VALUE_DEPTH_MAX)
    }
}

/// Key and encoded value of a `KeyValue` written the usual way: the key, then the value, both under 128 bytes, and
/// nothing else. `None` means nothing but that it has to be walked field by field.
#[inline(always)]
pub(super) fn plain_key_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, key_len @ ..0x80, rest @ ..] = bytes else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let [0x12, value_len @ ..0x80, value @ ..] = rest else { return None };
    (usize::from(*value_len) == value.len()).then_some((key, value))
}

/// The text of an `AnyValue` that is nothing but a string under 128 bytes; `None` as in [`plain_key_value`].
#[inline(always)]
pub(super) fn plain_string(bytes: &[u8]) -> Option<&[u8]> {
    let [0x0a, len @ ..0x80, text @ ..] = bytes else { return None };
    (usize::from(*len) == text.len()).then_some(text)
}

/// A value of an attribute or a log body.
#[derive(Clone, Copy, Debug)]
pub enum AnyValue<'a> {
    /// No value at all, which is not the same as an empty string.
    Empty,
    /// Text.
    String(&'a str),
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A float.
    Double(f64),
    /// A list of values, of mixed types too.
    Array(ArrayValue<'a>),
    /// A map.
    Map(Attributes<'a>),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// Reads a value that may have `depth` levels, itself included.
    #[inline]
    fn parse_at(bytes: &'a [u8], depth: u8) -> Result<Self, DecodeError> {
        let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
        if let Some(plain) = plain_string(bytes) {
            return text(plain).map(Self::String);
        }
        let mut value = Self::Empty;
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            value = match field.number {
                1 => Self::String(field.str()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()? as i64),
                4 => Self::Double(field.double()?),
                5 => Self::Array(ArrayValue { bytes: field.bytes()?, depth }),
                6 => {
                    let bytes = field.bytes()?;
                    Self::Map(Attributes { bytes, number: 1, contiguous: false, depth })
                }
                7 => Self::Bytes(field.bytes()?),
                _ => value,
            };
        }
        Ok(value)
    }
}

#[cold]
pub(super) fn too_deep() -> DecodeError {
    DecodeError::invalid(format!("attribute values nest deeper than {ANY_VALUE_DEPTH_MAX}"))
}

impl<'a> View<'a> for AnyValue<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::parse_at(bytes, ANY_VALUE_DEPTH_MAX)
    }
}

/// The elements of an array value.
#[derive(Clone, Copy, Debug)]
pub struct ArrayValue<'a> {
    bytes: &'a [u8],
    depth: u8,
}

impl<'a> ArrayValue<'a> {
    /// The encoded `ArrayValue` message.
    pub fn encoded_message(&self) -> &'a [u8] {
        self.bytes
    }

    /// Each element in order.
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter {
            encoded: EncodedMessages { fields: Fields::new(self.bytes), number: 1 },
            depth: self.depth,
        }
    }
}

/// Walks an [`ArrayValue`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'a> {
    encoded: EncodedMessages<'a>,
    depth: u8,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Result<AnyValue<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.encoded.next()?.and_then(|bytes| AnyValue::parse_at(bytes, self.depth)))
    }
}

/// What produced the telemetry.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// Its attributes.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes_count: u32,
}

impl<'a> View<'a> for Resource<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut attributes, mut dropped) = (Run::default(), 0);
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => attributes.add(start, fields.offset()),
                2 => dropped = field.varint()? as u32,
                _ => (),
            }
            start = fields.offset();
        }
        Ok(Self { attributes: Attributes::new(bytes, 1, attributes), dropped_attributes_count: dropped })
    }
}

/// The instrumentation scope: the library that made the telemetry.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    name: &'a [u8],
    version: &'a [u8],
    /// Its attributes.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes_count: u32,
}

impl<'a> Scope<'a> {
    /// The name.
    pub fn name(&self) -> Result<&'a str, DecodeError> {
        text(self.name)
    }

    /// The version.
    pub fn version(&self) -> Result<&'a str, DecodeError> {
        text(self.version)
    }
}

impl<'a> View<'a> for Scope<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut name, mut version): (&[u8], &[u8]) = (&[], &[]);
        let (mut attributes, mut dropped) = (Run::default(), 0);
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => version = field.bytes()?,
                3 => attributes.add(start, fields.offset()),
                4 => dropped = field.varint()? as u32,
                _ => (),
            }
            start = fields.offset();
        }
        let attributes = Attributes::new(bytes, 3, attributes);
        Ok(Self { name, version, attributes, dropped_attributes_count: dropped })
    }
}

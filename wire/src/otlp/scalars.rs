//! Repeated numbers, packed or not or both in one message: walked in place, never collected.

use super::views::Run;
use crate::DecodeError;
use crate::protobuf::{Field, Fields, Value, read_varint};

/// Where a repeated 64-bit field lies, and how many elements it has.
#[derive(Clone, Copy, Default)]
pub(super) struct ScalarRun {
    run: Run,
    len: usize,
}

impl ScalarRun {
    #[inline]
    pub(super) fn add(&mut self, field: &Field<'_>, start: usize, end: usize) -> Result<(), DecodeError> {
        self.len += match field.value {
            Value::Fixed64(_) => 1,
            Value::Bytes(packed) if packed.len().is_multiple_of(8) => packed.len() / 8,
            _ => return Err(field.wrong_type("packed fixed64")),
        };
        self.run.add(start, end);
        Ok(())
    }

    fn of(self, message: &[u8], number: u32) -> Scalars<'_> {
        Scalars { run: self.run.of(message), number, len: self.len }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Scalars<'a> {
    run: &'a [u8],
    number: u32,
    len: usize,
}

/// A repeated `fixed64` field.
#[derive(Clone, Copy, Debug)]
pub struct Fixed64s<'a>(Scalars<'a>);

impl<'a> Fixed64s<'a> {
    pub(super) fn none() -> Self {
        Self(Scalars::default())
    }

    pub(super) fn new(message: &'a [u8], number: u32, run: ScalarRun) -> Self {
        Self(run.of(message, number))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        Words::new(self.0.run, self.0.number)
    }
}

/// A repeated `double` field.
#[derive(Clone, Copy, Debug)]
pub struct Doubles<'a>(Scalars<'a>);

impl<'a> Doubles<'a> {
    pub(super) fn none() -> Self {
        Self(Scalars::default())
    }

    pub(super) fn new(message: &'a [u8], number: u32, run: ScalarRun) -> Self {
        Self(run.of(message, number))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The encoded field or fields, for hashing: equal bytes are equal elements.
    pub fn encoded(&self) -> &'a [u8] {
        self.0.run
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = f64> + use<'a> {
        Words::new(self.0.run, self.0.number).map(f64::from_bits)
    }
}

/// A repeated `uint64` field.
#[derive(Clone, Debug)]
pub struct Varints<'a> {
    fields: Fields<'a>,
    number: u32,
    packed: &'a [u8],
}

impl<'a> Varints<'a> {
    pub(super) fn new(run: &'a [u8], number: u32) -> Self {
        Self { fields: Fields::new(run), number, packed: &[] }
    }
}

impl Iterator for Varints<'_> {
    type Item = Result<u64, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if !self.packed.is_empty() {
                let element = read_varint(&mut self.packed);
                if element.is_err() {
                    (self.packed, self.fields) = (&[], Fields::new(&[]));
                }
                return Some(element);
            }
            match self.fields.next()? {
                Err(error) => return Some(Err(error)),
                Ok(field) if field.number != self.number => (),
                Ok(Field { value: Value::Bytes(packed), .. }) => self.packed = packed,
                Ok(field) => return Some(field.varint()),
            }
        }
    }
}

/// Words of a repeated `fixed64` field, checked when its message was parsed.
#[derive(Clone, Debug)]
struct Words<'a> {
    fields: Fields<'a>,
    number: u32,
    packed: &'a [[u8; 8]],
}

impl<'a> Words<'a> {
    fn new(run: &'a [u8], number: u32) -> Self {
        Self { fields: Fields::new(run), number, packed: &[] }
    }
}

impl Iterator for Words<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some((word, rest)) = self.packed.split_first() {
                self.packed = rest;
                return Some(u64::from_le_bytes(*word));
            }
            // Errors cannot occur here: parsing the message walked these very fields.
            let field = self.fields.next()?.ok()?;
            match field.value {
                _ if field.number != self.number => (),
                Value::Fixed64(word) => return Some(word),
                Value::Bytes(packed) => self.packed = packed.as_chunks().0,
                _ => return None,
            }
        }
    }
}

//! A borrow-only protobuf reader and an appending writer, without schema and without generated code.
//!
//! The reader walks one message's fields in wire order and hands out slices of the input; nested messages are
//! read by walking the slice again. It follows the encoding specification of protobuf: any field order, unknown
//! fields and groups skipped, repeated scalars packed or not, varints of up to ten bytes, also overlong ones.
//! The writer appends to a `Vec<u8>`; nested lengths are either known beforehand or patched afterwards.
//!
//! - PB-1: reading allocates nothing, except the text of an error.
//! - PB-2: groups nest at most [`GROUP_DEPTH_MAX`] deep.
//!
//! It knows no messages: those are in `otlp`, `remote_write`, `loki_push` and `rpc_status`.

use crate::DecodeError;

/// Deepest nesting of (long deprecated) groups that is skipped; deeper input is an error.
pub const GROUP_DEPTH_MAX: usize = 32;

/// Most bytes of one varint.
pub const VARINT_BYTES_MAX: usize = 10;

/// Wire type of varints.
pub const VARINT: u32 = 0;
/// Wire type of `fixed64`, `sfixed64` and `double`.
pub const FIXED64: u32 = 1;
/// Wire type of strings, bytes, messages and packed scalars.
pub const LEN: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
/// Wire type of `fixed32`, `sfixed32` and `float`.
pub const FIXED32: u32 = 5;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number, 1 to 2^29-1.
    pub number: u32,
    /// What it holds.
    pub value: Value<'a>,
}

/// A field's value as its wire type gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `int32`, `int64`, `uint32`, `uint64`, `sint32`, `sint64` (zigzag), `bool`, enum.
    Varint(u64),
    /// `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// `string`, `bytes`, a message, packed scalars.
    Bytes(&'a [u8]),
    /// The inside of a group, end tag left out.
    Group(&'a [u8]),
    /// `fixed32`, `sfixed32`, `float`.
    Fixed32(u32),
}

/// Walks the fields of one message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Fields<'a> {
    /// Walks `message`, the bytes of one message without tag and length.
    #[inline]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message, len: message.len() }
    }

    /// Bytes read so far: before a call of [`Self::next_field`] the offset of the next field's tag.
    #[inline]
    pub fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next field, or `None` at the end of the message.
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = read_tag(&mut self.rest)?;
        let value = match wire_type {
            LEN => Value::Bytes(read_len_delimited(&mut self.rest)?),
            VARINT => Value::Varint(read_varint(&mut self.rest)?),
            FIXED64 => Value::Fixed64(read_fixed64(&mut self.rest)?),
            FIXED32 => Value::Fixed32(read_fixed32(&mut self.rest)?),
            _ => Value::Group(read_group(&mut self.rest, number, wire_type, GROUP_DEPTH_MAX)?),
        };
        Ok(Some(Field { number, value }))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    /// As [`Fields::next_field`]; after an error the walk is over.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let field = self.next_field();
        if field.is_err() {
            self.rest = &[];
        }
        field.transpose()
    }
}

impl<'a> Field<'a> {
    /// The value of an integer, bool or enum field.
    #[inline(always)]
    pub fn varint(&self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type("varint")),
        }
    }

    /// The value of a `fixed64` or `sfixed64` field.
    #[inline(always)]
    pub fn fixed64(&self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(self.wrong_type("fixed64")),
        }
    }

    /// The value of a `fixed32` field.
    #[inline(always)]
    pub fn fixed32(&self) -> Result<u32, DecodeError> {
        match self.value {
            Value::Fixed32(value) => Ok(value),
            _ => Err(self.wrong_type("fixed32")),
        }
    }

    /// The value of a `double` field.
    #[inline(always)]
    pub fn double(&self) -> Result<f64, DecodeError> {
        self.fixed64().map(f64::from_bits)
    }

    /// The bytes of a message, `bytes` or (not yet checked) `string` field.
    #[inline(always)]
    pub fn bytes(&self) -> Result<&'a [u8], DecodeError> {
        match self.value {
            Value::Bytes(value) => Ok(value),
            _ => Err(self.wrong_type("length-delimited")),
        }
    }

    /// The text of a `string` field; an error if it is not UTF-8.
    #[inline]
    pub fn str(&self) -> Result<&'a str, DecodeError> {
        text(self.bytes()?).map_err(|error| error.within(format_args!("field {}", self.number)))
    }

    /// Calls `each` for every element of this occurrence of a repeated varint field, packed or not.
    #[inline]
    pub fn varints(&self, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
        match self.value {
            Value::Varint(value) => each(value),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(read_varint(&mut packed)?);
                }
            }
            _ => return Err(self.wrong_type("varint")),
        }
        Ok(())
    }

    /// Calls `each` for every element of this occurrence of a repeated `fixed64` or `double` field, packed or not.
    #[inline]
    pub fn fixed64s(&self, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
        match self.value {
            Value::Fixed64(value) => each(value),
            Value::Bytes(packed) => {
                let (words, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(self.wrong_type("packed fixed64"));
                }
                words.iter().for_each(|word| each(u64::from_le_bytes(*word)));
            }
            _ => return Err(self.wrong_type("fixed64")),
        }
        Ok(())
    }

    /// The error for a field whose wire type is not that of its declaration.
    #[cold]
    pub fn wrong_type(&self, expected: &str) -> DecodeError {
        let got = match self.value {
            Value::Varint(_) => "varint",
            Value::Fixed64(_) => "fixed64",
            Value::Bytes(_) => "length-delimited",
            Value::Group(_) => "group",
            Value::Fixed32(_) => "fixed32",
        };
        DecodeError::invalid(format!("field {}: got wire type {got}, expected {expected}", self.number))
    }
}

/// Bytes as text; an error if they are not UTF-8.
#[inline]
pub fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    str::from_utf8(bytes).map_err(|error| not_utf8(bytes.len(), error.valid_up_to()))
}

#[cold]
fn not_utf8(len: usize, valid: usize) -> DecodeError {
    DecodeError::invalid(format!("string of {len} bytes is not valid utf-8 at byte {valid}"))
}

/// Undoes the zigzag encoding of `sint32` and `sint64`.
#[inline]
pub fn zigzag_decode(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The zigzag encoding of `sint32` and `sint64`.
#[inline]
pub fn zigzag_encode(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline(always)]
fn read_tag(rest: &mut &[u8]) -> Result<(u32, u32), DecodeError> {
    let tag = read_varint(rest)?;
    let number = tag >> 3;
    if number == 0 || number >= 1 << 29 {
        return Err(bad_number(number));
    }
    Ok((number as u32, (tag & 7) as u32))
}

#[cold]
fn bad_number(number: u64) -> DecodeError {
    DecodeError::invalid(format!("field number {number} is not within 1 to {}", (1 << 29) - 1))
}

/// Reads a varint and moves `rest` behind it. One with bits above 64 is refused, as Go's and prost's readers do: what
/// we forward must be readable behind us.
#[inline(always)]
pub fn read_varint(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    match **rest {
        [byte, ref tail @ ..] if byte < 0x80 => {
            *rest = tail;
            Ok(byte as u64)
        }
        [low, high, ref tail @ ..] if high < 0x80 => {
            *rest = tail;
            Ok((low & 0x7f) as u64 | (high as u64) << 7)
        }
        _ => read_long_varint(rest),
    }
}

#[inline(never)]
fn read_long_varint(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= ((byte & 0x7f) as u64) << (7 * index);
        if *byte < 0x80 {
            // The tenth byte holds the 64th bit only.
            if index == VARINT_BYTES_MAX - 1 && *byte > 1 {
                return Err(varint_too_long());
            }
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    if rest.len() < VARINT_BYTES_MAX { Err(truncated("varint")) } else { Err(varint_too_long()) }
}

#[cold]
fn varint_too_long() -> DecodeError {
    DecodeError::invalid(format!("varint has more than {VARINT_BYTES_MAX} bytes or 64 bits"))
}

/// Reads a length and as many bytes, and moves `rest` behind them.
#[inline(always)]
pub fn read_len_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = read_varint(rest)?;
    if len > rest.len() as u64 {
        return Err(length_past_end(len, rest.len()));
    }
    let (value, tail) = rest.split_at(len as usize);
    *rest = tail;
    Ok(value)
}

#[cold]
fn length_past_end(len: u64, left: usize) -> DecodeError {
    DecodeError::invalid(format!("length {len} runs past the end, {left} bytes are left"))
}

#[inline(always)]
fn read_fixed64(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let (value, tail) = rest.split_first_chunk().ok_or_else(|| truncated("fixed64"))?;
    *rest = tail;
    Ok(u64::from_le_bytes(*value))
}

#[inline(always)]
fn read_fixed32(rest: &mut &[u8]) -> Result<u32, DecodeError> {
    let (value, tail) = rest.split_first_chunk().ok_or_else(|| truncated("fixed32"))?;
    *rest = tail;
    Ok(u32::from_le_bytes(*value))
}

#[cold]
fn truncated(what: &str) -> DecodeError {
    DecodeError::invalid(format!("{what} runs past the end"))
}

/// Reads a group up to its end tag; also refuses the wire types that do not exist.
#[cold]
fn read_group<'a>(
    rest: &mut &'a [u8],
    number: u32,
    wire_type: u32,
    depth: usize,
) -> Result<&'a [u8], DecodeError> {
    if wire_type != GROUP_START {
        return Err(DecodeError::invalid(format!(
            "field {number}: wire type {wire_type} is not allowed here"
        )));
    }
    if depth == 0 {
        return Err(DecodeError::invalid(format!("groups nest deeper than {GROUP_DEPTH_MAX}")));
    }
    let inside = *rest;
    loop {
        if rest.is_empty() {
            return Err(truncated("group"));
        }
        let end = inside.len() - rest.len();
        let (inner_number, inner_type) = read_tag(rest)?;
        match inner_type {
            VARINT => drop(read_varint(rest)?),
            FIXED64 => drop(read_fixed64(rest)?),
            FIXED32 => drop(read_fixed32(rest)?),
            LEN => drop(read_len_delimited(rest)?),
            GROUP_END if inner_number == number => return Ok(&inside[..end]),
            _ => drop(read_group(rest, inner_number, inner_type, depth - 1)?),
        }
    }
}

/// Bytes that `value` takes as a varint.
#[inline]
pub fn varint_len(value: u64) -> usize {
    // ceil(bits / 7), with one byte for 0: 9/64 is just above 1/7.
    ((64 - (value | 1).leading_zeros()) as usize * 9 + 64) / 64
}

/// Bytes that a length-delimited field takes: tag, length and `len` bytes.
#[inline]
pub fn len_delimited_len(number: u32, len: usize) -> usize {
    varint_len((number as u64) << 3) + varint_len(len as u64) + len
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field's tag.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_varint(out, (number << 3 | wire_type) as u64);
}

/// Appends a varint field, also when it is 0.
#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, VARINT);
    put_varint(out, value);
}

/// Appends a `fixed64`, `sfixed64` or `double` (by its bits) field, also when it is 0.
#[inline]
pub fn put_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double` field, also when it is 0.
#[inline]
pub fn put_double_field(out: &mut Vec<u8>, number: u32, value: f64) {
    put_fixed64_field(out, number, value.to_bits());
}

/// Appends a `fixed32` field, also when it is 0.
#[inline]
pub fn put_fixed32_field(out: &mut Vec<u8>, number: u32, value: u32) {
    put_tag(out, number, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a string, bytes or (already encoded) message field, also when it is empty.
#[inline]
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_len_header(out, number, value.len());
    out.extend_from_slice(value);
}

/// Appends tag and length of a length-delimited field; the caller appends exactly `len` bytes after it.
#[inline]
pub fn put_len_header(out: &mut Vec<u8>, number: u32, len: usize) {
    put_tag(out, number, LEN);
    put_varint(out, len as u64);
}

/// A length-delimited field that is being written and whose length is not known yet.
#[derive(Debug)]
#[must_use = "without `end` the length is missing"]
pub struct OpenMessage {
    /// Offset of the first byte after the room left for the length.
    start: usize,
    /// Bytes of that room.
    room: usize,
}

/// Starts a length-delimited field; append its content to `out`, then call [`OpenMessage::end`]. Messages nest.
#[inline]
pub fn begin_message(out: &mut Vec<u8>, number: u32) -> OpenMessage {
    put_tag(out, number, LEN);
    out.push(0);
    OpenMessage { start: out.len(), room: 1 }
}

/// Bytes of a length as [`begin_large_message`] leaves them: enough for 4 GiB.
const LARGE_ROOM: usize = 5;

/// As [`begin_message`] for content that is too large to be moved: its length is a varint with leading zeros, which every
/// reader takes (protobuf.dev/programming-guides/encoding, base 128 varints).
#[inline]
pub fn begin_large_message(out: &mut Vec<u8>, number: u32) -> OpenMessage {
    put_tag(out, number, LEN);
    out.extend_from_slice(&[0; LARGE_ROOM]);
    OpenMessage { start: out.len(), room: LARGE_ROOM }
}

impl OpenMessage {
    /// Writes the length. Content of a small message that has 128 bytes and more moves up by the length's further bytes.
    #[inline]
    pub fn end(self, out: &mut Vec<u8>) {
        let len = out.len() - self.start;
        if len < 0x80 && self.room == 1 {
            out[self.start - 1] = len as u8;
            return;
        }
        // What leaves room has it; what is past it anyway moves like a small one.
        let extra = varint_len(len as u64).saturating_sub(self.room);
        if extra > 0 {
            out.resize(out.len() + extra, 0);
            out.copy_within(self.start..self.start + len, self.start + extra);
        }
        let mut rest = len as u64;
        for byte in &mut out[self.start - self.room..self.start + extra] {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        out[self.start + extra - 1] &= 0x7f;
    }
}

/// Writes one message field by calling `content`, with the length patched in afterwards.
#[inline]
pub fn put_message(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let open = begin_message(out, number);
    content(out);
    open.end(out);
}

#[cfg(test)]
mod tests;

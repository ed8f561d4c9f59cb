//! Reading and writing of the log store's small binary pieces: varints, fixed integers, texts.
//!
//! Invariant CURSOR-1: nothing is allocated for a count or length before it was held against the bytes that remain, so
//! that damaged or hostile bytes cost no more memory than they have themselves.

use crate::log_error::{LogFormatError, LogFormatResult};

/// A place in borrowed bytes; every read is checked.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    unit: &'static str,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, which errors call `unit`.
    pub(crate) fn new(unit: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, unit }
    }

    pub(crate) fn damaged(&self, reason: &'static str) -> LogFormatError {
        LogFormatError::damaged(self.unit, reason)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, len: usize) -> LogFormatResult<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.damaged("it ends early"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> LogFormatResult<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged("it ends early"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> LogFormatResult<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> LogFormatResult<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> LogFormatResult<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> LogFormatResult<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(crate) fn varint(&mut self) -> LogFormatResult<u64> {
        if let [byte, rest @ ..] = self.rest
            && *byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return Err(self.damaged("a number passes 64 bits"));
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(self.damaged("a number does not end"))
    }

    pub(crate) fn varint_u32(&mut self) -> LogFormatResult<u32> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.damaged("a number passes 32 bits"))
    }

    pub(crate) fn varint_usize(&mut self) -> LogFormatResult<usize> {
        let value = self.varint()?;
        usize::try_from(value).map_err(|_| self.damaged("a number passes the address space"))
    }

    pub(crate) fn zigzag(&mut self) -> LogFormatResult<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of items that take at least `item_bytes_min` bytes each.
    pub(crate) fn count(&mut self, item_bytes_min: usize) -> LogFormatResult<usize> {
        let count = self.varint_usize()?;
        if count.checked_mul(item_bytes_min).is_none_or(|bytes| bytes > self.rest.len()) {
            return Err(self.damaged("a count passes the bytes that are there"));
        }
        Ok(count)
    }

    /// A text with its length before it.
    pub(crate) fn text(&mut self) -> LogFormatResult<&'a str> {
        let len = self.varint_usize()?;
        self.text_of(len)
    }

    /// A text of `len` bytes.
    pub(crate) fn text_of(&mut self, len: usize) -> LogFormatResult<&'a str> {
        let bytes = self.bytes(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    /// Fails when bytes are left.
    pub(crate) fn finish(self) -> LogFormatResult<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("bytes are left after its end")) }
    }
}

#[inline]
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    put_varint(((value << 1) ^ (value >> 63)) as u64, out);
}

pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

//! Encodings of Parquet column values that log files use: DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, PLAIN byte
//! arrays (dictionaries) and the RLE/bit-packed hybrid of dictionary indices and levels.
//!
//! Source: apache/parquet-format, Encodings.md. Written here rather than taken from a Parquet library because the
//! store's columns are whole buffers on both sides (a page of lines is one text and its ends), and a value at a time
//! costs more than the compression. Decoders are told how many values there must be and check it.

use crate::log_cursor::{Cursor, put_varint, put_zigzag};
use crate::log_error::LogFormatResult;

const UNIT: &str = "log page";

/// Values of one delta block, as written by most Parquet writers.
const DELTA_BLOCK: usize = 128;
const DELTA_MINIBLOCKS: usize = 4;
const DELTA_MINIBLOCK: usize = DELTA_BLOCK / DELTA_MINIBLOCKS;
const _: () = assert!(DELTA_MINIBLOCK.is_multiple_of(32), "the format wants miniblocks in multiples of 32");

/// Appends `values` as DELTA_BINARY_PACKED.
pub fn encode_delta(values: impl ExactSizeIterator<Item = i64>, out: &mut Vec<u8>) {
    let mut values = values;
    put_varint(DELTA_BLOCK as u64, out);
    put_varint(DELTA_MINIBLOCKS as u64, out);
    put_varint(values.len() as u64, out);
    let mut last = values.next().unwrap_or(0);
    put_zigzag(last, out);
    let mut deltas = [0i64; DELTA_BLOCK];
    loop {
        let mut filled = 0;
        for (slot, value) in deltas.iter_mut().zip(&mut values) {
            *slot = value.wrapping_sub(last);
            last = value;
            filled += 1;
        }
        if filled == 0 {
            return;
        }
        encode_delta_block(&deltas[..filled], out);
    }
}

fn encode_delta_block(deltas: &[i64], out: &mut Vec<u8>) {
    let min = deltas.iter().copied().min().unwrap_or(0);
    put_zigzag(min, out);
    let widths_at = out.len();
    out.extend_from_slice(&[0; DELTA_MINIBLOCKS]);
    for (index, miniblock) in deltas.chunks(DELTA_MINIBLOCK).enumerate() {
        let mut above = [0u64; DELTA_MINIBLOCK];
        let mut all = 0;
        for (slot, &delta) in above.iter_mut().zip(miniblock) {
            *slot = delta.wrapping_sub(min) as u64;
            all |= *slot;
        }
        let width = 64 - all.leading_zeros();
        out[widths_at + index] = width as u8;
        pack_bits(above.iter().copied(), width, out);
    }
}

/// Appends values of `width` bits each, lowest bit first.
fn pack_bits(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut pending, mut pending_bits) = (0u128, 0u32);
    for value in values {
        pending |= u128::from(value) << pending_bits;
        pending_bits += width;
        while pending_bits >= 32 {
            out.extend_from_slice(&(pending as u32).to_le_bytes());
            pending >>= 32;
            pending_bits -= 32;
        }
    }
    let tail = (pending as u32).to_le_bytes();
    out.extend_from_slice(&tail[..pending_bits.div_ceil(8) as usize]);
}

/// Calls `each` with `count` values of `width` bits each; `packed` holds at least that many.
fn unpack_bits(packed: &[u8], width: u32, count: usize, mut each: impl FnMut(u64)) {
    if width == 0 {
        (0..count).for_each(|_| each(0));
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut pending, mut pending_bits) = (0u128, 0u32);
    let mut words = packed.chunks(4);
    for _ in 0..count {
        while pending_bits < width {
            let mut word = [0; 4];
            let chunk = words.next().unwrap_or_default();
            word[..chunk.len()].copy_from_slice(chunk);
            pending |= u128::from(u32::from_le_bytes(word)) << pending_bits;
            pending_bits += 32;
        }
        each(pending as u64 & mask);
        pending >>= width;
        pending_bits -= width;
    }
}

/// Decodes DELTA_BINARY_PACKED values, which must be `count`; gives back what follows them.
pub fn decode_delta(bytes: &[u8], count: usize, mut each: impl FnMut(i64)) -> LogFormatResult<&[u8]> {
    let mut cursor = Cursor::new(UNIT, bytes);
    let block = cursor.varint_usize()?;
    let miniblocks = cursor.varint_usize()?;
    if block != DELTA_BLOCK || miniblocks != DELTA_MINIBLOCKS {
        return Err(cursor.damaged("delta blocks of a size that is never written"));
    }
    if cursor.varint_usize()? != count {
        return Err(cursor.damaged("its count of values is not that of its index"));
    }
    let mut last = cursor.zigzag()?;
    if count == 0 {
        return Ok(cursor.rest());
    }
    each(last);
    let mut left = count - 1;
    while left > 0 {
        let min = cursor.zigzag()?;
        let widths: [u8; DELTA_MINIBLOCKS] =
            cursor.bytes(DELTA_MINIBLOCKS)?.try_into().expect("so many were asked for");
        for width in widths {
            if left == 0 {
                break;
            }
            let width = u32::from(width);
            if width > 64 {
                return Err(cursor.damaged("a bit width passes 64"));
            }
            let packed = cursor.bytes(DELTA_MINIBLOCK * width as usize / 8)?;
            let here = left.min(DELTA_MINIBLOCK);
            unpack_bits(packed, width, here, |above| {
                last = last.wrapping_add(min).wrapping_add(above as i64);
                each(last);
            });
            left -= here;
        }
    }
    Ok(cursor.rest())
}

/// Byte strings of one page, one after the other, and where each ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteColumn {
    /// All strings without separators.
    pub bytes: Vec<u8>,
    /// End offset of each in `bytes`.
    pub ends: Vec<u32>,
}

impl ByteColumn {
    /// The string at `index`. Panics when there is none.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// Appends a string. Panics past 4 GiB; pages and dictionaries are kept far below.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(u32::try_from(self.bytes.len()).expect("pages are kept far below 4 GiB"));
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all strings and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Appends strings, given by their lengths and all their bytes, as DELTA_LENGTH_BYTE_ARRAY.
pub fn encode_delta_length(column: &ByteColumn, out: &mut Vec<u8>) {
    let starts = std::iter::once(0).chain(column.ends.iter().copied());
    let mut lengths = column.ends.iter().zip(starts).map(|(&end, start)| i64::from(end) - i64::from(start));
    encode_delta(ExactLen { inner: &mut lengths, left: column.ends.len() }, out);
    out.extend_from_slice(&column.bytes);
}

/// Appends strings, given one by one, as DELTA_LENGTH_BYTE_ARRAY; gives where their text starts in `out`.
pub fn encode_delta_length_of<'a>(
    strings: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> usize {
    encode_delta(strings.clone().map(|string| string.len() as i64), out);
    let text_at = out.len();
    strings.for_each(|string| out.extend_from_slice(string));
    text_at
}

/// `zip` with `chain` forgets its exact length; this one carries it.
struct ExactLen<'a, I> {
    inner: &'a mut I,
    left: usize,
}

impl<I: Iterator<Item = i64>> Iterator for ExactLen<'_, I> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        self.left = self.left.saturating_sub(1);
        self.inner.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator<Item = i64>> ExactSizeIterator for ExactLen<'_, I> {}

/// Decodes DELTA_LENGTH_BYTE_ARRAY strings, which must be `count`: their ends, and their bytes still in place.
pub fn decode_delta_length(bytes: &[u8], count: usize) -> LogFormatResult<(Vec<u32>, &[u8])> {
    let mut ends = Vec::with_capacity(count.min(bytes.len()));
    let (mut end, mut sound) = (0i64, true);
    let text = decode_delta(bytes, count, |length| {
        // Bounds first: a wild length must not wrap the sum around.
        sound &= (0..=i64::from(u32::MAX)).contains(&length) && end <= i64::from(u32::MAX);
        end = end.saturating_add(length);
        ends.push(end as u32);
    })?;
    if !sound || usize::try_from(end) != Ok(text.len()) {
        return Err(Cursor::new(UNIT, bytes).damaged("its lengths do not add up to its text"));
    }
    Ok((ends, text))
}

/// Appends strings as PLAIN byte arrays, the encoding of dictionary pages.
pub fn encode_plain(column: &ByteColumn, out: &mut Vec<u8>) {
    for index in 0..column.len() {
        let bytes = column.get(index);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

/// Decodes PLAIN byte arrays, which must be `count`.
pub fn decode_plain(bytes: &[u8], count: usize) -> LogFormatResult<ByteColumn> {
    let mut cursor = Cursor::new(UNIT, bytes);
    let mut column = ByteColumn {
        bytes: Vec::with_capacity(bytes.len()),
        ends: Vec::with_capacity(count.min(bytes.len() / 4)),
    };
    for _ in 0..count {
        let length = cursor.u32()? as usize;
        column.push(cursor.bytes(length)?);
    }
    cursor.finish()?;
    Ok(column)
}

/// Bits that hold every value up to `max`.
pub fn bit_width(max: u32) -> u32 {
    32 - max.leading_zeros()
}

/// Shortest run that is written as a run: below eight, packed bits are as small.
const RUN_MIN: usize = 8;

/// Appends `values` of at most `width` bits as the RLE/bit-packed hybrid, without a length before it.
pub fn encode_hybrid(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let (mut at, mut literals_from) = (0, 0);
    while at < values.len() {
        let run = values[at..].iter().take_while(|&&value| value == values[at]).count();
        // Packed bits come in groups of eight, so a run lends the group before it what that lacks.
        let lent = (at - literals_from).next_multiple_of(8) - (at - literals_from);
        if run >= lent + RUN_MIN {
            put_packed(&values[literals_from..at + lent], width, out);
            put_varint(((run - lent) as u64) << 1, out);
            out.extend_from_slice(&values[at].to_le_bytes()[..width.div_ceil(8) as usize]);
            literals_from = at + run;
        }
        at += run;
    }
    put_packed(&values[literals_from..], width, out);
}

fn put_packed(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    put_varint((groups as u64) << 1 | 1, out);
    let padded = values.iter().copied().map(u64::from).chain(std::iter::repeat(0)).take(groups * 8);
    pack_bits(padded, width, out);
}

/// Decodes `count` values of the RLE/bit-packed hybrid; each must be below `limit`.
pub fn decode_hybrid(bytes: &[u8], width: u32, count: usize, limit: u32) -> LogFormatResult<Vec<u32>> {
    let mut cursor = Cursor::new(UNIT, bytes);
    if width > 32 {
        return Err(cursor.damaged("a bit width passes 32"));
    }
    let mut values: Vec<u32> = Vec::with_capacity(count);
    while values.len() < count {
        let left = count - values.len();
        let header = cursor.varint_usize()?;
        if header & 1 == 0 {
            let mut word = [0; 4];
            let run_bytes = width.div_ceil(8) as usize;
            word[..run_bytes].copy_from_slice(cursor.bytes(run_bytes)?);
            let run = (header >> 1).min(left);
            if run == 0 {
                return Err(cursor.damaged("a run of no value"));
            }
            values.resize(values.len() + run, u32::from_le_bytes(word));
        } else {
            let groups = header >> 1;
            let packed_bytes = groups.saturating_mul(width as usize);
            let packed = cursor.bytes(packed_bytes)?;
            if groups == 0 {
                return Err(cursor.damaged("a run of no value"));
            }
            unpack_bits(packed, width, left.min(groups.saturating_mul(8)), |value| values.push(value as u32));
        }
    }
    if values.iter().any(|&value| value >= limit) {
        return Err(cursor.damaged("an index passes its dictionary"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests;

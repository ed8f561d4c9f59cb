//! Prometheus' XOR chunks (encoding 1, tsdb/chunkenc/xor.go), bit for bit: two bytes of sample count, then a bit
//! stream of delta-of-delta times and XORed values.
//!
//! The appender's state is inline and small (a head keeps one per series); the bytes are the caller's, always whole
//! and readable, so that a flush copies them. The decoder writes columns and reads through a 64-bit window.

use model::{SampleColumns, TimeRange};

use crate::FormatError;
use crate::bits::{BitReader, OutOfBits, write_bits};
use crate::varbit::read_uvarint;
use crate::varint::{put_uvarint, put_varint, unzigzag};
use crate::xor_window::{ReadWindow, WriteWindow};

/// A chunk may hold this many samples, because its count has 16 bits.
pub const XOR_SAMPLES_MAX: u16 = u16::MAX;

/// Bytes of the sample count in front.
const HEADER_BYTES: usize = 2;

/// Where a chunk's last sample left off.
#[derive(Clone, Copy, Debug)]
pub struct XorAppender {
    timestamp_ms: i64,
    value: f64,
    delta: u64,
    samples: u16,
    window: WriteWindow,
    /// Unused bits of the last byte.
    free: u8,
}

impl XorAppender {
    /// An appender for an empty chunk; the first append writes the header.
    pub const EMPTY: Self =
        Self { timestamp_ms: 0, value: 0.0, delta: 0, samples: 0, window: WriteWindow::NONE, free: 0 };

    /// Samples in the chunk.
    #[inline]
    pub fn samples(&self) -> u16 {
        self.samples
    }

    /// Time of the last sample; 0 when there is none.
    #[inline]
    pub fn last_timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Value of the last sample; 0 when there is none.
    #[inline]
    pub fn last_value(&self) -> f64 {
        self.value
    }

    /// Appends a sample to `chunk`, which only this appender writes. Times must ascend and the chunk must have room
    /// for one more: the caller decides what an older sample means and when a chunk is full.
    #[inline]
    pub fn append(&mut self, chunk: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
        match self.samples {
            0 => {
                chunk.clear();
                chunk.extend_from_slice(&[0; HEADER_BYTES]);
                put_varint(chunk, timestamp_ms);
                chunk.extend_from_slice(&value.to_bits().to_be_bytes());
            }
            1 => {
                let delta = timestamp_ms.wrapping_sub(self.timestamp_ms).cast_unsigned();
                put_uvarint(chunk, delta);
                self.delta = delta;
                self.append_value(chunk, value, 0, 0);
            }
            _ => {
                let delta = timestamp_ms.wrapping_sub(self.timestamp_ms).cast_unsigned();
                let change = delta.wrapping_sub(self.delta).cast_signed();
                self.delta = delta;
                let (bits, count) = match change {
                    0 => (0, 1),
                    -8191..=8192 => (0b10 << 14 | low_bits(change, 14), 16),
                    -65535..=65536 => (0b110 << 17 | low_bits(change, 17), 20),
                    -524_287..=524_288 => (0b1110 << 20 | low_bits(change, 20), 24),
                    _ => {
                        write_bits(chunk, &mut self.free, 0b1111, 4);
                        write_bits(chunk, &mut self.free, change.cast_unsigned(), 64);
                        (0, 0)
                    }
                };
                self.append_value(chunk, value, bits, count);
            }
        }
        self.timestamp_ms = timestamp_ms;
        self.value = value;
        self.samples = self.samples.checked_add(1).expect("the caller cuts chunks long before 65535 samples");
        chunk[..HEADER_BYTES].copy_from_slice(&self.samples.to_be_bytes());
    }

    /// Appends `prefix` (`prefix_bits` of it, at most 24) and then the value.
    #[inline]
    fn append_value(&mut self, chunk: &mut Vec<u8>, value: f64, prefix: u64, prefix_bits: u32) {
        let change = value.to_bits() ^ self.value.to_bits();
        self.window.write(chunk, &mut self.free, prefix, prefix_bits, change);
    }
}

/// Two's complement of `value` in `count` bits.
fn low_bits(value: i64, count: u32) -> u64 {
    value.cast_unsigned() & ((1 << count) - 1)
}

/// Number of samples in a chunk.
pub fn xor_samples(chunk: &[u8]) -> Result<u16, FormatError> {
    let header = chunk.first_chunk::<HEADER_BYTES>().ok_or_else(|| FormatError::chunk("it has no header"))?;
    Ok(u16::from_be_bytes(*header))
}

/// Appends the samples of `chunk` that lie in `range` (ms, both ends included) to `out`, in time order.
///
/// At most `samples_max` samples are decoded, for readers that may see only a chunk's beginning. Bytes that are no
/// chunk give an error or wrong samples, never a panic; what was appended before the fault stays in `out`.
pub fn decode_xor(
    chunk: &[u8],
    samples_max: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), FormatError> {
    let samples = usize::from(xor_samples(chunk)?.min(samples_max));
    let stream = &chunk[HEADER_BYTES..];
    // A sample takes two bits or more, so a false count reserves no more than four times the bytes.
    let reserve = samples.min(stream.len().saturating_mul(4));
    out.timestamps_ms.reserve(reserve);
    out.values.reserve(reserve);
    decode(&mut BitReader::new(stream), samples, range, out)
        .map_err(|OutOfBits| FormatError::chunk("it ends inside a sample"))
}

fn decode(
    bits: &mut BitReader<'_>,
    samples: usize,
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), OutOfBits> {
    if samples == 0 {
        return Ok(());
    }
    let mut timestamp = unzigzag(read_uvarint(bits)?);
    let mut value = bits.read(64)?;
    let mut window = ReadWindow::WHOLE;
    let mut delta = 0;
    for index in 0..samples {
        if index > 0 {
            delta = if index == 1 {
                read_uvarint(bits)?
            } else {
                read_change(bits)?.cast_unsigned().wrapping_add(delta)
            };
            timestamp = timestamp.wrapping_add(delta.cast_signed());
            value ^= window.read(bits)?;
        }
        if timestamp > range.max {
            return Ok(());
        }
        if timestamp >= range.min {
            out.push(timestamp, f64::from_bits(value));
        }
    }
    Ok(())
}

/// A delta of deltas.
#[inline]
fn read_change(bits: &mut BitReader<'_>) -> Result<i64, OutOfBits> {
    let head = bits.peek(24);
    let (prefix, count) = match head >> 20 {
        0b0000..=0b0111 => {
            bits.skip(1)?;
            return Ok(0);
        }
        0b1000..=0b1011 => (2, 14),
        0b1100..=0b1101 => (3, 17),
        0b1110 => (4, 20),
        _ => {
            bits.skip(4)?;
            return Ok(bits.read(64)?.cast_signed());
        }
    };
    bits.skip(prefix + count)?;
    let raw = (head >> (24 - prefix - count) & ((1 << count) - 1)).cast_signed();
    // Ranges are −(2^(n−1)−1) ..= 2^(n−1), one step off two's complement.
    Ok(if raw > 1 << (count - 1) { raw - (1 << count) } else { raw })
}

#[cfg(test)]
mod tests;

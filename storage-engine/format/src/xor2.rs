//! Prometheus' XOR2 chunks (encoding 4, tsdb/chunkenc/xor2.go), read only: floats whose control bits speak of time and
//! value together, with optional start timestamps, which are skipped. Readers older than 3.12 do not know the
//! encoding, so nothing here writes it.

use model::{STALE_NAN_BITS, SampleColumns, TimeRange};

use crate::FormatError;
use crate::bits::{BitReader, OutOfBits};
use crate::start_time::StartTimes;
use crate::varbit::read_uvarint;
use crate::varint::unzigzag;
use crate::xor_window::ReadWindow;

/// Bytes of the sample count and of the start timestamps' header in front.
const HEADER_BYTES: usize = 3;

/// Appends the samples of `chunk` that lie in `range` (ms, both ends included) to `out`, in time order.
pub(crate) fn decode_xor2(
    chunk: &[u8],
    samples_max: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), FormatError> {
    let header = chunk.first_chunk::<HEADER_BYTES>().ok_or_else(|| FormatError::chunk("it has no header"))?;
    let samples = u16::from_be_bytes([header[0], header[1]]).min(samples_max);
    let mut bits = BitReader::new(&chunk[HEADER_BYTES..]);
    let mut starts = StartTimes::new(header[2]);
    let mut reader = Reader { timestamp_ms: 0, delta: 0, baseline: 0, window: ReadWindow::WHOLE };
    for index in 0..samples {
        let value = reader
            .next(index, &mut bits)
            .and_then(|value| starts.skip(index, &mut bits).map(|()| value))
            .map_err(|OutOfBits| FormatError::chunk("it ends inside a sample"))?;
        if reader.timestamp_ms > range.max {
            break;
        }
        if reader.timestamp_ms >= range.min {
            out.push(reader.timestamp_ms, f64::from_bits(value));
        }
    }
    Ok(())
}

struct Reader {
    timestamp_ms: i64,
    delta: u64,
    /// Bits of the last value that was no stale marker.
    baseline: u64,
    window: ReadWindow,
}

impl Reader {
    /// Bits of the next value; its time is in `timestamp_ms`.
    fn next(&mut self, index: u16, bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
        match index {
            0 => {
                self.timestamp_ms = unzigzag(read_uvarint(bits)?);
                let value = bits.read(64)?;
                if value != STALE_NAN_BITS {
                    self.baseline = value;
                }
                return Ok(value);
            }
            1 => {
                self.delta = read_uvarint(bits)?;
                self.advance(0);
                return self.value(bits);
            }
            _ => {}
        }
        let ones = u8::try_from(bits.peek(8)).expect("eight bits").leading_ones().min(5);
        bits.skip(if ones == 5 { 5 } else { ones + 1 })?;
        let change = match ones {
            2 => signed(bits.read(13)?, 13),
            3 => signed(bits.read(20)?, 20),
            4 => bits.read(64)?.cast_signed(),
            _ => 0,
        };
        self.advance(change);
        match ones {
            0 => Ok(self.baseline),
            1 => {
                let is_new = bits.read(1)? == 1;
                self.changed(is_new, bits)
            }
            5 => Ok(STALE_NAN_BITS),
            _ => self.value(bits),
        }
    }

    fn advance(&mut self, change: i64) {
        self.delta = self.delta.wrapping_add(change.cast_unsigned());
        self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta.cast_signed());
    }

    /// A value behind a time that has its own control bits.
    fn value(&mut self, bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
        let ones = u8::try_from(bits.peek(8)).expect("eight bits").leading_ones().min(3);
        bits.skip(if ones == 3 { 3 } else { ones + 1 })?;
        match ones {
            0 => Ok(self.baseline),
            1 => self.changed(false, bits),
            2 => self.changed(true, bits),
            _ => Ok(STALE_NAN_BITS),
        }
    }

    fn changed(&mut self, is_new: bool, bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
        self.baseline ^= if is_new { self.window.read_new(bits)? } else { self.window.read_within(bits)? };
        Ok(self.baseline)
    }
}

/// Plain two's complement in `width` bits, unlike in the older encodings.
fn signed(raw: u64, width: u32) -> i64 {
    (raw << (64 - width)).cast_signed() >> (64 - width)
}

//! Chunks of any encoding, told apart by the number that stands before them in files (tsdb/chunkenc/chunk.go).

use std::sync::Arc;

use model::{FloatHistogram, IntegerHistogram, NativeHistogram, SampleColumns, TimeRange};

use crate::histogram_chunk::{decode_histograms, read_histograms, read_histograms_st};
use crate::xor2::decode_xor2;
use crate::{Aggregate, AggregateChunk, ENCODING_AGGREGATE, FormatError, decode_xor};

/// Floats.
pub const ENCODING_XOR: u8 = 1;
/// Native histograms with integer counts.
pub const ENCODING_HISTOGRAM: u8 = 2;
/// Native histograms with float counts.
pub const ENCODING_FLOAT_HISTOGRAM: u8 = 3;
/// Floats with start timestamps; read only.
pub const ENCODING_XOR2: u8 = 4;
/// Integer histograms with start timestamps; read only.
pub const ENCODING_HISTOGRAM_ST: u8 = 5;
/// Float histograms with start timestamps; read only.
pub const ENCODING_FLOAT_HISTOGRAM_ST: u8 = 6;

/// Low bits of the first two bytes that count the samples where the high two hold the counter reset.
const SAMPLES_MASK_ST: u16 = 0x3fff;

/// Number of samples that a chunk says it has; of aggregates, number of windows.
pub fn chunk_samples(encoding: u8, chunk: &[u8]) -> Result<u16, FormatError> {
    if encoding == ENCODING_AGGREGATE {
        return match AggregateChunk::decode(chunk)?.get(Aggregate::Count) {
            Some((encoding, _)) if encoding == ENCODING_AGGREGATE => Err(unknown()),
            Some((encoding, count)) => chunk_samples(encoding, count),
            None => Ok(0),
        };
    }
    let header = chunk.first_chunk::<2>().ok_or_else(|| FormatError::chunk("it has no header"))?;
    let samples = u16::from_be_bytes(*header);
    match encoding {
        ENCODING_XOR | ENCODING_HISTOGRAM | ENCODING_FLOAT_HISTOGRAM | ENCODING_XOR2 => Ok(samples),
        ENCODING_HISTOGRAM_ST | ENCODING_FLOAT_HISTOGRAM_ST => Ok(samples & SAMPLES_MASK_ST),
        _ => Err(unknown()),
    }
}

/// Appends the samples of a chunk that lie in `range` (ms, both ends included) to `out`, in time order; integer
/// histograms as float ones. At most `samples_max` samples are decoded, for readers that may see only a chunk's
/// beginning. Bytes that are no chunk give an error or wrong samples, never a panic.
pub fn decode_chunk(
    encoding: u8,
    chunk: &[u8],
    samples_max: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), FormatError> {
    match encoding {
        ENCODING_XOR => decode_xor(chunk, samples_max, range, out),
        ENCODING_XOR2 => decode_xor2(chunk, samples_max, range, out),
        ENCODING_HISTOGRAM => decode_histograms::<IntegerHistogram>(chunk, false, samples_max, range, out),
        ENCODING_HISTOGRAM_ST => decode_histograms::<IntegerHistogram>(chunk, true, samples_max, range, out),
        ENCODING_FLOAT_HISTOGRAM => {
            decode_histograms::<FloatHistogram>(chunk, false, samples_max, range, out)
        }
        ENCODING_FLOAT_HISTOGRAM_ST => {
            decode_histograms::<FloatHistogram>(chunk, true, samples_max, range, out)
        }
        _ => Err(unknown()),
    }
}

/// A sample as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkSample {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(NativeHistogram),
}

/// Calls `visit` with time (ms) and value of each sample of a chunk as it was stored, for writing it elsewhere.
pub fn read_chunk_samples(
    encoding: u8,
    chunk: &[u8],
    mut visit: impl FnMut(i64, ChunkSample),
) -> Result<(), FormatError> {
    let mut integer =
        |time, histogram| visit(time, ChunkSample::Histogram(NativeHistogram::Integer(Arc::new(histogram))));
    match encoding {
        ENCODING_HISTOGRAM => return read_histograms::<IntegerHistogram>(chunk, integer),
        ENCODING_HISTOGRAM_ST => return read_histograms_st::<IntegerHistogram>(chunk, &mut integer),
        _ => {}
    }
    let mut float =
        |time, histogram| visit(time, ChunkSample::Histogram(NativeHistogram::Float(Arc::new(histogram))));
    match encoding {
        ENCODING_FLOAT_HISTOGRAM => return read_histograms::<FloatHistogram>(chunk, float),
        ENCODING_FLOAT_HISTOGRAM_ST => return read_histograms_st::<FloatHistogram>(chunk, &mut float),
        _ => {}
    }
    let mut columns = SampleColumns::default();
    decode_chunk(encoding, chunk, u16::MAX, TimeRange::ALL, &mut columns)?;
    for (time, value) in columns.timestamps_ms.iter().zip(&columns.values) {
        visit(*time, ChunkSample::Float(*value));
    }
    Ok(())
}

fn unknown() -> FormatError {
    FormatError::chunk("its encoding is none of 1 to 6")
}

#[cfg(test)]
mod tests;

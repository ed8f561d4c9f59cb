//! Prometheus' chunks of native histograms, bit for bit (tsdb/chunkenc/{histogram,float_histogram,histogram_meta}.go):
//! encodings 2 (integer counts) and 3 (float counts) written and read, 5 and 6 (the same with start timestamps) read.
//!
//! A chunk has one bucket layout for all its samples. A histogram with more buckets makes the appender write the chunk
//! anew; one that cannot follow (a counter reset, another schema, other bounds) needs a new chunk, whose header says
//! why. [`HistogramAppender`] decides and does; when a chunk is long enough is the caller's decision, with
//! [`HISTOGRAM_CHUNK_BYTES_TARGET`] and [`HISTOGRAM_CHUNK_SAMPLES_MIN`].

mod append;
mod decode;
mod kind;
mod layout;
mod relayout;
mod state;

pub use append::{HistogramAppender, HistogramOffer};
pub(crate) use decode::{decode_histograms, read_histograms_st};
pub use decode::{histogram_chunk_header, histogram_samples, read_histograms};
pub use kind::ChunkHistogram;

/// Size in bytes at which a histogram chunk is full (`TargetBytesPerHistogramChunk` in tsdb/chunkenc/chunk.go).
pub const HISTOGRAM_CHUNK_BYTES_TARGET: usize = 1024;

/// Samples that a chunk holds at least, however large they are (`MinSamplesPerHistogramChunk`).
pub const HISTOGRAM_CHUNK_SAMPLES_MIN: u16 = 10;

/// Bytes in front of the bit stream: two of the sample count, one of flags.
const HEADER_BYTES: usize = 3;

#[cfg(test)]
mod tests;

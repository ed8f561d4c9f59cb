//! Bytes of everything that is stored: pure encoders and decoders that read no file and take no lock.
//!
//! Invariant FORMAT-1: every decoder takes any bytes, never panics, and allocates no more than a small multiple of what
//! it was given.

mod aggregate_chunk;
mod bits;
mod block_index;
mod block_meta;
mod chunk;
mod chunk_segment;
mod error;
pub mod head_record;
mod histogram_chunk;
mod log_batch;
mod log_columns;
mod log_cursor;
mod log_error;
mod log_index;
mod log_manifest;
mod log_signatures;
mod prometheus_head_chunks;
mod prometheus_log;
mod recode;
mod start_time;
mod tombstones;
mod varbit;
mod varint;
mod xor;
mod xor2;
mod xor_window;

pub use aggregate_chunk::{Aggregate, AggregateChunk, ENCODING_AGGREGATE};
pub use block_index::{
    ChunkMeta, INDEX_HEADER_BYTES, INDEX_TOC_BYTES, IndexBuilder, IndexToc, PostingsEntry, SERIES_ALIGN,
    Symbols, check_index_header, decode_postings, decode_series, frame_bytes, section_bytes,
    take_postings_entry, walk_postings_table,
};
pub use block_meta::{BlockDesc, BlockMeta, BlockStats, Compaction, hint};
pub use chunk::{
    ChunkSample, ENCODING_FLOAT_HISTOGRAM, ENCODING_FLOAT_HISTOGRAM_ST, ENCODING_HISTOGRAM,
    ENCODING_HISTOGRAM_ST, ENCODING_XOR, ENCODING_XOR2, chunk_samples, decode_chunk, read_chunk_samples,
};
pub use chunk_segment::{
    CHUNK_FRAME_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_HEADER, SEGMENT_HEADER_BYTES, check_segment_header,
    chunk_frame_bytes, put_chunk, take_chunk,
};
pub use error::FormatError;
pub use histogram_chunk::{
    ChunkHistogram, HISTOGRAM_CHUNK_BYTES_TARGET, HISTOGRAM_CHUNK_SAMPLES_MIN, HistogramAppender,
    HistogramOffer, histogram_chunk_header, histogram_samples, read_histograms,
};
pub use log_batch::{LogBatchRecord, decode_log_batch, encode_log_batch};
pub use log_columns::{
    ByteColumn, bit_width, decode_delta, decode_delta_length, decode_hybrid, decode_plain, encode_delta,
    encode_delta_length, encode_delta_length_of, encode_hybrid, encode_plain,
};
pub use log_error::{LogFormatError, LogFormatResult};
pub use log_index::{
    LogColumnKind, LogFileColumn, LogFileIndex, LogFilePage, LogFileStream, LogMinuteStart, LogRollup,
    LogShape, LogShapeSlot, PAGE_RAW_BYTES_MAX, PAGE_ROWS_MAX, PageBytes, SignatureBytes,
};
pub use log_manifest::{LogManifest, LogManifestFile, LogManifestShared, LogRemoved, LogWriter};
pub use log_signatures::{PageSignatures, SignatureBuilder};
pub use prometheus_head_chunks::{PrometheusHeadChunk, read_prometheus_head_chunks};
pub use prometheus_log::{
    PrometheusCompression, PrometheusItem, PrometheusLogFault, read_prometheus_record,
    read_prometheus_segment,
};
pub use recode::{Recoded, Recoder};
pub use tombstones::{Intervals, Tombstones};
pub use varint::{VARINT_BYTES_MAX, put_uvarint, put_varint, take_uvarint, take_varint};
pub use xor::{XOR_SAMPLES_MAX, XorAppender, decode_xor, xor_samples};

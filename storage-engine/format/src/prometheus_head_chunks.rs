//! The chunks of a Prometheus' head that it keeps on disk, `chunks_head/000001` and on, read only
//! (tsdb/chunks/head_chunks.go). They repeat what its log has, already encoded.

use crate::FormatError;
use crate::varint::take_uvarint;

/// Magic number, version 1, three zeros.
const HEADER: [u8; 8] = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
/// Reference, first time, last time, encoding.
const META_BYTES: usize = 25;
const CHECKSUM_BYTES: usize = 4;
/// Bit of the encoding's byte that says that the samples came out of order.
const OUT_OF_ORDER: u8 = 0x80;

/// A chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrometheusHeadChunk<'a> {
    /// The series, as its record in the log names it.
    pub series: u64,
    /// Time of the first sample, ms.
    pub min_ms: i64,
    /// Time of the last sample, ms.
    pub max_ms: i64,
    /// Number of the encoding.
    pub encoding: u8,
    /// Whether the samples came out of order.
    pub is_out_of_order: bool,
    /// The chunk.
    pub data: &'a [u8],
}

/// Walks the chunks of a file. Files are made longer than they are filled: zeros end them.
pub fn read_prometheus_head_chunks(
    file: &[u8],
    mut visit: impl FnMut(PrometheusHeadChunk<'_>),
) -> Result<(), FormatError> {
    if file.is_empty() || file.iter().take(HEADER.len()).all(|byte| *byte == 0) {
        return Ok(());
    }
    let Some(mut rest) = file.strip_prefix(&HEADER) else { return Err(damaged("its header is not one")) };
    while rest.len() >= META_BYTES && rest[..META_BYTES - 1].iter().any(|byte| *byte != 0) {
        let whole = rest;
        let (meta, behind) = rest.split_at(META_BYTES);
        let number = |at: usize| u64::from_be_bytes(meta[at..at + 8].try_into().expect("eight bytes"));
        let mut behind = behind;
        let len = take_uvarint(&mut behind).and_then(|len| usize::try_from(len).ok());
        let (data, behind) = len
            .and_then(|len| behind.split_at_checked(len))
            .ok_or_else(|| damaged("it ends inside a chunk"))?;
        let (checksum, behind) =
            behind.split_first_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("it ends inside a chunk"))?;
        let covered = &whole[..whole.len() - behind.len() - CHECKSUM_BYTES];
        if crc32c::crc32c(covered) != u32::from_be_bytes(*checksum) {
            return Err(damaged("the checksum of a chunk is wrong"));
        }
        visit(PrometheusHeadChunk {
            series: number(0),
            min_ms: number(8).cast_signed(),
            max_ms: number(16).cast_signed(),
            encoding: meta[24] & !OUT_OF_ORDER,
            is_out_of_order: meta[24] & OUT_OF_ORDER != 0,
            data,
        });
        rest = behind;
    }
    if rest.iter().any(|byte| *byte != 0) {
        return Err(damaged("something that is no chunk stands behind the last one"));
    }
    Ok(())
}

fn damaged(reason: &'static str) -> FormatError {
    FormatError::new("head chunks of a Prometheus", reason)
}

#[cfg(test)]
mod tests;

//! The write-ahead log of a Prometheus, read only: pages, fragments and records of its `wal`, `wbl` and checkpoints
//! (tsdb/wlog/reader.go, tsdb/record/record.go). Integers are big-endian, checksums CRC-32C.
//!
//! A segment consists of pages of 32 KiB; a record is cut into fragments so that none crosses a page, and is compressed
//! as a whole before. Records never cross segments.

mod records;

use crate::FormatError;

pub use records::{PrometheusItem, read_prometheus_record};

const PAGE_BYTES: usize = 32 << 10;
/// Type and flags, length, checksum.
const FRAGMENT_HEADER_BYTES: usize = 7;

/// How a record is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrometheusCompression {
    /// Not at all.
    None,
    /// Snappy, block format.
    Snappy,
    /// A Zstandard frame.
    Zstd,
}

/// Where and why reading a segment stopped.
#[derive(Debug)]
pub struct PrometheusLogFault {
    /// Bytes of the segment that were read.
    pub offset: usize,
    /// Whether the bytes end inside a fragment, as a crash leaves it, rather than being wrong.
    pub is_torn: bool,
    /// What is wrong.
    pub error: FormatError,
}

/// Hands each record of a segment to `visit`, still compressed. Stops at the first fault.
pub fn read_prometheus_segment(
    segment: &[u8],
    mut visit: impl FnMut(PrometheusCompression, &[u8]),
) -> Result<(), PrometheusLogFault> {
    let mut at = 0;
    // Fragments of the record that is not whole yet.
    let mut parts: Vec<u8> = Vec::new();
    let mut is_inside = false;
    while at < segment.len() {
        let fault = |is_torn, reason| Err(PrometheusLogFault { offset: at, is_torn, error: damaged(reason) });
        let page_left = PAGE_BYTES - at % PAGE_BYTES;
        let rest = &segment[at..segment.len().min(at + page_left)];
        let kind = rest[0] & 7;
        if kind == 0 {
            if rest.iter().any(|byte| *byte != 0) {
                return fault(false, "the unused end of a page is not zero");
            }
            at += rest.len();
            continue;
        }
        let Some((header, body)) = rest.split_at_checked(FRAGMENT_HEADER_BYTES) else {
            return fault(at + page_left > segment.len(), "it ends inside the header of a fragment");
        };
        let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let checksum = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
        let Some(body) = body.get(..length) else {
            let is_torn = at + page_left > segment.len() && FRAGMENT_HEADER_BYTES + length <= page_left;
            return fault(is_torn, "it ends inside a fragment");
        };
        if crc32c::crc32c(body) != checksum {
            return fault(false, "the checksum of a fragment is wrong");
        }
        // 1 is a whole record; 2, 3 and 4 are its first, middle and last fragment.
        if is_inside != matches!(kind, 3 | 4) || kind > 4 {
            return fault(false, "a fragment does not follow from the one before");
        }
        let compression = match header[0] {
            flags if flags & 8 != 0 => PrometheusCompression::Snappy,
            flags if flags & 16 != 0 => PrometheusCompression::Zstd,
            _ => PrometheusCompression::None,
        };
        match kind {
            1 => visit(compression, body),
            2 => {
                parts.clear();
                parts.extend_from_slice(body);
            }
            _ => parts.extend_from_slice(body),
        }
        if kind == 4 {
            visit(compression, &parts);
        }
        is_inside = matches!(kind, 2 | 3);
        at += FRAGMENT_HEADER_BYTES + length;
    }
    if is_inside {
        let error = damaged("its last record is not whole");
        return Err(PrometheusLogFault { offset: at, is_torn: true, error });
    }
    Ok(())
}

fn damaged(reason: &'static str) -> FormatError {
    FormatError::new("write-ahead log of a Prometheus", reason)
}

#[cfg(test)]
mod tests;

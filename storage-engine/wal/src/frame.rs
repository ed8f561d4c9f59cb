//! Bytes of a segment: a header, then frames with one record each (`docs/formats/wal.md`).
//!
//! All integers are little-endian. A frame's checksum covers the payload first and the header after it, so that the
//! caller's thread checksums the payload before the record has its sequence number.

use crate::settings::RECORD_BYTES_MAX;

/// Magic `TGWL`, version 1, three zero bytes, first sequence u64, CRC32C of all before.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 20;

const MAGIC_AND_VERSION: [u8; 8] = *b"TGWL\x01\0\0\0";

/// Checksum u32, stored length u32, sequence u64, unsynced u32, flags u8.
pub(crate) const FRAME_HEADER_BYTES: usize = 21;

/// The payload is a u32 with the record's length and an LZ4 block.
const FLAG_LZ4: u8 = 1;

/// LZ4 cannot expand a byte to more than this.
const LZ4_RATIO_MAX: usize = 255;

/// A record ready to be framed: payload as stored, its checksum and its flags.
pub(crate) struct Payload<'a> {
    bytes: &'a [u8],
    crc: u32,
    flags: u8,
}

/// A frame as found in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    /// How many records right before this one were not known to be durable when it was queued.
    pub(crate) unsynced: u32,
    flags: u8,
    payload: &'a [u8],
}

pub(crate) fn segment_header(first_sequence: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC_AND_VERSION);
    header[8..16].copy_from_slice(&first_sequence.to_le_bytes());
    let crc = crc32c::crc32c(&header[..16]);
    header[16..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The first sequence of a segment, or `None` when its header is not whole and right.
pub(crate) fn read_segment_header(segment: &[u8]) -> Option<u64> {
    let header = segment.get(..SEGMENT_HEADER_BYTES)?;
    let right = header[..8] == MAGIC_AND_VERSION && crc32c::crc32c(&header[..16]) == u32_at(header, 16);
    right.then(|| u64_at(header, 8))
}

/// The version of a segment header whose magic and checksum are right.
pub(crate) fn segment_version(header: &[u8; SEGMENT_HEADER_BYTES]) -> Option<u8> {
    let right = header[..4] == MAGIC_AND_VERSION[..4] && crc32c::crc32c(&header[..16]) == u32_at(header, 16);
    right.then_some(header[4])
}

impl<'a> Payload<'a> {
    /// Prepares `record`; compresses it into `scratch` when it has at least `compress_bytes_min` bytes and shrinks.
    pub(crate) fn new(record: &'a [u8], compress_bytes_min: usize, scratch: &'a mut Vec<u8>) -> Self {
        if record.len() >= compress_bytes_min {
            scratch.clear();
            scratch.extend_from_slice(&len_u32(record.len()).to_le_bytes());
            scratch.resize(4 + lz4_flex::block::get_maximum_output_size(record.len()), 0);
            let written = lz4_flex::block::compress_into(record, &mut scratch[4..])
                .expect("the output has the maximum size for this input");
            scratch.truncate(4 + written);
            if scratch.len() < record.len() {
                return Self { bytes: scratch, crc: crc32c::crc32c(scratch), flags: FLAG_LZ4 };
            }
        }
        Self { bytes: record, crc: crc32c::crc32c(record), flags: 0 }
    }

    /// Appends the frame to `out`.
    pub(crate) fn write(&self, sequence: u64, unsynced: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&header(self.crc, self.bytes.len(), sequence, unsynced, self.flags));
        out.extend_from_slice(self.bytes);
    }
}

fn header(
    payload_crc: u32,
    payload_bytes: usize,
    sequence: u64,
    unsynced: u32,
    flags: u8,
) -> [u8; FRAME_HEADER_BYTES] {
    let mut header = [0; FRAME_HEADER_BYTES];
    header[4..8].copy_from_slice(&len_u32(payload_bytes).to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..20].copy_from_slice(&unsynced.to_le_bytes());
    header[20] = flags;
    let crc = crc32c::crc32c_append(payload_crc, &header[4..]);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Fills in the header of a frame whose payload is in its place.
pub(crate) fn frame_in_place(sequence: u64, unsynced: u32, frame: &mut [u8]) {
    let (head, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
    head.copy_from_slice(&header(crc32c::crc32c(payload), payload.len(), sequence, unsynced, 0));
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes` with the rest behind it, or `None` when there is no whole and right one.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let len = u32_at(header, 4) as usize;
        let payload = bytes[FRAME_HEADER_BYTES..].get(..len)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(payload), &header[4..]);
        if crc != u32_at(header, 0) {
            return None;
        }
        let frame =
            Self { sequence: u64_at(header, 8), unsynced: u32_at(header, 16), flags: header[20], payload };
        Some((frame, &bytes[FRAME_HEADER_BYTES + len..]))
    }

    /// Sequence and payload length that a frame at the start of `bytes` would have, unchecked.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(u64, usize)> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        Some((u64_at(header, 8), u32_at(header, 4) as usize))
    }

    /// The flags, if some of them are of a newer version of the format.
    pub(crate) fn unknown_flags(&self) -> Option<u8> {
        (self.flags & !FLAG_LZ4 != 0).then_some(self.flags)
    }

    /// The record, decompressed into `scratch` if need be; `None` for flags or lengths that we never write.
    pub(crate) fn record<'s>(&self, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        match self.flags {
            0 => Some(self.payload),
            FLAG_LZ4 if self.payload.len() >= 4 => {
                let (len, block) = self.payload.split_at(4);
                let len = u32_at(len, 0) as usize;
                if len > RECORD_BYTES_MAX || len > block.len().saturating_mul(LZ4_RATIO_MAX) {
                    return None;
                }
                scratch.clear();
                scratch.resize(len, 0);
                let written = lz4_flex::block::decompress_into(block, scratch).ok()?;
                (written == len).then_some(scratch.as_slice())
            }
            _ => None,
        }
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("records are capped far below 4 GiB")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;

//! Files of chunks in a block, `chunks/000001` and on (tsdb/docs/format/chunks.md): a header, then chunk behind chunk,
//! each with its length, encoding and checksum.

use crate::FormatError;
use crate::varint::{put_uvarint, take_uvarint};

/// First bytes of each file: magic number, version 1, padding.
pub const SEGMENT_HEADER: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];

/// Bytes of the header.
pub const SEGMENT_HEADER_BYTES: usize = SEGMENT_HEADER.len();

/// Size up to which a file is filled (`DefaultChunkSegmentSize` in tsdb/chunks/chunks.go).
pub const SEGMENT_BYTES_MAX: u64 = 512 << 20;

/// Bytes that a chunk takes beside its data, at most: length, encoding, checksum.
pub const CHUNK_FRAME_BYTES_MAX: usize = 5 + 1 + 4;

/// Bytes of a length in front of a chunk at most (`MaxChunkLengthFieldSize`).
const LENGTH_BYTES_MAX: usize = 5;

/// Whether `bytes` begin a file of chunks.
pub fn check_segment_header(bytes: &[u8]) -> Result<(), FormatError> {
    let fault = |reason| FormatError::new("chunk segment", reason);
    let header = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or_else(|| fault("it has no header"))?;
    if header[..4] != SEGMENT_HEADER[..4] {
        return Err(fault("it does not begin with 85BD40DD"));
    }
    if header[4] != SEGMENT_HEADER[4] {
        return Err(fault("its version is not 1"));
    }
    Ok(())
}

/// Appends a chunk.
pub fn put_chunk(out: &mut Vec<u8>, encoding: u8, data: &[u8]) {
    put_uvarint(out, data.len() as u64);
    let checked = out.len();
    out.push(encoding);
    out.extend_from_slice(data);
    let checksum = crc32c::crc32c(&out[checked..]);
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// Bytes that the chunk at the front of `bytes` takes with length, encoding and checksum. Needs only its first five
/// bytes, or all there are in the file.
pub fn chunk_frame_bytes(bytes: &[u8]) -> Result<u64, FormatError> {
    let mut rest = &bytes[..bytes.len().min(LENGTH_BYTES_MAX)];
    let before = rest.len();
    let len = take_uvarint(&mut rest).ok_or_else(|| FormatError::chunk("its length does not end"))?;
    Ok((before - rest.len()) as u64 + 1 + len + 4)
}

/// Takes the chunk at the front of `bytes`: its encoding and data, checked against its checksum.
pub fn take_chunk<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), FormatError> {
    let total = usize::try_from(chunk_frame_bytes(bytes)?).unwrap_or(usize::MAX);
    let frame = bytes.get(..total).ok_or_else(|| FormatError::chunk("it is longer than its file"))?;
    let mut rest = frame;
    take_uvarint(&mut rest).expect("its length was read a moment ago");
    let (checked, checksum) = rest.split_last_chunk::<4>().expect("the frame has room for them");
    if crc32c::crc32c(checked) != u32::from_be_bytes(*checksum) {
        return Err(FormatError::chunk("its checksum is wrong"));
    }
    *bytes = &bytes[total..];
    let (encoding, data) = checked.split_first().expect("the frame has room for it");
    Ok((*encoding, data))
}

#[cfg(test)]
mod tests {
    use super::{SEGMENT_HEADER, check_segment_header, chunk_frame_bytes, put_chunk, take_chunk};

    #[test]
    fn a_chunk_has_the_bytes_of_the_format_and_reads_back() {
        let mut out = Vec::new();
        put_chunk(&mut out, 1, b"123456789");
        // Length 9, encoding 1, the data, CRC-32C of "\x01123456789".
        assert_eq!(&out[..11], b"\x09\x01123456789");
        assert_eq!(out[11..], crc32c::crc32c(b"\x01123456789").to_be_bytes());
        assert_eq!(chunk_frame_bytes(&out), Ok(out.len() as u64));
        let mut rest = out.as_slice();
        assert_eq!(take_chunk(&mut rest), Ok((1, b"123456789".as_slice())));
        assert!(rest.is_empty());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut whole = Vec::new();
        put_chunk(&mut whole, 2, &[7; 200]);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(take_chunk(&mut flipped.as_slice()).is_err(), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert!(take_chunk(&mut &whole[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(check_segment_header(&SEGMENT_HEADER), Ok(()));
        for byte in 0..5 {
            let mut header = SEGMENT_HEADER;
            header[byte] ^= 4;
            assert!(check_segment_header(&header).is_err(), "{byte}");
        }
        assert!(check_segment_header(&SEGMENT_HEADER[..7]).is_err());
    }
}

//! Frames read back, damage anywhere is seen, and the bytes are those of the format page.

use proptest::prelude::*;

use super::{Frame, Payload, SEGMENT_HEADER_BYTES, read_segment_header, segment_header};

fn framed(record: &[u8], sequence: u64, unsynced: u32, compress_bytes_min: usize) -> Vec<u8> {
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    Payload::new(record, compress_bytes_min, &mut scratch).write(sequence, unsynced, &mut out);
    out
}

#[test]
fn a_frame_has_the_documented_bytes() {
    // CRC-32C by an independent bitwise implementation of the polynomial 0x1EDC6F41 (reflected).
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0x82f6_3b78 & (c & 1).wrapping_neg()))
        })
    };
    let header = [3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    let mut expected = crc(&[b"abc".as_slice(), &header].concat()).to_le_bytes().to_vec();
    expected.extend_from_slice(&header);
    expected.extend_from_slice(b"abc");
    assert_eq!(framed(b"abc", 7, 2, usize::MAX), expected);
    let mut expected = b"TGWL\x01\0\0\0\x09\0\0\0\0\0\0\0".to_vec();
    expected.extend_from_slice(&crc(&expected).to_le_bytes());
    assert_eq!(segment_header(9).as_slice(), expected);
}

#[test]
fn a_damaged_segment_header_is_not_read() {
    let header = segment_header(42);
    assert_eq!(read_segment_header(&header), Some(42));
    assert_eq!(read_segment_header(&header[..SEGMENT_HEADER_BYTES - 1]), None);
    for byte in 0..SEGMENT_HEADER_BYTES {
        let mut damaged = header;
        damaged[byte] ^= 0x10;
        assert_eq!(read_segment_header(&damaged), None, "byte {byte}");
    }
}

#[test]
fn a_compressed_record_that_claims_too_much_is_refused() {
    let mut scratch = Vec::new();
    for claimed in [u32::MAX, 1 << 20] {
        let payload = [claimed.to_le_bytes().as_slice(), &[0x10, b'x']].concat();
        let frame = Frame { sequence: 0, unsynced: 0, flags: 1, payload: &payload };
        assert_eq!(frame.record(&mut scratch), None);
        assert!(scratch.capacity() < 1 << 20, "nothing large was allocated");
    }
    let unknown_flag = Frame { sequence: 0, unsynced: 0, flags: 2, payload: b"x" };
    assert_eq!(unknown_flag.record(&mut scratch), None);
}

proptest! {
    #[test]
    fn frames_read_back_and_a_flipped_bit_is_seen(
        record in prop::collection::vec(0u8..4, 0..2000), sequence: u64, unsynced: u32,
        compress in any::<bool>(), flip in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let mut bytes = framed(&record, sequence, unsynced, if compress { 0 } else { usize::MAX });
        let mut scratch = Vec::new();
        let (frame, rest) = Frame::read(&bytes).expect("just written");
        prop_assert!(rest.is_empty());
        prop_assert_eq!((frame.sequence, frame.unsynced), (sequence, unsynced));
        prop_assert_eq!(frame.record(&mut scratch), Some(record.as_slice()));
        prop_assert!(Frame::read(&bytes[..bytes.len() - 1]).is_none());
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Frame::read(&bytes).is_none());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some((frame, _)) = Frame::read(&bytes) {
            frame.record(&mut Vec::new());
        }
        read_segment_header(&bytes);
    }
}

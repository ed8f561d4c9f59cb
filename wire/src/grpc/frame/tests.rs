use bytes::Bytes;

use super::{announced, answer_message, prefix};
use crate::compression::Encoding;

#[test]
fn a_prefix_is_a_flag_and_a_big_endian_length() {
    assert_eq!(prefix(false, 3), *b"\0\0\0\0\x03");
    assert_eq!(prefix(true, 0x0102_0304), *b"\x01\x01\x02\x03\x04");
    assert_eq!(announced(b"\x01\x01\x02\x03\x04rest"), Some((1, 0x0102_0304)));
    assert_eq!(announced(b"\0\0\0\0"), None);
}

#[test]
fn answers_are_read_plain_and_compressed_and_broken_ones_are_noticed() {
    let framed = |flag: u8, len: usize, body: &[u8]| {
        let mut bytes = vec![flag];
        bytes.extend_from_slice(&u32::try_from(len).expect("small").to_be_bytes());
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    };
    let check = |framed: Bytes, encoding: &str, want: Option<&[u8]>| {
        assert_eq!(answer_message(&framed, encoding, 100).as_deref(), want, "{framed:?}");
    };
    check(Bytes::new(), "", Some(b""));
    check(framed(0, 2, b"ok"), "gzip", Some(b"ok"));
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let packed = encoding.encode(None, b"ok");
        check(framed(1, packed.len(), &packed), encoding.name(), Some(b"ok"));
        check(framed(1, packed.len(), &packed), "unheard-of", None);
        let large = encoding.encode(None, &[b'a'; 101]);
        check(framed(1, large.len(), &large), encoding.name(), None);
    }
    check(framed(1, 2, b"ok"), "gzip", None);
    check(framed(0, 3, b"ok"), "", None);
    check(framed(0, 1, b"ok"), "", None);
    check(framed(7, 2, b"ok"), "", None);
    check(Bytes::from_static(b"\0\0"), "", None);
}

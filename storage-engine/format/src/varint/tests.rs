//! Bytes as Go's encoding/binary documents them.

use proptest::prelude::*;

use super::{put_uvarint, put_varint, take_uvarint, take_varint};

#[test]
fn integers_have_the_bytes_of_go() {
    let unsigned: [(u64, &[u8]); 5] = [
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ];
    for (value, bytes) in unsigned {
        let mut out = Vec::new();
        put_uvarint(&mut out, value);
        assert_eq!(out, bytes, "{value}");
    }
    for (value, bytes) in [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-64, vec![0x7f]), (64, vec![0x80, 1])]
    {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(out, bytes, "{value}");
    }
}

#[test]
fn integers_without_end_or_over_64_bits_are_refused() {
    let too_long = [0x80; 11];
    let overflow = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
    for mut bytes in [&[][..], &[0x80], &too_long, &overflow] {
        assert_eq!(take_uvarint(&mut bytes), None);
    }
}

proptest! {
    #[test]
    fn integers_read_back(value: i64, rest in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out.extend_from_slice(&rest);
        let mut bytes = out.as_slice();
        prop_assert_eq!(take_varint(&mut bytes), Some(value));
        prop_assert_eq!(bytes, rest.as_slice());
    }
}

use proptest::prelude::*;

use super::*;

fn delta_bytes(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_delta(values.iter().copied(), &mut out);
    out
}

fn delta_values(bytes: &[u8], count: usize) -> LogFormatResult<Vec<i64>> {
    let mut values = Vec::new();
    let rest = decode_delta(bytes, count, |value| values.push(value))?;
    assert!(rest.is_empty());
    Ok(values)
}

fn hybrid_bytes(values: &[u32], width: u32) -> Vec<u8> {
    let mut out = Vec::new();
    encode_hybrid(values, width, &mut out);
    out
}

#[test]
fn delta_has_the_bytes_of_the_specification() {
    // Encodings.md, example 1: 1, 2, 3, 4, 5 has deltas of 1: minimum 1 and no bits.
    assert_eq!(delta_bytes(&[1, 2, 3, 4, 5]), [0x80, 0x01, 4, 5, 2, 2, 0, 0, 0, 0]);
    // Example 2: 7, 5, 3, 1, 2, 3, 4, 5: minimum -2, the others 0 0 0 3 3 3 3 in two bits each, padded to 32 values.
    let mut expected = vec![0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111];
    expected.extend([0; 6]);
    assert_eq!(delta_bytes(&[7, 5, 3, 1, 2, 3, 4, 5]), expected);
    assert_eq!(delta_bytes(&[]), [0x80, 0x01, 4, 0, 0]);
}

#[test]
fn the_hybrid_has_the_bytes_of_the_specification() {
    // Encodings.md: 0..=7 in three bits is 10001000 11000110 11111010 after the header of one group.
    assert_eq!(hybrid_bytes(&[0, 1, 2, 3, 4, 5, 6, 7], 3), [3, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
    assert_eq!(hybrid_bytes(&[4; 100], 3), [200, 1, 4]);
    assert_eq!(hybrid_bytes(&[0; 9], 0), [18]);
    assert_eq!(hybrid_bytes(&[], 3), [0u8; 0]);
}

#[test]
fn wild_bytes_are_refused_without_a_large_allocation() {
    let huge_count = [0x80, 0x01, 4, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(delta_values(&huge_count, 5).is_err());
    assert!(decode_delta_length(&delta_bytes(&[-1, 1]), 2).is_err(), "a negative length");
    assert!(decode_delta_length(&delta_bytes(&[i64::MAX, i64::MAX]), 2).is_err(), "a sum that wraps");
    assert!(decode_hybrid(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 32, 8, 9).is_err());
    assert!(decode_hybrid(&[0, 0], 3, 8, 9).is_err(), "a run of nothing would never end");
    assert!(decode_hybrid(&[16, 7], 3, 8, 7).is_err(), "past the dictionary");
    assert!(decode_plain(&[255, 255, 255, 255, 1], 1).is_err());
}

proptest! {
    #[test]
    fn deltas_come_back(values in proptest::collection::vec(any::<i64>(), 0..400)) {
        prop_assert_eq!(delta_values(&delta_bytes(&values), values.len()).expect("own bytes"), values);
    }

    #[test]
    fn small_deltas_come_back(steps in proptest::collection::vec(-3i64..1000, 0..700)) {
        let values: Vec<i64> = steps.iter().scan(1_700_000_000_000_000_000, |at, step| { *at += step; Some(*at) }).collect();
        prop_assert_eq!(delta_values(&delta_bytes(&values), values.len()).expect("own bytes"), values);
    }

    #[test]
    fn strings_come_back(strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..200)) {
        let mut column = ByteColumn::default();
        strings.iter().for_each(|string| column.push(string));
        let mut lengths = Vec::new();
        encode_delta_length(&column, &mut lengths);
        let (ends, bytes) = decode_delta_length(&lengths, strings.len()).expect("own bytes");
        prop_assert_eq!((&ends, bytes), (&column.ends, &column.bytes[..]));
        let mut plain = Vec::new();
        encode_plain(&column, &mut plain);
        prop_assert_eq!(decode_plain(&plain, strings.len()).expect("own bytes"), column);
    }

    #[test]
    fn indices_come_back(runs in proptest::collection::vec((0u32..500, 1usize..30), 0..60)) {
        let values: Vec<u32> = runs.iter().flat_map(|&(value, times)| std::iter::repeat_n(value, times)).collect();
        let bytes = hybrid_bytes(&values, bit_width(499));
        prop_assert_eq!(decode_hybrid(&bytes, bit_width(499), values.len(), 500).expect("own bytes"), values);
    }

    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..2000, width in 0u32..40) {
        let _ = decode_delta(&bytes, count, |_| ());
        let _ = decode_delta_length(&bytes, count);
        let _ = decode_plain(&bytes, count);
        let _ = decode_hybrid(&bytes, width, count, u32::MAX);
    }
}

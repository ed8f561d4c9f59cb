//! Chunks have Prometheus' bytes and read back; anything else is refused.

use model::{SampleColumns, TimeRange};
use proptest::prelude::*;

use super::{XOR_SAMPLES_MAX, XorAppender, decode_xor, xor_samples};

fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let (mut appender, mut chunk) = (XorAppender::EMPTY, Vec::new());
    for &(time, value) in samples {
        appender.append(&mut chunk, time, value);
    }
    chunk
}

fn decode(chunk: &[u8], range: TimeRange) -> Vec<(i64, u64)> {
    let mut columns = SampleColumns::default();
    decode_xor(chunk, XOR_SAMPLES_MAX, range, &mut columns).expect("just encoded");
    columns.timestamps_ms.into_iter().zip(columns.values.into_iter().map(f64::to_bits)).collect()
}

/// Joins groups of bits, written as text, to bytes.
fn bits(groups: &str) -> Vec<u8> {
    let mut digits: Vec<u8> = groups.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    digits.resize(digits.len().next_multiple_of(8), 0);
    digits.chunks(8).map(|byte| byte.iter().fold(0, |acc, bit| acc << 1 | bit)).collect()
}

#[test]
fn chunks_have_the_bytes_that_the_format_spells_out() {
    // Worked out by hand from chunkenc/xor.go. 1.0 = 0x3ff0…, 2.0 = 0x4000…, 1.5 = 0x3ff8….
    let one = [0x3f, 0xf0, 0, 0, 0, 0, 0, 0];
    assert_eq!(encode(&[(1000, 1.0)]), [&[0, 1, 0xd0, 0x0f], one.as_slice()].concat());
    // Times 1000, 1015, 1030 (delta of deltas 0), value unchanged: one bit for the second, two for the third.
    let expected = [&[0, 3, 0xd0, 0x0f], one.as_slice(), &[15], &bits("0 0 0")].concat();
    assert_eq!(encode(&[(1000, 1.0), (1015, 1.0), (1030, 1.0)]), expected);
    // 1.0 → 2.0: XOR 0x7ff0…: 1 leading and 52 trailing zeros, 11 significant bits; back again reuses the window.
    let expected = [
        &[0, 3, 0xd0, 0x0f],
        one.as_slice(),
        &[15],
        &bits("11 00001 001011 11111111111  10 11111111111000  10 11111111111"),
    ]
    .concat();
    // Delta of deltas −8 in 14 bits.
    assert_eq!(encode(&[(1000, 1.0), (1015, 2.0), (1022, 1.0)]), expected);
    // The ends of each class: 8192 is the last in 14 bits, −8192 the first in 17.
    for (change, group) in [
        (8192, "10 10000000000000"),
        (-8191, "10 10000000000001"),
        (-8192, "110 11110000000000000"),
        (65536, "110 10000000000000000"),
        (65537, "1110 0001 0000 0000 0000 0001"),
        (524_288, "1110 10000000000000000000"),
    ] {
        let expected =
            [&[0, 3, 0], one.as_slice(), &[0x80, 0x89, 0x7a], &bits(&format!("0 {group} 0"))].concat();
        assert_eq!(encode(&[(0, 1.0), (2_000_000, 1.0), (4_000_000 + change, 1.0)]), expected, "{change}");
    }
    let wide = [&[0, 3, 0], one.as_slice(), &[0], &bits(&format!("0 1111 {:064b} 0", 524_289))].concat();
    assert_eq!(encode(&[(0, 1.0), (0, 1.0), (524_289, 1.0)]), wide);
    // All 64 bits significant is written as 0 in six bits.
    let value = f64::from_bits(0xbff0_0000_0000_0001);
    let expected =
        [&[0, 2, 0], one.as_slice(), &[1], &bits(&format!("11 00000 000000 1{:062b}1", 0))].concat();
    assert_eq!(encode(&[(0, 1.0), (1, value)]), expected);
}

#[test]
fn a_range_and_a_sample_limit_cut_what_is_decoded() {
    let samples: Vec<_> = (0..100).map(|i| (i * 10, i as f64)).collect();
    let chunk = encode(&samples);
    assert_eq!(xor_samples(&chunk), Ok(100));
    let times = |range| decode(&chunk, range).into_iter().map(|(time, _)| time).collect::<Vec<_>>();
    assert_eq!(times(TimeRange::new(25, 50)), [30, 40, 50]);
    assert_eq!(times(TimeRange::new(990, 2000)), [990]);
    assert_eq!(times(TimeRange::new(991, 2000)), Vec::<i64>::new());
    let mut first = SampleColumns::default();
    decode_xor(&chunk, 2, TimeRange::ALL, &mut first).expect("just encoded");
    assert_eq!(first.timestamps_ms, [0, 10]);
}

#[test]
fn a_count_that_lies_is_an_error_and_reserves_little() {
    for chunk in [&[][..], &[0], &[0xff, 0xff], &[0xff, 0xff, 0x02, 0, 0], &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        let mut columns = SampleColumns::default();
        let error = decode_xor(chunk, XOR_SAMPLES_MAX, TimeRange::ALL, &mut columns).expect_err("cut short");
        assert!(error.to_string().starts_with("damaged chunk: it "), "{error}");
        assert!(columns.timestamps_ms.capacity() < 100);
    }
}

fn any_samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![4 => 14_990i64..15_010, 1 => 1i64..1_000_000, 1 => 1i64..1 << 40];
    let value = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (0u32..50).prop_map(f64::from),
        Just(f64::from_bits(0x7ff0_0000_0000_0002)),
    ];
    (any::<i32>(), prop::collection::vec((step, value), 0..200)).prop_map(|(start, steps)| {
        let mut time = i64::from(start);
        let at = |(step, value)| {
            time += step;
            (time, value)
        };
        steps.into_iter().map(at).collect()
    })
}

proptest! {
    #[test]
    fn samples_read_back_bit_for_bit(samples in any_samples()) {
        prop_assume!(!samples.is_empty());
        let expected: Vec<_> = samples.iter().map(|&(time, value)| (time, value.to_bits())).collect();
        prop_assert_eq!(decode(&encode(&samples), TimeRange::ALL), expected);
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(chunk in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut columns = SampleColumns::default();
        let _ = decode_xor(&chunk, XOR_SAMPLES_MAX, TimeRange::ALL, &mut columns);
        prop_assert!(columns.len() <= chunk.len() * 4);
    }
}

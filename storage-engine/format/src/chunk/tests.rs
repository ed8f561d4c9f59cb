//! Encodings that are read only are read as Prometheus wrote them.

use model::{SampleColumns, TimeRange};

use super::{chunk_samples, decode_chunk};

/// Chunks that Prometheus 3.15 wrote with start timestamps, behind the times and the bits of the values (the sums of
/// histograms) that it was given.
const GOLDEN: &str = include_str!("../../testdata/start_time_chunks.txt");

#[test]
fn chunks_with_start_timestamps_read_as_prometheus_wrote_them() {
    let mut samples = 0;
    for (index, sequence) in GOLDEN.split("sequence ").skip(1).enumerate() {
        let mut lines = sequence.lines();
        let encoding = lines.next().and_then(|line| line.parse().ok()).expect("an encoding");
        let mut expected: Vec<(i64, u64)> = Vec::new();
        for line in lines {
            let fields: Vec<&str> = line.split(' ').collect();
            if let ["sample", time, bits] = fields.as_slice() {
                let bits = u64::from_str_radix(bits, 16).expect("hexadecimal");
                expected.push((time.parse().expect("a number"), bits));
                continue;
            }
            let chunk: Vec<u8> = (0..fields[1].len() / 2)
                .map(|at| u8::from_str_radix(&fields[1][2 * at..2 * at + 2], 16).expect("hexadecimal"))
                .collect();
            let mut columns = SampleColumns::default();
            decode_chunk(encoding, &chunk, u16::MAX, TimeRange::ALL, &mut columns).expect("a good chunk");
            let mut values: Vec<u64> = columns.values.iter().map(|value| value.to_bits()).collect();
            columns.histograms.iter().for_each(|(at, histogram)| values[*at] = histogram.sum.to_bits());
            let read: Vec<_> = columns.timestamps_ms.iter().copied().zip(values).collect();
            assert_eq!(read, expected, "sequence {index}");
            assert_eq!(chunk_samples(encoding, &chunk), Ok(u16::try_from(expected.len()).expect("few")));
            samples += expected.len();
        }
    }
    assert!(samples > 100);
}

#[test]
fn an_unknown_encoding_is_refused() {
    for encoding in [0, 7, 255] {
        let error = decode_chunk(encoding, &[0; 20], u16::MAX, TimeRange::ALL, &mut SampleColumns::default());
        assert_eq!(error.expect_err("unknown").to_string(), "damaged chunk: its encoding is none of 1 to 6");
    }
}

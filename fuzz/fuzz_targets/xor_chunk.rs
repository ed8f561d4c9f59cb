//! XOR chunks: any bytes decode or are refused; what decodes in time order encodes to a chunk that reads back the same.
#![no_main]

use format::{XOR_SAMPLES_MAX, XorAppender, decode_xor};
use libfuzzer_sys::fuzz_target;
use model::{SampleColumns, TimeRange};

fn bits(columns: &SampleColumns) -> Vec<(i64, u64)> {
    columns.timestamps_ms.iter().copied().zip(columns.values.iter().map(|value| value.to_bits())).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut columns = SampleColumns::default();
    let decoded = decode_xor(data, XOR_SAMPLES_MAX, TimeRange::ALL, &mut columns);
    assert!(columns.len() <= data.len() * 4);
    if decoded.is_err() {
        return;
    }
    let (mut appender, mut chunk) = (XorAppender::EMPTY, Vec::new());
    for (&time, &value) in columns.timestamps_ms.iter().zip(&columns.values) {
        appender.append(&mut chunk, time, value);
    }
    let mut again = SampleColumns::default();
    if !chunk.is_empty() {
        decode_xor(&chunk, XOR_SAMPLES_MAX, TimeRange::ALL, &mut again).expect("just encoded");
    }
    assert_eq!(bits(&columns), bits(&again));
});

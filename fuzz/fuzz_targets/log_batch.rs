//! Write-ahead records of log batches: any bytes decode or are refused; what decodes encodes to a record that reads back
//! the same.
#![no_main]

use format::{decode_log_batch, encode_log_batch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(record) = decode_log_batch(data) else { return };
    let mut bytes = Vec::new();
    let streams = record.streams.iter().map(|(labels, entries)| (labels, entries));
    encode_log_batch(record.generation, &record.tenant, streams, &mut bytes);
    assert_eq!(decode_log_batch(&bytes), Ok(record));
});

//! Records of a queue on disk: any bytes are a batch or are refused; a batch is written again to the same bytes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pipelines::{decode_queued, encode_queued};

fuzz_target!(|data: &[u8]| {
    let Ok(batch) = decode_queued(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(encode_queued(&batch), data);
});

//! What a migration reads of a Prometheus: segments, records behind right checksums and head chunks are read or refused,
//! whatever their bytes are. The first byte chooses what.
#![no_main]

use format::{read_prometheus_head_chunks, read_prometheus_record, read_prometheus_segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, content)) = data.split_first() else { return };
    match choice % 3 {
        0 => {
            let mut read = 0;
            let _ = read_prometheus_segment(content, |_, record| read += record.len());
            assert!(read <= content.len());
        }
        1 => {
            let _ = read_prometheus_record(content, |_| {});
        }
        _ => {
            let mut file = vec![0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
            file.extend_from_slice(content);
            file.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
            let _ = read_prometheus_head_chunks(&file, |chunk| assert!(chunk.data.len() < file.len()));
        }
    }
});

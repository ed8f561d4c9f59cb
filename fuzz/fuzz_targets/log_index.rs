//! Index and manifest of log files behind right checksums: any sections decode or are refused; what decodes encodes to
//! bytes that read back the same.
#![no_main]

use format::{LogFileIndex, LogManifest};
use libfuzzer_sys::fuzz_target;

/// Sections that an index has.
const SECTIONS: usize = 7;

/// An index with sections cut from `data` at the places that its first bytes tell.
fn index_of(data: &[u8]) -> Option<Vec<u8>> {
    let (cuts, mut rest) = data.split_at_checked(SECTIONS)?;
    let mut bytes = b"TGLOGIDX\x01\x00\x07\x00".to_vec();
    let mut bodies = Vec::new();
    let mut offset = bytes.len() + SECTIONS * 16 + 4;
    for (number, &cut) in cuts.iter().enumerate() {
        let (body, after) = rest.split_at(usize::from(cut).min(rest.len()));
        rest = after;
        bytes.extend_from_slice(&(number as u16 + 1).to_le_bytes());
        bytes.extend_from_slice(&1u16.to_le_bytes());
        for field in [offset as u32, body.len() as u32, crc32c::crc32c(body)] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        offset += body.len();
        bodies.extend_from_slice(body);
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend_from_slice(&bodies);
    Some(bytes)
}

fuzz_target!(|data: &[u8]| {
    let _ = LogFileIndex::decode(data);
    if let Some(index) = index_of(data).and_then(|bytes| LogFileIndex::decode(&bytes).ok()) {
        assert_eq!(LogFileIndex::decode(&index.encode()), Ok(index));
    }
    let mut bytes = b"TGLOGMAN\x01\x00".to_vec();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    if let Ok(manifest) = LogManifest::decode(&bytes) {
        assert_eq!(LogManifest::decode(&manifest.encode()), Ok(manifest));
    }
});

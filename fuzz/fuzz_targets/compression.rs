//! Encoded bodies of every encoding: nothing decodes past the cap, what decodes survives a round trip. The first byte
//! chooses the encoding.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::compression::Encoding;

const CAP_BYTES: usize = 1 << 20;

const ENCODINGS: [Encoding; 8] = [
    Encoding::Identity,
    Encoding::Gzip,
    Encoding::Zstd,
    Encoding::Zlib,
    Encoding::RawDeflate,
    Encoding::Snappy,
    Encoding::SnappyFramed,
    Encoding::Lz4,
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let encoding = ENCODINGS[usize::from(*choice) % ENCODINGS.len()];
    let Ok(decoded) = encoding.decode(&Bytes::copy_from_slice(body), CAP_BYTES) else { return };
    assert!(decoded.len() <= CAP_BYTES);
    let encoded = Bytes::from(encoding.encode(None, &decoded));
    assert_eq!(encoding.decode(&encoded, CAP_BYTES), Ok(decoded));
});

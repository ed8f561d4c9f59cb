//! The small files of a block: chunk segments, tombstones and meta.json. Any bytes are read or refused; what is read is
//! written again to the same. The first byte chooses the file.
#![no_main]

use format::{BlockMeta, Tombstones, check_segment_header, put_chunk, take_chunk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, content)) = data.split_first() else { return };
    match choice % 4 {
        0 => {
            let _ = check_segment_header(content);
            let mut rest = content;
            while let Ok((encoding, chunk)) = take_chunk(&mut rest) {
                assert!(chunk.len() <= content.len());
                let mut again = Vec::new();
                put_chunk(&mut again, encoding, chunk);
                assert_eq!(take_chunk(&mut again.as_slice()), Ok((encoding, chunk)));
            }
        }
        1 => {
            let mut file = vec![0x01, 0x30, 0xba, 0x30, 1];
            file.extend_from_slice(content);
            file.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
            let Ok(tombstones) = Tombstones::decode(&file) else { return };
            assert_eq!(Tombstones::decode(&tombstones.encode()), Ok(tombstones));
        }
        2 => {
            let _ = Tombstones::decode(content);
        }
        _ => {
            let Ok(meta) = BlockMeta::decode(content) else { return };
            assert_eq!(BlockMeta::decode(&meta.encode()), Ok(meta));
        }
    }
});

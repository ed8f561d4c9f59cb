//! Parts of a block's index behind right checksums: any bytes are read or refused, and nothing reserves more than a
//! small multiple of them. The first byte chooses the part.
#![no_main]

use bytes::Bytes;
use format::{
    INDEX_TOC_BYTES, IndexToc, Symbols, check_index_header, decode_postings, decode_series, walk_postings_table,
};
use libfuzzer_sys::fuzz_target;

/// A section: length, content, checksum.
fn section(content: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(content.len()).expect("inputs are small").to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, content)) = data.split_first() else { return };
    match choice % 5 {
        0 => {
            let _ = check_index_header(content);
            let mut toc = content.to_vec();
            toc.resize(INDEX_TOC_BYTES - 4, 0);
            toc.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
            if let Ok(toc) = IndexToc::decode(&toc, u64::MAX) {
                assert!(toc.symbols <= toc.series && toc.series_end <= toc.postings && toc.postings_table <= toc.end);
            }
        }
        1 => {
            let Ok(symbols) = Symbols::decode(&Bytes::from(section(content))) else { return };
            let texts: Vec<&str> = (0..).map_while(|number| symbols.get(number)).collect();
            assert!(texts.len() == symbols.len() && texts.is_sorted());
        }
        2 => {
            let Ok(list) = decode_postings(&section(content)) else { return };
            assert!(list.is_sorted() && list.len() * 4 <= content.len());
        }
        3 => {
            let _ = walk_postings_table(&section(content), |entry| {
                assert!(entry.name.len() + entry.value.len() <= content.len());
                Ok(())
            });
        }
        _ => {
            let mut frame = Vec::new();
            format::put_uvarint(&mut frame, content.len() as u64);
            frame.extend_from_slice(content);
            frame.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
            let (mut labels, mut chunks) = (Vec::new(), Vec::new());
            if decode_series(&frame, &mut labels, &mut chunks).is_ok() {
                assert!(labels.len() * 2 + chunks.len() * 3 <= content.len());
                assert!(chunks.is_sorted_by(|a, b| a.max_time < b.min_time));
            }
        }
    }
});

use model::Labels;
use proptest::prelude::*;

use super::*;

fn place(offset: u64) -> PageBytes {
    PageBytes {
        offset,
        header_bytes: 30,
        stored_bytes: 70,
        level_bytes: 2,
        raw_bytes: Some(500),
        values: 3,
        crc32c: 9,
    }
}

fn example() -> LogFileIndex {
    let stream = |app: &str, rows| LogFileStream {
        labels: Labels::from_pairs([("app", app), ("zone", "ü")]),
        rows,
        line_bytes: 1000,
        metadata_bytes: 0,
        min_ns: -5,
        max_ns: 1_700_000_000_000_000_000,
    };
    let column = |kind, name: &str, dictionary| LogFileColumn { kind, name: name.to_owned(), dictionary };
    let slot = |name: &str, column| LogShapeSlot { name: name.to_owned(), column };
    let page = |rows, offset: u64| LogFilePage {
        rows,
        first_ns: 7,
        last_ns: -2,
        columns: vec![place(4 + offset), place(5000 + offset)],
    };
    LogFileIndex {
        generation: 17,
        streams: vec![stream("a", 4), stream("b", 1)],
        columns: vec![
            column(LogColumnKind::Body, "", None),
            column(LogColumnKind::Metadata, "trace_id", Some(PageBytes { raw_bytes: None, ..place(4900) })),
        ],
        shapes: vec![
            LogShape::default(),
            LogShape { slots: vec![slot("trace_id", Some(1)), slot("odd name\u{0}", None)] },
        ],
        pages: vec![page(3, 0), page(2, 100)],
        levels: vec![String::new(), "warn".to_owned()],
        rollups: vec![
            LogRollup { stream: 0, minute: 28_333_333, level: 1, entries: 4, bytes: 1000 },
            LogRollup { stream: 1, minute: -1, level: 0, entries: 1, bytes: 1000 },
        ],
        minute_starts: Some(vec![LogMinuteStart { rollup: 1, entries: 1, bytes: 1000 }]),
        signatures: Some(SignatureBytes { offset: 1 << 33, bytes: 77, crc32c: 5 }),
    }
}

#[test]
fn an_index_comes_back_as_it_was_written() {
    assert_eq!(LogFileIndex::decode(&example().encode()).expect("own bytes"), example());
    assert_eq!(
        LogFileIndex::decode(&LogFileIndex::default().encode()).expect("empty"),
        LogFileIndex::default()
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = example().encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(LogFileIndex::decode(&damaged).is_err(), "bit {} of byte {at}", at % 8);
        assert!(LogFileIndex::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_section_of_an_unknown_kind_is_passed_over() {
    let bytes = example().encode();
    let count = u16::from_le_bytes([bytes[10], bytes[11]]) as usize;
    let table_end = 12 + count * SECTION_ENTRY_BYTES;
    let mut newer = bytes[..10].to_vec();
    newer.extend_from_slice(&(count as u16 + 1).to_le_bytes());
    for entry in bytes[12..table_end].chunks(SECTION_ENTRY_BYTES) {
        let offset =
            u32::from_le_bytes(entry[4..8].try_into().expect("four bytes")) + SECTION_ENTRY_BYTES as u32;
        newer.extend_from_slice(&entry[..4]);
        newer.extend_from_slice(&offset.to_le_bytes());
        newer.extend_from_slice(&entry[8..]);
    }
    let body_len = (bytes.len() - table_end - 4) as u32;
    newer.extend_from_slice(&99u16.to_le_bytes());
    newer.extend_from_slice(&3u16.to_le_bytes());
    for field in [(table_end + 4 + SECTION_ENTRY_BYTES) as u32 + body_len, 3, crc32c::crc32c(b"new")] {
        newer.extend_from_slice(&field.to_le_bytes());
    }
    newer.extend_from_slice(&crc32c::crc32c(&newer).to_le_bytes());
    newer.extend_from_slice(&bytes[table_end + 4..]);
    newer.extend_from_slice(b"new");
    assert_eq!(LogFileIndex::decode(&newer).expect("newer file"), example());
}

#[test]
fn another_version_is_named() {
    let mut bytes = example().encode();
    bytes[8] = 2;
    let error = LogFileIndex::decode(&bytes).expect_err("version 2");
    assert_eq!(error.to_string(), "log file index has version 2, this build reads version 1");
}

proptest! {
    #[test]
    fn sections_of_any_bytes_fail_or_decode_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let cursor = || Cursor::new(UNIT, &bytes);
        let _ = LogFileIndex::decode(&bytes);
        let _ = sections::decode_streams(cursor());
        let _ = sections::decode_columns(cursor());
        let _ = sections::decode_shapes(cursor(), &example().columns);
        let _ = sections::decode_pages(cursor(), 3);
        let _ = sections::decode_rollups(cursor(), 3);
    }
}

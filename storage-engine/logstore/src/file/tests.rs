use std::path::Path;
use std::sync::Arc;

use model::{Labels, LogEntries};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, RowAccessor};
use proptest::prelude::*;
use runtime::{Disk, SimulatedDisk};

use super::reader::OpenFile;
use super::rows::SortedStream;
use super::writer::{BuiltFile, FileSettings, INDEX_KEY, StreamPart, build};

type Pairs = Vec<(String, String)>;

const SETTINGS: FileSettings = FileSettings {
    page_bytes: 200,
    zstd_level: 1,
    zstd_level_kept: 3,
    kept_text_bytes: 1000,
    signatures: true,
};

fn stream(app: &str, rows: &[(i64, String, Pairs)]) -> SortedStream {
    let mut entries = LogEntries::new();
    for (at, line, pairs) in rows {
        entries.push(*at, line, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
    SortedStream::new(Labels::from_pairs([("app", app), ("body", "clash")]), vec![Arc::new(entries)])
}

fn built(streams: &[SortedStream]) -> BuiltFile {
    let parts: Vec<_> = streams.iter().map(|stream| StreamPart { stream, rows: &stream.rows }).collect();
    build(7, &parts, SETTINGS).expect("a file is built")
}

fn opened(file: &BuiltFile) -> OpenFile {
    let disk = SimulatedDisk::new(1);
    let path = Path::new("f.parquet");
    disk.create(path).expect("created").append(&file.bytes).expect("written");
    OpenFile::open(disk.open_read(path).expect("there"), path, file.index_offset, file.index_bytes)
        .expect("opened")
}

fn read_all(file: &OpenFile) -> LogEntries {
    let mut all = LogEntries::new();
    for page in 0..file.index().pages.len() {
        let entries = file.read_page(page).expect("a sound page");
        all.extend_from(&entries, 0..entries.len());
    }
    all
}

fn expected(streams: &[SortedStream]) -> LogEntries {
    let mut all = LogEntries::new();
    for stream in streams {
        let entries = stream.to_entries();
        all.extend_from(&entries, 0..entries.len());
    }
    all
}

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn examples() -> Vec<SortedStream> {
    let row = |at: i64| {
        let id = format!("{:032x}", at * 7919);
        let level = if at % 5 == 0 { "error" } else { "info" };
        (
            at * 1_000_000_000,
            format!("request {at} took {}ms", at % 17),
            pairs(&[("trace_id", &id), ("detected_level", level)]),
        )
    };
    let odd = vec![
        (3, "twice".to_owned(), pairs(&[("k", "1"), ("k", "2"), ("", "empty name"), ("Käse \u{1F9C0}", "")])),
        (3, "same time".to_owned(), vec![]),
        (1, String::new(), pairs(&[("K", "other case")])),
        (i64::MAX, "z\0\n".to_owned(), pairs(&[("k", "3")])),
        (i64::MIN, "a".to_owned(), vec![]),
    ];
    vec![stream("a", &(0..500).map(row).collect::<Vec<_>>()), stream("b", &odd)]
}

#[test]
fn entries_come_back_from_a_file_in_file_order() {
    let streams = examples();
    let file = opened(&built(&streams));
    assert_eq!(read_all(&file), expected(&streams));
    assert!(file.index().pages.len() > 20, "many pages, each read alone");
    let odd: Vec<_> = expected(&streams[1..]).iter().map(|e| (e.timestamp_ns, e.line.to_owned())).collect();
    let lines = [(i64::MIN, "a"), (1, ""), (3, "twice"), (3, "same time"), (i64::MAX, "z\0\n")];
    assert_eq!(odd, lines.map(|(at, line)| (at, line.to_owned())));
}

#[test]
fn the_index_counts_by_stream_minute_and_level() {
    let file = opened(&built(&examples()));
    let index = file.index();
    assert_eq!(index.streams[0].rows, 500);
    assert_eq!((index.streams[0].min_ns, index.streams[0].max_ns), (0, 499_000_000_000));
    let counts: Vec<_> = index
        .rollups
        .iter()
        .filter(|rollup| rollup.stream == 0)
        .map(|rollup| (rollup.minute, index.levels[rollup.level as usize].as_str(), rollup.entries))
        .collect();
    assert_eq!(counts[..2], [(0, "error", 12), (0, "info", 48)]);
    assert_eq!(counts.len(), 18, "nine minutes with two levels each");
    assert_eq!(index.rollups.iter().map(|rollup| rollup.entries).sum::<u64>(), 505);
}

#[test]
fn another_parquet_reader_sees_the_same_rows() {
    let file = built(&examples());
    let reader = SerializedFileReader::new(bytes::Bytes::from(file.bytes)).expect("a parquet file");
    let all = expected(&examples());
    let mut count = 0;
    for (row, entry) in reader.get_row_iter(None).expect("rows").zip(all.iter()) {
        let row = row.expect("a row");
        let column =
            |name: &str| row.get_column_iter().find(|(n, _)| *n == name).map(|(_, field)| field.clone());
        let text = |name: &str| match column(name) {
            Some(Field::Str(text)) => Some(text),
            _ => None,
        };
        assert_eq!(text("body").as_deref(), Some(entry.line));
        let app = if count < 500 { "a" } else { "b" };
        assert_eq!(row.get_int(1).expect("stream_id"), i32::from(count >= 500));
        assert_eq!((text("app").as_deref(), text("_body").as_deref()), (Some(app), Some("clash")));
        let mut metadata: Vec<(String, String)> = ["trace_id", "detected_level"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), text(name)?)))
            .collect();
        if let Some(Field::MapInternal(map)) = column("metadata") {
            for (name, value) in map.entries() {
                let (Field::Str(name), Field::Str(value)) = (name, value) else { panic!("texts") };
                metadata.push((name.clone(), value.clone()));
            }
        }
        if let Some(value) = text("k") {
            metadata.push(("k".to_owned(), value));
        }
        metadata.sort();
        let mut wanted: Vec<_> =
            entry.metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        wanted.sort();
        let mut seen = std::collections::HashSet::new();
        for (name, value) in &mut wanted {
            if !seen.insert(name.clone()) {
                assert_eq!((name.as_str(), value.as_str()), ("k", "2"));
                name.push_str(" (2)");
            }
        }
        metadata.sort();
        assert_eq!(metadata, wanted);
        count += 1;
    }
    assert_eq!(count, 505);
}

#[test]
fn the_golden_file_of_version_1_reads_as_it_did() {
    let golden: &[u8] = include_bytes!("../../../../docs/formats/logs-v1.parquet");
    let reader = SerializedFileReader::new(bytes::Bytes::from_static(golden)).expect("a parquet file");
    let pairs = reader.metadata().file_metadata().key_value_metadata().expect("it has some");
    let place = pairs.iter().find(|pair| pair.key == INDEX_KEY).and_then(|pair| pair.value.as_deref());
    let place: Vec<&str> = place.expect("where the index is").split(' ').collect();
    let [version, index_offset, index_bytes] = place[..] else { panic!("three words") };
    assert_eq!(version, "v1");
    let (index_offset, index_bytes) =
        (index_offset.parse().expect("bytes"), index_bytes.parse().expect("bytes"));
    let file = opened(&BuiltFile { bytes: golden.to_vec(), index_offset, index_bytes, ..built(&examples()) });
    let entries = read_all(&file);
    assert_eq!(entries.len(), 505);
    let first = entries.get(7);
    assert_eq!((first.timestamp_ns, first.line), (7_000_000_000, "request 7 took 7ms"));
    let metadata: Vec<_> = first.metadata.collect();
    assert_eq!(metadata, [("trace_id", "0000000000000000000000000000d889"), ("detected_level", "info")]);
    let odd: Vec<_> = entries.get(502).metadata.collect();
    assert_eq!(odd, [("k", "1"), ("k", "2"), ("", "empty name"), ("Käse \u{1F9C0}", "")]);
    assert_eq!(entries, expected(&examples()));
    assert_eq!(file.index().generation, 7);
}

#[test]
fn every_damaged_page_byte_is_noticed() {
    let streams = [stream("a", &[(1, "x".repeat(300), pairs(&[("a", "b")])), (2, "y".to_owned(), vec![])])];
    let sound = built(&streams);
    let index = opened(&sound).index().clone();
    // A part without values is not read: its levels say what the shapes say too.
    let places = index.pages.iter().flat_map(|page| page.columns.clone()).filter(|place| place.values > 0);
    let places: Vec<_> = places.collect();
    for place in places {
        for at in 0..u64::from(place.stored_bytes) {
            let mut bytes = sound.bytes.clone();
            bytes[(place.offset + u64::from(place.header_bytes) + at) as usize] ^= 1;
            let damaged = opened(&BuiltFile { bytes, ..sound });
            let read =
                (0..damaged.index().pages.len()).try_for_each(|page| damaged.read_page(page).map(|_| ()));
            assert_eq!(read.expect_err("a checksum fails").kind(), model::ErrorKind::Corrupt);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_entries_come_back(
        streams in proptest::collection::vec(
            proptest::collection::vec((0i64..40, ".{0,30}", proptest::collection::vec(("[ab]{0,2}|.{1,3}", ".{0,6}"), 0..5)), 1..60),
            1..5,
        ),
    ) {
        let names = ["a", "b", "c", "d"];
        let streams: Vec<_> = names.iter().zip(&streams).map(|(app, rows)| stream(app, rows)).collect();
        let file = built(&streams);
        prop_assert_eq!(read_all(&opened(&file)), expected(&streams));
        let rows = SerializedFileReader::new(bytes::Bytes::from(file.bytes)).expect("parquet").get_row_iter(None).expect("rows").count();
        prop_assert_eq!(rows as u64, file.rows);
    }

    #[test]
    fn sorting_keeps_append_order_and_drops_exact_duplicates(
        rows in proptest::collection::vec((0i64..6, "[xy]", 0usize..2), 0..80),
        cut in 0usize..80,
    ) {
        let metadata = [vec![], vec![("k", "v")]];
        let mut runs = [LogEntries::new(), LogEntries::new()];
        let mut wanted: Vec<(i64, &str, usize)> = Vec::new();
        for (number, (at, line, which)) in rows.iter().enumerate() {
            runs[usize::from(number >= cut)].push(*at, line, metadata[*which].iter().copied());
            let row = (*at, line.as_str(), *which);
            if !wanted.contains(&row) {
                wanted.push(row);
            }
        }
        wanted.sort_by_key(|row| row.0);
        let sorted = SortedStream::new(Labels::empty(), runs.map(Arc::new).into());
        prop_assert_eq!(sorted.clone().contiguous().to_entries(), sorted.to_entries());
        let found: Vec<_> = sorted.to_entries().iter().map(|e| (e.timestamp_ns, e.line.to_owned(), e.metadata.count())).collect();
        let wanted: Vec<_> = wanted.iter().map(|row| (row.0, row.1.to_owned(), row.2)).collect();
        prop_assert_eq!(found, wanted);
    }
}

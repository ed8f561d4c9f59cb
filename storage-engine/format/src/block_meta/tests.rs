//! meta.json is written as Prometheus writes it and loses nothing of others.

use ulid::Ulid;

use super::{BlockDesc, BlockMeta, hint};

/// As Prometheus 3.15 wrote it, but for the identifiers.
const PROMETHEUS: &str = "{
\t\"ulid\": \"01JD7V3M9GZQK4E4T8S0Y3N5AB\",
\t\"minTime\": 1700000000000,
\t\"maxTime\": 1700007200000,
\t\"stats\": {
\t\t\"numSamples\": 12,
\t\t\"numFloatSamples\": 8,
\t\t\"numHistogramSamples\": 4,
\t\t\"numSeries\": 3,
\t\t\"numChunks\": 5
\t},
\t\"compaction\": {
\t\t\"level\": 2,
\t\t\"sources\": [
\t\t\t\"01JD7V3M9GZQK4E4T8S0Y3N5AC\",
\t\t\t\"01JD7V3M9GZQK4E4T8S0Y3N5AD\"
\t\t],
\t\t\"parents\": [
\t\t\t{
\t\t\t\t\"ulid\": \"01JD7V3M9GZQK4E4T8S0Y3N5AC\",
\t\t\t\t\"minTime\": 1700000000000,
\t\t\t\t\"maxTime\": 1700003600000
\t\t\t}
\t\t],
\t\t\"hints\": [
\t\t\t\"from-out-of-order\"
\t\t]
\t},
\t\"version\": 1
}";

#[test]
fn the_bytes_are_those_of_prometheus() {
    let meta = BlockMeta::decode(PROMETHEUS.as_bytes()).expect("a good file");
    assert_eq!(meta.stats.num_float_samples, 8);
    assert!(meta.compaction.has_hint(hint::OUT_OF_ORDER) && !meta.compaction.has_hint(hint::STALE_SERIES));
    let ulid = Ulid::from_string("01JD7V3M9GZQK4E4T8S0Y3N5AC").expect("an identifier");
    let parent = BlockDesc { ulid, min_time: 1_700_000_000_000, max_time: 1_700_003_600_000 };
    assert_eq!(meta.compaction.parents, [parent]);
    assert_eq!(String::from_utf8(meta.encode()).expect("text"), PROMETHEUS);
}

#[test]
fn sections_of_others_survive() {
    let text = PROMETHEUS.replace(
        "\"version\": 1",
        "\"version\": 1,\n\t\"thanos\": {\n\t\t\"labels\": {\n\t\t\t\"cluster\": \"a\"\n\t\t},\n\t\t\"downsample\": {\n\t\t\t\"resolution\": 0\n\t\t}\n\t}",
    );
    let meta = BlockMeta::decode(text.as_bytes()).expect("a good file");
    assert_eq!(meta.others["thanos"]["labels"]["cluster"], "a");
    let again = BlockMeta::decode(&meta.encode()).expect("just encoded");
    assert_eq!(again, meta);
}

#[test]
fn other_versions_false_times_and_other_text_are_refused() {
    for (from, to, reason) in [
        ("\"version\": 1", "\"version\": 2", "its version is not 1"),
        (
            "\"minTime\": 1700000000000,\n\t\"max",
            "\"minTime\": 1700007200001,\n\t\"max",
            "behind its maxTime",
        ),
        ("01JD7V3M9GZQK4E4T8S0Y3N5AB", "short", "no JSON of a block's description"),
        ("\"level\": 2,", "", "no JSON of a block's description"),
    ] {
        let error = BlockMeta::decode(PROMETHEUS.replace(from, to).as_bytes()).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(BlockMeta::decode(b"").is_err() && BlockMeta::decode(&[b'['; 10_000]).is_err());
}

#[test]
fn a_hint_stands_once_and_in_order() {
    let mut meta = BlockMeta::new(Ulid::nil(), 0, 1);
    meta.compaction.add_hint(hint::STALE_SERIES);
    meta.compaction.add_hint(hint::OUT_OF_ORDER);
    meta.compaction.add_hint(hint::OUT_OF_ORDER);
    assert_eq!(meta.compaction.hints, [hint::OUT_OF_ORDER, hint::STALE_SERIES]);
}

#[test]
fn a_sealed_description_is_never_read_as_another_one() {
    let meta = BlockMeta::decode(PROMETHEUS.as_bytes()).expect("is sound");
    let sealed = meta.encode_sealed();
    assert_eq!(BlockMeta::decode(&sealed), Ok(meta.clone()), "the section is gone again");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            // Only the name of the section can go unnoticed, and then nothing else is wrong.
            if let Ok(mut read) = BlockMeta::decode(&flipped) {
                read.others = meta.others.clone();
                assert_eq!(read, meta, "bit {bit} of byte {at}");
            }
        }
        assert!(BlockMeta::decode(&sealed[..at]).is_err(), "{at} bytes");
    }
}

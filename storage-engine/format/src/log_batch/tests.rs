use proptest::prelude::*;

use super::*;

type Row = (i64, String, Vec<(String, String)>);

fn entries(rows: &[Row]) -> LogEntries {
    let mut entries = LogEntries::new();
    for (at, line, metadata) in rows {
        entries.push(*at, line, metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
    entries
}

#[test]
fn shared_metadata_is_written_once_and_comes_back() {
    let host = "a-host-name-that-every-entry-has";
    let shape = Arc::new(MetadataShape::new([("host", Some(host)), ("user", None), ("empty", Some(""))]));
    let mut shared = LogEntries::new();
    for at in 0..100 {
        shared.push_shaped(at, "line", &shape, "u7", &[2]);
    }
    let labels = Labels::from_pairs([("app", "a")]);
    let mut bytes = Vec::new();
    encode_log_batch(3, &TenantId::default(), [(&labels, &shared)].into_iter(), &mut bytes);
    assert_eq!(bytes.windows(host.len()).filter(|window| *window == host.as_bytes()).count(), 1);
    let read = decode_log_batch(&bytes).expect("own bytes");
    assert_eq!(read.streams, [(labels, shared.clone())]);
    let first: Vec<_> = read.streams[0].1.metadata(99).collect();
    assert_eq!(first, [("host", host), ("user", "u7"), ("empty", "")]);
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was_appended(
        generation in any::<u64>(),
        streams in proptest::collection::vec(
            ("[a-z]{0,5}", proptest::collection::vec((any::<i64>(), ".{0,20}", proptest::collection::vec((".{0,5}", ".{0,9}"), 0..4)), 0..9)),
            0..4,
        ),
    ) {
        let tenant = TenantId::new("team-a").expect("a valid id");
        let streams: Vec<_> = streams.iter().map(|(app, rows)| (Labels::from_pairs([("app", app.as_str())]), entries(rows))).collect();
        let mut bytes = Vec::new();
        encode_log_batch(generation, &tenant, streams.iter().map(|(labels, entries)| (labels, entries)), &mut bytes);
        prop_assert_eq!(decode_log_batch(&bytes).expect("own bytes"), LogBatchRecord { generation, tenant, streams });
    }

    #[test]
    fn damaged_records_fail_or_decode_but_never_panic(
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let rows = [(5, "a line".to_owned(), vec![("k".to_owned(), "v".to_owned())]), (4, "zwölf".to_owned(), vec![])];
        let mut bytes = Vec::new();
        let labels = Labels::from_pairs([("app", "a")]);
        encode_log_batch(3, &TenantId::default(), [(&labels, &entries(&rows))].into_iter(), &mut bytes);
        prop_assert!(decode_log_batch(&bytes[..cut.index(bytes.len())]).is_err());
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode_log_batch(&bytes);
    }
}

use std::sync::Arc;

use proptest::prelude::*;

use super::{LogColumns, LogEntries, MetadataShape};

#[test]
fn entries_come_back_as_they_were_pushed() {
    let mut entries = LogEntries::new();
    entries.push(3, "first", [("trace_id", "ab"), ("empty", "")]);
    entries.push(1, "", []);
    entries.push(2, "zwölf", [("k", "v")]);
    let read: Vec<_> =
        entries.iter().map(|e| (e.timestamp_ns, e.line, e.metadata.collect::<Vec<_>>())).collect();
    assert_eq!(
        read,
        [
            (3, "first", vec![("trace_id", "ab"), ("empty", "")]),
            (1, "", vec![]),
            (2, "zwölf", vec![("k", "v")]),
        ]
    );
    assert_eq!(entries.text_bytes(), "firstzwölftrace_idabemptykv".len());
    assert_eq!((entries.metadata_bytes(0), entries.metadata_bytes(1)), ("trace_idabempty".len(), 0));
}

#[test]
fn shared_metadata_reads_and_counts_as_if_each_entry_had_it() {
    let shape = Arc::new(MetadataShape::new([("user", None), ("host", Some("a")), ("status", None)]));
    let mut shared = LogEntries::new();
    shared.push_shaped(1, "x", &shape, "u1200", &[2, 5]);
    shared.push_shaped(2, "y", &shape, "404", &[0, 3]);
    let mut pushed = LogEntries::new();
    pushed.push(1, "x", [("user", "u1"), ("host", "a"), ("status", "200")]);
    pushed.push(2, "y", [("user", ""), ("host", "a"), ("status", "404")]);
    assert_eq!(shared, pushed);
    assert_eq!(shared.text_bytes(), pushed.text_bytes());
    assert_eq!(shared.metadata_bytes(1), pushed.metadata_bytes(1));
    assert_ne!(shared.get(0), pushed.get(1));
    // Entries of another making go behind them, names and all.
    shared.push(3, "z", [("user", "u1"), ("host", "b"), ("status", "200")]);
    assert_eq!(shared.metadata(2).collect::<Vec<_>>(), [("user", "u1"), ("host", "b"), ("status", "200")]);
}

#[test]
fn entries_with_the_same_names_share_one_shape() {
    let mut entries = LogEntries::new();
    for round in 0..10 {
        entries.push(round, "", [("a", "1"), ("b", "2")]);
        entries.push(round, "", [("a", "1"), ("c", "2")]);
        entries.push(round, "", [("a", "1")]);
        entries.push(round, "", []);
    }
    assert_eq!(entries.shapes().len(), 4);
    let mut copy = LogEntries::new();
    (0..entries.len()).for_each(|index| copy.extend_from(&entries, index..index + 1));
    assert_eq!(copy.shapes().len(), 4);
}

type Row = (i64, String, Vec<(String, String)>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let pairs = proptest::collection::vec(("[a-c]{0,2}", ".{0,3}"), 0..4);
    proptest::collection::vec((any::<i64>(), ".{0,5}", pairs), 0..20)
}

proptest! {
    #[test]
    fn any_entries_come_back_and_any_range_can_be_copied(
        rows in rows(),
        cuts in any::<(proptest::sample::Index, proptest::sample::Index)>(),
    ) {
        let mut entries = LogEntries::new();
        for (at, line, pairs) in &rows {
            entries.push(*at, line, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let read = |entries: &LogEntries| -> Vec<Row> {
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            entries.iter().map(|e| (e.timestamp_ns, e.line.to_owned(), e.metadata.map(owned).collect())).collect()
        };
        prop_assert_eq!(&read(&entries), &rows);
        let (a, b) = (cuts.0.index(rows.len() + 1), cuts.1.index(rows.len() + 1));
        let range = a.min(b)..a.max(b);
        let mut copy = LogEntries::new();
        copy.push(0, "before", [("x", "y")]);
        copy.extend_from(&entries, range.clone());
        prop_assert_eq!(&read(&copy)[1..], &rows[range]);
        prop_assert_eq!(copy.line(0), "before");
        let bytes: usize = rows
            .iter()
            .map(|(_, line, pairs)| line.len() + pairs.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>())
            .sum();
        prop_assert_eq!(entries.text_bytes(), bytes);
    }
}

#[test]
fn columns_that_do_not_fit_together_are_refused() {
    let shape = Arc::new(MetadataShape::new([("k", None)]));
    let check = |lines: &str, line_ends: &[u32], value_ends: &[u32], entry_shapes: &[u32]| {
        LogEntries::from_columns(LogColumns {
            timestamps_ns: vec![1; line_ends.len()],
            lines: lines.to_owned(),
            line_ends: line_ends.to_vec(),
            shapes: vec![Arc::clone(MetadataShape::empty()), Arc::clone(&shape)],
            entry_shapes: entry_shapes.to_vec(),
            values: "v".to_owned(),
            value_ends: value_ends.to_vec(),
        })
        .is_some()
    };
    assert!(check("äb", &[2, 3], &[1], &[0, 1]));
    assert!(!check("äb", &[1, 3], &[1], &[0, 1]), "cuts a character");
    assert!(!check("äb", &[3, 2], &[1], &[0, 1]), "falls");
    assert!(!check("äb", &[2, 4], &[1], &[0, 1]), "passes the text");
    assert!(!check("äb", &[2, 3], &[1], &[1, 1]), "a value too few");
    assert!(!check("äb", &[2, 3], &[1], &[0, 2]), "a shape that is not there");
    assert!(!check("äb", &[2, 3], &[1], &[1]), "one entry too few");
}

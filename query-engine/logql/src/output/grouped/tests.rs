use model::Labels;

use super::{Grouping, text_of};
use crate::output::{ResultEntry, Streams};

fn entry(
    timestamp_ns: i64,
    stream: &[(&str, &str)],
    metadata: &[(&str, &str)],
    parsed: &[(&str, &str)],
) -> ResultEntry {
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    ResultEntry {
        timestamp_ns,
        line: format!("line {timestamp_ns}"),
        stream: Labels::from_pairs(stream.iter().copied()),
        structured_metadata: own(metadata),
        parsed: own(parsed),
    }
}

/// Labels and times of each stream.
fn shown(entries: &[ResultEntry], grouping: Grouping) -> Vec<(String, Vec<i64>)> {
    let streams = Streams { entries: entries.to_vec() }.grouped(grouping);
    let times = |stream: usize| streams.entries(stream).iter().map(|entry| entry.timestamp_ns).collect();
    (0..streams.len()).map(|stream| (streams.labels_text(stream), times(stream))).collect()
}

#[test]
fn streams_are_sorted_by_the_text_of_their_labels_and_entries_keep_their_order() {
    let (b, a) = ([("app", "b")], [("app", "a")]);
    let entries = [
        entry(5, &b, &[], &[]),
        entry(4, &a, &[], &[]),
        entry(3, &b, &[], &[]),
        entry(9, &a, &[("t", "1")], &[]),
    ];
    let pair = |labels: &str, times: &[i64]| (labels.to_owned(), times.to_vec());
    assert_eq!(
        shown(&entries, Grouping::AllLabels),
        [pair(r#"{app="a", t="1"}"#, &[9]), pair(r#"{app="a"}"#, &[4]), pair(r#"{app="b"}"#, &[5, 3])]
    );
    assert_eq!(
        shown(&entries, Grouping::StreamLabels),
        [pair(r#"{app="a"}"#, &[4, 9]), pair(r#"{app="b"}"#, &[5, 3])]
    );
    assert!(shown(&[], Grouping::AllLabels).is_empty());
}

#[test]
fn labels_that_hide_others_and_empty_ones_make_no_stream_of_their_own() {
    let entries = [
        entry(1, &[("app", "x"), ("z", "1")], &[("b", "")], &[("app", "y")]),
        entry(2, &[("app", "y"), ("z", "1")], &[], &[]),
        entry(3, &[("app", "q"), ("z", "1")], &[("app", "r")], &[("app", "y"), ("c", "")]),
    ];
    assert_eq!(shown(&entries, Grouping::AllLabels), [(r#"{app="y", z="1"}"#.to_owned(), vec![1, 2, 3])]);
}

#[test]
fn texts_of_labels_have_the_quotes_of_go() {
    for (pairs, text) in [
        (&[][..], "{}"),
        (&[("a", "b c"), ("d", "~")], r#"{a="b c", d="~"}"#),
        (&[("a", "\"q\" \\")], r#"{a="\"q\" \\"}"#),
        (&[("a", "日本"), ("b", "\n\u{7}")], r#"{a="日本", b="\n\a"}"#),
    ] {
        assert_eq!(text_of(pairs), text);
    }
}

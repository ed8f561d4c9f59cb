use std::sync::Arc;

use proptest::prelude::*;

use super::{JsonParser, string_end};
use crate::pipeline::{EntryLabels, Wanted};

/// What `parser` reads of a line: its labels and whether it stays.
fn read(parser: &mut JsonParser, labels: &mut EntryLabels, line: &str) -> (bool, Vec<(String, String)>) {
    labels.reset(model::MetadataPairs::default());
    let stays = parser.parse(line, labels);
    (stays, labels.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Values of many kinds, damaged ones among them.
const VALUES: &[&str] = &[
    "1",
    "\"text\"",
    "true",
    "null",
    "[1,2]",
    "{\"b\":2,\"a\":\"x\"}",
    "{}",
    "{\"c\":",
    "\"open",
    "nonsense",
];
/// Keys that are alike after their escapes are resolved or as names, and keys that are not.
const KEYS: &[&str] =
    &["a", "b", "c", "a_b", "a.b", "a\\/b", "a/b", "a\\\\n", "a\\n", "", " a", "\\q", "0", "x"];

proptest! {
    #[test]
    fn what_the_lines_before_had_changes_nothing(
        lines in prop::collection::vec(prop::collection::vec((0..KEYS.len(), 0..VALUES.len()), 0..5), 1..6),
        wanted in prop::collection::vec(prop::sample::select(vec!["a", "b", "a_b", "a_n", "c_a", "a_extracted"]), 0..3),
    ) {
        let wanted = Arc::new(Wanted::only(wanted));
        let (mut parser, mut labels) = (JsonParser::default(), EntryLabels::new(Arc::clone(&wanted)));
        labels.set_stream(&model::Labels::from_pairs([("a", "of the stream")]));
        for members in lines {
            let members: Vec<String> =
                members.iter().map(|&(key, value)| format!("\"{}\":{}", KEYS[key], VALUES[value])).collect();
            let line = format!("{{{}}}", members.join(","));
            let alone = read(&mut JsonParser::default(), &mut labels, &line);
            prop_assert_eq!(read(&mut parser, &mut labels, &line), alone, "{}", line);
        }
    }

    #[test]
    fn a_string_ends_at_its_first_quote_without_a_backslash(text in "[a\"\\\\é]{0,60}", long in "[b-z]{0,40}") {
        for text in [text.clone(), format!("{long}{text}")] {
            let mut escaped = false;
            let want = text.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            prop_assert_eq!(string_end(&text), want, "{}", text);
        }
    }
}

#[test]
fn a_key_that_gave_no_label_gives_one_where_it_is_wanted() {
    let (mut parser, mut labels) =
        (JsonParser::default(), EntryLabels::new(Arc::new(Wanted::only(["bytes", "user_id"]))));
    labels.set_stream(&model::Labels::empty());
    let pairs = |pairs: &[(&str, &str)]| -> (bool, Vec<(String, String)>) {
        (true, pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    };
    for (line, want) in [
        (r#"{"x":1,"bytes":2}"#, pairs(&[("bytes", "2")])),
        (r#"{"bytes":3,"x":1}"#, pairs(&[("bytes", "3")])),
        (r#"{"x":{"id":4},"user":{"id":5,"bytes":6}}"#, pairs(&[("user_id", "5")])),
        (r#"{"user":7,"x":{"bytes":8},"bytes":9}"#, pairs(&[("bytes", "9")])),
    ] {
        assert_eq!(read(&mut parser, &mut labels, line), want, "{line}");
    }
}

#[test]
fn an_empty_key_is_none_that_gave_no_label() {
    let (mut parser, mut labels) =
        (JsonParser::default(), EntryLabels::new(Arc::new(Wanted::only(["a_extracted"]))));
    labels.set_stream(&model::Labels::from_pairs([("a", "of the stream")]));
    // The second place has a key without a label, the first one has not.
    read(&mut parser, &mut labels, r#"{"a\n":1,"b":1}"#);
    let (_, found) = read(&mut parser, &mut labels, r#"{"":{"b":2,"a":"x"}}"#);
    assert_eq!(found[1..], [("a_extracted".to_owned(), "x".to_owned())]);
}

#[test]
fn a_long_key_above_many_members_does_not_multiply_the_line() {
    let (mut parser, mut labels) = (JsonParser::default(), EntryLabels::new(Arc::new(Wanted::everything())));
    labels.set_stream(&model::Labels::empty());
    let members: Vec<String> = (0..20_000).map(|member| format!("\"{member}\":1")).collect();
    let line = format!("{{\"{}\":{{{}}}}}", "k".repeat(128 << 10), members.join(","));
    labels.reset(model::MetadataPairs::default());
    assert!(parser.parse(&line, &mut labels), "the line stays");
    assert_eq!(labels.error_details(), "labels of the line would be too long");
    assert!(labels.text_bytes() < 65 << 20, "{}", labels.text_bytes());
}

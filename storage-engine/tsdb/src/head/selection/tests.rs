//! A selection finds what matching every label set one by one finds, and knows its shortcuts.

use model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;

use super::super::postings::Postings;
use super::super::symbols::Symbols;
use super::Selection;
use crate::shortcut::{Shortcut, gallop, intersect, regex_shortcut, subtract};

fn check(series: &[Labels], matchers: &[Matcher]) -> (Vec<u32>, Vec<u32>) {
    let (symbols, mut postings) = (Symbols::new(), Postings::default());
    for (local, labels) in (0..).zip(series) {
        let mut pairs = Vec::new();
        let pairs_of = labels.iter().collect::<Vec<_>>();
        symbols.intern(pairs_of.into_iter(), &mut pairs);
        postings.add(local, &pairs);
    }
    let found = Selection::new(matchers).select(&postings, series.len(), &symbols.read());
    let matches = |labels: &Labels| matchers.iter().all(|matcher| matcher.matches_labels(labels));
    let expected = (0..).zip(series).filter(|(_, labels)| matches(labels)).map(|(local, _)| local).collect();
    (found, expected)
}

#[test]
fn literals_and_prefixes_of_patterns_are_found() {
    let literals = |pattern: &str| match regex_shortcut(pattern) {
        Shortcut::Literals(texts) => format!("= {}", texts.join(" ")),
        Shortcut::Prefixes(texts) => format!("^ {}", texts.join(" ")),
        _ => "none".to_owned(),
    };
    for (pattern, expected) in [
        ("a|b|c", "= a b c"),
        ("node-[12]", "= node-1 node-2"),
        ("api-.*", "^ api-"),
        ("(api|web)-.+", "^ api- web-"),
        (".*x", "none"),
        ("(a|)", "none"),
        ("[invalid", "none"),
    ] {
        assert_eq!(literals(pattern), expected, "{pattern}");
    }
}

#[test]
fn sorted_lists_meet_and_part() {
    let evens: Vec<u32> = (0..100).map(|i| i * 2).collect();
    let threes: Vec<u32> = (0..70).map(|i| i * 3).collect();
    let both: Vec<u32> = (0..34).map(|i| i * 6).collect();
    assert_eq!(intersect(evens.clone(), &threes), both);
    assert_eq!(
        subtract(evens.clone(), &threes),
        evens.iter().copied().filter(|i| i % 3 != 0).collect::<Vec<_>>()
    );
    for (local, position) in [(0, 0), (1, 1), (2, 1), (198, 99), (199, 100)] {
        assert_eq!(gallop(&evens, local), position);
    }
    assert_eq!(gallop(&[], 5), 0);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let value = prop::sample::select(vec!["", "a", "b", "ab", "abc", "b\nc", "é"]);
    prop::collection::vec((prop::sample::select(vec!["x", "y", "z"]), value), 0..4)
        .prop_map(Labels::from_pairs)
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let value = prop::sample::select(vec![
        "", "a", "ab", ".*", ".+", "a|b", "a|", "ab?", "a.*", "(a|b)c?", "[ab]+", "(?i)A", "b.c", "q", "a$b",
        "^a$",
    ]);
    (prop::sample::select(vec!["x", "y", "z", "w"]), op, value)
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).expect("a valid pattern"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn a_selection_finds_what_matching_one_by_one_finds(
        series in prop::collection::vec(any_labels(), 0..200),
        matchers in prop::collection::vec(any_matcher(), 0..4),
    ) {
        let (found, expected) = check(&series, &matchers);
        prop_assert_eq!(found, expected);
    }
}

//! Lines of one kind become one pattern, and each line matches the pattern it is counted for.

use proptest::prelude::*;

use super::PatternMiner;

fn mine(lines: &[&str]) -> Vec<(String, u64)> {
    let mut miner = PatternMiner::default();
    lines.iter().for_each(|line| miner.add(line, 0, 1));
    miner
        .finish()
        .into_iter()
        .map(|mined| (mined.pattern, mined.counts.iter().map(|(_, count)| count).sum()))
        .collect()
}

fn check(lines: &[&str], want: &[(&str, u64)]) {
    let want: Vec<(String, u64)> =
        want.iter().map(|(pattern, count)| ((*pattern).to_owned(), *count)).collect();
    assert_eq!(mine(lines), want);
}

#[test]
fn words_that_differ_are_variable() {
    check(
        &["user ann logged in from 10.0.0.1", "user bob logged in from 10.0.0.2", "cache is full"],
        &[("user <_> logged in from <_>", 2), ("cache is full", 1)],
    );
    check(
        &[
            r#"level=info msg="request 1 done" dur=5ms ok=true"#,
            r#"level=info msg="request 2 done" dur=7ms ok=true"#,
            r#"level=info msg="stopped" dur=7ms ok=true"#,
        ],
        &[("level=info msg=<_> dur=<_> ok=true", 3)],
    );
    check(
        &[r#"{"level":"info","id":1}"#, r#"{"level":"info","id":22}"#, ""],
        &[(r#"{"level":"info","id":<_>}"#, 2), ("", 1)],
    );
}

#[test]
fn counts_are_kept_by_step_and_merge() {
    let mut miner = PatternMiner::default();
    miner.add("job 1 done", 10, 2);
    miner.add("job 2 done", 20, 1);
    let mut other = PatternMiner::default();
    other.add("job 3 done", 10, 5);
    miner.merge(other);
    let found = miner.finish();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pattern, "job <_> done");
    assert_eq!(found[0].counts, [(10, 7), (20, 1)]);
}

/// Whether a line is the pattern with some text in place of each `<_>`.
fn matches(pattern: &str, line: &str) -> bool {
    let literals: Vec<String> = pattern.split("<_>").map(regex::escape).collect();
    let regex = regex::Regex::new(&format!("^(?s:{})$", literals.join(".+"))).expect("escaped texts");
    regex.is_match(line)
}

proptest! {
    #[test]
    fn every_line_matches_a_pattern_that_was_found(
        lines in prop::collection::vec("[a-c0-2 =:\",é\\\\]{0,24}", 1..30)
    ) {
        let mut miner = PatternMiner::default();
        lines.iter().for_each(|line| miner.add(line, 0, 1));
        let found = miner.finish();
        let counted: u64 = found.iter().flat_map(|mined| mined.counts.iter().map(|(_, count)| count)).sum();
        prop_assert_eq!(counted, lines.len() as u64);
        for line in &lines {
            let is_there = found.iter().any(|mined| matches(&mined.pattern, line));
            prop_assert!(is_there, "{:?} in {:?}", line, found);
        }
    }
}

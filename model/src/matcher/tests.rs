use super::{MatchOp, Matcher};
use crate::Labels;

fn check(op: MatchOp, pattern: &str, value: &str, expected: bool) {
    let matcher = Matcher::new("job", op, pattern).expect("the pattern compiles");
    assert_eq!(matcher.matches(value), expected, "{matcher} on {value:?}");
}

#[test]
fn operators_compare_as_prometheus_documents() {
    check(MatchOp::Equal, "api", "api", true);
    check(MatchOp::Equal, "api", "api2", false);
    check(MatchOp::NotEqual, "api", "", true);
    check(MatchOp::Regex, "api|web", "web", true);
    check(MatchOp::Regex, "api|web", "webs", false);
    check(MatchOp::Regex, "a.c", "a\nc", true);
    check(MatchOp::NotRegex, "a.*", "b", true);
    check(MatchOp::NotRegex, "", "b", true);
}

#[test]
fn an_absent_label_is_the_empty_value() {
    let labels = Labels::from_pairs([("job", "api")]);
    assert!(Matcher::equal("zone", "").matches_labels(&labels));
    assert!(Matcher::new("zone", MatchOp::Regex, ".*").expect("compiles").matches_empty());
    assert!(!Matcher::new("zone", MatchOp::Regex, ".+").expect("compiles").matches_labels(&labels));
}

#[test]
fn a_bad_or_oversized_pattern_is_refused() {
    let error = Matcher::new("job", MatchOp::Regex, "a(").expect_err("unbalanced");
    assert!(error.to_string().contains(r#""a(""#), "{error}");
    assert!(Matcher::new("job", MatchOp::Regex, "(a{1000}){1000}").is_err());
}

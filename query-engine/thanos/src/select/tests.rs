use model::{Labels, MatchOp, Matcher};

use super::{Shard, for_series, matchers, shown, without_external};
use crate::proto::{LabelMatcher, ShardInfo};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

#[test]
fn external_labels_win_and_replica_labels_go() {
    let own = labels(&[("__name__", "up"), ("job", "a"), ("region", "inner"), ("replica", "x")]);
    let external = labels(&[("region", "eu-west"), ("replica", "1"), ("zone", "z")]);
    for (external, without, want) in [
        (Labels::empty(), &[][..], own.clone()),
        (
            external.clone(),
            &[],
            labels(&[
                ("__name__", "up"),
                ("job", "a"),
                ("region", "eu-west"),
                ("replica", "1"),
                ("zone", "z"),
            ]),
        ),
        (
            external,
            &["replica"],
            labels(&[("__name__", "up"), ("job", "a"), ("region", "eu-west"), ("zone", "z")]),
        ),
        (Labels::empty(), &["job", "replica"], labels(&[("__name__", "up"), ("region", "inner")])),
    ] {
        let without: Vec<String> = without.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(shown(&own, &external, &without), want);
    }
}

#[test]
fn matchers_on_external_labels_are_answered_by_them() {
    let external = labels(&[("region", "eu-west")]);
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).expect("a good matcher");
    let job = matcher("job", MatchOp::Equal, "a");
    let left = |set: &[Matcher]| without_external(set, &external).map(|left| left.len());
    assert_eq!(left(&[job.clone(), matcher("region", MatchOp::Equal, "eu-west")]), Some(1));
    assert_eq!(left(&[job.clone(), matcher("region", MatchOp::Regex, "eu-.*")]), Some(1));
    assert_eq!(left(&[job.clone(), matcher("region", MatchOp::NotEqual, "us")]), Some(1));
    assert_eq!(left(&[job.clone(), matcher("region", MatchOp::Equal, "")]), None);
    assert_eq!(left(&[job, matcher("region", MatchOp::Equal, "us")]), None);
    let error = for_series(&[matcher("region", MatchOp::Equal, "eu-west")], &external).expect_err("refused");
    assert_eq!(error.to_string(), "no matchers specified (excluding external labels)");
}

#[test]
fn matchers_of_requests_are_checked() {
    let message = |op, value: &str| LabelMatcher { op, name: "a".to_owned(), value: value.to_owned() };
    assert_eq!(matchers(&[message(0, "x"), message(3, "x|y")]).expect("good")[1].to_string(), r#"a!~"x|y""#);
    // RE2's \d is ASCII.
    assert!(!matchers(&[message(2, r"\d")]).expect("good")[0].matches("٣"));
    assert!(matchers(&[message(4, "x")]).is_err());
    assert!(matchers(&[message(2, "(")]).is_err());
}

#[test]
fn a_series_is_in_the_shard_that_thanos_says() {
    let series = labels(&[("a", "1"), ("b", "2")]);
    let info = |index, total, by, names: &[&str]| ShardInfo {
        shard_index: index,
        total_shards: total,
        by,
        labels: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let mut scratch = Vec::new();
    let mut home = |by, names: &[&str], total: i64| {
        let is_home = |index: &i64| {
            Shard::new(&info(*index, total, by, names)).expect("a shard").contains(&series, &mut scratch)
        };
        let homes: Vec<i64> = (0..total).filter(is_home).collect();
        assert_eq!(homes.len(), 1, "each series is in one shard");
        homes[0]
    };
    let remainder = |text: &[u8], total: u64| (xxhash_rust::xxh64::xxh64(text, 0) % total).cast_signed();
    assert_eq!(home(true, &["a"], 7), remainder(b"a\xff1\xff", 7));
    assert_eq!(home(false, &["a"], 7), remainder(b"b\xff2\xff", 7));
    assert_eq!(home(true, &[], 7), remainder(b"", 7));
    assert_eq!(home(false, &[], 7), remainder(b"a\xff1\xffb\xff2\xff", 7));
    assert_eq!(Shard::new(&info(0, 0, true, &[])), None);
}

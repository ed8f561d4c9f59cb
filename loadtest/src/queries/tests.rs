use std::collections::HashMap;

use clap::Parser;

use super::{QueryMix, percent_encoded};
use crate::cli::LoadCli;

fn mix(arguments: &[&str]) -> QueryMix {
    let load = LoadCli::try_parse_from(arguments).expect("valid").load;
    QueryMix::new(&load, 0).expect("valid")
}

#[test]
fn a_range_query_ends_on_a_whole_step() {
    let mut mix = mix(&["promql", "--query", "sum(rate(a[5m]))", "--range", "1h", "--step", "15s"]);
    assert_eq!(
        mix.next_path(1_700_000_007_000_000_000),
        "/api/v1/query_range?query=sum%28rate%28a%5B5m%5D%29%29&start=1699996395.000&end=1699999995.000&step=15"
    );
}

#[test]
fn a_range_of_nothing_is_an_instant_query() {
    let mut mix = mix(&["logql", "--query", "{a=\"b\"}", "--range", "0s", "--limit", "7"]);
    assert_eq!(
        mix.next_path(1_700_000_007_000_000_000),
        "/loki/api/v1/query?query=%7Ba%3D%22b%22%7D&limit=7&time=1700000007000000000"
    );
}

#[test]
fn queries_come_by_weight_in_the_order_of_the_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queries.yaml");
    std::fs::write(&path, "- {query: a, weight: 3, range: 0s}\n- {query: b, range: 0s}\n").expect("written");
    let path = path.to_str().expect("a path of ASCII");
    let (mut first, mut second) = (mix(&["promql", "--queries", path]), mix(&["promql", "--queries", path]));
    let mut counts = HashMap::new();
    for _ in 0..4000 {
        let asked = first.next_path(0);
        assert_eq!(asked, second.next_path(0));
        *counts.entry(asked).or_insert(0) += 1;
    }
    let often = counts.iter().find(|(path, _)| path.contains("query=a&")).map_or(0, |(_, count)| *count);
    assert!((2850..3150).contains(&often), "{counts:?}");
}

#[test]
fn what_has_a_meaning_in_a_query_string_is_escaped() {
    assert_eq!(percent_encoded("a+b&c=d ü"), "a%2Bb%26c%3Dd%20%C3%BC");
}

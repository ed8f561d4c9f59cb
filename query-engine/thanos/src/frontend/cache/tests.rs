use std::sync::Arc;

use model::{Labels, Sample};
use promql::MatrixSeries;

use super::{Extent, Key, ResultCache, Values};
use crate::frontend::split::Steps;

fn key(interval: i64) -> Key {
    Key { scope: Arc::from("t"), query: Arc::from("up"), step: 10, phase: 0, interval }
}

fn values(name: &str, times: &[i64]) -> Values {
    let floats = times.iter().map(|time| Sample { timestamp_ms: *time, value: *time as f64 }).collect();
    let labels = Labels::from_pairs([("n", name)]);
    Values { series: vec![MatrixSeries { labels, floats, histograms: Vec::new() }], ..Values::default() }
}

fn extent(times: &[i64]) -> Extent {
    let steps = Steps { first: times[0], last: times[times.len() - 1], step: 10 };
    Extent { steps, values: values("a", times) }
}

#[test]
fn memory_stays_within_the_budget_and_the_answers_used_last_stay() {
    let mut cache = ResultCache::new(8000);
    for interval in 0..100 {
        cache.put(key(interval), extent(&[0, 10, 20]));
        assert!(cache.get(&key(0)).is_some(), "it is used all the time");
        assert!(cache.bytes() <= 8000);
    }
    assert!(cache.get(&key(99)).is_some() && cache.get(&key(1)).is_none());
    let before = cache.bytes();
    cache.put(key(99), extent(&[0, 10, 20]));
    assert_eq!(cache.bytes(), before, "the same key counts once");
    let many: Vec<i64> = (0..1000).collect();
    cache.put(key(500), extent(&many));
    assert!(cache.get(&key(500)).is_none(), "one answer does not push out all others");
}

#[test]
fn runs_are_cut_and_joined_by_their_times() {
    let joined = Values::join(vec![values("b", &[0, 10]), values("a", &[20]), values("b", &[30])]);
    let times: Vec<Vec<i64>> = joined
        .series
        .iter()
        .map(|series| series.floats.iter().map(|sample| sample.timestamp_ms).collect())
        .collect();
    assert_eq!(times, [vec![20], vec![0, 10, 30]]);
    let cut = joined.between(Steps { first: 10, last: 15, step: 5 });
    assert_eq!(cut, values("b", &[10]));
}

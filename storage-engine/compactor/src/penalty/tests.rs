//! The vectors of `TestDedupChunkSeriesMerger` in Thanos' pkg/dedup/chunk_iter_test.go, and folding against choosing
//! over whole replicas.

use proptest::prelude::*;

use super::{Deduplicated, merge};

fn samples(times: &[i64]) -> Vec<(i64, f64)> {
    times.iter().map(|time| (*time, *time as f64)).collect()
}

fn check(chunks: &[&[i64]], expected: &[i64]) {
    let mut chunks = chunks.iter().map(|times| samples(times));
    let mut all = Deduplicated::new(chunks.next().expect("a first chunk"));
    chunks.for_each(|chunk| all.fold(chunk));
    assert_eq!(all.finish(), samples(expected));
}

#[test]
fn replicas_are_chosen_as_thanos_chooses() {
    check(&[&[3, 8], &[7, 9]], &[3, 8]);
    check(&[&[1, 2], &[2, 5008], &[7, 9], &[10]], &[1, 2, 5008]);
    check(&[&[1, 2, 3, 5], &[2, 3, 5]], &[1, 2, 3, 5]);
    check(&[&[0, 4], &[1, 2, 3, 5], &[2, 3, 6]], &[0, 4]);
    check(&[&[1, 2, 3, 5], &[4, 6], &[6, 10]], &[1, 2, 3, 5]);
    check(&[&[0, 5], &[2, 20], &[10, 15], &[18, 26], &[25, 30]], &[0, 5]);
    let long: Vec<i64> = (0..110).collect();
    check(&[&long, &long[60..]], &long);
}

#[test]
fn a_gap_is_filled_from_the_other_replica_and_the_rate_stays() {
    // Every 15 s with 3 s between the replicas; the first is away for two minutes.
    let a: Vec<i64> = (0..40).map(|n| n * 15_000).filter(|t| !(150_000..270_000).contains(t)).collect();
    let b: Vec<i64> = (0..40).map(|n| n * 15_000 + 3000).collect();
    let mut all = Deduplicated::new(samples(&a));
    all.fold(samples(&b));
    let times: Vec<i64> = all.finish().iter().map(|(time, _)| *time).collect();
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(times.len() >= 36, "{times:?}");
    assert!(steps.iter().all(|step| (15_000..=45_000).contains(step)), "{steps:?}");
}

fn chunk() -> impl Strategy<Value = (i64, Vec<i64>)> {
    (0..2000_i64, prop::collection::vec(prop_oneof![9 => 1..20_i64, 1 => 50..400_i64], 1..40))
}

proptest! {
    #[test]
    fn leaving_the_front_alone_changes_nothing(chunks in prop::collection::vec(chunk(), 1..8)) {
        let mut chunks: Vec<Vec<i64>> = chunks
            .into_iter()
            .map(|(start, steps)| steps.iter().scan(start, |time, step| { *time += step; Some(*time) }).collect())
            .collect();
        chunks.sort_by_key(|times| (times[0], *times.last().expect("it has one")));
        let mut folded = Deduplicated::new(samples(&chunks[0]));
        let mut whole = samples(&chunks[0]);
        for times in &chunks[1..] {
            folded.fold(samples(times));
            let mut next = Vec::new();
            merge(None, whole, samples(times), |sample| next.push(sample));
            whole = next;
        }
        prop_assert_eq!(folded.finish(), whole);
    }
}

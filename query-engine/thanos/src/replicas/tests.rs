use model::{SampleColumns, TimeRange};
use storage_api::SeriesChunks;

use super::{ReplicaChunks, split};
use crate::chunk_columns::Wanted;
use crate::dedup::DedupFunction;
use crate::testing::{raw, samples};

#[test]
fn overlapping_chunks_are_of_different_replicas() {
    let chunks = [(0, 10), (0, 12), (5, 11), (11, 20), (13, 22), (30, 40)];
    let chunks = chunks.map(|(min, max)| raw(&[(min, 1.0), (max, 1.0)]));
    let found: Vec<Vec<(i64, i64)>> = split(Vec::from(chunks))
        .iter()
        .map(|list| list.iter().map(|chunk| (chunk.range.min, chunk.range.max)).collect())
        .collect();
    assert_eq!(found, [vec![(0, 10), (11, 20), (30, 40)], vec![(0, 12), (13, 22)], vec![(5, 11)]]);
}

#[test]
fn decoding_deduplicates_from_the_start_of_the_query() {
    let a: Vec<(i64, f64)> = (0..10).map(|at| (at * 10_000, 1.0)).collect();
    let b: Vec<(i64, f64)> = (0..10).map(|at| (at * 10_000 + 3_000, 2.0)).collect();
    let chunks = vec![raw(&a), raw(&b)];
    let decode = |bounds, range| {
        let series = ReplicaChunks::deduplicated(
            chunks.clone(),
            Wanted::Average,
            DedupFunction::Penalty,
            false,
            bounds,
        );
        let mut columns = SampleColumns::default();
        columns.push(-1, 9.0);
        series.decode(range, &mut columns).expect("decodes");
        columns.values.split_off(1)
    };
    // Beginning at 0 the first replica is followed; beginning at 1 ms the second one has the first sample.
    assert_eq!(decode(TimeRange::new(0, 90_000), TimeRange::new(0, 20_000)), [1.0; 3]);
    assert_eq!(decode(TimeRange::new(1, 90_000), TimeRange::new(0, 20_000)), [2.0, 1.0, 1.0]);
    assert_eq!(decode(TimeRange::new(1, 90_000), TimeRange::new(3_001, 20_000)), [1.0, 1.0]);
}

#[test]
fn encoded_chunks_hold_what_decoding_gives() {
    let chunks = vec![raw(&[(0, 1.0), (10_000, 2.0)]), raw(&[(0, 1.0), (10_000, 2.0), (90_000, 3.0)])];
    let function = DedupFunction::Chain;
    let series = ReplicaChunks::deduplicated(chunks, Wanted::Average, function, false, TimeRange::ALL);
    let encoded = series.encoded().expect("encodes");
    let found: Vec<_> =
        encoded.iter().flat_map(|chunk| samples(chunk.encoding.number(), &chunk.data)).collect();
    assert_eq!(found, [(0, 1.0), (10_000, 2.0), (90_000, 3.0)]);
}

//! Chunks are cut where Prometheus cuts them, replay takes any order, and a snapshot stands still.

use model::{SampleColumns, TimeRange};
use proptest::prelude::*;

use super::{ChunkSnapshot, Series, Verdict, block_end, chunk_end, decode_xor};

const BLOCK_MS: i64 = 2 * 3600 * 1000;

fn decode(chunks: &[ChunkSnapshot]) -> Vec<(i64, u64)> {
    let mut columns = SampleColumns::default();
    for chunk in chunks {
        decode_xor(&chunk.data, chunk.samples, TimeRange::ALL, &mut columns).expect("a chunk of the head");
    }
    columns.timestamps_ms.into_iter().zip(columns.values.into_iter().map(f64::to_bits)).collect()
}

/// Samples per chunk after appending `samples`.
fn chunk_sizes(samples: impl IntoIterator<Item = (i64, f64)>) -> Vec<usize> {
    let mut series = Series::default();
    for (time, value) in samples {
        assert_eq!(series.append(time, value, 1, BLOCK_MS).0, Verdict::Stored);
    }
    series.snapshot(TimeRange::ALL, 2).iter().map(|chunk| decode(std::slice::from_ref(chunk)).len()).collect()
}

#[test]
fn chunk_ends_are_those_of_prometheus() {
    // From the table in tsdb/head_test.go (TestComputeChunkEndTime).
    assert_eq!(chunk_end(0, 250, 1000), 1000);
    assert_eq!(chunk_end(100, 200, 1000), 550);
    assert_eq!(block_end(0, 100), 100);
    assert_eq!(block_end(99, 100), 100);
    assert_eq!(block_end(100, 100), 200);
    // Go divides toward zero: times before 1970 near zero belong to the first block.
    assert_eq!(block_end(-1, 100), 100);
    assert_eq!(block_end(-100, 100), 0);
    for time in [i64::MIN, i64::MAX] {
        let _no_overflow = (block_end(time, BLOCK_MS), chunk_end(i64::MIN, time, i64::MAX));
    }
}

#[test]
fn chunks_are_cut_at_120_samples_at_the_block_boundary_and_at_their_size() {
    // 480 samples of 15 s fill a block: four chunks.
    assert_eq!(chunk_sizes((0..480).map(|i| (i * 15_000, 1.0))), [120, 120, 120, 120]);
    // A block that began 10 minutes before the boundary has 40 samples left, in one chunk.
    assert_eq!(chunk_sizes((440..600).map(|i| (i * 15_000, 1.0))), [40, 120]);
    // Random values: 64 significant bits a sample, so the size decides.
    let noise = |i: i64| f64::from_bits((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1);
    let sizes = chunk_sizes((0..400).map(|i| (i * 15_000, noise(i))));
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= 130), "{sizes:?}");
    // A rate that rises after the quarter: never more than twice the aim.
    let slow = (0..30).map(|i| i * 60_000);
    let fast = (1..2000).map(|i| 29 * 60_000 + i * 100);
    let sizes = chunk_sizes(slow.chain(fast).map(|time| (time, 1.0)));
    assert!(sizes.iter().all(|size| *size <= 240), "{sizes:?}");
}

#[test]
fn old_samples_get_their_verdict_wherever_their_chunk_is() {
    let mut series = Series::default();
    for i in 0..300 {
        series.append(i * 10, i as f64, 1, BLOCK_MS);
    }
    for (time, value, verdict) in [
        (2990, 299.0, Verdict::Duplicate),
        (2990, 0.0, Verdict::Conflict),
        (10, 1.0, Verdict::Duplicate),
        (10, 2.0, Verdict::Conflict),
        (11, 1.0, Verdict::OutOfOrder),
        (2985, 1.0, Verdict::OutOfOrder),
        (-5, 1.0, Verdict::OutOfOrder),
        (3000, 1.0, Verdict::Stored),
    ] {
        assert_eq!(series.append(time, value, 1, BLOCK_MS).0, verdict, "{time}");
    }
}

#[test]
fn a_stale_marker_is_a_value_like_any_other() {
    let mut series = Series::default();
    series.append(1, model::stale_nan(), 1, BLOCK_MS);
    assert_eq!(series.append(1, model::stale_nan(), 1, BLOCK_MS).0, Verdict::Duplicate);
    assert_eq!(series.append(1, f64::NAN, 1, BLOCK_MS).0, Verdict::Conflict);
}

#[test]
fn a_query_sees_what_was_there_when_its_epoch_began() {
    for before in [0, 1, 50, 119, 120, 121, 500] {
        let mut series = Series::default();
        let expected: Vec<_> = (0..before).map(|i| (i * 15_000, (i as f64).to_bits())).collect();
        for i in 0..before {
            series.append(i * 15_000, i as f64, 6, BLOCK_MS);
        }
        for i in before..before + 300 {
            series.append(i * 15_000, i as f64, 7, BLOCK_MS);
        }
        assert_eq!(decode(&series.snapshot(TimeRange::ALL, 7)), expected, "{before}");
        assert_eq!(decode(&series.snapshot(TimeRange::ALL, 8)).len() as i64, before + 300);
        let tail = series.snapshot(TimeRange::new((before + 299) * 15_000, i64::MAX), 8);
        assert_eq!(tail.len(), 1, "only the chunk that has the range");
    }
}

proptest! {
    #[test]
    fn replay_takes_samples_in_any_order(
        order in prop::collection::vec(0i64..400, 1..600), block in prop::sample::select(vec![500i64, BLOCK_MS]),
    ) {
        let mut series = Series::default();
        let mut expected = std::collections::BTreeMap::new();
        for time in order {
            let new = expected.insert(time * 10, (time as f64).to_bits()).is_none();
            prop_assert_eq!(series.restore(time * 10, time as f64, block).0, new);
        }
        let chunks = series.snapshot(TimeRange::ALL, 1);
        prop_assert_eq!(decode(&chunks), expected.into_iter().collect::<Vec<_>>());
        for chunk in &chunks {
            let samples = decode(std::slice::from_ref(chunk));
            prop_assert_eq!((samples[0].0, samples[samples.len() - 1].0), (chunk.range.min, chunk.range.max));
        }
        prop_assert!(chunks.windows(2).all(|pair| pair[0].range.max < pair[1].range.min));
    }
}

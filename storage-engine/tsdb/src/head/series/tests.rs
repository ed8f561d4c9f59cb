//! Chunks are cut where Prometheus cuts them, replay takes any order, and a snapshot stands still.

use format::decode_chunk;
use model::{IntegerBuckets, IntegerHistogram, NativeHistogram, SampleColumns, TimeRange};
use proptest::prelude::*;

use super::{Room, Verdict, block_end, chunk_end};
use crate::head::pieces::Pieces;
use crate::head::spill::Spill;
use crate::head::value::Value;
use crate::metrics::HeadMetrics;

const BLOCK_MS: i64 = 2 * 3600 * 1000;

/// A series with what it needs; some of its closed chunks are in full blocks of the spill, the last ones in the open one.
struct Series {
    series: super::Series,
    pieces: Pieces,
    spill: Spill,
}

/// A chunk with its bytes.
struct ChunkSnapshot {
    range: TimeRange,
    samples: u16,
    encoding: u8,
    data: Vec<u8>,
}

impl Default for Series {
    fn default() -> Self {
        let spill = Spill::new(500, HeadMetrics::new());
        Self { series: super::Series::default(), pieces: Pieces::new(), spill }
    }
}

impl Series {
    fn with<T>(&mut self, block_ms: i64, change: impl FnOnce(&mut super::Series, &mut Room<'_>) -> T) -> T {
        let Self { series, pieces, spill } = self;
        change(series, &mut Room { pieces, spill, block_ms, looked: None })
    }

    fn push(&mut self, time_ms: i64, value: f64, epoch: u64, block_ms: i64) -> bool {
        self.with(block_ms, |series, room| series.push(room, time_ms, value, epoch))
    }

    fn push_histogram(&mut self, time_ms: i64, value: &NativeHistogram, epoch: u64, block_ms: i64) -> bool {
        self.with(block_ms, |series, room| series.push_histogram(room, time_ms, value, epoch))
    }

    fn insert(&mut self, time_ms: i64, value: &Value, epoch: u64, block_ms: i64) -> Verdict {
        self.with(block_ms, |series, room| series.insert(room, time_ms, value, epoch))
    }

    fn delete(&mut self, range: TimeRange, epoch: u64) -> usize {
        self.with(BLOCK_MS, |series, room| series.delete(room, range, epoch).expect("everything can be read"))
    }

    fn verdict_of(&mut self, time_ms: i64, value: &Value) -> Option<Verdict> {
        self.with(BLOCK_MS, |series, room| series.verdict_of(room, time_ms, value))
    }

    fn snapshot(&self, range: TimeRange, epoch: u64) -> Vec<ChunkSnapshot> {
        let chunks = self.series.snapshot(&self.pieces, &self.spill, range, epoch);
        let view = self.spill.view();
        let read = |chunk: super::ChunkSnapshot| {
            let data = chunk.data.read(&view, &mut Vec::new()).expect("everything can be read").to_vec();
            let super::ChunkSnapshot { range, samples, encoding, .. } = chunk;
            ChunkSnapshot { range, samples, encoding, data }
        };
        chunks.into_iter().map(read).collect()
    }
}

fn decode(chunks: &[ChunkSnapshot]) -> Vec<(i64, u64)> {
    let mut columns = SampleColumns::default();
    for chunk in chunks {
        decode_chunk(chunk.encoding, &chunk.data, chunk.samples, TimeRange::ALL, &mut columns)
            .expect("a chunk of the head");
    }
    columns.timestamps_ms.into_iter().zip(columns.values.into_iter().map(f64::to_bits)).collect()
}

/// Samples per chunk after appending `samples`.
fn chunk_sizes(samples: impl IntoIterator<Item = (i64, f64)>) -> Vec<usize> {
    let mut series = Series::default();
    for (time, value) in samples {
        series.push(time, value, 1, BLOCK_MS);
    }
    series.snapshot(TimeRange::ALL, 2).iter().map(|chunk| decode(std::slice::from_ref(chunk)).len()).collect()
}

#[test]
fn chunk_ends_are_those_of_prometheus() {
    // From the table in tsdb/head_test.go (TestComputeChunkEndTime).
    assert_eq!(chunk_end(0, 250, 1000, 4.0), 1000);
    assert_eq!(chunk_end(100, 200, 1000, 4.0), 550);
    assert_eq!(block_end(0, 100), 100);
    assert_eq!(block_end(99, 100), 100);
    assert_eq!(block_end(100, 100), 200);
    // Go divides toward zero: times before 1970 near zero belong to the first block.
    assert_eq!(block_end(-1, 100), 100);
    assert_eq!(block_end(-100, 100), 0);
    for time in [i64::MIN, i64::MAX] {
        let _no_overflow = (block_end(time, BLOCK_MS), chunk_end(i64::MIN, time, i64::MAX, 4.0));
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
        series.push(i * 10, i as f64, 1, BLOCK_MS);
    }
    for (time, value, verdict) in [
        (2990, 299.0, Some(Verdict::Duplicate)),
        (2990, 0.0, Some(Verdict::Conflict)),
        (10, 1.0, Some(Verdict::Duplicate)),
        (10, 2.0, Some(Verdict::Conflict)),
        (11, 1.0, None),
        (2985, 1.0, None),
        (-5, 1.0, None),
        (3000, 1.0, None),
    ] {
        assert_eq!(series.verdict_of(time, &Value::Float(value)), verdict, "{time}");
    }
}

#[test]
fn a_stale_marker_is_a_value_like_any_other() {
    let mut series = Series::default();
    series.push(1, model::stale_nan(), 1, BLOCK_MS);
    assert_eq!(series.verdict_of(1, &Value::Float(model::stale_nan())), Some(Verdict::Duplicate));
    assert_eq!(series.verdict_of(1, &Value::Float(f64::NAN)), Some(Verdict::Conflict));
}

#[test]
fn a_query_sees_what_was_there_when_its_epoch_began() {
    for before in [0, 1, 50, 119, 120, 121, 500] {
        let mut series = Series::default();
        let expected: Vec<_> = (0..before).map(|i| (i * 15_000, (i as f64).to_bits())).collect();
        for i in 0..before {
            series.push(i * 15_000, i as f64, 6, BLOCK_MS);
        }
        for i in before..before + 300 {
            series.push(i * 15_000, i as f64, 7, BLOCK_MS);
        }
        assert_eq!(decode(&series.snapshot(TimeRange::ALL, 7)), expected, "{before}");
        assert_eq!(decode(&series.snapshot(TimeRange::ALL, 8)).len() as i64, before + 300);
        let tail = series.snapshot(TimeRange::new((before + 299) * 15_000, i64::MAX), 8);
        assert_eq!(tail.len(), 1, "only the chunk that has the range");
    }
}

/// A histogram with `count` observations in one bucket.
fn histogram(count: u64) -> NativeHistogram {
    NativeHistogram::Integer(
        IntegerHistogram {
            count,
            sum: count as f64,
            positive: IntegerBuckets {
                spans: vec![model::BucketSpan { offset: 0, length: 1 }],
                deltas: vec![count.cast_signed()],
            },
            ..IntegerHistogram::default()
        }
        .into(),
    )
}

/// Counts of the histograms of all chunks by time, -1 for floats.
fn decode_counts(chunks: &[ChunkSnapshot]) -> Vec<(i64, f64)> {
    let mut columns = SampleColumns::default();
    for chunk in chunks {
        decode_chunk(chunk.encoding, &chunk.data, chunk.samples, TimeRange::ALL, &mut columns)
            .expect("a chunk of the head");
    }
    let mut counts: Vec<_> = columns.timestamps_ms.iter().map(|time| (*time, -1.0)).collect();
    columns.histograms.iter().for_each(|(at, histogram)| counts[*at].1 = histogram.count);
    counts
}

#[test]
fn floats_and_histograms_take_turns_in_chunks_of_their_own() {
    let mut series = Series::default();
    for i in 0..60 {
        // Ten of each kind, in turns; the count falls once, at 35.
        let count = if i < 35 { 100 + i } else { i } as u64;
        match i / 10 % 2 {
            0 => series.push(i, i as f64, 1, BLOCK_MS),
            _ => series.push_histogram(i, &histogram(count), 1, BLOCK_MS),
        };
    }
    let chunks = series.snapshot(TimeRange::ALL, 2);
    let encodings: Vec<_> = chunks.iter().map(|chunk| chunk.encoding).collect();
    assert_eq!(encodings, [1, 2, 1, 2, 2, 1, 2], "a chunk a turn, and one more at the reset");
    let expected = |i: i64| match i / 10 % 2 {
        0 => -1.0,
        _ if i < 35 => (100 + i) as f64,
        _ => i as f64,
    };
    assert_eq!(decode_counts(&chunks), (0..60).map(|i| (i, expected(i))).collect::<Vec<_>>());
    for time in [5, 15, 37, 59] {
        let same =
            if time == 5 { Value::Float(5.0) } else { Value::Histogram(histogram(expected(time) as u64)) };
        assert_eq!(series.insert(time, &same, 3, BLOCK_MS), Verdict::Duplicate, "{time}");
        assert_eq!(series.insert(time, &Value::Float(0.5), 3, BLOCK_MS), Verdict::Conflict, "{time}");
    }
}

#[test]
fn a_float_stale_marker_ends_a_histogram_series_as_a_histogram() {
    let mut series = Series::default();
    series.push_histogram(1, &histogram(3), 1, BLOCK_MS);
    series.push(2, model::stale_nan(), 1, BLOCK_MS);
    let chunks = series.snapshot(TimeRange::ALL, 2);
    let mut columns = SampleColumns::default();
    decode_chunk(2, &chunks[0].data, 9, TimeRange::ALL, &mut columns).expect("histograms");
    assert_eq!((chunks.len(), columns.histograms.len()), (1, 2));
    assert!(model::is_stale_nan(columns.histograms[1].1.sum));
    assert_eq!(series.insert(2, &Value::Float(model::stale_nan()), 2, BLOCK_MS), Verdict::Duplicate);
}

#[test]
fn histogram_chunks_end_at_the_block_boundary_and_when_they_are_large() {
    let mut series = Series::default();
    let mut count = 0;
    for i in 0..1000 {
        count += i as u64 * 7919 % 100_003;
        series.push_histogram(i * 15_000, &histogram(count), 1, BLOCK_MS);
    }
    let chunks = series.snapshot(TimeRange::ALL, 2);
    for chunk in &chunks {
        assert_eq!(block_end(chunk.range.min, BLOCK_MS), block_end(chunk.range.max, BLOCK_MS));
        assert!(chunk.data.len() <= 2 * 1024 + 100, "{}", chunk.data.len());
    }
    assert_eq!(decode_counts(&chunks).len(), 1000);
    assert!((4..40).contains(&chunks.len()), "{}", chunks.len());
}

#[test]
fn a_query_does_not_see_what_came_late_after_its_epoch_began() {
    for late in [5, 1205, 2995, 3001] {
        let mut series = Series::default();
        for i in 0..300 {
            series.push(i * 10, i as f64, 6, BLOCK_MS);
        }
        let expected = decode(&series.snapshot(TimeRange::ALL, 7));
        assert_eq!(series.insert(late, &Value::Float(0.5), 7, BLOCK_MS), Verdict::Stored);
        series.push(4000, 1.0, 7, BLOCK_MS);
        assert_eq!(series.insert(late + 1, &Value::Float(0.5), 7, BLOCK_MS), Verdict::Stored);
        assert_eq!(decode(&series.snapshot(TimeRange::ALL, 7)), expected, "{late}");
        assert_eq!(decode(&series.snapshot(TimeRange::ALL, 8)).len(), 303, "{late}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Float(i64),
    Histogram(i64, u64),
    Delete(i64, i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0i64..300).prop_map(Step::Float),
        4 => (0i64..300, 0u64..50).prop_map(|(time, count)| Step::Histogram(time, count)),
        1 => (0i64..300, 0i64..40).prop_map(|(from, len)| Step::Delete(from, len)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #[test]
    fn any_order_of_kinds_times_and_deletions_reads_as_a_map_would(
        steps in prop::collection::vec(step(), 1..300), block in prop::sample::select(vec![500i64, BLOCK_MS]),
    ) {
        let mut series = Series::default();
        let mut expected = std::collections::BTreeMap::new();
        for (epoch, step) in (1..).zip(steps) {
            match step {
                Step::Float(time) => {
                    let stored = series.insert(time * 10, &Value::Float(1.0), epoch, block) == Verdict::Stored;
                    prop_assert_eq!(stored, !expected.contains_key(&(time * 10)));
                    expected.entry(time * 10).or_insert(-1.0);
                }
                Step::Histogram(time, count) => {
                    let value = Value::Histogram(histogram(count));
                    let stored = series.insert(time * 10, &value, epoch, block) == Verdict::Stored;
                    prop_assert_eq!(stored, !expected.contains_key(&(time * 10)));
                    expected.entry(time * 10).or_insert(count as f64);
                }
                Step::Delete(from, len) => {
                    let range = TimeRange::new(from * 10, (from + len) * 10);
                    let before = expected.len();
                    expected.retain(|time, _| !range.contains(*time));
                    prop_assert_eq!(series.delete(range, epoch), before - expected.len());
                }
                Step::Reopen => {
                    let mut restored = Series::default();
                    for chunk in series.snapshot(TimeRange::ALL, u64::MAX) {
                        restored.with(block, |series, room| {
                            series.restore_chunk(room, chunk.range, chunk.encoding, &chunk.data);
                        });
                    }
                    restored.with(block, |series, room| series.reopen(room));
                    series = restored;
                }
            }
        }
        let chunks = series.snapshot(TimeRange::ALL, u64::MAX);
        prop_assert_eq!(decode_counts(&chunks), expected.into_iter().collect::<Vec<_>>());
        for chunk in &chunks {
            let samples = decode_counts(std::slice::from_ref(chunk));
            prop_assert_eq!((samples[0].0, samples[samples.len() - 1].0), (chunk.range.min, chunk.range.max));
            prop_assert_eq!(block_end(chunk.range.min, block), block_end(chunk.range.max, block));
        }
        prop_assert!(chunks.windows(2).all(|pair| pair[0].range.max < pair[1].range.min));
    }

    #[test]
    fn replay_takes_samples_in_any_order(
        order in prop::collection::vec(0i64..400, 1..600), block in prop::sample::select(vec![500i64, BLOCK_MS]),
    ) {
        let mut series = Series::default();
        let mut expected = std::collections::BTreeMap::new();
        for time in order {
            let new = expected.insert(time * 10, (time as f64).to_bits()).is_none();
            let verdict = series.insert(time * 10, &Value::Float(time as f64), 0, block);
            prop_assert_eq!(verdict == Verdict::Stored, new);
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

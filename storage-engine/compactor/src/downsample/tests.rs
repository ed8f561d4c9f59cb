//! The vectors of `TestDownsample` in Thanos' pkg/compact/downsample/downsample_test.go.

use format::{Aggregate, AggregateChunk, ChunkSample, ENCODING_XOR, Recoder, XorAppender, decode_chunk};
use model::{CounterResetHint, FloatHistogram, NativeHistogram, SampleColumns, TimeRange, stale_nan};
use tsdb::levels::MergedChunk;

use super::{aggregates, of_raw, target_chunks};

type Samples<'a> = &'a [(i64, f64)];

fn xor(samples: Samples<'_>) -> Vec<u8> {
    let (mut appender, mut bytes) = (XorAppender::EMPTY, Vec::new());
    samples.iter().for_each(|(time, value)| appender.append(&mut bytes, *time, *value));
    bytes
}

fn raw(samples: Samples<'_>) -> MergedChunk {
    let range = TimeRange::new(samples[0].0, samples[samples.len() - 1].0);
    MergedChunk { source: 0, range, encoding: ENCODING_XOR, data: xor(samples) }
}

fn samples(chunk: &MergedChunk, aggregate: Aggregate) -> Vec<(i64, f64)> {
    let parts = AggregateChunk::decode(&chunk.data).expect("a chunk of aggregates");
    let (encoding, data) = parts.get(aggregate).expect("it is there");
    let mut columns = SampleColumns::default();
    decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, &mut columns).expect("a chunk");
    columns.timestamps_ms.into_iter().zip(columns.values).collect()
}

/// Count, sum, min, max, counter of the one chunk.
fn check(chunks: &[MergedChunk], expected: [Samples<'_>; 5]) {
    assert_eq!(chunks.len(), 1);
    for (aggregate, expected) in Aggregate::ALL.into_iter().zip(expected) {
        assert_eq!(samples(&chunks[0], aggregate), expected, "{aggregate:?}");
    }
    let counts = expected[0];
    assert_eq!(chunks[0].range.min, counts[0].0);
}

#[test]
fn one_chunk_with_a_reset_and_a_stale_marker() {
    let stale = stale_nan();
    let chunk = raw(&[
        (20, 1.0),
        (40, 2.0),
        (60, 3.0),
        (80, 1.0),
        (100, 2.0),
        (101, stale),
        (120, 5.0),
        (180, 10.0),
        (250, 1.0),
    ]);
    check(
        &of_raw(&[chunk], 100).expect("floats"),
        [
            &[(99, 4.0), (199, 3.0), (250, 1.0)],
            &[(99, 7.0), (199, 17.0), (250, 1.0)],
            &[(99, 1.0), (199, 2.0), (250, 1.0)],
            &[(99, 3.0), (199, 10.0), (250, 1.0)],
            &[(20, 1.0), (99, 4.0), (199, 13.0), (250, 14.0), (250, 1.0)],
        ],
    );
}

#[test]
fn three_chunks_become_one() {
    let stale = stale_nan();
    let chunks = [
        raw(&[
            (20, 1.0),
            (40, 2.0),
            (60, 3.0),
            (80, 1.0),
            (100, 2.0),
            (101, stale),
            (120, 5.0),
            (180, 10.0),
            (250, 2.0),
        ]),
        raw(&[(260, 1.0), (300, 10.0), (340, 15.0), (380, 25.0), (420, 35.0)]),
        raw(&[(460, stale), (500, 10.0), (540, 3.0)]),
    ];
    check(
        &of_raw(&chunks, 100).expect("floats"),
        [
            &[(99, 4.0), (199, 3.0), (299, 2.0), (399, 3.0), (499, 1.0), (540, 2.0)],
            &[(99, 7.0), (199, 17.0), (299, 3.0), (399, 50.0), (499, 35.0), (540, 13.0)],
            &[(99, 1.0), (199, 2.0), (299, 1.0), (399, 10.0), (499, 35.0), (540, 3.0)],
            &[(99, 3.0), (199, 10.0), (299, 2.0), (399, 25.0), (499, 35.0), (540, 10.0)],
            &[
                (20, 1.0),
                (99, 4.0),
                (199, 13.0),
                (299, 16.0),
                (399, 40.0),
                (499, 50.0),
                (540, 63.0),
                (540, 3.0),
            ],
        ],
    );
}

#[test]
fn values_that_are_no_numbers_are_left_out() {
    let nan = f64::NAN;
    let chunks = [
        raw(&[(20, nan), (40, nan), (60, nan), (250, nan)]),
        raw(&[(260, 1.0), (300, 10.0), (340, 15.0), (380, 25.0), (420, 35.0)]),
        raw(&[(460, stale_nan()), (500, 10.0), (540, 3.0)]),
    ];
    check(
        &of_raw(&chunks, 100).expect("floats"),
        [
            &[(299, 1.0), (399, 3.0), (499, 1.0), (540, 2.0)],
            &[(299, 1.0), (399, 50.0), (499, 35.0), (540, 13.0)],
            &[(299, 1.0), (399, 10.0), (499, 35.0), (540, 3.0)],
            &[(299, 1.0), (399, 25.0), (499, 35.0), (540, 10.0)],
            &[(260, 1.0), (299, 1.0), (399, 25.0), (499, 35.0), (540, 48.0), (540, 3.0)],
        ],
    );
    assert_eq!(of_raw(&[raw(&[(20, nan)])], 100).expect("floats"), []);
}

#[test]
fn windows_become_longer_windows_and_counters_go_on_between_chunks() {
    let five: [Samples<'_>; 5] = [
        &[(199, 5.0), (299, 1.0), (399, 10.0), (400, 3.0), (499, 10.0), (699, 0.0), (999, 100.0)],
        &[(199, 5.0), (299, 1.0), (399, 10.0), (400, 3.0), (499, 10.0), (699, 0.0), (999, 100.0)],
        &[(199, 5.0), (299, 1.0), (399, 10.0), (400, -3.0), (499, 10.0), (699, 0.0), (999, 100.0)],
        &[(199, 5.0), (299, 1.0), (399, 10.0), (400, -3.0), (499, 10.0), (699, 0.0), (999, 100.0)],
        // Three chunks: the second goes on where the first ended, the third was reset.
        &[
            (99, 100.0),
            (299, 150.0),
            (499, 210.0),
            (499, 10.0),
            (599, 20.0),
            (799, 50.0),
            (999, 120.0),
            (999, 50.0),
            (1099, 40.0),
            (1199, 80.0),
            (1299, 110.0),
        ],
    ];
    let parts: Vec<Vec<u8>> = five.iter().map(|samples| xor(samples)).collect();
    let mut chunk = AggregateChunk::default();
    Aggregate::ALL
        .into_iter()
        .zip(&parts)
        .for_each(|(aggregate, data)| chunk.set(aggregate, ENCODING_XOR, data));
    let chunk = super::encode(TimeRange::new(199, 1299), &chunk);
    let longer = aggregates::downsample(&[chunk], 100, 500).expect("aggregates");
    let expected: [Samples<'_>; 5] = [
        &[(499, 29.0), (999, 100.0)],
        &[(499, 29.0), (999, 100.0)],
        &[(499, -3.0), (999, 0.0)],
        &[(499, 10.0), (999, 100.0)],
        &[(99, 100.0), (499, 210.0), (999, 320.0), (1299, 430.0), (1299, 110.0)],
    ];
    check(&longer, expected);
    // The same windows again change nothing.
    check(&aggregates::downsample(&longer, 500, 500).expect("aggregates"), expected);
}

#[test]
fn histograms_have_counts_sums_and_totals() {
    let histogram = |count: f64| FloatHistogram {
        schema: 0,
        count,
        zero_threshold: 0.001,
        zero_count: count,
        sum: count * 2.0,
        ..FloatHistogram::default()
    };
    let mut recoder = Recoder::default();
    for (time, count) in [(20, 1.0), (40, 3.0), (120, 2.0), (180, 5.0)] {
        let histogram = NativeHistogram::Float(std::sync::Arc::new(histogram(count)));
        recoder.push(time, &ChunkSample::Histogram(histogram));
    }
    let chunks: Vec<MergedChunk> = recoder
        .finish()
        .into_iter()
        .map(|(range, encoding, data)| MergedChunk { source: 0, range, encoding, data })
        .collect();
    let done = of_raw(&chunks, 100).expect("histograms");
    assert_eq!(done.len(), 1);
    assert_eq!(samples(&done[0], Aggregate::Count), [(99, 2.0), (180, 2.0)]);
    let parts = AggregateChunk::decode(&done[0].data).expect("a chunk of aggregates");
    assert_eq!((parts.get(Aggregate::Min), parts.get(Aggregate::Max)), (None, None));
    // Sums of 1 + 3 and 2 + 5; the total is 3, then 3 + 2 because the counter fell, then 3 + 5.
    for (aggregate, expected, hint) in [
        (Aggregate::Sum, [4.0, 7.0], CounterResetHint::Gauge),
        (Aggregate::Counter, [3.0, 8.0], CounterResetHint::NotReset),
    ] {
        let (encoding, data) = parts.get(aggregate).expect("it is there");
        let mut columns = SampleColumns::default();
        decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, &mut columns).expect("a chunk");
        let counts: Vec<f64> = columns.histograms.iter().map(|(_, histogram)| histogram.count).collect();
        assert_eq!(counts, expected, "{aggregate:?}");
        assert_eq!(columns.histograms[1].1.counter_reset_hint, hint, "{aggregate:?}");
    }
}

#[test]
fn chunks_have_fewer_than_140_windows() {
    const D: i64 = 86_400_000;
    for (span_ms, samples, expected) in [
        // 576 windows of 5 minutes in two days.
        (2 * D, 11_520, 5),
        // Half filled by samples every two minutes.
        (2 * D, 1440, 3),
        (0, 1, 1),
        (D / 24, 240, 1),
    ] {
        assert_eq!(target_chunks(0, span_ms, 60_000, 300_000, samples), expected, "{span_ms} ms");
    }
}

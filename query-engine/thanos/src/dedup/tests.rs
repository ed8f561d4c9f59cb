use model::{FloatHistogram, SampleColumns};

use super::{DedupFunction, dedup};

fn columns(samples: &[(i64, f64)]) -> SampleColumns {
    let mut columns = SampleColumns::default();
    samples.iter().for_each(|(time, value)| columns.push(*time, *value));
    columns
}

fn found(columns: &SampleColumns) -> Vec<(i64, f64)> {
    columns.timestamps_ms.iter().copied().zip(columns.values.iter().copied()).collect()
}

fn check(function: DedupFunction, is_counter: bool, replicas: &[&[(i64, f64)]], want: &[(i64, f64)]) {
    let merged = dedup(replicas.iter().map(|samples| columns(samples)).collect(), function, is_counter);
    assert_eq!(found(&merged), want, "{replicas:?}");
}

fn seconds(times: &[i64], value: f64) -> Vec<(i64, f64)> {
    times.iter().map(|time| (*time, value)).collect()
}

/// The table of TestDedupSeriesIterator in pkg/dedup/iter_test.go.
#[test]
fn penalty_chooses_as_thanos() {
    let penalty = |replicas: &[&[(i64, f64)]], want: &[(i64, f64)]| {
        check(DedupFunction::Penalty, false, replicas, want);
    };
    // The first series is preferred.
    penalty(
        &[
            &[(10_000, 10.0), (20_000, 11.0), (30_000, 12.0), (40_000, 13.0)],
            &[(10_000, 20.0), (20_000, 21.0), (30_000, 22.0), (40_000, 23.0)],
        ],
        &[(10_000, 10.0), (20_000, 11.0), (30_000, 12.0), (40_000, 13.0)],
    );
    let whole = seconds(&[10_000, 20_000, 30_000, 40_000], 2.0);
    // The one that begins first is.
    penalty(&[&seconds(&[10_100, 20_100, 30_100, 40_100], 1.0), &whole], &whole);
    // A gap of one sample is left.
    let gap = seconds(&[10_000, 20_000, 40_000], 1.0);
    penalty(&[&gap, &whole], &gap);
    penalty(&[&gap, &seconds(&[15_000, 25_000, 35_000, 45_000], 2.0)], &gap);
    // A longer one is filled, and then the other series is stayed with.
    penalty(
        &[
            &seconds(&[10_000, 20_000, 30_000, 60_000, 70_000], 1.0),
            &seconds(&[10_100, 20_100, 30_100, 40_100, 50_100, 60_100], 2.0),
        ],
        &[(10_000, 1.0), (20_000, 1.0), (30_000, 1.0), (50_100, 2.0), (60_100, 2.0)],
    );
}

#[test]
fn replicas_without_samples_change_nothing() {
    for function in [DedupFunction::Penalty, DedupFunction::Chain, DedupFunction::Union] {
        check(function, true, &[], &[]);
        check(function, true, &[&[], &[]], &[]);
        let one = [(1, 1.0), (9_999_999, 2.0)];
        check(function, true, &[&one], &one);
        check(function, false, &[&[], &one], &one);
        check(function, false, &[&one, &[]], &one);
    }
}

#[test]
fn a_counter_does_not_fall_when_the_replica_changes() {
    // The second replica missed 40 of what the first one saw.
    let a = [(10_000, 100.0), (20_000, 110.0), (30_000, 120.0)];
    let b =
        [(10_100, 60.0), (20_100, 70.0), (30_100, 80.0), (40_100, 90.0), (50_100, 100.0), (60_100, 110.0)];
    // Chosen: a until it ends, then b from 30,000 + 1 + 20,000 ms on, lifted by 120 - 100.
    let want = [(10_000, 100.0), (20_000, 110.0), (30_000, 120.0), (50_100, 120.0), (60_100, 130.0)];
    check(DedupFunction::Penalty, true, &[&a, &b], &want);
    let plain = [(10_000, 100.0), (20_000, 110.0), (30_000, 120.0), (50_100, 100.0), (60_100, 110.0)];
    check(DedupFunction::Penalty, false, &[&a, &b], &plain);
}

#[test]
fn chain_has_every_time_once_and_the_first_replica_wins() {
    check(
        DedupFunction::Chain,
        false,
        &[&[(1, 1.0), (3, 1.0)], &[(1, 2.0), (2, 2.0), (4, 2.0)], &[(4, 3.0), (5, 3.0)]],
        &[(1, 1.0), (2, 2.0), (3, 1.0), (4, 2.0), (5, 3.0)],
    );
}

#[test]
fn histograms_follow_their_times() {
    let histogram = |count: f64| std::sync::Arc::new(FloatHistogram { count, ..FloatHistogram::default() });
    let mut histograms = SampleColumns::default();
    for (time, count) in [(10_000, 1.0), (20_000, 2.0), (30_000, 3.0)] {
        histograms.push_histogram(time, histogram(count));
    }
    for function in [DedupFunction::Penalty, DedupFunction::Chain, DedupFunction::Union] {
        for replicas in
            [[histograms.clone(), columns(&[(0, 7.0)])], [columns(&[(0, 7.0)]), histograms.clone()]]
        {
            let merged = dedup(replicas.to_vec(), function, true);
            assert_eq!(merged.timestamps_ms, [0, 10_000, 20_000, 30_000], "{function:?}");
            assert_eq!(merged.values[0], 7.0);
            let counts: Vec<(usize, f64)> =
                merged.histograms.iter().map(|(at, histogram)| (*at, histogram.count)).collect();
            assert_eq!(counts, [(1, 1.0), (2, 2.0), (3, 3.0)], "{function:?}");
        }
    }
}

#[test]
fn stale_markers_stay_what_they_are() {
    let marker = model::stale_nan();
    for function in [DedupFunction::Penalty, DedupFunction::Chain, DedupFunction::Union] {
        let replicas = [[(10_000, 1.0), (20_000, marker)], [(10_100, 1.0), (20_100, marker)]];
        let merged = dedup(replicas.iter().map(|samples| columns(samples)).collect(), function, false);
        assert!(merged.values[1..].iter().any(|value| model::is_stale_nan(*value)), "{function:?}");
        assert!(merged.values.iter().all(|value| !value.is_nan() || model::is_stale_nan(*value)));
    }
}

#[test]
fn a_union_has_every_sample_and_is_the_same_in_any_order() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let replicas: [&[(i64, f64)]; 3] = [
        &[(1, 1.0), (2, stale), (5, 5.0)],
        &[(2, 2.0), (3, stale), (5, 4.0)],
        &[(3, 3.0), (4, -4.0), (6, stale)],
    ];
    let want = [(1, 1.0), (2, 2.0), (3, 3.0), (4, -4.0), (5, 5.0)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let replicas = order.map(|at| columns(replicas[at])).into();
        let merged = dedup(replicas, DedupFunction::Union, true);
        assert_eq!(found(&merged)[..5], want, "{order:?}");
        // Nobody has more to say about the end.
        assert_eq!(merged.timestamps_ms[5], 6);
        assert_eq!(merged.values[5].to_bits(), stale.to_bits());
    }
}

#[test]
fn of_a_histogram_and_a_float_of_one_time_the_union_has_the_histogram() {
    let histogram = |count: f64| {
        let mut columns = SampleColumns::default();
        columns.push_histogram(1, FloatHistogram { count, ..FloatHistogram::default() }.into());
        columns
    };
    for replicas in [
        [histogram(2.0), columns(&[(1, 9.0)])],
        [columns(&[(1, 9.0)]), histogram(2.0)],
        [histogram(1.0), histogram(2.0)],
    ] {
        let merged = dedup(replicas.into(), DedupFunction::Union, false);
        assert_eq!(merged.histograms.len(), 1);
        assert_eq!(merged.histograms[0].1.count, 2.0);
    }
}

use model::{SampleColumns, TimeRange};

use super::{Wanted, columns};
use crate::series_frame::{AggrChunk, Aggregate, RawChunk};
use crate::testing::{raw, xor};

fn found(chunks: &[AggrChunk], wanted: Wanted, range: TimeRange) -> Vec<(i64, f64)> {
    let SampleColumns { timestamps_ms, values, .. } = columns(chunks, wanted, range).expect("decodes");
    timestamps_ms.into_iter().zip(values).collect()
}

/// A downsampled chunk with the parts that are given: count, sum, min, max, counter.
fn downsampled(parts: [Option<&[(i64, f64)]>; 5]) -> AggrChunk {
    let part = |samples: &[(i64, f64)]| RawChunk { encoding: 1, data: xor(samples).data };
    let range = TimeRange::new(0, 1_000_000);
    AggrChunk { range, raw: None, aggregates: Some(Box::new(parts.map(|samples| samples.map(part)))) }
}

#[test]
fn functions_choose_aggregates_as_thanos() {
    for (function, want) in [
        ("", Wanted::Average),
        ("sum", Wanted::Average),
        ("avg_over_time", Wanted::Average),
        ("delta", Wanted::Average),
        ("min", Wanted::One(Aggregate::Min)),
        ("min_over_time", Wanted::One(Aggregate::Min)),
        ("max", Wanted::One(Aggregate::Max)),
        ("count", Wanted::One(Aggregate::Count)),
        ("count_over_time", Wanted::One(Aggregate::Count)),
        ("sum_over_time", Wanted::One(Aggregate::Sum)),
        ("rate", Wanted::One(Aggregate::Counter)),
        ("increase", Wanted::One(Aggregate::Counter)),
    ] {
        assert_eq!(Wanted::for_function(function), want, "{function}");
    }
    assert_eq!(Wanted::Average.numbers(), [1, 2]);
}

#[test]
fn overlaps_are_left_out_and_the_range_is_kept() {
    let chunks = [raw(&[(10, 1.0), (20, 2.0)]), raw(&[(15, 9.0), (20, 9.0), (30, 3.0)]), raw(&[(40, 4.0)])];
    let all = [(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)];
    assert_eq!(found(&chunks, Wanted::Average, TimeRange::ALL), all);
    assert_eq!(found(&chunks, Wanted::One(Aggregate::Max), TimeRange::new(20, 30)), all[1..3]);
}

#[test]
fn a_counter_has_no_resets_left() {
    let nan = f64::NAN;
    // From 30 it falls to 5: 5 more. A stale marker is not shown.
    let chunks = [raw(&[(10, 20.0), (20, 30.0)]), raw(&[(30, 5.0), (40, nan), (50, 7.0)])];
    let counter = Wanted::One(Aggregate::Counter);
    assert_eq!(found(&chunks, counter, TimeRange::ALL), [(10, 20.0), (20, 30.0), (30, 35.0), (50, 37.0)]);
    // The total goes on from before the range.
    assert_eq!(found(&chunks, counter, TimeRange::new(30, 60)), [(30, 35.0), (50, 37.0)]);
}

#[test]
fn the_last_value_of_a_downsampled_counter_tells_of_a_reset_between_chunks() {
    // The first chunk ends with the total 50 and the raw value 10 at the same time; the next begins with the raw value 12.
    let first = downsampled([None, None, None, None, Some(&[(100, 30.0), (200, 50.0), (200, 10.0)])]);
    let second = downsampled([None, None, None, None, Some(&[(250, 12.0), (300, 15.0), (300, 15.0)])]);
    let counter = Wanted::One(Aggregate::Counter);
    let want = [(100, 30.0), (200, 50.0), (250, 52.0), (300, 55.0)];
    assert_eq!(found(&[first, second], counter, TimeRange::ALL), want);
}

#[test]
fn downsampled_data_is_averaged_unless_an_aggregate_is_wanted() {
    let chunk = downsampled([
        Some(&[(100, 2.0), (200, 4.0)]),
        Some(&[(100, 10.0), (200, 10.0)]),
        Some(&[(100, 1.0), (200, 2.0)]),
        Some(&[(100, 9.0), (200, 8.0)]),
        None,
    ]);
    let chunks = [chunk, raw(&[(300, 7.0)])];
    let all = TimeRange::ALL;
    assert_eq!(found(&chunks, Wanted::Average, all), [(100, 5.0), (200, 2.5), (300, 7.0)]);
    assert_eq!(found(&chunks, Wanted::One(Aggregate::Min), all), [(100, 1.0), (200, 2.0), (300, 7.0)]);
    assert_eq!(found(&chunks, Wanted::One(Aggregate::Count), all), [(100, 2.0), (200, 4.0), (300, 7.0)]);
}

#[test]
fn chunks_that_cannot_be_read_are_errors() {
    let only_count = downsampled([Some(&[(100, 1.0)]), None, None, None, None]);
    assert!(columns(&[only_count], Wanted::Average, TimeRange::ALL).is_err());
    let apart = downsampled([Some(&[(100, 1.0)]), Some(&[(101, 1.0)]), None, None, None]);
    assert!(columns(&[apart], Wanted::Average, TimeRange::ALL).is_err());
    let mut damaged = raw(&[(1, 1.0), (2, 2.0), (3, 9.5)]);
    let data = damaged.raw.as_ref().expect("raw").data.clone();
    damaged.raw = Some(RawChunk { encoding: 1, data: data.slice(..data.len() - 2) });
    assert!(columns(&[damaged], Wanted::Average, TimeRange::ALL).is_err());
}

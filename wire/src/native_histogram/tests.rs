use std::sync::Arc;

use model::{
    BucketSpan, Buckets, FloatHistogram, IntegerBuckets, IntegerHistogram, NativeHistogram, stale_nan,
};

use super::{float, integer};

fn spans(list: &[(i32, u32)]) -> Vec<BucketSpan> {
    list.iter().map(|&(offset, length)| BucketSpan { offset, length }).collect()
}

fn histogram(schema: i32, count: u64, list: &[(i32, u32)], deltas: &[i64]) -> IntegerHistogram {
    let positive = IntegerBuckets { spans: spans(list), deltas: deltas.to_vec() };
    IntegerHistogram { schema, count, positive, ..IntegerHistogram::default() }
}

#[test]
fn sound_and_stale_histograms_are_taken_as_they_are() {
    for sound in [
        histogram(8, 3, &[(-2, 1), (4, 1)], &[1, 1]),
        IntegerHistogram { sum: f64::NAN, ..histogram(0, 9, &[(0, 1)], &[1]) },
        IntegerHistogram { sum: stale_nan(), ..histogram(0, 0, &[], &[]) },
        IntegerHistogram { custom_values: Some(Arc::from([1.0, 2.0])), ..histogram(-53, 2, &[(2, 1)], &[2]) },
    ] {
        let NativeHistogram::Integer(taken) = integer(sound.clone()).expect("sound") else {
            panic!("integer")
        };
        assert_eq!(format!("{taken:?}"), format!("{sound:?}"));
    }
}

#[test]
fn unsound_histograms_and_unknown_schemas_are_refused() {
    for unsound in [
        histogram(53, 0, &[], &[]),
        histogram(-5, 0, &[], &[]),
        histogram(20, 1, &[(0, 2)], &[1]),
        histogram(0, 2, &[(0, 1)], &[1]),
    ] {
        assert!(integer(unsound.clone()).is_err(), "{unsound:?}");
    }
}

#[test]
fn resolutions_that_are_too_fine_become_the_finest_that_is_stored() {
    // Buckets 1 and 2 of schema 9 are bucket 1 of schema 8, 3 and 4 are bucket 2.
    let coarse = integer(histogram(9, 10, &[(1, 4)], &[1, 1, 1, 1]));
    assert_eq!(coarse, Ok(NativeHistogram::Integer(Arc::new(histogram(8, 10, &[(1, 2)], &[3, 4])))));

    let positive = Buckets { spans: spans(&[(-1, 1), (1, 1)]), counts: vec![0.5, 1.5] };
    let fine = FloatHistogram { schema: 10, count: 2.0, positive, ..FloatHistogram::default() };
    let NativeHistogram::Float(coarse) = float(fine).expect("sound") else { panic!("float") };
    assert_eq!(coarse.schema, 8);
    assert_eq!(coarse.positive.iter().collect::<Vec<_>>(), [(0, 0.5), (1, 1.5)]);
}

//! Which histograms may be stored; the cases follow those of Prometheus' `Validate`.

use std::sync::Arc;

use super::NativeHistogram;
use crate::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, FloatHistogram, IntegerBuckets, IntegerHistogram, stale_nan,
};

fn spans(pairs: &[(i32, u32)]) -> Vec<BucketSpan> {
    pairs.iter().map(|&(offset, length)| BucketSpan { offset, length }).collect()
}

fn integer(change: impl FnOnce(&mut IntegerHistogram)) -> NativeHistogram {
    let mut histogram = IntegerHistogram {
        schema: 1,
        count: 12,
        zero_count: 2,
        sum: 19.4,
        positive: IntegerBuckets { spans: spans(&[(0, 2), (1, 2)]), deltas: vec![1, 1, -1, 0] },
        negative: IntegerBuckets { spans: spans(&[(-3, 2), (1, 2)]), deltas: vec![1, 1, -1, 0] },
        ..IntegerHistogram::default()
    };
    change(&mut histogram);
    NativeHistogram::Integer(Arc::new(histogram))
}

fn custom(bounds: &[f64], change: impl FnOnce(&mut FloatHistogram)) -> NativeHistogram {
    let mut histogram = FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 5.0,
        sum: 19.4,
        positive: Buckets { spans: spans(&[(0, 1), (1, 1)]), counts: vec![3.0, 2.0] },
        custom_values: Some(bounds.into()),
        ..FloatHistogram::default()
    };
    change(&mut histogram);
    NativeHistogram::Float(Arc::new(histogram))
}

#[test]
fn only_sound_histograms_may_be_stored() {
    let cases: [(NativeHistogram, &str); 15] = [
        (integer(|_| ()), ""),
        (integer(|h| (h.count, h.sum) = (13, f64::NAN)), ""),
        (integer(|h| (h.count, h.sum, h.positive.deltas) = (0, stale_nan(), Vec::new())), ""),
        (integer(|h| h.count = 13), "the buckets of the histogram have 12 observations, but its count is 13"),
        (
            integer(|h| (h.count, h.sum) = (11, f64::NAN)),
            "the buckets of the histogram have 12 observations, but its count is 11",
        ),
        (integer(|h| h.positive.deltas[2] = -3), "positive bucket 3 of the histogram has count -1"),
        (
            integer(|h| h.negative.spans[1].offset = -1),
            "negative span 2 of the histogram has the negative offset -1",
        ),
        (
            integer(|h| h.positive.spans[1].length = 3),
            "the positive spans of the histogram name 5 buckets, but it has 4",
        ),
        (
            integer(|h| h.schema = 9),
            "the histogram has schema 9, which must be between -4 and 8 for exponential buckets, or -53 for custom \
             buckets",
        ),
        (
            integer(|h| h.custom_values = Some([1.0].into())),
            "a histogram with exponential buckets must not have custom bounds",
        ),
        (custom(&[1.0, 2.0], |_| ()), ""),
        (custom(&[1.0], |_| ()), "the histogram has 1 custom bounds, too few for spans over 3 buckets"),
        (custom(&[2.0, 1.0], |_| ()), "custom bounds of a histogram must ascend, but 1 follows 2"),
        (custom(&[1.0, f64::INFINITY], |_| ()), "the last custom bound of a histogram must be finite"),
        (custom(&[1.0, 2.0], |h| h.positive.counts[1] = -2.0), "the histogram has the negative count -2"),
    ];
    for (histogram, expected) in cases {
        let got = histogram.validate().map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(got, expected, "{histogram:?}");
    }
}

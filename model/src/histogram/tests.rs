use super::{BucketSpan, Buckets, CounterResetHint, FloatHistogram, IntegerBuckets, IntegerHistogram};

fn histogram(schema: i32, positive: &[(i32, f64)]) -> FloatHistogram {
    let count = positive.iter().map(|(_, count)| count).sum();
    FloatHistogram {
        schema,
        count,
        sum: count * 2.0,
        positive: Buckets::from_pairs(positive.iter().copied()),
        ..FloatHistogram::default()
    }
}

#[test]
fn buckets_keep_their_indices_through_spans() {
    let pairs = [(-3, 1.0), (-2, 2.0), (5, 3.0)];
    let buckets = Buckets::from_pairs(pairs);
    assert_eq!(buckets.iter().collect::<Vec<_>>(), pairs);
    let spans: Vec<_> = buckets.spans.iter().map(|span| (span.offset, span.length)).collect();
    assert_eq!(spans, [(-3, 2), (6, 1)]);
}

#[test]
fn exponential_bounds_are_powers_of_the_base() {
    let first = |schema, index| {
        let bucket = histogram(schema, &[(index, 1.0)]).positive_buckets().next().expect("one bucket");
        (bucket.lower, bucket.upper)
    };
    assert_eq!(first(0, 1), (1.0, 2.0));
    assert_eq!(first(0, 0), (0.5, 1.0));
    assert_eq!(first(-1, 1), (1.0, 4.0));
    let (lower, upper) = first(1, 1);
    assert_eq!(lower, 1.0);
    assert!((upper - 2f64.sqrt()).abs() < 1e-15);
}

#[test]
fn adding_takes_the_coarser_resolution() {
    let mut fine = histogram(1, &[(1, 1.0), (2, 2.0), (3, 4.0)]);
    fine.add(&histogram(0, &[(1, 10.0)])).expect("both are exponential");
    // Buckets 1 and 2 of schema 1 are bucket 1 of schema 0, bucket 3 is bucket 2.
    assert_eq!(fine.positive.iter().collect::<Vec<_>>(), [(1, 13.0), (2, 4.0)]);
    assert_eq!((fine.schema, fine.count), (0, 17.0));
}

#[test]
fn a_smaller_count_is_a_reset_and_a_hint_overrides_it() {
    let before = histogram(0, &[(1, 3.0), (2, 3.0)]);
    let mut after = histogram(0, &[(1, 2.0), (2, 5.0)]);
    assert!(after.detect_reset(&before));
    after.counter_reset_hint = CounterResetHint::NotReset;
    assert!(!after.detect_reset(&before));
    assert!(!histogram(0, &[(1, 3.0), (2, 3.0)]).detect_reset(&before));
}

#[test]
fn histograms_print_as_in_go() {
    let mut shown = histogram(0, &[(1, 1.0), (2, 2.0)]);
    shown.zero_threshold = 0.001;
    shown.zero_count = 1.0;
    assert_eq!(shown.to_string(), "{count:3, sum:6, [-0.001,0.001]:1, (1,2]:1, (2,4]:2}");
}

#[test]
fn an_integer_histogram_reads_as_floats_with_absolute_counts() {
    let integer = IntegerHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2,
        count: 11,
        sum: 1.5,
        positive: IntegerBuckets {
            spans: vec![BucketSpan { offset: -1, length: 3 }],
            deltas: vec![1, 3, -2],
        },
        negative: IntegerBuckets { spans: vec![BucketSpan { offset: 0, length: 1 }], deltas: vec![2] },
        custom_values: None,
    };
    let float = integer.to_float();
    assert_eq!(float.positive.iter().collect::<Vec<_>>(), [(-1, 1.0), (0, 4.0), (1, 2.0)]);
    assert_eq!(float.negative.iter().collect::<Vec<_>>(), [(0, 2.0)]);
    assert_eq!((float.count, float.zero_count, float.sum), (11.0, 2.0, 1.5));
    assert_eq!(float.counter_reset_hint, CounterResetHint::Gauge);
}

//! Items read back as they were, have the bytes of their page, and damaged ones are refused.

use std::sync::Arc;

use model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, IntegerBuckets,
    IntegerHistogram, NativeHistogram,
};

use proptest::prelude::*;

use super::{
    DeletionItem, ItemPlace, put_deletion, put_exemplar, put_histogram, read_deletions, read_exemplars,
    read_histogram_items,
};

fn spans() -> Vec<BucketSpan> {
    vec![BucketSpan { offset: -3, length: 2 }, BucketSpan { offset: 1, length: 1 }]
}

fn integer() -> NativeHistogram {
    NativeHistogram::Integer(Arc::new(IntegerHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 7,
        count: 300,
        sum: -2.5,
        positive: IntegerBuckets { spans: spans(), deltas: vec![1, 200, -150] },
        ..IntegerHistogram::default()
    }))
}

fn custom() -> NativeHistogram {
    NativeHistogram::Float(Arc::new(FloatHistogram {
        counter_reset_hint: CounterResetHint::NotReset,
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 3.5,
        sum: 1.0,
        positive: Buckets { spans: vec![BucketSpan { offset: 0, length: 2 }], counts: vec![0.5, 3.0] },
        custom_values: Some([0.1, 0.2, 5.0].into()),
        ..FloatHistogram::default()
    }))
}

const PLACE: ItemPlace = ItemPlace { shard: 3, local: 70_000, timestamp_ms: -1 };

#[test]
fn histograms_read_back_and_no_cut_is_taken_for_whole() {
    let (mut out, mut first) = (Vec::new(), 0);
    for histogram in [integer(), custom()] {
        put_histogram(&mut out, PLACE, &histogram);
        if first == 0 {
            first = out.len();
        }
    }
    let mut seen = Vec::new();
    read_histogram_items(&out, |place, histogram| seen.push((place, histogram))).expect("just written");
    assert_eq!(seen, [(PLACE, integer()), (PLACE, custom())]);
    for len in (1..first).chain(first + 1..out.len()) {
        assert!(read_histogram_items(&out[..len], |_, _| ()).is_err(), "cut at {len}");
    }
}

#[test]
fn items_have_the_documented_bytes() {
    let mut out = Vec::new();
    put_histogram(&mut out, ItemPlace { shard: 1, local: 2, timestamp_ms: 3 }, &integer());
    let expected = [
        // Place, flags (integer, gauge, no custom bounds), schema.
        &[1, 2, 6, 0b0000_0110, 6][..],
        &1e-128_f64.to_be_bytes(),
        // Counts and sum.
        &[7, 0xac, 0x02, 0xc0, 0x04, 0, 0, 0, 0, 0, 0],
        // Positive spans and deltas, no negative ones.
        &[2, 5, 2, 2, 1, 3, 2, 0x90, 0x03, 0xab, 0x02, 0, 0],
    ]
    .concat();
    assert_eq!(out, expected);
    out.clear();
    put_exemplar(&mut out, ItemPlace { shard: 1, local: 2, timestamp_ms: 3 }, 1.0, [("a", "b")].into_iter());
    assert_eq!(out, [1, 2, 6, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 1, 1, b'a', 1, b'b']);
    out.clear();
    put_deletion(
        &mut out,
        DeletionItem { place: ItemPlace { shard: 1, local: 2, timestamp_ms: -1 }, last_ms: 1 },
    );
    assert_eq!(out, [1, 2, 1, 2]);
}

#[test]
fn exemplars_and_deletions_read_back() {
    let mut out = Vec::new();
    put_exemplar(&mut out, PLACE, 0.25, [("span", "é"), ("trace", "1")].into_iter());
    let mut seen = Vec::new();
    read_exemplars(&out, |item| seen.push(format!("{:?} {} {:?}", item.place, item.value, item.labels)))
        .expect("just written");
    assert_eq!(seen, [format!(r#"{PLACE:?} 0.25 [("span", "é"), ("trace", "1")]"#)]);
    let item = DeletionItem { place: PLACE, last_ms: i64::MAX };
    out.clear();
    put_deletion(&mut out, item);
    let mut seen = Vec::new();
    read_deletions(&out, |item| seen.push(item)).expect("just written");
    assert_eq!(seen, [item]);
}

#[test]
fn a_false_count_reserves_nothing() {
    // A count of 2^62 spans.
    let mut bytes = vec![0, 0, 0, 1, 0];
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]);
    assert!(read_histogram_items(&bytes, |_, _| ()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_walked_or_refused_and_what_is_walked_encodes_to_the_same(
        noise in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut damaged = Vec::new();
        put_histogram(&mut damaged, PLACE, &integer());
        put_histogram(&mut damaged, PLACE, &custom());
        let at = at.index(damaged.len());
        damaged[at] = byte;
        for bytes in [&noise, &damaged] {
            let _ = read_exemplars(bytes, |item| assert!(item.labels.len() <= bytes.len()));
            let _ = read_deletions(bytes, |_| ());
            let _ = crate::head_record::read_chunks(bytes, |item| assert!(item.data.len() <= bytes.len()));
            let _ = read_histogram_items(bytes, |place, histogram| {
                let (mut record, mut again) = (Vec::new(), Vec::new());
                put_histogram(&mut record, place, &histogram);
                read_histogram_items(&record, |place, histogram| put_histogram(&mut again, place, &histogram))
                    .expect("just encoded");
                // Bit by bit: a sum may be any NaN.
                assert_eq!(record, again);
            });
        }
    }
}

//! Records read back exactly, have the bytes of their page, and damaged ones are refused.

use proptest::prelude::*;

use super::{
    MetadataItem, SampleEncoder, put_metadata, put_series, read_metadata, read_sections, read_series,
};

fn encode(samples: &[(u32, i64, f64)], shard: u32) -> Vec<u8> {
    let (mut encoder, mut out) = (SampleEncoder::default(), Vec::new());
    for &(local, time, value) in samples {
        encoder.push(local, time, value);
    }
    encoder.finish(shard, &mut out);
    out
}

fn decode(items: &[u8]) -> Vec<(u32, u32, i64, u64)> {
    let mut out = Vec::new();
    read_sections(items, |section| {
        section
            .read(|local, time, value| out.push((section.shard, local, time, value.to_bits())))
            .expect("just encoded");
    })
    .expect("just encoded");
    out
}

#[test]
fn samples_have_the_documented_bytes() {
    let bytes = encode(&[(5, 1000, 3.0), (6, 1000, -0.5), (4, 2000, 0.0)], 2);
    let expected: &[u8] = &[
        2, 3, // shard, samples
        3, 6, 3, // bytes of series, times, values
        10, 2, 3, // series +5, +1, −2
        2, 0xd0, 0x0f, 1, 0xd0, 0x0f, // two at +1000, one at +1000
        0x91, 0x00, // one integer byte, two float bytes; zero bytes
        6, 0xbf, 0xe0, // 3 zig-zagged, −0.5
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn series_and_metadata_read_back() {
    let mut out = Vec::new();
    put_series(&mut out, 3, 70_000, [("__name__", "up"), ("a", "é")].into_iter());
    put_series(&mut out, 0, 0, [].into_iter());
    let mut seen = Vec::new();
    let collect =
        |item: super::SeriesItem<'_>| seen.push(format!("{}/{} {:?}", item.shard, item.local, item.labels));
    read_series(&out, collect).expect("just written");
    assert_eq!(seen, [r#"3/70000 [("__name__", "up"), ("a", "é")]"#, "0/0 []"]);

    let item = MetadataItem { metric: "up", metric_type: 2, help: "Is it up?", unit: "" };
    out.clear();
    put_metadata(&mut out, &item);
    let mut count = 0;
    read_metadata(&out, |read| {
        assert_eq!(read, item);
        count += 1;
    })
    .expect("just written");
    assert_eq!(count, 1);
}

#[test]
fn a_label_count_that_lies_reserves_no_memory_and_is_refused() {
    let bytes = [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0];
    assert!(read_series(&bytes, |_| panic!("there is no whole item")).is_err());
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-1000i32..1000).prop_map(f64::from),
        any::<i64>().prop_map(|integer| integer as f64),
        prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, 0.5, f64::MIN_POSITIVE]),
        Just(f64::from_bits(0x7ff0_0000_0000_0002)),
    ]
}

proptest! {
    #[test]
    fn samples_read_back_bit_for_bit(
        samples in prop::collection::vec((any::<u32>(), prop_oneof![0i64..3, any::<i64>()], any_value()), 1..50),
        split in 0usize..50,
    ) {
        let (first, second) = samples.split_at(split.min(samples.len()));
        let bytes = [encode(first, 0), encode(second, 7)].concat();
        let of = |shard| move |&(local, time, value): &(u32, i64, f64)| (shard, local, time, value.to_bits());
        let expected: Vec<_> = first.iter().map(of(0)).chain(second.iter().map(of(7))).collect();
        prop_assert_eq!(decode(&bytes), expected);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = read_series(&bytes, |_| {});
        let _ = read_metadata(&bytes, |_| {});
        let _ = read_sections(&bytes, |section| drop(section.read(|_, _, _| {})));
    }
}

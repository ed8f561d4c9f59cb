//! Records and segments put together by hand, as record.go and wlog.go describe them.

use model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, NativeHistogram};

use super::{
    PAGE_BYTES, PrometheusCompression, PrometheusItem, read_prometheus_record, read_prometheus_segment,
};

/// A fragment: kind and flags, length, checksum, body.
fn fragment(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&u16::try_from(body.len()).expect("a page's worth").to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

type Record = (PrometheusCompression, Vec<u8>);

/// The records of a segment, and whether its end was torn (`Some`) and how far it was read.
fn records(segment: &[u8]) -> (Vec<Record>, Option<(bool, usize)>) {
    let mut found = Vec::new();
    let read =
        read_prometheus_segment(segment, |compression, record| found.push((compression, record.to_vec())));
    (found, read.err().map(|fault| (fault.is_torn, fault.offset)))
}

#[test]
fn records_come_whole_out_of_pages_and_fragments() {
    let mut segment = fragment(1, b"one");
    segment.extend(fragment(1 | 8, b"two"));
    // The rest of the page is unused, the next record takes two pages.
    segment.resize(PAGE_BYTES, 0);
    let long = vec![7; PAGE_BYTES];
    let room = PAGE_BYTES - 7;
    segment.extend(fragment(2 | 16, &long[..room]));
    segment.extend(fragment(4 | 16, &long[room..]));
    use PrometheusCompression::{None as Plain, Snappy, Zstd};
    let all = vec![(Plain, b"one".to_vec()), (Snappy, b"two".to_vec()), (Zstd, long)];
    assert_eq!(records(&segment), (all.clone(), None));

    let cut = &segment[..segment.len() - 1];
    assert_eq!(
        records(cut),
        (all[..2].to_vec(), Some((true, 2 * PAGE_BYTES))),
        "torn inside the last fragment"
    );
    let cut = &segment[..2 * PAGE_BYTES];
    assert_eq!(records(cut), (all[..2].to_vec(), Some((true, 2 * PAGE_BYTES))), "torn between two fragments");

    segment[12] ^= 1;
    assert_eq!(records(&segment), (all[..1].to_vec(), Some((false, 10))), "a flipped bit is no torn end");
    let wrong_order = fragment(3, b"middle");
    assert_eq!(records(&wrong_order), (vec![], Some((false, 0))));
}

/// Items of a record as text, which is enough to compare them.
fn items(record: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let known = read_prometheus_record(record, |item| found.push(format!("{item:?}"))).expect("is sound");
    assert!(known);
    found
}

#[test]
fn floats_of_both_versions_are_read() {
    // Base series 100 and time 1000; +1, −2 and 1.5; −1, 0 and 2.
    let mut first = vec![2];
    first.extend_from_slice(&100u64.to_be_bytes());
    first.extend_from_slice(&1000i64.to_be_bytes());
    first.extend_from_slice(&[2, 3]);
    first.extend_from_slice(&1.5f64.to_be_bytes());
    first.extend_from_slice(&[1, 0]);
    first.extend_from_slice(&2f64.to_be_bytes());
    // Series 3, time 5, start 0; then +1, +1, with a start time that is told; then +2, −1, with that of before.
    let mut second = vec![11, 6, 10, 0];
    second.extend_from_slice(&1.5f64.to_be_bytes());
    second.extend_from_slice(&[2, 2, 2, 9]);
    second.extend_from_slice(&2f64.to_be_bytes());
    second.extend_from_slice(&[4, 1, 1]);
    second.extend_from_slice(&3f64.to_be_bytes());
    let float = |series, time_ms, value| format!("{:?}", PrometheusItem::Float { series, time_ms, value });
    assert_eq!(items(&first), [float(101, 998, 1.5), float(99, 1000, 2.0)]);
    assert_eq!(items(&second), [float(3, 5, 1.5), float(4, 6, 2.0), float(6, 4, 3.0)]);
    assert_eq!(items(&[11]), [""; 0]);
}

#[test]
fn histograms_are_read() {
    let mut record = vec![9];
    record.extend_from_slice(&7u64.to_be_bytes());
    record.extend_from_slice(&50i64.to_be_bytes());
    // The same series and time; a gauge of schema −53, threshold 0, zero count 0, count 5, sum 2.5.
    record.extend_from_slice(&[0, 0, 3, 105]);
    record.extend_from_slice(&0f64.to_be_bytes());
    record.extend_from_slice(&[0, 5]);
    record.extend_from_slice(&2.5f64.to_be_bytes());
    // One span at 1 of two buckets, none negative; counts 3 and 3 − 1; one bound, 0.25.
    record.extend_from_slice(&[1, 2, 2, 0, 2, 6, 1, 0, 1]);
    record.extend_from_slice(&0.25f64.to_be_bytes());
    let mut found = Vec::new();
    read_prometheus_record(&record, |item| match item {
        PrometheusItem::Histogram { series, time_ms, histogram: NativeHistogram::Integer(histogram) } => {
            found.push((series, time_ms, histogram));
        }
        other => panic!("{other:?}"),
    })
    .expect("is sound");
    let [(7, 50, histogram)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(histogram.schema, CUSTOM_BUCKETS_SCHEMA);
    assert_eq!(histogram.counter_reset_hint, CounterResetHint::Gauge);
    assert_eq!((histogram.count, histogram.sum), (5, 2.5));
    assert_eq!(histogram.positive.spans, [BucketSpan { offset: 1, length: 2 }]);
    assert_eq!(histogram.positive.deltas, [3, -1]);
    assert_eq!(histogram.custom_values.as_deref(), Some([0.25].as_slice()));
}

#[test]
fn series_deletions_exemplars_and_metadata_are_read() {
    let mut series = vec![1];
    series.extend_from_slice(&9u64.to_be_bytes());
    series.extend_from_slice(b"\x01\x08__name__\x02up");
    let expected = PrometheusItem::Series { series: 9, labels: vec![("__name__", "up")] };
    assert_eq!(items(&series), [format!("{expected:?}")]);

    let mut deletion = vec![3];
    deletion.extend_from_slice(&9u64.to_be_bytes());
    deletion.extend_from_slice(&[1, 4]);
    let expected = PrometheusItem::Deletion { series: 9, first_ms: -1, last_ms: 2 };
    assert_eq!(items(&deletion), [format!("{expected:?}")]);

    let metadata = b"\x06\x09\x01\x03\x04TYPE\x01x\x04HELP\x01h\x04UNIT\x01s";
    let expected = PrometheusItem::Metadata { series: 9, metric_type: 1, help: "h", unit: "s" };
    assert_eq!(items(metadata), [format!("{expected:?}")]);

    let mut exemplar = vec![4];
    exemplar.extend_from_slice(&9u64.to_be_bytes());
    exemplar.extend_from_slice(&10i64.to_be_bytes());
    exemplar.extend_from_slice(&[0, 2]);
    exemplar.extend_from_slice(&1f64.to_be_bytes());
    exemplar.extend_from_slice(b"\x01\x01k\x01v");
    let expected = PrometheusItem::Exemplar { series: 9, time_ms: 11, value: 1.0, labels: vec![("k", "v")] };
    assert_eq!(items(&exemplar), [format!("{expected:?}")]);
    assert_eq!(read_prometheus_record(&[77, 1], |_| {}), Ok(false), "a type of a later version");
    assert_eq!(items(&[5, 1, 2, 3]), [""; 0], "references to chunks are passed over");
}

#[test]
fn damaged_records_are_errors() {
    for record in [
        &[][..],
        &[1, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        // A label count of 2^60.
        &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
        &[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0xff, 0],
        &[11, 6, 10],
    ] {
        let error = read_prometheus_record(record, |_| {}).expect_err("is damaged");
        assert!(error.to_string().starts_with("damaged write-ahead log of a Prometheus: "), "{error}");
    }
}

//! What streams of deltas become.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use prost::Message;

use super::DeltaStreams;

fn request(data: Data) -> Bytes {
    let metric = Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

/// The data of the one metric, and how many points went.
fn convert(streams: &mut DeltaStreams, data: Data) -> (Option<Data>, u64) {
    convert_of("tenant", streams, data)
}

fn convert_of(owner: &str, streams: &mut DeltaStreams, data: Data) -> (Option<Data>, u64) {
    let (payload, report) = streams.convert(owner, &request(data)).expect("is sound");
    let request = ExportMetricsServiceRequest::decode(&*payload).expect("is a request");
    let metrics = request.resource_metrics.into_iter().flat_map(|group| group.scope_metrics);
    let mut metrics = metrics.flat_map(|group| group.metrics);
    (metrics.next().and_then(|metric| metric.data), report.rejected_count())
}

fn streams() -> DeltaStreams {
    DeltaStreams::new(1000, 7)
}

fn sum(temporality: i32, points: &[(u64, u64, Value)]) -> Data {
    let point = |(start, time, value): &(u64, u64, Value)| NumberDataPoint {
        start_time_unix_nano: *start,
        time_unix_nano: *time,
        value: Some(*value),
        ..NumberDataPoint::default()
    };
    let data_points = points.iter().map(point).collect();
    Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic: true })
}

#[test]
fn numbers_add_up_and_their_metric_becomes_cumulative() {
    let mut streams = streams();
    let int = Value::AsInt;
    let (first, gone) = convert(&mut streams, sum(1, &[(5, 10, int(1)), (10, 20, int(2))]));
    assert_eq!((first, gone), (Some(sum(2, &[(5, 10, int(1)), (5, 20, int(3))])), 0));
    let (second, gone) = convert(&mut streams, sum(1, &[(20, 30, int(40))]));
    assert_eq!((second, gone), (Some(sum(2, &[(5, 30, int(43))])), 0));
    let (other, _) = convert_of("other", &mut streams, sum(1, &[(20, 30, int(40))]));
    assert_eq!(other, Some(sum(2, &[(20, 30, int(40))])), "streams of others are others");
}

#[test]
fn a_point_that_is_sent_again_counts_once_and_older_ones_go() {
    let mut streams = streams();
    let double = Value::AsDouble;
    convert(&mut streams, sum(1, &[(5, 10, double(1.0)), (10, 20, double(0.5))]));
    let (again, gone) = convert(&mut streams, sum(1, &[(5, 10, double(1.0)), (10, 20, double(0.5))]));
    assert_eq!((again, gone), (Some(sum(2, &[(5, 20, double(1.5))])), 1));
    let (older, gone) = convert(&mut streams, sum(1, &[(4, 30, double(9.0))]));
    assert_eq!((older, gone), (None, 1), "a metric without points goes");
    let (next, gone) = convert(&mut streams, sum(1, &[(20, 30, double(2.0))]));
    assert_eq!((next, gone), (Some(sum(2, &[(5, 30, double(3.5))])), 0));
}

#[test]
fn what_is_no_delta_stays_as_it_is() {
    let payload = request(sum(2, &[(5, 10, Value::AsInt(1))]));
    let (converted, report) = streams().convert("tenant", &payload).expect("is sound");
    assert_eq!((converted, report.rejected_count()), (payload, 0));
}

fn histogram(temporality: i32, start: u64, time: u64, bounds: &[f64], counts: &[u64], sum: f64) -> Data {
    let point = HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: counts.iter().sum(),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    };
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: temporality })
}

#[test]
fn histograms_add_up_until_their_bounds_change() {
    let mut streams = streams();
    convert(&mut streams, histogram(1, 5, 10, &[1.0, 2.0], &[1, 2, 3], 9.0));
    let (added, _) = convert(&mut streams, histogram(1, 10, 20, &[1.0, 2.0], &[10, 0, 1], 6.5));
    assert_eq!(added, Some(histogram(2, 5, 20, &[1.0, 2.0], &[11, 2, 4], 15.5)));
    let (other, _) = convert(&mut streams, histogram(1, 20, 30, &[1.0, 3.0], &[1, 1, 1], 4.0));
    assert_eq!(other, Some(histogram(2, 20, 30, &[1.0, 3.0], &[1, 1, 1], 4.0)), "it begins again");
    let (added, _) = convert(&mut streams, histogram(1, 30, 40, &[1.0, 3.0], &[1, 0, 0], 0.5));
    assert_eq!(added, Some(histogram(2, 20, 40, &[1.0, 3.0], &[2, 1, 1], 4.5)));
}

fn exponential(temporality: i32, time: u64, scale: i32, offset: i32, counts: &[u64]) -> Data {
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: 5,
        time_unix_nano: time,
        count: counts.iter().sum(),
        sum: Some(counts.iter().sum::<u64>() as f64),
        scale,
        positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
        negative: Some(Buckets::default()),
        ..ExponentialHistogramDataPoint::default()
    };
    Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: temporality,
    })
}

#[test]
fn exponential_histograms_add_up_at_the_coarser_scale() {
    let mut streams = streams();
    // Indices -1 to 3 at scale 1 are -1, 0, 0, 1, 1 at scale 0.
    convert(&mut streams, exponential(1, 10, 1, -1, &[5, 1, 2, 3, 4]));
    let (added, _) = convert(&mut streams, exponential(1, 20, 0, 0, &[10, 20, 30]));
    assert_eq!(added, Some(exponential(2, 20, 0, -1, &[5, 13, 27, 30])));
    // So far apart that both fit into 160 buckets only when each has 2^3 of before: -1 to 1200 is -1 to 150.
    let (added, _) = convert(&mut streams, exponential(1, 30, 0, 1200, &[7]));
    let mut counts = vec![0; 152];
    (counts[0], counts[1], counts[151]) = (5, 70, 7);
    assert_eq!(added, Some(exponential(2, 30, -3, -1, &counts)));
}

#[test]
fn small_points_never_come_out_as_large_sums_again_and_again() {
    let mut streams = DeltaStreams::new(100_000, 7);
    let bounds: Vec<f64> = (0..1000).map(f64::from).collect();
    convert(&mut streams, histogram(1, 5, 10, &bounds, &[1; 1001], 9.0));
    assert_eq!(convert(&mut streams, histogram(1, 5, 10, &[], &[3], 9.0)), (None, 1));
    let again = histogram(1, 5, 10, &bounds, &[1; 1001], 9.0);
    assert_eq!(convert(&mut streams, again), (Some(histogram(2, 5, 10, &bounds, &[1; 1001], 9.0)), 0));
}

#[test]
fn memory_is_bounded_and_streams_in_use_are_kept() {
    let mut streams = DeltaStreams::new(10, 7);
    for round in 1..200u64 {
        let used = sum(1, &[(1, round * 10, Value::AsInt(1))]);
        let (data, _) = convert(&mut streams, used);
        assert_eq!(
            data,
            Some(sum(2, &[(1, round * 10, Value::AsInt(round.cast_signed()))])),
            "round {round}"
        );
        for number in 0..5u64 {
            let owner = format!("{round} {number}");
            streams.convert(&owner, &request(sum(1, &[(1, 10, Value::AsInt(1))]))).expect("is sound");
        }
        assert!(streams.young.len() + streams.old.len() <= 20);
    }
}

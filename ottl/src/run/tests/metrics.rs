//! Statements over metrics: what becomes of data points and of metrics made from metrics.

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary,
    SummaryDataPoint,
};
use prost::Message as _;

use super::{RunError, Statements};
use crate::ErrorMode;

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue((*value).to_owned())) }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

fn number(pairs: &[(&str, &str)], value: i64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(pairs),
        time_unix_nano: 9,
        value: Some(Number::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: "s".to_owned(), data: Some(data), ..Metric::default() }
}

/// The metrics after statements, which are one by one in what the collector calls a context.
fn run(metrics: Vec<Metric>, statements: &[&str]) -> Result<Vec<Metric>, RunError> {
    let texts: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
    let program = Statements::new(Signal::Metrics, None, &texts, &[], ErrorMode::Propagate)
        .unwrap_or_else(|error| panic!("{error}"));
    let scope = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
    let payload = Bytes::from(request.encode_to_vec());
    let payload = program.run(Signal::Metrics, &payload, 0, &|_, _| ())?.payload;
    let mut request = ExportMetricsServiceRequest::decode(payload).expect("well-formed");
    Ok(request.resource_metrics.remove(0).scope_metrics.remove(0).metrics)
}

fn gauge(points: Vec<NumberDataPoint>) -> Metric {
    metric("g", Data::Gauge(Gauge { data_points: points }))
}

fn ints(metric: &Metric) -> Vec<i64> {
    let points = match metric.data.as_ref().expect("data") {
        Data::Gauge(gauge) => &gauge.data_points,
        Data::Sum(sum) => &sum.data_points,
        other => panic!("no numbers: {other:?}"),
    };
    let int = |point: &NumberDataPoint| match point.value {
        Some(Number::AsInt(int)) => int,
        Some(Number::AsDouble(double)) => double as i64,
        None => panic!("a point without a value"),
    };
    points.iter().map(int).collect()
}

#[test]
fn points_of_equal_attributes_become_one() {
    let points = || {
        vec![
            number(&[("host", "a"), ("cpu", "0")], 4),
            number(&[("host", "a"), ("cpu", "1")], 9),
            number(&[("host", "b"), ("cpu", "0")], 2),
            number(&[("cpu", "2"), ("host", "a")], 5),
        ]
    };
    for (function, expected) in [
        ("sum", [18, 2]),
        ("mean", [6, 2]),
        ("min", [4, 2]),
        ("max", [9, 2]),
        ("median", [5, 2]),
        ("count", [3, 2]),
    ] {
        let statement =
            format!("aggregate_on_attributes(\"{function}\", [\"host\"]) where metric.name == \"g\"");
        let metrics = run(vec![gauge(points())], &[&statement]).expect("runs");
        assert_eq!(ints(&metrics[0]), expected, "{function}");
    }
    let statement =
        r#"aggregate_on_attribute_value("sum", "cpu", ["0", "1"], "low") where metric.name != """#;
    let metrics = run(vec![gauge(points())], &[statement]).expect("runs");
    assert_eq!(ints(&metrics[0]), [13, 2, 5]);
}

#[test]
fn metrics_that_statements_add_come_last_and_are_theirs_too() {
    let metrics = run(
        vec![gauge(vec![number(&[], 1)]), metric("h", Data::Gauge(Gauge::default()))],
        &[
            r#"copy_metric(name="copy", unit="m") where metric.name == "g""#,
            r#"set(metric.description, "seen") where metric.name == "copy""#,
        ],
    );
    let metrics = metrics.expect("runs");
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["g", "h", "copy"]);
    assert_eq!((metrics[2].unit.as_str(), metrics[2].description.as_str()), ("m", "seen"));
    assert_eq!(ints(&metrics[2]), [1]);
}

#[test]
fn a_statement_that_copies_every_metric_is_refused_rather_than_run_for_ever() {
    let error = run(vec![gauge(vec![number(&[], 1)])], &[r#"copy_metric() where metric.name == "g""#]);
    assert!(error.expect_err("never ends").to_string().contains("more than 100 times over"));
}

#[test]
fn counts_sums_quantiles_and_percentiles_become_metrics() {
    let histogram = HistogramDataPoint {
        attributes: attributes(&[("a", "b")]),
        count: 10,
        sum: Some(55.0),
        bucket_counts: vec![5, 5, 0],
        explicit_bounds: vec![10.0, 20.0],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![histogram], aggregation_temporality: 2 };
    let statements = [
        r#"extract_count_metric(true) where metric.name == "h""#,
        r#"extract_sum_metric(false, ".total") where metric.name == "h""#,
        r#"extract_percentile_metric(75.0) where metric.name == "h""#,
    ];
    let metrics = run(vec![metric("h", Data::Histogram(histogram))], &statements).expect("runs");
    let found: Vec<(&str, Vec<i64>)> =
        metrics[1..].iter().map(|metric| (metric.name.as_str(), ints(metric))).collect();
    // The 75th percentile: 8 values of 10, 3 of the 5 between 10 and 20.
    assert_eq!(found, [("h_count", vec![10]), ("h.total", vec![55]), ("h_p75", vec![16])]);

    let quantiles = vec![ValueAtQuantile { quantile: 0.5, value: 7.0 }];
    let point = |count| SummaryDataPoint {
        count,
        sum: 3.0,
        quantile_values: quantiles.clone(),
        ..SummaryDataPoint::default()
    };
    let summary = || metric("s", Data::Summary(Summary { data_points: vec![point(4), point(6)] }));
    let statement = r#"convert_summary_quantile_val_to_gauge() where metric.name == "s""#;
    let metrics = run(vec![summary()], &[statement]).expect("runs");
    assert_eq!((metrics[1].name.as_str(), ints(&metrics[1])), ("s.quantiles", vec![7, 7]));
    // Each point makes a metric of all of them, as upstream; later ones see what was set on earlier ones.
    let statements = [
        r#"set(datapoint.count, 5) where datapoint.count == 4"#,
        r#"convert_summary_count_val_to_sum("delta", true) where metric.type == METRIC_DATA_TYPE_SUMMARY"#,
    ];
    let metrics = run(vec![summary()], &statements).expect("runs");
    assert_eq!(metrics.len(), 3);
    assert_eq!(ints(&metrics[2]), [5, 6]);
}

#[test]
fn fewer_buckets_hold_as_many_values() {
    let point = HistogramDataPoint {
        count: 15,
        bucket_counts: vec![1, 2, 3, 4, 5],
        explicit_bounds: vec![1.0, 2.0, 3.0, 4.0],
        ..HistogramDataPoint::default()
    };
    let buckets = |statement: &str| {
        let histogram = Histogram { data_points: vec![point.clone()], aggregation_temporality: 1 };
        let metrics = run(vec![metric("h", Data::Histogram(histogram))], &[statement]).expect("runs");
        let Some(Data::Histogram(mut histogram)) = metrics[0].data.clone() else { panic!("a histogram") };
        let point = histogram.data_points.remove(0);
        (point.explicit_bounds, point.bucket_counts)
    };
    let all = "datapoint.count > 0";
    let removed = buckets(&format!("merge_histogram_buckets(2.0) where {all}"));
    assert_eq!(removed, (vec![1.0, 3.0, 4.0], vec![1, 5, 4, 5]));
    let limited = buckets(&format!("merge_histogram_buckets(3, \"limit_buckets\") where {all}"));
    assert_eq!(limited, (vec![2.0, 4.0], vec![3, 7, 5]));
}

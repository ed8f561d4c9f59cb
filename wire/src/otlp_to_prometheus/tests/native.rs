//! Native histograms, exemplars, delta temporality, and series that come as they are.

use opentelemetry_proto::tonic::metrics::v1::exemplar;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

use super::*;
use crate::otlp_to_prometheus::{TYPE_KEY, VERBATIM_SCOPE};

fn buckets(offset: i32, counts: &[u64]) -> Option<Buckets> {
    Some(Buckets { offset, bucket_counts: counts.to_vec() })
}

fn exponential(scale: i32, positive: Option<Buckets>) -> ExponentialHistogramDataPoint {
    let count = positive.iter().flat_map(|side| &side.bucket_counts).sum();
    ExponentialHistogramDataPoint {
        time_unix_nano: T_NS,
        scale,
        count,
        sum: Some(1.5),
        positive,
        ..Default::default()
    }
}

fn of(points: Vec<ExponentialHistogramDataPoint>, temporality: AggregationTemporality) -> Data {
    Data::ExponentialHistogram(ExponentialHistogram {
        data_points: points,
        aggregation_temporality: temporality as i32,
    })
}

/// Layouts are those that TestConvertBucketsLayout in Prometheus' histograms_test.go expects.
#[test]
fn exponential_histograms_become_native_ones() {
    let check_layout = |scale: i32, positive: Option<Buckets>, want: &str| {
        let data = of(vec![exponential(scale, positive)], AggregationTemporality::Cumulative);
        check(&request(vec![], vec![metric("e", "", data)]), &[want]);
    };
    let line = |schema: i32, count: u64, layout: &str| {
        format!(
            "{{__name__=\"e\"}} schema {schema} zero 0@1e-128 count {count} sum 1.5 + {layout} -  [] [] Unknown @0"
        )
    };
    check_layout(0, buckets(1, &[4, 3, 2, 1]), &line(0, 10, "2:4 [4, -1, -1, -1]"));
    // OTLP's bucket 0 starts at 1, where ours ends.
    check_layout(0, buckets(-1, &[4]), &line(0, 4, "0:1 [4]"));
    // Gaps of one and two buckets are filled, wider ones start a span; the last bucket is there even when empty.
    check_layout(0, buckets(0, &[4, 2, 0, 0, 1, 1]), &line(0, 8, "1:6 [4, -2, -2, 0, 1, 0]"));
    check_layout(0, buckets(0, &[4, 0, 0, 0, 1, 0]), &line(0, 5, "1:1,3:2 [4, -3, -1]"));
    check_layout(0, buckets(0, &[0, 0, 0, 0, 2]), &line(0, 2, "1:0,4:1 [2]"));
    check_layout(0, buckets(0, &[3, 0, 0, 0, 0, 0]), &line(0, 3, "1:1,4:1 [3, -3]"));
    // Schema 9 and 10 are made 8: of schema 9, buckets 0 and 1 are bucket 1 of schema 8.
    check_layout(9, buckets(0, &[1, 2, 3, 4]), &line(8, 10, "1:2 [3, 4]"));
    check_layout(10, buckets(-2, &[1, 1, 1, 1]), &line(8, 4, "0:2 [2, 0]"));
    // Observations stay in their bucket also behind empty ones.
    check_layout(9, buckets(0, &[0, 0, 1, 1]), &line(8, 2, "1:2 [0, 2]"));
}

#[test]
fn the_parts_of_an_exponential_histogram_arrive_and_its_end_is_a_stale_marker() {
    let mut whole = exponential(2, buckets(0, &[1]));
    whole.negative = buckets(3, &[5]);
    whole.zero_count = 7;
    // What a point says about its zero bucket is not what Prometheus writes.
    whole.zero_threshold = 0.25;
    whole.count = 13;
    let mut ended = exponential(2, None);
    ended.flags = 1;
    ended.time_unix_nano += 1_000_000;
    check(
        &request(vec![], vec![metric("e", "", of(vec![whole, ended], AggregationTemporality::Cumulative))]),
        &[
            r#"{__name__="e"} schema 2 zero 7@1e-128 count 13 sum 1.5 + 1:1 [1] - 4:1 [5] [] Unknown @0"#,
            r#"{__name__="e"} schema 2 zero 0@1e-128 count 0 sum stale +  [] -  [] [] Unknown @1"#,
        ],
    );
}

#[test]
fn histograms_with_explicit_bounds_become_native_ones_when_asked() {
    let settings = Settings { convert_histograms_to_nhcb: true, ..Settings::default() };
    let mut leading = three_buckets();
    leading.explicit_bounds = vec![1.0, 2.0, 3.0, 4.0];
    leading.bucket_counts = vec![0, 0, 3, 0, 2];
    leading.count = 5;
    leading.sum = Some(9.0);
    leading.attributes = vec![];
    let report = check_with(
        settings,
        &request(vec![], vec![metric("h", "s", histogram(leading))]),
        &[
            r#"{__name__="h_seconds"} schema -53 zero 0@0e0 count 5 sum 9 + 2:3 [3, -3, 2] -  [] [1.0, 2.0, 3.0, 4.0] Unknown @0"#,
        ],
    );
    assert_eq!((report.stored, report.rejected.len()), (1, 0));
}

#[test]
fn deltas_are_stored_as_they_are_when_allowed() {
    let settings = Settings { allow_delta_temporality: true, ..Settings::default() };
    let delta = AggregationTemporality::Delta;
    let metrics = vec![
        metric("c", "", sum(vec![point(&[], 2.0)], delta, true)),
        metric("e", "", of(vec![exponential(0, buckets(0, &[1]))], delta)),
    ];
    let mut table = Table::default();
    let (lines, report) = translate(settings, &mut table, &request(vec![], metrics));
    assert_eq!(
        lines,
        [
            r#"{__name__="c_total"} 2 @0"#,
            r#"{__name__="e"} schema 0 zero 0@1e-128 count 1 sum 1.5 + 1:1 [1] -  [] [] Gauge @0"#,
        ]
    );
    assert_eq!(report.stored, 2);
    let types: Vec<_> = table.metadata.iter().map(|(_, metadata)| metadata.metric_type).collect();
    assert_eq!(types, [MetricType::Unknown; 2]);
}

fn traced(value: f64, labels: &[(&str, &str)]) -> Exemplar {
    Exemplar {
        filtered_attributes: attributes(labels),
        time_unix_nano: T_NS + 3_000_000,
        value: Some(exemplar::Value::AsDouble(value)),
        trace_id: vec![0xab; 16],
        span_id: vec![0xcd; 8],
    }
}

#[test]
fn exemplars_keep_trace_ids_and_as_many_attributes_as_openmetrics_allows() {
    let ids = r#"span_id="cdcdcdcdcdcdcdcd", trace_id="abababababababababababababababab""#;
    // trace_id, span_id and their values are 63 characters, so that 65 are left.
    let (fits, too_long) = ("x".repeat(64), "x".repeat(65));
    let mut counter = point(&[], 5.0);
    let mut untimed = traced(0.5, &[]);
    untimed.time_unix_nano = 0;
    untimed.trace_id = vec![];
    untimed.span_id = vec![0; 8];
    counter.exemplars = vec![traced(1.0, &[("k", &fits)]), traced(2.0, &[("k", &too_long)]), untimed];
    let mut gauged = point(&[], 6.0);
    gauged.exemplars = vec![traced(1.0, &[])];
    check(
        &request(
            vec![],
            vec![
                metric("c", "", sum(vec![counter], AggregationTemporality::Cumulative, true)),
                metric("g", "", gauge(vec![gauged])),
            ],
        ),
        &[
            r#"{__name__="c_total"} 5 @0"#,
            &format!(r#"{{__name__="c_total"}} exemplar {{k="{fits}", {ids}}} 1 @3"#),
            &format!(r#"{{__name__="c_total"}} exemplar {{{ids}}} 2 @3"#),
            r#"{__name__="c_total"} exemplar {} 0.5 @0"#,
            r#"{__name__="g"} 6 @0"#,
        ],
    );
}

#[test]
fn exemplars_of_a_histogram_go_to_their_buckets() {
    let mut point = three_buckets();
    point.attributes = vec![];
    let bounds = point.explicit_bounds.clone();
    let last = bounds[bounds.len() - 1];
    point.exemplars = [bounds[0], bounds[0] + 1e-9, last + 1.0].map(|value| traced(value, &[])).into();
    let (lines, _) = translate(
        Settings::default(),
        &mut Table::default(),
        &request(vec![], vec![metric("h", "", histogram(point))]),
    );
    let buckets: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains("exemplar"))
        .map(|line| line.split('"').nth(3).expect("le"))
        .collect();
    assert_eq!(buckets, [bounds[0].to_string().as_str(), &bounds[1].to_string(), "+Inf"]);
}

#[test]
fn joined_label_values_and_empty_histograms_with_a_sum_are_warnings() {
    let mut odd = exponential(0, None);
    odd.sum = Some(2.0);
    let report = check(
        &request(
            vec![],
            vec![
                metric("g", "", gauge(vec![point(&[("a.b", "1"), ("a_b", "2")], 1.0)])),
                metric("e", "", of(vec![odd], AggregationTemporality::Cumulative)),
            ],
        ),
        &[
            r#"{__name__="g", a_b="1;2"} 1 @0"#,
            r#"{__name__="e"} schema 0 zero 0@1e-128 count 0 sum 2 +  [] -  [] [] Unknown @0"#,
        ],
    );
    let warnings: Vec<_> =
        report.rejected.iter().map(|rejection| (rejection.reason, rejection.count)).collect();
    assert_eq!(warnings, [("label_name_collision", 0), ("histogram_zero_count_non_zero_sum", 0)]);
}

#[test]
fn series_that_were_prometheus_series_are_taken_as_they_are() {
    let mut point = exponential(3, buckets(0, &[1]));
    point.zero_threshold = 0.5;
    point.attributes = attributes(&[("le", "x"), ("job", "own"), ("_odd.name", "kept")]);
    let mut gauge_histogram = metric("raw.name", "By", of(vec![point], AggregationTemporality::Cumulative));
    gauge_histogram.metadata = vec![kv(TYPE_KEY, string("gaugehistogram"))];
    let mut request = request(
        attributes(&[("service.name", "other"), ("cluster.id", "c1"), ("job", "resource")]),
        vec![gauge_histogram],
    );
    let scope = InstrumentationScope { name: VERBATIM_SCOPE.to_owned(), ..Default::default() };
    request.resource_metrics[0].scope_metrics[0].scope = Some(scope);
    let mut table = Table::default();
    let (lines, _) = translate(Settings::default(), &mut table, &request);
    assert_eq!(
        lines,
        [
            r#"{__name__="raw.name", _odd.name="kept", cluster_id="c1", job="own", le="x", service_name="other"} schema 3 zero 0@5e-1 count 1 sum 1.5 + 1:1 [1] -  [] [] Gauge @0"#
        ]
    );
    let (family, metadata) = &table.metadata[0];
    assert_eq!(
        (family.as_str(), metadata.metric_type, metadata.unit.as_str()),
        ("raw.name", MetricType::GaugeHistogram, "By")
    );
}

use std::collections::HashMap;

use model::{
    AppendReport, IntegerBuckets, Labels, MetricMetadata, MetricType, NativeHistogram, is_stale_nan,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, metric::Data, number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::{Resolved, SampleSink, SeriesKey, SeriesResolver, Settings, Translator};
use crate::DecodeError;
use crate::prometheus_names::Strategy;

mod native;

/// 2023-11-14T22:13:20Z.
const T_NS: u64 = 1_700_000_000_000_000_000;
const T_MS: i64 = 1_700_000_000_000;

/// A resolver that gives out positions in a table, and refuses what a test names.
#[derive(Default)]
struct Table {
    runs: HashMap<SeriesKey, Vec<usize>>,
    series: Vec<Labels>,
    inserts: usize,
    metadata: Vec<(String, MetricMetadata)>,
    refused_name: &'static str,
}

impl SeriesResolver for Table {
    type Handle = usize;
    type Error = DecodeError;

    fn lookup(&mut self, key: SeriesKey) -> Option<&[usize]> {
        self.runs.get(&key).map(Vec::as_slice)
    }

    fn insert(&mut self, key: SeriesKey, series: &[Labels]) -> Result<Resolved<'_, usize>, DecodeError> {
        self.inserts += 1;
        if series.iter().any(|labels| labels.metric_name() == Some(self.refused_name)) {
            return Ok(Resolved::Refused { reason: "series_limit", message: "too many series".into() });
        }
        let mut run = Vec::new();
        for labels in series {
            let known = self.series.iter().position(|known| known == labels);
            run.push(known.unwrap_or_else(|| {
                self.series.push(labels.clone());
                self.series.len() - 1
            }));
        }
        Ok(Resolved::Handles(self.runs.entry(key).or_insert(run)))
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        self.metadata.push((family.to_owned(), metadata.clone()));
    }
}

/// Samples as text behind their handle and time, in the order in which they came.
#[derive(Default)]
struct Samples(Vec<(usize, i64, String)>);

impl SampleSink<usize> for Samples {
    fn point(&mut self, handles: &[usize], timestamp_ms: i64, values: &[f64]) {
        assert_eq!(handles.len(), values.len());
        let shown = |value: f64| if is_stale_nan(value) { "stale".to_owned() } else { value.to_string() };
        self.0
            .extend(handles.iter().zip(values).map(|(handle, value)| (*handle, timestamp_ms, shown(*value))));
    }

    fn histogram(&mut self, handle: usize, timestamp_ms: i64, histogram: NativeHistogram) {
        let NativeHistogram::Integer(histogram) = histogram else { panic!("OTLP has integer counts") };
        let spans = |side: &IntegerBuckets| {
            let spans: Vec<_> =
                side.spans.iter().map(|span| format!("{}:{}", span.offset, span.length)).collect();
            format!("{} {:?}", spans.join(","), side.deltas)
        };
        let sum = if is_stale_nan(histogram.sum) { "stale".to_owned() } else { histogram.sum.to_string() };
        let text = format!(
            "schema {} zero {}@{:e} count {} sum {sum} + {} - {} {:?} {:?}",
            histogram.schema,
            histogram.zero_count,
            histogram.zero_threshold,
            histogram.count,
            spans(&histogram.positive),
            spans(&histogram.negative),
            histogram.custom_values.as_deref().unwrap_or(&[]),
            histogram.counter_reset_hint,
        );
        self.0.push((handle, timestamp_ms, text));
    }

    fn exemplar(&mut self, handle: usize, exemplar: model::Exemplar) {
        self.0.push((
            handle,
            exemplar.timestamp_ms,
            format!("exemplar {} {}", exemplar.labels, exemplar.value),
        ));
    }

    fn target_info(&mut self, handle: usize, timestamp_ms: i64) {
        self.0.push((handle, timestamp_ms, "1".to_owned()));
    }
}

fn translate(
    settings: Settings,
    table: &mut Table,
    request: &ExportMetricsServiceRequest,
) -> (Vec<String>, AppendReport) {
    let mut samples = Samples::default();
    let report = Translator::new(settings).translate(&request.encode_to_vec(), table, &mut samples).unwrap();
    let lines = samples
        .0
        .iter()
        .map(|(handle, time, value)| format!("{} {value} @{}", table.series[*handle], time - T_MS));
    (lines.collect(), report)
}

/// The samples of a request as `{labels} value @ms-after-T`.
fn check_with(settings: Settings, request: &ExportMetricsServiceRequest, expected: &[&str]) -> AppendReport {
    let (lines, report) = translate(settings, &mut Table::default(), request);
    assert_eq!(lines, expected);
    report
}

fn check(request: &ExportMetricsServiceRequest, expected: &[&str]) -> AppendReport {
    check_with(Settings::default(), request, expected)
}

fn string(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.into())) }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn kv(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..Default::default() }
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| kv(key, string(value))).collect()
}

fn request(resource: Vec<KeyValue>, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: resource, ..Default::default() }),
            scope_metrics: vec![ScopeMetrics { metrics, ..Default::default() }],
            ..Default::default()
        }],
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.into(),
        unit: unit.into(),
        description: format!("Help of {name}."),
        data: Some(data),
        ..Default::default()
    }
}

fn point(labels: &[(&str, &str)], value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(labels),
        time_unix_nano: T_NS,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    }
}

fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

fn sum(data_points: Vec<NumberDataPoint>, temporality: AggregationTemporality, is_monotonic: bool) -> Data {
    Data::Sum(Sum { data_points, aggregation_temporality: temporality as i32, is_monotonic })
}

fn counter(data_points: Vec<NumberDataPoint>) -> Data {
    sum(data_points, AggregationTemporality::Cumulative, true)
}

fn histogram(point: HistogramDataPoint) -> Data {
    Data::Histogram(Histogram {
        data_points: vec![point],
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
    })
}

fn three_buckets() -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(&[("code", "200")]),
        time_unix_nano: T_NS,
        count: 6,
        sum: Some(1.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.25, 10.0],
        ..Default::default()
    }
}

#[test]
fn numbers_become_one_sample_each() {
    let mut int = point(&[], 0.0);
    int.value = Some(number_data_point::Value::AsInt(-7));
    int.time_unix_nano = T_NS + 1_999_999;
    let mut stale = point(&[("a", "stale")], 3.0);
    stale.flags = 1;
    let mut gone = point(&[("a", "gone")], 0.0);
    (gone.flags, gone.value) = (1, None);
    let request = request(
        vec![],
        vec![
            metric("cpu.load", "1", gauge(vec![point(&[("host.name", "a")], 0.5), int, stale, gone])),
            metric("http.requests", "{request}", counter(vec![point(&[], 12.0)])),
            metric(
                "queue.size",
                "By",
                sum(vec![point(&[], -1.0)], AggregationTemporality::Cumulative, false),
            ),
        ],
    );
    let report = check(
        &request,
        &[
            r#"{__name__="cpu_load_ratio", host_name="a"} 0.5 @0"#,
            r#"{__name__="cpu_load_ratio"} -7 @1"#,
            r#"{__name__="cpu_load_ratio", a="stale"} stale @0"#,
            r#"{__name__="cpu_load_ratio", a="gone"} stale @0"#,
            r#"{__name__="http_requests_total"} 12 @0"#,
            r#"{__name__="queue_size_bytes"} -1 @0"#,
        ],
    );
    assert_eq!(report, AppendReport { stored: 6, rejected: vec![] });
}

#[test]
fn histograms_become_cumulative_buckets() {
    let mut no_sum = three_buckets();
    (no_sum.sum, no_sum.attributes) = (None, vec![]);
    let mut no_buckets =
        HistogramDataPoint { count: 4, sum: Some(2.0), time_unix_nano: T_NS, ..Default::default() };
    let mut stale = three_buckets();
    (stale.flags, stale.explicit_bounds, stale.bucket_counts) = (1, vec![1e9], vec![0, 0]);
    let mut infinite = three_buckets();
    (infinite.explicit_bounds, infinite.attributes) = (vec![1e-7, f64::INFINITY], vec![]);
    no_buckets.attributes = attributes(&[("le", "mine"), ("__name__", "mine")]);
    for (point, expected) in [
        (
            three_buckets(),
            &[
                r#"{__name__="lat_seconds_bucket", code="200", le="0.25"} 1 @0"#,
                r#"{__name__="lat_seconds_bucket", code="200", le="10"} 3 @0"#,
                r#"{__name__="lat_seconds_bucket", code="200", le="+Inf"} 6 @0"#,
                r#"{__name__="lat_seconds_sum", code="200"} 1.5 @0"#,
                r#"{__name__="lat_seconds_count", code="200"} 6 @0"#,
            ][..],
        ),
        (
            no_sum,
            &[
                r#"{__name__="lat_seconds_bucket", le="0.25"} 1 @0"#,
                r#"{__name__="lat_seconds_bucket", le="10"} 3 @0"#,
                r#"{__name__="lat_seconds_bucket", le="+Inf"} 6 @0"#,
                r#"{__name__="lat_seconds_count"} 6 @0"#,
            ],
        ),
        (
            no_buckets,
            &[
                r#"{__name__="lat_seconds_bucket", le="+Inf"} 4 @0"#,
                r#"{__name__="lat_seconds_sum", le="mine"} 2 @0"#,
                r#"{__name__="lat_seconds_count", le="mine"} 4 @0"#,
            ],
        ),
        (
            stale,
            &[
                r#"{__name__="lat_seconds_bucket", code="200", le="1000000000"} stale @0"#,
                r#"{__name__="lat_seconds_bucket", code="200", le="+Inf"} stale @0"#,
                r#"{__name__="lat_seconds_sum", code="200"} stale @0"#,
                r#"{__name__="lat_seconds_count", code="200"} stale @0"#,
            ],
        ),
        (
            infinite,
            &[
                r#"{__name__="lat_seconds_bucket", le="0.0000001"} 1 @0"#,
                r#"{__name__="lat_seconds_bucket", le="+Inf"} 6 @0"#,
                r#"{__name__="lat_seconds_sum"} 1.5 @0"#,
                r#"{__name__="lat_seconds_count"} 6 @0"#,
            ],
        ),
    ] {
        let report = check(&request(vec![], vec![metric("lat", "s", histogram(point))]), expected);
        assert_eq!(report, AppendReport { stored: 1, rejected: vec![] });
    }
}

#[test]
fn points_that_differ_only_in_bounds_do_not_share_series() {
    let mut table = Table::default();
    for (bounds, counts, has_sum) in [
        (vec![1.0, 2.0], vec![1, 1, 1], true),
        (vec![1.0, 3.0], vec![1, 1, 1], true),
        (vec![1.0], vec![1, 1], true),
        (vec![1.0], vec![1, 1], false),
        (vec![1.0], vec![], true),
    ] {
        let mut point = three_buckets();
        (point.explicit_bounds, point.bucket_counts) = (bounds, counts);
        point.sum = has_sum.then_some(1.0);
        translate(
            Settings { target_info: false, ..Settings::default() },
            &mut table,
            &request(vec![], vec![metric("h", "", histogram(point))]),
        );
    }
    assert_eq!(table.inserts, 5);
}

#[test]
fn summaries_become_quantiles_sum_and_count() {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let summary = |flags, quantile_values| {
        let point = SummaryDataPoint {
            attributes: attributes(&[("job", "mine")]),
            time_unix_nano: T_NS,
            count: 10,
            sum: 20.5,
            quantile_values,
            flags,
            ..Default::default()
        };
        let data = Data::Summary(Summary { data_points: vec![point] });
        request(vec![], vec![metric("rpc.time", "ms", data)])
    };
    check(
        &summary(0, vec![quantile(0.5, 1.0), quantile(0.99, f64::NAN)]),
        &[
            r#"{__name__="rpc_time_milliseconds", job="mine", quantile="0.5"} 1 @0"#,
            r#"{__name__="rpc_time_milliseconds", job="mine", quantile="0.99"} NaN @0"#,
            r#"{__name__="rpc_time_milliseconds_sum", job="mine"} 20.5 @0"#,
            r#"{__name__="rpc_time_milliseconds_count", job="mine"} 10 @0"#,
        ],
    );
    check(
        &summary(1, vec![quantile(1.0, 1.0)]),
        &[
            r#"{__name__="rpc_time_milliseconds", job="mine", quantile="1"} stale @0"#,
            r#"{__name__="rpc_time_milliseconds_sum", job="mine"} stale @0"#,
            r#"{__name__="rpc_time_milliseconds_count", job="mine"} stale @0"#,
        ],
    );
    let report = check(&summary(0, vec![quantile(0.5, 1.0), quantile(0.5, 2.0)]), &[]);
    assert_eq!(report.rejected[0].reason, "invalid_quantiles");
}

#[test]
fn attributes_become_labels() {
    let odd = vec![
        kv("z.z", string("last")),
        kv("z_z", string("joined")),
        kv("z-z", string("first")),
        kv("empty", string("")),
        kv("none", AnyValue { value: None }),
        kv("_one", string("u")),
        kv("1st", string("d")),
        kv("__name__", string("gone")),
        kv("flag", any(Value::BoolValue(true))),
        kv("int", any(Value::IntValue(-5))),
        kv("float", any(Value::DoubleValue(1.5))),
        kv("bytes", any(Value::BytesValue(vec![1, 2, 3]))),
        kv("list", any(Value::ArrayValue(ArrayValue { values: vec![string("a"), any(Value::IntValue(1))] }))),
        kv("map", any(Value::KvlistValue(KeyValueList { values: attributes(&[("k", "v"), ("a", "b")]) }))),
    ];
    let mut with_odd = point(&[], 1.0);
    with_odd.attributes = odd;
    check(
        &request(vec![], vec![metric("m", "", gauge(vec![with_odd]))]),
        &[concat!(
            r#"{__name__="m", bytes="AQID", flag="true", float="1.5", int="-5", key_1st="d", key_one="u", "#,
            r#"list="[\"a\",1]", map="{\"a\":\"b\",\"k\":\"v\"}", z_z="first;last;joined"} 1 @0"#
        )],
    );
}

#[test]
fn job_and_instance_come_from_the_resource() {
    for (resource, point_labels, expected) in [
        (&[("service.name", "shop")][..], &[][..], r#"{__name__="m", job="shop"} 1 @0"#),
        (
            &[("service.namespace", "eu"), ("service.name", "shop"), ("service.instance.id", "i-1")],
            &[("job", "mine"), ("instance", "mine")],
            r#"{__name__="m", instance="i-1", job="eu/shop"} 1 @0"#,
        ),
        (&[("service.namespace", "eu")], &[("job", "mine")], r#"{__name__="m", job="mine"} 1 @0"#),
    ] {
        let request =
            request(attributes(resource), vec![metric("m", "", gauge(vec![point(point_labels, 1.0)]))]);
        check(&request, &[expected]);
    }
}

#[test]
fn target_info_carries_the_other_resource_attributes() {
    let resource = attributes(&[
        ("service.name", "shop"),
        ("service.instance.id", "i-1"),
        ("host.name", "h"),
        ("k8s.pod/name", "p"),
    ]);
    let mut later = point(&[("n", "2")], 2.0);
    later.time_unix_nano = T_NS + 400_000_000_000;
    let points = gauge(vec![point(&[("n", "1")], 1.0), later]);
    let request = request(resource, vec![metric("m", "", points)]);
    let info = r#"{__name__="target_info", host_name="h", instance="i-1", job="shop", k8s_pod_name="p"} 1"#;
    check(
        &request,
        &[
            r#"{__name__="m", instance="i-1", job="shop", n="1"} 1 @0"#,
            r#"{__name__="m", instance="i-1", job="shop", n="2"} 2 @400000"#,
            &format!("{info} @0"),
            &format!("{info} @150000"),
            &format!("{info} @300000"),
            &format!("{info} @400000"),
        ],
    );

    // Once a request, however often the resource comes in it.
    let mut twice = request.clone();
    twice.resource_metrics.extend(request.resource_metrics);
    let (lines, report) = translate(Settings::default(), &mut Table::default(), &twice);
    assert_eq!(lines.iter().filter(|line| line.contains("target_info")).count(), 4);
    assert_eq!(report.stored, 4);
}

#[test]
fn target_info_is_left_out_where_it_would_say_nothing() {
    for (resource, settings) in [
        // Nothing but what job and instance say, or neither of them.
        (&[("service.name", "shop"), ("service.instance.id", "i")][..], Settings::default()),
        (&[("host.name", "h")], Settings::default()),
        (&[], Settings::default()),
        (
            &[("service.name", "shop"), ("host.name", "h")],
            Settings { target_info: false, ..Settings::default() },
        ),
    ] {
        let request = request(attributes(resource), vec![metric("m", "", gauge(vec![point(&[], 1.0)]))]);
        let mut table = Table::default();
        for _ in 0..2 {
            let (lines, report) = translate(settings.clone(), &mut table, &request);
            assert_eq!((lines.len(), report), (1, AppendReport { stored: 1, rejected: vec![] }));
        }
    }
}

#[test]
fn two_points_years_apart_do_not_cause_millions_of_samples() {
    let mut first = point(&[("n", "1")], 1.0);
    first.time_unix_nano = 1;
    let points = gauge(vec![first, point(&[("n", "2")], 1.0)]);
    let resource = attributes(&[("service.name", "shop"), ("host.name", "h")]);
    let (lines, report) = translate(
        Settings::default(),
        &mut Table::default(),
        &request(resource, vec![metric("m", "", points)]),
    );
    assert_eq!((lines.len(), report.stored), (3, 2));
}

#[test]
fn settings_change_labels_as_in_prometheus() {
    let resource = attributes(&[("service.name", "shop"), ("host.name", "h"), ("os.type", "linux")]);
    let mut request =
        request(resource, vec![metric("http.hits", "1", counter(vec![point(&[("a.b", "1")], 1.0)]))]);
    request.resource_metrics[0].scope_metrics[0].scope = Some(InstrumentationScope {
        name: "lib".into(),
        version: "1.2".into(),
        attributes: attributes(&[("lang.x", "rust")]),
        ..Default::default()
    });
    request.resource_metrics[0].scope_metrics[0].schema_url = "https://example.test/1".into();
    let base = Settings { target_info: false, ..Settings::default() };
    for (settings, expected) in [
        (
            Settings { strategy: Strategy::UnderscoreEscapingWithoutSuffixes, ..base.clone() },
            r#"{__name__="http_hits", a_b="1", job="shop"} 1 @0"#,
        ),
        (
            Settings { strategy: Strategy::NoUtf8EscapingWithSuffixes, ..base.clone() },
            r#"{__name__="http.hits_total", a.b="1", job="shop"} 1 @0"#,
        ),
        (
            Settings { strategy: Strategy::NoTranslation, namespace: "eu".into(), ..base.clone() },
            r#"{__name__="eu_http.hits", a.b="1", job="shop"} 1 @0"#,
        ),
        (
            Settings { promote_resource_attributes: vec!["host.name".into()], ..base.clone() },
            r#"{__name__="http_hits_total", a_b="1", host_name="h", job="shop"} 1 @0"#,
        ),
        (
            Settings {
                promote_all_resource_attributes: true,
                ignore_resource_attributes: vec!["service.name".into(), "os.type".into()],
                ..base.clone()
            },
            r#"{__name__="http_hits_total", a_b="1", host_name="h", job="shop"} 1 @0"#,
        ),
        (
            Settings {
                external_labels: vec![("job".into(), "ext".into()), ("zone".into(), "z".into())],
                ..base.clone()
            },
            r#"{__name__="http_hits_total", a_b="1", job="shop", zone="z"} 1 @0"#,
        ),
        (
            Settings { promote_scope_metadata: true, ..base.clone() },
            concat!(
                r#"{__name__="http_hits_total", a_b="1", job="shop", otel_scope_lang_x="rust", "#,
                r#"otel_scope_name="lib", otel_scope_schema_url="https://example.test/1", "#,
                r#"otel_scope_version="1.2"} 1 @0"#
            ),
        ),
    ] {
        check_with(settings, &request, &[expected]);
    }
    let keeping = Settings { keep_identifying_resource_attributes: true, ..Settings::default() };
    let (lines, _) = translate(keeping, &mut Table::default(), &request);
    assert_eq!(
        lines[1],
        r#"{__name__="target_info", host_name="h", job="shop", os_type="linux", service_name="shop"} 1 @0"#
    );
}

#[test]
fn a_scope_that_cannot_be_promoted_is_refused_alone() {
    let mut request = request(vec![], vec![metric("m", "", gauge(vec![point(&[], 1.0), point(&[], 2.0)]))]);
    let good = request.resource_metrics[0].scope_metrics[0].clone();
    request.resource_metrics[0].scope_metrics[0].scope = Some(InstrumentationScope {
        name: "lib".into(),
        attributes: vec![kv("deep", nested_list(70))],
        ..Default::default()
    });
    request.resource_metrics[0].scope_metrics.push(good);
    let settings = Settings { promote_scope_metadata: true, ..Settings::default() };
    let report = check_with(settings, &request, &[r#"{__name__="m"} 1 @0"#, r#"{__name__="m"} 2 @0"#]);
    assert_eq!(
        (report.stored, report.rejected[0].reason, report.rejected[0].count),
        (2, "invalid_labels", 2)
    );
}

fn nested_list(depth: usize) -> AnyValue {
    (0..depth).fold(string("leaf"), |inner, _| any(Value::ArrayValue(ArrayValue { values: vec![inner] })))
}

#[test]
fn what_cannot_be_stored_is_refused_point_by_point() {
    let too_coarse = ExponentialHistogramDataPoint { scale: -5, ..Default::default() };
    let miscounted = ExponentialHistogramDataPoint { count: 1, ..Default::default() };
    let exponential = Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![too_coarse, miscounted],
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
    });
    let delta = sum(vec![point(&[], 1.0); 2], AggregationTemporality::Delta, true);
    let unspecified = sum(vec![point(&[], 1.0)], AggregationTemporality::Unspecified, true);
    let delta_histogram = Data::Histogram(Histogram {
        data_points: vec![three_buckets()],
        aggregation_temporality: AggregationTemporality::Delta as i32,
    });
    let no_value = gauge(vec![NumberDataPoint { value: None, ..point(&[], 1.0) }]);
    let mut unsorted = three_buckets();
    unsorted.explicit_bounds = vec![2.0, 1.0];
    let mut with_exemplars = point(&[], 5.0);
    with_exemplars.exemplars = vec![Exemplar::default(); 2];
    let report = check(
        &request(
            vec![],
            vec![
                metric("exp", "", exponential),
                metric("good", "", sum(vec![with_exemplars], AggregationTemporality::Cumulative, false)),
                metric("delta", "", delta),
                metric("unspecified", "", unspecified),
                metric("delta_histogram", "", delta_histogram),
                metric("no_value", "", no_value),
                metric("unsorted", "", histogram(unsorted)),
                metric("@#$", "", gauge(vec![point(&[], 1.0)])),
                metric("bad_label", "", gauge(vec![point(&[("...", "x")], 1.0), point(&[], 2.0)])),
                metric("empty", "", gauge(vec![])),
                Metric { name: "no_data".into(), ..Default::default() },
            ],
        ),
        &[r#"{__name__="good"} 5 @0"#, r#"{__name__="bad_label"} 2 @0"#],
    );
    assert_eq!(report.stored, 2);
    let counts: Vec<_> = report.rejected.iter().map(|refused| (refused.reason, refused.count)).collect();
    assert_eq!(
        counts,
        [
            ("invalid_histogram", 2),
            ("exemplar_without_value", 0),
            ("delta_temporality", 3),
            ("unspecified_temporality", 1),
            ("no_value", 1),
            ("invalid_bounds", 1),
            ("invalid_metric_name", 1),
            ("invalid_labels", 1),
            ("empty_metric", 0),
        ]
    );
    assert_eq!(
        report.rejected[0].message,
        r#"metric "exp": cannot convert exponential to native histogram: scale must be >= -4, was -5"#
    );
}

#[test]
fn what_the_resolver_refuses_is_counted_and_the_rest_goes_on() {
    let mut table = Table { refused_name: "bad", ..Table::default() };
    let request = request(
        vec![],
        vec![
            metric("bad", "", gauge(vec![point(&[], 1.0), point(&[], 2.0)])),
            metric("good", "", gauge(vec![point(&[], 3.0)])),
        ],
    );
    let (lines, report) = translate(Settings::default(), &mut table, &request);
    assert_eq!(lines, [r#"{__name__="good"} 3 @0"#]);
    assert_eq!((report.stored, report.rejected[0].reason, report.rejected[0].count), (1, "series_limit", 2));
}

#[test]
fn known_series_are_not_resolved_again() {
    let resource = attributes(&[("service.name", "shop"), ("host.name", "h")]);
    let metrics = vec![
        metric("a", "", gauge(vec![point(&[("x", "1")], 1.0), point(&[("x", "2")], 2.0)])),
        metric("b", "s", histogram(three_buckets())),
    ];
    let request = request(resource, metrics);
    let mut table = Table::default();
    let (first, _) = translate(Settings::default(), &mut table, &request);
    assert_eq!(table.inserts, 4);
    let (second, _) = translate(Settings::default(), &mut table, &request);
    assert_eq!((table.inserts, first), (4, second));
    let names: Vec<_> = table.metadata.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b_seconds", "target_info"]);
    assert_eq!(
        table.metadata[1].1,
        MetricMetadata {
            metric_type: MetricType::Histogram,
            help: "Help of b.".into(),
            unit: "seconds".into()
        }
    );
}

#[test]
fn a_point_whose_buckets_repeat_megabytes_of_labels_is_refused() {
    let mut huge = three_buckets();
    huge.attributes = attributes(&[("a", &"x".repeat(100_000))]);
    huge.explicit_bounds = (0..100).map(f64::from).collect();
    huge.bucket_counts = vec![1; 101];
    let report = check(&request(vec![], vec![metric("h", "", histogram(huge))]), &[]);
    assert_eq!((report.stored, report.rejected[0].count), (0, 1));
}

#[test]
fn cut_requests_are_errors_and_never_panic() {
    let resource = attributes(&[("service.name", "shop"), ("host.name", "h")]);
    let metrics = vec![
        metric("a", "s", gauge(vec![point(&[("x", "1")], 1.0)])),
        metric("b", "", histogram(three_buckets())),
    ];
    let whole = request(resource, metrics).encode_to_vec();
    for len in 0..whole.len() {
        let (mut table, mut samples) = (Table::default(), Samples::default());
        let cut = Translator::default().translate(&whole[..len], &mut table, &mut samples);
        assert_eq!(cut.is_ok(), len == 0, "cut at {len}");
    }
}

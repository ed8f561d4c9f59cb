use std::time::Duration;

use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use tokio::time::Instant;

use super::{Sampler, detailed, go_format, normal};

/// 2020-02-11 20:26:12.000000321 and 20:26:13.000000789, the times of upstream's test data.
const START: u64 = 1_581_452_772_000_000_321;
const END: u64 = 1_581_452_773_000_000_789;

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![text("resource-attr", "resource-attr-val-1")], ..Resource::default() })
}

fn logs() -> Vec<u8> {
    let nested = KeyValueList { values: vec![text("k", "v")] };
    let record = LogRecord {
        time_unix_nano: END,
        severity_number: 10,
        severity_text: "Info".to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::KvlistValue(nested)) }),
        attributes: vec![text("app", "server"), attribute("instance_num", any_value::Value::IntValue(1))],
        trace_id: vec![8, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        span_id: vec![1, 2, 4, 8, 0, 0, 0, 0],
        ..LogRecord::default()
    };
    let scope =
        InstrumentationScope { name: "lib".to_owned(), version: "1.2".to_owned(), ..Default::default() };
    let scope_logs = ScopeLogs { scope: Some(scope), log_records: vec![record], ..Default::default() };
    let group =
        ResourceLogs { resource: resource(), scope_logs: vec![scope_logs], schema_url: "s".to_owned() };
    ExportLogsServiceRequest { resource_logs: vec![group] }.encode_to_vec()
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: "1".to_owned(), data: Some(data), ..Metric::default() }
}

fn number(value: number_data_point::Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![text("label-1", "value-1")],
        start_time_unix_nano: START,
        time_unix_nano: END,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn metrics() -> Vec<u8> {
    let exemplar = Exemplar {
        filtered_attributes: vec![text("attachment", "a")],
        time_unix_nano: END,
        value: Some(exemplar::Value::AsDouble(15.0)),
        span_id: vec![0x11; 8],
        trace_id: vec![0x22; 16],
    };
    let histogram = HistogramDataPoint {
        time_unix_nano: END,
        count: 1,
        sum: Some(15.0),
        max: Some(15.0),
        explicit_bounds: vec![1.0],
        bucket_counts: vec![0, 1],
        exemplars: vec![exemplar],
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        count: 5,
        sum: Some(0.15),
        scale: 1,
        zero_count: 1,
        positive: Some(Buckets { offset: 1, bucket_counts: vec![1, 2] }),
        negative: Some(Buckets { offset: -1, bucket_counts: vec![3, 4] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let quantile = ValueAtQuantile { quantile: 0.01, value: 15.0 };
    let summary = SummaryDataPoint {
        count: 1,
        sum: 15.0,
        quantile_values: vec![quantile],
        ..SummaryDataPoint::default()
    };
    let metrics = vec![
        metric(
            "gauge",
            Data::Gauge(Gauge { data_points: vec![number(number_data_point::Value::AsDouble(1.23))] }),
        ),
        metric(
            "sum",
            Data::Sum(Sum {
                data_points: vec![number(number_data_point::Value::AsInt(456))],
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        ),
        metric(
            "histogram",
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 2 }),
        ),
        metric(
            "exponential",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 1,
            }),
        ),
        metric("summary", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let group = ResourceMetrics { resource: resource(), scope_metrics, ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec()
}

fn traces() -> Vec<u8> {
    let event = span::Event {
        name: "event-with-attr".to_owned(),
        time_unix_nano: END,
        attributes: vec![text("span-event-attr", "val")],
        dropped_attributes_count: 2,
    };
    let link = span::Link { dropped_attributes_count: 4, ..span::Link::default() };
    let span = Span {
        name: "operationA".to_owned(),
        trace_id: (1..=16).collect(),
        span_id: (0x11..=0x18).collect(),
        kind: 2,
        trace_state: "ot=th:0".to_owned(),
        start_time_unix_nano: START,
        end_time_unix_nano: END,
        status: Some(Status { code: 2, message: "status-cancelled".to_owned() }),
        dropped_attributes_count: 1,
        dropped_events_count: 1,
        dropped_links_count: 3,
        events: vec![event],
        links: vec![link],
        ..Span::default()
    };
    let group = ResourceSpans {
        resource: resource(),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..Default::default() }],
        ..Default::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec()
}

#[test]
fn a_log_record_reads_as_the_collector_writes_it() {
    assert_eq!(
        detailed::text(Signal::Logs, &logs()).expect("well-formed"),
        "ResourceLog #0\nResource SchemaURL: s\nResource attributes:\n     -> resource-attr: Str(resource-attr-val-1)\n\
         ScopeLogs #0\nScopeLogs SchemaURL: \nInstrumentationScope lib 1.2\n\
         LogRecord #0\nObservedTimestamp: 1970-01-01 00:00:00 +0000 UTC\n\
         Timestamp: 2020-02-11 20:26:13.000000789 +0000 UTC\nSeverityText: Info\nSeverityNumber: Info2(10)\n\
         Body: Map({\"k\":\"v\"})\nAttributes:\n     -> app: Str(server)\n     -> instance_num: Int(1)\n\
         Trace ID: 08040201000000000000000000000000\nSpan ID: 0102040800000000\nFlags: 0\n"
    );
    assert_eq!(
        normal::text(Signal::Logs, &logs()).expect("well-formed"),
        "ResourceLog #0 [s] resource-attr=resource-attr-val-1\nScopeLog #0 lib@1.2\n{\"k\":\"v\"} app=server instance_num=1\n"
    );
}

#[test]
fn a_span_reads_as_the_collector_writes_it() {
    assert_eq!(
        detailed::text(Signal::Traces, &traces()).expect("well-formed"),
        "ResourceSpans #0\nResource SchemaURL: \nResource attributes:\n     -> resource-attr: Str(resource-attr-val-1)\n\
         ScopeSpans #0\nScopeSpans SchemaURL: \nInstrumentationScope  \nSpan #0\n    \
         Trace ID       : 0102030405060708090a0b0c0d0e0f10\n    Parent ID      : \n    \
         ID             : 1112131415161718\n    Name           : operationA\n    Kind           : Server\n    \
         TraceState     : ot=th:0\n    Start time     : 2020-02-11 20:26:12.000000321 +0000 UTC\n    \
         End time       : 2020-02-11 20:26:13.000000789 +0000 UTC\n    Status code    : Error\n    \
         Status message : status-cancelled\n    DroppedAttributesCount: 1\nEvents:\nSpanEvent #0\n     \
         -> Name: event-with-attr\n     -> Timestamp: 2020-02-11 20:26:13.000000789 +0000 UTC\n     \
         -> DroppedAttributesCount: 2\n     -> Attributes::\n          -> span-event-attr: Str(val)\n    \
         DroppedEventsCount: 1\nLinks:\nSpanLink #0\n     -> Trace ID: \n     -> ID: \n     -> TraceState: \n     \
         -> DroppedAttributesCount: 4\n    DroppedLinksCount: 3\n"
    );
    assert_eq!(
        normal::text(Signal::Traces, &traces()).expect("well-formed"),
        "ResourceTraces #0 resource-attr=resource-attr-val-1\nScopeTraces #0\n\
         operationA 0102030405060708090a0b0c0d0e0f10 1112131415161718\n"
    );
}

#[test]
fn every_kind_of_metric_reads_as_the_collector_writes_it() {
    let text = detailed::text(Signal::Metrics, &metrics()).expect("well-formed");
    let check = |part: &str| assert!(text.contains(part), "{part}\n--- is not in\n{text}");
    check(
        "Metric #0\nDescriptor:\n     -> Name: gauge\n     -> Description: \n     -> Unit: 1\n     -> DataType: Gauge\n\
         NumberDataPoints #0\nData point attributes:\n     -> label-1: Str(value-1)\n\
         StartTimestamp: 2020-02-11 20:26:12.000000321 +0000 UTC\n\
         Timestamp: 2020-02-11 20:26:13.000000789 +0000 UTC\nValue: 1.230000\n",
    );
    check("     -> IsMonotonic: true\n     -> AggregationTemporality: Cumulative\nNumberDataPoints #0\n");
    check("Value: 456\n");
    check(
        "Count: 1\nSum: 15.000000\nMax: 15.000000\nExplicitBounds #0: 1.000000\nBuckets #0, Count: 0\n\
         Buckets #1, Count: 1\nExemplars:\nExemplar #0\n     -> Trace ID: 22222222222222222222222222222222\n     \
         -> Span ID: 1111111111111111\n     -> Timestamp: 2020-02-11 20:26:13.000000789 +0000 UTC\n     \
         -> Value: 15.000000\n     -> FilteredAttributes:\n          -> attachment: Str(a)\n",
    );
    check(
        "Count: 5\nSum: 0.150000\nBucket [-1.414214, -1.000000), Count: 4\nBucket [-1.000000, -0.707107), Count: 3\n\
         Bucket [0, 0], Count: 1\nBucket (1.414214, 2.000000], Count: 1\nBucket (2.000000, 2.828427], Count: 2\n",
    );
    check("Count: 1\nSum: 15.000000\nQuantileValue #0: Quantile 0.010000, Value 15.000000\n");

    let lines = normal::text(Signal::Metrics, &metrics()).expect("well-formed");
    let check =
        |line: &str| assert!(lines.lines().any(|have| have == line), "{line}\n--- is not in\n{lines}");
    check("gauge{label-1=value-1} 1.23");
    check("sum{label-1=value-1} 456");
    check("histogram{} count=1 sum=15 max=15 le1=0 1");
    check("summary{} count=1 sum=15.000000 q0.01=15");
}

#[test]
fn exponential_buckets_have_the_bounds_that_the_collector_gives_them() {
    let point = ExponentialHistogramDataPoint {
        count: 9,
        scale: 3,
        zero_count: 2,
        positive: Some(Buckets { offset: -2, bucket_counts: vec![1, 0, 3] }),
        negative: Some(Buckets { offset: 4, bucket_counts: vec![2, 1] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 };
    let metrics = vec![metric("e", Data::ExponentialHistogram(data))];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let group = ResourceMetrics { scope_metrics, ..Default::default() };
    let request = ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec();
    // The last line as otelcol 0.155 wrote it for this point.
    assert_eq!(
        normal::text(Signal::Metrics, &request).expect("well-formed"),
        "ResourceMetrics #0\nScopeMetrics #0\ne{} count=9 le-1.5422108254079407=1 le-1.414213562373095=2 zero=2 \
         le0.9170040432046712=1 le1=0 le1.0905077326652577=3\n"
    );
}

#[test]
fn numbers_and_times_are_written_in_gos_notation() {
    let check = |have: String, want: &str| assert_eq!(have, want);
    check(go_format::shortest(1e21), "1e+21");
    check(go_format::shortest(1_000_000.0), "1e+06");
    check(go_format::shortest(123_456_789.0), "1.23456789e+08");
    check(go_format::shortest(999_999.5), "999999.5");
    check(go_format::shortest(0.00001), "1e-05");
    check(go_format::shortest(0.0001), "0.0001");
    check(go_format::shortest(f64::INFINITY), "+Inf");
    check(go_format::fixed(f64::NAN), "NaN");
    check(go_format::time(1_500_000_000), "1970-01-01 00:00:01.5 +0000 UTC");
    check(go_format::hex(&[0; 16]), "");
}

#[tokio::test(start_paused = true)]
async fn sampling_lets_the_first_of_a_second_through_and_then_every_nth() {
    let admitted = |initial, thereafter| {
        let mut sampler = Sampler { initial, thereafter, window: None };
        let now = Instant::now();
        let mut admitted: Vec<u32> = (1..=8).filter(|_| sampler.admits(now)).collect();
        admitted.extend((9..=9).filter(|_| sampler.admits(now + Duration::from_secs(1))));
        admitted
    };
    assert_eq!(admitted(2, 3), [1, 2, 5, 8, 9]);
    assert_eq!(admitted(2, 0), [1, 2, 9]);
    assert_eq!(admitted(2, 1), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

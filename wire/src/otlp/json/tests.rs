//! The rules of OTLP/JSON one by one, and all of them at once as a round trip through prost's objects.

use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;

use super::{from_protobuf, to_protobuf};
use crate::otlp::tests::samples::{self, Samples, nested_value};
use crate::otlp::tests::{reencoded, rewrite};
use crate::otlp::{ANY_VALUE_DEPTH_MAX, check};
use crate::protobuf::{put_bytes_field, put_message};

fn to_json(signal: Signal, bytes: &[u8]) -> String {
    let mut json = Vec::new();
    from_protobuf(signal, bytes, &mut json).expect("well-formed");
    String::from_utf8(json).expect("utf-8")
}

proptest! {
    #[test]
    fn json_keeps_everything(choices in samples::choices(), signal in samples::signal()) {
        let bytes = Samples::new(&choices).request(signal);
        let json = to_json(signal, &bytes);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        let read = to_protobuf(signal, json.as_bytes()).expect("valid");
        // Through prost, which puts a oneof where its first member is declared.
        prop_assert_eq!(reencoded(signal, &read), Ok(bytes.clone()));
        for other in [rewrite::descending(signal, &bytes), rewrite::unpacked_with_unknown_fields(signal, &bytes)] {
            prop_assert_eq!(&to_json(signal, &other), &json);
        }
    }

    #[test]
    fn damaged_json_never_panics(
        choices in samples::choices(),
        signal in samples::signal(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut json = to_json(signal, &Samples::new(&choices).request(signal)).into_bytes();
        for (index, byte) in flips {
            let index = index.index(json.len());
            json[index] = byte;
        }
        if let Ok(bytes) = to_protobuf(signal, &json) {
            prop_assert!(check(signal, bytes.into()).is_ok());
        }
    }
}

#[test]
fn every_prefix_of_a_request_is_refused_without_panic() {
    for signal in Signal::ALL {
        let json = to_json(signal, &samples::full_request(signal));
        let json = json.trim_end();
        // Every byte of the front, which has every kind of token, and samples of the rest.
        for len in (0..json.len().min(3000)).chain((3000..json.len()).step_by(101)) {
            assert!(to_protobuf(signal, &json.as_bytes()[..len]).is_err(), "{signal} {len}");
        }
    }
}

/// The log record that a JSON object stands for.
fn record(json: &str) -> Result<LogRecord, String> {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{json}]}}]}}]}}"#);
    let bytes = to_protobuf(Signal::Logs, json.as_bytes()).map_err(|error| error.to_string())?;
    let mut request = ExportLogsServiceRequest::decode(bytes.as_slice()).expect("valid");
    Ok(request.resource_logs[0].scope_logs[0].log_records.remove(0))
}

/// The body that a JSON `AnyValue` stands for.
fn body(json: &str) -> Result<Option<Value>, String> {
    Ok(record(&format!(r#"{{"body":{json}}}"#))?.body.and_then(|body| body.value))
}

fn span(json: &str) -> Result<Span, String> {
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{json}]}}]}}]}}"#);
    let bytes = to_protobuf(Signal::Traces, json.as_bytes()).map_err(|error| error.to_string())?;
    let mut request = ExportTraceServiceRequest::decode(bytes.as_slice()).expect("valid");
    Ok(request.resource_spans[0].scope_spans[0].spans.remove(0))
}

fn metric(json: &str) -> Result<Metric, String> {
    let json = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{json}]}}]}}]}}"#);
    let bytes = to_protobuf(Signal::Metrics, json.as_bytes()).map_err(|error| error.to_string())?;
    let mut request = ExportMetricsServiceRequest::decode(bytes.as_slice()).expect("valid");
    Ok(request.resource_metrics[0].scope_metrics[0].metrics.remove(0))
}

fn gauge_value(json: &str) -> Result<Option<number_data_point::Value>, String> {
    match metric(&format!(r#"{{"gauge":{{"dataPoints":[{json}]}}}}"#))?.data {
        Some(Data::Gauge(gauge)) => Ok(gauge.data_points[0].value),
        other => panic!("not a gauge: {other:?}"),
    }
}

#[test]
fn integers_are_numbers_or_strings() {
    let check = |json: &str, expected: i64| {
        assert_eq!(body(&format!(r#"{{"intValue":{json}}}"#)), Ok(Some(Value::IntValue(expected))), "{json}");
    };
    check("0", 0);
    check("\"0\"", 0);
    check("-7", -7);
    check("\"-7\"", -7);
    check("1e2", 100);
    check("\"1e2\"", 100);
    check("1.50e1", 15);
    check("3.000", 3);
    check("1200e-2", 12);
    check("0e999999", 0);
    check("9223372036854775807", i64::MAX);
    check("\"-9223372036854775808\"", i64::MIN);
    let refused = |json: &str| assert!(body(&format!(r#"{{"intValue":{json}}}"#)).is_err(), "{json}");
    for json in [
        "1.5",
        "\"\"",
        "\"x\"",
        "\" 1\"",
        "9223372036854775808",
        "1e400",
        "1e-1",
        "true",
        "{}",
        "\"1e\"",
        "\"+1\"",
    ] {
        refused(json);
    }
    refused(&format!("1e{}", i64::MAX));
    refused(&"9".repeat(10_000));
}

#[test]
fn times_and_counts_are_numbers_or_strings() {
    let check = |json: &str, expected: Result<u64, &str>| {
        let read = record(&format!(r#"{{"timeUnixNano":{json}}}"#)).map(|record| record.time_unix_nano);
        match expected {
            Ok(expected) => assert_eq!(read, Ok(expected), "{json}"),
            Err(part) => assert!(read.as_ref().is_err_and(|error| error.contains(part)), "{json}: {read:?}"),
        }
    };
    check("\"1700000000000000000\"", Ok(1_700_000_000_000_000_000));
    check("1700000000000000000", Ok(1_700_000_000_000_000_000));
    check("1.7e18", Ok(1_700_000_000_000_000_000));
    check("18446744073709551615", Ok(u64::MAX));
    check("18446744073709551616", Err("from 0 to 18446744073709551615"));
    check("-1", Err("from 0 to 18446744073709551615"));
    let dropped = record(r#"{"droppedAttributesCount":"3","flags":"257"}"#).expect("valid");
    assert_eq!((dropped.dropped_attributes_count, dropped.flags), (3, 257));
    assert!(record(r#"{"droppedAttributesCount":4294967296}"#).is_err());
}

#[test]
fn floats_are_numbers_or_strings_and_need_not_be_finite() {
    let check = |json: &str, expected: f64| {
        let expected = Some(number_data_point::Value::AsDouble(expected));
        assert_eq!(gauge_value(&format!(r#"{{"asDouble":{json}}}"#)), Ok(expected), "{json}");
    };
    check("1.5", 1.5);
    check("\"1.5\"", 1.5);
    check("2", 2.0);
    check("0", 0.0);
    check("-1e-3", -0.001);
    check("\"Infinity\"", f64::INFINITY);
    check("\"-Infinity\"", f64::NEG_INFINITY);
    check("0.1", 0.1);
    let nan = gauge_value(r#"{"asDouble":"NaN"}"#);
    assert!(matches!(nan, Ok(Some(number_data_point::Value::AsDouble(nan))) if nan.is_nan()), "{nan:?}");
    assert!(matches!(body(r#"{"doubleValue":"NaN"}"#), Ok(Some(Value::DoubleValue(nan))) if nan.is_nan()));
    for refused in ["\"\"", "\"x\"", "true", "1e999", "\"1e999\"", "[]", "\"0x10\""] {
        assert!(gauge_value(&format!(r#"{{"asDouble":{refused}}}"#)).is_err(), "{refused}");
    }
    assert_eq!(gauge_value(r#"{"asInt":"-3"}"#), Ok(Some(number_data_point::Value::AsInt(-3))));
    assert_eq!(gauge_value(r#"{"asInt":0}"#), Ok(Some(number_data_point::Value::AsInt(0))));
    assert_eq!(gauge_value("{}"), Ok(None));
}

#[test]
fn summaries_and_histograms_take_odd_numbers_everywhere() {
    let summary = metric(
        r#"{"summary":{"dataPoints":[{"count":"2","sum":"NaN","quantileValues":[{"quantile":0.5,"value":"Infinity"}]}]}}"#,
    );
    let Ok(Some(Data::Summary(summary))) = summary.map(|metric| metric.data) else { panic!("a summary") };
    let point = &summary.data_points[0];
    assert_eq!((point.count, point.sum.is_nan(), point.quantile_values[0].value), (2, true, f64::INFINITY));
    let histogram = metric(
        r#"{"histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[{"count":3,
           "sum":0,"bucketCounts":["1",2,3e0],"explicitBounds":["0.5",1e3],"min":"-Infinity","max":null}]}}"#,
    );
    let Ok(Some(Data::Histogram(histogram))) = histogram.map(|metric| metric.data) else {
        panic!("a histogram")
    };
    let point = &histogram.data_points[0];
    assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[1, 2, 3][..], &[0.5, 1000.0][..]));
    assert_eq!((point.sum, point.min, point.max), (Some(0.0), Some(f64::NEG_INFINITY), None));
    assert_eq!(histogram.aggregation_temporality, 2);
    let exponential = metric(
        r#"{"exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"scale":"-3","zeroCount":"4",
           "positive":{"offset":"-7","bucketCounts":["1",0]},"negative":{}}]}}"#,
    );
    let Ok(Some(Data::ExponentialHistogram(exponential))) = exponential.map(|metric| metric.data) else {
        panic!("an exponential histogram")
    };
    let point = &exponential.data_points[0];
    let positive = point.positive.as_ref().expect("given");
    assert_eq!((point.scale, point.zero_count, positive.offset), (-3, 4, -7));
    assert_eq!((&positive.bucket_counts[..], point.negative.is_some()), (&[1, 0][..], true));
}

#[test]
fn enums_are_numbers_or_names() {
    let severity =
        |json: &str| record(&format!(r#"{{"severityNumber":{json}}}"#)).map(|record| record.severity_number);
    assert_eq!(severity("9"), Ok(9));
    assert_eq!(severity("\"SEVERITY_NUMBER_INFO\""), Ok(9));
    assert_eq!(severity("\"SEVERITY_NUMBER_FATAL4\""), Ok(24));
    assert_eq!(severity("99"), Ok(99));
    let error = severity("\"INFO\"").expect_err("unknown");
    assert!(
        error.contains(
            "resourceLogs[0].scopeLogs[0].logRecords[0].severityNumber: unknown enum name \"INFO\""
        ),
        "{error}"
    );
    assert_eq!(span(r#"{"kind":"SPAN_KIND_SERVER"}"#).map(|span| span.kind), Ok(2));
    let status = span(r#"{"status":{"code":"STATUS_CODE_ERROR"}}"#).expect("valid").status.expect("given");
    assert_eq!(status.code, 2);
}

#[test]
fn ids_are_hex_of_any_case_and_a_wrong_length_is_left_to_check() {
    let ids = record(r#"{"traceId":"0123456789abcdefABCDEF0123456789","spanId":"00F067aa0ba902b7"}"#)
        .expect("valid");
    assert_eq!(ids.trace_id[..12], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 0x01]);
    assert_eq!(ids.span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert!(record(r#"{"traceId":"","spanId":null}"#).expect("valid").trace_id.is_empty());
    assert!(record(r#"{"traceId":"zz"}"#).expect_err("not hex").contains("traceId: not hex: \"zz\""));
    for digits in 1..70 {
        let id = "a".repeat(digits);
        let bytes = record(&format!(r#"{{"traceId":"{id}"}}"#)).expect("hex").trace_id;
        assert_eq!(bytes.len() == 16, digits == 32, "{digits} digits");
        let bytes = span(&format!(r#"{{"parentSpanId":"{id}"}}"#)).expect("hex").parent_span_id;
        assert_eq!(bytes.len() == 8, digits == 16, "{digits} digits");
    }
}

#[test]
fn bytes_are_base64_of_both_alphabets() {
    let check = |json: &str, expected: &[u8]| {
        assert_eq!(
            body(&format!(r#"{{"bytesValue":"{json}"}}"#)),
            Ok(Some(Value::BytesValue(expected.into()))),
            "{json}"
        );
    };
    check("", b"");
    check("aGk=", b"hi");
    check("aGk", b"hi");
    check("+/8=", &[0xfb, 0xff]);
    check("-_8=", &[0xfb, 0xff]);
    check("-_8", &[0xfb, 0xff]);
    assert!(body(r#"{"bytesValue":"a*"}"#).expect_err("not base64").contains("body.bytesValue: not base64"));
}

#[test]
fn names_are_camel_case_or_snake_case() {
    let read =
        record(r#"{"time_unix_nano":"5","observed_time_unix_nano":6,"trace_id":"","severity_text":"x"}"#);
    let read = read.expect("valid");
    assert_eq!((read.time_unix_nano, read.observed_time_unix_nano, read.severity_text.as_str()), (5, 6, "x"));
    let json = r#"{"resource_logs":[{"scope_logs":[{"log_records":[{}],"schema_url":"u"}]}]}"#;
    let bytes = to_protobuf(Signal::Logs, json.as_bytes()).expect("valid");
    let request = ExportLogsServiceRequest::decode(bytes.as_slice()).expect("valid");
    assert_eq!(request.resource_logs[0].scope_logs[0].schema_url, "u");
    assert_eq!(body(r#"{"string_value":"s"}"#), Ok(Some(Value::StringValue("s".into()))));
}

#[test]
fn null_is_the_default_and_unknown_fields_are_ignored() {
    assert_eq!(
        record(r#"{"attributes":null,"body":null,"timeUnixNano":null,"traceId":null}"#),
        Ok(LogRecord::default())
    );
    assert_eq!(metric(r#"{"name":null,"gauge":null,"unit":null}"#), Ok(Metric::default()));
    assert_eq!(
        record(r#"{"extra":{"deep":[1,"two",{"x":null}]},"Body":1,"__proto__":[],"eventName":"e"}"#)
            .map(|r| r.event_name),
        Ok("e".into())
    );
    for empty in ["{}", "null", " {} ", r#"{"resourceLogs":[]}"#, r#"{"resourceLogs":null}"#] {
        assert_eq!(to_protobuf(Signal::Logs, empty.as_bytes()), Ok(Vec::new()), "{empty}");
    }
}

#[test]
fn values_of_every_type_are_kept_also_the_empty_ones() {
    let check = |json: &str, expected: Option<Value>| assert_eq!(body(json), Ok(expected), "{json}");
    check("{}", None);
    check(r#"{"stringValue":""}"#, Some(Value::StringValue(String::new())));
    check(r#"{"stringValue":"a\n\u00e9\ud83d\ude00"}"#, Some(Value::StringValue("a\né😀".into())));
    check(r#"{"boolValue":false}"#, Some(Value::BoolValue(false)));
    check(r#"{"arrayValue":{}}"#, Some(Value::ArrayValue(Default::default())));
    check(r#"{"kvlistValue":{"values":[]}}"#, Some(Value::KvlistValue(Default::default())));
    let attributes = record(
        r#"{"attributes":[{"key":"a"},{"key":"b","value":{}},{"value":{"intValue":1}},
           {"key":"c","value":{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"x"},null]}}}]}"#,
    );
    let attributes = attributes.expect("valid").attributes;
    let keys: Vec<_> = attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "", "c"]);
    assert_eq!(attributes[0], KeyValue { key: "a".into(), value: None, key_strindex: 0 });
    assert_eq!(attributes[1].value, Some(AnyValue { value: None }));
    let Some(Value::ArrayValue(array)) = &attributes[3].value.as_ref().expect("given").value else {
        panic!("array")
    };
    assert_eq!(array.values.len(), 3);
}

#[test]
fn a_wrong_type_is_an_error_with_its_path() {
    let check = |json: &str, expected: &str| {
        let error = metric(json).expect_err("wrong type");
        let path = "json: resourceMetrics[0].scopeMetrics[0].metrics[0].";
        assert!(error.strip_prefix(path).is_some_and(|rest| rest.starts_with(expected)), "{error}");
    };
    check(r#"{"gauge":{"dataPoints":"oops"}}"#, "gauge.dataPoints: got a string, expected an array at byte");
    check(r#"{"gauge":[]}"#, "gauge: got an array, expected an object at byte");
    check(r#"{"name":5}"#, "name: got a number, expected a string at byte");
    check(r#"{"sum":{"isMonotonic":"true"}}"#, "sum.isMonotonic: got a string, expected a boolean at byte");
    check(
        r#"{"sum":{"aggregationTemporality":"DELTA"}}"#,
        "sum.aggregationTemporality: unknown enum name \"DELTA\", expected AGGREGATION_TEMPORALITY_… at byte",
    );
    check(
        r#"{"gauge":{"dataPoints":[{},{"timeUnixNano":{}}]}}"#,
        "gauge.dataPoints[1].timeUnixNano: got an object, expected an integer at byte",
    );
    let top = |json: &[u8]| to_protobuf(Signal::Traces, json).expect_err("malformed").to_string();
    assert_eq!(top(b""), "json: got the end, expected an object at byte 0");
    assert_eq!(top(b"[]"), "json: got an array, expected an object at byte 0");
    assert_eq!(top(b"{} {}"), "json: got an object, expected the end at byte 3");
    assert_eq!(top(b"{\"a\":\"\xff\"}"), "json: invalid utf-8 at byte 6");
    assert_eq!(top(b"\x0a\x02\x1a\x00"), "json: got '\\u{2}', expected an object at byte 1");
}

#[test]
fn values_nest_up_to_the_cap_and_no_deeper() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels - 1);
        let value = format!(r#"{open}{{"intValue":1}}{}"#, "]}}".repeat(levels - 1));
        let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}"#);
        // prost's own cap is lower.
        let bytes = to_protobuf(Signal::Logs, json.as_bytes()).map_err(|error| error.to_string())?;
        check(Signal::Logs, bytes.into()).map_err(|error| error.to_string())
    };
    let max = usize::from(ANY_VALUE_DEPTH_MAX);
    assert!(nested(max).is_ok());
    assert!(nested(max + 1).expect_err("too deep").contains("attribute values nest deeper than 64"));
    assert!(nested(20_000).is_err());
    let mut payload = Vec::new();
    put_message(&mut payload, 1, |out| {
        put_message(out, 2, |out| put_message(out, 2, |out| put_bytes_field(out, 5, &nested_value(max + 1))));
    });
    assert!(from_protobuf(Signal::Logs, &payload, &mut Vec::new()).is_err());
}

/// The shape that the JavaScript SDK's JSON serializer sends: enums as numbers, times as strings, doubles unquoted.
#[test]
fn a_body_as_the_javascript_sdk_sends_it_is_read() {
    let json = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],
        "droppedAttributesCount":0},"scopeMetrics":[{"scope":{"name":"meter","version":"1"},"metrics":[{"name":"requests",
        "description":"","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"attributes":[
        {"key":"route","value":{"stringValue":"/"}}],"startTimeUnixNano":"1700000000000000000",
        "timeUnixNano":"1700000060000000000","asDouble":12}]}}]}]}]}"#;
    let bytes = to_protobuf(Signal::Metrics, json.as_bytes()).expect("valid");
    let request = ExportMetricsServiceRequest::decode(bytes.as_slice()).expect("valid");
    let Some(Data::Sum(sum)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("a sum")
    };
    let point = &sum.data_points[0];
    assert!(sum.is_monotonic);
    assert_eq!(point.value, Some(number_data_point::Value::AsDouble(12.0)));
    assert_eq!(point.time_unix_nano, 1_700_000_060_000_000_000);
}

#[test]
fn written_json_follows_the_mapping() {
    let mut payload = Vec::new();
    put_message(&mut payload, 1, |out| {
        put_message(out, 2, |out| {
            put_message(out, 2, |out| {
                let record = LogRecord {
                    time_unix_nano: 5,
                    severity_number: 9,
                    body: Some(AnyValue { value: Some(Value::DoubleValue(f64::NAN)) }),
                    trace_id: vec![0xab; 16],
                    attributes: vec![KeyValue {
                        key: "b".into(),
                        value: Some(AnyValue { value: Some(Value::BytesValue(vec![0xfb, 0xff])) }),
                        key_strindex: 0,
                    }],
                    ..LogRecord::default()
                };
                out.extend_from_slice(&record.encode_to_vec());
            });
        });
    });
    assert_eq!(
        to_json(Signal::Logs, &payload),
        concat!(
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"5","severityNumber":9,"#,
            r#""body":{"doubleValue":"NaN"},"attributes":[{"key":"b","value":{"bytesValue":"+/8="}}],"#,
            r#""traceId":"abababababababababababababababab"}]}]}]}"#,
        )
    );
}

/// Of a oneof the last member on the wire counts, whatever its number.
#[test]
fn only_the_last_member_of_a_oneof_is_written() {
    let mut payload = Vec::new();
    put_message(&mut payload, 1, |out| {
        put_message(out, 2, |out| {
            put_message(out, 2, |out| put_message(out, 5, |out| out.extend_from_slice(b"\x18\x07\x0a\x01x")));
        });
    });
    assert_eq!(
        to_json(Signal::Logs, &payload),
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#
    );
}

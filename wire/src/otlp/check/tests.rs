use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use proptest::prelude::*;
use prost::Message;

use super::check;
use crate::otlp::tests::samples::{self, Samples};
use crate::otlp::tests::{reencoded, rewrite};
use crate::otlp::{ANY_VALUE_DEPTH_MAX, item_count};
use crate::protobuf::{put_bytes_field, put_message};

fn items_by_prost(signal: Signal, bytes: &[u8]) -> u64 {
    let items: usize = match signal {
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(bytes).expect("valid");
            request.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
        }
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(bytes).expect("valid");
            request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(bytes).expect("valid");
            let metrics =
                request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
            metrics.map(|metric| points_len(metric.data.as_ref())).sum()
        }
    };
    items as u64
}

fn points_len(data: Option<&Data>) -> usize {
    match data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}

proptest! {
    #[test]
    fn well_formed_requests_pass_unchanged_and_counted(choices in samples::choices(), signal in samples::signal()) {
        let bytes = Samples::new(&choices).request(signal);
        let items = items_by_prost(signal, &bytes);
        for bytes in [
            rewrite::descending(signal, &bytes),
            rewrite::unpacked_with_unknown_fields(signal, &bytes),
            bytes,
        ] {
            let bytes = Bytes::from(bytes);
            let checked = check(signal, bytes.clone()).expect("well-formed");
            prop_assert_eq!(checked.payload.as_ptr(), bytes.as_ptr(), "nothing is copied");
            prop_assert_eq!((checked.payload, checked.items), (bytes, items));
            prop_assert!(checked.report.rejected.is_empty());
        }
    }

    /// What `check` lets through prost must be able to read, for the receivers of what we forward.
    #[test]
    fn what_passes_is_readable_by_prost(
        choices in samples::choices(),
        signal in samples::signal(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Samples::new(&choices).request(signal);
        if bytes.is_empty() {
            return Ok(());
        }
        for (index, byte) in flips {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(checked) = check(signal, bytes.into()) {
            prop_assert!(reencoded(signal, &checked.payload).is_ok(), "{:?}", reencoded(signal, &checked.payload).err());
            prop_assert_eq!(checked.items, item_count(signal, &checked.payload).expect("well-formed"));
            let again = check(signal, checked.payload.clone()).expect("CHECK-1");
            prop_assert_eq!((again.payload, again.items), (checked.payload, checked.items));
            prop_assert!(again.report.rejected.is_empty());
        }
    }

    #[test]
    fn only_records_with_bad_ids_are_cut(choices in samples::choices(), bad in any::<u64>()) {
        let mut request = Samples::new(&choices).logs();
        let (mut seen, mut refused) = (0, 0);
        let mut sent = request.clone();
        let records = sent.resource_logs.iter_mut().flat_map(|r| &mut r.scope_logs).flat_map(|s| &mut s.log_records);
        for record in records {
            if bad >> (seen % 64) & 1 == 1 {
                refused += 1;
                match seen % 3 {
                    0 => record.trace_id = vec![1; 15],
                    1 => record.span_id = vec![1; 9],
                    _ => record.trace_id = vec![1],
                }
            }
            seen += 1;
        }
        let mut index = 0;
        for scope in request.resource_logs.iter_mut().flat_map(|r| &mut r.scope_logs) {
            scope.log_records.retain(|_| {
                index += 1;
                bad >> ((index - 1) % 64) & 1 == 0
            });
        }
        let sent = sent.encode_to_vec();
        for sent in [rewrite::unpacked_with_unknown_fields(Signal::Logs, &sent), sent] {
            let checked = check(Signal::Logs, sent.into()).expect("well-formed");
            prop_assert_eq!((checked.items, checked.report.rejected_count()), (seen - refused, refused));
            // Encoded, since NaN differs from itself.
            let left = ExportLogsServiceRequest::decode(checked.payload).expect("valid");
            prop_assert_eq!(left.encode_to_vec(), request.encode_to_vec());
        }
    }
}

#[test]
fn every_proper_prefix_is_refused_or_ends_between_groups() {
    for signal in Signal::ALL {
        let bytes = Bytes::from(samples::full_request(signal));
        for len in 0..bytes.len() {
            if let Ok(checked) = check(signal, bytes.slice(..len)) {
                assert_eq!(checked.items, items_by_prost(signal, &checked.payload), "{signal} {len}");
            }
        }
    }
}

#[test]
fn an_empty_request_has_no_items() {
    for signal in Signal::ALL {
        let checked = check(signal, Bytes::new()).expect("well-formed");
        assert_eq!((checked.items, checked.payload.len()), (0, 0));
    }
}

#[test]
fn a_refused_item_is_named_with_what_it_got_and_what_is_allowed() {
    let mut request = Samples::new(&[]).logs();
    request.resource_logs.resize_with(1, Default::default);
    request.resource_logs[0].scope_logs.resize_with(1, Default::default);
    let records = &mut request.resource_logs[0].scope_logs[0].log_records;
    records.resize_with(4, Default::default);
    records[1].trace_id = vec![7; 3];
    records[2].span_id = vec![7; 16];
    records[3].trace_id = vec![7; 32];
    let checked = check(Signal::Logs, request.encode_to_vec().into()).expect("well-formed");
    assert_eq!(checked.items, 1);
    let rejected: Vec<_> =
        checked.report.rejected.iter().map(|r| (r.reason, r.count, r.message.as_str())).collect();
    assert_eq!(
        rejected,
        [
            ("trace_id_length", 2, "log record 1: traceId has 3 bytes, 0 or 16 are allowed"),
            ("span_id_length", 1, "log record 2: spanId has 16 bytes, 0 or 8 are allowed"),
        ]
    );
}

#[test]
fn a_bad_link_fails_its_span_and_no_other() {
    let mut request = Samples::new(&[]).traces();
    request.resource_spans.resize_with(1, Default::default);
    request.resource_spans[0].scope_spans.resize_with(1, Default::default);
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans.resize_with(3, Default::default);
    for (index, span) in spans.iter_mut().enumerate() {
        span.name = format!("span {index}");
        span.links = vec![Link { trace_id: vec![1; 16], span_id: vec![1; 8], ..Link::default() }];
    }
    spans[0].links[0].span_id = vec![1; 4];
    spans[2].parent_span_id = vec![1; 16];
    let checked = check(Signal::Traces, request.encode_to_vec().into()).expect("well-formed");
    let left = ExportTraceServiceRequest::decode(checked.payload).expect("valid");
    let names: Vec<_> =
        left.resource_spans[0].scope_spans[0].spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!((names, checked.items, checked.report.rejected_count()), (vec!["span 1"], 1, 2));
    assert_eq!(checked.report.rejected[0].message, "span 0: spanId has 4 bytes, 0 or 8 are allowed",);
}

#[test]
fn a_bad_exemplar_is_left_out_and_its_point_kept() {
    let choices: Vec<u8> =
        (0..9000u32).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 13) as u8 | 1).collect();
    let mut request = Samples::new(&choices).metrics();
    let mut expected = request.clone();
    let mut cut = 0;
    fn exemplars(
        request: &mut ExportMetricsServiceRequest,
    ) -> impl Iterator<Item = &mut Vec<opentelemetry_proto::tonic::metrics::v1::Exemplar>> {
        let metrics = request
            .resource_metrics
            .iter_mut()
            .flat_map(|r| &mut r.scope_metrics)
            .flat_map(|s| &mut s.metrics);
        metrics.flat_map(|metric| match &mut metric.data {
            Some(Data::Gauge(data)) => data.data_points.iter_mut().map(|p| &mut p.exemplars).collect(),
            Some(Data::Sum(data)) => data.data_points.iter_mut().map(|p| &mut p.exemplars).collect(),
            Some(Data::Histogram(data)) => data.data_points.iter_mut().map(|p| &mut p.exemplars).collect(),
            Some(Data::ExponentialHistogram(data)) => {
                data.data_points.iter_mut().map(|p| &mut p.exemplars).collect()
            }
            _ => Vec::new(),
        })
    }
    for (sent, expected) in exemplars(&mut request).zip(exemplars(&mut expected)) {
        if let Some(first) = sent.first_mut() {
            first.trace_id = vec![9; 7];
            expected.remove(0);
            cut += 1;
        }
    }
    assert!(cut > 3, "the sample has exemplars");
    let sent = request.encode_to_vec();
    let items = items_by_prost(Signal::Metrics, &sent);
    let checked = check(Signal::Metrics, sent.into()).expect("well-formed");
    assert_eq!((checked.items, checked.report.rejected_count()), (items, 0));
    assert_eq!(checked.report.rejected.len(), 1, "{:?}", checked.report);
    assert_eq!(checked.report.rejected[0].reason, "exemplar_id_length");
    // NaN differs from itself, its encoding does not.
    assert_eq!(checked.payload, expected.encode_to_vec());
}

/// One log record with these bytes.
fn record(bytes: &[u8]) -> Bytes {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| put_message(out, 2, |out| put_bytes_field(out, 2, bytes)));
    out.into()
}

#[test]
fn malformed_requests_are_refused_with_the_path() {
    let check = |payload: Bytes, expected: &str| {
        let error = check(Signal::Logs, payload).expect_err("malformed");
        assert_eq!(error.kind(), model::ErrorKind::Invalid);
        assert_eq!(error.to_string(), expected);
    };
    check(Bytes::from_static(b"\x0a\x05"), "length 5 runs past the end, 0 bytes are left");
    check(
        Bytes::from_static(b"\x08\x01"),
        "resourceLogs: field 1: got wire type varint, expected length-delimited",
    );
    check(
        record(b"\x08\x01"),
        "resourceLogs: scopeLogs: logRecords: timeUnixNano: field 1: got wire type varint, expected fixed64",
    );
    check(
        record(b"\x1a\x02a\xff"),
        "resourceLogs: scopeLogs: logRecords: severityText: string of 2 bytes is not valid utf-8 at byte 1",
    );
    check(
        record(b"\x32\x03\x0a\x01\xff"),
        "resourceLogs: scopeLogs: logRecords: attributes: string of 1 bytes is not valid utf-8 at byte 0",
    );
    check(
        record(b"\x32\x08\x0a\x01k\x12\x03\x0a\x01\xff"),
        "resourceLogs: scopeLogs: logRecords: attributes: string of 1 bytes is not valid utf-8 at byte 0",
    );
    check(
        record(b"\x2a\x02\x0a\x05"),
        "resourceLogs: scopeLogs: logRecords: body: length 5 runs past the end, 0 bytes are left",
    );
}

#[test]
fn values_nest_up_to_the_cap_and_no_deeper() {
    let nested = |levels: usize| {
        let mut bytes = Vec::new();
        put_bytes_field(&mut bytes, 5, &samples::nested_value(levels));
        check(Signal::Logs, record(&bytes)).map(|checked| checked.items)
    };
    assert_eq!(nested(ANY_VALUE_DEPTH_MAX.into()), Ok(1));
    let error = nested(usize::from(ANY_VALUE_DEPTH_MAX) + 1).expect_err("too deep");
    assert!(error.to_string().ends_with("attribute values nest deeper than 64"), "{error}");
    assert!(nested(10_000).is_err());
}

#[test]
fn a_metric_with_two_kinds_of_data_is_refused() {
    let mut payload = Vec::new();
    put_message(&mut payload, 1, |out| {
        put_message(out, 2, |out| put_message(out, 2, |out| out.extend_from_slice(b"\x2a\x00\x3a\x00")));
    });
    let error = check(Signal::Metrics, payload.into()).expect_err("ambiguous");
    assert_eq!(
        error.to_string(),
        "resourceMetrics: scopeMetrics: metrics: metric with more than one data field"
    );
}

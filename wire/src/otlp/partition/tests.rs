use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::{PartsRoom, split_by_resource, split_by_trace, split_logs_by_trace};

fn group(resource: u32, scope: &str, spans: &[(u8, &str)]) -> ResourceSpans {
    let span = |&(trace, name): &(u8, &str)| Span {
        trace_id: vec![trace; 16],
        name: name.to_owned(),
        ..Span::default()
    };
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    ResourceSpans {
        resource: Some(Resource { dropped_attributes_count: resource, ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            spans: spans.iter().map(span).collect(),
            schema_url: "s".to_owned(),
        }],
        schema_url: "r".to_owned(),
    }
}

fn payload(resource_spans: Vec<ResourceSpans>) -> Bytes {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

#[test]
fn each_trace_gets_its_spans_with_their_resources_and_scopes() {
    let whole = payload(vec![
        group(1, "a", &[(7, "1"), (8, "2"), (7, "3")]),
        group(2, "b", &[(8, "4")]),
        group(3, "c", &[]),
    ]);
    let parts = split_by_trace(&whole, &mut PartsRoom::of(whole.len())).expect("well-formed");
    let want = [
        (7, 2, payload(vec![group(1, "a", &[(7, "1"), (7, "3")])])),
        (8, 2, payload(vec![group(1, "a", &[(8, "2")]), group(2, "b", &[(8, "4")])])),
    ];
    assert_eq!(parts.len(), want.len());
    for (part, (trace, items, want)) in parts.iter().zip(want) {
        assert_eq!((&part.key[..], part.items), (&[trace; 16][..], items));
        let read = |bytes: &Bytes| ExportTraceServiceRequest::decode(bytes.clone()).expect("well-formed");
        assert_eq!(read(&part.payload), read(&want));
    }
}

#[test]
fn each_trace_of_log_records_gets_them_and_those_of_none_are_one_part() {
    let request = |records: &[(u8, &str)]| {
        let record = |&(trace, name): &(u8, &str)| LogRecord {
            trace_id: if trace == 0 { Vec::new() } else { vec![trace; 16] },
            event_name: name.to_owned(),
            ..LogRecord::default()
        };
        let scope = ScopeLogs { log_records: records.iter().map(record).collect(), ..ScopeLogs::default() };
        let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
        Bytes::from(ExportLogsServiceRequest { resource_logs: vec![group] }.encode_to_vec())
    };
    let whole = request(&[(7, "1"), (0, "2"), (8, "3"), (0, "4"), (7, "5")]);
    let parts = split_logs_by_trace(&whole, &mut PartsRoom::of(whole.len())).expect("well-formed");
    let seen: Vec<_> = parts.iter().map(|part| (&part.key[..], part.payload.clone(), part.items)).collect();
    let want = [
        (&[7; 16][..], request(&[(7, "1"), (7, "5")]), 2),
        (&[][..], request(&[(0, "2"), (0, "4")]), 2),
        (&[8; 16][..], request(&[(8, "3")]), 1),
    ];
    assert_eq!(seen, want);
}

#[test]
fn each_resource_gets_its_own_payload() {
    let groups = [group(1, "a", &[(7, "1"), (8, "2")]), group(3, "c", &[]), group(2, "b", &[(8, "4")])];
    let parts = split_by_resource(Signal::Traces, &payload(groups.to_vec())).expect("well-formed");
    let seen: Vec<_> = parts.iter().map(|part| (part.payload.clone(), part.items)).collect();
    assert_eq!(seen, [(payload(vec![groups[0].clone()]), 2), (payload(vec![groups[2].clone()]), 1)]);
    let resource = groups[2].resource.as_ref().expect("has one").encode_to_vec();
    assert_eq!(parts[1].key, resource);
}

#[test]
fn a_large_resource_is_not_repeated_for_each_of_many_traces() {
    let mut large = group(1, &"s".repeat(1 << 20), &[]);
    let spans = (0..200_u8).map(|trace| Span { trace_id: vec![trace; 16], ..Span::default() });
    large.scope_spans[0].spans = spans.collect();
    let whole = payload(vec![large]);
    let error =
        split_by_trace(&whole, &mut PartsRoom::of(whole.len())).expect_err("200 MiB of a payload of one");
    assert!(error.to_string().contains("the parts of the payload would have more than"), "{error}");
}

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource as ProstResource;
use proptest::prelude::*;
use prost::Message;

use super::{Edited, Fate, Place, ResourceMemo, edit_records, edit_resources, put_any_value, put_resource};
use crate::DecodeError;
use crate::otlp::tests::rewrite;
use crate::otlp::tests::samples::{self, Samples};
use crate::otlp::{self, Resource, View};

/// Adds `cluster="x"` and leaves out `a`, as a processor would.
fn add_cluster(resource: &[u8], out: &mut Vec<u8>) -> Result<Edited, DecodeError> {
    let mut value = Vec::new();
    put_any_value(&mut value, &otlp::AnyValue::String("x"));
    let mut attributes = Vec::new();
    for attribute in Resource::parse(resource)?.attributes.iter() {
        let attribute = attribute?;
        if attribute.key()? != "a" {
            attributes.push((attribute.key()?, attribute.value_bytes()));
        }
    }
    attributes.push(("cluster", &value));
    put_resource(out, resource, attributes)?;
    Ok(Edited::Replaced)
}

proptest! {
    #[test]
    fn every_resource_is_replaced_and_nothing_else(choices in samples::choices(), descending in any::<bool>()) {
        let mut samples = Samples::new(&choices);
        samples.always_present = true;
        let mut expected = samples.logs();
        let mut bytes = expected.encode_to_vec();
        if descending {
            bytes = rewrite::descending(Signal::Logs, &bytes);
        }
        for group in &mut expected.resource_logs {
            let attributes = &mut group.resource.get_or_insert_default().attributes;
            attributes.retain(|attribute| attribute.key != "a");
            let value = Some(AnyValue { value: Some(any_value::Value::StringValue("x".into())) });
            attributes.push(KeyValue { key: "cluster".into(), value, key_strindex: 0 });
        }
        let edited = edit_resources(&bytes.into(), add_cluster).expect("well-formed");
        prop_assert_eq!(ExportLogsServiceRequest::decode(edited).expect("valid").encode_to_vec(), expected.encode_to_vec());
    }
}

#[test]
fn a_group_without_resource_gets_one() {
    // One ResourceLogs with nothing but a schema URL.
    let edited = edit_resources(&Bytes::from_static(b"\x0a\x03\x1a\x01u"), add_cluster).expect("valid");
    let request = ExportLogsServiceRequest::decode(edited).expect("valid");
    let resource = request.resource_logs[0].resource.as_ref().expect("added");
    assert_eq!(
        (resource.attributes[0].key.as_str(), request.resource_logs[0].schema_url.as_str()),
        ("cluster", "u")
    );
}

#[test]
fn an_unchanged_payload_is_not_copied() {
    let bytes = Bytes::from(samples::full_request(Signal::Logs));
    let edited = edit_resources(&bytes, |_, out| {
        out.push(1);
        Ok(Edited::Unchanged)
    });
    assert_eq!(edited.expect("valid").as_ptr(), bytes.as_ptr());
}

#[test]
fn only_some_groups_may_change() {
    let group = |name: &str| {
        let mut bytes = Vec::new();
        crate::protobuf::put_message(&mut bytes, 1, |out| {
            crate::protobuf::put_message(out, 1, |out| super::put_key_value(out, 1, name, b""));
        });
        bytes
    };
    let payload = Bytes::from([group("keep"), group("change"), group("keep")].concat());
    let edited = edit_resources(&payload, |resource, out| {
        if resource.windows(6).any(|window| window == b"change") {
            add_cluster(resource, out)
        } else {
            Ok(Edited::Unchanged)
        }
    });
    let request = ExportLogsServiceRequest::decode(edited.expect("valid")).expect("valid");
    let attributes: Vec<_> =
        request.resource_logs.iter().map(|g| g.resource.as_ref().map_or(0, |r| r.attributes.len())).collect();
    assert_eq!(attributes, [1, 2, 1]);
}

#[test]
fn an_edit_runs_once_per_resource_until_the_memo_is_full() {
    let bytes = Bytes::from(samples::full_request(Signal::Logs));
    let mut memo = ResourceMemo::new(1 << 20);
    let mut calls = 0;
    let mut edit = |memo: &mut ResourceMemo| {
        memo.edit_resources(&bytes, |resource, out| {
            calls += 1;
            add_cluster(resource, out)
        })
    };
    let first = edit(&mut memo).expect("valid");
    let second = edit(&mut memo).expect("valid");
    assert_eq!((first.clone(), first), (second, edit_resources(&bytes, add_cluster).expect("valid")));
    let groups = otlp::resources(&bytes).count();
    assert_eq!(calls, groups);
    // With no room nothing is remembered, and the result is the same.
    let mut memo = ResourceMemo::new(10);
    let plain = edit_resources(&bytes, add_cluster).expect("valid");
    assert_eq!(memo.edit_resources(&bytes, add_cluster), Ok(plain));
}

#[test]
fn values_of_every_type_are_written_as_prost_writes_them() {
    let check = |value: any_value::Value| {
        let encoded = AnyValue { value: Some(value) }.encode_to_vec();
        let mut out = Vec::new();
        put_any_value(&mut out, &otlp::AnyValue::parse(&encoded).expect("valid"));
        assert_eq!(out, encoded);
    };
    check(any_value::Value::StringValue("x".into()));
    check(any_value::Value::BoolValue(false));
    check(any_value::Value::IntValue(-1));
    check(any_value::Value::DoubleValue(f64::NAN));
    check(any_value::Value::BytesValue(vec![0, 255]));
    check(any_value::Value::ArrayValue(Default::default()));
    let values = vec![KeyValue { key: "k".into(), value: None, key_strindex: 0 }];
    check(any_value::Value::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList { values }));
    let mut out = Vec::new();
    put_any_value(&mut out, &otlp::AnyValue::Empty);
    assert!(out.is_empty());
}

/// Two resources, three scopes, five records, by severity.
fn numbered_logs() -> ExportLogsServiceRequest {
    let record = |number: &i32| LogRecord { severity_number: *number, ..LogRecord::default() };
    let scope = |numbers: &[i32]| ScopeLogs {
        scope: Some(InstrumentationScope {
            name: format!("s{}", numbers[0]),
            ..InstrumentationScope::default()
        }),
        log_records: numbers.iter().map(record).collect(),
        ..ScopeLogs::default()
    };
    let group = |scopes: Vec<ScopeLogs>| ResourceLogs {
        resource: Some(ProstResource { dropped_attributes_count: 3, ..ProstResource::default() }),
        scope_logs: scopes,
        schema_url: "url".to_owned(),
    };
    ExportLogsServiceRequest {
        resource_logs: vec![group(vec![scope(&[1, 2]), scope(&[3])]), group(vec![scope(&[4, 5])])],
    }
}

#[test]
fn records_are_kept_replaced_and_removed_one_by_one_and_empty_groups_go() {
    let payload = Bytes::from(numbered_logs().encode_to_vec());
    let edit = |_: &Place<'_>, record: &[u8], out: &mut Vec<u8>| {
        let record = LogRecord::decode(record).expect("well-formed");
        Ok::<_, DecodeError>(match record.severity_number {
            2 => {
                LogRecord { severity_number: 20, ..record }.encode(out).expect("a Vec takes all");
                Fate::Replaced
            }
            3..=5 => Fate::Removed,
            _ => Fate::Kept,
        })
    };
    let edited = edit_records(&payload, edit).expect("well-formed");
    let mut wanted = numbered_logs();
    wanted.resource_logs.pop();
    wanted.resource_logs[0].scope_logs.pop();
    wanted.resource_logs[0].scope_logs[0].log_records[1].severity_number = 20;
    assert_eq!(ExportLogsServiceRequest::decode(edited).expect("well-formed"), wanted);
}

#[test]
fn records_know_their_place_and_an_unchanged_payload_is_not_copied() {
    let payload = Bytes::from(numbered_logs().encode_to_vec());
    let mut scopes = Vec::new();
    let edited = edit_records(&payload, |place, _, _| {
        let scope = InstrumentationScope::decode(place.scope).expect("well-formed");
        let resource = ProstResource::decode(place.resource).expect("well-formed");
        assert_eq!(resource.dropped_attributes_count, 3);
        scopes.push(scope.name);
        Ok::<_, DecodeError>(Fate::Kept)
    });
    assert_eq!(edited.expect("well-formed").as_ptr(), payload.as_ptr());
    assert_eq!(scopes, ["s1", "s1", "s3", "s4", "s4"]);
}

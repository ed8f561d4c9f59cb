use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::testing::{Destination, batch, processor_context};
use crate::{Batch, ComponentConfig, ComponentId, Consumer};

fn pairs(attributes: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue((*value).to_owned())) }),
        ..KeyValue::default()
    };
    attributes.iter().map(pair).collect()
}

fn group(resource: &[(&str, &str)], records: &[&[(&str, &str)]]) -> ResourceLogs {
    let record = |attributes: &&[(&str, &str)]| LogRecord {
        attributes: pairs(attributes),
        severity_number: 9,
        ..LogRecord::default()
    };
    let scope = ScopeLogs {
        scope: Some(opentelemetry_proto::tonic::common::v1::InstrumentationScope::default()),
        log_records: records.iter().map(record).collect(),
        ..ScopeLogs::default()
    };
    let resource = Resource { attributes: pairs(resource), ..Resource::default() };
    ResourceLogs { resource: Some(resource), scope_logs: vec![scope], schema_url: String::new() }
}

async fn grouped(config: Json, groups: Vec<ResourceLogs>) -> Vec<ResourceLogs> {
    let next = Destination::new();
    let id = ComponentId::parse("groupbyattrs").expect("an id");
    let consumer = Arc::clone(&next) as Arc<dyn Consumer>;
    let config = ComponentConfig { id: &id, value: &config };
    let processor = (super::FACTORY.create)(&config, Signal::Logs, &processor_context(), consumer);
    let request = ExportLogsServiceRequest { resource_logs: groups };
    let sent = Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 3) };
    processor.expect("a good config").consume(sent).await.expect("taken");
    let payload = next.seen.lock()[0].payload.clone();
    ExportLogsServiceRequest::decode(payload).expect("well-formed").resource_logs
}

#[tokio::test]
async fn the_keys_move_to_the_resource_and_records_of_equal_ones_meet() {
    let sent = vec![
        group(&[("cluster", "a")], &[&[("host", "1"), ("x", "y")], &[("host", "2")], &[("x", "z")]]),
        group(&[("host", "1"), ("cluster", "a")], &[&[("x", "w")]]),
    ];
    let wanted = vec![
        group(&[("cluster", "a"), ("host", "1")], &[&[("x", "y")], &[("x", "w")]]),
        group(&[("cluster", "a"), ("host", "2")], &[&[]]),
        group(&[("cluster", "a")], &[&[("x", "z")]]),
    ];
    assert_eq!(grouped(json!({"keys": ["host", "absent"]}), sent).await, wanted);
}

#[tokio::test]
async fn without_keys_equal_resources_are_joined() {
    let sent = vec![
        group(&[("a", "1"), ("b", "2")], &[&[("x", "1")]]),
        group(&[("c", "3")], &[&[]]),
        group(&[("b", "2"), ("a", "1")], &[&[("x", "2")]]),
    ];
    let wanted =
        vec![group(&[("a", "1"), ("b", "2")], &[&[("x", "1")], &[("x", "2")]]), group(&[("c", "3")], &[&[]])];
    assert_eq!(grouped(json!(null), sent).await, wanted);
}

#[tokio::test]
async fn a_large_resource_is_not_repeated_for_each_of_many_values() {
    let large = "x".repeat(1 << 20);
    let hosts: Vec<String> = (0..200).map(|host| host.to_string()).collect();
    let records: Vec<[(&str, &str); 1]> = hosts.iter().map(|host| [("host", host.as_str())]).collect();
    let records: Vec<&[(&str, &str)]> = records.iter().map(|record| &record[..]).collect();
    let request = ExportLogsServiceRequest { resource_logs: vec![group(&[("large", &large)], &records)] };
    let id = ComponentId::parse("groupbyattrs").expect("an id");
    let (config, next) = (json!({"keys": ["host"]}), Destination::new());
    let config = ComponentConfig { id: &id, value: &config };
    let processor = (super::FACTORY.create)(&config, Signal::Logs, &processor_context(), next.clone());
    let sent = Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 200) };
    let error =
        processor.expect("a good config").consume(sent).await.expect_err("200 MiB of a payload of one");
    assert!(error.to_string().contains("groupbyattrs processor: the parts of the payload"), "{error}");
    assert!(!error.kind().is_retryable());
}

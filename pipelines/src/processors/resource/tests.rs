use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::{Value as Json, json};

use crate::testing::{Destination, batch};
use crate::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Processor, ProcessorContext};

fn processor(value: &Json, next: &Arc<Destination>) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = ComponentId::parse("resource").expect("an id");
    let context = ProcessorContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
    };
    let next = Arc::clone(next) as Arc<dyn Consumer>;
    (super::FACTORY.create)(&ComponentConfig { id: &id, value }, Signal::Logs, &context, next)
}

fn request(attributes: &[(&str, &str)]) -> ExportLogsServiceRequest {
    let attributes = attributes.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue((*value).to_owned())) }),
        ..KeyValue::default()
    });
    let scope = ScopeLogs {
        log_records: vec![LogRecord { severity_number: 9, ..LogRecord::default() }],
        ..ScopeLogs::default()
    };
    let resource = Resource { attributes: attributes.collect(), ..Resource::default() };
    let group =
        ResourceLogs { resource: Some(resource), scope_logs: vec![scope], schema_url: "u".to_owned() };
    ExportLogsServiceRequest { resource_logs: vec![group] }
}

fn carrying(request: &ExportLogsServiceRequest) -> Batch {
    Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 1) }
}

#[tokio::test]
async fn every_resource_gets_the_attributes_and_keeps_its_records() {
    let next = Destination::new();
    let actions = json!({"attributes": [{"key": "cluster", "value": "ha", "action": "upsert"}]});
    let processor = processor(&actions, &next).expect("a good config");
    for _ in 0..2 {
        processor.consume(carrying(&request(&[("a", "1"), ("cluster", "old")]))).await.expect("taken");
        processor.consume(carrying(&request(&[]))).await.expect("taken");
    }
    let seen: Vec<_> = next.seen.lock().iter().map(|batch| batch.payload.clone()).collect();
    let decoded = |index: usize| ExportLogsServiceRequest::decode(seen[index].clone()).expect("well-formed");
    assert_eq!(decoded(0), request(&[("a", "1"), ("cluster", "ha")]));
    assert_eq!(decoded(1), request(&[("cluster", "ha")]));
    assert_eq!((decoded(2), decoded(3)), (decoded(0), decoded(1)), "from memory as at first");
}

#[tokio::test]
async fn a_request_in_which_nothing_changes_is_not_copied() {
    let next = Destination::new();
    let actions = json!({"attributes": [{"key": "nope", "action": "delete"}]});
    let processor = processor(&actions, &next).expect("a good config");
    let sent = carrying(&request(&[("a", "1")]));
    let before = sent.payload.as_ptr();
    processor.consume(sent).await.expect("taken");
    assert_eq!(next.seen.lock()[0].payload.as_ptr(), before);
}

#[tokio::test]
async fn what_depends_on_the_sender_is_not_remembered() {
    let next = Destination::new();
    let actions =
        json!({"attributes": [{"key": "from", "from_context": "client.address", "action": "upsert"}]});
    let processor = processor(&actions, &next).expect("a good config");
    for address in ["10.0.0.1", "10.0.0.2"] {
        let mut sent = carrying(&request(&[]));
        sent.client =
            Arc::new(crate::ClientMetadata { address: Some(address.to_owned()), metadata: Vec::new() });
        processor.consume(sent).await.expect("taken");
    }
    let payload = next.seen.lock()[1].payload.clone();
    assert_eq!(
        ExportLogsServiceRequest::decode(payload).expect("well-formed"),
        request(&[("from", "10.0.0.2")])
    );
}

#[test]
fn a_config_without_actions_or_with_a_faulty_one_is_refused() {
    let check = |value: Json, want: &str| {
        let error = processor(&value, &Destination::new()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!(null), "attributes: missing required field \"attributes\"");
    check(json!({"attributes": [{"key": "a"}]}), "attributes: error creating AttrProc");
    check(json!({"attributes": [{"kex": "a"}]}), "attributes[0]::kex: unknown field `kex`");
}

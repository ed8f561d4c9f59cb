use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::testing::{Destination, batch, processor_context};
use crate::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Processor};

fn filter(value: &Json, signal: Signal, next: &Arc<Destination>) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = ComponentId::parse("filter").expect("an id");
    let next = Arc::clone(next) as Arc<dyn Consumer>;
    (super::FACTORY.create)(&ComponentConfig { id: &id, value }, signal, &processor_context(), next)
}

fn request() -> Batch {
    let record = |severity_number: i32| LogRecord {
        severity_number,
        body: Some(AnyValue { value: Some(Value::StringValue(format!("line {severity_number}"))) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: [1, 9, 17].map(record).into(), ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![group] };
    Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 3) }
}

/// The severities that are left; what goes is acknowledged too.
async fn left(config: Json) -> Vec<i32> {
    let next = Destination::new();
    let filter = filter(&config, Signal::Logs, &next).unwrap_or_else(|error| panic!("{config}: {error}"));
    assert_eq!(filter.consume(request()).await.expect("taken").stored, 3, "{config}");
    let mut found = Vec::new();
    for batch in next.seen.lock().iter() {
        let request = ExportLogsServiceRequest::decode(batch.payload.clone()).expect("well-formed");
        let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
        found.extend(scopes.flat_map(|scope| scope.log_records).map(|record| record.severity_number));
        assert_eq!(batch.items, found.len() as u64);
    }
    found
}

#[tokio::test]
async fn every_way_of_writing_conditions_drops_what_they_hold_for() {
    assert_eq!(left(json!(null)).await, [1, 9, 17]);
    assert_eq!(left(json!({"log_conditions": ["log.severity_number < 9"]})).await, [9, 17]);
    let groups = json!({"log_conditions": [
        {"context": "log", "conditions": ["severity_number == 1"]},
        {"conditions": ["IsMatch(log.body, \"17$\")"], "error_mode": "silent"},
    ]});
    assert_eq!(left(groups).await, [9]);
    assert_eq!(
        left(json!({"logs": {"log_record": ["severity_number > 9", "severity_number == 1"]}})).await,
        [9]
    );
    assert_eq!(left(json!({"logs": {"resource": ["true"]}})).await, Vec::<i32>::new());
    let include = |properties: Json| json!({"logs": {"include": properties}});
    let severity = json!({"match_type": "strict", "severity_number": {"min": "INFO"}});
    assert_eq!(left(include(severity)).await, [9, 17]);
    assert_eq!(left(include(json!({"match_type": "regexp", "bodies": ["[19]$"]}))).await, [1, 9]);
    let exclude = json!({"logs": {"exclude": {"match_type": "strict", "bodies": ["line 9"]}}});
    assert_eq!(left(exclude).await, [1, 17]);
}

#[tokio::test]
async fn a_failing_condition_refuses_the_request_only_when_asked_to() {
    let config = |mode: &str| json!({"error_mode": mode, "logs": {"log_record": ["body + 1 == 2"]}});
    assert_eq!(left(config("ignore")).await, [1, 9, 17]);
    let next = Destination::new();
    let filter = filter(&config("propagate"), Signal::Logs, &next).expect("a good config");
    let error = filter.consume(request()).await.expect_err("refused").to_string();
    assert!(error.starts_with("filter processor: failed to eval condition: body + 1 == 2"), "{error}");
}

#[test]
fn faulty_configs_are_refused() {
    let check = |config: Json, want: &str| {
        let error = filter(&config, Signal::Traces, &Destination::new()).err().expect("a fault").to_string();
        assert!(error.contains(want), "{error}");
    };
    check(
        json!({"logs": {"log_record": ["nope == 1"]}}),
        "logs.log_record: unable to parse OTTL condition".replace('.', "::").as_str(),
    );
    check(
        json!({"log_conditions": ["log.body == 1"], "logs": {"log_record": []}}),
        "cannot use context inferred log",
    );
    check(
        json!({"metrics": {"metric": ["true"], "include": {"match_type": "strict", "metric_names": ["a"]}}}),
        "cannot use \"metrics.resource\"",
    );
    check(
        json!({"metrics": {"include": {"match_type": "expr", "expressions": ["a"]}}}),
        "\"expr\" is not supported",
    );
    check(
        json!({"logs": {"include": {"match_type": "strict", "severity_number": {"min": "LOUD"}}}}),
        "'LOUD' is not a valid severity",
    );
    check(
        json!({"log_conditions": [{"context": "log", "conditions": ["true"]}, "log.body == 1"]}),
        "multiple configuration styles",
    );
    check(
        json!({"profile_conditions": [{"context": "profile", "conditions": ["true"]}]}),
        "the profiles signal is not supported",
    );
    check(json!({"trace_conditions": ["set(span.name, \"a\")"]}), "condition has invalid syntax");
    check(json!({"trace_conditions": [{"context": "log", "conditions": ["true"]}]}), "does not fit");
    check(
        json!({"spans": {"include": {"match_type": "strict", "services": ["a"], "log_bodies": ["b"]}}}),
        "should not be specified for trace spans",
    );
}

use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::testing::{Destination, batch, processor_context};
use crate::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Processor};

fn transform(value: &Json, next: &Arc<Destination>) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = ComponentId::parse("transform").expect("an id");
    let next = Arc::clone(next) as Arc<dyn Consumer>;
    (super::FACTORY.create)(&ComponentConfig { id: &id, value }, Signal::Logs, &processor_context(), next)
}

fn request(severity_text: &str) -> Batch {
    let record = LogRecord { severity_text: severity_text.to_owned(), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![group] };
    Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 1) }
}

async fn severity_text(config: Json, before: &str) -> String {
    let next = Destination::new();
    let transform = transform(&config, &next).unwrap_or_else(|error| panic!("{config}: {error}"));
    transform.consume(request(before)).await.expect("taken");
    let payload = next.seen.lock()[0].payload.clone();
    let decoded = ExportLogsServiceRequest::decode(payload).expect("well-formed");
    decoded.resource_logs[0].scope_logs[0].log_records[0].severity_text.clone()
}

#[tokio::test]
async fn statements_run_in_both_ways_of_writing_them_and_group_after_group() {
    let plain =
        json!({"log_statements": ["set(log.severity_text, Concat([log.severity_text, \"1\"], \"\"))"]});
    assert_eq!(severity_text(plain, "a").await, "a1");
    let groups = json!({"log_statements": [
        {"context": "log", "statements": ["set(severity_text, Concat([severity_text, \"1\"], \"\"))"]},
        {"context": "log", "conditions": ["severity_text == \"a1\""], "statements": ["set(severity_text, \"second\")"]},
        {"context": "log", "conditions": ["severity_text == \"a1\""], "statements": ["set(severity_text, \"never\")"]},
    ]});
    assert_eq!(severity_text(groups, "a").await, "second");
}

#[tokio::test]
async fn a_failing_statement_refuses_the_request_only_when_asked_to() {
    let config = |mode: &str| json!({"error_mode": mode, "log_statements": ["set(log.severity_number, \"text\")", "set(log.severity_text, \"b\")"]});
    assert_eq!(severity_text(config("ignore"), "a").await, "b");
    assert_eq!(severity_text(config("silent"), "a").await, "b");
    let next = Destination::new();
    let transform = transform(&config("propagate"), &next).expect("a good config");
    let error = transform.consume(request("a")).await.expect_err("refused").to_string();
    assert!(
        error.starts_with("transform processor: failed to execute statement: set(log.severity_number"),
        "{error}"
    );
    assert!(next.seen.lock().is_empty());
}

#[test]
fn faulty_configs_are_refused_with_the_place_of_the_fault() {
    let check = |config: Json, want: &str| {
        let error = transform(&config, &Destination::new()).err().expect("a fault").to_string();
        assert!(error.contains(want), "{error}");
    };
    check(json!({"log_statements": ["set(log.body"]}), "log_statements: unable to parse OTTL statement");
    check(json!({"log_statements": ["set(log.body"]}), "1:13: unexpected token \"<EOF>\"");
    check(
        json!({"trace_statements": ["set(span.nope, 1)"]}),
        "trace_statements: unable to parse OTTL statement",
    );
    check(json!({"log_statements": [{"context": "span", "statements": []}]}), "unknown context \"span\"");
    check(json!({"log_statements": [{"context": "x", "statements": []}]}), "unknown context x");
    check(json!({"log_statements": [{"statment": []}]}), "unknown field `statment`");
    check(
        json!({"log_statements": ["set(log.body, 1)", {"statements": []}]}),
        "multiple configuration styles",
    );
    check(json!({"error_mode": "loud"}), "unknown error mode loud");
    check(json!({"flatten_data": true}), "requires the 'transform.flatten.logs' feature gate");
    check(json!({"profile_statements": ["set(profile.x, 1)"]}), "the profiles signal is not supported");
}

#[tokio::test]
async fn a_large_request_leaves_the_async_thread() {
    let config = json!({"log_statements": ["set(log.severity_text, \"b\")"]});
    let large = "x".repeat(crate::off_thread::INLINE_BYTES_MAX + 1);
    for (text, leaves) in [("small", false), (large.as_str(), true)] {
        let next = Destination::new();
        let transform = transform(&config, &next).expect("a good config");
        let mut sent = transform.consume(request(text));
        // What is done where it was asked for is done when it is asked for the first time.
        assert_eq!(futures_util::poll!(&mut sent).is_pending(), leaves);
        if leaves {
            assert_eq!(sent.await.expect("taken").stored, 1);
        }
        let payload = next.seen.lock()[0].payload.clone();
        let decoded = ExportLogsServiceRequest::decode(payload).expect("well-formed");
        assert_eq!(decoded.resource_logs[0].scope_logs[0].log_records[0].severity_text, "b");
    }
}

use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::connectors::Outputs;
use crate::testing::{Destination, batch, processor_context};
use crate::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, PipelineId};

fn count(config: &Json, from: Signal, end: &Arc<Destination>) -> Result<Arc<dyn Consumer>, ConfigError> {
    let id = PipelineId::parse("metrics").expect("an id");
    let heads = [(id, Arc::clone(end) as Arc<dyn Consumer>)].into();
    let id = ComponentId::parse("count").expect("an id");
    let outputs = Outputs { from, to: Signal::Metrics, heads };
    (super::FACTORY.create)(&ComponentConfig { id: &id, value: config }, &processor_context(), outputs)
}

fn record(severity: i32, host: Option<&str>, time: u64) -> LogRecord {
    let value = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    let pair = |host: &str| KeyValue { key: "host".to_owned(), value: value(host), ..KeyValue::default() };
    LogRecord {
        severity_number: severity,
        time_unix_nano: time,
        attributes: host.map(pair).into_iter().collect(),
        ..LogRecord::default()
    }
}

/// Name, host and value of each point, and the time of the first.
async fn counted(config: Json) -> (Vec<(String, String, i64)>, (u64, u64)) {
    let end = Destination::new();
    let records = vec![
        record(9, Some("a"), 50),
        record(17, Some("b"), 40),
        record(18, Some("b"), 90),
        record(1, None, 0),
    ];
    let scope = ScopeLogs { log_records: records, ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![group] };
    let sent = Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 4) };
    let connector = count(&config, Signal::Logs, &end).expect("a good config");
    assert_eq!(connector.consume(sent).await.expect("taken").stored, 4);
    let (mut found, mut times) = (Vec::new(), (0, 0));
    for batch in end.seen.lock().iter() {
        assert_eq!(batch.signal, Signal::Metrics);
        let request = ExportMetricsServiceRequest::decode(batch.payload.clone()).expect("well-formed");
        for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
            let Some(Data::Sum(sum)) = &metric.data else { panic!("a sum") };
            assert!(sum.is_monotonic && sum.aggregation_temporality == 1);
            for point in &sum.data_points {
                let host = point.attributes.first().and_then(|pair| pair.value.clone()).and_then(|v| v.value);
                let host = if let Some(Value::StringValue(host)) = host { host } else { String::new() };
                let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("an int") };
                found.push((metric.name.clone(), host, value));
                times = (point.start_time_unix_nano, point.time_unix_nano);
            }
        }
        assert_eq!(batch.items, found.len() as u64);
    }
    (found, times)
}

#[tokio::test]
async fn records_are_counted_by_condition_and_attribute() {
    let point = |name: &str, host: &str, value: i64| (name.to_owned(), host.to_owned(), value);
    let (points, times) = counted(json!(null)).await;
    assert_eq!((points, times), (vec![point("log.record.count", "", 4)], (40, 90)));
    let config = json!({"logs": {
        "errors": {"conditions": ["severity_number >= SEVERITY_NUMBER_ERROR"]},
        "none": {"conditions": ["log.severity_number > 100"]},
        "by.host": {"attributes": [{"key": "host"}]},
        "by.host.or": {"attributes": [{"key": "host", "default_value": "?"}]},
    }});
    let mut wanted = vec![
        point("by.host", "a", 1),
        point("by.host", "b", 2),
        point("by.host.or", "?", 1),
        point("by.host.or", "a", 1),
        point("by.host.or", "b", 2),
        point("errors", "", 2),
    ];
    let (mut points, _) = counted(config).await;
    points.sort();
    wanted.sort();
    assert_eq!(points, wanted);
}

#[test]
fn faulty_configs_are_refused() {
    let check = |config: Json, want: &str| {
        let error = count(&config, Signal::Logs, &Destination::new()).err().expect("a fault").to_string();
        assert!(error.contains(want), "{error}");
    };
    check(json!({"spans": {"a": {"conditions": ["nope"]}}}), "spans::a: unable to parse OTTL condition");
    check(json!({"logs": {"a": {"attributes": [{"key": ""}]}}}), "attribute key missing");
    check(json!({"metrics": {"a": {"attributes": [{"key": "x"}]}}}), "metrics attributes not supported");
    check(json!({"log": {}}), "unknown field `log`");
}

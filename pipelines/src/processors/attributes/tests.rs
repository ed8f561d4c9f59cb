use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, Gauge, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, SummaryDataPoint, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value as Json, json};

use crate::testing::{Destination, batch, processor_context};
use crate::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Processor};

fn processor(
    value: &Json,
    signal: Signal,
    next: &Arc<Destination>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = ComponentId::parse("attributes").expect("an id");
    let next = Arc::clone(next) as Arc<dyn Consumer>;
    (super::FACTORY.create)(&ComponentConfig { id: &id, value }, signal, &processor_context(), next)
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.to_owned())) }
}

fn pairs(attributes: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    };
    attributes.iter().map(pair).collect()
}

fn record(body: &str, severity: i32, attributes: &[(&str, &str)]) -> LogRecord {
    LogRecord {
        body: Some(text(body)),
        severity_number: severity,
        attributes: pairs(attributes),
        time_unix_nano: 7,
        ..LogRecord::default()
    }
}

fn logs(service: &str, scope: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    let resource = Resource { attributes: pairs(&[("service.name", service)]), ..Resource::default() };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() }];
    let group = ResourceLogs { resource: Some(resource), scope_logs, schema_url: "s".to_owned() };
    ExportLogsServiceRequest { resource_logs: vec![group] }
}

async fn edited(config: Json, request: &ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    let next = Destination::new();
    let processor = processor(&config, Signal::Logs, &next).expect("a good config");
    let sent = Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", 1) };
    processor.consume(sent).await.expect("taken");
    let payload = next.seen.lock()[0].payload.clone();
    ExportLogsServiceRequest::decode(payload).expect("well-formed")
}

#[tokio::test]
async fn records_get_the_attributes_and_keep_everything_else() {
    let config = json!({"actions": [
        {"key": "env", "value": "prod", "action": "upsert"},
        {"key": "copy", "from_attribute": "a", "action": "insert"},
        {"key": "d", "from_attribute": "nope", "default_value": "fallback", "action": "insert"},
        {"pattern": "^x", "action": "delete"},
    ]});
    let sent = logs("web", "lib", vec![record("one", 9, &[("a", "1"), ("xy", "2"), ("env", "dev")])]);
    let got = edited(config, &sent).await;
    let want = [("a", "1"), ("env", "prod"), ("copy", "1"), ("d", "fallback")];
    assert_eq!(got, logs("web", "lib", vec![record("one", 9, &want)]));
}

#[tokio::test]
async fn include_and_exclude_choose_the_records() {
    let check = async |selection: Json, want: [bool; 3]| {
        let mut config = selection;
        config["actions"] = json!([{"key": "hit", "value": "y", "action": "insert"}]);
        let records = vec![
            record("start of it", 9, &[("route", "/a")]),
            record("end of it", 17, &[("route", "/healthz")]),
            record("none", 0, &[]),
        ];
        let got = edited(config.clone(), &logs("web-1", "lib", records)).await;
        let records = &got.resource_logs[0].scope_logs[0].log_records;
        let hits: Vec<bool> =
            records.iter().map(|record| record.attributes.iter().any(|pair| pair.key == "hit")).collect();
        assert_eq!(hits, want, "{config}");
    };
    let include = |properties: Json| json!({"include": properties});
    check(include(json!({"match_type": "strict", "attributes": [{"key": "route"}]})), [true, true, false])
        .await;
    check(
        include(json!({"match_type": "strict", "attributes": [{"key": "route", "value": "/a"}]})),
        [true, false, false],
    )
    .await;
    check(include(json!({"match_type": "regexp", "log_bodies": ["of"]})), [true, true, false]).await;
    check(
        include(
            json!({"match_type": "regexp", "resources": [{"key": "service.name", "value": "^web-\\d$"}]}),
        ),
        [true; 3],
    )
    .await;
    check(include(json!({"match_type": "strict", "libraries": [{"name": "other"}]})), [false; 3]).await;
    let severity =
        json!({"match_type": "strict", "log_severity_number": {"min": 17, "match_undefined": true}});
    check(include(severity), [false, true, true]).await;
    let both = json!({
        "include": {"match_type": "strict", "attributes": [{"key": "route"}]},
        "exclude": {"match_type": "strict", "attributes": [{"key": "route", "value": "/healthz"}]},
    });
    check(both, [true, false, false]).await;
}

#[tokio::test]
async fn points_of_every_kind_are_reached() {
    let config = json!({"actions": [{"key": "k", "value": 5, "action": "upsert"}]});
    let attributes = || pairs(&[("a", "1")]);
    let data = |attributes: Vec<KeyValue>| {
        let number = NumberDataPoint { attributes: attributes.clone(), ..NumberDataPoint::default() };
        let histogram = HistogramDataPoint { attributes: attributes.clone(), count: 4, ..Default::default() };
        let exponential = ExponentialHistogramDataPoint {
            attributes: attributes.clone(),
            scale: 3,
            ..ExponentialHistogramDataPoint::default()
        };
        let summary = SummaryDataPoint { attributes, sum: 1.5, ..SummaryDataPoint::default() };
        [
            Data::Gauge(Gauge { data_points: vec![number] }),
            Data::Histogram(opentelemetry_proto::tonic::metrics::v1::Histogram {
                data_points: vec![histogram],
                aggregation_temporality: 2,
            }),
            Data::ExponentialHistogram(opentelemetry_proto::tonic::metrics::v1::ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 2,
            }),
            Data::Summary(opentelemetry_proto::tonic::metrics::v1::Summary { data_points: vec![summary] }),
        ]
    };
    let request = |attributes: Vec<KeyValue>| {
        let metric = |data| Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() };
        let metrics = data(attributes).into_iter().map(metric).collect();
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let group = ResourceMetrics { scope_metrics, ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![group] }
    };
    let next = Destination::new();
    let processor = processor(&config, Signal::Metrics, &next).expect("a good config");
    let sent = Batch {
        signal: Signal::Metrics,
        payload: Bytes::from(request(attributes()).encode_to_vec()),
        ..batch("", 4)
    };
    processor.consume(sent).await.expect("taken");
    let payload = next.seen.lock()[0].payload.clone();
    let mut wanted = attributes();
    let five = AnyValue { value: Some(Value::IntValue(5)) };
    wanted.push(KeyValue { key: "k".to_owned(), value: Some(five), ..KeyValue::default() });
    assert_eq!(ExportMetricsServiceRequest::decode(payload).expect("well-formed"), request(wanted));
}

#[tokio::test]
async fn a_request_in_which_nothing_changes_is_not_copied() {
    let next = Destination::new();
    let config = json!({"actions": [{"key": "nope", "action": "delete"}]});
    let processor = processor(&config, Signal::Logs, &next).expect("a good config");
    let payload = Bytes::from(logs("a", "b", vec![record("c", 1, &[("d", "e")])]).encode_to_vec());
    let before = payload.as_ptr();
    processor.consume(Batch { payload, ..batch("", 1) }).await.expect("taken");
    assert_eq!(next.seen.lock()[0].payload.as_ptr(), before);
}

#[test]
fn faulty_configs_are_refused() {
    let check = |signal: Signal, config: Json, want: &str| {
        let error = processor(&config, signal, &Destination::new()).err().expect("a fault").to_string();
        assert!(error.contains(want), "{error}");
    };
    let actions = json!([{"key": "a", "action": "delete"}]);
    check(Signal::Logs, json!({}), "missing required field \"actions\"");
    check(
        Signal::Logs,
        json!({"actions": actions, "include": {"match_type": "strict", "span_names": ["x"]}}),
        "are not valid for log records",
    );
    check(
        Signal::Traces,
        json!({"actions": actions, "include": {"match_type": "strict"}}),
        "at least one of \"attributes\"",
    );
    check(
        Signal::Traces,
        json!({"actions": actions, "include": {"match_type": "glob", "span_names": ["x"]}}),
        "unrecognized match_type: 'glob', valid types are: [regexp strict]",
    );
    check(
        Signal::Traces,
        json!({"actions": actions, "include": {"match_type": "regexp", "span_names": ["("]}}),
        "missing closing )",
    );
    check(Signal::Metrics, json!({"actions": actions, "exclude": {"names": []}}), "unknown field `names`");
}

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::connectors::Outputs;
use crate::testing::{Destination, batch, invalid, processor_context, unavailable};
use crate::{Batch, ClientMetadata, ComponentConfig, ComponentId, ConfigError, Consumer, PipelineId};

type Ends = BTreeMap<&'static str, Arc<Destination>>;

fn routing(config: &Json) -> Result<(Arc<dyn Consumer>, Ends), ConfigError> {
    routing_to(config, ["logs/a", "logs/b", "logs/rest"].map(|name| (name, Destination::new())).into())
}

fn routing_to(config: &Json, ends: Ends) -> Result<(Arc<dyn Consumer>, Ends), ConfigError> {
    let head = |(name, end): (&&str, &Arc<Destination>)| {
        (PipelineId::parse(name).expect("an id"), Arc::clone(end) as Arc<dyn Consumer>)
    };
    let outputs = Outputs { from: Signal::Logs, to: Signal::Logs, heads: ends.iter().map(head).collect() };
    let id = ComponentId::parse("routing").expect("an id");
    let made =
        (super::FACTORY.create)(&ComponentConfig { id: &id, value: config }, &processor_context(), outputs)?;
    Ok((made, ends))
}

fn request(severities: &[i32]) -> Batch {
    let record = |severity: &i32| LogRecord { severity_number: *severity, ..LogRecord::default() };
    let scope = ScopeLogs { log_records: severities.iter().map(record).collect(), ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![group] };
    Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", severities.len() as u64) }
}

fn severities(end: &Destination) -> Vec<i32> {
    let mut found = Vec::new();
    for batch in end.seen.lock().iter() {
        let request = ExportLogsServiceRequest::decode(batch.payload.clone()).expect("well-formed");
        let records = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
        found.extend(records.flat_map(|scope| scope.log_records).map(|record| record.severity_number));
        assert_eq!(batch.items, found.len() as u64);
    }
    found
}

#[tokio::test]
async fn a_record_goes_where_the_first_row_that_matches_sends_it() {
    let config = json!({
        "default_pipelines": ["logs/rest"],
        "table": [
            {"context": "log", "condition": "severity_number >= SEVERITY_NUMBER_ERROR", "pipelines": ["logs/a"]},
            {"context": "log", "statement": "route() where severity_number >= 9", "pipelines": ["logs/b"]},
        ],
    });
    let (routing, ends) = routing(&config).expect("a good config");
    let report = routing.consume(request(&[17, 9, 5, 18, 10])).await.expect("taken");
    assert_eq!(report.stored, 5);
    assert_eq!(severities(&ends["logs/a"]), [17, 18]);
    assert_eq!(severities(&ends["logs/b"]), [9, 10]);
    assert_eq!(severities(&ends["logs/rest"]), [5]);
}

#[tokio::test]
async fn rows_ask_the_request_and_copy_to_later_rows() {
    let config = json!({
        "default_pipelines": ["logs/rest"],
        "table": [
            {"context": "log", "condition": "severity_number >= 17", "action": "copy", "pipelines": ["logs/b"]},
            {"context": "request", "condition": "request[\"X-Tenant\"] == \"acme\"", "pipelines": ["logs/a"]},
            {"context": "request", "condition": "request[\"X-Other\"] != \"acme\"", "pipelines": ["logs/b"]},
        ],
    });
    let (routing, ends) = routing(&config).expect("a good config");
    let of = |pairs: &[(&str, &str)]| {
        let metadata = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Arc::new(ClientMetadata { address: None, metadata })
    };
    let first = Batch { client: of(&[("x-tenant", "other"), ("x-tenant", "acme")]), ..request(&[17, 9]) };
    assert_eq!(routing.consume(first).await.expect("taken").stored, 2);
    assert_eq!(
        (severities(&ends["logs/a"]), severities(&ends["logs/b"]), severities(&ends["logs/rest"])),
        (vec![17, 9], vec![17], vec![])
    );
    // Without such metadata no comparison holds.
    assert_eq!(routing.consume(request(&[5])).await.expect("taken").stored, 1);
    assert_eq!(severities(&ends["logs/rest"]), [5]);
}

#[test]
fn a_condition_on_the_request_that_the_collector_refuses_is_refused() {
    for (row, want) in [
        (json!({"condition": "request[\"a\"] > \"b\""}), "condition does not contain a valid comparator"),
        (json!({"condition": "request[\"a\"] == \"b\" != \"c\""}), "condition contains multiple comparators"),
        (
            json!({"condition": "body == \"b\""}),
            "condition must have format 'request[\"<name>\"] <comparator> <value>'",
        ),
        (json!({"condition": "request[\"a\"] == 5"}), "condition must have format"),
        (json!({"statement": "route()"}), "\"request\" context requires a 'condition'"),
    ] {
        let mut row = row;
        row["context"] = json!("request");
        row["pipelines"] = json!(["logs/a"]);
        let error = routing(&json!({"table": [row]})).err().expect("a fault").to_string();
        assert!(error.starts_with("table[0]: ") && error.contains(want), "{error}");
    }
}

/// Errors go to `logs/a`, warnings to `logs/b`, the rest to `logs/rest`.
fn by_severity() -> Json {
    json!({
        "default_pipelines": ["logs/rest"],
        "table": [
            {"context": "log", "condition": "severity_number >= 17", "pipelines": ["logs/a"]},
            {"context": "log", "condition": "severity_number >= 13", "pipelines": ["logs/b"]},
        ],
    })
}

fn ends(a: Arc<Destination>, b: Arc<Destination>) -> Ends {
    [("logs/a", a), ("logs/b", b), ("logs/rest", Destination::new())].into()
}

#[tokio::test]
async fn a_part_that_is_refused_does_not_keep_the_others_from_their_pipelines() {
    let refusing = Destination::answering([Err(invalid())]);
    let (routing, ends) =
        routing_to(&by_severity(), ends(refusing, Destination::new())).expect("a good config");
    let report = routing.consume(request(&[17, 13, 1, 18])).await.expect("part of it is taken");
    assert_eq!((report.stored, report.rejected_count()), (2, 2));
    assert_eq!(severities(&ends["logs/b"]), [13]);
    assert_eq!(severities(&ends["logs/rest"]), [1]);

    let (first, second) =
        (Destination::answering([Err(invalid())]), Destination::answering([Err(invalid())]));
    let (routing, _ends) = routing_to(&by_severity(), self::ends(first, second)).expect("a good config");
    let error = routing.consume(request(&[17, 13])).await.expect_err("nothing is taken");
    assert_eq!(error.kind(), model::ErrorKind::Invalid);
}

#[tokio::test]
async fn a_retry_of_the_sender_repeats_only_the_parts_that_are_missing() {
    let away = Destination::answering([Err(unavailable()), Err(unavailable())]);
    let (routing, ends) = routing_to(&by_severity(), ends(Destination::new(), away)).expect("a good config");
    for _ in 0..2 {
        let error = routing.consume(request(&[17, 13, 1])).await.expect_err("one is away");
        assert_eq!(error.kind(), model::ErrorKind::Unavailable);
    }
    assert_eq!(routing.consume(request(&[17, 13, 1])).await.expect("back").stored, 3);
    let deliveries = |name: &str| ends[name].seen.lock().len();
    assert_eq!((deliveries("logs/a"), deliveries("logs/b"), deliveries("logs/rest")), (1, 3, 1));
}

#[tokio::test]
async fn what_has_no_way_is_acknowledged_and_dropped() {
    let config = json!({
        "table": [{"condition": "attributes[\"x\"] != nil", "pipelines": ["logs/a"]}],
    });
    let (routing, ends) = routing(&config).expect("a good config");
    assert_eq!(routing.consume(request(&[1, 2])).await.expect("taken").stored, 2);
    assert!(ends.values().all(|end| end.seen.lock().is_empty()));
}

#[test]
fn faulty_tables_are_refused() {
    let check = |config: Json, want: &str| {
        let error = routing(&config).err().expect("a fault").to_string();
        assert!(error.contains(want), "{error}");
    };
    let row = |more: Json| {
        let mut row = json!({"pipelines": ["logs/a"]});
        row.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        json!({"table": [row]})
    };
    check(json!({}), "the routing table is empty");
    check(row(json!({})), "no statement or condition provided");
    check(row(json!({"condition": "true", "statement": "route()"})), "both condition and statement");
    check(row(json!({"condition": "true", "pipelines": ["logs/zzz"]})), "have logs/a, logs/b, logs/rest");
    check(row(json!({"condition": "true", "pipelines": []})), "no pipelines defined");
    check(row(json!({"condition": "nope"})), "unable to parse OTTL condition");
    check(row(json!({"condition": "true", "context": "span"})), "the context \"span\" does not fit logs");
    check(row(json!({"condition": "true", "context": "request"})), "does not contain a valid comparator");
}

use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;

use super::{Account, Received, Signal, WorkerResult, items};
use crate::cli::LoadCli;
use crate::ledger::{Outcome, Sent};
use crate::payload::templates;

const TIME_NS: i64 = 1_767_225_600_123_000_000;

/// One request of three items, and its bytes.
fn sent(signal: &str, outcome: Outcome) -> (WorkerResult, Bytes) {
    let signal = format!("--signal={signal}");
    let arguments = ["otlp", &signal, "--streams=1", "--series=3", "--batch=3", "--connections=1"];
    let load = LoadCli::try_parse_from(arguments).expect("valid").load;
    let templates = templates(&load, 3, None, "run").remove(0);
    let body = templates[0].render(2, TIME_NS);
    let ledger = vec![Sent { template: 0, round: 2, time_ns: TIME_NS, outcome }];
    (WorkerResult { templates, ledger }, body)
}

/// (checked, lost, duplicated, wrong) when these bodies arrive, of a run that sent one request.
fn account(signal: Signal, outcome: Outcome, bodies: impl Fn(Bytes) -> Vec<Bytes>) -> [u64; 4] {
    let (result, body) = sent(signal.name(), outcome);
    let results = [result];
    let mut account = Account::new("run", signal, &results, Duration::from_secs(2)).expect("well-formed");
    for body in bodies(body) {
        let items = items(signal, body, "run", TIME_NS).expect("well-formed");
        account.add(Received { items, ..Received::default() });
    }
    let verdict = account.verdict();
    [verdict.checked, verdict.lost, verdict.duplicated, verdict.wrong]
}

#[test]
fn each_signal_comes_once_and_unchanged() {
    for signal in [Signal::Metrics, Signal::Logs, Signal::Traces] {
        let account = |bodies: fn(Bytes) -> Vec<Bytes>| account(signal, Outcome::Acked, bodies);
        assert_eq!(account(|body| vec![body]), [3, 0, 0, 0], "{signal:?}");
        assert_eq!(account(|_| vec![]), [3, 3, 0, 0], "{signal:?}");
        assert_eq!(account(|body| vec![body.clone(), body]), [3, 0, 3, 0], "{signal:?}");
        // The same length, so that it is well-formed.
        let other = |body: Bytes| {
            let text = body.windows(5).position(|window| window == b"1.4.2").expect("service.version");
            let mut body = body.to_vec();
            body[text] = b'2';
            vec![Bytes::from(body)]
        };
        assert_eq!(account(other), [3, 0, 0, 3], "an attribute of the resource differs: {signal:?}");
    }
}

#[test]
fn a_pipeline_may_add_attributes_but_not_change_them() {
    let changed = |change: fn(&mut ExportLogsServiceRequest)| {
        account(Signal::Logs, Outcome::Acked, |body| {
            let mut request = ExportLogsServiceRequest::decode(body).expect("well-formed");
            change(&mut request);
            vec![request.encode_to_vec().into()]
        })
    };
    let added = |request: &mut ExportLogsServiceRequest| {
        let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
        let mut more = record.attributes[0].clone();
        more.key = "k8s.pod.name".to_owned();
        record.attributes.insert(0, more);
        record.observed_time_unix_nano = 5;
    };
    assert_eq!(changed(added), [3, 0, 0, 0]);
    let severity = |request: &mut ExportLogsServiceRequest| {
        request.resource_logs[0].scope_logs[0].log_records[0].severity_number = 24;
    };
    assert_eq!(changed(severity), [3, 0, 0, 1]);
    let removed = |request: &mut ExportLogsServiceRequest| {
        request.resource_logs[0].scope_logs[0].log_records[1].attributes.pop();
    };
    assert_eq!(changed(removed), [3, 0, 0, 1]);
    let other_run = |request: &mut ExportLogsServiceRequest| {
        let resource = request.resource_logs[0].resource.as_mut().expect("one");
        for attribute in resource.attributes.iter_mut().filter(|a| a.key == "service.instance.id") {
            attribute.value = None;
        }
    };
    assert_eq!(changed(other_run), [3, 3, 0, 0], "nothing of this run came");
}

#[test]
fn what_was_refused_may_be_missing_and_what_cannot_be_read_is_wrong() {
    assert_eq!(account(Signal::Logs, Outcome::Partly { rejected: 1 }, |_| vec![]), [2, 2, 0, 0]);
    assert_eq!(account(Signal::Logs, Outcome::Partly { rejected: 3 }, |_| vec![]), [0, 0, 0, 0]);
    assert_eq!(account(Signal::Logs, Outcome::Uncertain, |_| vec![]), [0, 0, 0, 0]);
    let mut account = Account::new("run", Signal::Logs, &[], Duration::ZERO).expect("nothing");
    account.add(Received { items: Vec::new(), unreadable: 2, example: Some("no protobuf".to_owned()) });
    let verdict = account.verdict();
    assert_eq!((verdict.wrong, verdict.passed()), (2, false));
    assert!(verdict.example.is_some_and(|text| text.contains("no protobuf")));
}

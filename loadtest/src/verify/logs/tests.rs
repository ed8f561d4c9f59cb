use clap::Parser;

use super::{Categories, Entry, LogsTemplate, Sender, Sent, Stream, StreamCheck, Template, Verdict};
use crate::cli::LoadCli;
use crate::ledger::Outcome;
use crate::payload::templates;
use crate::verify::labels::Labels;

fn template(arguments: &[&str]) -> LogsTemplate {
    let arguments = [arguments, &["--streams=1", "--batch=3", "--connections=1"]].concat();
    let load = LoadCli::try_parse_from(arguments).expect("valid").load;
    match templates(&load, 3, None, "run").remove(0).remove(0) {
        Template::Logs(template) => template,
        _ => panic!("logs"),
    }
}

/// What a store has of one request of three lines, `spoil`ed: (lost, duplicated, wrong).
fn compare(template: &LogsTemplate, outcome: Outcome, spoil: impl Fn(&mut Vec<Stream>)) -> (u64, u64, u64) {
    let sent = vec![Sent { template: 0, round: 4, time_ns: 1000, outcome }];
    let sender = Sender { template, sent, missed: 0 };
    let mut check = StreamCheck::new(&sender, &[]);
    let labels = template.labels();
    let entry = |index: usize| {
        let metadata: Labels = labels.required[index].iter().cloned().collect();
        Entry((1000 + index).to_string(), template.line(4, index), Categories { metadata })
    };
    let mut streams = vec![Stream { stream: Labels::default(), values: (0..3).map(entry).collect() }];
    spoil(&mut streams);
    let mut verdict = Verdict::default();
    check.page(&mut verdict, streams);
    check.finish(&mut verdict);
    (verdict.lost, verdict.duplicated, verdict.wrong)
}

#[test]
fn lines_attributes_and_severities_are_compared() {
    let template = template(&["otlp", "--signal=logs"]);
    let with = |name: &'static str, value: &'static str| {
        compare(&template, Outcome::Acked, move |streams| {
            let metadata = &mut streams[0].values[1].2.metadata;
            metadata.insert(name, value);
        })
    };
    let labels = &template.labels().required[1];
    for name in ["severity_text", "trace_id", "span_id", "user_id", "http_request_method", "deployment"] {
        assert!(labels.iter().any(|(other, _)| other == name), "{name} in {labels:?}");
        assert_eq!(with(name, "other"), (0, 0, 1), "{name}");
    }
    assert_eq!(with("host_name", "node-07.example.test"), (0, 0, 0), "of the resource");
    assert_eq!(with("host_name", "other"), (0, 0, 1));
    assert_eq!(with("detected_level", "info"), (0, 0, 0), "Loki adds it");
    assert_eq!(with("shard", "3"), (0, 0, 1), "nobody sent it");
}

#[test]
fn lines_may_be_missing_as_far_as_they_were_refused() {
    let template = template(&["loki-push"]);
    let without = |count: usize, outcome: Outcome| {
        compare(&template, outcome, |streams| streams[0].values.truncate(3 - count))
    };
    assert_eq!(without(0, Outcome::Acked), (0, 0, 0));
    assert_eq!(without(1, Outcome::Acked), (1, 0, 0));
    assert_eq!(without(2, Outcome::Partly { rejected: 2 }), (0, 0, 0));
    assert_eq!(without(3, Outcome::Partly { rejected: 2 }), (1, 0, 0));
    assert_eq!(without(3, Outcome::Uncertain), (0, 0, 0));
    let twice = |streams: &mut Vec<Stream>| {
        let Entry(time, line, _) = &streams[0].values[0];
        let again = Entry(time.clone(), line.clone(), Categories::default());
        streams[0].values.push(again);
    };
    assert_eq!(compare(&template, Outcome::Acked, twice), (0, 1, 0));
}

use std::collections::{HashMap, HashSet};

use clap::Parser;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use wire::loki_push;
use wire::remote_write::{Request, Series, Version};

use super::{Template, templates};
use crate::cli::LoadCli;

/// 2026-01-01T00:00:00.123Z.
const TIME_NS: i64 = 1_767_225_600_123_000_000;
const TIME_MS: i64 = 1_767_225_600_123;

fn first(arguments: &[&str]) -> Template {
    let load = LoadCli::try_parse_from(arguments).expect("valid").load;
    let batch = load.data().and_then(|data| data.batch).expect("given");
    templates(&load, batch, None, "run").remove(0).remove(0)
}

/// Samples of a remote-write request by name, series, `le` and pod.
fn samples(version: Version, body: &[u8]) -> HashMap<String, (i64, f64)> {
    let request = Request::new(version, body, 0).expect("well-formed");
    let mut series = Series::default();
    let mut samples = HashMap::new();
    for encoded in request.series() {
        request.read(encoded.expect("well-formed"), &mut series).expect("well-formed");
        let labels = request.labels(&series).expect("labels");
        let label = |name: &str| labels.get(name).unwrap_or_default().to_owned();
        let key = ["__name__", "series_id", "le", "pod"].map(label).join(" ");
        let [sample] = series.samples.as_slice() else { panic!("{:?}", series.samples) };
        samples.insert(key.trim_end().to_owned(), (sample.sample.timestamp_ms, sample.sample.value));
    }
    samples
}

const THREE: [&str; 7] = [
    "--series=3",
    "--batch=3",
    "--connections=1",
    "--histogram-every=2",
    "--reset-every=4",
    "--seed=7",
    "--rate=1",
];

/// Series 0 and 2 are histograms, 1 is a counter that grows by 2 and begins again after four samples.
#[test]
fn remote_write_has_the_samples_of_a_histogram_and_counters_that_reset() {
    for (version, protocol) in [(Version::V1, "--protocol=1"), (Version::V2, "--protocol=2")] {
        let mut arguments = vec!["remote-write", protocol];
        arguments.extend(THREE);
        let template = first(&arguments);
        assert_eq!(template.items(), 13);
        let fourth = samples(version, &template.render(3, TIME_NS));
        let fifth = samples(version, &template.render(4, TIME_NS + 1_000_000));
        assert_eq!((fourth.len(), fifth.len()), (13, 13));
        assert_eq!(fourth["loadtest_requests_total 1"], (TIME_MS, 7.0));
        assert_eq!(fifth["loadtest_requests_total 1"], (TIME_MS + 1, 1.0));
        // Series 2 counts three a unit: 12, 9, 6 and 3 a round, each worth half a second.
        assert_eq!(fourth["loadtest_duration_seconds_bucket 2 0.25"], (TIME_MS, 48.0));
        assert_eq!(fourth["loadtest_duration_seconds_bucket 2 1"], (TIME_MS, 84.0));
        assert_eq!(fourth["loadtest_duration_seconds_bucket 2 +Inf"], (TIME_MS, 120.0));
        assert_eq!(fourth["loadtest_duration_seconds_count 2"], (TIME_MS, 120.0));
        assert_eq!(fourth["loadtest_duration_seconds_sum 2"], (TIME_MS, 60.0));
        assert_eq!(fifth["loadtest_duration_seconds_count 2"], (TIME_MS + 1, 30.0));
    }
}

/// With a new name after two samples, series 1 has its own from the odd rounds on.
#[test]
fn series_that_churn_get_a_new_pod_and_begin_again() {
    let template =
        first(&["remote-write", "--series=2", "--batch=2", "--connections=1", "--churn-every=2", "--rate=1"]);
    let names = |round: u64| {
        let mut names: Vec<_> = samples(Version::V1, &template.render(round, TIME_NS)).into_iter().collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names.into_iter().map(|(name, (_, value))| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(names(0)[1], "loadtest_requests_total 1  gen-00000000=3");
    assert_eq!(names(1)[1], "loadtest_requests_total 1  gen-00000001=1");
    assert_eq!(names(2)[1], "loadtest_requests_total 1  gen-00000001=3");
    assert!(names(2)[0].contains("loadtest_queue_depth 0  gen-00000001"), "{:?}", names(2));
}

#[test]
fn a_loki_push_has_each_line_once_with_its_own_number_and_time() {
    for form in ["--form=protobuf", "--form=json"] {
        let template =
            first(&["loki-push", form, "--streams=1", "--batch=50", "--needle=zebra", "--needle-every=10"]);
        let body = template.render(2, TIME_NS);
        let decoded = match form {
            "--form=json" => loki_push::decode_json(&body),
            _ => loki_push::decode_proto(&body),
        };
        let push = decoded.expect("well-formed");
        let [stream] = push.streams.as_slice() else { panic!("{push:?}") };
        assert_eq!(stream.labels.get("service_instance_id"), Some("run-0"));
        let entries = &stream.entries;
        assert_eq!(entries.len(), 50);
        for index in 0..50 {
            assert_eq!(entries.timestamps_ns()[index], TIME_NS + index as i64);
            let line = entries.line(index);
            assert!(line.contains(&format!("seq={:016x}", 100 + index)), "{line}");
        }
        let planted = (0..50).filter(|index| entries.line(*index).ends_with(" zebra")).count();
        assert_eq!(planted, 5);
    }
}

#[test]
fn lines_have_only_the_shapes_that_were_asked_for() {
    let template = first(&["loki-push", "--streams=1", "--batch=40", "--shapes=json"]);
    let push = loki_push::decode_proto(&template.render(0, TIME_NS)).expect("well-formed");
    for index in 0..40 {
        let line = push.streams[0].entries.line(index);
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
}

#[test]
fn equal_seeds_send_equal_data() {
    for kind in [
        &["otlp", "--signal=logs", "--streams=1"][..],
        &["otlp", "--series=20"],
        &["otlp", "--signal=traces"],
        &["remote-write", "--series=20"],
    ] {
        let body = |seed: &'static str| {
            let mut arguments = kind.to_vec();
            arguments.extend([seed, "--batch=20", "--connections=1"]);
            first(&arguments).render(1, TIME_NS)
        };
        assert_eq!(body("--seed=3"), body("--seed=3"), "{kind:?}");
        assert_ne!(body("--seed=3"), body("--seed=4"), "{kind:?}");
    }
}

#[test]
fn spans_have_ids_of_their_own_in_every_round_and_parents_in_their_trace() {
    let template = first(&["otlp", "--signal=traces", "--batch=20", "--connections=1"]);
    let (mut ids, mut traces) = (HashSet::new(), HashSet::new());
    for round in 0..3 {
        let request =
            ExportTraceServiceRequest::decode(template.render(round, TIME_NS)).expect("well-formed");
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.len(), 20);
        for (index, span) in spans.iter().enumerate() {
            let root = &spans[index / 5 * 5];
            assert!(ids.insert(span.span_id.clone()), "round {round}, span {index}");
            assert_eq!((span.span_id.len(), &span.trace_id), (8, &root.trace_id));
            let parent = if index % 5 == 0 { Vec::new() } else { root.span_id.clone() };
            assert_eq!(span.parent_span_id, parent, "round {round}, span {index}");
            assert_eq!(span.start_time_unix_nano, TIME_NS as u64);
            assert!(span.end_time_unix_nano > span.start_time_unix_nano);
            traces.insert(span.trace_id.clone());
        }
    }
    assert_eq!(traces.len(), 12);
}

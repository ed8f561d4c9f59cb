//! Metrics: every sample of every series, read with a range selector, compared with the formula that made it.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Verdict, get};
use crate::cli::OtlpArgs;
use crate::clock::now_ns;
use crate::ledger::Outcome;
use crate::payload::Template;
use crate::payload::metrics::{BOUNDS, Kind, MetricsTemplate, buckets, number, sum};
use crate::run::WorkerResult;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: HashMap<String, String>,
    values: Vec<(f64, String)>,
}

/// One expected sample: the value, and whether it must be there or only may.
type Expected = HashMap<i64, (f64, Outcome)>;

/// Checks all samples, a slice (the series of one request) at a time.
pub(crate) async fn check(
    args: &OtlpArgs,
    run_id: &str,
    results: &[WorkerResult],
    started_ns: i64,
) -> anyhow::Result<Verdict> {
    let client = reqwest::Client::new();
    let url = format!("{}/api/v1/query", args.prometheus.trim_end_matches('/'));
    let mut verdict = Verdict::default();
    for result in results {
        for (index, template) in result.templates.iter().enumerate() {
            let Template::Metrics(template) = template else { continue };
            // A second of slack on both sides; the window is open on the left.
            let end_s = (now_ns() / 1_000_000_000) + 2;
            let window_s = end_s - started_ns / 1_000_000_000 + 2;
            let query = format!(
                "{{__name__=~\"loadtest_.+\",run_id=\"{run_id}\",slice=\"{}\"}}[{window_s}s]",
                template.slice
            );
            let parameters = [("query", query), ("time", end_s.to_string())];
            let answer: Answer = get(&client, args, &url, &parameters).await?;
            compare(&mut verdict, result, index, template, answer.data.result);
        }
    }
    Ok(verdict)
}

fn compare(
    verdict: &mut Verdict,
    result: &WorkerResult,
    index: usize,
    template: &MetricsTemplate,
    found: Vec<Series>,
) {
    let mut found: HashMap<String, Vec<(f64, String)>> =
        found.into_iter().map(|series| (key_of(&series.metric), series.values)).collect();
    for point in template.points() {
        for (key, value) in series_of(point.series, point.kind) {
            let sent = result.ledger.iter().filter(|sent| sent.template == index);
            let expected: Expected = sent
                .map(|sent| (sent.time_ns / 1_000_000, (value(point.series, sent.round), sent.outcome)))
                .collect();
            compare_series(verdict, &key, expected, found.remove(&key).unwrap_or_default());
        }
    }
    for (key, values) in found {
        verdict.wrong += values.len() as u64;
        verdict.note(|| format!("{key} was never sent"));
    }
}

fn compare_series(verdict: &mut Verdict, key: &str, mut expected: Expected, found: Vec<(f64, String)>) {
    verdict.checked += expected.values().filter(|(_, outcome)| *outcome == Outcome::Acked).count() as u64;
    let mut last = None;
    for (seconds, text) in found {
        let time_ms = (seconds * 1000.0).round() as i64;
        if last == Some(time_ms) {
            verdict.duplicated += 1;
            verdict.note(|| format!("{key} has two samples at {time_ms} ms"));
            continue;
        }
        last = Some(time_ms);
        let want = expected.remove(&time_ms).map(|(value, _)| value);
        let got = text.parse::<f64>().ok();
        if want.is_none() || got != want {
            verdict.wrong += 1;
            verdict.note(|| format!("{key} at {time_ms} ms is {text}, sent was {want:?}"));
        }
    }
    for (time_ms, (value, outcome)) in expected {
        if outcome == Outcome::Acked {
            verdict.lost += 1;
            verdict.note(|| format!("{key} at {time_ms} ms with value {value} is not there"));
        }
    }
}

/// The value of a series in a round.
type ValueOf = Box<dyn Fn(u32, u64) -> f64>;

/// The Prometheus series that a data stream becomes, by the OpenTelemetry compatibility specification.
fn series_of(series: u32, kind: Kind) -> Vec<(String, ValueOf)> {
    let simple = |name: &str| key(name, series, None);
    match kind {
        Kind::Counter => vec![(simple("loadtest_requests_total"), Box::new(move |s, r| number(kind, s, r)))],
        Kind::Gauge => vec![(simple("loadtest_queue_depth"), Box::new(move |s, r| number(kind, s, r)))],
        Kind::Histogram => {
            let mut all: Vec<(String, ValueOf)> = vec![
                (simple("loadtest_duration_seconds_sum"), Box::new(sum)),
                (simple("loadtest_duration_seconds_count"), Box::new(|s, r| total(s, r, 4))),
            ];
            for upto in 1..=BOUNDS.len() + 1 {
                let le = BOUNDS.get(upto - 1).map_or("+Inf".to_owned(), f64::to_string);
                let key = key("loadtest_duration_seconds_bucket", series, Some(&le));
                all.push((key, Box::new(move |s, r| total(s, r, upto))));
            }
            all
        }
    }
}

fn total(series: u32, round: u64, upto: usize) -> f64 {
    buckets(series, round)[..upto].iter().sum::<u64>() as f64
}

fn key(name: &str, series: u32, le: Option<&str>) -> String {
    format!("{name}{{series_id={series},le={}}}", le.unwrap_or(""))
}

fn key_of(metric: &HashMap<String, String>) -> String {
    let label = |name: &str| metric.get(name).map_or("", String::as_str);
    format!("{}{{series_id={},le={}}}", label("__name__"), label("series_id"), label("le"))
}

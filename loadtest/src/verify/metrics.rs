//! Metrics: every sample of every series, read with a range selector, compared with the formula that made it.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Reader, Verdict, by_template};
use crate::clock::now_ns;
use crate::ledger::{Outcome, Sent};
use crate::live::Live;
use crate::payload::Template;
use crate::payload::metrics::{BOUNDS, Course, Kind, MetricsTemplate, pod};
use crate::run::WorkerResult;

/// Samples that one query may bring, so that answers stay small.
const SAMPLES_MAX: usize = 200_000;
/// Slices in one query.
const SLICES_MAX: usize = 200;

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

/// By time in ms: the value, and whether it must be there or only may.
type Expected = HashMap<i64, (f64, Outcome)>;

/// The series of some requests and everything that was sent of them.
struct Group<'a> {
    slices: Vec<(&'a MetricsTemplate, Vec<Sent>)>,
    missed: u64,
}

/// Checks all samples, some slices (the series of one request each) at a time.
pub(crate) async fn check(
    reader: &Reader<'_>,
    run_id: &str,
    results: &[WorkerResult],
    live: &mut Live,
) -> anyhow::Result<Verdict> {
    let mut groups = groups(results);
    let mut verdict = Verdict::default();
    let all = groups.len() as u64;
    let mut is_first = true;
    while !groups.is_empty() {
        let mut missing = Vec::new();
        // The last look counts, whatever is missing in it.
        let is_last = !is_first && !reader.may_look_again().await;
        for (number, mut group) in groups.into_iter().enumerate() {
            let found = group.read(reader, run_id).await?;
            let seen = group.compare(found);
            if is_first {
                group.missed = seen.lost;
                live.step("verify: groups of series", number as u64 + 1, all);
            }
            if seen.lost > 0 && !is_last {
                missing.push(group);
            } else {
                verdict.add(seen.after(group.missed));
            }
        }
        is_first = false;
        groups = missing;
    }
    Ok(verdict)
}

fn groups(results: &[WorkerResult]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut samples = usize::MAX;
    for result in results {
        for (template, sent) in result.templates.iter().zip(by_template(result)) {
            let Template::Metrics(template) = template else { continue };
            if sent.is_empty() {
                continue;
            }
            let more = template.points().len() * sent.len();
            let last = groups
                .last_mut()
                .filter(|group| group.slices.len() < SLICES_MAX && samples + more <= SAMPLES_MAX);
            match last {
                Some(group) => {
                    samples += more;
                    group.slices.push((template, sent));
                }
                None => {
                    samples = more;
                    groups.push(Group { slices: vec![(template, sent)], missed: 0 });
                }
            }
        }
    }
    groups
}

impl Group<'_> {
    async fn read(&self, reader: &Reader<'_>, run_id: &str) -> anyhow::Result<Vec<Series>> {
        // A second of slack on both sides; the window is open on the left.
        let end_s = (now_ns() / 1_000_000_000) + 2;
        let window_s = end_s - reader.started_ns / 1_000_000_000 + 2;
        let slices: Vec<_> = self.slices.iter().map(|(template, _)| template.slice.to_string()).collect();
        let query = format!(
            "{{__name__=~\"loadtest_.+\",run_id=\"{run_id}\",slice=~\"{}\"}}[{window_s}s]",
            slices.join("|")
        );
        let parameters = [("query", query), ("time", end_s.to_string())];
        let answer: Answer = reader.get(&reader.proof.prometheus, "/api/v1/query", &parameters).await?;
        Ok(answer.data.result)
    }

    fn compare(&self, found: Vec<Series>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut found: HashMap<String, Vec<(f64, String)>> =
            found.into_iter().map(|series| (key_of(&series.metric), series.values)).collect();
        for (template, sent) in &self.slices {
            for point in template.points() {
                for (generation, sent) in by_generation(template.course, point.series, sent) {
                    for (key, value) in series_of(template.course, point.series, point.kind, generation) {
                        let expected = sent.iter().map(|sent| {
                            (sent.time_ns / 1_000_000, (value(point.series, sent.round), sent.outcome))
                        });
                        let found = found.remove(&key).unwrap_or_default();
                        compare_series(&mut verdict, &key, expected.collect(), found);
                    }
                }
            }
        }
        for (key, values) in found {
            verdict.wrong += values.len() as u64;
            verdict.note(|| format!("{key} was never sent"));
        }
        verdict
    }
}

/// What was sent under each name that a series had; one name if it does not churn.
fn by_generation(course: Course, series: u32, sent: &[Sent]) -> Vec<(Option<u64>, Vec<Sent>)> {
    if course.churn_every == 0 {
        return vec![(None, sent.to_vec())];
    }
    let mut parts: Vec<(Option<u64>, Vec<Sent>)> = Vec::new();
    for entry in sent {
        let generation = Some(course.generation(series, entry.round));
        match parts.last_mut() {
            Some((last, part)) if *last == generation => part.push(*entry),
            _ => parts.push((generation, vec![*entry])),
        }
    }
    parts
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
fn series_of(course: Course, series: u32, kind: Kind, generation: Option<u64>) -> Vec<(String, ValueOf)> {
    let pod = generation.map(pod).unwrap_or_default();
    let simple = |name: &str| key(name, series, "", &pod);
    match kind {
        Kind::Counter => {
            vec![(simple("loadtest_requests_total"), Box::new(move |s, r| course.number(kind, s, r)))]
        }
        Kind::Gauge => {
            vec![(simple("loadtest_queue_depth"), Box::new(move |s, r| course.number(kind, s, r)))]
        }
        Kind::Histogram => {
            let mut all: Vec<(String, ValueOf)> = vec![
                (simple("loadtest_duration_seconds_sum"), Box::new(move |s, r| course.sum(s, r))),
                (simple("loadtest_duration_seconds_count"), Box::new(move |s, r| total(course, s, r, 4))),
            ];
            for upto in 1..=BOUNDS.len() + 1 {
                let le = BOUNDS.get(upto - 1).map_or("+Inf".to_owned(), f64::to_string);
                let key = key("loadtest_duration_seconds_bucket", series, &le, &pod);
                all.push((key, Box::new(move |s, r| total(course, s, r, upto))));
            }
            all
        }
    }
}

fn total(course: Course, series: u32, round: u64, upto: usize) -> f64 {
    course.buckets(series, round)[..upto].iter().sum::<u64>() as f64
}

fn key(name: &str, series: u32, le: &str, pod: &str) -> String {
    format!("{name}{{series_id={series},le={le},pod={pod}}}")
}

/// `le` in one form: targets write 1 and 1.0.
fn key_of(metric: &HashMap<String, String>) -> String {
    let label = |name: &str| metric.get(name).map_or("", String::as_str);
    let le = match label("le") {
        "+Inf" => "+Inf".to_owned(),
        le => le.parse::<f64>().map_or_else(|_| le.to_owned(), |le| le.to_string()),
    };
    format!("{}{{series_id={},le={le},pod={}}}", label("__name__"), label("series_id"), label("pod"))
}

#[cfg(test)]
mod tests;

//! One series: which it is in Prometheus, which labels and samples it must have.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::super::Verdict;
use super::super::labels::{self, Labels};
use crate::ledger::{Missing, Outcome};
use crate::payload::metrics::{BOUNDS, Course, Kind, MetricsTemplate, SCOPE, pod, resource_attributes};

/// A series that was found.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) metric: Labels,
    pub(super) values: Vec<(f64, String)>,
}

/// By time in ms: the value, whether it must be there or only may, and whether it was found.
pub(super) type Expected = HashMap<i64, (f64, Outcome, bool)>;

/// The value of a series in a round.
type ValueOf = Box<dyn Fn(u32, u64) -> f64>;

/// What has been found of some series.
pub(super) struct Account<'a> {
    pub(super) verdict: Verdict,
    extra_labels: &'a [String],
    /// By slice and time of a request.
    missing: Missing<(u32, i64)>,
    /// Data points of several samples that are in `missing`, which counts them once.
    seen_missing: HashSet<(u32, i64, u32)>,
}

impl<'a> Account<'a> {
    pub(super) fn new(extra_labels: &'a [String]) -> Self {
        let (verdict, missing, seen_missing) = Default::default();
        Self { verdict, extra_labels, missing, seen_missing }
    }

    /// Compares one series of Prometheus with everything that was found under its key.
    pub(super) fn compare(
        &mut self,
        template: &MetricsTemplate,
        series: u32,
        key: &str,
        sent: &[(String, String)],
        mut expected: Expected,
        found: Vec<Found>,
    ) {
        let acked = expected.values().filter(|(_, outcome, _)| *outcome == Outcome::Acked);
        self.verdict.checked += acked.count() as u64;
        let judged = found.into_iter().map(|found| {
            let le_and_name = |name: &str| name == "__name__" || name == "le";
            let fault = labels::fault(&[&found.metric], sent, |name, value| {
                le_and_name(name) || may_be_added(name, value) || self.extra_labels.iter().any(|l| l == name)
            });
            (fault, found)
        });
        let mut judged: Vec<_> = judged.collect();
        // Right ones first, so that a copy under other labels is the double of them.
        judged.sort_by_key(|(fault, found)| (fault.is_some(), std::cmp::Reverse(found.values.len())));
        for (number, (fault, found)) in judged.into_iter().enumerate() {
            let fault = fault.or((number > 0).then(|| "is split over several sets of labels".to_owned()));
            self.values(key, fault.as_deref(), &mut expected, &found.values);
        }
        for (time_ms, (value, outcome, is_found)) in expected {
            if is_found || self.is_counted(template, series, time_ms, outcome) {
                continue;
            }
            if self.missing.add((template.identity.slice, time_ms), outcome) {
                self.verdict.lost += 1;
                self.verdict.note(|| format!("{key} at {time_ms} ms with value {value} is not there"));
            }
        }
    }

    /// Whether a data point is already known to be missing, by another one of its samples.
    fn is_counted(
        &mut self,
        template: &MetricsTemplate,
        series: u32,
        time_ms: i64,
        outcome: Outcome,
    ) -> bool {
        matches!(outcome, Outcome::Partly { .. })
            && !template.counts_samples()
            && !self.seen_missing.insert((template.identity.slice, time_ms, series))
    }

    fn values(&mut self, key: &str, fault: Option<&str>, expected: &mut Expected, values: &[(f64, String)]) {
        for (seconds, text) in values {
            let time_ms = ms(*seconds);
            match expected.get_mut(&time_ms) {
                None => {
                    self.verdict.wrong += 1;
                    self.verdict.note(|| format!("{key} at {time_ms} ms is {text} and was never sent"));
                }
                Some((_, _, true)) => {
                    self.verdict.duplicated += 1;
                    self.verdict.note(|| match fault {
                        Some(fault) => format!("{key} has two samples at {time_ms} ms; one {fault}"),
                        None => format!("{key} has two samples at {time_ms} ms"),
                    });
                }
                Some((value, _, is_found)) => {
                    *is_found = true;
                    let value = *value;
                    if let Some(fault) = fault {
                        self.verdict.wrong += 1;
                        self.verdict.note(|| format!("{key} at {time_ms} ms {fault}"));
                    } else if text.parse() != Ok(value) {
                        self.verdict.wrong += 1;
                        self.verdict.note(|| format!("{key} at {time_ms} ms is {text}, sent was {value}"));
                    }
                }
            }
        }
    }

    /// A series that nothing is known of.
    pub(super) fn never_sent(&mut self, key: &str, found: &[Found]) {
        self.verdict.wrong += found.iter().map(|found| found.values.len() as u64).sum::<u64>();
        self.verdict.note(|| format!("{key} was never sent"));
    }

    /// The result.
    pub(super) fn verdict(mut self) -> Verdict {
        let lost = self.missing.lost();
        self.verdict.lost += lost;
        if lost > 0 {
            self.verdict.note(|| format!("{lost} items more are missing than were refused"));
        }
        self.verdict
    }
}

/// Labels that the way into Prometheus may add, by the OpenTelemetry compatibility specification: `job` and `instance`
/// of the resource, its attributes where they are promoted, the scope, and with features of Prometheus type and unit.
fn may_be_added(name: &str, value: &str) -> bool {
    match name {
        "__type__" | "__unit__" => true,
        "job" | "instance" => value == "loadtest",
        "otel_scope_name" => value == SCOPE.0,
        "otel_scope_version" => value == SCOPE.1,
        _ => {
            let mut promoted = resource_attributes("loadtest").into_iter();
            promoted.any(|(attribute, known)| attribute.replace('.', "_") == name && known == value)
        }
    }
}

/// Seconds with a fraction in whole milliseconds.
pub(super) fn ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// The Prometheus series that a data stream becomes, by the OpenTelemetry compatibility specification.
pub(super) fn series_of(course: Course, series: u32, kind: Kind, generation: u64) -> Vec<(String, ValueOf)> {
    let pod = if course.churn_every == 0 { String::new() } else { pod(generation) };
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

/// By which a series is known; `le` in one form, as targets write 1 and 1.0.
pub(super) fn key_of(metric: &Labels) -> String {
    let label = |name: &str| metric.get(name).unwrap_or_default();
    let le = match label("le") {
        "+Inf" => "+Inf".to_owned(),
        le => le.parse::<f64>().map_or_else(|_| le.to_owned(), |le| le.to_string()),
    };
    format!("{}{{series_id={},le={le},pod={}}}", label("__name__"), label("series_id"), label("pod"))
}

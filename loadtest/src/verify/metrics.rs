//! Metrics: every sample of every series, read with range selectors window by window, compared with the formula that made
//! it and the labels that it was sent with.

mod series;

use std::collections::HashMap;

use serde::Deserialize;

use self::series::{Account, Found, key_of, series_of};
use super::{Reader, Verdict, by_template};
use crate::clock::now_ns;
use crate::ledger::{Outcome, Sent};
use crate::live::Live;
use crate::payload::Template;
use crate::payload::metrics::MetricsTemplate;
use crate::run::WorkerResult;

/// Samples that one query may bring, so that answers stay small and below the limits of any target.
const SAMPLES_MAX: usize = 200_000;
/// Slices in one query.
const SLICES_MAX: usize = 200;
/// How far before and behind the run samples are looked for that should not be there.
const SLACK_MS: i64 = 2000;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Found>,
}

/// A slice, which is the series of one request, and what was sent of it.
type Slice<'a> = (&'a MetricsTemplate, Vec<Sent>);

/// Some slices and what was sent of them in a window of time.
struct Group<'a> {
    slices: Vec<Slice<'a>>,
    /// From the first up to before the second, ms since the epoch.
    window: (i64, i64),
    missed: u64,
}

/// Checks all samples, some slices and some time at once.
pub(crate) async fn check(
    reader: &Reader<'_>,
    run_id: &str,
    results: &[WorkerResult],
    live: &mut Live,
) -> anyhow::Result<Verdict> {
    let mut groups = groups(results, reader.started_ns / 1_000_000, now_ns() / 1_000_000);
    let mut verdict = Verdict::default();
    let all = groups.len() as u64;
    let mut is_first = true;
    while !groups.is_empty() {
        let mut missing = Vec::new();
        // The last look counts, whatever is missing in it.
        let is_last = !is_first && !reader.may_look_again().await;
        for (number, mut group) in groups.into_iter().enumerate() {
            let found = group.read(reader, run_id).await?;
            let seen = group.compare(found, &reader.proof.extra_labels);
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

/// Everything that was sent, in parts that one query can bring.
fn groups(results: &[WorkerResult], started_ms: i64, now_ms: i64) -> Vec<Group<'_>> {
    let mut sets: Vec<Vec<Slice<'_>>> = Vec::new();
    let mut samples = usize::MAX;
    for result in results {
        for (template, sent) in result.templates.iter().zip(by_template(result)) {
            let Template::Metrics(template) = template else { continue };
            if sent.is_empty() {
                continue;
            }
            let more = template.samples() * sent.len();
            let last = sets
                .last_mut()
                .filter(|set| set.len() < SLICES_MAX && samples.saturating_add(more) <= SAMPLES_MAX);
            match last {
                Some(set) => {
                    samples += more;
                    set.push((template, sent));
                }
                None => {
                    samples = more;
                    sets.push(vec![(template, sent)]);
                }
            }
        }
    }
    let all = (started_ms - SLACK_MS, now_ms + SLACK_MS);
    sets.into_iter().flat_map(|set| windows(set, all, SAMPLES_MAX)).collect()
}

/// Cuts a set into windows of about `samples_max`, one behind the other without gaps.
fn windows<'a>(set: Vec<Slice<'a>>, all: (i64, i64), samples_max: usize) -> Vec<Group<'a>> {
    let samples: usize = set.iter().map(|(template, sent)| template.samples() * sent.len()).sum();
    let parts = samples.div_ceil(samples_max).max(1);
    let mut times: Vec<_> = set.iter().flat_map(|(_, sent)| sent.iter().map(time_ms)).collect();
    times.sort_unstable();
    let mut bounds: Vec<_> = (1..parts).map(|part| times[part * times.len() / parts]).collect();
    bounds.push(all.1.max(times.last().map_or(0, |last| last + 1)));
    bounds.dedup();
    let mut from = all.0;
    let window = |to: i64| {
        let window = (from, to);
        from = to;
        let inside = |sent: &&Sent| (window.0..window.1).contains(&time_ms(sent));
        let slices =
            set.iter().map(|(template, sent)| (*template, sent.iter().filter(inside).copied().collect()));
        Group { slices: slices.collect(), window, missed: 0 }
    };
    bounds.into_iter().map(window).collect()
}

fn time_ms(sent: &Sent) -> i64 {
    sent.time_ns / 1_000_000
}

impl Group<'_> {
    async fn read(&self, reader: &Reader<'_>, run_id: &str) -> anyhow::Result<Vec<Found>> {
        let (from, to) = self.window;
        let slices: Vec<_> =
            self.slices.iter().map(|(template, _)| template.identity.slice.to_string()).collect();
        // Open on the left, with some programs closed; what is outside of the window is left out below.
        let query = format!(
            "{{__name__=~\"loadtest_.+\",run_id=\"{run_id}\",slice=~\"{}\"}}[{}ms]",
            slices.join("|"),
            to - from + 1
        );
        let parameters = [("query", query), ("time", format!("{:.3}", to as f64 / 1000.0))];
        let answer: Answer = reader.get(&reader.proof.prometheus, "/api/v1/query", &parameters).await?;
        let mut found = answer.data.result;
        for series in &mut found {
            series.values.retain(|(seconds, _)| (from..to).contains(&series::ms(*seconds)));
        }
        found.retain(|series| !series.values.is_empty());
        Ok(found)
    }

    fn compare(&self, found: Vec<Found>, extra_labels: &[String]) -> Verdict {
        let mut by_key: HashMap<String, Vec<Found>> = HashMap::new();
        for series in found {
            by_key.entry(key_of(&series.metric)).or_default().push(series);
        }
        let mut account = Account::new(extra_labels);
        for (template, sent) in &self.slices {
            let partly = sent.iter().filter(|sent| matches!(sent.outcome, Outcome::Partly { .. }));
            account.verdict.checked +=
                partly.map(|sent| sent.outcome.required(template.items())).sum::<u64>();
            let course = template.identity.course;
            for point in template.points() {
                let generation = |sent: &Sent| course.generation(point.series, sent.round);
                for sent in sent.chunk_by(|a, b| generation(a) == generation(b)) {
                    let generation = sent.first().map_or(0, generation);
                    let labels = template.labels(point.series, generation);
                    for (key, value) in series_of(course, point.series, point.kind, generation) {
                        let expected = sent.iter().map(|sent| {
                            (time_ms(sent), (value(point.series, sent.round), sent.outcome, false))
                        });
                        let found = by_key.remove(&key).unwrap_or_default();
                        account.compare(template, point.series, &key, &labels, expected.collect(), found);
                    }
                }
            }
        }
        for (key, found) in by_key {
            account.never_sent(&key, &found);
        }
        account.verdict()
    }
}

#[cfg(test)]
mod tests;

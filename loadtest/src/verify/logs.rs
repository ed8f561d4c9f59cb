//! Logs: every line of every stream, read page by page, compared with the template that made it.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Verdict, get};
use crate::cli::OtlpArgs;
use crate::ledger::Outcome;
use crate::payload::Template;
use crate::payload::logs::LogsTemplate;
use crate::run::WorkerResult;

/// Entries of a page: the most that Loki's default limits allow.
const PAGE_ENTRIES: usize = 5000;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    values: Vec<(String, String)>,
}

/// Checks all lines, a stream at a time.
pub(crate) async fn check(
    args: &OtlpArgs,
    results: &[WorkerResult],
    started_ns: i64,
) -> anyhow::Result<Verdict> {
    let client = reqwest::Client::new();
    let url = format!("{}/loki/api/v1/query_range", args.loki.trim_end_matches('/'));
    let mut verdict = Verdict::default();
    for result in results {
        for (index, template) in result.templates.iter().enumerate() {
            let Template::Logs(template) = template else { continue };
            let mut stream = StreamCheck::new(result, index, template);
            verdict.checked += stream.acked();
            if stream.expected.is_empty() {
                continue;
            }
            let end_ns = stream.last_ns.saturating_add(1_000_000_000);
            let mut start_ns = started_ns - 1_000_000_000;
            loop {
                let parameters = [
                    ("query", format!("{{service_instance_id=\"{}\"}}", template.instance)),
                    ("start", start_ns.to_string()),
                    ("end", end_ns.to_string()),
                    ("limit", PAGE_ENTRIES.to_string()),
                    ("direction", "forward".to_owned()),
                ];
                let answer: Answer = get(&client, args, &url, &parameters).await?;
                let Some(last_ns) = stream.page(&mut verdict, answer.data.result) else { break };
                // Times inside a stream are unique, so the next page starts right behind.
                start_ns = last_ns + 1;
                if start_ns > stream.last_ns {
                    break;
                }
            }
            stream.finish(&mut verdict);
        }
    }
    Ok(verdict)
}

/// The lines of one stream that are still to be found.
struct StreamCheck<'a> {
    template: &'a LogsTemplate,
    /// By timestamp: round, index in the request, outcome, and how often it was found.
    expected: HashMap<i64, (u64, usize, Outcome, u32)>,
    last_ns: i64,
}

impl<'a> StreamCheck<'a> {
    fn new(result: &WorkerResult, index: usize, template: &'a LogsTemplate) -> Self {
        let sent = result.ledger.iter().filter(|sent| sent.template == index);
        let items = template.items() as usize;
        let expected: HashMap<_, _> = sent
            .flat_map(|sent| (0..items).map(|i| (sent.time_ns + i as i64, (sent.round, i, sent.outcome, 0))))
            .collect();
        let last_ns = expected.keys().copied().max().unwrap_or(0);
        Self { template, expected, last_ns }
    }

    fn acked(&self) -> u64 {
        self.expected.values().filter(|(_, _, outcome, _)| *outcome == Outcome::Acked).count() as u64
    }

    /// Compares a page; the last time in it, or `None` at the end.
    fn page(&mut self, verdict: &mut Verdict, streams: Vec<Stream>) -> Option<i64> {
        let mut last_ns = None;
        for (time, line) in streams.into_iter().flat_map(|stream| stream.values) {
            let Ok(time_ns) = time.parse::<i64>() else {
                verdict.wrong += 1;
                verdict.note(|| format!("timestamp {time:?} is not a number"));
                continue;
            };
            last_ns = last_ns.max(Some(time_ns));
            let Some((round, index, _, times_found)) = self.expected.get_mut(&time_ns) else {
                verdict.wrong += 1;
                verdict
                    .note(|| format!("{} at {time_ns} ns was never sent: {line:?}", self.template.instance));
                continue;
            };
            *times_found += 1;
            if *times_found > 1 {
                verdict.duplicated += 1;
                verdict.note(|| format!("{} at {time_ns} ns is there twice", self.template.instance));
            } else if self.template.line(*round, *index) != line {
                verdict.wrong += 1;
                verdict.note(|| format!("{} at {time_ns} ns differs: {line:?}", self.template.instance));
            }
        }
        last_ns
    }

    fn finish(self, verdict: &mut Verdict) {
        for (time_ns, (_, _, outcome, times_found)) in self.expected {
            if outcome == Outcome::Acked && times_found == 0 {
                verdict.lost += 1;
                verdict.note(|| format!("{} at {time_ns} ns is not there", self.template.instance));
            }
        }
    }
}

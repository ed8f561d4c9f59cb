//! Logs: every line of every stream, read window by window, compared with the template that made it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Reader, Verdict, by_template};
use crate::clock::now_ns;
use crate::ledger::{Outcome, Sent};
use crate::live::Live;
use crate::payload::Template;
use crate::payload::logs::LogsTemplate;
use crate::run::WorkerResult;

/// Entries of an answer: the most that Loki's default limits allow.
const PAGE_ENTRIES: usize = 5000;
/// Entries that are expected in a window; the room above is for what should not be there.
const WINDOW_ENTRIES: u64 = 4000;
const SECOND_NS: i64 = 1_000_000_000;

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
    values: Vec<Entry>,
}

/// Time, line, and metadata where the answer has it apart.
#[derive(Deserialize)]
struct Entry(String, String, #[serde(default)] IgnoredAny);

#[derive(Deserialize)]
struct Counts {
    data: CountData,
}

#[derive(Deserialize)]
struct CountData {
    result: Vec<Count>,
}

#[derive(Deserialize)]
struct Count {
    value: (f64, String),
}

/// A stream and all that was sent of it, in order.
struct Sender<'a> {
    template: &'a LogsTemplate,
    sent: Vec<Sent>,
    missed: u64,
}

/// Checks all lines, a stream at a time.
pub(crate) async fn check(
    reader: &Reader<'_>,
    results: &[WorkerResult],
    live: &mut Live,
) -> anyhow::Result<Verdict> {
    let mut senders = Vec::new();
    for result in results {
        for (template, sent) in result.templates.iter().zip(by_template(result)) {
            let Template::Logs(template) = template else { continue };
            if !sent.is_empty() {
                senders.push(Sender { template, sent, missed: 0 });
            }
        }
    }
    let mut verdict = Verdict::default();
    check_needles(reader, &senders, &mut verdict).await?;
    let all = senders.iter().map(Sender::lines).sum();
    let (mut done, mut is_first) = (0, true);
    while !senders.is_empty() {
        let mut missing = Vec::new();
        // The last look counts, whatever is missing in it.
        let is_last = !is_first && !reader.may_look_again().await;
        for mut sender in senders {
            let seen = sender.read(reader).await?;
            if is_first {
                sender.missed = seen.lost;
                done += sender.lines();
                live.step("verify: lines", done, all);
            }
            if seen.lost > 0 && !is_last {
                missing.push(sender);
            } else {
                verdict.add(seen.after(sender.missed));
            }
        }
        is_first = false;
        senders = missing;
    }
    Ok(verdict)
}

/// A search for the needle finds the planted lines, no more and no fewer.
async fn check_needles(
    reader: &Reader<'_>,
    senders: &[Sender<'_>],
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let (crate::cli::Load::Otlp(crate::cli::OtlpArgs { logs, .. })
    | crate::cli::Load::LokiPush(crate::cli::LokiPushArgs { logs, .. })) = reader.load
    else {
        return Ok(());
    };
    let Some(needle) = &logs.needle else { return Ok(()) };
    let planted = |only_acked: bool| {
        let of = |sender: &Sender<'_>| {
            let sent =
                sender.sent.iter().filter(|sent| !only_acked || sent.outcome == Outcome::Acked).count();
            sent as u64 * sender.template.needles
        };
        senders.iter().map(of).sum::<u64>()
    };
    let Some(prefix) = senders.first().and_then(|s| s.template.instance.rsplit_once('-')) else {
        return Ok(());
    };
    let end_ns = now_ns() + 2 * SECOND_NS;
    let range_s = (end_ns - reader.started_ns) / SECOND_NS + 2;
    let word = serde_json::to_string(needle).unwrap_or_default();
    let selector = format!("{{service_instance_id=~\"{}-[0-9]+\"}} |= {word}", prefix.0);
    let parameters =
        [("query", format!("sum(count_over_time({selector} [{range_s}s]))")), ("time", end_ns.to_string())];
    loop {
        let counts: Counts = reader.get(&reader.proof.loki, "/loki/api/v1/query", &parameters).await?;
        let count = counts.data.result.first().and_then(|count| count.value.1.parse::<f64>().ok());
        let found = count.unwrap_or(0.0) as u64;
        let (least, most) = (planted(true), planted(false));
        if found < least && reader.may_look_again().await {
            continue;
        }
        verdict.checked += least;
        verdict.lost += least.saturating_sub(found);
        verdict.wrong += found.saturating_sub(most);
        if found < least || found > most {
            verdict.note(|| {
                format!("a search for {needle:?} finds {found} lines, planted were {least} to {most}")
            });
        }
        return Ok(());
    }
}

impl Sender<'_> {
    fn lines(&self) -> u64 {
        self.template.items() * self.sent.len() as u64
    }

    /// Times between which at most [`WINDOW_ENTRIES`] are expected, one behind the other without gaps.
    fn windows(&self, reader: &Reader<'_>) -> Vec<(i64, i64)> {
        let mut windows = Vec::new();
        let mut start = reader.started_ns - SECOND_NS;
        let mut entries = 0;
        for sent in &self.sent {
            if entries > 0 && entries + self.template.items() > WINDOW_ENTRIES {
                windows.push((start, sent.time_ns));
                (start, entries) = (sent.time_ns, 0);
            }
            entries += self.template.items();
        }
        let last = self.sent.last().map_or(start, |sent| sent.time_ns);
        windows.push((start, last + self.template.items() as i64 + SECOND_NS));
        windows
    }

    async fn read(&self, reader: &Reader<'_>) -> anyhow::Result<Verdict> {
        let mut verdict = Verdict::default();
        let mut check = StreamCheck::new(self);
        verdict.checked = check.acked();
        for (mut start_ns, end_ns) in self.windows(reader) {
            loop {
                let parameters = [
                    ("query", format!("{{service_instance_id=\"{}\"}}", self.template.instance)),
                    ("start", start_ns.to_string()),
                    ("end", end_ns.to_string()),
                    ("limit", PAGE_ENTRIES.to_string()),
                    ("direction", "forward".to_owned()),
                ];
                let answer: Answer =
                    reader.get(&reader.proof.loki, "/loki/api/v1/query_range", &parameters).await?;
                let page = check.page(&mut verdict, answer.data.result);
                // Only a full page has a next one, which starts right behind: times inside a stream are unique.
                match page {
                    (count, Some(last_ns)) if count >= PAGE_ENTRIES && last_ns + 1 < end_ns => {
                        start_ns = last_ns + 1;
                    }
                    _ => break,
                }
            }
        }
        check.finish(&mut verdict);
        Ok(verdict)
    }
}

/// The lines of one stream that are still to be found.
struct StreamCheck<'a> {
    template: &'a LogsTemplate,
    /// By timestamp: round, index in the request, outcome, and how often it was found.
    expected: HashMap<i64, (u64, usize, Outcome, u32)>,
}

impl<'a> StreamCheck<'a> {
    fn new(sender: &Sender<'a>) -> Self {
        let items = sender.template.items() as usize;
        let lines = |sent: &Sent| {
            let (time_ns, round, outcome) = (sent.time_ns, sent.round, sent.outcome);
            (0..items).map(move |i| (time_ns + i as i64, (round, i, outcome, 0)))
        };
        Self { template: sender.template, expected: sender.sent.iter().flat_map(lines).collect() }
    }

    fn acked(&self) -> u64 {
        self.expected.values().filter(|(_, _, outcome, _)| *outcome == Outcome::Acked).count() as u64
    }

    /// Compares a page; its entries and the last time in it.
    fn page(&mut self, verdict: &mut Verdict, streams: Vec<Stream>) -> (usize, Option<i64>) {
        let (mut count, mut last_ns) = (0, None);
        for Entry(time, line, _) in streams.into_iter().flat_map(|stream| stream.values) {
            count += 1;
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
        (count, last_ns)
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

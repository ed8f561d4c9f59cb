//! Logs: every line of every stream, read window by window, compared with the template that made it.

use std::collections::HashMap;

use serde::Deserialize;

use super::labels::{self, Labels};
use super::{Reader, Verdict, by_template};
use crate::clock::now_ns;
use crate::ledger::{Missing, Outcome, Sent};
use crate::live::Live;
use crate::payload::Template;
use crate::payload::logs::{LineLabels, LogsTemplate};
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
    #[serde(default)]
    stream: Labels,
    values: Vec<Entry>,
}

/// Time, line, and metadata where the answer has it apart.
#[derive(Deserialize)]
struct Entry(String, String, #[serde(default)] Categories);

#[derive(Default, Deserialize)]
struct Categories {
    #[serde(default, rename = "structuredMetadata")]
    metadata: Labels,
}

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
            let needles = sender.template.needles;
            // Of a request taken in part the needles may be what was refused.
            let required = |sent: &Sent| if only_acked { sent.outcome.required(needles) } else { needles };
            sender.sent.iter().map(required).sum::<u64>()
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
        let mut check = StreamCheck::new(self, &reader.proof.extra_labels);
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

/// A line that was sent.
struct Line {
    round: u64,
    /// Its place in the request.
    index: usize,
    outcome: Outcome,
    is_found: bool,
}

/// The lines of one stream that are still to be found.
struct StreamCheck<'a> {
    template: &'a LogsTemplate,
    labels: LineLabels,
    extra_labels: &'a [String],
    /// By timestamp.
    expected: HashMap<i64, Line>,
    /// Acknowledged lines.
    required: u64,
}

impl<'a> StreamCheck<'a> {
    fn new(sender: &Sender<'a>, extra_labels: &'a [String]) -> Self {
        let items = sender.template.items();
        let lines = |sent: &Sent| {
            let (time_ns, round, outcome) = (sent.time_ns, sent.round, sent.outcome);
            (0..items as usize)
                .map(move |index| (time_ns + index as i64, Line { round, index, outcome, is_found: false }))
        };
        Self {
            template: sender.template,
            labels: sender.template.labels(),
            extra_labels,
            expected: sender.sent.iter().flat_map(lines).collect(),
            required: sender.sent.iter().map(|sent| sent.outcome.required(items)).sum(),
        }
    }

    fn acked(&self) -> u64 {
        self.required
    }

    /// Compares a page; its entries and the last time in it.
    fn page(&mut self, verdict: &mut Verdict, streams: Vec<Stream>) -> (usize, Option<i64>) {
        let (mut count, mut last_ns) = (0, None);
        for Stream { stream, values } in streams {
            for entry in values {
                count += 1;
                last_ns = last_ns.max(self.entry(verdict, &stream, &entry));
            }
        }
        (count, last_ns)
    }

    /// Compares an entry; its time.
    fn entry(&mut self, verdict: &mut Verdict, stream: &Labels, entry: &Entry) -> Option<i64> {
        let Entry(time, text, categories) = entry;
        let instance = &self.template.instance;
        let Ok(time_ns) = time.parse::<i64>() else {
            verdict.wrong += 1;
            verdict.note(|| format!("timestamp {time:?} is not a number"));
            return None;
        };
        match self.expected.get_mut(&time_ns) {
            None => {
                verdict.wrong += 1;
                verdict.note(|| format!("{instance} at {time_ns} ns was never sent: {text:?}"));
            }
            Some(Line { is_found: true, .. }) => {
                verdict.duplicated += 1;
                verdict.note(|| format!("{instance} at {time_ns} ns is there twice"));
            }
            Some(line) => {
                line.is_found = true;
                let (index, is_equal) = (line.index, self.template.line(line.round, line.index) == *text);
                if !is_equal {
                    verdict.wrong += 1;
                    verdict.note(|| format!("{instance} at {time_ns} ns differs: {text:?}"));
                } else if let Some(fault) = self.label_fault(index, stream, &categories.metadata) {
                    verdict.wrong += 1;
                    verdict.note(|| format!("{} at {time_ns} ns {fault}", self.template.instance));
                }
            }
        }
        Some(time_ns)
    }

    fn label_fault(&self, index: usize, stream: &Labels, metadata: &Labels) -> Option<String> {
        labels::fault(&[stream, metadata], &self.labels.required[index], |name, value| {
            // Loki's own: what it took the level from a line for, and when it came.
            matches!(name, "detected_level" | "observed_timestamp")
                || self.extra_labels.iter().any(|extra| extra == name)
                || self.labels.allowed.iter().any(|(other, known)| other == name && known == value)
        })
    }

    fn finish(self, verdict: &mut Verdict) {
        let mut missing = Missing::default();
        for (time_ns, line) in self.expected {
            if !line.is_found && missing.add(line.round, line.outcome) {
                verdict.lost += 1;
                verdict.note(|| format!("{} at {time_ns} ns is not there", self.template.instance));
            }
        }
        let lost = missing.lost();
        verdict.lost += lost;
        if lost > 0 {
            verdict.note(|| format!("{} misses {lost} lines more than were refused", self.template.instance));
        }
    }
}

#[cfg(test)]
mod tests;

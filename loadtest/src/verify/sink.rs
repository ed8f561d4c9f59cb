//! What came out behind a pipeline, compared with what went in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{AGAIN, Verdict};
use crate::cli::{Proof, Signal};
use crate::ledger::{Missing, Outcome};
use crate::live::Live;
use crate::run::WorkerResult;
use crate::sink::{Arrived, Received, Sink, items};

/// An item that was sent.
struct Expected {
    content: u64,
    outcome: Outcome,
    /// Number of its request.
    request: usize,
    is_found: bool,
}

/// What has come so far.
struct Account {
    /// By key and time.
    expected: HashMap<(u64, i64), Expected>,
    verdict: Verdict,
    late_ns: i64,
    /// Acknowledged items that came.
    found: u64,
}

/// Waits until the time of grace is over, in which missing items may still come and a pipeline that tries again may still
/// send some twice, then compares.
pub(crate) async fn check(
    proof: &Proof,
    run_id: &str,
    signal: Signal,
    sink: &Sink,
    results: &[WorkerResult],
    live: &mut Live,
) -> anyhow::Result<Verdict> {
    let grace_until = Instant::now() + proof.settle + proof.grace;
    let mut account = Account::new(run_id, signal, results, proof.late_after)?;
    loop {
        let is_last = Instant::now() >= grace_until;
        account.add(sink.take());
        live.step("verify: items that arrived", account.found, account.verdict.checked);
        if is_last {
            return Ok(account.verdict());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

impl Account {
    fn new(
        run_id: &str,
        signal: Signal,
        results: &[WorkerResult],
        late_after: Duration,
    ) -> anyhow::Result<Self> {
        let late_ns = i64::try_from(late_after.as_nanos()).unwrap_or(i64::MAX);
        let mut account = Self { expected: HashMap::new(), verdict: Verdict::default(), late_ns, found: 0 };
        let all = results.iter().flat_map(|result| result.ledger.iter().map(move |sent| (result, sent)));
        for (request, (result, sent)) in all.enumerate() {
            let template = &result.templates[sent.template as usize];
            account.verdict.checked += sent.outcome.required(template.items());
            for item in items(signal, template.render(sent.round, sent.time_ns), run_id, 0)? {
                let expected =
                    Expected { content: item.content, outcome: sent.outcome, request, is_found: false };
                account.expected.insert((item.key, item.time_ns), expected);
            }
        }
        Ok(account)
    }

    fn add(&mut self, received: Received) {
        self.verdict.wrong += received.unreadable;
        if let Some(example) = received.example {
            self.verdict.note(|| format!("a request could not be read: {example}"));
        }
        received.items.into_iter().for_each(|item| self.item(item));
    }

    fn item(&mut self, item: Arrived) {
        let Some(expected) = self.expected.get_mut(&(item.key, item.time_ns)) else {
            self.verdict.wrong += 1;
            self.verdict.note(|| format!("an item at {} ns was never sent", item.time_ns));
            return;
        };
        if expected.is_found {
            self.verdict.duplicated += 1;
            self.verdict.note(|| format!("the item at {} ns arrived twice", item.time_ns));
            return;
        }
        expected.is_found = true;
        self.found += u64::from(expected.outcome != Outcome::Uncertain);
        if expected.content != item.content {
            self.verdict.wrong += 1;
            self.verdict.note(|| format!("the item at {} ns differs from what was sent", item.time_ns));
        } else if item.arrived_ns - item.time_ns > self.late_ns {
            self.verdict.late += 1;
        }
    }

    fn verdict(mut self) -> Verdict {
        let mut missing = Missing::default();
        for ((_, time_ns), expected) in self.expected {
            if !expected.is_found && missing.add(expected.request, expected.outcome) {
                self.verdict.lost += 1;
                self.verdict.note(|| format!("the item at {time_ns} ns did not arrive"));
            }
        }
        let lost = missing.lost();
        self.verdict.lost += lost;
        if lost > 0 {
            self.verdict.note(|| format!("{lost} items more are missing than were refused"));
        }
        self.verdict
    }
}

#[cfg(test)]
mod tests;

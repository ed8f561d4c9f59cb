//! The result of a run, for people and for programs.

use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::{OtlpArgs, Output};
use crate::run::WorkerResult;
use crate::verify::Verdict;

/// Everything a run found out. Its JSON form is the `--output json` format.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    signal: &'static str,
    duration_seconds: f64,
    requests: u64,
    /// Items in all requests.
    sent: u64,
    /// Items the target acknowledged.
    acked: u64,
    /// Items the target refused by `partial_success`.
    rejected: u64,
    /// Requests refused whole, and how many of those told when to try again.
    refused_requests: u64,
    refused_requests_with_retry_hint: u64,
    /// Requests without an answer.
    unanswered_requests: u64,
    /// Bytes of all requests before compression.
    bytes: u64,
    acked_per_second: f64,
    latency_ms: Latency,
    /// The first refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    example_failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<Verdict>,
}

/// Milliseconds from when a request was due to its acknowledgement.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Report {
    pub(crate) fn new(
        args: &OtlpArgs,
        elapsed: Duration,
        results: &[WorkerResult],
        verify: Option<Verdict>,
    ) -> Self {
        let total = |count: fn(&WorkerResult) -> u64| results.iter().map(count).sum::<u64>();
        let mut latency = Histogram::<u64>::new(3).expect("three digits are allowed");
        for result in results {
            latency.add(&result.latency_us).expect("an automatically resized histogram takes every value");
        }
        let ms = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1000.0;
        let acked = total(|r| r.counts.acked);
        Self {
            signal: args.signal.name(),
            duration_seconds: elapsed.as_secs_f64(),
            requests: total(|r| r.counts.requests),
            sent: total(|r| r.counts.sent),
            acked,
            rejected: total(|r| r.counts.rejected),
            refused_requests: total(|r| r.counts.refused_requests),
            refused_requests_with_retry_hint: total(|r| r.counts.refused_with_hint),
            unanswered_requests: total(|r| r.counts.unanswered_requests),
            bytes: total(|r| r.counts.bytes),
            acked_per_second: acked as f64 / elapsed.as_secs_f64(),
            latency_ms: Latency { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), max: ms(1.0) },
            example_failure: results.iter().find_map(|r| r.counts.example.clone()),
            verify,
        }
    }

    /// Whether something was acknowledged and nothing acknowledged is lost, doubled or wrong.
    pub(crate) fn passed(&self) -> bool {
        self.acked > 0 && self.verify.as_ref().is_none_or(Verdict::passed)
    }

    /// Prints the report on standard output.
    pub(crate) fn print(&self, output: Output) {
        let text = match output {
            Output::Json => serde_json::to_string(self).expect("numbers and strings serialise"),
            Output::Text => self.text(),
        };
        // A closed pipe is the reader's choice.
        let _closed = writeln!(std::io::stdout(), "{text}");
    }

    fn text(&self) -> String {
        let mut text = format!(
            "signal      {}\nduration    {:.2} s\nsent        {} items in {} requests ({:.1} MB)\nacked       {} ({:.0}/s)\nrejected    {}\nrefused     {} requests ({} with a retry hint)\nunanswered  {} requests\nlatency     p50 {:.2} ms  p90 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
            self.signal,
            self.duration_seconds,
            self.sent,
            self.requests,
            self.bytes as f64 / 1e6,
            self.acked,
            self.acked_per_second,
            self.rejected,
            self.refused_requests,
            self.refused_requests_with_retry_hint,
            self.unanswered_requests,
            self.latency_ms.p50,
            self.latency_ms.p90,
            self.latency_ms.p99,
            self.latency_ms.max,
        );
        if let Some(example) = &self.example_failure {
            text.push_str(&format!("\nexample     {example}"));
        }
        if let Some(verdict) = &self.verify {
            text.push_str(&format!(
                "\nverify      {}: {} checked, {} lost, {} duplicated, {} wrong",
                if verdict.passed() { "ok" } else { "FAILED" },
                verdict.checked,
                verdict.lost,
                verdict.duplicated,
                verdict.wrong,
            ));
            if let Some(example) = &verdict.example {
                text.push_str(&format!("\nfirst       {example}"));
            }
        }
        text
    }
}

/// Prints why the test could not run, on standard error.
pub(crate) fn print_error(error: &anyhow::Error) {
    let _closed = writeln!(std::io::stderr(), "error: {error:#}");
}

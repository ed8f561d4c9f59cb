//! The result of a run. Its JSON form is what `--output json` and `--json` write and `compare` reads.

mod generator;
mod html;
mod junit;
mod text;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use self::generator::Generator;
pub(crate) use self::junit::Case;
use crate::cli::{Outcome, Output, Rate};
use crate::figures::{Figures, quantile_ms};
use crate::process::{Now, Usage};
use crate::run::Finished;
use crate::threshold::{Checked, Metric, Threshold};
use crate::verify::Verdict;

/// Points of the latency distribution, nines included.
const QUANTILES: [f64; 14] =
    [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];

/// Everything that one load found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    name: String,
    kind: &'static str,
    signal: &'static str,
    endpoint: String,
    pub(crate) connections: usize,
    /// Items in a request.
    batch: u32,
    pub(crate) duration_seconds: f64,
    /// Items a second that were due on average; none in a closed loop.
    wanted_per_second: Option<f64>,
    requests: u64,
    /// Items in all requests.
    sent: u64,
    /// Items the target acknowledged.
    pub(crate) acked: u64,
    /// Items the target refused by `partial_success`.
    rejected: u64,
    /// Requests refused whole, and how many of those told when to try again.
    refused_requests: u64,
    refused_requests_with_retry_hint: u64,
    /// Requests without an answer.
    unanswered_requests: u64,
    /// Items that were due before the end but not sent, because the connections were waiting.
    unsent: u64,
    /// Bytes of all requests as they went over the wire, without headers.
    bytes: u64,
    pub(crate) acked_per_second: f64,
    /// Share of requests that were refused or not answered.
    errors: f64,
    /// From when a request was due until its answer; as long as is known, if none came or it was not sent.
    latency_ms: Latency,
    /// From when a request was sent until its answer, or until it was given up.
    service_ms: Latency,
    /// Quantile and milliseconds, corrected.
    distribution: Vec<(f64, f64)>,
    generator: Generator,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Usage>,
    timeline: Vec<Moment>,
    /// The first refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) example_failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<Verdict>,
    /// Why what was acknowledged could not be read back to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_verified: Option<String>,
    /// Connections that failed for reasons of this program, and whose figures are not here.
    failed_connections: u64,
    thresholds: Vec<Checked>,
    #[serde(skip)]
    figures: Figures,
}

/// Milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    min: f64,
    mean: f64,
    p50: f64,
    p75: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    p999: f64,
    p9999: f64,
    max: f64,
}

/// A second of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moment {
    pub(crate) at_seconds: f64,
    pub(crate) wanted_per_second: Option<f64>,
    pub(crate) sent_per_second: f64,
    pub(crate) acked_per_second: f64,
    pub(crate) failed_requests: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// With `--pid`: cores that the target was busy with, and its resident size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_rss_mib: Option<f64>,
}

impl Moment {
    pub(crate) fn new(
        at: Duration,
        length: Duration,
        wanted: Option<f64>,
        figures: &Figures,
        target: Option<Now>,
    ) -> Self {
        let seconds = length.as_secs_f64().max(1e-6);
        let ms = |quantile| quantile_ms(&figures.latency_us, quantile);
        Self {
            at_seconds: at.as_secs_f64(),
            wanted_per_second: wanted,
            sent_per_second: figures.counts.sent as f64 / seconds,
            acked_per_second: figures.counts.acked as f64 / seconds,
            failed_requests: figures.counts.failed(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
            target_cores: target.map(|now| now.cores),
            target_rss_mib: target.map(|now| now.rss_mib),
        }
    }
}

fn latency(histogram: &hdrhistogram::Histogram<u64>) -> Latency {
    let ms = |quantile| quantile_ms(histogram, quantile);
    Latency {
        min: if histogram.is_empty() { 0.0 } else { histogram.min() as f64 / 1000.0 },
        mean: histogram.mean() / 1000.0,
        p50: ms(0.5),
        p75: ms(0.75),
        p90: ms(0.9),
        p95: ms(0.95),
        p99: ms(0.99),
        p999: ms(0.999),
        p9999: ms(0.9999),
        max: ms(1.0),
    }
}

impl Report {
    pub(crate) fn new(finished: Finished) -> Self {
        let Finished { load, figures, .. } = finished;
        // An open model lasts as planned, and longer only if the last answers do.
        let elapsed = match finished.schedule {
            Some(_) => finished.elapsed.max(finished.duration),
            None => finished.elapsed,
        };
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let counts = figures.counts.clone();
        let wanted = finished.schedule.as_ref().map(|s| s.items() / finished.duration.as_secs_f64());
        let acked_per_second = counts.acked as f64 / seconds;
        let duration = finished.duration;
        let available = duration.as_secs_f64().max(1e-6) * finished.workers.max(1) as f64;
        let waiting = figures.busy.as_secs_f64() / available;
        let generator = Generator::judge(&figures, finished.own, cores(), waiting, wanted, duration);
        let (verify, not_verified) = match finished.verdict {
            None => (None, None),
            Some(Ok(verdict)) => (Some(verdict), None),
            Some(Err(why)) => (None, Some(why)),
        };
        let histogram = &figures.latency_us;
        let distribution = QUANTILES.map(|quantile| (quantile, quantile_ms(histogram, quantile))).to_vec();
        let mut report = Self {
            name: finished.name,
            kind: load.kind(),
            signal: load.signal().name(),
            endpoint: load.endpoint().to_owned(),
            connections: finished.workers,
            batch: finished.batch,
            duration_seconds: elapsed.as_secs_f64(),
            wanted_per_second: wanted,
            requests: counts.requests,
            sent: counts.sent,
            acked: counts.acked,
            rejected: counts.rejected,
            refused_requests: counts.refused_requests,
            refused_requests_with_retry_hint: counts.refused_with_hint,
            unanswered_requests: counts.unanswered_requests,
            unsent: counts.unsent,
            bytes: counts.bytes,
            acked_per_second,
            errors: counts.failed() as f64 / counts.requests.max(1) as f64,
            latency_ms: latency(histogram),
            service_ms: latency(&figures.service_us),
            distribution,
            generator,
            target: finished.target,
            timeline: finished.timeline,
            example_failure: counts.example,
            verify,
            not_verified,
            failed_connections: finished.failed_connections,
            thresholds: Vec::new(),
            figures,
        };
        report.thresholds = report.check(&load.pace().thresholds);
        report
    }

    /// Checks conditions against the figures.
    pub(crate) fn check(&self, thresholds: &[Threshold]) -> Vec<Checked> {
        thresholds.iter().map(|threshold| threshold.check(self.value(threshold.metric))).collect()
    }

    fn value(&self, metric: Metric) -> Option<f64> {
        let timed = |ms: f64| Some(ms).filter(|_| !self.figures.latency_us.is_empty());
        let verdict = self.verify.as_ref();
        match metric {
            Metric::Quantile(quantile) => timed(quantile_ms(&self.figures.latency_us, quantile)),
            Metric::Min => timed(self.latency_ms.min),
            Metric::Mean => timed(self.latency_ms.mean),
            Metric::Max => timed(self.latency_ms.max),
            Metric::Rate => Some(self.acked_per_second),
            Metric::Errors => Some(self.errors),
            Metric::Rejected => Some(self.rejected as f64),
            Metric::Refused => Some(self.refused_requests as f64),
            Metric::Unanswered => Some(self.unanswered_requests as f64),
            Metric::Unsent => Some(self.unsent as f64),
            Metric::Lost => verdict.map(|verdict| verdict.lost as f64),
            Metric::Duplicated => verdict.map(|verdict| verdict.duplicated as f64),
            Metric::Wrong => verdict.map(|verdict| verdict.wrong as f64),
            Metric::Late => verdict.map(|verdict| verdict.late as f64),
        }
    }

    /// Whether the target kept up with what was due.
    pub(crate) fn reached(&self) -> bool {
        self.unsent == 0 && self.wanted_per_second.is_none_or(|wanted| self.acked_per_second >= wanted * 0.97)
    }

    /// Whether the sending side was what limited it.
    pub(crate) fn is_own_limit(&self) -> bool {
        self.generator.is_limit
    }

    /// The corrected 99th percentile, ms.
    pub(crate) fn p99_ms(&self) -> f64 {
        self.latency_ms.p99
    }

    /// What is wrong with what was acknowledged, as far as it was read back.
    pub(crate) fn fault(&self) -> Option<String> {
        let verdict = self.verify.as_ref()?;
        if !verdict.passed() {
            return Some(format!(
                "{} lost, {} duplicated, {} wrong; {}",
                verdict.lost,
                verdict.duplicated,
                verdict.wrong,
                verdict.example.as_deref().unwrap_or("")
            ));
        }
        let is_unproven = verdict.checked == 0 && self.acked > 0;
        is_unproven.then(|| format!("none of the {} acknowledged items was looked for", self.acked))
    }

    /// Whether something was acknowledged, and nothing of that was found to be amiss.
    pub(crate) fn is_sound(&self) -> bool {
        self.acked > 0 && self.fault().is_none()
    }

    /// Why this result is not whole, if it is not.
    pub(crate) fn gap(&self) -> Option<String> {
        match (&self.not_verified, self.failed_connections) {
            (Some(why), _) => Some(format!("not verified: {why}")),
            (None, 1..) => Some(format!("{} connections failed", self.failed_connections)),
            (None, 0) => None,
        }
    }

    /// Whether every threshold holds.
    pub(crate) fn meets_thresholds(&self) -> bool {
        self.thresholds.iter().all(|checked| checked.passed)
    }
}

/// Cores that this program may use.
fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// What a whole run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// One for each load.
    pub(crate) loads: Vec<Report>,
    /// Further figures for people: what `find-max` found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<crate::find_max::Search>,
}

/// How a run ended, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Data was lost, duplicated or wrong, or nothing was acknowledged.
    Unsound,
    /// Something could not be done to the end.
    Incomplete,
    /// A threshold was missed, or no rate was found.
    Missed,
    Passed,
}

impl Results {
    /// What is to be said of it in one word.
    pub(crate) fn ending(&self) -> Ending {
        if let Some(search) = &self.search {
            return search.ending();
        }
        if !self.loads.iter().all(Report::is_sound) {
            Ending::Unsound
        } else if self.loads.iter().any(|load| load.gap().is_some()) {
            Ending::Incomplete
        } else if !self.loads.iter().all(Report::meets_thresholds) {
            Ending::Missed
        } else {
            Ending::Passed
        }
    }

    /// Writes everything that was asked for.
    pub(crate) fn write(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let put = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
        };
        if let Some(path) = &outcome.json {
            put(path, self.json())?;
        }
        if let Some(path) = &outcome.junit {
            put(path, junit::render(self))?;
        }
        if let Some(path) = &outcome.html {
            put(path, html::render(self))?;
        }
        let text = match outcome.output {
            Output::Json => self.json(),
            Output::Text => text::render(self),
        };
        // A closed pipe is the reader's choice.
        let _closed = writeln!(std::io::stdout(), "{text}");
        Ok(())
    }

    /// A single load is an object, several are a list in one.
    fn json(&self) -> String {
        let text = match (self.loads.as_slice(), &self.search) {
            ([single], None) => serde_json::to_string(single),
            _ => serde_json::to_string(self),
        };
        text.expect("numbers and strings serialise")
    }
}

/// Says why the test could not run, on standard error.
pub(crate) fn print_error(error: &anyhow::Error) {
    let _closed = writeln!(std::io::stderr(), "error: {error:#}");
}

/// A rate as it is asked for.
pub(crate) fn rate_text(rate: Rate) -> String {
    match rate {
        Rate::Max => "max".to_owned(),
        Rate::Items(rate) => format!("{rate:.0}/s"),
    }
}

//! The highest rate of an endpoint: closed loops over more and more connections for a first bound, then open-loop probes
//! that close in.
//!
//! Each probe is a run of its own: data of one that comes late is no fault of the next. Lost data in any of them is what
//! the whole search says in the end, whatever the rate.

use serde::Serialize;

use crate::cli::{CONNECTIONS_MAX, FindMaxArgs, Load, Rate};
use crate::clock::new_run_id;
use crate::live::Live;
use crate::report::{Case, Ending, Report, Results, rate_text};
use crate::run;
use crate::threshold::Threshold;

/// Probes at most; twelve halvings are finer than any noise.
const PROBES_MAX: usize = 16;
/// What must hold when nothing is said.
const THRESHOLDS_DEFAULT: [&str; 3] = ["p(99)<1s", "errors<0.01", "rejected==0"];
/// More connections are worth it from this much more on.
const BETTER: f64 = 1.1;
/// A rate from this share of another one on is about the same.
const CLOSE: f64 = 0.9;
/// A search ends below this rate: the endpoint does not work.
const RATE_MIN: f64 = 1.0;

/// What was tried and found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Search {
    /// The highest rate that passed, items a second.
    pub(crate) found_per_second: Option<f64>,
    /// Connections that the rates were tried over.
    connections: usize,
    /// Whether this side and not the endpoint ended the search.
    pub(crate) is_generator_limit: bool,
    /// What a probe found to be lost, duplicated or wrong, or why nothing was acknowledged at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// Why a probe could not be done to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<String>,
    probes: Vec<Probe>,
}

#[derive(Debug, Serialize)]
struct Probe {
    /// None for the closed loop.
    rate: Option<f64>,
    connections: usize,
    seconds: f64,
    acked_per_second: f64,
    p99_ms: f64,
    passed: bool,
}

impl Search {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("probes      wanted        acked/s     p99 ms   connections");
        for probe in &self.probes {
            let wanted = rate_text(probe.rate.map_or(Rate::Max, Rate::Items));
            let word = match (probe.rate, probe.passed) {
                (None, _) => "closed loop",
                (_, true) => "kept up",
                (_, false) => "too much",
            };
            text.push_str(&format!(
                "\n            {wanted:<12} {:>9.0} {:>9.1} {:>13}   {word}",
                probe.acked_per_second, probe.p99_ms, probe.connections
            ));
        }
        text.push_str(&match self.found_per_second {
            Some(found) => format!("\nmaximum     {found:.0} items/s over {} connections", self.connections),
            None => "\nmaximum     none: no rate passed".to_owned(),
        });
        if let Some(fault) = &self.fault {
            text.push_str(&format!("\nFAILED      {fault}"));
        }
        if let Some(gap) = &self.gap {
            text.push_str(&format!("\ngap         {gap}"));
        }
        if self.is_generator_limit {
            text.push_str("\nwarning     this load generator was the limit: the endpoint may take more");
        }
        text
    }

    /// How long all probes took.
    pub(crate) fn seconds(&self) -> f64 {
        self.probes.iter().map(|probe| probe.seconds).sum()
    }

    /// What must hold of a search.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let none = self.found_per_second.is_none().then(|| "no rate passed".to_owned());
        vec![
            ("a rate was found".to_owned(), none),
            ("what any probe sent is there once and right".to_owned(), self.fault.clone()),
            ("every probe was done to the end".to_owned(), self.gap.clone()),
        ]
    }

    /// Lost data says more than the rate at which it was lost.
    pub(crate) fn ending(&self) -> Ending {
        match self {
            Self { fault: Some(_), .. } => Ending::Unsound,
            Self { gap: Some(_), .. } => Ending::Incomplete,
            Self { found_per_second: None, .. } => Ending::Missed,
            _ => Ending::Passed,
        }
    }
}

/// Where the search stands: the highest rate that passed and the lowest that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bounds {
    passed: Option<f64>,
    failed: Option<f64>,
    /// Whether this side was the limit at the lowest rate that failed.
    is_own: bool,
}

impl Bounds {
    fn learn(&mut self, rate: f64, passed: bool, is_own: bool) {
        if passed {
            self.passed = Some(self.passed.unwrap_or(0.0).max(rate));
        } else if self.failed.is_none_or(|failed| rate < failed) {
            self.failed = Some(rate);
            self.is_own = is_own;
        }
    }

    /// Whether this side ended the search: at the lowest rate that failed, or if that is about what a closed loop of this
    /// side could send at most.
    fn is_generator_limit(self, closed_rate: f64, is_closed_own: bool) -> bool {
        self.is_own || is_closed_own && self.failed.is_none_or(|failed| failed >= closed_rate * CLOSE)
    }

    /// The next rate to try; none when the bounds are close, or nothing works.
    fn next(self, first: f64, precision: f64) -> Option<f64> {
        match (self.passed, self.failed) {
            (None, None) => Some(first),
            (Some(passed), None) => Some(passed * 1.3),
            (None, Some(failed)) => Some(failed * 0.6).filter(|rate| *rate >= RATE_MIN),
            (Some(passed), Some(failed)) => {
                (failed > passed * (1.0 + precision)).then_some((passed + failed) / 2.0)
            }
        }
    }
}

/// Searches; the report is that of the best probe.
pub(crate) async fn find(args: &FindMaxArgs, live: &mut Live, pid: Option<u32>) -> anyhow::Result<Results> {
    let mut load = args.load.clone();
    let pace = load.pace_mut();
    anyhow::ensure!(
        pace.rate.is_none() && pace.rate_per_connection.is_none() && pace.stages.is_none(),
        "find-max looks for the rate; leave out --rate, --rate-per-connection and --stages"
    );
    if pace.thresholds.is_empty() {
        let defaults = THRESHOLDS_DEFAULT.iter().map(|text| text.parse::<Threshold>());
        pace.thresholds = defaults.collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    }
    pace.duration = args.probe;
    let mut search = Search::default();
    let closed = closed_loops(&mut load, &mut search, live, pid).await?;
    if closed.acked == 0 {
        let why = closed.example_failure.as_deref().unwrap_or("no answer came");
        search.fault.get_or_insert_with(|| format!("nothing was acknowledged: {why}"));
        return Ok(Results { loads: vec![closed], search: Some(search) });
    }
    let first = (closed.acked_per_second * 0.8).max(RATE_MIN);
    let (mut bounds, mut best, mut probes) = (Bounds::default(), None, 0);
    while probes < PROBES_MAX
        && let Some(rate) = bounds.next(first, args.precision / 100.0)
    {
        probes += 1;
        let report = probe(&load, Rate::Items(rate), live, pid).await?;
        let passed =
            report.reached() && report.meets_thresholds() && report.is_sound() && report.gap().is_none();
        search.note(Some(rate), &report, passed, live);
        bounds.learn(rate, passed, report.is_own_limit());
        if passed && search.found_per_second.is_none_or(|found| rate > found) {
            search.found_per_second = Some(rate);
            best = Some(report);
        }
    }
    search.is_generator_limit = bounds.is_generator_limit(closed.acked_per_second, closed.is_own_limit());
    Ok(Results { loads: vec![best.unwrap_or(closed)], search: Some(search) })
}

/// Closed loops over twice as many connections each, until more of them bring no more; the load then has as many as the
/// best. Only one if the number of connections is given.
async fn closed_loops(
    load: &mut Load,
    search: &mut Search,
    live: &mut Live,
    pid: Option<u32>,
) -> anyhow::Result<Report> {
    let is_given = load.pace().connections.is_some();
    let mut best: Option<Report> = None;
    loop {
        let report = probe(load, Rate::Max, live, pid).await?;
        search.note(None, &report, false, live);
        let connections = load.connections();
        // A load may have less to send than all connections could: more of them bring nothing.
        let has_more = report.connections >= connections as usize && connections < CONNECTIONS_MAX;
        let is_better =
            best.as_ref().is_none_or(|best| report.acked_per_second > best.acked_per_second * BETTER);
        if is_better {
            search.connections = report.connections;
            best = Some(report);
        } else {
            load.pace_mut().connections = Some(connections / 2);
        }
        match best {
            Some(best) if is_given || !is_better || !has_more || best.acked == 0 || best.is_own_limit() => {
                return Ok(best);
            }
            _ => load.pace_mut().connections = Some((connections * 2).min(CONNECTIONS_MAX)),
        }
    }
}

impl Search {
    fn note(&mut self, rate: Option<f64>, report: &Report, passed: bool, live: &Live) {
        let (acked_per_second, p99_ms) = (report.acked_per_second, report.p99_ms());
        let connections = report.connections;
        live.note(&format!(
            "probe {} over {connections} connections: acked {acked_per_second:.0}/s, p99 {p99_ms:.1} ms{}",
            rate_text(rate.map_or(Rate::Max, Rate::Items)),
            if rate.is_none() || passed { "" } else { ", too much" },
        ));
        self.fault = self.fault.take().or_else(|| report.fault());
        self.gap = self.gap.take().or_else(|| report.gap());
        let seconds = report.duration_seconds;
        self.probes.push(Probe { rate, connections, seconds, acked_per_second, p99_ms, passed });
    }
}

async fn probe(load: &Load, rate: Rate, live: &mut Live, pid: Option<u32>) -> anyhow::Result<Report> {
    let mut load = load.clone();
    load.pace_mut().rate = Some(rate);
    let prepared = run::prepare(load.kind(), &load, &new_run_id()).await?;
    let mut reports = run::run(vec![prepared], live, pid).await?;
    Ok(reports.remove(0))
}

#[cfg(test)]
mod tests;

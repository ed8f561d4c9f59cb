//! The highest rate of an endpoint: a closed loop for a first bound, then open-loop probes that close in.

use std::time::Duration;

use serde::Serialize;

use crate::cli::{FindMaxArgs, Load, Rate};
use crate::clock::new_run_id;
use crate::live::Live;
use crate::report::{Report, Results, rate_text};
use crate::run;
use crate::threshold::Threshold;

/// Probes at most; twelve halvings are finer than any noise.
const PROBES_MAX: usize = 16;
/// What must hold when nothing is said.
const THRESHOLDS_DEFAULT: [&str; 2] = ["p(99)<1s", "errors<0.01"];
/// A search ends below this rate: the endpoint does not work.
const RATE_MIN: f64 = 1.0;

/// What was tried and found.
#[derive(Debug, Serialize)]
pub(crate) struct Search {
    /// The highest rate that passed, items a second.
    pub(crate) found_per_second: Option<f64>,
    /// Whether this side and not the endpoint ended the search.
    pub(crate) is_generator_limit: bool,
    probes: Vec<Probe>,
}

#[derive(Debug, Serialize)]
struct Probe {
    /// None for the closed loop.
    rate: Option<f64>,
    acked_per_second: f64,
    p99_ms: f64,
    passed: bool,
}

impl Search {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("probes      wanted        acked/s     p99 ms");
        for probe in &self.probes {
            let wanted = rate_text(probe.rate.map_or(Rate::Max, Rate::Items));
            let word = match (probe.rate, probe.passed) {
                (None, _) => "closed loop",
                (_, true) => "kept up",
                (_, false) => "too much",
            };
            text.push_str(&format!(
                "\n            {wanted:<12} {:>9.0} {:>9.1}   {word}",
                probe.acked_per_second, probe.p99_ms
            ));
        }
        text.push_str(&match self.found_per_second {
            Some(found) => format!("\nmaximum     {found:.0} items/s"),
            None => "\nmaximum     none: no rate passed".to_owned(),
        });
        if self.is_generator_limit {
            text.push_str("\nwarning     this load generator was the limit: the endpoint may take more");
        }
        text
    }
}

/// Where the search stands: the highest rate that passed and the lowest that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bounds {
    passed: Option<f64>,
    failed: Option<f64>,
}

impl Bounds {
    fn learn(&mut self, rate: f64, passed: bool) {
        if passed {
            self.passed = Some(self.passed.unwrap_or(0.0).max(rate));
        } else {
            self.failed = Some(self.failed.unwrap_or(f64::INFINITY).min(rate));
        }
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
    let run_id = new_run_id();
    let mut search = Search { found_per_second: None, is_generator_limit: false, probes: Vec::new() };
    let closed = probe(&load, Rate::Max, args.probe, &run_id, live, pid).await?;
    search.note(None, &closed, false, live);
    let first = (closed.acked_per_second * 0.8).max(RATE_MIN);
    let (mut bounds, mut best) = (Bounds::default(), None);
    while search.probes.len() < PROBES_MAX
        && let Some(rate) = bounds.next(first, args.precision / 100.0)
    {
        let report = probe(&load, Rate::Items(rate), args.probe, &run_id, live, pid).await?;
        let passed = report.reached() && report.meets_thresholds() && report.acked > 0;
        search.is_generator_limit = !passed && report.is_own_limit();
        search.note(Some(rate), &report, passed, live);
        bounds.learn(rate, passed);
        if passed && search.found_per_second.is_none_or(|found| rate > found) {
            search.found_per_second = Some(rate);
            best = Some(report);
        }
    }
    Ok(Results { loads: vec![best.unwrap_or(closed)], search: Some(search) })
}

impl Search {
    fn note(&mut self, rate: Option<f64>, report: &Report, passed: bool, live: &Live) {
        let (acked_per_second, p99_ms) = (report.acked_per_second, report.p99_ms());
        live.note(&format!(
            "probe {}: acked {acked_per_second:.0}/s, p99 {p99_ms:.1} ms{}",
            rate_text(rate.map_or(Rate::Max, Rate::Items)),
            if rate.is_none() || passed { "" } else { ", too much" },
        ));
        self.probes.push(Probe { rate, acked_per_second, p99_ms, passed });
    }
}

async fn probe(
    load: &Load,
    rate: Rate,
    duration: Duration,
    run_id: &str,
    live: &mut Live,
    pid: Option<u32>,
) -> anyhow::Result<Report> {
    let mut load = load.clone();
    load.pace_mut().rate = Some(rate);
    load.pace_mut().duration = duration;
    let prepared = run::prepare(load.kind(), &load, run_id).await?;
    let mut reports = run::run(vec![prepared], live, pid).await?;
    Ok(reports.remove(0))
}

#[cfg(test)]
mod tests;

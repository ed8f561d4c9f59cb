//! How the sending side itself did, and whether it or the target was the limit.

use std::time::Duration;

use serde::Serialize;

use crate::figures::{Figures, quantile_ms};
use crate::process::Usage;

/// This side is late when one request in a hundred went out so much too late.
const LAG_MS_MAX: f64 = 20.0;
/// Below this share of waiting for answers, a target is not what limits the rate.
const WAITING_MIN: f64 = 0.85;
/// From this share of its cores on this side is busy: what it waits for is itself.
const BUSY_MIN: f64 = 0.85;
/// A rate is reached from this share on.
const REACHED: f64 = 0.99;

/// How the sending side itself did.
#[derive(Debug, Serialize)]
pub(super) struct Generator {
    #[serde(flatten)]
    pub(super) usage: Usage,
    /// Cores that it might have used.
    available_cores: f64,
    /// How late it sent for reasons of its own.
    pub(super) lag_p99_ms: f64,
    /// Share of the connections' time that went into waiting for answers.
    waiting: f64,
    /// Whether the figures say more about this side than about the target.
    pub(super) is_limit: bool,
    /// What kept the rate down, if anything did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<String>,
}

impl Generator {
    /// `waiting` is the share of the connections' time, `wanted` the items a second of an open loop.
    pub(super) fn judge(
        figures: &Figures,
        usage: Usage,
        available_cores: f64,
        waiting: f64,
        wanted: Option<f64>,
        duration: Duration,
    ) -> Self {
        let lag_p99_ms = quantile_ms(&figures.lag_us, 0.99);
        let sent = figures.counts.sent as f64 / duration.as_secs_f64().max(1e-6);
        let missed = wanted.is_some_and(|wanted| sent < wanted * REACHED);
        // Time in the queue for a core looks like time of the target, so that waiting alone does not acquit this side.
        let is_busy = usage.cores >= available_cores * BUSY_MIN;
        // Pauses after failures are no work: a target that takes nothing is its own limit.
        let takes_nothing = figures.counts.requests > 0 && figures.counts.acked == 0;
        let is_limit = !takes_nothing && (is_busy || waiting < WAITING_MIN) && (missed || wanted.is_none());
        let (cores, percent) = (usage.cores, waiting * 100.0);
        let cause = if is_busy {
            format!("it used {cores:.1} of {available_cores:.0} cores")
        } else {
            format!("its connections waited for answers only {percent:.0} % of the time")
        };
        let warning = match (is_limit, wanted) {
            (true, Some(wanted)) => Some(format!(
                "this load generator is the limit: it sent {sent:.0} of {wanted:.0} items/s, {cause}; use larger batches, more connections, --prebuilt, or a machine of its own"
            )),
            (true, None) => Some(format!(
                "this load generator is the limit: {cause}; use more connections, --prebuilt, or a machine of its own"
            )),
            (false, Some(wanted)) if missed && !takes_nothing => Some(format!(
                "the target did not keep up over so many connections: {sent:.0} of {wanted:.0} items/s were sent before the end, all connections were waiting; it may take more over more of them"
            )),
            (false, Some(_)) if lag_p99_ms > LAG_MS_MAX && !takes_nothing => Some(format!(
                "this load generator sent one request in 100 more than {lag_p99_ms:.0} ms late: arrivals were less even than asked for"
            )),
            (false, _) => None,
        };
        Self { usage, available_cores, lag_p99_ms, waiting, is_limit, warning }
    }
}

#[cfg(test)]
mod tests;

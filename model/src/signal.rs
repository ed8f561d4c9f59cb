//! The three telemetry signals.

use std::fmt;

/// A telemetry signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Metrics; items are data points.
    Metrics,
    /// Logs; items are log records.
    Logs,
    /// Traces; items are spans.
    Traces,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Traces];

    /// The name in configs and pipeline ids: `metrics`, `logs`, `traces`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }

    /// The name of its items in the collector's own metric names: `metric_points`, `log_records`, `spans`.
    pub fn items_name(self) -> &'static str {
        match self {
            Self::Metrics => "metric_points",
            Self::Logs => "log_records",
            Self::Traces => "spans",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

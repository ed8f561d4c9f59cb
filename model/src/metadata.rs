//! Metric metadata: type, help, unit.

use std::fmt;

/// A metric's type, as in `prometheus/common/model` (`MetricType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Not known.
    #[default]
    Unknown,
    /// Only goes up, or resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic or native histogram.
    Histogram,
    /// Gauge histogram.
    GaugeHistogram,
    /// Quantile summary.
    Summary,
    /// Value 1 with information in labels.
    Info,
    /// Set of states.
    StateSet,
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        })
    }
}

/// What is known about a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricMetadata {
    /// The type.
    pub metric_type: MetricType,
    /// Free text for people.
    pub help: String,
    /// Unit as a Prometheus name part, e.g. "seconds".
    pub unit: String,
}

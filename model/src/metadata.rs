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

impl MetricType {
    /// All types, in the order of their numbers in Prometheus' protocols.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// The type with this name, as `Display` writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

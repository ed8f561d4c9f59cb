//! Exemplars: single observations kept beside a series, with labels that lead elsewhere (mostly to a trace).

use crate::Labels;

/// One exemplar.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its own labels, e.g. `trace_id`; not those of the series.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

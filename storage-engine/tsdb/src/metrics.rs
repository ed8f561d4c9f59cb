//! What the store tells about itself, under Prometheus' names where they mean the same. All tenants together.

use metrics::{Counter, Gauge};

/// Reasons for which a sample is not stored.
pub(crate) mod reason {
    pub(crate) const DUPLICATE: &str = "duplicate_timestamp";
    pub(crate) const OUT_OF_ORDER: &str = "out_of_order";
    pub(crate) const FUTURE: &str = "too_far_in_future";
}

#[derive(Clone)]
pub(crate) struct HeadMetrics {
    pub(crate) series: Gauge,
    pub(crate) series_created: Counter,
    pub(crate) samples_appended: Counter,
    pub(crate) chunks: Gauge,
    pub(crate) chunks_created: Counter,
    pub(crate) memory_bytes: Gauge,
    pub(crate) replay_unknown_samples: Counter,
    duplicates: Counter,
    out_of_order: Counter,
    future: Counter,
}

impl HeadMetrics {
    pub(crate) fn new() -> Self {
        Self {
            series: metrics::gauge!("prometheus_tsdb_head_series"),
            series_created: metrics::counter!("prometheus_tsdb_head_series_created_total"),
            samples_appended: metrics::counter!("prometheus_tsdb_head_samples_appended_total", "type" => "float"),
            chunks: metrics::gauge!("prometheus_tsdb_head_chunks"),
            chunks_created: metrics::counter!("prometheus_tsdb_head_chunks_created_total"),
            memory_bytes: metrics::gauge!("tidegate_tsdb_head_memory_bytes"),
            replay_unknown_samples: metrics::counter!("tidegate_tsdb_replay_unknown_samples_total"),
            duplicates: metrics::counter!("tidegate_tsdb_samples_rejected_total", "reason" => reason::DUPLICATE),
            out_of_order: metrics::counter!("tidegate_tsdb_samples_rejected_total", "reason" => reason::OUT_OF_ORDER),
            future: metrics::counter!("tidegate_tsdb_samples_rejected_total", "reason" => reason::FUTURE),
        }
    }

    pub(crate) fn rejected(&self, name: &str, count: u64) {
        match name {
            reason::DUPLICATE => self.duplicates.increment(count),
            reason::OUT_OF_ORDER => self.out_of_order.increment(count),
            _ => self.future.increment(count),
        }
    }
}

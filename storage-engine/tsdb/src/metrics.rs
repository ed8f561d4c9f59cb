//! What the store tells about itself, under Prometheus' names where they mean the same. All tenants together.

use metrics::{Counter, Gauge, Histogram};
use storage_api::reject_reason;

#[derive(Clone)]
pub(crate) struct HeadMetrics {
    pub(crate) series: Gauge,
    pub(crate) series_created: Counter,
    pub(crate) series_removed: Counter,
    pub(crate) samples_appended: Counter,
    pub(crate) histograms_appended: Counter,
    pub(crate) late_appended: Counter,
    pub(crate) exemplars_appended: Counter,
    pub(crate) exemplars_rejected: Counter,
    pub(crate) chunks: Gauge,
    pub(crate) chunks_created: Counter,
    pub(crate) memory_bytes: Gauge,
    pub(crate) replay_unknown_samples: Counter,
    pub(crate) flush_seconds: Histogram,
    pub(crate) flushes_failed: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoints_failed: Counter,
    pub(crate) checkpoint_damage: Counter,
    pub(crate) scratch_failed: Counter,
    pub(crate) scratch_damage: Counter,
    pub(crate) scratch_mended: Counter,
    pub(crate) scratch_lost: Counter,
    rejected: [(&'static str, Counter); 7],
}

impl HeadMetrics {
    pub(crate) fn new() -> Self {
        Self {
            series: metrics::gauge!("prometheus_tsdb_head_series"),
            series_created: metrics::counter!("prometheus_tsdb_head_series_created_total"),
            series_removed: metrics::counter!("prometheus_tsdb_head_series_removed_total"),
            samples_appended: metrics::counter!("prometheus_tsdb_head_samples_appended_total", "type" => "float"),
            histograms_appended: metrics::counter!(
                "prometheus_tsdb_head_samples_appended_total", "type" => "histogram"
            ),
            late_appended: metrics::counter!("prometheus_tsdb_head_out_of_order_samples_appended_total"),
            exemplars_appended: metrics::counter!("prometheus_tsdb_exemplar_exemplars_appended_total"),
            exemplars_rejected: metrics::counter!("tidegate_tsdb_exemplars_rejected_total"),
            chunks: metrics::gauge!("prometheus_tsdb_head_chunks"),
            chunks_created: metrics::counter!("prometheus_tsdb_head_chunks_created_total"),
            memory_bytes: metrics::gauge!("tidegate_tsdb_head_memory_bytes"),
            replay_unknown_samples: metrics::counter!("tidegate_tsdb_replay_unknown_samples_total"),
            flush_seconds: metrics::histogram!("prometheus_tsdb_compaction_duration_seconds"),
            flushes_failed: metrics::counter!("prometheus_tsdb_compactions_failed_total"),
            checkpoints: metrics::counter!("prometheus_tsdb_checkpoint_creations_total"),
            checkpoints_failed: metrics::counter!("prometheus_tsdb_checkpoint_creations_failed_total"),
            checkpoint_damage: metrics::counter!("tidegate_tsdb_checkpoint_corruptions_total"),
            scratch_failed: metrics::counter!("tidegate_tsdb_head_chunk_writes_failed_total"),
            scratch_damage: metrics::counter!("tidegate_tsdb_head_chunks_unreadable_total"),
            scratch_mended: metrics::counter!("tidegate_tsdb_head_chunks_mended_total"),
            scratch_lost: metrics::counter!("tidegate_tsdb_head_chunks_lost_total"),
            rejected: [
                reject_reason::DUPLICATE_TIMESTAMP,
                reject_reason::OUT_OF_ORDER,
                reject_reason::TOO_OLD,
                reject_reason::OUT_OF_BOUNDS,
                reject_reason::TOO_FAR_IN_FUTURE,
                reject_reason::INVALID_HISTOGRAM,
                reject_reason::UNREADABLE,
            ]
            .map(|reason| {
                (reason, metrics::counter!("tidegate_tsdb_samples_rejected_total", "reason" => reason))
            }),
        }
    }

    /// What nobody reads, for a head that no tenant has.
    pub(crate) fn unseen() -> Self {
        let (counter, gauge) = (Counter::noop, Gauge::noop);
        Self {
            series: gauge(),
            series_created: counter(),
            series_removed: counter(),
            samples_appended: counter(),
            histograms_appended: counter(),
            late_appended: counter(),
            exemplars_appended: counter(),
            exemplars_rejected: counter(),
            chunks: gauge(),
            chunks_created: counter(),
            memory_bytes: gauge(),
            replay_unknown_samples: counter(),
            flush_seconds: Histogram::noop(),
            flushes_failed: counter(),
            checkpoints: counter(),
            checkpoints_failed: counter(),
            checkpoint_damage: counter(),
            scratch_failed: counter(),
            scratch_damage: counter(),
            scratch_mended: counter(),
            scratch_lost: counter(),
            rejected: std::array::from_fn(|_| ("", counter())),
        }
    }

    pub(crate) fn rejected(&self, reason: &str, count: u64) {
        if let Some((_, counter)) = self.rejected.iter().find(|(known, _)| *known == reason) {
            counter.increment(count);
        }
    }
}

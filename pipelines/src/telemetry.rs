//! The `otelcol_*` metrics of receivers, processors and exporters.
//!
//! Names and labels are the collector's (receiverhelper, processorhelper, exporterhelper documentation.md), without
//! `_total`, so that existing dashboards work. Handles are taken once, when a component is made; counting an event is
//! an atomic add.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use model::{AppendReport, Rejection, Signal};

use crate::{ComponentId, PipelineResult, Throttle};

/// Counters by signal, in the order of [`Signal::ALL`].
#[derive(Clone)]
struct BySignal([Counter; 3]);

impl BySignal {
    fn new(prefix: &str, labels: &[(&'static str, String)]) -> Self {
        Self(Signal::ALL.map(|signal| counter!(format!("{prefix}_{}", signal.items_name()), labels)))
    }

    fn add(&self, signal: Signal, items: u64) {
        self.0[signal as usize].increment(items);
    }
}

/// What a receiver counts: `otelcol_receiver_{accepted,refused}_<items>` {receiver, transport}.
#[derive(Clone)]
pub struct ReceiverMetrics {
    accepted: BySignal,
    refused: BySignal,
}

impl ReceiverMetrics {
    /// The counters of receiver `id` for requests that come by `transport` (`grpc`, `http`).
    pub fn new(id: &ComponentId, transport: &str) -> Self {
        let labels = [("receiver", id.to_string()), ("transport", transport.to_owned())];
        Self {
            accepted: BySignal::new("otelcol_receiver_accepted", &labels),
            refused: BySignal::new("otelcol_receiver_refused", &labels),
        }
    }

    /// Counts a request of `items` items by its outcome: items refused for good and whole failed requests are
    /// `refused`, the rest is `accepted`.
    pub fn count(&self, signal: Signal, items: u64, outcome: &PipelineResult<AppendReport>) {
        match outcome {
            Ok(report) => {
                let rejected = report.rejected_count().min(items);
                self.accepted.add(signal, items - rejected);
                self.refused.add(signal, rejected);
            }
            Err(_) => self.refused.add(signal, items),
        }
    }

    /// Counts items that were refused before they reached a pipeline.
    pub fn count_refused(&self, signal: Signal, items: u64) {
        self.refused.add(signal, items);
    }
}

/// `otelcol_processor_{incoming,outgoing}_items` {processor, otel_signal}.
pub(crate) struct ProcessorItems {
    pub(crate) incoming: Counter,
    pub(crate) outgoing: Counter,
}

impl ProcessorItems {
    pub(crate) fn new(id: &ComponentId, signal: Signal) -> Self {
        let labels = [("processor", id.to_string()), ("otel_signal", signal.name().to_owned())];
        Self {
            incoming: counter!("otelcol_processor_incoming_items", &labels),
            outgoing: counter!("otelcol_processor_outgoing_items", &labels),
        }
    }
}

/// `otelcol_processor_memory_limiter_{accepted,refused}_<items>` {processor} (names since collector v0.155).
pub(crate) struct LimiterMetrics {
    accepted: BySignal,
    refused: BySignal,
}

impl LimiterMetrics {
    pub(crate) fn new(id: &ComponentId) -> Self {
        let labels = [("processor", id.to_string())];
        Self {
            accepted: BySignal::new("otelcol_processor_memory_limiter_accepted", &labels),
            refused: BySignal::new("otelcol_processor_memory_limiter_refused", &labels),
        }
    }

    pub(crate) fn accepted(&self, signal: Signal, items: u64) {
        self.accepted.add(signal, items);
    }

    pub(crate) fn refused(&self, signal: Signal, items: u64) {
        self.refused.add(signal, items);
    }
}

/// What every exporter counts: `otelcol_exporter_{sent,send_failed,enqueue_failed}_<items>`,
/// `otelcol_exporter_in_flight_requests`, `otelcol_exporter_queue_batch_send_size{,_bytes}` {exporter}, and
/// `tidegate_exporter_rejected_items` {exporter, reason} of what a destination took only in part.
#[derive(Clone)]
pub struct ExporterMetrics {
    id: ComponentId,
    sent: BySignal,
    send_failed: BySignal,
    enqueue_failed: BySignal,
    in_flight: Gauge,
    batch_items: Histogram,
    batch_bytes: Histogram,
    /// Refused items by reason: a sender may repeat its fault in each request.
    told: Arc<Throttle<&'static str>>,
}

impl ExporterMetrics {
    /// The counters of exporter `id`.
    pub fn new(id: &ComponentId) -> Self {
        let labels = [("exporter", id.to_string())];
        Self {
            id: id.clone(),
            sent: BySignal::new("otelcol_exporter_sent", &labels),
            send_failed: BySignal::new("otelcol_exporter_send_failed", &labels),
            enqueue_failed: BySignal::new("otelcol_exporter_enqueue_failed", &labels),
            in_flight: gauge!("otelcol_exporter_in_flight_requests", &labels),
            batch_items: histogram!("otelcol_exporter_queue_batch_send_size", &labels),
            batch_bytes: histogram!("otelcol_exporter_queue_batch_send_size_bytes", &labels),
            told: Arc::default(),
        }
    }

    /// Counts a delivery as under way until the guard is dropped, which a sender that goes away does early.
    pub(crate) fn enter_flight(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }

    /// Counts a batch that `sending_queue.batch` made.
    pub(crate) fn count_batch(&self, items: u64, bytes: usize) {
        self.batch_items.record(items as f64);
        self.batch_bytes.record(bytes as f64);
    }

    /// Counts a delivery of `items` items by its outcome; items that the destination refused for good count as failed,
    /// and by their reasons.
    pub fn count(&self, signal: Signal, items: u64, outcome: &PipelineResult<AppendReport>) {
        match outcome {
            Ok(report) => {
                for rejection in report.rejected.iter().filter(|rejection| rejection.count > 0) {
                    let labels = [("exporter", self.id.to_string()), ("reason", rejection.reason.to_owned())];
                    counter!("tidegate_exporter_rejected_items", &labels).increment(rejection.count);
                    self.tell(rejection);
                }
                let rejected = report.rejected_count().min(items);
                self.sent.add(signal, items - rejected);
                self.send_failed.add(signal, rejected);
            }
            Err(_) => self.send_failed.add(signal, items),
        }
    }

    fn tell(&self, rejection: &Rejection) {
        let Rejection { reason, message, count } = rejection;
        if let Some(items) = self.told.add(reason, *count) {
            tracing::warn!(
                exporter = %self.id, reason, items, "items were refused for good, e.g.: {message}; \
                 tidegate_exporter_rejected_items counts them"
            );
        }
    }

    /// Counts items that the queue had no room for.
    pub fn count_not_enqueued(&self, signal: Signal, items: u64) {
        self.enqueue_failed.add(signal, items);
    }
}

/// A delivery under way.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// `otelcol_exporter_queue_{size,capacity}` {exporter}.
pub(crate) struct QueueMetrics {
    pub(crate) size: Gauge,
}

impl QueueMetrics {
    pub(crate) fn new(id: &ComponentId, capacity: u64) -> Self {
        let labels = [("exporter", id.to_string())];
        gauge!("otelcol_exporter_queue_capacity", &labels).set(capacity as f64);
        Self { size: gauge!("otelcol_exporter_queue_size", &labels) }
    }
}

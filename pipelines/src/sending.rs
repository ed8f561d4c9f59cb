//! What stands between a pipeline and a destination that may be slow or away: queue, retry, timeout.
//!
//! With the queue on, a batch is acknowledged when the queue took it, and `num_consumers` tasks deliver; with it off
//! (or with `wait_for_result`) it is acknowledged when the destination took it. Queues are in memory: at shutdown they
//! are delivered until the deadline of the caller, and what is left then is counted and logged. Invariant SENDING-1: a
//! batch keeps its reservation in the memory budget until it is delivered or given up.

mod queue;
mod retry;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::telemetry::QueueMetrics;
use crate::{
    Batch, ComponentId, ConfigError, Consumer, ExporterContext, ExporterMetrics, PipelineError,
    PipelineResult,
};
use queue::{Line, PushError};
pub use retry::{Next, RetryConfig, plan, retry};

/// What a queue's size counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Sizer {
    /// Batches.
    #[default]
    Requests,
    /// Points, log records, spans.
    Items,
    /// Bytes of the payload.
    Bytes,
}

/// `sending_queue` of an exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Whether batches wait in a queue; without it the sender waits for the destination. Default true.
    pub enabled: bool,
    /// Tasks that deliver at the same time. Default 10.
    pub num_consumers: usize,
    /// Capacity, in the unit of `sizer`, of what waits and is being delivered. Default 1000.
    pub queue_size: u64,
    /// Unit of `queue_size`: requests, items or bytes. Default requests.
    pub sizer: Sizer,
    /// Whether a sender waits for room (true) or is refused with a retry hint (false) when the queue is full.
    /// Default false.
    pub block_on_overflow: bool,
    /// Whether a sender waits for the outcome of the delivery. Default false.
    pub wait_for_result: bool,
    /// Id of an extension that keeps the queue on disk; none is there yet, so it must not be set.
    pub storage: Option<serde_json::Value>,
    /// Batching inside the queue; it is not there, so it must not be set: the `batch` processor does that.
    pub batch: Option<serde_json::Value>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            num_consumers: 10,
            queue_size: 1000,
            sizer: Sizer::Requests,
            block_on_overflow: false,
            wait_for_result: false,
            storage: None,
            batch: None,
        }
    }
}

/// Most delivering tasks of one exporter: each may hold a connection and a batch.
const NUM_CONSUMERS_MAX: usize = 1000;

impl QueueConfig {
    /// Refuses what cannot work and what this build lacks.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: String| Err(ConfigError::at(&format!("sending_queue.{key}"), message));
        if let Some(storage) = &self.storage {
            return at(
                "storage",
                format!("{storage}: a queue on disk is not supported yet, leave the key out"),
            );
        }
        if self.batch.is_some() {
            return at("batch", "batching in the queue is not supported, use the batch processor".to_owned());
        }
        if !self.enabled {
            return Ok(());
        }
        if self.queue_size == 0 {
            return at("queue_size", "`queue_size` must be positive".to_owned());
        }
        if self.num_consumers == 0 || self.num_consumers > NUM_CONSUMERS_MAX {
            return at("num_consumers", format!("`num_consumers` must be between 1 and {NUM_CONSUMERS_MAX}"));
        }
        Ok(())
    }
}

/// How an exporter sends.
#[derive(Clone, Debug)]
pub struct SendingSettings {
    /// The queue.
    pub queue: QueueConfig,
    /// Retries.
    pub retry: RetryConfig,
    /// Longest attempt; zero = no limit.
    pub timeout: Duration,
}

/// When a sender that met a full queue should come again.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(1);

/// The queue of one exporter and the tasks that deliver from it.
pub struct Sending {
    shared: Arc<Shared>,
    consumers: Mutex<Vec<JoinHandle<()>>>,
    tasks: runtime::Tasks,
}

struct Shared {
    id: ComponentId,
    settings: SendingSettings,
    destination: Arc<dyn Consumer>,
    line: Line<Waiting>,
    give_up: CancellationToken,
    metrics: ExporterMetrics,
    queue_metrics: QueueMetrics,
    budget: Arc<runtime::MemoryBudget>,
}

struct Waiting {
    batch: Batch,
    outcome: Option<oneshot::Sender<PipelineResult<AppendReport>>>,
}

impl Sending {
    /// Sends to `destination`, whose `consume` is one attempt. `give_up` is set when the shutdown deadline passes: an
    /// attempt that retries by itself should then end.
    pub fn new(
        id: &ComponentId,
        settings: SendingSettings,
        destination: Arc<dyn Consumer>,
        give_up: CancellationToken,
        context: &ExporterContext,
    ) -> Self {
        let capacity = settings.queue.queue_size;
        let shared = Shared {
            id: id.clone(),
            line: Line::new(capacity),
            metrics: ExporterMetrics::new(id),
            queue_metrics: QueueMetrics::new(id, if settings.queue.enabled { capacity } else { 0 }),
            settings,
            destination,
            give_up,
            budget: Arc::clone(&context.budget),
        };
        Self { shared: Arc::new(shared), consumers: Mutex::default(), tasks: context.tasks.clone() }
    }

    /// Starts the delivering tasks.
    pub fn start(&self) {
        let config = &self.shared.settings.queue;
        if !config.enabled {
            return;
        }
        let mut consumers = self.consumers.lock();
        for _ in 0..config.num_consumers {
            let shared = Arc::clone(&self.shared);
            consumers.push(self.tasks.spawn("sending queue consumer", async move { shared.run().await }));
        }
    }

    /// Takes nothing more and delivers what waits. A caller with a deadline drops the future: retries then end, and
    /// what is left is counted as failed and logged.
    pub async fn shutdown(&self) {
        self.shared.line.close();
        let consumers = std::mem::take(&mut *self.consumers.lock());
        let deadline = GiveUpOnDrop(&self.shared);
        for consumer in consumers {
            // A consumer catches the panics of deliveries; one that ended otherwise has nothing to tell.
            let _ = consumer.await;
        }
        drop(deadline);
    }
}

/// Ends retries and drops what waits, both when the queue is empty (nothing to do) and when the deadline passed.
struct GiveUpOnDrop<'a>(&'a Shared);

impl Drop for GiveUpOnDrop<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        shared.give_up.cancel();
        let (mut batches, mut items) = (0_u64, 0_u64);
        for entry in shared.line.drain() {
            let Waiting { batch, outcome } = entry.item;
            batches += 1;
            items += batch.items;
            let error = PipelineError::new(ErrorKind::Closed, "shutdown before the batch could be delivered");
            let lost = Err(error);
            shared.metrics.count(batch.signal, batch.items, &lost);
            if let Some(outcome) = outcome {
                // The sender may have gone; then nobody needs the outcome.
                let _ = outcome.send(lost);
            }
        }
        shared.queue_metrics.size.set(0.0);
        if batches > 0 {
            tracing::error!(
                exporter = %shared.id, batches, items, "dropping what could not be delivered before the shutdown deadline"
            );
        }
    }
}

impl Consumer for Sending {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            let shared = &self.shared;
            if !shared.settings.queue.enabled {
                let (signal, items) = (batch.signal, batch.items);
                let outcome = shared.deliver(batch).await;
                shared.metrics.count(signal, items, &outcome);
                return outcome;
            }
            shared.enqueue(batch).await
        })
    }
}

impl Shared {
    async fn enqueue(&self, mut batch: Batch) -> PipelineResult<AppendReport> {
        let config = &self.settings.queue;
        let (signal, items) = (batch.signal, batch.items);
        let size = match config.sizer {
            Sizer::Requests => 1,
            Sizer::Items => items,
            Sizer::Bytes => batch.payload.len() as u64,
        };
        if batch.reservation.is_none() {
            let bytes = batch.payload.len() as u64;
            batch.reservation = Some(Arc::new(self.budget.reserve_unchecked(bytes)));
        }
        let (outcome, receiver) = match config.wait_for_result {
            true => {
                let (sender, receiver) = oneshot::channel();
                (Some(sender), Some(receiver))
            }
            false => (None, None),
        };
        let pushed = self.line.push(Waiting { batch, outcome }, size, config.block_on_overflow).await;
        self.queue_metrics.size.set(self.line.size() as f64);
        if let Err(error) = pushed {
            self.metrics.count_not_enqueued(signal, items);
            return Err(self.not_enqueued(&error, size));
        }
        match receiver {
            None => Ok(AppendReport { stored: items, rejected: Vec::new() }),
            Some(receiver) => receiver.await.unwrap_or_else(|_| Err(self.closed())),
        }
    }

    fn not_enqueued(&self, error: &PushError, size: u64) -> PipelineError {
        let id = &self.id;
        let capacity = self.settings.queue.queue_size;
        match error {
            PushError::Full => PipelineError::new(
                ErrorKind::Unavailable,
                format!("exporter {id}: sending queue is full (queue_size {capacity})"),
            )
            .with_retry_after(RETRY_AFTER_FULL),
            PushError::TooLarge => PipelineError::new(
                ErrorKind::Invalid,
                format!("exporter {id}: element size too large: {size}, queue_size is {capacity}"),
            ),
            PushError::Closed => self.closed(),
        }
    }

    fn closed(&self) -> PipelineError {
        PipelineError::new(ErrorKind::Unavailable, format!("exporter {} is shutting down", self.id))
    }

    async fn run(&self) {
        while let Some(entry) = self.line.pop().await {
            let Waiting { batch, outcome } = &entry.item;
            let result = self.deliver(batch.clone()).await;
            self.metrics.count(batch.signal, batch.items, &result);
            if let Err(error) = &result
                && outcome.is_none()
            {
                tracing::error!(
                    exporter = %self.id, signal = %batch.signal, dropped_items = batch.items, %error,
                    "exporting failed, dropping data"
                );
            }
            let Waiting { outcome, batch } = entry.into_item();
            drop(batch);
            self.queue_metrics.size.set(self.line.size() as f64);
            if let Some(outcome) = outcome {
                // The sender may have gone; then nobody needs the outcome.
                let _ = outcome.send(result);
            }
        }
    }

    /// All attempts for one batch.
    async fn deliver(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let _in_flight = self.metrics.enter_flight();
        retry(&self.settings.retry, &self.give_up, || self.attempt(batch.clone())).await
    }

    async fn attempt(&self, batch: Batch) -> PipelineResult<AppendReport> {
        // A panic in a destination must not end the task that delivers for everybody else.
        let attempt = AssertUnwindSafe(self.destination.consume(batch)).catch_unwind();
        let limit = self.settings.timeout;
        let done = if limit.is_zero() {
            attempt.await
        } else {
            match tokio::time::timeout(limit, attempt).await {
                Ok(done) => done,
                Err(_) => {
                    let message = format!("exporter {}: no answer within {limit:?} (timeout)", self.id);
                    return Err(PipelineError::new(ErrorKind::Timeout, message));
                }
            }
        };
        done.unwrap_or_else(|_| {
            Err(PipelineError::new(ErrorKind::Internal, format!("exporter {}: delivery panicked", self.id)))
        })
    }
}

#[cfg(test)]
mod tests;

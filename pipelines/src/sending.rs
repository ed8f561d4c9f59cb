//! What stands between a pipeline and a destination that may be slow or away: queue, retry, timeout.
//!
//! With the queue on, a batch is acknowledged when the queue took it (with `storage`: when it is durable there), and
//! `num_consumers` tasks deliver; with it off (or with `wait_for_result`) it is acknowledged when the destination took
//! it. At shutdown a queue in memory is delivered until the deadline of the caller, and what is left then is counted and
//! logged; a queue on disk is delivered until the first failure, and what is left stays for the next start.
//! Invariant SENDING-1: a batch in memory keeps its reservation in the memory budget until it is delivered or given up.

mod batcher;
mod config;
mod consumers;
mod delivery;
mod disk;
mod outage;
mod queue;
mod retry;
mod room;
mod taken;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::telemetry::QueueMetrics;
use crate::{
    Batch, ComponentId, ConfigError, Consumer, ExporterContext, ExporterMetrics, FileStorage, PipelineError,
    PipelineResult,
};
pub use config::{PartitionConfig, QueueBatchConfig, QueueConfig, SendingSettings, Sizer};
use consumers::Waiting;
pub use delivery::Delivery;
use disk::{DiskPushError, DiskQueue, DiskQueueSettings};
pub use disk::{EntryError, decode_queued, encode_queued};
pub use outage::Outage;
use queue::Line;
pub use retry::{Next, RetryConfig, plan, retry};
use room::PushError;

/// When a sender that met a full queue should come again.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(1);

/// The queue of one exporter and the tasks that deliver from it.
pub struct Sending {
    shared: Arc<Shared>,
    storage: Option<Arc<FileStorage>>,
    consumers: Mutex<Vec<JoinHandle<()>>>,
    tasks: runtime::Tasks,
}

struct Shared {
    id: ComponentId,
    settings: SendingSettings,
    destination: Arc<dyn Consumer>,
    outage: Outage,
    queue: Queue,
    /// Ends retries.
    give_up: CancellationToken,
    /// The deadline of a shutdown passed.
    too_late: CancellationToken,
    metrics: ExporterMetrics,
    queue_metrics: QueueMetrics,
    budget: Arc<runtime::MemoryBudget>,
    clock: Arc<dyn runtime::Clock>,
}

enum Queue {
    Memory(Line<Waiting>),
    /// Open from the start on.
    Disk(OnceLock<DiskQueue>),
}

impl Sending {
    /// Sends to `destination`, whose `consume` is one attempt. `give_up` is set when a shutdown asks for the end of
    /// retries: an attempt that retries by itself should then end.
    pub fn new(
        id: &ComponentId,
        settings: SendingSettings,
        destination: Arc<dyn Consumer>,
        give_up: CancellationToken,
        context: &ExporterContext,
    ) -> Result<Self, ConfigError> {
        let capacity = settings.queue.queue_size;
        let is_on = settings.queue.enabled;
        let storage = settings.queue.storage.as_deref().filter(|_| is_on);
        let storage = storage.map(|id| context.extensions.storage(id)).transpose()?;
        let queue = match storage {
            Some(_) => Queue::Disk(OnceLock::new()),
            None => Queue::Memory(Line::new(capacity)),
        };
        let shared = Shared {
            id: id.clone(),
            queue,
            metrics: ExporterMetrics::new(id),
            queue_metrics: QueueMetrics::new(id, if is_on { capacity } else { 0 }),
            settings,
            destination,
            outage: Outage::new(id),
            give_up,
            too_late: CancellationToken::new(),
            budget: Arc::clone(&context.budget),
            clock: Arc::clone(&context.clock),
        };
        let (consumers, tasks) = (Mutex::default(), context.tasks.clone());
        Ok(Self { shared: Arc::new(shared), storage, consumers, tasks })
    }

    /// Opens a queue on disk and starts the delivering tasks.
    pub async fn start(&self) -> PipelineResult<()> {
        if !self.shared.settings.queue.enabled {
            return Ok(());
        }
        if let (Queue::Disk(queue), Some(storage)) = (&self.shared.queue, &self.storage) {
            let opened = self.open(Arc::clone(storage)).await?;
            // A second start would find the queue of the first, which is as good.
            let _ = queue.set(opened);
        }
        self.shared.tell_size();
        self.consumers.lock().extend(self.spawn_consumers());
        Ok(())
    }

    async fn open(&self, storage: Arc<FileStorage>) -> PipelineResult<DiskQueue> {
        let shared = &self.shared;
        let settings = DiskQueueSettings {
            id: shared.id.clone(),
            sizer: shared.settings.queue.sizer,
            capacity: shared.settings.queue.queue_size,
            budget: Arc::clone(&shared.budget),
        };
        let tasks = self.tasks.clone();
        let open = move || DiskQueue::open_in(&storage, settings, &tasks);
        self.tasks.spawn_blocking("open queue", open).await.unwrap_or_else(|_| {
            let text = format!("exporter {}: opening its queue was cancelled or panicked", shared.id);
            Err(PipelineError::new(ErrorKind::Internal, text))
        })
    }

    /// Takes nothing more and delivers what waits. A caller with a deadline drops the future: retries then end, and
    /// what is left in memory is counted as failed and logged.
    pub async fn shutdown(&self) {
        let consumers = std::mem::take(&mut *self.consumers.lock());
        let deadline = GiveUpOnDrop(&self.shared);
        match &self.shared.queue {
            Queue::Memory(line) => line.close(),
            Queue::Disk(queue) => {
                // Nothing is lost by giving up, so nobody has to wait for a destination that is away.
                self.shared.give_up.cancel();
                queue.get().inspect(|queue| queue.close());
            }
        }
        for consumer in consumers {
            // A consumer catches the panics of deliveries; one that ended otherwise has nothing to tell.
            let _ = consumer.await;
        }
        if let Queue::Disk(queue) = &self.shared.queue
            && let Some(queue) = queue.get()
        {
            queue.end();
            queue.ended().await;
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
        shared.too_late.cancel();
        match &shared.queue {
            Queue::Memory(line) => {
                let left = line.drain().into_iter().map(|entry| entry.item);
                shared.lose(left.map(|Waiting { batch, outcome }| (batch, outcome)));
                shared.queue_metrics.size.set(0.0);
            }
            Queue::Disk(queue) => {
                let Some(queue) = queue.get() else { return };
                queue.end();
                if queue.left() > 0 {
                    let batches = queue.left();
                    tracing::info!(exporter = %shared.id, batches, "what is not delivered stays in the queue on disk");
                }
            }
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
    async fn enqueue(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let (signal, items) = (batch.signal, batch.items);
        let size = self.settings.queue.sizer.size(&batch);
        let taken = match &self.queue {
            Queue::Memory(line) => self.push(line, batch, size).await,
            Queue::Disk(queue) => self.push_to_disk(queue.get(), &batch, size).await,
        };
        self.tell_size();
        match taken {
            Ok(None) => Ok(AppendReport { stored: items, rejected: Vec::new() }),
            Ok(Some(outcome)) => outcome.await.unwrap_or_else(|_| Err(self.closed())),
            Err(error) => {
                self.metrics.count_not_enqueued(signal, items);
                Err(error)
            }
        }
    }

    /// Adds a batch to a queue in memory; with `wait_for_result` returns where its outcome comes from.
    async fn push(
        &self,
        line: &Line<Waiting>,
        mut batch: Batch,
        size: u64,
    ) -> PipelineResult<Option<oneshot::Receiver<PipelineResult<AppendReport>>>> {
        if batch.reservation.is_none() {
            let bytes = batch.payload.len() as u64;
            batch.reservation = Some(Arc::new(self.budget.reserve_unchecked(bytes)));
        }
        let (outcome, receiver) = match self.settings.queue.wait_for_result {
            true => {
                let (sender, receiver) = oneshot::channel();
                (Some(sender), Some(receiver))
            }
            false => (None, None),
        };
        let wait = self.settings.queue.block_on_overflow;
        let pushed = line.push(Waiting { batch, outcome }, size, wait).await;
        pushed.map(|()| receiver).map_err(|error| self.not_enqueued(&error, size))
    }

    async fn push_to_disk(
        &self,
        queue: Option<&DiskQueue>,
        batch: &Batch,
        size: u64,
    ) -> PipelineResult<Option<oneshot::Receiver<PipelineResult<AppendReport>>>> {
        let Some(queue) = queue else {
            let text = format!("exporter {} is not started", self.id);
            return Err(PipelineError::new(ErrorKind::Unavailable, text));
        };
        match queue.push(batch, size, self.settings.queue.block_on_overflow).await {
            Ok(()) => Ok(None),
            Err(DiskPushError::Queue(error)) => Err(self.not_enqueued(&error, size)),
            Err(DiskPushError::Log(error)) if error.kind() == ErrorKind::Closed => Err(self.closed()),
            Err(DiskPushError::Log(error)) => {
                let (id, why) = (&self.id, error.without_path());
                let text = format!("exporter {id}: the queue on disk does not take the batch: {why}");
                Err(PipelineError::new(error.kind(), text).with_retry_after(RETRY_AFTER_FULL))
            }
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

    fn tell_size(&self) {
        let size = match &self.queue {
            Queue::Memory(line) => line.size(),
            Queue::Disk(queue) => queue.get().map_or(0, DiskQueue::size),
        };
        self.queue_metrics.size.set(size as f64);
    }
}

#[cfg(test)]
mod tests;

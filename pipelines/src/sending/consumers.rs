//! The tasks behind a sending queue: they take batches, join them if so configured, deliver them with retries and say
//! what became of them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use model::{AppendReport, ErrorKind};
use runtime::Tasks;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::batcher::{Batcher, Joined};
use super::config::QueueBatchConfig;
use super::delivery::Delivery;
use super::queue::Entry;
use super::taken::{Source, Taken};
use super::{Queue, Sending, Shared, retry};
use crate::off_thread::COPY_INLINE_BYTES_MAX;
use crate::{Batch, PipelineError, PipelineResult};

/// A batch in a queue in memory, and who waits for its outcome.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) outcome: Option<oneshot::Sender<PipelineResult<AppendReport>>>,
}

/// Deliveries that wait for a consumer behind a batcher. When it is full the batcher waits, and so the queue fills.
const DELIVERIES_WAITING: usize = 1;

type Deliveries = Arc<tokio::sync::Mutex<mpsc::Receiver<Joined>>>;

impl Sending {
    /// The delivering tasks, and the one that batches if there is one.
    pub(super) fn spawn_consumers(&self) -> Vec<JoinHandle<()>> {
        let config = &self.shared.settings.queue;
        let mut tasks = Vec::new();
        let deliveries: Option<Deliveries> = config.batch.clone().map(|batch| {
            let (sender, receiver) = mpsc::channel(DELIVERIES_WAITING);
            let shared = Arc::clone(&self.shared);
            let tasks_of = self.tasks.clone();
            let join = async move { shared.join(batch, sender, &tasks_of).await };
            tasks.push(self.tasks.spawn("sending queue batcher", join));
            Arc::new(tokio::sync::Mutex::new(receiver))
        });
        for _ in 0..config.num_consumers {
            let (shared, deliveries) = (Arc::clone(&self.shared), deliveries.clone());
            let run = async move { shared.run(deliveries).await };
            tasks.push(self.tasks.spawn("sending queue consumer", run));
        }
        tasks
    }
}

impl Shared {
    /// Takes the oldest batch; `None` when there will be none. Cancel-safe.
    async fn pop(&self) -> Option<(Batch, Arc<Taken>)> {
        let (batch, source) = match &self.queue {
            Queue::Memory(line) => {
                let Entry { item: Waiting { batch, outcome }, share } = line.pop().await?;
                (batch, Source::Memory { outcome, _share: share })
            }
            Queue::Disk(queue) => {
                let (batch, handed) = queue.get()?.pop().await?;
                (batch, Source::Disk(handed))
            }
        };
        Some((batch, Arc::new(Taken::new(source))))
    }

    /// Joins and splits batches between the queue and the consumers, until the queue has no more.
    async fn join(&self, config: QueueBatchConfig, deliveries: mpsc::Sender<Joined>, tasks: &Tasks) {
        let mut batcher = Batcher::new(config, Arc::clone(&self.budget));
        let mut is_open = true;
        while is_open {
            let due = batcher.due();
            let at_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let came = tokio::select! {
                popped = self.pop() => {
                    is_open = popped.is_some();
                    popped
                }
                () = at_due => None,
            };
            let (now, is_end) = (Instant::now(), !is_open);
            let bytes = batcher.bytes() + came.as_ref().map_or(0, |(batch, _)| batch.payload.len());
            let work = move || {
                let leaving = match came {
                    Some((batch, taken)) => batcher.add(batch, taken, now),
                    None if is_end => batcher.take_all(),
                    None => batcher.take_due(now),
                };
                (batcher, leaving)
            };
            let done = match bytes <= COPY_INLINE_BYTES_MAX {
                true => work(),
                false => match tasks.spawn_blocking("join batches", work).await {
                    Ok(done) => done,
                    // As if it were on this thread.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
            };
            let leaving = done.1;
            batcher = done.0;
            for delivery in leaving {
                let slot = tokio::select! {
                    slot = deliveries.reserve() => slot.ok(),
                    () = self.too_late.cancelled() => None,
                };
                match slot {
                    Some(slot) => slot.send(delivery),
                    None => self.lose(std::iter::once((delivery.batch, None))),
                }
            }
        }
    }

    async fn run(&self, deliveries: Option<Deliveries>) {
        loop {
            let next = match &deliveries {
                Some(deliveries) => deliveries.lock().await.recv().await,
                None => self.pop().await.map(|(batch, taken)| Joined { batch, of: vec![taken] }),
            };
            let Some(Joined { batch, of }) = next else { return };
            if deliveries.is_some() {
                self.metrics.count_batch(batch.items, batch.payload.len());
            }
            self.deliver_and_settle(batch, of).await;
        }
    }

    async fn deliver_and_settle(&self, batch: Batch, of: Vec<Arc<Taken>>) {
        let (signal, items) = (batch.signal, batch.items);
        let result = self.deliver(batch).await;
        let stays = match (&self.queue, &result) {
            (Queue::Disk(queue), Err(error))
                if self.give_up.is_cancelled() && error.kind().is_retryable() =>
            {
                // The destination is away and the program ends: leave the rest for the next start.
                queue.get().inspect(|queue| queue.halt());
                true
            }
            _ => false,
        };
        if !stays {
            self.metrics.count(signal, items, &result);
        }
        let is_awaited = of.iter().any(|taken| taken.is_awaited());
        if let Err(error) = &result
            && !stays
            && !is_awaited
        {
            tracing::error!(
                exporter = %self.id, %signal, dropped_items = items, %error, "exporting failed, dropping data"
            );
        }
        for taken in &of {
            taken.settle(&result, stays);
        }
        drop(of);
        self.tell_size();
    }

    /// Counts and logs batches of a queue in memory that no time was left for.
    pub(super) fn lose(
        &self,
        left: impl Iterator<Item = (Batch, Option<oneshot::Sender<PipelineResult<AppendReport>>>)>,
    ) {
        if matches!(self.queue, Queue::Disk(_)) {
            return;
        }
        let (mut batches, mut items) = (0_u64, 0_u64);
        for (batch, outcome) in left {
            batches += 1;
            items += batch.items;
            let error = PipelineError::new(ErrorKind::Closed, "shutdown before the batch could be delivered");
            let lost = Err(error);
            self.metrics.count(batch.signal, batch.items, &lost);
            if let Some(outcome) = outcome {
                // The sender may have gone; then nobody needs the outcome.
                let _ = outcome.send(lost);
            }
        }
        if batches > 0 {
            tracing::error!(
                exporter = %self.id, batches, items, "dropping what could not be delivered before the shutdown deadline"
            );
        }
    }

    /// All attempts for one batch.
    pub(super) async fn deliver(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let _in_flight = self.metrics.enter_flight();
        let attempt = || self.attempt(batch.clone());
        let attempts = retry(&self.settings.retry, &self.give_up, &self.outage, attempt);
        Delivery::attempts(&*self.clock, attempts).await
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
            // To be tried again, for what is on disk is acknowledged (DISKQ-1).
            Err(PipelineError::new(
                ErrorKind::Unavailable,
                format!("exporter {}: delivery panicked", self.id),
            ))
        })
    }
}

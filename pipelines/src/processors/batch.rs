//! `batch`: sends small requests on as larger ones.
//!
//! Requests of one tenant (and one combination of `metadata_keys`) wait until `send_batch_size` items or bytes are there or
//! `timeout` passed, and are then joined by concatenating their bytes. Unlike the collector's processor, which
//! acknowledges at once and drops what it cannot deliver, a request is acknowledged when the batch that it travels in
//! is (PIPE-1), so a sender waits up to `timeout` longer. An error that passes goes to every request of the batch. A batch
//! that is refused for good is delivered again request by request, so that only the sender whose data is at fault is
//! refused; where one of several destinations had taken the batch, it sees its requests twice. What waits is bounded by
//! admission: each waiting request holds its reservation. Single items that a destination refuses for good cannot be told
//! apart by request any more: their count is handed to the requests of the batch in order, so that the sum is exact.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hashbrown::{HashMap, HashSet};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use model::{AppendReport, ErrorKind, Rejection, Signal, TenantId};
use parking_lot::Mutex;
use runtime::{MemoryBudget, Tasks};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::off_thread::{COPY_INLINE_BYTES_MAX, off_thread_above};
use crate::{
    Batch, ClientMetadata, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer,
    PipelineError, PipelineResult, Processor, ProcessorContext, ProcessorFactory, RemoteWriteBatch,
    RemoteWriteConsumer, Sizer, Stability, hand_on_remote_write,
};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "batch", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Size after which a batch is sent without waiting for the timeout. Default 8192.
    send_batch_size: u64,
    /// Longest wait of a request for company; 0 = send at once. Default 200ms.
    timeout: ConfigDuration,
    /// Largest batch, larger requests are split; 0 = no limit. Default 0.
    send_batch_max_size: u64,
    /// Unit of both sizes: items or bytes, as in `sending_queue.batch`. The collector's processor has items only. Default
    /// items.
    sizer: Sizer,
    /// Request metadata by which requests are kept apart, case-insensitive. Default none.
    metadata_keys: Vec<String>,
    /// Most combinations of metadata values; a request with a new one over it is refused. Default 1000.
    metadata_cardinality_limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            send_batch_size: 8192,
            timeout: ConfigDuration::from_millis(200),
            send_batch_max_size: 0,
            sizer: Sizer::Items,
            metadata_keys: Vec::new(),
            metadata_cardinality_limit: 1000,
        }
    }
}

impl Config {
    /// Checks as batchprocessor/config.go does and brings the keys to lower case.
    fn validate(&mut self) -> Result<(), ConfigError> {
        if self.send_batch_max_size > 0 && self.send_batch_max_size < self.send_batch_size {
            return Err(ConfigError::at(
                "",
                "send_batch_max_size must be greater or equal to send_batch_size",
            ));
        }
        if self.sizer == Sizer::Requests {
            return Err(ConfigError::at(
                "sizer",
                "requests cannot be the unit of a batch: want items or bytes",
            ));
        }
        for key in &mut self.metadata_keys {
            *key = key.to_lowercase();
        }
        for (index, key) in self.metadata_keys.iter().enumerate() {
            if self.metadata_keys[..index].contains(key) {
                let message = format!("duplicate entry in metadata_keys: \"{key}\" (case-insensitive)");
                return Err(ConfigError::at("", message));
            }
        }
        Ok(())
    }
}

fn create(
    config: &ComponentConfig<'_>,
    _signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let metrics = BatchMetrics::new(config.id);
    let mut config: Config = config.parse()?;
    config.validate()?;
    Ok(Arc::new(BatchProcessor(Arc::new(Shared {
        config,
        next,
        metrics,
        lanes: Mutex::default(),
        deliveries: TaskTracker::new(),
        tasks: context.tasks.clone(),
        budget: Arc::clone(&context.budget),
    }))))
}

struct BatchProcessor(Arc<Shared>);

struct Shared {
    config: Config,
    next: Arc<dyn Consumer>,
    metrics: BatchMetrics,
    lanes: Mutex<Lanes>,
    /// Batches on their way.
    deliveries: TaskTracker,
    tasks: Tasks,
    budget: Arc<MemoryBudget>,
}

#[derive(Default)]
struct Lanes {
    waiting: HashMap<LaneKey, Lane>,
    /// Metadata combinations seen, to keep their number bounded.
    combinations: HashSet<Vec<(String, String)>>,
    /// Number of the next lane.
    next_number: u64,
    closed: bool,
}

/// Which requests may share a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LaneKey {
    tenant: TenantId,
    metadata: Vec<(String, String)>,
}

/// Requests that wait for company; a lane without requests does not exist.
struct Lane {
    requests: Vec<Request>,
    /// In the unit of `sizer`.
    size: u64,
    /// Tells a timer whether the lane is still the one that it was set for.
    number: u64,
}

struct Request {
    batch: Batch,
    done: oneshot::Sender<PipelineResult<AppendReport>>,
}

struct BatchMetrics {
    size: Histogram,
    size_bytes: Histogram,
    by_size: Counter,
    by_timeout: Counter,
    cardinality: Gauge,
}

impl BatchMetrics {
    fn new(id: &ComponentId) -> Self {
        let labels = [("processor", id.to_string())];
        Self {
            size: histogram!("otelcol_processor_batch_batch_send_size", &labels),
            size_bytes: histogram!("otelcol_processor_batch_batch_send_size_bytes", &labels),
            by_size: counter!("otelcol_processor_batch_batch_size_trigger_send", &labels),
            by_timeout: counter!("otelcol_processor_batch_timeout_trigger_send", &labels),
            cardinality: gauge!("otelcol_processor_batch_metadata_cardinality", &labels),
        }
    }
}

impl Consumer for BatchProcessor {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            let (done, outcome) = oneshot::channel();
            self.0.admit(Request { batch, done })?;
            outcome.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn remote_write(&self) -> Option<&dyn RemoteWriteConsumer> {
        let Config { send_batch_max_size, metadata_keys, .. } = &self.0.config;
        let has_limits = *send_batch_max_size > 0 || !metadata_keys.is_empty();
        self.0.next.remote_write().filter(|_| !has_limits).map(|_| self as _)
    }
}

/// Only stores in this process take such requests, which gain nothing by waiting for company: they go on at once.
impl RemoteWriteConsumer for BatchProcessor {
    fn consume_remote_write(&self, request: RemoteWriteBatch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        self.0.metrics.size.record(request.batch.items as f64);
        self.0.metrics.size_bytes.record(request.batch.payload.len() as f64);
        hand_on_remote_write(&*self.0.next, request)
    }
}

impl Processor for BatchProcessor {
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let rest: Vec<Lane> = {
                let mut lanes = self.0.lanes.lock();
                lanes.closed = true;
                lanes.waiting.drain().map(|(_, lane)| lane).collect()
            };
            for lane in rest {
                self.0.send(lane.requests);
            }
            self.0.deliveries.close();
            self.0.deliveries.wait().await;
        })
    }
}

fn closed() -> PipelineError {
    PipelineError::new(ErrorKind::Unavailable, "the batch processor is shutting down")
}

impl Shared {
    /// Puts a request into its lane, and sends the lane when it is full.
    fn admit(self: &Arc<Self>, request: Request) -> PipelineResult<()> {
        let metadata = self.metadata_of(&request.batch.client);
        let key = LaneKey { tenant: request.batch.tenant.clone(), metadata };
        let timeout = self.config.timeout.0;
        let full = {
            let mut lanes = self.lanes.lock();
            if lanes.closed {
                return Err(closed());
            }
            self.check_cardinality(&mut lanes, &key)?;
            let fresh_number = lanes.next_number;
            lanes.next_number += 1;
            let lane = lanes.waiting.entry(key.clone()).or_insert_with(|| Lane {
                requests: Vec::new(),
                size: 0,
                number: fresh_number,
            });
            lane.size += self.config.sizer.size(&request.batch);
            lane.requests.push(request);
            let is_full = timeout.is_zero() || lane.size >= self.config.send_batch_size.max(1);
            match is_full {
                true => lanes.waiting.remove(&key),
                false => {
                    if lane.requests.len() == 1 {
                        let number = lane.number;
                        self.set_timer(key, number, timeout);
                    }
                    None
                }
            }
        };
        if let Some(lane) = full {
            self.metrics.by_size.increment(1);
            self.send(lane.requests);
        }
        Ok(())
    }

    fn metadata_of(&self, client: &ClientMetadata) -> Vec<(String, String)> {
        let keys = self.config.metadata_keys.iter();
        keys.flat_map(|key| client.metadata.iter().filter(move |(name, _)| name == key).cloned()).collect()
    }

    fn check_cardinality(&self, lanes: &mut Lanes, key: &LaneKey) -> PipelineResult<()> {
        if self.config.metadata_keys.is_empty() || lanes.combinations.contains(&key.metadata) {
            return Ok(());
        }
        let limit = self.config.metadata_cardinality_limit as usize;
        // The collector reads 0 as "no limit".
        if limit > 0 && lanes.combinations.len() >= limit {
            let message = format!("too many batcher metadata-value combinations: the limit is {limit}");
            return Err(PipelineError::new(ErrorKind::Invalid, message));
        }
        lanes.combinations.insert(key.metadata.clone());
        self.metrics.cardinality.set(lanes.combinations.len() as f64);
        Ok(())
    }

    fn set_timer(self: &Arc<Self>, key: LaneKey, number: u64, timeout: Duration) {
        let shared = Arc::clone(self);
        // Not joined: when the processor ends, it empties the lanes itself, and the timer finds nothing.
        self.tasks.spawn("batch timeout", async move {
            tokio::select! {
                () = tokio::time::sleep(timeout) => {}
                () = shared.tasks.cancelled() => {}
            }
            let due = {
                let mut lanes = shared.lanes.lock();
                match lanes.waiting.get(&key) {
                    Some(lane) if lane.number == number => lanes.waiting.remove(&key),
                    _ => None,
                }
            };
            if let Some(lane) = due {
                shared.metrics.by_timeout.increment(1);
                shared.send(lane.requests);
            }
        });
    }

    /// Delivers requests in a task of their own: a sender that goes away must not take its companions' data with it.
    fn send(self: &Arc<Self>, requests: Vec<Request>) {
        for group in groups(requests, self.config.send_batch_max_size, self.config.sizer) {
            let shared = Arc::clone(self);
            self.tasks.spawn(
                "batch delivery",
                self.deliveries.track_future(async move { shared.deliver(group).await }),
            );
        }
    }

    async fn deliver(&self, requests: Vec<Request>) {
        let (batches, done): (Vec<Batch>, Vec<_>) =
            requests.into_iter().map(|request| (request.batch, request.done)).unzip();
        let outcomes = match <[Batch; 1]>::try_from(batches) {
            Ok([batch]) => vec![self.deliver_alone(batch).await],
            Err(batches) => self.deliver_joined(batches).await,
        };
        for (done, outcome) in done.into_iter().zip(outcomes) {
            // The sender may have gone; then nobody needs the outcome.
            let _ = done.send(outcome);
        }
    }

    /// Delivers several requests as one batch, or one by one when the batch is refused for good. Gives the outcome of
    /// each.
    async fn deliver_joined(&self, batches: Vec<Batch>) -> Vec<PipelineResult<AppendReport>> {
        let count = batches.len();
        let (joined, parts) = match self.join(batches).await {
            Ok(joined) => joined,
            Err(error) => return vec![Err(error); count],
        };
        let outcome = self.deliver_piece(joined).await;
        if !outcome.as_ref().is_err_and(is_refusal) {
            let counts: Vec<u64> = parts.iter().map(|part| part.items).collect();
            return share(outcome, &counts);
        }
        let mut outcomes = Vec::with_capacity(parts.len());
        for part in parts {
            outcomes.push(self.deliver_piece(part).await);
        }
        outcomes
    }

    /// Delivers one request, in pieces when it is over the maximum. What is refused for good does not keep the other
    /// pieces back: its items are reported as refused, unless all are.
    async fn deliver_alone(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let Config { send_batch_max_size: max, sizer, .. } = self.config;
        if max == 0 || sizer.size(&batch) <= max {
            return self.deliver_piece(batch).await;
        }
        let (signal, payload, items) = (batch.signal, batch.payload.clone(), batch.items);
        let split = move || sizer.split(signal, &payload, items, max);
        let (bytes, name) = (batch.payload.len(), "batch processor");
        let pieces = off_thread_above(COPY_INLINE_BYTES_MAX, &self.tasks, bytes, name, split).await?;
        let mut report = AppendReport::default();
        let (mut taken, mut refusal) = (0_usize, None);
        for (payload, items) in pieces {
            match self.deliver_piece(Batch { payload, items, ..batch.clone() }).await {
                Ok(stored) => {
                    taken += 1;
                    report.merge(stored);
                }
                Err(error) if is_refusal(&error) => {
                    report.reject(REFUSED, items, || error.to_string());
                    refusal.get_or_insert(error);
                }
                // The sender comes again with the whole request.
                Err(error) => return Err(error),
            }
        }
        match refusal {
            Some(error) if taken == 0 => Err(error),
            _ => Ok(report),
        }
    }

    async fn deliver_piece(&self, piece: Batch) -> PipelineResult<AppendReport> {
        self.metrics.size.record(piece.items as f64);
        self.metrics.size_bytes.record(piece.payload.len() as f64);
        self.next.consume(piece).await
    }

    /// The requests as one, and each of them as a part of it that shares its memory.
    async fn join(&self, batches: Vec<Batch>) -> PipelineResult<(Batch, Vec<Batch>)> {
        let payloads: Vec<Bytes> = batches.iter().map(|batch| batch.payload.clone()).collect();
        let (bytes, name) = (payloads.iter().map(Bytes::len).sum(), "batch processor");
        let merge = move || Ok(wire::otlp::merge(&payloads));
        let payload = off_thread_above(COPY_INLINE_BYTES_MAX, &self.tasks, bytes, name, merge).await?;
        // The copy is counted by itself and the originals are let go, so that memory is counted once.
        let reservation = Some(Arc::new(self.budget.reserve_unchecked(payload.len() as u64)));
        let joined = Batch {
            signal: batches[0].signal,
            tenant: batches[0].tenant.clone(),
            items: batches.iter().map(|batch| batch.items).sum(),
            client: self.client_of(&batches),
            payload,
            reservation,
        };
        let mut start = 0;
        let parts = batches.into_iter().map(|batch| {
            // Joining is concatenation.
            let end = start + batch.payload.len();
            let payload = joined.payload.slice(start..end);
            start = end;
            Batch { payload, reservation: joined.reservation.clone(), ..batch }
        });
        let parts = parts.collect();
        Ok((joined, parts))
    }

    /// What is known about the senders of joined requests: the metadata that they have in common by configuration.
    fn client_of(&self, batches: &[Batch]) -> Arc<ClientMetadata> {
        let first = &batches[0].client;
        if batches.iter().all(|batch| batch.client == *first) {
            return Arc::clone(first);
        }
        Arc::new(ClientMetadata { address: None, metadata: self.metadata_of(first) })
    }
}

/// Reason under which the items of a refused piece of a request are counted.
const REFUSED: &str = "refused_by_destination";

/// Whether the data is at fault: neither will it be taken later nor is the way closed.
fn is_refusal(error: &PipelineError) -> bool {
    !error.kind().is_retryable() && !matches!(error.kind(), ErrorKind::Closed | ErrorKind::Canceled)
}

/// Cuts a list of requests, in order, into runs of at most `max` in the unit of `sizer` (0 = no limit). A request that is
/// larger by itself makes a run of its own.
fn groups(requests: Vec<Request>, max: u64, sizer: Sizer) -> Vec<Vec<Request>> {
    if max == 0 {
        return vec![requests];
    }
    let mut groups: Vec<Vec<Request>> = Vec::new();
    let mut size = 0;
    for request in requests {
        let own = sizer.size(&request.batch);
        size += own;
        match groups.last_mut() {
            Some(group) if size <= max => group.push(request),
            _ => {
                size = own;
                groups.push(vec![request]);
            }
        }
    }
    groups
}

/// Each request's part of the outcome of a batch whose requests have `counts` items.
fn share(outcome: PipelineResult<AppendReport>, counts: &[u64]) -> Vec<PipelineResult<AppendReport>> {
    let mut rejected = match outcome {
        Err(error) => return vec![Err(error); counts.len()],
        Ok(report) if counts.len() == 1 => return vec![Ok(report)],
        Ok(report) => report.rejected,
    };
    let mut shares = Vec::with_capacity(counts.len());
    for &items in counts {
        let mut stored = items;
        let mut own = Vec::new();
        for rejection in &mut rejected {
            let count = rejection.count.min(stored);
            if count == 0 {
                continue;
            }
            stored -= count;
            rejection.count -= count;
            let message = format!("{} (counted over a batch of several requests)", rejection.message);
            own.push(Rejection { reason: rejection.reason, count, message });
        }
        shares.push(Ok(AppendReport { stored, rejected: own }));
    }
    shares
}

#[cfg(test)]
mod tests;

//! Stand-ins that tests of this crate share: a destination that does as told, and batches to send.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind, Signal, TenantId};
use parking_lot::Mutex;
use runtime::{MemoryBudget, SystemClock, Tasks};
use tokio::sync::{Notify, Semaphore};

use crate::{
    Batch, ClientMetadata, Consumer, ExporterContext, PipelineError, PipelineResult, ProcessorContext,
};

/// A destination that keeps what it was given and answers by script; without a script it takes everything.
#[derive(Default)]
pub(crate) struct Destination {
    pub(crate) seen: Mutex<Vec<Batch>>,
    script: Mutex<VecDeque<PipelineResult<AppendReport>>>,
    /// While `Some`, each delivery waits for a permit.
    gate: Option<Semaphore>,
    pub(crate) came: Notify,
}

impl Destination {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn answering(script: impl IntoIterator<Item = PipelineResult<AppendReport>>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }

    /// A destination that takes a batch and then hangs until [`Destination::release`].
    pub(crate) fn stalled() -> Arc<Self> {
        Arc::new(Self { gate: Some(Semaphore::new(0)), ..Self::default() })
    }

    pub(crate) fn release(&self, deliveries: usize) {
        self.gate.as_ref().expect("a stalled destination").add_permits(deliveries);
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        self.seen.lock().iter().map(|batch| String::from_utf8_lossy(&batch.payload).into_owned()).collect()
    }
}

impl Consumer for Destination {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            let items = batch.items;
            self.seen.lock().push(batch);
            self.came.notify_one();
            if let Some(gate) = &self.gate {
                gate.acquire().await.expect("the gate is never closed").forget();
            }
            let scripted = self.script.lock().pop_front();
            scripted.unwrap_or(Ok(AppendReport { stored: items, rejected: Vec::new() }))
        })
    }
}

pub(crate) fn batch(payload: &str, items: u64) -> Batch {
    Batch {
        signal: Signal::Logs,
        tenant: TenantId::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        items,
        client: Arc::new(ClientMetadata::default()),
        reservation: None,
    }
}

pub(crate) fn unavailable() -> PipelineError {
    PipelineError::new(ErrorKind::Unavailable, "connection refused")
}

pub(crate) fn invalid() -> PipelineError {
    PipelineError::new(ErrorKind::Invalid, "not what I take")
}

pub(crate) fn exporter_context() -> ExporterContext {
    ExporterContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
        extensions: crate::Extensions::default(),
    }
}

pub(crate) fn processor_context() -> ProcessorContext {
    ProcessorContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
    }
}

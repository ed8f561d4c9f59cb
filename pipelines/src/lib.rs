//! Pipelines: what happens to telemetry between a receiver and its destinations.
//!
//! A [`Batch`] is the wire bytes of one OTLP `Export…ServiceRequest`; processors edit, merge or split those bytes and
//! never build an object model. Invariant PIPE-1: [`Consumer::consume`] resolves with `Ok` only when every required
//! destination has the batch as durably as its configuration says; an error means that the sender must keep it.

mod admission;
mod attributes;
mod batch;
mod component;
mod connectors;
mod error;
mod extensions;
mod fan_out;
mod graph;
mod off_thread;
mod processors;
mod sending;
mod settled;
mod telemetry;
#[cfg(test)]
mod testing;
mod throttle;
mod values;

pub use admission::{RETRY_AFTER_REFUSAL, admit, refusal, resize};
pub use batch::{Batch, ClientMetadata, RemoteWriteBatch};
pub use component::{
    ComponentConfig, ComponentId, ComponentIdError, ConfigError, Exporter, ExporterContext, ExporterFactory,
    PAGE_SERVER_KEYS, Page, Processor, ProcessorContext, ProcessorFactory, Stability, split,
};
pub use connectors::{CONNECTORS, ConnectorFactory, Outputs};
pub use error::{PipelineError, PipelineResult};
pub use extensions::{ClientAuth, Extensions, FileStorage, Offer};
pub use graph::{Graph, GraphContext, PipelineConfig, PipelineId, PipelinesConfig, Registries};
pub use off_thread::off_thread;
pub use processors::PROCESSORS;
pub use sending::{
    Delivery, EntryError, Next, Outage, PartitionConfig, QueueBatchConfig, QueueConfig, RetryConfig, Sending,
    SendingSettings, Sizer, decode_queued, encode_queued, plan, retry,
};
pub use telemetry::{ExporterMetrics, ReceiverMetrics};
pub use throttle::Throttle;
pub use values::{ConfigDuration, Opaque};

use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind};

/// A stage that takes batches: a processor, a fan-out, a queue, an exporter.
pub trait Consumer: Send + Sync {
    /// Takes a batch. Resolves when everything behind this stage acknowledged it (PIPE-1); the report counts items
    /// that were refused for good, everything else is stored or queued.
    ///
    /// Not cancel-safe: dropping the future leaves it open whether the batch was delivered, as a lost connection does.
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>>;

    /// This stage as one that takes remote write requests as they came, if it and everything behind it does. Others get
    /// them as OTLP.
    fn remote_write(&self) -> Option<&dyn RemoteWriteConsumer> {
        None
    }
}

/// Hands a remote write request to `next`, which said before that it takes it.
pub(crate) fn hand_on_remote_write(
    next: &dyn Consumer,
    request: RemoteWriteBatch,
) -> BoxFuture<'_, PipelineResult<AppendReport>> {
    match next.remote_write() {
        Some(next) => next.consume_remote_write(request),
        None => {
            let message = "a remote write request came where only OTLP is taken";
            Box::pin(std::future::ready(Err(PipelineError::new(ErrorKind::Internal, message))))
        }
    }
}

/// A stage that needs no OTLP to make series of: it neither changes items nor hands them to one that does.
pub trait RemoteWriteConsumer: Send + Sync {
    /// As [`Consumer::consume`], for a remote write request in its own form.
    fn consume_remote_write(&self, request: RemoteWriteBatch) -> BoxFuture<'_, PipelineResult<AppendReport>>;
}

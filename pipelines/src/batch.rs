//! The unit that travels through a pipeline.

use std::sync::Arc;

use bytes::Bytes;
use model::{Signal, TenantId};
use runtime::Reservation;
use wire::remote_write::Version;

/// Telemetry of one signal as the bytes of an OTLP `ExportMetricsServiceRequest`, `ExportLogsServiceRequest` or
/// `ExportTraceServiceRequest`, already checked to be well-formed by the receiver. Cloning copies pointers.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which request type `payload` is.
    pub signal: Signal,
    /// Whose data.
    pub tenant: TenantId,
    /// The request's bytes, protobuf, not compressed.
    pub payload: Bytes,
    /// Data points, log records or spans inside.
    pub items: u64,
    /// What is known about the sender, for `batch` by metadata keys and `from_context`.
    pub client: Arc<ClientMetadata>,
    /// The bytes that admission reserved for this batch; given back when the last clone is gone.
    pub reservation: Option<Arc<Reservation>>,
}

/// A remote write request in its own form, for stages that take it so ([`crate::RemoteWriteConsumer`]).
#[derive(Clone, Debug)]
pub struct RemoteWriteBatch {
    /// Which message the payload is.
    pub version: Version,
    /// As for OTLP, but that the payload is the message without the snappy around it.
    pub batch: Batch,
}

/// What a receiver knows about a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientMetadata {
    /// The sender's address without port.
    pub address: Option<String>,
    /// Request headers or gRPC metadata, lower-case names; only with `include_metadata: true`.
    pub metadata: Vec<(String, String)>,
}

impl ottl::Sender for ClientMetadata {
    fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }
}

impl Batch {
    /// What programs know of the batch beside its payload.
    pub(crate) fn around(&self, now_ns: i64) -> ottl::Around {
        ottl::Around { now_ns, sender: Some(Arc::clone(&self.client) as Arc<dyn ottl::Sender>) }
    }
}

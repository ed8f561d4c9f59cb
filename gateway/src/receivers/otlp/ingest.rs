//! What happens to an export request once its body is there, whichever transport brought it.
//!
//! Check the bytes, cut out what cannot be kept, send the rest through the pipelines, put both reports together.
//! Invariant INGEST-1: success is answered only after every pipeline acknowledged the batch.

use std::sync::Arc;

use bytes::Bytes;
use model::{AppendReport, Signal, TenantId};
use pipelines::{Batch, ClientMetadata, ComponentId, PipelineError, ReceiverMetrics};
use runtime::{Reservation, Tasks};
use wire::compression::{CompressionError, Encoding};
use wire::otlp;

use super::answer::Refusal;
use crate::receivers::decoding::{self, DecodeError};
use crate::receivers::{Entries, ReceiverContext};
use crate::server::body::ReadBody;

/// The way into the pipelines for one receiver and transport.
pub(crate) struct Ingest {
    entries: Entries,
    metrics: ReceiverMetrics,
    tasks: Tasks,
    pub(super) budget: Arc<runtime::MemoryBudget>,
    pub(super) include_metadata: bool,
}

/// An export request with its body decompressed.
pub(crate) struct Export {
    pub(crate) signal: Signal,
    pub(crate) tenant: TenantId,
    pub(crate) client: Arc<ClientMetadata>,
    pub(crate) payload: Payload,
    /// Covers the payload.
    pub(crate) reservation: Reservation,
}

/// The body of an export request.
pub(crate) enum Payload {
    Protobuf(Bytes),
    Json(Bytes),
}

/// Bytes of a payload from which on its check leaves the async threads: it takes about a millisecond then.
const CHECK_INLINE_BYTES_MAX: usize = 1 << 20;

/// The same of JSON, which is read some thirty times slower.
const JSON_INLINE_BYTES_MAX: usize = 32 << 10;

/// Bytes of a body from which on decoding leaves the async threads, before and after.
const DECODE_INLINE_BYTES_MAX: usize = 64 << 10;

impl Ingest {
    pub(crate) fn new(
        id: &ComponentId,
        transport: &str,
        include_metadata: bool,
        context: &ReceiverContext,
    ) -> Self {
        Self {
            entries: context.entries.clone(),
            metrics: ReceiverMetrics::new(id, transport),
            tasks: context.tasks.clone(),
            budget: Arc::clone(&context.budget),
            include_metadata,
        }
    }

    /// Whether a pipeline takes `signal` from this receiver.
    pub(crate) fn takes(&self, signal: Signal) -> bool {
        self.entries.get(signal).is_some()
    }

    /// Checks and delivers a request. The report names items that were refused for good, with reasons.
    pub(crate) async fn export(&self, export: Export) -> Result<AppendReport, Refusal> {
        let Export { signal, tenant, client, payload, mut reservation } = export;
        let Some(entry) = self.entries.get(signal) else {
            return Err(Refusal::not_wired(signal));
        };
        let checked = self.check(signal, payload).await?;
        let mut report = checked.report;
        let cut = report.rejected_count();
        if cut > 0 {
            self.metrics.count_refused(signal, cut);
        }
        if checked.items == 0 {
            return Ok(report);
        }
        let bytes = checked.payload.len() as u64;
        if let Err(refusal) = pipelines::resize(&mut reservation, bytes) {
            self.metrics.count_refused(signal, checked.items);
            return Err(Refusal::from_pipeline(&refusal));
        }
        let batch = Batch {
            signal,
            tenant,
            payload: checked.payload,
            items: checked.items,
            client,
            reservation: Some(Arc::new(reservation)),
        };
        let outcome = entry.consume(batch).await;
        self.metrics.count(signal, checked.items, &outcome);
        let delivered = outcome.map_err(|error: PipelineError| Refusal::from_pipeline(&error))?;
        report.merge(delivered);
        Ok(report)
    }

    /// Decompresses a body to at most `cap` bytes. The reservation goes with the work, which may outlive a request
    /// whose client has left.
    pub(super) async fn decode(
        &self,
        encoding: &'static str,
        body: Bytes,
        cap: usize,
        mut reservation: Reservation,
    ) -> Result<ReadBody, Refusal> {
        let encoding = Encoding::from_name(encoding).map_err(|error| Refusal::from_compression(&error))?;
        let refused = |error| match error {
            DecodeError::NoMemory(error) => Refusal::from_pipeline(&error),
            DecodeError::Wrong(error) => Refusal::from_compression(&error),
        };
        // Small bodies may grow a thousand times: only what stays small is decoded here.
        if body.len() <= DECODE_INLINE_BYTES_MAX {
            let room = cap.min(DECODE_INLINE_BYTES_MAX);
            match decoding::decode(encoding, &body, room, &mut reservation) {
                Err(DecodeError::Wrong(CompressionError::TooLarge { .. })) if room < cap => {}
                decoded => return Ok(ReadBody { bytes: decoded.map_err(refused)?, reservation }),
            }
        }
        let work = move || {
            let bytes = decoding::decode(encoding, &body, cap, &mut reservation)?;
            Ok(ReadBody { bytes, reservation })
        };
        self.off_thread(true, work).await?.map_err(refused)
    }

    /// Runs `work` here or, if it takes long, on a thread that may be busy for a while.
    pub(super) async fn off_thread<T: Send + 'static>(
        &self,
        is_long: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if !is_long {
            return Ok(work());
        }
        let done = self.tasks.spawn_blocking("otlp_decode", work).await;
        done.map_err(|error| Refusal::internal(format!("decoding a request failed: {error}")))
    }

    async fn check(&self, signal: Signal, payload: Payload) -> Result<otlp::Checked, Refusal> {
        let is_long = match &payload {
            Payload::Protobuf(bytes) => bytes.len() > CHECK_INLINE_BYTES_MAX,
            Payload::Json(text) => text.len() > JSON_INLINE_BYTES_MAX,
        };
        let check = move || {
            let protobuf = match payload {
                Payload::Protobuf(bytes) => bytes,
                Payload::Json(text) => otlp::json::to_protobuf(signal, &text)?.into(),
            };
            otlp::check(signal, protobuf)
        };
        self.off_thread(is_long, check).await?.map_err(|error| Refusal::invalid(error.to_string()))
    }
}

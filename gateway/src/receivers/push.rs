//! What the push endpoints of Loki and Prometheus share: a body is read under the memory budget and decoded away from the
//! async threads, its payload goes through the pipelines, and what is refused gets a status and a line of text.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{StatusCode, request};
use model::{AppendReport, ErrorKind, Signal, TenantId};
use pipelines::{Batch, ComponentId, Consumer, PipelineError, ReceiverMetrics, RemoteWriteBatch};
use runtime::{MemoryBudget, Reservation, Tasks};
use wire::remote_write::Version;

use super::{ReceiverContext, client, tenant};
use crate::server::body::{self, Announced, BodyError, ReadBody};

/// A refused request: a status and a text.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) retry_after_seconds: Option<u64>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after_seconds: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What a pipeline refused; `throttled` is the status for a tenant's own limit, which senders take differently.
    pub(super) fn of_pipeline(error: &PipelineError, throttled: StatusCode) -> Self {
        let status = match error.kind() {
            ErrorKind::Throttled => throttled,
            kind if kind.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Closed | ErrorKind::Canceled => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let hint = error.retry_after().map(|after| after.as_secs().max(1));
        let retry_after_seconds = hint.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
        Self { retry_after_seconds, ..Self::new(status, error.to_string()) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.message + "\n").into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// The way of one signal into the pipelines.
pub(super) struct Door {
    signal: Signal,
    entry: Option<Arc<dyn Consumer>>,
    metrics: ReceiverMetrics,
    budget: Arc<MemoryBudget>,
    tasks: Tasks,
    body_bytes_max: u64,
    /// Status for a tenant's own limit.
    throttled: StatusCode,
}

/// Where a request goes.
pub(super) struct Address<'a> {
    entry: &'a Arc<dyn Consumer>,
    tenant: TenantId,
}

impl Address<'_> {
    /// Whether the pipelines take remote write requests as they came.
    pub(super) fn takes_remote_write(&self) -> bool {
        self.entry.remote_write().is_some()
    }
}

impl Door {
    pub(super) fn new(
        signal: Signal,
        id: &ComponentId,
        context: &ReceiverContext,
        body_bytes_max: u64,
        throttled: StatusCode,
    ) -> Self {
        Self {
            signal,
            entry: context.entries.get(signal).cloned(),
            metrics: ReceiverMetrics::new(id, "http"),
            budget: Arc::clone(&context.budget),
            tasks: context.tasks.clone(),
            body_bytes_max,
            throttled,
        }
    }

    /// Looks at the headers before anything is read.
    pub(super) fn address(&self, head: &request::Parts) -> Result<Address<'_>, Refused> {
        let Some(entry) = &self.entry else {
            let message = format!("no pipeline takes {} from this receiver", self.signal);
            return Err(Refused::new(StatusCode::NOT_FOUND, message));
        };
        let tenant = tenant(&head.headers).map_err(Refused::bad_request)?;
        Ok(Address { entry, tenant })
    }

    /// Reads a body and runs `work` on it, on another thread if the body has more than `inline_bytes_max` bytes. The
    /// reservation goes with the work, which may outlive a request whose client has left.
    pub(super) async fn decoded<T: Send + 'static>(
        &self,
        head: &request::Parts,
        body: &mut Body,
        inline_bytes_max: usize,
        work: impl FnOnce(Bytes, &mut Reservation) -> Result<T, Refused> + Send + 'static,
    ) -> Result<(T, Reservation), Refused> {
        let read =
            body::read(&head.headers, body, Announced::Header, self.body_bytes_max, &self.budget).await;
        let ReadBody { bytes, mut reservation } = read.map_err(|error| self.of_body(error))?;
        let is_small = bytes.len() <= inline_bytes_max;
        let work = move || work(bytes, &mut reservation).map(|done| (done, reservation));
        if is_small {
            return work();
        }
        let done = self.tasks.spawn_blocking("push_decode", work).await;
        done.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
    }

    /// Sends a payload through the pipelines.
    pub(super) async fn deliver(
        &self,
        Address { entry, tenant }: Address<'_>,
        head: &request::Parts,
        payload: Bytes,
        items: u64,
        reservation: Reservation,
    ) -> Result<AppendReport, Refused> {
        let batch = self.batch(tenant, head, payload, items, reservation)?;
        self.outcome(items, entry.consume(batch).await)
    }

    /// Sends a remote write request through pipelines that take it as it came.
    pub(super) async fn deliver_remote_write(
        &self,
        Address { entry, tenant }: Address<'_>,
        head: &request::Parts,
        version: Version,
        payload: Bytes,
        items: u64,
        reservation: Reservation,
    ) -> Result<AppendReport, Refused> {
        let batch = self.batch(tenant, head, payload, items, reservation)?;
        let Some(entry) = entry.remote_write() else {
            let message = "the pipelines take no remote write requests as they came";
            return Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        };
        self.outcome(items, entry.consume_remote_write(RemoteWriteBatch { version, batch }).await)
    }

    fn batch(
        &self,
        tenant: TenantId,
        head: &request::Parts,
        payload: Bytes,
        items: u64,
        mut reservation: Reservation,
    ) -> Result<Batch, Refused> {
        if let Err(error) = pipelines::resize(&mut reservation, payload.len() as u64) {
            self.count_refused(items);
            return Err(Refused::of_pipeline(&error, self.throttled));
        }
        Ok(Batch {
            signal: self.signal,
            tenant,
            payload,
            items,
            client: client(head, false),
            reservation: Some(Arc::new(reservation)),
        })
    }

    fn outcome(
        &self,
        items: u64,
        outcome: Result<AppendReport, PipelineError>,
    ) -> Result<AppendReport, Refused> {
        self.metrics.count(self.signal, items, &outcome);
        outcome.map_err(|error| Refused::of_pipeline(&error, self.throttled))
    }

    /// Counts items that never got to a pipeline.
    pub(super) fn count_refused(&self, items: u64) {
        self.metrics.count_refused(self.signal, items);
    }

    /// Takes what a refused client still sends, so that it reads the answer.
    pub(super) async fn discard(&self, head: &request::Parts, body: &mut Body) {
        body::discard(head, body, self.body_bytes_max).await;
    }

    fn of_body(&self, error: BodyError) -> Refused {
        let status = match error {
            BodyError::OutOfMemory => return Refused::of_pipeline(&pipelines::refusal(), self.throttled),
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Idle | BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Refused::new(status, error.to_string())
    }
}

//! Thanos' receive: taking writes from routers (pkg/receive/handler.go, `RemoteWrite`; pkg/receive/writer.go).
//!
//! A request carries the series of one tenant in the fields 1 and 2, as every released version sends it, or those of
//! several in field 4, as later ones do; both are taken, and both in one request. The answer is a conflict when a sample
//! is refused for what is stored already, and the rest of the request is stored all the same. `router` is the other side:
//! which members of a ring get which series.

mod hashring;
mod quorum;
mod router;

use std::sync::Arc;

use bytes::Bytes;
use model::{ErrorKind, TenantId};
use runtime::Tasks;
use storage_api::{BoxFuture, MetricsAppender, SampleBatch};
use wire::protobuf::{Fields, Value};
use wire::remote_write::{Request, Series, Version, read_histogram};

use crate::error::{ThanosError, ThanosResult};

pub use hashring::Hashrings;
pub use router::{Router, RouterSettings};

/// What Thanos calls the tenant of writes that name none.
const DEFAULT_TENANT: &str = "default-tenant";
/// Requests above this are decoded off the async threads: some hundred series.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// Takes the message of `WriteableStore/RemoteWrite`.
pub trait WriteTarget: Send + Sync {
    /// Stores a `thanos.WriteRequest`; resolves with `Ok` when it is as durable as the store is configured to make it.
    fn remote_write(&self, message: Bytes) -> BoxFuture<'_, ThanosResult<()>>;
}

/// Writes into the store of this process.
pub struct StoreWriter {
    appender: Arc<dyn MetricsAppender>,
    tasks: Tasks,
}

impl StoreWriter {
    /// A writer into `appender`.
    pub fn new(appender: Arc<dyn MetricsAppender>, tasks: Tasks) -> Self {
        Self { appender, tasks }
    }

    async fn write(&self, message: Bytes) -> ThanosResult<()> {
        let appender = Arc::clone(&self.appender);
        let read = if message.len() <= INLINE_BYTES_MAX {
            read(appender.as_ref(), &message)
        } else {
            let work = self.tasks.spawn_blocking("receive-decode", move || read(appender.as_ref(), &message));
            work.await.map_err(|error| ThanosError::new(ErrorKind::Internal, error.to_string()))?
        };
        let Read { batches, mut refused } = read?;
        for (tenant, batch) in batches {
            let outcome = self.appender.append(&tenant, batch).await?;
            if !outcome.stale_refs.is_empty() || !outcome.stale_exemplar_refs.is_empty() {
                // The store forgot a series between two lines of ours; what was stored may be sent again.
                let text = "the store was about to forget a series of the request, send it again";
                return Err(ThanosError::new(ErrorKind::Unavailable, text));
            }
            refused.extend(outcome.report.rejected.into_iter().map(|rejection| rejection.message));
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(ThanosError::new(ErrorKind::Conflict, refused.join("; ")))
        }
    }
}

impl WriteTarget for StoreWriter {
    fn remote_write(&self, message: Bytes) -> BoxFuture<'_, ThanosResult<()>> {
        Box::pin(self.write(message))
    }
}

/// A request as the store takes it.
#[derive(Default)]
struct Read {
    batches: Vec<(TenantId, SampleBatch)>,
    /// Why series of the request are left out.
    refused: Vec<String>,
}

fn damaged(error: impl std::fmt::Display) -> ThanosError {
    ThanosError::invalid(format!("the write request cannot be read: {error}"))
}

fn read(appender: &dyn MetricsAppender, message: &[u8]) -> ThanosResult<Read> {
    let mut read = Read::default();
    let mut tenant = "";
    let mut nested: Vec<&[u8]> = Vec::new();
    let mut has_own = false;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field().map_err(damaged)? {
        match (field.number, field.value) {
            (1, Value::Bytes(_)) => has_own = true,
            (2, Value::Bytes(_)) => tenant = field.str().map_err(damaged)?,
            (4, Value::Bytes(part)) => nested.push(part),
            _ => {}
        }
    }
    if has_own {
        read.add(appender, tenant, message)?;
    }
    for part in nested {
        let mut tenant = "";
        let mut fields = Fields::new(part);
        while let Some(field) = fields.next_field().map_err(damaged)? {
            if field.number == 2 {
                tenant = field.str().map_err(damaged)?;
            }
        }
        read.add(appender, tenant, part)?;
    }
    Ok(read)
}

impl Read {
    /// The series of the fields 1 of `bytes`, which are what remote write 1.0 has there.
    fn add(&mut self, appender: &dyn MetricsAppender, tenant: &str, bytes: &[u8]) -> ThanosResult<()> {
        let tenant = match tenant {
            "" | DEFAULT_TENANT => TenantId::default(),
            other => TenantId::new(other).map_err(|error| ThanosError::invalid(error.to_string()))?,
        };
        let request = Request::new(Version::V1, bytes, 0).map_err(damaged)?;
        let mut batch = SampleBatch::default();
        let mut series = Series::default();
        for encoded in request.series() {
            request.read(encoded.map_err(damaged)?, &mut series).map_err(damaged)?;
            let reference = match request.labels(&series) {
                Ok(labels) => appender.series(&tenant, &labels),
                Err(error) => {
                    self.refused.push(error.to_string());
                    continue;
                }
            };
            let reference = match reference {
                Ok(reference) => reference,
                Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Throttled) => {
                    self.refused.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for sample in &series.samples {
                batch.push(reference, sample.sample.timestamp_ms, sample.sample.value);
            }
            for bytes in &series.histograms {
                let timed = read_histogram(bytes).map_err(damaged)?;
                match timed.histogram {
                    Ok(histogram) => batch.push_histogram(reference, timed.timestamp_ms, histogram),
                    Err(error) => self.refused.push(error.to_string()),
                }
            }
            for bytes in &series.exemplars {
                batch.push_exemplar(reference, request.exemplar(bytes).map_err(damaged)?);
            }
        }
        if !batch.is_empty() {
            self.batches.push((tenant, batch));
        }
        Ok(())
    }
}

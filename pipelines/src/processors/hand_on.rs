//! How a processor that edits payloads ends: the edited batch goes to the next consumer, a payload that it cannot read is
//! refused in its name.

use std::fmt::Display;
use std::future::ready;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind};

use crate::{Batch, Consumer, PipelineError, PipelineResult};

/// `next` with the edited payload, or the refusal.
pub(super) fn hand_on(
    next: &dyn Consumer,
    mut batch: Batch,
    edited: PipelineResult<Bytes>,
) -> BoxFuture<'_, PipelineResult<AppendReport>> {
    match edited {
        Ok(payload) => {
            batch.payload = payload;
            next.consume(batch)
        }
        Err(error) => Box::pin(ready(Err(error))),
    }
}

/// The error of `processor`.
pub(super) fn refused(processor: &str, kind: ErrorKind, error: &dyn Display) -> PipelineError {
    PipelineError::new(kind, format!("{processor} processor: {error}"))
}

//! How an edit ends that is the same for many processors: the edited batch goes to the next consumer, a payload that it
//! cannot read is refused in its name.

use std::fmt::Display;
use std::future::ready;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind};
use runtime::Tasks;

use crate::off_thread::{INLINE_BYTES_MAX, off_thread_if_large};
use crate::{Batch, Consumer, PipelineError, PipelineResult};

/// `next` with the edited payload, or the refusal.
fn hand_on(
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

/// The same for edits that take long on large payloads, which leave the async threads for them.
pub(super) fn edit_and_hand_on<'a>(
    next: &'a dyn Consumer,
    tasks: &'a Tasks,
    name: &'static str,
    mut batch: Batch,
    edit: impl FnOnce(&Batch) -> PipelineResult<Bytes> + Send + 'static,
) -> BoxFuture<'a, PipelineResult<AppendReport>> {
    if batch.payload.len() <= INLINE_BYTES_MAX {
        let edited = edit(&batch);
        return hand_on(next, batch, edited);
    }
    Box::pin(async move {
        let copy = batch.clone();
        batch.payload = off_thread_if_large(tasks, batch.payload.len(), name, move || edit(&copy)).await?;
        next.consume(batch).await
    })
}

/// The error of `processor`.
pub(super) fn refused(processor: &str, kind: ErrorKind, error: &dyn Display) -> PipelineError {
    PipelineError::new(kind, format!("{processor} processor: {error}"))
}

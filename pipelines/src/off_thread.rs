//! The way off the async threads for work on payloads that takes long.

use model::ErrorKind;
use runtime::Tasks;

use crate::{ComponentId, PipelineError, PipelineResult};

/// Payloads up to this are edited where they come in: about 175 log records, which a program of a few statements is
/// through with in less than 500 µs.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;

/// Payloads up to this are joined and split where they come in: what is done is mostly copying, and takes some 100 µs.
pub(crate) const COPY_INLINE_BYTES_MAX: usize = 1 << 20;

/// Does `work` of an exporter away from the async threads. Work that did not come to an end may be done again: what a
/// queue on disk acknowledged must not be given up for it (DISKQ-1).
pub async fn off_thread<T: Send + 'static>(
    tasks: &Tasks,
    exporter: &ComponentId,
    name: &'static str,
    work: impl FnOnce() -> PipelineResult<T> + Send + 'static,
) -> PipelineResult<T> {
    let done = tasks.spawn_blocking(name, work).await;
    done.unwrap_or_else(|_| Err(undone(format!("exporter {exporter}: {name}"))))
}

/// Does `work` on a payload of `bytes` here when it is small, else on a thread that may be busy.
pub(crate) async fn off_thread_if_large<T: Send + 'static>(
    tasks: &Tasks,
    bytes: usize,
    name: &'static str,
    work: impl FnOnce() -> PipelineResult<T> + Send + 'static,
) -> PipelineResult<T> {
    off_thread_above(INLINE_BYTES_MAX, tasks, bytes, name, work).await
}

/// The same with a limit of its own.
pub(crate) async fn off_thread_above<T: Send + 'static>(
    inline_bytes_max: usize,
    tasks: &Tasks,
    bytes: usize,
    name: &'static str,
    work: impl FnOnce() -> PipelineResult<T> + Send + 'static,
) -> PipelineResult<T> {
    if bytes <= inline_bytes_max {
        return work();
    }
    tasks.spawn_blocking(name, work).await.unwrap_or_else(|_| Err(undone(name.to_owned())))
}

/// Nothing was done with the data, so that it may be sent again.
fn undone(what: String) -> PipelineError {
    PipelineError::new(ErrorKind::Unavailable, what + " was cancelled or panicked")
}

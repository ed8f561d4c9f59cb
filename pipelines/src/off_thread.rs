//! The way off the async threads for work on payloads that takes long.

use model::ErrorKind;
use runtime::Tasks;

use crate::{PipelineError, PipelineResult};

/// Payloads up to this are edited where they come in: about 175 log records, which a program of a few statements is
/// through with in less than 500 µs.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;

/// Does `work` on a payload of `bytes` here when it is small, else on a thread that may be busy.
pub(crate) async fn off_thread<T: Send + 'static>(
    tasks: &Tasks,
    bytes: usize,
    name: &'static str,
    work: impl FnOnce() -> PipelineResult<T> + Send + 'static,
) -> PipelineResult<T> {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    tasks.spawn_blocking(name, work).await.unwrap_or_else(|_| {
        // Nothing was done with the data, so that it may be sent again.
        Err(PipelineError::new(ErrorKind::Unavailable, format!("{name}: cancelled or panicked")))
    })
}

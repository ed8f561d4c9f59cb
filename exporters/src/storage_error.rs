//! How the errors of this process' own stores are told to a pipeline.

use pipelines::PipelineError;
use storage_api::StorageError;

/// A store's error with its kind, its text and its hint when to come again.
pub(crate) fn pipeline_error(error: StorageError) -> PipelineError {
    let told = PipelineError::new(error.kind(), error.to_string());
    match error.retry_after() {
        Some(after) => told.with_retry_after(after),
        None => told,
    }
}

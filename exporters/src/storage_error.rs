//! How the errors of this process' own stores are told to a pipeline, and so to whoever sent the data, and to whoever asks
//! for them: what is wrong, and not where on disk, which is in the log.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pipelines::PipelineError;
use storage_api::StorageError;

/// A store's error with its kind, its text and its hint when to come again. Folders stay here.
pub(crate) fn pipeline_error(error: StorageError) -> PipelineError {
    let told = PipelineError::new(error.kind(), for_clients(error.to_string()));
    match error.retry_after() {
        Some(after) => told.with_retry_after(after),
        None => told,
    }
}

/// The text of a store's error without folders. The log has the whole, at most once a second.
pub fn for_clients(whole: String) -> String {
    match without_folders(&whole) {
        Cow::Borrowed(_) => whole,
        Cow::Owned(text) => {
            if is_due() {
                tracing::error!(error = whole, "a store does not do what a client asks for");
            }
            text
        }
    }
}

/// Whether the last line in the log is a second old; every request of every sender could bring one.
fn is_due() -> bool {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    static LAST_SECOND: AtomicU64 = AtomicU64::new(u64::MAX);
    let second = BEGUN.get_or_init(Instant::now).elapsed().as_secs();
    LAST_SECOND.swap(second, Ordering::Relaxed) != second
}

/// The text with paths cut to their last part.
fn without_folders(text: &str) -> Cow<'_, str> {
    let is_path = |word: &str| {
        let rest = word.trim_start_matches('.');
        rest.starts_with('/') && !rest.starts_with("//") && word.len() - rest.len() <= 2 && rest.len() > 1
    };
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ':' | ',' | ';' | '(' | ')');
    if !text.split(is_end).any(is_path) {
        return Cow::Borrowed(text);
    }
    let cut = text.split_inclusive(is_end).map(|piece| {
        let word = piece.trim_end_matches(is_end);
        let (is_path, last) =
            (is_path(word), word.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
        if is_path { [last, &piece[word.len()..]].concat() } else { piece.to_owned() }
    });
    Cow::Owned(cut.collect())
}

#[cfg(test)]
mod tests;

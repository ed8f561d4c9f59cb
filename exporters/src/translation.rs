//! What exporters share that translate batches: translators of logs kept for the next batch, and the way off the async
//! threads for payloads that take long.

use model::ErrorKind;
use parking_lot::Mutex;
use pipelines::{ComponentId, PipelineError, PipelineResult};
use runtime::Tasks;
use wire::DecodeError;
use wire::otlp_to_loki::{Settings, Translated, Translator};

/// Does `work` away from the async threads. Work that did not come to an end may be done again: what a queue on disk
/// acknowledged must not be given up for it (DISKQ-1).
pub(crate) async fn off_thread<T: Send + 'static>(
    tasks: &Tasks,
    id: &ComponentId,
    name: &'static str,
    work: impl FnOnce() -> PipelineResult<T> + Send + 'static,
) -> PipelineResult<T> {
    tasks.spawn_blocking(name, work).await.unwrap_or_else(|_| {
        let message = format!("exporter {id}: {name} was cancelled or panicked");
        Err(PipelineError::new(ErrorKind::Unavailable, message))
    })
}

/// Translators of logs. Several batches are translated at a time, each by one that is idle or new; each holds a cache of
/// resources, of up to 8 MiB.
pub(crate) struct LogTranslators {
    settings: Settings,
    idle: Mutex<Vec<Translator>>,
    idle_max: usize,
}

impl LogTranslators {
    /// Keeps at most `idle_max` between batches.
    pub(crate) fn new(settings: Settings, idle_max: usize) -> Self {
        Self { settings, idle: Mutex::default(), idle_max }
    }

    pub(crate) fn translate(&self, payload: &[u8], now_ns: i64) -> Result<Translated, DecodeError> {
        let translator = self.idle.lock().pop();
        let mut translator = translator.unwrap_or_else(|| Translator::new(self.settings.clone()));
        let translated = translator.translate(payload, now_ns);
        let mut idle = self.idle.lock();
        if idle.len() < self.idle_max {
            idle.push(translator);
        }
        translated
    }
}

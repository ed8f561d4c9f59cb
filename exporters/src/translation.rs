//! What exporters share that translate batches of logs: translators kept for the next batch.

use parking_lot::Mutex;
use wire::DecodeError;
use wire::otlp_to_loki::{Settings, Translated, Translator};

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

//! What an answer says about itself besides its data: warnings, and infos of Prometheus. Told on standard error, so that
//! nobody takes an answer that misses something for a whole one, and what is piped on stays data.

use std::collections::BTreeSet;

use serde_json::Value;

/// What was told already: an answer that comes in several pages says the same on each.
#[derive(Debug, Default)]
pub(super) struct Notes {
    told: BTreeSet<String>,
}

impl Notes {
    /// Tells what `answer` says about itself, each text once.
    pub(super) fn tell(&mut self, answer: &Value) {
        for text in self.new_of(answer) {
            super::note(&text);
        }
    }

    fn new_of(&mut self, answer: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for kind in ["warnings", "infos"] {
            for text in answer[kind].as_array().into_iter().flatten() {
                let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
                let text = format!("{}: {text}", kind.trim_end_matches('s'));
                if self.told.insert(text.clone()) {
                    found.push(text);
                }
            }
        }
        found
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<&str> {
        self.told.iter().map(String::as_str).collect()
    }
}

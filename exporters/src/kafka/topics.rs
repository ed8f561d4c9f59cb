//! Topics that the data or its sender chose: only names that brokers take, and only so many of them, since the client
//! keeps what it knows about a topic for as long as it lives.

use hashbrown::HashSet;
use parking_lot::Mutex;

/// Most topics that an exporter writes to by the choice of others.
const TOPICS_MAX: usize = 10_000;

/// Longest name of a topic (`MAX_NAME_LENGTH` in org.apache.kafka.common.internals.Topic).
const NAME_BYTES_MAX: usize = 249;

/// Topics that were chosen so far.
#[derive(Default)]
pub(super) struct Topics(Mutex<HashSet<Box<str>>>);

impl Topics {
    /// An error says what is wrong with a topic.
    pub(super) fn check(&self, topic: &str) -> Result<(), String> {
        let mut known = self.0.lock();
        if known.contains(topic) {
            return Ok(());
        }
        if !is_name(topic) {
            let start: String = topic.chars().take(60).collect();
            return Err(format!(
                "{start:?} is not a name, want 1 to {NAME_BYTES_MAX} letters, digits, dots, underscores and hyphens"
            ));
        }
        if known.len() >= TOPICS_MAX {
            return Err(format!("{topic:?} would be one more than {TOPICS_MAX}"));
        }
        known.insert(topic.into());
        Ok(())
    }
}

/// Whether brokers take the name.
fn is_name(topic: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&topic.len())
        && topic != "."
        && topic != ".."
        && topic.bytes().all(is_letter)
}

#[cfg(test)]
mod tests;

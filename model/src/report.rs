//! What became of the items of a batch.

/// What became of the items of a batch: those stored, and those refused with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// Items stored durably; an exact duplicate of a stored item counts as stored.
    pub stored: u64,
    /// Items refused, by reason; retrying them cannot help.
    pub rejected: Vec<Rejection>,
}

/// Items refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Short stable name of the reason for metrics, e.g. `out_of_order`.
    pub reason: &'static str,
    /// How many items.
    pub count: u64,
    /// Sentence for the sender, naming one example, e.g. which series and timestamp.
    pub message: String,
}

/// Longest message to a sender, bytes. Messages name what they refuse, and what is refused may be large.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// A message to a sender, without what is past [`MESSAGE_BYTES_MAX`].
pub fn cut_message(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let whole = message.len();
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push_str(&format!("… (the first {end} of {whole} bytes)"));
    }
    message
}

impl AppendReport {
    /// Counts `count` items as refused for `reason`; the message of the first is kept.
    pub fn reject(&mut self, reason: &'static str, count: u64, message: impl FnOnce() -> String) {
        match self.rejected.iter_mut().find(|r| r.reason == reason) {
            Some(rejection) => rejection.count += count,
            None => self.rejected.push(Rejection { reason, count, message: cut_message(message()) }),
        }
    }

    /// Adds another report to this one.
    pub fn merge(&mut self, other: Self) {
        self.stored += other.stored;
        for rejection in other.rejected {
            let Rejection { reason, count, message } = rejection;
            self.reject(reason, count, || message);
        }
    }

    /// All refused items together.
    pub fn rejected_count(&self) -> u64 {
        self.rejected.iter().map(|r| r.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{AppendReport, cut_message};

    #[test]
    fn a_message_does_not_repeat_a_large_input() {
        assert_eq!(cut_message("short".to_owned()), "short");
        let mut report = AppendReport::default();
        report.reject("too_long", 1, || "ü".repeat(100_000));
        let message = &report.rejected[0].message;
        assert!(message.len() < 1100 && message.starts_with('ü'), "{} bytes", message.len());
        assert!(message.ends_with("… (the first 1024 of 200000 bytes)"), "{message}");
        report.merge(AppendReport::default());
        assert_eq!(report.rejected_count(), 1);
    }
}

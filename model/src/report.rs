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

impl AppendReport {
    /// Counts `count` items as refused for `reason`; the message of the first is kept.
    pub fn reject(&mut self, reason: &'static str, count: u64, message: impl FnOnce() -> String) {
        match self.rejected.iter_mut().find(|r| r.reason == reason) {
            Some(rejection) => rejection.count += count,
            None => self.rejected.push(Rejection { reason, count, message: message() }),
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

//! What the log says of a destination that is away: the first failure, then at most one line a minute, and its return.
//!
//! Without it a queue would fill in silence: nothing counts as failed while it is tried again. A destination that fails
//! now and then gets a pair of lines a minute at most.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::throttle::Throttle;
use crate::{ComponentId, PipelineError};

/// The failures of one exporter's destination.
pub struct Outage {
    exporter: ComponentId,
    failures: Throttle<()>,
    /// The log's last word on the destination is that it fails.
    is_told: AtomicBool,
}

impl Outage {
    /// For the destination of an exporter.
    pub fn new(exporter: &ComponentId) -> Self {
        Self { exporter: exporter.clone(), failures: Throttle::default(), is_told: AtomicBool::new(false) }
    }

    /// An attempt failed and the next one comes after `wait`.
    pub(super) fn failed(&self, error: &PipelineError, wait: Duration) {
        let exporter = &self.exporter;
        match self.note_failure() {
            Some(failures) => {
                tracing::warn!(%exporter, failures, %error, next_attempt_in = ?wait, "exporting failed, trying again");
            }
            None => {
                tracing::debug!(%exporter, %error, next_attempt_in = ?wait, "exporting failed, trying again")
            }
        }
    }

    /// An attempt succeeded.
    pub(super) fn works(&self) {
        if self.note_success() {
            tracing::info!(exporter = %self.exporter, "exporting works again");
        }
    }

    /// How many failures are to be told now, if any.
    fn note_failure(&self) -> Option<u64> {
        let told = self.failures.add((), 1);
        if told.is_some() {
            self.is_told.store(true, Ordering::Relaxed);
        }
        told
    }

    /// Whether it is to be told that the destination is back.
    fn note_success(&self) -> bool {
        // Read first: every delivery comes here, and hardly one after a failure.
        self.is_told() && self.is_told.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;

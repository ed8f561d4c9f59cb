//! Whether somebody still waits for an answer.
//!
//! Queries look through files on threads that block, which nobody can end from outside. When the future that waits for
//! them is dropped, because the query's time is over or its client left, they are told, and end before the next set of files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{LogStoreError, LogStoreResult};

/// Told to the work for a query when nobody waits for it any more.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

/// Held by who waits; tells the work when it is dropped.
pub(super) struct Waiting(Stop);

impl Stop {
    /// A flag and what sets it.
    pub(super) fn new() -> (Self, Waiting) {
        let stop = Self::default();
        (stop.clone(), Waiting(stop))
    }

    /// Fails once nobody waits.
    pub(super) fn check(&self) -> LogStoreResult<()> {
        if self.0.load(Ordering::Relaxed) { Err(LogStoreError::canceled()) } else { Ok(()) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

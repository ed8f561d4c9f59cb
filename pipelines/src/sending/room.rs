//! The capacity of a sending queue: who may put how much into it, and who waits for room.
//!
//! Invariant QUEUE-1: what waits and what is being delivered together never exceed the capacity, because a batch keeps
//! its share until its consumer is done with it. Only what a restart found on disk may be more; then nothing new is
//! taken until it is delivered.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// A capacity in some unit, shared out fairly.
pub(super) struct Room {
    free: Arc<Semaphore>,
    capacity: u64,
    /// Taken past the capacity; paid back before anything becomes free.
    debt: Mutex<u64>,
}

/// Why there is no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// There is no room now.
    Full,
    /// The batch alone is larger than the whole queue.
    TooLarge,
    /// The queue was closed.
    Closed,
}

impl Room {
    /// Room for `capacity` units, at least one.
    pub(super) fn new(capacity: u64) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(capacity)), capacity: capacity as u64, debt: Mutex::new(0) }
    }

    /// Units in use.
    pub(super) fn used(&self) -> u64 {
        let free = self.free.available_permits() as u64;
        self.capacity.saturating_sub(free).saturating_add(*self.debt.lock())
    }

    /// Takes `size` units; with `wait`, waits for them. Given back when dropped, unless it is forgotten. Cancel-safe.
    pub(super) async fn take(&self, size: u64, wait: bool) -> Result<OwnedSemaphorePermit, PushError> {
        let units = u32::try_from(size.max(1)).map_err(|_| PushError::TooLarge)?;
        if u64::from(units) > self.capacity {
            return Err(PushError::TooLarge);
        }
        let free = Arc::clone(&self.free);
        if wait {
            return free.acquire_many_owned(units).await.map_err(|_| PushError::Closed);
        }
        free.try_acquire_many_owned(units).map_err(|error| match error {
            TryAcquireError::Closed => PushError::Closed,
            TryAcquireError::NoPermits => PushError::Full,
        })
    }

    /// Takes `size` units even when they are not there.
    pub(super) fn take_unchecked(&self, size: u64) {
        let mut debt = self.debt.lock();
        let wanted = usize::try_from(size.max(1)).unwrap_or(usize::MAX);
        let taken = self.free.forget_permits(wanted);
        *debt += (wanted - taken) as u64;
    }

    /// Gives `size` units back that were forgotten or taken unchecked.
    pub(super) fn give_back(&self, size: u64) {
        let mut debt = self.debt.lock();
        let paid = size.max(1).min(*debt);
        *debt -= paid;
        let free = usize::try_from(size.max(1) - paid).unwrap_or(usize::MAX);
        self.free.add_permits(free.min(Semaphore::MAX_PERMITS - self.free.available_permits()));
    }

    /// Whoever waits, and whoever comes, is told that the queue is closed.
    pub(super) fn close(&self) {
        self.free.close();
    }
}

//! The waiting line of a sending queue: bounded, first in first out, many producers and consumers.
//!
//! Invariant QUEUE-1: what waits and what is being delivered together never exceed the capacity, because an entry
//! keeps its share of the capacity until its consumer is done with it. When the line is full a producer is refused or
//! waits, by configuration. Everything here is in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded line of `T`.
pub(crate) struct Line<T> {
    /// Free capacity, in the sizer's unit.
    room: Arc<Semaphore>,
    capacity: usize,
    /// One permit for each entry in `waiting`.
    ready: Semaphore,
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    entries: VecDeque<Entry<T>>,
    /// Under the same lock as the entries, so that nothing is added after the last consumer saw the end.
    closed: bool,
}

/// An entry and its share of the capacity, given back when dropped.
pub(crate) struct Entry<T> {
    pub(crate) item: T,
    _share: OwnedSemaphorePermit,
}

impl<T> Entry<T> {
    /// Gives the share of the capacity back and hands out what was queued.
    pub(crate) fn into_item(self) -> T {
        self.item
    }
}

/// Why an entry was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// There is no room now.
    Full,
    /// The entry alone is larger than the whole line.
    TooLarge,
    /// The line was closed.
    Closed,
}

impl<T> Line<T> {
    /// A line of `capacity` units, at least one.
    pub(crate) fn new(capacity: u64) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
            ready: Semaphore::new(0),
            waiting: Mutex::new(Waiting { entries: VecDeque::new(), closed: false }),
        }
    }

    /// Units in use.
    pub(crate) fn size(&self) -> usize {
        self.capacity - self.room.available_permits().min(self.capacity)
    }

    /// Adds an entry of `size` units; with `wait`, waits for room. Cancel-safe: a dropped wait adds nothing.
    pub(crate) async fn push(&self, item: T, size: u64, wait: bool) -> Result<(), PushError> {
        let size = u32::try_from(size.max(1)).map_err(|_| PushError::TooLarge)?;
        if size as usize > self.capacity {
            return Err(PushError::TooLarge);
        }
        let room = Arc::clone(&self.room);
        let share = if wait {
            room.acquire_many_owned(size).await.map_err(|_| PushError::Closed)?
        } else {
            room.try_acquire_many_owned(size).map_err(|error| match error {
                tokio::sync::TryAcquireError::Closed => PushError::Closed,
                tokio::sync::TryAcquireError::NoPermits => PushError::Full,
            })?
        };
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(PushError::Closed);
            }
            waiting.entries.push_back(Entry { item, _share: share });
        }
        self.ready.add_permits(1);
        Ok(())
    }

    /// Takes the oldest entry, waiting for one; `None` when the line is closed and empty. Cancel-safe.
    pub(crate) async fn pop(&self) -> Option<Entry<T>> {
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        // After the close no permit is given, and what is left is taken until nothing is.
        self.waiting.lock().entries.pop_front()
    }

    /// Takes nothing more; what waits can still be popped.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.room.close();
        self.ready.close();
    }

    /// Removes everything that waits.
    pub(crate) fn drain(&self) -> Vec<Entry<T>> {
        self.waiting.lock().entries.drain(..).collect()
    }
}

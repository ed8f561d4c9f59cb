//! The waiting line of a sending queue in memory: bounded, first in first out, many producers and consumers.
//!
//! Its bound is a [`Room`]: when it is full a producer is refused or waits, by configuration.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::room::{PushError, Room};

/// A bounded line of `T`.
pub(super) struct Line<T> {
    room: Room,
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
pub(super) struct Entry<T> {
    pub(super) item: T,
    pub(super) share: OwnedSemaphorePermit,
}

impl<T> Line<T> {
    /// A line of `capacity` units, at least one.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            room: Room::new(capacity),
            ready: Semaphore::new(0),
            waiting: Mutex::new(Waiting { entries: VecDeque::new(), closed: false }),
        }
    }

    /// Units in use.
    pub(super) fn size(&self) -> u64 {
        self.room.used()
    }

    /// Adds an entry of `size` units; with `wait`, waits for room. Cancel-safe: a dropped wait adds nothing.
    pub(super) async fn push(&self, item: T, size: u64, wait: bool) -> Result<(), PushError> {
        let share = self.room.take(size, wait).await?;
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(PushError::Closed);
            }
            waiting.entries.push_back(Entry { item, share });
        }
        self.ready.add_permits(1);
        Ok(())
    }

    /// Takes the oldest entry, waiting for one; `None` when the line is closed and empty. Cancel-safe.
    pub(super) async fn pop(&self) -> Option<Entry<T>> {
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        // After the close no permit is given, and what is left is taken until nothing is.
        self.waiting.lock().entries.pop_front()
    }

    /// Takes nothing more; what waits can still be popped.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.room.close();
        self.ready.close();
    }

    /// Removes everything that waits.
    pub(super) fn drain(&self) -> Vec<Entry<T>> {
        self.waiting.lock().entries.drain(..).collect()
    }
}

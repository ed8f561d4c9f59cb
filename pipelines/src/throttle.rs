//! Log lines that would repeat: of each kind the first is told, then at most one a minute, with how many came since.
//!
//! Kinds come from closed sets (reasons, error codes): they are few, and none is forgotten.

use std::hash::Hash;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Shortest time between two lines of one kind.
const QUIET: Duration = Duration::from_secs(60);

/// Decides which events are told.
pub struct Throttle<K>(Mutex<HashMap<K, Kind>>);

struct Kind {
    untold: u64,
    told: Instant,
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Throttle<K> {
    /// Adds `count` events of a kind. Gives the count to tell, if it is time to tell: those since the last time.
    pub fn add(&self, kind: K, count: u64) -> Option<u64> {
        let (now, mut kinds) = (Instant::now(), self.0.lock());
        let Some(known) = kinds.get_mut(&kind) else {
            kinds.insert(kind, Kind { untold: 0, told: now });
            return Some(count);
        };
        known.untold += count;
        let is_due = now.duration_since(known.told) >= QUIET;
        is_due.then(|| {
            known.told = now;
            std::mem::take(&mut known.untold)
        })
    }
}

#[cfg(test)]
mod tests;

//! What was sent and what became of it: a few words for each request, from which every item can be made again.

use std::collections::HashMap;
use std::hash::Hash;

/// What the target said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged in full: all of it must be readable.
    Acked,
    /// So many of its items were refused, nobody knows which; the others must be readable.
    Partly {
        /// How many.
        rejected: u32,
    },
    /// Refused or never answered: its items may or may not be stored, and neither is a fault.
    Uncertain,
}

impl Outcome {
    /// How many of a request's `items` must be there.
    pub(crate) fn required(self, items: u64) -> u64 {
        match self {
            Self::Acked => items,
            Self::Partly { rejected } => items.saturating_sub(u64::from(rejected)),
            Self::Uncertain => 0,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Which of the worker's templates.
    pub(crate) template: u32,
    /// How often that template was sent before.
    pub(crate) round: u64,
    /// Timestamp of the first item, ns since the Unix epoch.
    pub(crate) time_ns: i64,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// Everything one connection sent, in order.
pub(crate) type Ledger = Vec<Sent>;

/// Items that are missing of requests that were taken in part, by request.
#[derive(Debug)]
pub(crate) struct Missing<K>(HashMap<K, (u64, u32)>);

impl<K> Default for Missing<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Missing<K> {
    /// Another item of `request` is missing; whether that alone says that it is lost.
    pub(crate) fn add(&mut self, request: K, outcome: Outcome) -> bool {
        if let Outcome::Partly { rejected } = outcome {
            self.0.entry(request).or_insert((0, rejected)).0 += 1;
        }
        outcome == Outcome::Acked
    }

    /// Items that are missing and were not refused.
    pub(crate) fn lost(&self) -> u64 {
        self.0.values().map(|(missing, rejected)| missing.saturating_sub(u64::from(*rejected))).sum()
    }
}

#[cfg(test)]
mod tests;

//! Several deliveries that make up one batch, and what is remembered of those that succeeded when others did not.
//!
//! Deliveries work side by side. Invariant SETTLED-1: a delivery that was acknowledged is not made again when the sender,
//! told of another one's failure, sends the same bytes again. For that the outcome of each delivery is remembered by a
//! 128-bit hash, but only for batches that failed somewhere: the memory is empty, and costs one load, while all is well.
//! It is bounded by [`REMEMBERED_MAX`] batches and by [`RETRY_WINDOW`]; what is forgotten is delivered to everybody
//! again, as it would be without this memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hashbrown::HashMap;
use model::AppendReport;
use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::{Batch, Consumer, PipelineError, PipelineResult};

/// Batches whose partial delivery is remembered: more than a hundred senders with ten requests in flight each, at
/// some 200 bytes.
pub(crate) const REMEMBERED_MAX: usize = 1024;

/// How long equal bytes of the same sender are a retry: the longest interval of the collector's retries (30 s and half
/// of it as jitter) and time for the attempt. Later they are an event that happens to look the same.
pub(crate) const RETRY_WINDOW: Duration = Duration::from_secs(60);

/// What a delivery came to for good: it has the batch, or will never take it.
pub(crate) type Settled = Result<AppendReport, PipelineError>;

/// Outcomes of batches that failed somewhere.
#[derive(Default)]
pub(crate) struct Outcomes {
    memory: Mutex<Memory>,
    /// Length of the memory, readable without its lock.
    len: AtomicUsize,
}

#[derive(Default)]
struct Memory {
    by_key: HashMap<u128, Vec<Option<Settled>>>,
    /// The same keys, and when they were remembered.
    oldest_first: VecDeque<(u128, Instant)>,
}

/// One delivery of a batch.
pub(crate) type Part<'a> = (&'a dyn Consumer, Batch);

impl Outcomes {
    /// Makes those deliveries that earlier attempts with the same `key` left open, and returns what became of each; the
    /// error is one that a later attempt may not meet.
    pub(crate) async fn deliver(
        &self,
        key: impl Fn() -> u128,
        parts: Vec<Part<'_>>,
    ) -> PipelineResult<Vec<Settled>> {
        let mut settled = self.recall(&key).unwrap_or_else(|| vec![None; parts.len()]);
        let open = parts.into_iter().enumerate().filter(|(index, _)| settled[*index].is_none());
        let (indexes, open): (Vec<usize>, Vec<Part<'_>>) = open.unzip();
        let outcomes = join_all(open.into_iter().map(|(to, batch)| to.consume(batch))).await;
        let mut again: Option<PipelineError> = None;
        for (index, outcome) in indexes.into_iter().zip(outcomes) {
            match outcome {
                Err(error) if error.kind().is_retryable() => {
                    // Of several hints the longest: by then everybody may be ready.
                    let longer = again.as_ref().is_none_or(|known| known.retry_after() < error.retry_after());
                    if longer {
                        again = Some(error);
                    }
                }
                outcome => settled[index] = Some(outcome),
            }
        }
        if let Some(error) = again {
            if settled.iter().any(Option::is_some) {
                self.remember(key(), settled);
            }
            return Err(error);
        }
        Ok(settled.into_iter().flatten().collect())
    }

    /// What earlier attempts settled, taken out of the memory.
    fn recall(&self, key: impl Fn() -> u128) -> Option<Vec<Option<Settled>>> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let key = key();
        let mut memory = self.memory.lock();
        memory.forget(Instant::now());
        let found = memory.take(key);
        self.len.store(memory.by_key.len(), Ordering::Release);
        found
    }

    fn remember(&self, key: u128, settled: Vec<Option<Settled>>) {
        let at = Instant::now();
        let mut memory = self.memory.lock();
        memory.take(key);
        memory.by_key.insert(key, settled);
        memory.oldest_first.push_back((key, at));
        memory.forget(at);
        self.len.store(memory.by_key.len(), Ordering::Release);
    }
}

impl Memory {
    fn take(&mut self, key: u128) -> Option<Vec<Option<Settled>>> {
        let found = self.by_key.remove(&key)?;
        self.oldest_first.retain(|(known, _)| *known != key);
        Some(found)
    }

    /// Drops what is too old or too much, the oldest first.
    fn forget(&mut self, now: Instant) {
        let is_surplus = |at: Instant, len| len > REMEMBERED_MAX || now.duration_since(at) > RETRY_WINDOW;
        while let Some(&(key, at)) = self.oldest_first.front()
            && is_surplus(at, self.by_key.len())
        {
            self.oldest_first.pop_front();
            self.by_key.remove(&key);
        }
    }
}

/// What tells batches apart: who sent them, whose they are, and their bytes.
pub(crate) fn key(batch: &Batch) -> Xxh3 {
    let mut hash = Xxh3::with_seed(batch.signal as u64);
    hash.update(batch.tenant.as_str().as_bytes());
    // Neither a tenant id nor an address contains a zero byte, so that the parts cannot run into each other.
    hash.update(&[0]);
    hash.update(batch.client.address.as_deref().unwrap_or_default().as_bytes());
    hash.update(&[0]);
    hash.update(&batch.payload);
    hash
}

//! One batch to several destinations, acknowledged when all of them have it.
//!
//! Destinations work side by side on the same shared bytes. Invariant FANOUT-1: a destination that acknowledged a batch
//! is not given it again when its sender, told of another destination's failure, sends the same bytes again. For that
//! the outcome of each destination is remembered by a 128-bit hash of tenant, signal and payload, but only for batches
//! that failed somewhere: the memory is empty, and costs one load, while all is well. It is bounded by
//! [`REMEMBERED_MAX`] batches; the oldest is forgotten first, and then its retry reaches every destination again, as it
//! would without this memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, join_all};
use hashbrown::HashMap;
use model::AppendReport;
use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use crate::{Batch, Consumer, PipelineError, PipelineResult};

/// Batches whose partial delivery is remembered: more than a hundred senders with ten requests in flight each, at
/// some 200 bytes.
const REMEMBERED_MAX: usize = 1024;

/// Gives every batch to each of its destinations.
pub(crate) struct FanOut {
    destinations: Vec<Arc<dyn Consumer>>,
    partial: Mutex<Partial>,
    /// Length of the memory, readable without its lock.
    partial_len: AtomicUsize,
}

/// What a destination said for good: it has the batch, or will never take it.
type Settled = Result<AppendReport, PipelineError>;

#[derive(Default)]
struct Partial {
    outcomes: HashMap<u128, Vec<Option<Settled>>>,
    oldest_first: VecDeque<u128>,
}

impl FanOut {
    /// A consumer in front of `destinations`; a single one is returned as it is.
    pub(crate) fn over(mut destinations: Vec<Arc<dyn Consumer>>) -> Arc<dyn Consumer> {
        if destinations.len() == 1
            && let Some(only) = destinations.pop()
        {
            return only;
        }
        Arc::new(Self { destinations, partial: Mutex::default(), partial_len: AtomicUsize::new(0) })
    }

    /// What earlier attempts with the same bytes settled, taken out of the memory.
    fn recall(&self, batch: &Batch) -> Vec<Option<Settled>> {
        if self.partial_len.load(Ordering::Acquire) > 0 {
            let mut partial = self.partial.lock();
            let key = key(batch);
            if let Some(outcomes) = partial.outcomes.remove(&key) {
                partial.oldest_first.retain(|&known| known != key);
                self.partial_len.store(partial.outcomes.len(), Ordering::Release);
                return outcomes;
            }
        }
        vec![None; self.destinations.len()]
    }

    fn remember(&self, batch: &Batch, outcomes: Vec<Option<Settled>>) {
        let mut partial = self.partial.lock();
        let key = key(batch);
        if partial.outcomes.insert(key, outcomes).is_none() {
            partial.oldest_first.push_back(key);
        }
        if partial.outcomes.len() > REMEMBERED_MAX
            && let Some(oldest) = partial.oldest_first.pop_front()
        {
            partial.outcomes.remove(&oldest);
        }
        self.partial_len.store(partial.outcomes.len(), Ordering::Release);
    }

    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let mut settled = self.recall(&batch);
        let open: Vec<usize> = (0..settled.len()).filter(|&index| settled[index].is_none()).collect();
        let outcomes =
            join_all(open.iter().map(|&index| self.destinations[index].consume(batch.clone()))).await;
        let mut again: Option<PipelineError> = None;
        for (index, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Err(error) if error.kind().is_retryable() => {
                    // Of several hints the longest: by then every destination may be ready.
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
                self.remember(&batch, settled);
            }
            return Err(error);
        }
        combine(settled.into_iter().flatten())
    }
}

impl Consumer for FanOut {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

fn key(batch: &Batch) -> u128 {
    let mut hash = Xxh3::with_seed(batch.signal as u64);
    hash.update(batch.tenant.as_str().as_bytes());
    // No tenant id contains a zero byte, so tenant and payload cannot run into each other.
    hash.update(&[0]);
    hash.update(&batch.payload);
    hash.digest128()
}

/// One answer out of those of all destinations: a failure if one failed; else refusals as the destination that
/// refused most told them, so that an item that two destinations refuse counts once.
fn combine(settled: impl Iterator<Item = Settled>) -> PipelineResult<AppendReport> {
    let mut all: Option<AppendReport> = None;
    for outcome in settled {
        let report = outcome?;
        let Some(all) = &mut all else {
            all = Some(report);
            continue;
        };
        all.stored = all.stored.min(report.stored);
        for rejection in report.rejected {
            match all.rejected.iter_mut().find(|known| known.reason == rejection.reason) {
                Some(known) if known.count < rejection.count => *known = rejection,
                Some(_) => {}
                None => all.rejected.push(rejection),
            }
        }
    }
    Ok(all.unwrap_or_default())
}

#[cfg(test)]
mod tests;

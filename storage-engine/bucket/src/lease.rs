//! Work that has one owner among several processes, by an object that only one can create.
//!
//! A lease is a row of generations, `tidegate/leases/<name>/<generation>`, each written with "if there is none" and
//! never changed, which every kind of store can do. The newest generation counts; it names its owner and its end.
//! Taking, keeping and giving back the lease are all the creation of the next generation, which exactly one succeeds in.
//!
//! LEASE-1: of all who try to follow the same generation one does. A process that was stopped for longer than its lease
//! may still believe that it is the owner, so work under a lease must be right even when two do it; the lease only saves
//! doing it twice.

use std::sync::Arc;

use runtime::Clock;
use serde::{Deserialize, Serialize};

use crate::filenames::LEASES;
use crate::{Bucket, BucketError, BucketResult};

/// Bytes of a generation that are read at most.
const BYTES_MAX: u64 = 64 << 10;

/// A generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseState {
    /// Who has it.
    pub owner: String,
    /// Until when, ms since 1970; in the past when it was given back.
    pub until_ms: i64,
}

/// A lease as one process sees it.
pub struct Lease {
    bucket: Bucket,
    clock: Arc<dyn Clock>,
    folder: String,
    owner: String,
    duration_ms: i64,
    /// The generation that this process made last, if it is the owner.
    held: Option<(u64, i64)>,
}

impl Lease {
    /// The lease `name` for `owner`, who must be another in each process. It lasts `duration_ms` from each [`Self::take`].
    pub fn new(bucket: Bucket, clock: Arc<dyn Clock>, name: &str, owner: String, duration_ms: i64) -> Self {
        Self { bucket, clock, folder: format!("{LEASES}/{name}"), owner, duration_ms, held: None }
    }

    /// Whether this process has it now, by its own clock.
    pub fn is_held(&self) -> bool {
        self.held.is_some_and(|(_, until_ms)| self.clock.now_ms() < until_ms)
    }

    /// Takes the lease, or keeps it for longer. `None` when this process has it then, else who has.
    pub async fn take(&mut self) -> BucketResult<Option<LeaseState>> {
        let now_ms = self.clock.now_ms();
        let newest = self.newest().await?;
        let next = match &newest {
            None => 1,
            Some((generation, state)) => {
                if state.owner != self.owner && now_ms < state.until_ms {
                    self.held = None;
                    return Ok(Some(state.clone()));
                }
                generation + 1
            }
        };
        let until_ms = now_ms.saturating_add(self.duration_ms);
        let created = self.create(next, until_ms).await?;
        // Who was slow may have made a generation anew that was followed and removed: the newest counts.
        let generations = self.generations().await?;
        if created && generations.iter().max() == Some(&next) {
            self.held = Some((next, until_ms));
            self.forget(&generations, next).await;
            return Ok(None);
        }
        self.held = None;
        let winner = self.newest().await?.map(|(_, state)| state);
        Ok(Some(winner.unwrap_or(LeaseState { owner: String::new(), until_ms: now_ms })))
    }

    /// Gives the lease back, so that another need not wait for its end.
    pub async fn give_back(&mut self) -> BucketResult<()> {
        if let Some((generation, _)) = self.held.take() {
            self.create(generation + 1, 0).await?;
        }
        Ok(())
    }

    async fn create(&self, generation: u64, until_ms: i64) -> BucketResult<bool> {
        let state = LeaseState { owner: self.owner.clone(), until_ms };
        let bytes = serde_json::to_vec(&state).expect("all keys are text");
        self.bucket.put_if_absent(&self.name(generation), bytes).await
    }

    fn name(&self, generation: u64) -> String {
        format!("{}/{generation:020}", self.folder)
    }

    async fn generations(&self) -> BucketResult<Vec<u64>> {
        let objects = self.bucket.list(Some(&self.folder)).await?;
        let number = |name: &str| name.rsplit('/').next()?.parse().ok();
        Ok(objects.iter().filter_map(|object| number(&object.name)).collect())
    }

    async fn newest(&self) -> BucketResult<Option<(u64, LeaseState)>> {
        let Some(generation) = self.generations().await?.into_iter().max() else { return Ok(None) };
        let name = self.name(generation);
        let Some(bytes) = self.bucket.get_if_there(&name, BYTES_MAX).await? else {
            return Err(BucketError::conflict(name, "it was followed meanwhile; look again"));
        };
        let state = serde_json::from_slice(&bytes)
            .map_err(|error| BucketError::corrupt(name, format!("it is no lease: {error}")))?;
        Ok(Some((generation, state)))
    }

    /// Removes generations that were followed. The last two stay: who listed a moment ago must find what it listed.
    async fn forget(&self, generations: &[u64], newest: u64) {
        for generation in generations.iter().filter(|generation| **generation + 1 < newest) {
            if let Err(error) = self.bucket.delete(&self.name(*generation)).await {
                tracing::debug!(%error, "an old generation of a lease stays for now");
            }
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("folder", &self.folder)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! From the hash of a point's wire bytes to its series in the store.
//!
//! Senders repeat themselves: the point behind this one was behind it the last time, too. Each entry therefore names the
//! entry that followed it, so that a look-up in the steady state compares one key that lies next to the last one in
//! memory, without a lock; only when that is not the one a table is asked, at two cache misses of the CPU.
//! Invariant CACHE-1: it is bounded. There are two generations; when the young one is full it becomes the old one and the
//! former old one is dropped, so that series in use move over on their next look-up and those that ended go away.
//! Forgetting costs a look-up in the store, nothing else.

mod generation;

use std::sync::Arc;

use model::{ErrorKind, Labels, MetricMetadata, TenantId};
use parking_lot::RwLock;
use pipelines::PipelineError;
use storage_api::{MetricsAppender, SeriesRef, StorageError};
use wire::DecodeError;
use wire::otlp_to_prometheus::{Resolved, SeriesKey, SeriesResolver};
use xxhash_rust::xxh3::xxh3_128;

use self::generation::{Generation, Run, Slot};
use super::columns::{Handle, Resend};
use crate::storage_error::pipeline_error;

/// The cache, for all tenants.
pub(super) struct SeriesCache {
    generations: RwLock<Generations>,
    refs_max: usize,
}

#[derive(Clone)]
struct Generations {
    young: Arc<Generation>,
    old: Option<Arc<Generation>>,
}

/// A walk over the cache in the order of a request.
struct Walk<'a> {
    cache: &'a SeriesCache,
    at: Generations,
    /// The entry in the young generation that was found last.
    last: Option<Slot>,
}

impl SeriesCache {
    /// A cache of up to `refs_max` references in each of two generations.
    pub(super) fn new(refs_max: usize) -> Self {
        let young = Arc::new(Generation::new(refs_max));
        Self { generations: RwLock::new(Generations { young, old: None }), refs_max }
    }

    fn walk(&self) -> Walk<'_> {
        Walk { cache: self, at: self.generations.read().clone(), last: None }
    }

    /// The generations after `full` was found full.
    fn turn(&self, full: &Arc<Generation>) -> Generations {
        let mut generations = self.generations.write();
        if Arc::ptr_eq(&generations.young, full) {
            let young = Arc::new(Generation::new(self.refs_max));
            generations.old = Some(std::mem::replace(&mut generations.young, young));
        }
        generations.clone()
    }
}

impl Walk<'_> {
    /// Calls `found` with the run of `key`, if it is there.
    #[inline]
    fn with(&mut self, key: u128, found: impl FnOnce(&[SeriesRef])) -> bool {
        let expected = self.last.and_then(|last| self.at.young.follower(last, key));
        if let Some((slot, run)) = expected {
            self.last = Some(slot);
            found(run);
            return true;
        }
        self.search(key, found)
    }

    fn search(&mut self, key: u128, found: impl FnOnce(&[SeriesRef])) -> bool {
        if let Some(slot) = self.at.young.find(key) {
            self.follow(slot);
            found(self.at.young.run(slot));
            return true;
        }
        let Some(old) = self.at.old.clone() else { return false };
        let Some(slot) = old.find(key) else { return false };
        self.put(key, old.run(slot));
        found(old.run(slot));
        true
    }

    fn put(&mut self, key: u128, run: &[SeriesRef]) {
        loop {
            if let Some(slot) = self.at.young.put(key, Run::new(run)) {
                return self.follow(slot);
            }
            self.at = self.cache.turn(&self.at.young);
            self.last = None;
        }
    }

    fn follow(&mut self, slot: Slot) {
        if let Some(last) = self.last.replace(slot) {
            self.at.young.link(last, slot);
        }
    }
}

/// Resolves the series of one request, from the cache or in the store.
pub(super) struct StoreResolver<'a> {
    walk: Walk<'a>,
    appender: &'a dyn MetricsAppender,
    tenant: &'a TenantId,
    /// Mixed into every key: tenants have series of their own.
    tenant_key: u128,
    /// Look-ups that must not be answered from the cache.
    forgotten: Option<&'a Resend>,
    /// Number of the look-up under way.
    ordinal: u32,
    handles: Vec<Handle>,
}

/// A failure of the whole request.
pub(super) struct ResolveError(pub(super) PipelineError);

impl From<DecodeError> for ResolveError {
    fn from(error: DecodeError) -> Self {
        Self(error.into())
    }
}

impl<'a> StoreResolver<'a> {
    pub(super) fn new(
        cache: &'a SeriesCache,
        appender: &'a dyn MetricsAppender,
        tenant: &'a TenantId,
        forgotten: Option<&'a Resend>,
    ) -> Self {
        let tenant_key = xxh3_128(tenant.as_str().as_bytes());
        let (walk, handles) = (cache.walk(), Vec::new());
        Self { walk, appender, tenant, tenant_key, forgotten, ordinal: u32::MAX, handles }
    }

    /// The one series of a key that was inserted before, for `points` points, which get the ordinals from the first one
    /// on that is returned.
    #[inline]
    pub(super) fn find_one(&mut self, key: u128, points: u32) -> (u32, Option<SeriesRef>) {
        let first = self.ordinal.wrapping_add(1);
        self.ordinal = self.ordinal.wrapping_add(points);
        let is_forgotten = |forgotten: &Resend| (0..points).any(|point| forgotten.concerns(first + point));
        if self.forgotten.is_some_and(is_forgotten) {
            return (first, None);
        }
        let mut found = None;
        self.walk.with(key ^ self.tenant_key, |run| found = run.first().copied());
        (first, found)
    }

    /// Makes the one series of a key.
    pub(super) fn make_one(
        &mut self,
        key: u128,
        labels: &Labels,
    ) -> Result<Result<SeriesRef, StorageError>, ResolveError> {
        match self.appender.series(self.tenant, labels) {
            Ok(series) => {
                self.walk.put(key ^ self.tenant_key, &[series]);
                Ok(Ok(series))
            }
            Err(error) if matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Invalid) => Ok(Err(error)),
            Err(error) => Err(ResolveError(pipeline_error(error))),
        }
    }
}

impl SeriesResolver for StoreResolver<'_> {
    type Handle = Handle;
    type Error = ResolveError;

    #[inline]
    fn lookup(&mut self, key: SeriesKey) -> Option<&[Handle]> {
        self.ordinal = self.ordinal.wrapping_add(1);
        let ordinal = self.ordinal;
        if self.forgotten.is_some_and(|forgotten| forgotten.concerns(ordinal)) {
            return None;
        }
        let handles = &mut self.handles;
        let is_known = self.walk.with(key.0 ^ self.tenant_key, |run| {
            handles.clear();
            handles.extend(run.iter().map(|&series| Handle { series, ordinal }));
        });
        is_known.then_some(handles.as_slice())
    }

    fn insert(&mut self, key: SeriesKey, series: &[Labels]) -> Result<Resolved<'_, Handle>, ResolveError> {
        let mut run = Vec::with_capacity(series.len());
        for labels in series {
            match self.appender.series(self.tenant, labels) {
                Ok(series) => run.push(series),
                Err(error) => {
                    let reason = match error.kind() {
                        // The tenant's series limit; what concerns the whole request comes with other kinds.
                        ErrorKind::Throttled => "series_limit",
                        ErrorKind::Invalid => "invalid_labels",
                        _ => return Err(ResolveError(pipeline_error(error))),
                    };
                    return Ok(Resolved::Refused { reason, message: error.to_string() });
                }
            }
        }
        let ordinal = self.ordinal;
        self.handles.clear();
        self.handles.extend(run.iter().map(|&series| Handle { series, ordinal }));
        self.walk.put(key.0 ^ self.tenant_key, &run);
        Ok(Resolved::Handles(&self.handles))
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        self.appender.set_metadata(self.tenant, family, metadata);
    }
}

#[cfg(test)]
mod tests;

//! From the hash of a point's wire bytes to its series in the store.
//!
//! Sketch: 40 bytes and some 50 ns a look-up, dominated by one cache miss of the CPU. The map is cut into shards, each
//! under a lock that is held for one probe. Invariant CACHE-1: it is bounded. Each shard has two generations; when the
//! young one is full it becomes the old one and the former old one is dropped, so that series in use move over on their
//! next look-up and those that ended go away. Forgetting costs a look-up in the store, nothing else.

use hashbrown::HashMap;
use model::{ErrorKind, Labels, MetricMetadata, TenantId};
use parking_lot::Mutex;
use pipelines::PipelineError;
use smallvec::SmallVec;
use storage_api::{MetricsAppender, SeriesRef};
use wire::DecodeError;
use wire::otlp_to_prometheus::{Resolved, SeriesKey, SeriesResolver};
use xxhash_rust::xxh3::xxh3_128;

use super::columns::{Handle, Resend};
use crate::storage_error::pipeline_error;

/// Shards, so that cores seldom meet at one lock.
const SHARDS: usize = 64;

/// The series of one point. Most points have one; two fit without an allocation.
type Run = SmallVec<[SeriesRef; 2]>;

/// Keys are hashes of a keyed hash function already.
type Map = HashMap<u128, Run, KeyAsHash>;

/// The cache, for all tenants.
pub(super) struct SeriesCache {
    shards: Vec<Mutex<Shard>>,
    refs_max: usize,
}

#[derive(Default)]
struct Shard {
    young: Map,
    old: Map,
    /// References in `young`.
    young_refs: usize,
}

impl SeriesCache {
    /// A cache of up to `refs_max` references in each of two generations.
    pub(super) fn new(refs_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, refs_max: (refs_max / SHARDS).max(1) }
    }

    fn shard(&self, key: u128) -> &Mutex<Shard> {
        // The high bits choose the shard, the low ones the place inside.
        &self.shards[(key >> 120) as usize % SHARDS]
    }

    /// Calls `found` with the run of `key`, if it is there.
    #[inline]
    fn with(&self, key: u128, found: impl FnOnce(&[SeriesRef])) -> bool {
        let mut shard = self.shard(key).lock();
        if let Some(run) = shard.young.get(&key) {
            found(run);
            return true;
        }
        let Some(run) = shard.old.remove(&key) else { return false };
        found(&run);
        shard.put(key, run, self.refs_max);
        true
    }

    fn put(&self, key: u128, run: Run) {
        self.shard(key).lock().put(key, run, self.refs_max);
    }
}

impl Shard {
    fn put(&mut self, key: u128, run: Run, refs_max: usize) {
        if self.young_refs + run.len() > refs_max && !self.young.is_empty() {
            self.old = std::mem::take(&mut self.young);
            self.young_refs = 0;
        }
        self.young_refs += run.len();
        if let Some(replaced) = self.young.insert(key, run) {
            self.young_refs -= replaced.len();
        }
    }
}

/// A hasher that takes the low half of a key as its hash.
#[derive(Clone, Copy, Debug, Default)]
struct KeyAsHash;

struct KeyHasher(u64);

impl std::hash::BuildHasher for KeyAsHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(0)
    }
}

impl std::hash::Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Resolves the series of one request, from the cache or in the store.
pub(super) struct StoreResolver<'a> {
    cache: &'a SeriesCache,
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
        Self { cache, appender, tenant, tenant_key, forgotten, ordinal: u32::MAX, handles: Vec::new() }
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
        let is_known = self.cache.with(key.0 ^ self.tenant_key, |run| {
            handles.clear();
            handles.extend(run.iter().map(|&series| Handle { series, ordinal }));
        });
        is_known.then_some(handles.as_slice())
    }

    fn insert(&mut self, key: SeriesKey, series: &[Labels]) -> Result<Resolved<'_, Handle>, ResolveError> {
        let mut run = Run::with_capacity(series.len());
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
        self.cache.put(key.0 ^ self.tenant_key, run);
        Ok(Resolved::Handles(&self.handles))
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        self.appender.set_metadata(self.tenant, family, metadata);
    }
}

#[cfg(test)]
mod tests;

//! How fast each tenant may append: a bucket of bytes that fills at its rate, as Loki's `ingestion_rate_mb`.
//!
//! Unlike Loki's, a bucket takes a request that is larger than it whenever it is full, and fills up again from below
//! zero: a refusal that no retry could get around would make senders drop data.

use std::time::Duration;

use hashbrown::HashMap;
use model::{ErrorKind, TenantId};
use parking_lot::Mutex;
use storage_api::{StorageError, StorageResult};

use crate::settings::LogLimits;

/// The buckets of all tenants; as many as there may be tenants.
#[derive(Debug, Default)]
pub(crate) struct IngestRates(Mutex<HashMap<TenantId, Bucket>>);

/// Bytes that a tenant may still append, at a time.
#[derive(Debug)]
struct Bucket {
    bytes: f64,
    at_ns: i64,
}

impl IngestRates {
    /// Takes the bytes of a request, or refuses it with a hint when to come again. `now_ns` is of the monotonic clock:
    /// nobody is refused, or let through, because the clock was set.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        limits: &LogLimits,
        now_ns: i64,
        (lines, bytes): (u64, u64),
    ) -> StorageResult<()> {
        let (rate, burst) = (limits.ingest_bytes_per_second, limits.ingest_burst_bytes);
        let wanted = bytes as f64;
        let missing = {
            let mut buckets = self.0.lock();
            let bucket = buckets.entry_ref(tenant).or_insert(Bucket { bytes: burst, at_ns: now_ns });
            // Of requests at the same moment the later one may come first.
            let passed_s = now_ns.saturating_sub(bucket.at_ns).max(0) as f64 / 1e9;
            bucket.at_ns = bucket.at_ns.max(now_ns);
            bucket.bytes = (bucket.bytes + passed_s * rate).min(burst);
            let missing = wanted.min(burst) - bucket.bytes;
            if missing <= 0.0 {
                bucket.bytes -= wanted;
                return Ok(());
            }
            missing
        };
        let message = format!(
            "ingestion rate limit exceeded for user {tenant} (limit: {} bytes/sec) while attempting to ingest '{lines}' lines \
             totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be \
             increased",
            rate as u64
        );
        // Whole seconds are what a header can say; an hour stands for a rate of nothing.
        let seconds = (missing / rate.max(f64::MIN_POSITIVE)).ceil().clamp(1.0, 3600.0);
        Err(StorageError::new(ErrorKind::Throttled, message)
            .with_retry_after(Duration::from_secs_f64(seconds)))
    }

    /// Forgets tenants that are not `known`.
    pub(crate) fn keep(&self, known: impl Fn(&TenantId) -> bool) {
        self.0.lock().retain(|tenant, _| known(tenant));
    }
}

#[cfg(test)]
mod tests;

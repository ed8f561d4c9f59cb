//! How much translation the stores do at the same time.
//!
//! A request costs its payload while it waits, and several times that while it is translated, framed for the
//! write-ahead log and copied into memory. Admission counts payloads only, so this gate bounds the rest: requests
//! wait in front of it, in order, and hold no more than their payload. It never refuses.

use std::sync::{Arc, OnceLock};

use runtime::MemoryBudget;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes in use for each byte of payload, from the translation to the acknowledgement: the translated columns, the
/// log record and the copy in memory, and the slack of buffers that grow by doubling.
const WORKING_BYTES_PER_BYTE: u64 = 6;
/// Share of the memory limit that translation may use.
const LIMIT_SHARE: u64 = 8;
/// With no limit, or a large one: far more than all cores can translate at once.
const WORKING_BYTES_MAX: u64 = 256 << 20;
/// Below this a single large request would have the gate for itself.
const WORKING_BYTES_MIN: u64 = 8 << 20;
/// Permits count whole KiB, so that their number fits the semaphore.
const PERMIT_BYTES: u64 = 1 << 10;

/// A queue in front of a store.
pub(crate) struct StoreGate {
    budget: Arc<MemoryBudget>,
    /// Made with the first request: the memory_limiter sets the limit when the pipelines start.
    gate: OnceLock<(Semaphore, u32)>,
}

impl StoreGate {
    /// A gate for a process with this budget.
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self { budget: Arc::clone(budget), gate: OnceLock::new() }
    }

    /// Waits until there is room to translate a payload of so many bytes; the room is taken until the permit is
    /// dropped. A payload that is too large for the whole gate gets all of it. Cancel-safe.
    pub(crate) async fn enter(&self, payload_bytes: usize) -> SemaphorePermit<'_> {
        let (semaphore, permits) = self.gate.get_or_init(|| {
            let bytes = self.budget.ceiling_bytes() / LIMIT_SHARE;
            let permits = permits(bytes.clamp(WORKING_BYTES_MIN, WORKING_BYTES_MAX));
            (Semaphore::new(permits as usize), permits)
        });
        let wanted = permits_of(payload_bytes).min(*permits);
        semaphore.acquire_many(wanted).await.expect("the semaphore is never closed")
    }
}

fn permits_of(payload_bytes: usize) -> u32 {
    permits((payload_bytes as u64).saturating_mul(WORKING_BYTES_PER_BYTE)).max(1)
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use runtime::MemoryBudget;

    use super::StoreGate;

    #[test]
    fn large_requests_take_turns_and_one_larger_than_the_gate_still_gets_in() {
        let gate = StoreGate::new(&MemoryBudget::new(64 << 20));
        let huge = gate.enter(1 << 30).now_or_never().expect("the gate is empty");
        assert!(gate.enter(1).now_or_never().is_none());
        drop(huge);
        let small: Vec<_> = (0..8).filter_map(|_| gate.enter(1000).now_or_never()).collect();
        assert_eq!(small.len(), 8);
        assert!(gate.enter(2 << 20).now_or_never().is_none());
    }
}

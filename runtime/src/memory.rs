//! One budget for the bytes that requests, queues and write buffers hold.
//!
//! Sketch: one atomic add and subtract per request; no lock. The budget counts what its users tell it, so the process'
//! resident size is sampled beside it (by the memory_limiter) and closes the budget when it passes the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A process-wide count of reserved bytes with a limit.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: AtomicU64,
    reserved_bytes: AtomicU64,
    /// The lowest limit that anybody ever asked for; several limiters share one budget.
    ceiling_bytes: AtomicU64,
    /// Set while the process is over its limit by measurement, whatever the count says.
    closed: AtomicBool,
}

/// What a budget grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    ceiling_bytes: u64,
    limit_bytes: u64,
    closed: bool,
}

impl Limits {
    /// Everything.
    pub const NONE: Self = Self { ceiling_bytes: u64::MAX, limit_bytes: u64::MAX, closed: false };
}

/// Bytes taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `limit_bytes`; `u64::MAX` means no limit.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            reserved_bytes: AtomicU64::new(0),
            ceiling_bytes: AtomicU64::new(limit_bytes),
            closed: AtomicBool::new(false),
        })
    }

    /// Takes `bytes`, or `None` when the budget is closed or would be passed. Never waits.
    pub fn try_reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let limit = self.limit_bytes.load(Ordering::Relaxed);
        self.reserved_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&used| used <= limit)
            })
            .ok()?;
        Some(Reservation { budget: Arc::clone(self), bytes })
    }

    /// Takes `bytes` even past the limit, for memory that is in use already and can only be counted.
    pub fn reserve_unchecked(self: &Arc<Self>, bytes: u64) -> Reservation {
        self.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        Reservation { budget: Arc::clone(self), bytes }
    }

    /// Changes the limit.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// Lowers the ceiling (at first the limit that the budget was made with) and the limit to `bytes` and returns the
    /// ceiling that then holds: the lowest of all calls.
    pub fn lower_ceiling(&self, bytes: u64) -> u64 {
        self.limit_bytes.fetch_min(bytes, Ordering::Relaxed);
        self.ceiling_bytes.fetch_min(bytes, Ordering::Relaxed).min(bytes)
    }

    /// Sets other limits, all at once to whoever asks later, and returns those that held: [`Limits::NONE`] for
    /// components that start anew and ask again, what was returned then if it comes to nothing.
    pub fn exchange_limits(&self, limits: Limits) -> Limits {
        Limits {
            ceiling_bytes: self.ceiling_bytes.swap(limits.ceiling_bytes, Ordering::Relaxed),
            limit_bytes: self.limit_bytes.swap(limits.limit_bytes, Ordering::Relaxed),
            closed: self.closed.swap(limits.closed, Ordering::Relaxed),
        }
    }

    /// Opens the budget and lifts its limit when nobody asks for one any more, whatever those that did left.
    pub fn lift_limits_without_ceiling(&self) {
        if self.ceiling_bytes() == u64::MAX {
            self.exchange_limits(Limits::NONE);
        }
    }

    /// The lowest limit that was ever asked for, by which those who hold memory for long size themselves.
    pub fn ceiling_bytes(&self) -> u64 {
        self.ceiling_bytes.load(Ordering::Relaxed)
    }

    /// The limit.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that are reserved now.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// Refuses (`true`) or grants (`false`) new reservations whatever the count says.
    pub fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }
}

impl Reservation {
    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over the bytes of another reservation of the same budget, so that many become one to hold.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget), "reservations of two budgets do not add up");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Grows to `bytes` if the budget allows it; tells whether it did. Smaller values give back.
    pub fn try_resize(&mut self, bytes: u64) -> bool {
        if bytes > self.bytes {
            let Some(more) = self.budget.try_reserve(bytes - self.bytes) else { return false };
            self.absorb(more);
        } else {
            self.budget.reserved_bytes.fetch_sub(self.bytes - bytes, Ordering::AcqRel);
            self.bytes = bytes;
        }
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.reserved_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Limits, MemoryBudget};

    #[test]
    fn limits_that_nobody_asks_for_any_more_go_and_those_of_a_change_that_failed_come_back() {
        let budget = MemoryBudget::new(u64::MAX);
        budget.lower_ceiling(100);
        budget.set_closed(true);
        let before = budget.exchange_limits(Limits::NONE);
        assert!(budget.try_reserve(200).is_some());
        budget.exchange_limits(before);
        assert!(budget.try_reserve(1).is_none());
        assert_eq!(budget.ceiling_bytes(), 100);

        // Beside a limiter that still drains and writes what it measures.
        budget.exchange_limits(Limits::NONE);
        budget.set_closed(true);
        budget.set_limit_bytes(7);
        budget.lift_limits_without_ceiling();
        assert!(budget.try_reserve(200).is_some());
        budget.lower_ceiling(100);
        budget.set_closed(true);
        budget.lift_limits_without_ceiling();
        assert!(budget.try_reserve(1).is_none(), "somebody asks for a limit");
    }

    #[test]
    fn a_budget_refuses_past_its_limit_and_takes_back_on_drop() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.try_reserve(60).expect("60 of 100");
        assert!(budget.try_reserve(41).is_none());
        assert!(first.try_resize(100) && !first.try_resize(101));
        assert_eq!(budget.reserved_bytes(), 100);
        assert!(first.try_resize(10));
        drop(first);
        assert_eq!(budget.reserved_bytes(), 0);
        assert_eq!(Arc::strong_count(&budget), 1, "a reservation that grew holds the budget once");
        budget.set_closed(true);
        assert!(budget.try_reserve(1).is_none());
        assert_eq!(budget.reserve_unchecked(500).bytes(), 500);
        let mut one = budget.reserve_unchecked(3);
        one.absorb(budget.reserve_unchecked(4));
        assert_eq!((one.bytes(), budget.reserved_bytes()), (7, 7));
        assert_eq!(budget.lower_ceiling(50), 50);
        budget.exchange_limits(Limits::NONE);
        assert_eq!(budget.lower_ceiling(80), 80);
        drop(one);
        assert_eq!(budget.reserved_bytes(), 0);
    }
}

//! Admission by bytes: what a receiver does before it reads a body.
//!
//! A receiver asks for the length that a request announces (or grows its reservation while it reads) and hands the
//! reservation on inside the batch, which holds it until the last destination let go of the batch. A refusal carries
//! a retry hint, so that no client takes it for a reason to drop data.

use std::sync::Arc;
use std::time::Duration;

use model::ErrorKind;
use runtime::{MemoryBudget, Reservation};

use crate::{PipelineError, PipelineResult};

/// When a sender that was refused should come again: about one check interval of the memory_limiter.
pub const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Takes `bytes` from the budget, or refuses with the collector's text (internal/memorylimiter) and a retry hint.
pub fn admit(budget: &Arc<MemoryBudget>, bytes: u64) -> PipelineResult<Reservation> {
    budget.try_reserve(bytes).ok_or_else(refusal)
}

/// Grows (or shrinks) what a request holds to `bytes`, or refuses as [`admit`] does.
pub fn resize(reservation: &mut Reservation, bytes: u64) -> PipelineResult<()> {
    if reservation.try_resize(bytes) { Ok(()) } else { Err(refusal()) }
}

/// The error of a request that memory has no room for now.
pub fn refusal() -> PipelineError {
    PipelineError::new(ErrorKind::Unavailable, "data refused due to high memory usage")
        .with_retry_after(RETRY_AFTER_REFUSAL)
}

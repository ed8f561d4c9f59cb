//! What all attempts for one batch have in common, for destinations that name what they write.
//!
//! It travels beside the batch, with the task that delivers: a batch that is tried again is the same, and two batches
//! may have the same bytes.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::Clock;

/// One delivery, first attempt and retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When its first attempt began, ns since 1970.
    pub began_ns: i64,
    /// No other delivery of this process has it.
    pub number: u64,
}

tokio::task_local! {
    static CURRENT: Delivery;
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

impl Delivery {
    /// The delivery whose attempt runs in this task; outside of one, a new one.
    pub fn current(clock: &dyn Clock) -> Self {
        CURRENT.try_with(|current| *current).unwrap_or_else(|_| Self::begin(clock))
    }

    /// Runs the attempts of a new delivery.
    pub(super) async fn attempts<T>(clock: &dyn Clock, attempts: impl Future<Output = T>) -> T {
        CURRENT.scope(Self::begin(clock), attempts).await
    }

    fn begin(clock: &dyn Clock) -> Self {
        Self { began_ns: clock.now_ns(), number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) }
    }
}

//! What a request that reads the metrics store outside of the engine runs under: one of the slots for queries, and the
//! time that a query may take, both until the last byte of its answer is made.

use std::time::Duration;

use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::PrometheusApi;

/// A status and a text.
pub(super) type Refusal = (StatusCode, String);

/// A slot that is held, and until when.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    end: Instant,
    time_max: Duration,
}

impl Slot {
    /// Waits for a slot; the wait is part of the time.
    pub(super) async fn take(api: &PrometheusApi) -> Result<Self, Refusal> {
        let time_max = api.query.timeout;
        let end = Instant::now() + time_max;
        match tokio::time::timeout_at(end, api.slots.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Self { _permit: permit, end, time_max }),
            Ok(Err(_)) => Err((StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down".to_owned())),
            Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "query timed out in query queue".to_owned())),
        }
    }

    /// A slot of a test's own.
    #[cfg(test)]
    pub(super) fn of_a_test(time_max: Duration) -> Self {
        let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
        let permit = slots.try_acquire_owned().expect("one is free");
        Self { _permit: permit, end: Instant::now() + time_max, time_max }
    }

    /// Refuses once the time is over; for work that asks between its steps.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if Instant::now() < self.end { Ok(()) } else { Err(self.too_late()) }
    }

    /// Waits for something, at most until the time is over.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::time::timeout_at(self.end, work).await.map_err(|_| self.too_late())
    }

    fn too_late(&self) -> Refusal {
        (StatusCode::SERVICE_UNAVAILABLE, format!("query timed out: it took more than {:?}", self.time_max))
    }
}

//! The requests that are inside one set of pipelines, so that a reload knows when nobody needs the old ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::api::process::RELOAD_PATH;
use crate::server::Handler;

/// Counts the requests that entered and did not leave.
#[derive(Debug, Default)]
pub(super) struct Generation {
    in_flight: AtomicUsize,
    left: Notify,
}

struct Entered(Arc<Generation>);

impl Drop for Entered {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

impl Generation {
    /// `handler` with its requests counted, from the call on.
    pub(super) fn track(self: &Arc<Self>, handler: Handler) -> Handler {
        let generation = Arc::clone(self);
        Arc::new(move |request| {
            // It is no request for the pipelines, and would wait for itself.
            if request.uri().path() == RELOAD_PATH {
                return handler(request);
            }
            generation.in_flight.fetch_add(1, Ordering::AcqRel);
            let entered = Entered(Arc::clone(&generation));
            let answer = handler(request);
            Box::pin(async move {
                let answer = answer.await;
                drop(entered);
                answer
            })
        })
    }

    /// Resolves when no request is inside. Cancel-safe.
    pub(super) async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            left.await;
        }
    }
}

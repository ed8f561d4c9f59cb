//! Named tasks with one owner, cancelled and joined together.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A set of tasks. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
    running: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    next_id: Arc<AtomicU64>,
}

/// Tasks that did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("tasks still running at the shutdown deadline: {}", names.join(", "))]
pub struct ShutdownError {
    names: Vec<&'static str>,
}

/// Removes a task from the list of running ones even when its future panics.
struct Running {
    id: u64,
    list: Arc<Mutex<BTreeMap<u64, &'static str>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.list.lock().remove(&self.id);
    }
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task called `name`. It should end soon after [`Tasks::cancelled`] is set.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = self.enter(name);
        tokio::spawn(self.tracker.track_future(async move {
            let _running = running;
            future.await
        }))
    }

    /// Runs `work` on a thread that may block, as a task called `name`.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        let running = self.enter(name);
        self.tracker.spawn_blocking(move || {
            let _running = running;
            work()
        })
    }

    /// Runs `work` on a thread of its own, as a task called `name`: for loops that block all their life and would
    /// hold a thread of the blocking pool. Fails when the system gives no thread.
    pub fn spawn_thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let running = self.enter(name);
        let token = self.tracker.token();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _counted = (running, token);
            work();
        })
    }

    /// Resolves when shutdown began. Cancel-safe.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Whether shutdown began.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Tells every task to end, without waiting.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Tells every task to end and waits for them, at most `deadline`.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.cancel.cancel();
        self.tracker.close();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ShutdownError { names: self.running.lock().values().copied().collect() }),
        }
    }

    fn enter(&self, name: &'static str) -> Running {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.running.lock().insert(id, name);
        Running { id, list: Arc::clone(&self.running) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tasks;

    #[tokio::test(start_paused = true)]
    async fn shutdown_joins_tasks_and_names_those_that_hang() {
        let tasks = Tasks::new();
        let ends = tasks.clone();
        let polite = tasks.spawn("polite", async move { ends.cancelled().await });
        let hangs = tasks.spawn("hangs", std::future::pending::<()>());
        let error = tasks.shutdown(Duration::from_secs(1)).await.expect_err("one task hangs");
        assert_eq!(error.to_string(), "tasks still running at the shutdown deadline: hangs");
        polite.await.expect("the polite task ended");
        hangs.abort();
    }
}

//! The list of files: changed here, and by other processes where they share an object store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashSet;

use super::Inner;
use crate::error::{LogStoreError, LogStoreResult};
use crate::files::{Change, DataFile, FileSet, Place};

/// Time between two looks for files in the object store that nobody needs, ns.
const GARBAGE_EVERY_NS: i64 = 1_800_000_000_000;

impl Inner {
    /// Changes the list of files, in the manifest and in memory; `false` when `change` gives none any more. Blocks.
    pub(super) fn commit(&self, written: &[Arc<DataFile>], change: Change<'_>) -> LogStoreResult<bool> {
        let _commit = self.commit.lock();
        let before = self.state.read().files.clone();
        let (after, is_in) = self.place.commit(before, written, change)?;
        self.install(after);
        Ok(is_in)
    }

    /// Makes a list of files that is durable the one that queries see. Entries that are in it now leave memory at the
    /// same moment (LOG-3).
    fn install(&self, files: FileSet) {
        self.metrics.files.set(files.files.len() as f64);
        let state = &mut *self.state.write();
        let flushed = files.flushed_generation;
        if state.sealed.as_ref().is_some_and(|sealed| sealed.generation.id <= flushed) {
            state.sealed = None;
        }
        state.files = files;
    }

    /// Takes files out of the manifest and the list. Blocks.
    pub(super) fn remove_files(
        &self,
        which: impl Fn(&DataFile) -> bool,
    ) -> LogStoreResult<Vec<Arc<DataFile>>> {
        let before = Arc::clone(&self.state.read().files.files);
        let removed: Vec<_> = before.iter().filter(|file| which(file)).cloned().collect();
        drop(before);
        self.commit(&[], &|files| Some(files.changed(&which, Vec::new())))?;
        removed.iter().for_each(|file| self.forget_file(file));
        Ok(removed)
    }

    /// Looks for what other processes changed; tells whether they did. Blocks.
    pub(super) fn refresh(&self) -> LogStoreResult<bool> {
        let Place::Shared(shared) = &self.place else { return Ok(false) };
        let _commit = self.commit.lock();
        let before = self.state.read().files.clone();
        let Some(after) = shared.refresh(&before)? else { return Ok(false) };
        let kept: HashSet<u64> = after.files.iter().map(|file| file.number).collect();
        self.install(after);
        let gone = before.files.iter().filter(|file| !kept.contains(&file.number));
        gone.for_each(|file| self.forget_file(file));
        Ok(true)
    }

    /// Removes files from the object store that nobody needs any more; gives how many. Blocks.
    pub(super) fn remove_garbage(&self) -> LogStoreResult<u64> {
        let Place::Shared(shared) = &self.place else { return Ok(0) };
        let listed = shared.list_files()?;
        self.refresh()?;
        let files = self.state.read().files.clone();
        shared.remove_garbage(&listed, &files)
    }

    /// Follows the other processes, until shutdown.
    pub(super) async fn run_refresher(self: Arc<Self>) {
        let mut garbage_ns = i64::MIN;
        loop {
            tokio::select! {
                () = self.tasks.cancelled() => return,
                () = tokio::time::sleep(self.settings.refresh_interval) => {}
            }
            let now_ns = self.clock.monotonic_ns();
            let is_time = now_ns.saturating_sub(garbage_ns) > GARBAGE_EVERY_NS;
            let inner = Arc::clone(&self);
            let work =
                move || if is_time { inner.remove_garbage().map(drop) } else { inner.refresh().map(drop) };
            let done = self.tasks.spawn_blocking("log-store-refresh", work).await;
            let done = done.unwrap_or_else(|_| {
                Err(LogStoreError::stopped("the thread that looks after the object store ended"))
            });
            match done {
                Ok(()) if is_time => garbage_ns = now_ns,
                Ok(()) => {}
                Err(_) if self.closed.load(Ordering::Acquire) => return,
                Err(error) => {
                    tracing::warn!(%error, "log store could not look for what others changed, it will try again");
                }
            }
        }
    }
}

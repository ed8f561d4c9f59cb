//! Makes chunks of the head again whose scratch files are damaged, while everything else goes on.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::maintain::Maintenance;
use super::{Tenant, replay};
use crate::checkpoint::read_checkpoint;
use crate::error::TsdbError;
use crate::filenames;
use crate::head::mend::{LostChunk, Mended};

/// After the log could not be read, the next attempt comes so much later: it reads all of it.
const RETRY_WAIT: Duration = Duration::from_secs(60);

impl Tenant {
    /// Looks for chunks that cannot be read back if one was met, and makes them again from the checkpoint and the log. A
    /// failure is logged and tried again later. Whoever calls it maintains the tenant. Blocks on the disk.
    pub(super) fn mend(&self, state: &mut Maintenance) {
        let is_due = state.mend_failed.is_none_or(|at: Instant| at.elapsed() >= RETRY_WAIT);
        if !is_due || !(self.head.is_damaged() || state.mend_failed.is_some()) {
            return;
        }
        let lost = self.head.lost_chunks();
        let mended = if lost.is_empty() { Ok(Mended::default()) } else { self.make_again(&lost) };
        state.mend_failed = mended.is_err().then(Instant::now);
        let dir = self.dir.display();
        match mended {
            Ok(Mended { made: 0, gone: 0 }) => {}
            Ok(Mended { made, gone }) => {
                self.metrics.scratch_mended.increment(made);
                self.metrics.scratch_lost.increment(gone);
                tracing::error!(
                    dir = %dir, made, gone,
                    "closed chunks of the head could not be read back from scratch files and were made again from the log"
                );
            }
            Err(error) => tracing::error!(
                dir = %dir, %error, chunks = lost.len(),
                "closed chunks of the head cannot be read back from scratch files, nor be made again now"
            ),
        }
    }

    fn make_again(&self, lost: &[LostChunk]) -> Result<Mended, TsdbError> {
        // A chunk's samples are in the head before they are in the log.
        self.head.wait_for_appends();
        self.wal.wait()?;
        let folder = filenames::mending(&self.dir);
        let other = self.head.beside(self.disk.clone(), folder.clone())?;
        let (_, restored) = replay::replay(&other, &Mutex::default(), |deliver| {
            let checkpoint = read_checkpoint(&*self.disk, &self.dir, &mut *deliver)?;
            Ok(self.wal.read_from(checkpoint.sequence, deliver)?)
        })?;
        tracing::debug!(samples = restored.samples, "read the log to make chunks again");
        let mended = self.head.mend(lost, &other);
        drop(other);
        if self.disk.exists(&folder) {
            self.disk.remove_dir_all(&folder).map_err(|error| TsdbError::disk(&folder, error))?;
        }
        Ok(mended)
    }
}

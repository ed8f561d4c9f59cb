//! What has to be done now and then: checkpoints, so that the log in front of them can go.

use std::sync::atomic::Ordering;

use crate::checkpoint::CheckpointWriter;
use crate::error::TsdbError;

use super::Tenant;

/// State of the one who maintains a tenant; its lock keeps it one.
pub(super) struct Maintenance {
    /// Size of the newest checkpoint.
    pub(super) checkpoint_bytes: u64,
}

impl Tenant {
    /// Does what is due. Blocks on the disk.
    pub(crate) fn maintain(&self) -> Result<(), TsdbError> {
        let state = &mut *self.maintenance.lock();
        let log_bytes = self.log_bytes.load(Ordering::Relaxed);
        let least = self.head.checkpoint_log_bytes();
        // Not below the size of the last checkpoint, so that no more is written for checkpoints than for the log.
        let least = if least == 0 { 1 } else { least.max(state.checkpoint_bytes) };
        if log_bytes >= least {
            self.checkpoint(state)?;
        }
        Ok(())
    }

    /// Writes a checkpoint and removes the log in front of it.
    fn checkpoint(&self, state: &mut Maintenance) -> Result<(), TsdbError> {
        let written = self.write_checkpoint();
        match &written {
            Ok((sequence, bytes)) => {
                state.checkpoint_bytes = *bytes;
                self.metrics.checkpoints.increment(1);
                self.wal.truncate_before(*sequence)?;
            }
            Err(_) => self.metrics.checkpoints_failed.increment(1),
        }
        written.map(|_| ())
    }

    /// Returns the place of the log that the checkpoint stands for, and its size.
    fn write_checkpoint(&self) -> Result<(u64, u64), TsdbError> {
        self.log_bytes.store(0, Ordering::Relaxed);
        let sequence = self.head.log_position(|| self.wal.next_sequence());
        let mut writer = CheckpointWriter::begin(&*self.disk, &self.dir, sequence)?;
        self.write_metadata(|record| writer.add(record))?;
        self.head.write_checkpoint(|record| writer.add(record))?;
        Ok((sequence, writer.finish()?))
    }
}

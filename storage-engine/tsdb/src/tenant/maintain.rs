//! What has to be done now and then: the head's oldest range becomes a block, series without samples leave, the log in
//! front of a checkpoint goes, blocks are compacted and grow old. One at a time for a tenant; appends and queries go on.
//!
//! Order of a flush: the block is on disk and can be read, then its chunks leave the head, then a checkpoint is on disk,
//! then the log in front of it goes. A crash between two of these leaves samples in both places, never in none.

use std::sync::atomic::Ordering;
use std::time::Instant;

use format::{BlockMeta, hint};
use model::{Matcher, TimeRange, civil_date};
use storage_api::StorageResult;
use ulid::Ulid;
use wal::{Permit, Ticket};

use super::Tenant;
use crate::block::BlockWriter;
use crate::checkpoint::CheckpointWriter;
use crate::error::TsdbError;
use crate::filenames;

/// Flushes before a checkpoint follows: when samples come faster than their time passes, the log must not wait for the
/// last of them.
const FLUSHES_MAX: usize = 4;

/// Longest wait of late samples for their block, which costs a checkpoint of the whole head beside itself. Blocks are
/// not older than this part of their length then.
const LATE_WAIT_SHARE: u32 = 12;

/// State of the one who maintains a tenant; its lock keeps it one.
pub(super) struct Maintenance {
    /// Size of the newest checkpoint.
    pub(super) checkpoint_bytes: u64,
    /// When late samples were written to a block last.
    late_flushed: Option<Instant>,
    /// When chunks could not be made again.
    pub(super) mend_failed: Option<Instant>,
}

impl Maintenance {
    pub(super) fn new(checkpoint_bytes: u64) -> Self {
        Self { checkpoint_bytes, late_flushed: None, mend_failed: None }
    }
}

impl Tenant {
    /// Does what is due: a few flushes and one step of compaction at most. Tells whether more is due. Blocks on the
    /// disk. Old blocks go whatever fails: on a full disk nothing else makes room.
    pub(crate) fn maintain(&self) -> StorageResult<bool> {
        let state = &mut *self.maintenance.lock();
        let more = self.maintain_head_and_blocks(state);
        // A log that grows because flushes fail takes the place of no block.
        let other_bytes = match &more {
            Ok(_) => self.log_bytes.load(Ordering::Relaxed) + state.checkpoint_bytes,
            Err(_) => 0,
        };
        let expired = self.blocks.apply_retention(other_bytes);
        let more = more?;
        expired?;
        Ok(more)
    }

    fn maintain_head_and_blocks(&self, state: &mut Maintenance) -> StorageResult<bool> {
        self.head.write_closed();
        self.mend(state);
        let mut flushed = None;
        for _ in 0..FLUSHES_MAX {
            // A range that got samples while it was written is due again, but not at once.
            let Some(range) = self.due(state).filter(|range| Some(*range) != flushed) else { break };
            if self.head.is_late(range) {
                state.late_flushed = Some(Instant::now());
            }
            self.flush_range(range)?;
            flushed = Some(range);
        }
        let least = self.head.checkpoint_log_bytes();
        // A start reads a checkpoint ten times faster than as many samples in the log. Half of its size keeps what is
        // written for checkpoints within twice the log.
        let least = if least == 0 { 1 } else { least.max(state.checkpoint_bytes / 2) };
        if flushed.is_some() || self.log_bytes.load(Ordering::Relaxed) >= least {
            self.head.forget_empty_series();
            self.checkpoint(state)?;
        }
        self.blocks.sweep()?;
        let compacted = self.blocks.compact_step()?;
        Ok(compacted || self.due(state).is_some_and(|range| Some(range) != flushed))
    }

    /// The range to flush now. One of late samples alone waits until the last one is some time ago, unless a range of
    /// samples in order is due as well.
    fn due(&self, state: &Maintenance) -> Option<TimeRange> {
        let range = self.head.due()?;
        let wait = self.head.block_duration() / LATE_WAIT_SHARE;
        let waits = self.head.is_late(range)
            && !self.head.is_due_in_order()
            && state.late_flushed.is_some_and(|at| at.elapsed() < wait);
        (!waits).then_some(range)
    }

    /// Writes everything that is in the head now to blocks. Blocks on the disk.
    pub(crate) fn flush(&self) -> StorageResult<()> {
        let state = &mut *self.maintenance.lock();
        self.mend(state);
        let newest_ms = self.head.newest_ms();
        let mut last = None;
        // A range that gets samples while it is written is left for the next time.
        while let Some(range) = self.head.oldest_range().filter(|range| range.min <= newest_ms)
            && last.replace(range) != Some(range)
        {
            self.flush_range(range)?;
        }
        self.head.forget_empty_series();
        Ok(self.checkpoint(state)?)
    }

    /// Makes a block of the chunks in `range`, which is one block's, and takes them out of the head.
    fn flush_range(&self, range: TimeRange) -> StorageResult<()> {
        let start = Instant::now();
        let flushed = self.write_block(range);
        match &flushed {
            Ok(()) => self.metrics.flush_seconds.record(start.elapsed()),
            Err(_) => self.metrics.flushes_failed.increment(1),
        }
        flushed
    }

    fn write_block(&self, range: TimeRange) -> StorageResult<()> {
        let mut writer = self.blocks.writer()?;
        let written = self.head.write_range(range, |labels, chunks| writer.add_series(labels, chunks))?;
        let flushed_ms = self.head.flushed_ms();
        let Some(times) = writer.range() else {
            self.head.remove_written(&written);
            return Ok(());
        };
        // A range that is not over ends with its newest sample: what follows is in order.
        let end_ms = range.max.min(self.head.newest_ms().max(times.max)).saturating_add(1);
        let start_ms = if times.min >= flushed_ms { range.min.max(flushed_ms) } else { range.min };
        let hints: &[&str] = if times.max < flushed_ms { &[hint::OUT_OF_ORDER] } else { &[] };
        self.blocks.add(writer, start_ms, end_ms, hints)?;
        self.head.set_flushed_ms(end_ms);
        self.head.remove_written(&written);
        Ok(())
    }

    /// Takes the samples in `range` of matching series away; the ticket resolves when that is durable in the log, if
    /// the head had any. Blocks on the disk.
    pub(crate) fn delete(
        &self,
        permit: &Permit,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> StorageResult<Option<Ticket>> {
        // Nothing moves from the head to a block meanwhile.
        let state = &mut *self.maintenance.lock();
        self.mend(state);
        let mut ticket = None;
        self.head.delete(matchers, range, &mut |record| ticket = Some(self.log(permit, record)))?;
        self.blocks.delete(matchers, range)?;
        Ok(ticket)
    }

    /// Rewrites blocks with deletions. Blocks on the disk.
    pub(crate) fn clean_tombstones(&self) -> StorageResult<()> {
        let _one = self.maintenance.lock();
        self.blocks.clean_tombstones().map(|_| ())
    }

    /// Makes a folder with everything that there is, in blocks; returns its name. Blocks on the disk.
    pub(crate) fn snapshot(&self, skip_head: bool, now_ms: i64) -> StorageResult<String> {
        let state = &mut *self.maintenance.lock();
        self.mend(state);
        let name = snapshot_name(now_ms, rand::random());
        let folder = filenames::snapshot(&self.dir, &name);
        self.blocks.snapshot(&folder)?;
        if skip_head {
            return Ok(name);
        }
        let ulid = Ulid::from_parts(u64::try_from(now_ms).unwrap_or_default(), rand::random());
        let mut writer = BlockWriter::create(&self.disk, &folder, ulid)?;
        self.head.write_all(|labels, chunks| writer.add_series(labels, chunks))?;
        if let Some(times) = writer.range() {
            let meta = BlockMeta::new(writer.ulid(), times.min, times.max.saturating_add(1));
            writer.finish(meta)?;
        }
        Ok(name)
    }

    /// Writes a checkpoint and removes the log in front of it.
    fn checkpoint(&self, state: &mut Maintenance) -> Result<(), TsdbError> {
        let log_bytes = self.log_bytes.swap(0, Ordering::Relaxed);
        let written = self.write_checkpoint();
        match &written {
            Ok((sequence, bytes)) => {
                state.checkpoint_bytes = *bytes;
                self.metrics.checkpoints.increment(1);
                self.wal.truncate_before(*sequence)?;
            }
            Err(_) => {
                self.log_bytes.fetch_add(log_bytes, Ordering::Relaxed);
                self.metrics.checkpoints_failed.increment(1);
            }
        }
        written.map(|_| ())
    }

    /// Returns the place of the log that the checkpoint stands for, and its size.
    fn write_checkpoint(&self) -> Result<(u64, u64), TsdbError> {
        let sequence = self.head.log_position(|| self.wal.next_sequence());
        let mut writer = CheckpointWriter::begin(&*self.disk, &self.dir, sequence)?;
        self.write_metadata(|record| writer.add(record))?;
        self.head.write_checkpoint(|record| writer.add(record))?;
        Ok((sequence, writer.finish()?))
    }
}

/// A name for a snapshot made at `now_ms`, as Prometheus makes them: the second and a random number.
fn snapshot_name(now_ms: i64, random: u64) -> String {
    let (days, second) = (now_ms.div_euclid(86_400_000), now_ms.rem_euclid(86_400_000) / 1000);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{:x}", random >> 1)
}

#[cfg(test)]
mod tests {
    use super::snapshot_name;

    #[test]
    fn snapshots_are_named_after_their_second() {
        for (now_ms, name) in [
            (0, "19700101T000000Z-7f"),
            (951_868_799_999, "20000229T235959Z-7f"),
            (1_728_032_645_000, "20241004T090405Z-7f"),
        ] {
            assert_eq!(snapshot_name(now_ms, 255), name);
        }
    }
}

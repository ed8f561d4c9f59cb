//! The thread that writes: takes all that waits, writes it with one call, syncs once, answers everybody. It ends when
//! nothing comes for a while and leaves what it needs to go on ([`Parked`]), so that a log at rest costs no thread.
//!
//! After a failed write or sync the segment is left alone (WAL-4): the frames that are not durable yet are kept and
//! go to a new segment as soon as one can be made, with what was appended meanwhile behind them (WAL-3). Memory for
//! that is bounded: nobody is admitted while the log is broken.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::AppendFile;
use tokio::sync::oneshot;

use crate::frame::segment_header;
use crate::log::{SegmentStart, Shared};
use crate::{Durability, WalError, filenames};

/// A group this large is not held back for company.
pub(crate) const GROUP_BYTES_ENOUGH: usize = 1 << 20;

/// A buffer that grew past this in a burst is given back: groups of more are rare.
const BUFFER_BYTES_KEPT: usize = GROUP_BYTES_ENOUGH;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    open: Option<OpenSegment>,
    /// Frames taken from the queue and not written yet.
    group: Vec<u8>,
    /// Number of the first record in `group`, and of the first behind it.
    first_sequence: u64,
    end_sequence: u64,
    waiters: Vec<oneshot::Sender<Result<(), WalError>>>,
    last_sync: Option<Instant>,
    /// `Async`: bytes were written since the last sync.
    unsynced: bool,
}

/// What a writer leaves behind when it gives its thread back: everything that was appended is as durable as it will be.
#[derive(Default)]
pub(crate) struct Parked {
    open: Option<OpenSegment>,
    last_sync: Option<Instant>,
}

struct OpenSegment {
    file: Box<dyn AppendFile>,
    number: u64,
    bytes: u64,
    /// How much of it is durable.
    synced_bytes: u64,
}

/// What the queue has for the writer.
enum Work {
    Group {
        rotate: bool,
    },
    /// `Async`: it is time to sync.
    Sync,
    /// Nothing came for a long time.
    Park,
    End,
}

impl Writer {
    /// A writer that goes on where the last one left off.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let Parked { open, last_sync } = std::mem::take(&mut shared.queue.lock().parked);
        Self {
            shared,
            open,
            group: Vec::new(),
            first_sequence: 0,
            end_sequence: 0,
            waiters: Vec::new(),
            last_sync,
            unsynced: false,
        }
    }

    /// Writes until the log is closed and nothing waits, or until nothing came for a while. Tells whether the former.
    pub(crate) fn run(mut self) -> bool {
        loop {
            let written = match self.next_work() {
                Work::Group { rotate } => self.write_group(rotate),
                Work::Sync => self.sync(self.end_sequence),
                Work::Park => return false,
                Work::End => return true,
            };
            let recovered = match written {
                Ok(()) => true,
                Err(error) => self.recover(error),
            };
            if !recovered {
                return true;
            }
        }
    }

    /// Waits for records (and for company, as the settings say) and takes them.
    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let settings = &shared.settings;
        let mut queue = shared.queue.lock();
        loop {
            let since_sync = self.last_sync.map_or(Duration::MAX, |at| at.elapsed());
            if queue.records == 0 && queue.waiters.is_empty() {
                if queue.closed && !self.unsynced {
                    return Work::End;
                }
                if self.unsynced {
                    match settings.async_wait.checked_sub(since_sync) {
                        Some(left) if !queue.closed => drop(shared.wake.wait_for(&mut queue, left)),
                        _ => return Work::Sync,
                    }
                    continue;
                }
                let waited = shared.wake.wait_for(&mut queue, settings.idle_wait);
                if waited.timed_out() && queue.records == 0 && queue.waiters.is_empty() && !queue.closed {
                    queue.parked = Parked { open: self.open.take(), last_sync: self.last_sync };
                    queue.has_thread = false;
                    return Work::Park;
                }
                continue;
            }
            let gathers = settings.durability == Durability::Group
                && queue.records > 0
                && !queue.closed
                && queue.frames.len() < GROUP_BYTES_ENOUGH;
            if gathers
                && let Some(left) = settings.group_wait.checked_sub(since_sync).filter(|l| !l.is_zero())
            {
                shared.wake.wait_for(&mut queue, left);
                continue;
            }
            break;
        }
        self.group.clear();
        std::mem::swap(&mut self.group, &mut queue.frames);
        std::mem::swap(&mut self.waiters, &mut queue.waiters);
        self.end_sequence = queue.next_sequence;
        self.first_sequence = queue.next_sequence - queue.records;
        queue.records = 0;
        // For those who wait for what is in front of them nothing is written: the next record is still to rotate.
        let rotate = !self.group.is_empty() && std::mem::take(&mut queue.rotate);
        drop(queue);
        shared.admission.notify_waiters();
        Work::Group { rotate }
    }

    /// Writes the group that was taken, as durably as the settings ask for, and answers its waiters.
    fn write_group(&mut self, rotate: bool) -> Result<(), WalError> {
        if !self.group.is_empty() {
            let full = |open: &OpenSegment| open.bytes >= self.shared.settings.segment_bytes_max;
            if rotate || self.open.as_ref().is_none_or(full) {
                self.start_segment()?;
            } else {
                self.append_group()?;
                if self.shared.settings.durability != Durability::Async {
                    self.sync(self.end_sequence)?;
                }
            }
        }
        self.finish_group();
        Ok(())
    }

    fn finish_group(&mut self) {
        self.group.clear();
        if self.group.capacity() > BUFFER_BYTES_KEPT {
            self.group = Vec::new();
        }
        {
            let queue = &mut *self.shared.queue.lock();
            queue.acknowledged_sequence = queue.acknowledged_sequence.max(self.end_sequence);
        }
        self.answer_waiters(&Ok(()));
    }

    fn append_group(&mut self) -> Result<(), WalError> {
        let open = self.open.as_mut().expect("only called with an open segment");
        open.file
            .append(&self.group)
            .map_err(|error| WalError::disk(&self.shared.dir, "append to a segment", &error))?;
        open.bytes += self.group.len() as u64;
        self.shared.metrics.written_bytes.increment(self.group.len() as u64);
        self.unsynced = true;
        Ok(())
    }

    /// Makes a new segment whose first frames are the group, durable before anything relies on it: until then the
    /// segment before is the last one.
    fn start_segment(&mut self) -> Result<(), WalError> {
        if self.unsynced {
            // The group is not written yet: only what comes before it becomes durable here.
            self.sync(self.first_sequence)?;
        }
        let number = match self.open.take() {
            Some(open) => open.number + 1,
            None => self.shared.queue.lock().segment,
        };
        // A number is used once: the attempt after a failed one takes the next.
        self.shared.queue.lock().segment = number + 1;
        let path = self.shared.dir.join(filenames::segment(number));
        let mut bytes = segment_header(self.first_sequence).to_vec();
        bytes.extend_from_slice(&self.group);
        let file = self.create_segment(&path, &bytes).map_err(|error| {
            // A full disk needs the room; if this fails too, replay sorts the leftover out by its numbers.
            let _ = self.shared.disk.remove_file(&path);
            WalError::disk(&self.shared.dir, "start a segment", &error)
        })?;
        self.shared.metrics.written_bytes.increment(bytes.len() as u64);
        let queue = &mut *self.shared.queue.lock();
        queue.segment = number;
        queue.segments.push_back(SegmentStart { number, first_sequence: self.first_sequence });
        queue.durable_sequence = self.end_sequence;
        let bytes = bytes.len() as u64;
        self.open = Some(OpenSegment { file, number, bytes, synced_bytes: bytes });
        self.last_sync = Some(Instant::now());
        Ok(())
    }

    fn create_segment(&self, path: &Path, bytes: &[u8]) -> std::io::Result<Box<dyn AppendFile>> {
        let Shared { disk, dir, .. } = &*self.shared;
        if !disk.exists(dir) {
            disk.create_dir_all(dir)?;
        }
        let (free, least) = (disk.free_bytes(dir)?, self.shared.settings.free_bytes_min);
        if free < least {
            let text = format!("the disk has {free} bytes free, {least} are kept free");
            return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, text));
        }
        let mut file = disk.create(path)?;
        file.append(bytes)?;
        self.timed_sync(&mut *file)?;
        disk.sync_dir(dir)?;
        Ok(file)
    }

    /// Syncs the open segment, which then has all records below `end_sequence`.
    fn sync(&mut self, end_sequence: u64) -> Result<(), WalError> {
        if let Some(mut open) = self.open.take() {
            let synced = self.timed_sync(&mut *open.file);
            if synced.is_ok() {
                open.synced_bytes = open.bytes;
            }
            self.open = Some(open);
            synced.map_err(|error| WalError::disk(&self.shared.dir, "sync a segment", &error))?;
            self.shared.queue.lock().durable_sequence = end_sequence;
        }
        self.unsynced = false;
        self.last_sync = Some(Instant::now());
        Ok(())
    }

    /// Tells everybody that writes fail, then tries to start a new segment with what is not durable until that works.
    /// `false` when the log was closed meanwhile and the last attempt failed too.
    fn recover(&mut self, error: WalError) -> bool {
        tracing::error!(%error, "the write-ahead log cannot write; it refuses records and tries again");
        self.break_off(&error);
        self.abandon_segment();
        loop {
            let closed = {
                let mut queue = self.shared.queue.lock();
                let until = Instant::now() + self.shared.settings.retry_wait;
                while !queue.closed && !self.shared.wake.wait_until(&mut queue, until).timed_out() {}
                if self.group.is_empty() {
                    self.first_sequence = queue.next_sequence - queue.records;
                }
                self.group.append(&mut queue.frames);
                queue.records = 0;
                self.end_sequence = queue.next_sequence;
                queue.closed
            };
            let restarted = if self.group.is_empty() { Ok(()) } else { self.start_segment() };
            match restarted {
                Ok(()) => {
                    self.shared.queue.lock().broken = None;
                    self.finish_group();
                    self.shared.admission.notify_waiters();
                    tracing::info!(dir = %self.shared.dir.display(), "the write-ahead log writes again");
                    return true;
                }
                Err(error) if closed => {
                    tracing::error!(%error, "the write-ahead log was closed while it could not write");
                    return false;
                }
                Err(error) => self.break_off(&error),
            }
        }
    }

    /// Fails everybody who waits; from here on nobody is admitted.
    fn break_off(&mut self, error: &WalError) {
        self.shared.metrics.writes_failed.increment(1);
        {
            let queue = &mut *self.shared.queue.lock();
            queue.broken = Some(error.clone());
            self.waiters.append(&mut queue.waiters);
        }
        self.answer_waiters(&Err(error.clone()));
        self.shared.admission.notify_waiters();
    }

    /// Leaves the open segment alone, cut to what is known to be durable if the disk lets us.
    fn abandon_segment(&mut self) {
        if let Some(open) = self.open.take() {
            drop(open.file);
            let path = self.shared.dir.join(filenames::segment(open.number));
            if self.shared.settings.durability != Durability::Async {
                // What is cut is still in `group`. If this fails replay skips what comes twice.
                let _ = self.shared.disk.truncate(&path, open.synced_bytes);
            }
            self.shared.queue.lock().segment = open.number + 1;
        }
        self.unsynced = false;
    }

    fn timed_sync(&self, file: &mut dyn AppendFile) -> std::io::Result<()> {
        let start = Instant::now();
        let result = file.sync_data();
        self.shared.metrics.fsync_seconds.record(start.elapsed());
        result
    }

    fn answer_waiters(&mut self, answer: &Result<(), WalError>) {
        for waiter in self.waiters.drain(..) {
            // A waiter that went away does not care.
            let _ = waiter.send(answer.clone());
        }
    }
}

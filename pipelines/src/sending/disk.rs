//! A sending queue on disk: batches are records of a write-ahead log until they are delivered.
//!
//! A push is acknowledged when its record is durable. One thread reads records back in order, a few ahead of the
//! consumers, notes which are done with, and removes segments that hold nothing else; so memory holds what is being
//! delivered and a few words for each waiting batch. What is not marked is delivered again after a restart.
//!
//! - DISKQ-1: an acknowledged batch is delivered, or given up by the rules of `retry_on_failure`, at least once,
//!   whatever happens to the process and, short of damage to the disk, to the machine.
//! - DISKQ-2: batches are handed out in the order in which the log has them.

mod entry;
mod filenames;
mod marks;
mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{Counter, counter};
use model::ErrorKind;
use parking_lot::{Condvar, Mutex};
use runtime::{Disk, LocalDisk, MemoryBudget, Tasks};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use wal::{Ticket, Wal, WalSettings};
use wire::otlp::PartsRoom;

pub use self::entry::{EntryError, decode_queued, encode_queued};
use self::marks::{Done, Marks};
use super::Sizer;
use super::batcher::split_bytes;
use super::room::{PushError, Room};
use crate::{Batch, ComponentId, FileStorage, PipelineError, PipelineResult};

/// Small segments are soon free again: disk space in use is what waits plus about one segment.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// Payloads of records: with room for what is known about the sender.
const PIECE_BYTES_MAX: usize = wal::RECORD_BYTES_MAX / 2;

/// Batches read ahead of the consumers: enough that none waits for the disk, and memory stays small.
const READ_AHEAD: usize = 2;

/// A queue that is open.
pub(super) struct DiskQueue(Arc<Shared>);

/// What pushers, consumers and the worker thread share.
pub(super) struct Shared {
    id: ComponentId,
    wal: Wal,
    room: Room,
    sizer: Sizer,
    budget: Arc<MemoryBudget>,
    state: Mutex<State>,
    /// Wakes the worker.
    wake: Condvar,
    /// Wakes consumers, and whoever waits for the worker's end.
    changed: Notify,
    lost: Counter,
    tasks: Tasks,
    /// Held until the queue has ended; `None` on a disk of a test.
    lock: Mutex<Option<std::fs::File>>,
}

#[derive(Default)]
struct State {
    /// Records that nobody has yet, oldest first.
    waiting: VecDeque<u64>,
    /// Read back, for the next consumer.
    ready: VecDeque<(u64, Batch)>,
    /// The worker is reading a record.
    reading: bool,
    /// Records that are not done with, those being delivered included.
    unfinished: BTreeSet<u64>,
    /// Done with, and not marked yet.
    finished: Vec<u64>,
    /// Batches that consumers have.
    in_flight: usize,
    /// Nothing more is taken.
    closed: bool,
    /// Nothing more is handed out.
    halted: bool,
    /// The worker is to end, and has ended.
    ending: bool,
    ended: bool,
}

/// A batch on its way to the destination.
pub(super) struct Handed {
    queue: Arc<Shared>,
    sequence: u64,
    size: u64,
}

/// Where and how a queue is opened.
pub(super) struct DiskQueueSettings {
    pub(super) id: ComponentId,
    pub(super) sizer: Sizer,
    pub(super) capacity: u64,
    pub(super) budget: Arc<MemoryBudget>,
}

/// What a log holds that a queue opens.
struct Found {
    wal: Wal,
    room: Room,
    state: State,
    /// Items that wait.
    items: u64,
    /// Batches that cannot be read any more.
    unreadable: u64,
}

/// Why a log cannot be a queue.
enum OpenError {
    Log(wal::WalError),
    /// It has records of a version of a later program.
    Version(u8),
}

/// Opens the log and collects what is not done with.
fn recover(
    disk: Arc<dyn Disk>,
    dir: &Path,
    done: &Done,
    (sizer, capacity, free_bytes_min): (Sizer, u64, u64),
    tasks: &Tasks,
) -> Result<Found, OpenError> {
    let room = Room::new(capacity);
    let mut state = State::default();
    let mut newer = None;
    let (mut strange, mut items) = (0_u64, 0_u64);
    let settings = WalSettings {
        metric_prefix: "tidegate_exporter_queue",
        segment_bytes_max: SEGMENT_BYTES_MAX,
        sequence_min: done.above.last().map_or(done.below, |last| last + 1),
        free_bytes_min,
        ..WalSettings::default()
    };
    let (wal, report) = Wal::open(disk, dir.to_owned(), settings, tasks, |record| {
        if done.contains(record.sequence) {
            return;
        }
        match decode_queued(Bytes::copy_from_slice(record.bytes)) {
            Ok(batch) => {
                items += batch.items;
                room.take_unchecked(sizer.size(&batch));
                state.waiting.push_back(record.sequence);
                state.unfinished.insert(record.sequence);
            }
            Err(EntryError::Version(version)) => newer = Some(version),
            Err(EntryError::Malformed) => strange += 1,
        }
    })
    .map_err(OpenError::Log)?;
    if let Some(version) = newer {
        return Err(OpenError::Version(version));
    }
    let unreadable = strange + report.damage.iter().map(|damage| damage.lost_records).sum::<u64>();
    Ok(Found { wal, room, state, items, unreadable })
}

impl DiskQueue {
    /// Opens the queue of an exporter below `storage`. Blocks on the disk, and until a program that still has the
    /// queue lets go of it, for as long as the storage says.
    pub(super) fn open_in(
        storage: &FileStorage,
        settings: DiskQueueSettings,
        tasks: &Tasks,
    ) -> PipelineResult<Self> {
        let dir = storage.directory.join(filenames::queue(&settings.id));
        let at = |what: &str, error: &dyn std::fmt::Display| {
            let text = format!("exporter {}: the queue in {} {what}: {error}", settings.id, dir.display());
            PipelineError::new(ErrorKind::Unavailable, text)
        };
        if !storage.create_directory && !storage.directory.exists() {
            return Err(at("cannot be made", &"its storage does not exist and create_directory is false"));
        }
        make_folder(&dir, storage.directory_permissions).map_err(|error| at("cannot be made", &error))?;
        let lock = lock(&dir, storage.timeout).map_err(|error| at("is in use", &error))?;
        Self::open(Arc::new(LocalDisk), &dir, settings, storage.free_bytes_min, Some(lock), tasks)
    }

    fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: DiskQueueSettings,
        free_bytes_min: u64,
        lock: Option<std::fs::File>,
        tasks: &Tasks,
    ) -> PipelineResult<Self> {
        let DiskQueueSettings { id, sizer, capacity, budget } = settings;
        let failed = |kind: ErrorKind, error: &dyn std::fmt::Display| {
            let text = format!("exporter {id}: the queue in {} does not open: {error}", dir.display());
            PipelineError::new(kind, text)
        };
        disk.create_dir_all(dir).map_err(|error| failed(ErrorKind::Unavailable, &error))?;
        let (mut marks, done) =
            Marks::open(Arc::clone(&disk), dir).map_err(|error| failed(ErrorKind::Invalid, &error))?;
        let limits = (sizer, capacity, free_bytes_min);
        let found = recover(disk, dir, &done, limits, tasks).map_err(|error| match error {
            OpenError::Log(error) => failed(error.kind(), &error),
            OpenError::Version(version) => {
                let text = format!("it has records of version {version}, this program reads 1");
                failed(ErrorKind::Invalid, &text)
            }
        })?;
        let Found { wal, room, state, items, unreadable } = found;
        let lost = counter!("tidegate_exporter_queue_unreadable_batches", "exporter" => id.to_string());
        lost.increment(unreadable);
        if unreadable > 0 {
            tracing::error!(exporter = %id, unreadable, "a part of the queue on disk could not be read");
        }
        let mut kept = done;
        kept.below = state.unfinished.first().copied().unwrap_or(wal.next_sequence());
        kept.above = kept.above.split_off(&kept.below);
        marks.rewrite(&kept).map_err(|error| failed(ErrorKind::Unavailable, &error))?;
        if !state.waiting.is_empty() {
            tracing::info!(exporter = %id, batches = state.waiting.len(), items, "fetched the queue from the disk");
        }
        let shared = Arc::new(Shared {
            id,
            wal,
            room,
            sizer,
            budget,
            state: Mutex::new(state),
            wake: Condvar::new(),
            changed: Notify::new(),
            lost,
            tasks: tasks.clone(),
            lock: Mutex::new(lock),
        });
        let worker = worker::Worker::new(Arc::clone(&shared), marks, kept.above);
        let started = tasks.spawn_thread("sending-queue", move || worker.run());
        started.map_err(|error| {
            PipelineError::new(ErrorKind::Unavailable, format!("cannot start the queue's thread: {error}"))
        })?;
        Ok(Self(shared))
    }

    /// Units in use.
    pub(super) fn size(&self) -> u64 {
        self.0.room.used()
    }

    /// Adds a batch of `size` units and waits until it is durable; with `wait`, waits for room first. One that is too
    /// large for a record of the log becomes several. Not cancel-safe: a dropped push may have added the batch.
    pub(super) async fn push(&self, batch: &Batch, size: u64, wait: bool) -> Result<(), DiskPushError> {
        let shared = &self.0;
        if batch.payload.len() <= PIECE_BYTES_MAX {
            let mut share = shared.room.take(size, wait).await.map_err(DiskPushError::Queue)?;
            let ticket = self.append(batch, size, &mut share).await?;
            return self.durable(ticket).await;
        }
        let whole = batch.clone();
        let pieces = shared.tasks.spawn_blocking("split batch", move || pieces(whole)).await;
        let pieces = pieces.unwrap_or_else(|_| vec![batch.clone()]);
        // Each of them gives its share back by itself.
        let sizes: Vec<u64> = pieces.iter().map(|piece| shared.sizer.size(piece).max(1)).collect();
        let taken = shared.room.take(sizes.iter().sum(), wait).await;
        let mut share = taken.map_err(DiskPushError::Queue)?;
        let mut tickets = Vec::with_capacity(pieces.len());
        for (piece, size) in pieces.iter().zip(sizes) {
            tickets.push(self.append(piece, size, &mut share).await?);
        }
        for ticket in tickets {
            self.durable(ticket).await?;
        }
        Ok(())
    }

    /// Appends a record; its part of `share` is the record's from then on.
    async fn append(
        &self,
        batch: &Batch,
        size: u64,
        share: &mut OwnedSemaphorePermit,
    ) -> Result<Ticket, DiskPushError> {
        let shared = &self.0;
        let permit = shared.wal.admit().await.map_err(DiskPushError::Log)?;
        let (record, mut scratch) = (encode_queued(batch), Vec::new());
        let prepared = permit.prepare(&record, &mut scratch).map_err(DiskPushError::Log)?;
        let mut state = shared.state.lock();
        if state.closed {
            return Err(DiskPushError::Queue(PushError::Closed));
        }
        // Under the lock, so that the numbers in `waiting` ascend and none is taken for done with.
        let ticket = permit.append_prepared(&prepared);
        if let Some(sequence) = ticket.sequence() {
            state.waiting.push_back(sequence);
            state.unfinished.insert(sequence);
            let units = usize::try_from(size.max(1)).expect("so much was taken");
            share.split(units).expect("all shares were taken together").forget();
        }
        Ok(ticket)
    }

    async fn durable(&self, ticket: Ticket) -> Result<(), DiskPushError> {
        let durable = ticket.await;
        self.0.wake.notify_one();
        durable.map(drop).map_err(DiskPushError::Log)
    }

    /// Takes the oldest batch, waiting for one; `None` when nothing more is handed out. Cancel-safe.
    pub(super) async fn pop(&self) -> Option<(Batch, Handed)> {
        let shared = &self.0;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = shared.state.lock();
                if state.halted {
                    return None;
                }
                if let Some((sequence, batch)) = state.ready.pop_front() {
                    state.in_flight += 1;
                    shared.wake.notify_one();
                    let size = shared.sizer.size(&batch);
                    return Some((batch, Handed { queue: Arc::clone(shared), sequence, size }));
                }
                if state.closed && state.waiting.is_empty() && !state.reading {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Takes nothing more; what waits is still handed out.
    pub(super) fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.room.close();
        self.0.tell();
    }

    /// Hands nothing more out; what waits stays on the disk.
    pub(super) fn halt(&self) {
        self.0.state.lock().halted = true;
        self.0.tell();
    }

    /// Lets the worker end as soon as no consumer has a batch any more.
    pub(super) fn end(&self) {
        {
            let mut state = self.0.state.lock();
            state.closed = true;
            state.halted = true;
            state.ending = true;
            state.ready.clear();
        }
        self.0.room.close();
        self.0.tell();
    }

    /// Batches that stay on the disk, after the end.
    pub(super) fn left(&self) -> usize {
        self.0.state.lock().unfinished.len()
    }

    /// Waits for the worker's end and closes the log.
    pub(super) async fn ended(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.0.state.lock().ended {
                break;
            }
            changed.await;
        }
        self.0.wal.close().await;
        // Another may open it from here on.
        drop(self.0.lock.lock().take());
    }
}

impl Drop for DiskQueue {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why a batch was not taken.
pub(super) enum DiskPushError {
    /// There is no room, or the queue is closed.
    Queue(PushError),
    /// The disk does not take it.
    Log(wal::WalError),
}

impl Shared {
    fn tell(&self) {
        self.wake.notify_one();
        self.changed.notify_waiters();
    }
}

impl Handed {
    /// The batch is delivered, or given up: it is not handed out again.
    pub(super) fn finish(self) {
        let mut state = self.queue.state.lock();
        state.finished.push(self.sequence);
        state.unfinished.remove(&self.sequence);
        drop(state);
        self.queue.room.give_back(self.size);
    }
}

impl Drop for Handed {
    /// Without [`Handed::finish`] the batch stays on the disk for the next start.
    fn drop(&mut self) {
        self.queue.state.lock().in_flight -= 1;
        self.queue.wake.notify_one();
    }
}

/// A large batch in pieces that are records each; one that cannot be split stays as it is, for the log to refuse.
fn pieces(batch: Batch) -> Vec<Batch> {
    let Batch { signal, payload, items, .. } = &batch;
    let mut room = PartsRoom::of(payload.len());
    let parts = split_bytes(*signal, payload, *items, PIECE_BYTES_MAX as u64, &mut room);
    let with = |(payload, items)| Batch { payload, items, ..batch.clone() };
    parts.map_or_else(|| vec![batch.clone()], |parts| parts.into_iter().map(with).collect())
}

/// Makes the folder of a queue and those above it.
fn make_folder(dir: &Path, permissions: u32) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(permissions).create(dir)?;
    // A second time for its syncs: the names of new folders must be durable before a batch is acknowledged.
    LocalDisk.create_dir_all(dir)?;
    dir.ancestors().skip(1).take(2).try_for_each(|folder| LocalDisk.sync_dir(folder))
}

/// Takes the lock of a queue's folder, waiting at most `timeout` for its owner.
fn lock(dir: &Path, timeout: Duration) -> std::io::Result<std::fs::File> {
    const POLL: Duration = Duration::from_millis(20);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(filenames::LOCK))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if began.elapsed() < timeout => {
                std::thread::park_timeout(POLL)
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(std::io::Error::other(
                    "another program, or an exporter of this one, has it open",
                ));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;

//! The handle on a log: open with replay, admit, append, rotate, truncate, close.

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::{Condvar, Mutex};
use runtime::{Disk, Tasks};
use tokio::sync::{Notify, oneshot, watch};

use crate::frame::{FRAME_HEADER_BYTES, Payload, frame_in_place};
use crate::metrics::WalMetrics;
use crate::replay::{self, Record, ReplayReport};
use crate::settings::RECORD_BYTES_MAX;
use crate::writer::{GROUP_BYTES_ENOUGH, Parked, Writer};
use crate::{WalError, WalSettings, filenames};

/// A write-ahead log. Dropping it closes it; what was appended is still written.
pub struct Wal {
    shared: Arc<Shared>,
}

/// The right to append the records of one request; given while the log is in service.
pub struct Permit(Arc<Shared>);

/// A record that can be appended at once.
pub struct Prepared<'r>(Payload<'r>);

/// Resolves when a record and all before it are durable, to the record's number. Dropping it changes nothing: the
/// record is written all the same.
#[derive(Debug)]
pub struct Ticket(Waiting);

#[derive(Debug)]
enum Waiting {
    Failed(WalError),
    Group { answer: oneshot::Receiver<Result<(), WalError>>, sequence: u64, dir: PathBuf },
}

/// A segment and where its records start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentStart {
    pub(crate) number: u64,
    pub(crate) first_sequence: u64,
}

/// What the handle and the writer thread share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) settings: WalSettings,
    pub(crate) metrics: WalMetrics,
    pub(crate) queue: Mutex<Queue>,
    /// Wakes the writer.
    pub(crate) wake: Condvar,
    /// Wakes those who wait for admission.
    pub(crate) admission: Notify,
    tasks: Tasks,
    /// Whether the writer has ended for good.
    finished: watch::Sender<bool>,
}

/// What waits for the disk.
#[derive(Default)]
pub(crate) struct Queue {
    /// Frames of waiting records, oldest first.
    pub(crate) frames: Vec<u8>,
    /// Waiting records: number of them in `frames`.
    pub(crate) records: u64,
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), WalError>>>,
    pub(crate) next_sequence: u64,
    /// All records below this are durable.
    pub(crate) durable_sequence: u64,
    /// All records below this are as durable as the settings ask for.
    pub(crate) acknowledged_sequence: u64,
    /// Segment that the next group goes to, or the one being written.
    pub(crate) segment: u64,
    /// Segments on disk, ascending.
    pub(crate) segments: VecDeque<SegmentStart>,
    /// Asks the writer for a new segment before the next group.
    pub(crate) rotate: bool,
    /// Why writes fail now.
    pub(crate) broken: Option<WalError>,
    pub(crate) closed: bool,
    /// What the writer left when it gave its thread back.
    pub(crate) parked: Parked,
    /// Whether the writer has a thread.
    pub(crate) has_thread: bool,
}

/// Tells those who wait that the writer has ended, also when it panics: nothing is taken from then on.
struct WriterEnd {
    shared: Arc<Shared>,
    is_for_good: bool,
}

impl WriterEnd {
    /// Runs the writer, which tells whether it ended for good.
    fn after(mut self, run: impl FnOnce(Writer) -> bool) {
        self.is_for_good = run(Writer::new(Arc::clone(&self.shared)));
    }
}

impl Drop for WriterEnd {
    fn drop(&mut self) {
        if !self.is_for_good {
            return;
        }
        {
            let queue = &mut *self.shared.queue.lock();
            if !queue.closed {
                queue.broken = Some(WalError::writer_ended(&self.shared.dir));
            }
            queue.waiters.clear();
        }
        self.shared.finished.send_replace(true);
        self.shared.admission.notify_waiters();
    }
}

impl Wal {
    /// Replays the log in `dir` (made when the first record comes) through `deliver` and opens it for appending.
    /// Blocks on the disk. Damage is in the report, not an error: the log opens if its folder can be
    /// read and written, unless a newer version of the program wrote it.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        settings: WalSettings,
        tasks: &Tasks,
        deliver: impl FnMut(Record<'_>),
    ) -> Result<(Self, ReplayReport), WalError> {
        let metrics = WalMetrics::new(settings.metric_prefix);
        let replayed = replay::replay(&*disk, &dir, &metrics, deliver)?;
        let next_sequence = replayed.next_sequence.max(settings.sequence_min);
        let queue = Queue {
            next_sequence,
            durable_sequence: next_sequence,
            acknowledged_sequence: next_sequence,
            segment: replayed.next_segment,
            segments: replayed.segments.into(),
            ..Queue::default()
        };
        let shared = Arc::new(Shared {
            disk,
            dir,
            settings,
            metrics,
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            admission: Notify::new(),
            tasks: tasks.clone(),
            finished: watch::channel(false).0,
        });
        Ok((Self { shared }, replayed.report))
    }

    /// Waits for room in the queue. Fails with `Unavailable` while writes fail and `Closed` after `close`.
    /// Cancel-safe.
    pub async fn admit(&self) -> Result<Permit, WalError> {
        loop {
            let room = self.shared.admission.notified();
            if self.try_admit()? {
                return Ok(Permit(Arc::clone(&self.shared)));
            }
            room.await;
        }
    }

    fn try_admit(&self) -> Result<bool, WalError> {
        let queue = &mut *self.shared.queue.lock();
        if queue.closed {
            return Err(WalError::closed(&self.shared.dir));
        }
        if let Some(error) = &queue.broken {
            return Err(error.clone());
        }
        self.shared.start_writer(queue)?;
        Ok(queue.frames.len() < self.shared.settings.queue_bytes_max)
    }

    /// Admits and appends one record; resolves when it is durable, to its number. When it fails with `Unavailable`
    /// after admission the record may still come back at replay (WAL-3). Not cancel-safe: it may be appended or not.
    pub async fn append(&self, record: &[u8]) -> Result<u64, WalError> {
        self.admit().await?.append(record).await
    }

    /// A ticket for everything that was appended before.
    pub fn barrier(&self) -> Ticket {
        let queue = &mut *self.shared.queue.lock();
        self.shared.wait_in(queue)
    }

    /// Waits until all records that were appended before are durable. Blocks the thread: not for async ones.
    pub fn wait(&self) -> Result<(), WalError> {
        let Ticket(waiting) = {
            let queue = &mut *self.shared.queue.lock();
            if queue.acknowledged_sequence >= queue.next_sequence {
                return Ok(());
            }
            self.shared.wait_in(queue)
        };
        match waiting {
            Waiting::Failed(error) => Err(error),
            Waiting::Group { answer, dir, .. } => {
                answer.blocking_recv().unwrap_or_else(|_| Err(WalError::closed(&dir)))
            }
        }
    }

    /// All records below this number are as durable as the settings ask for, and can be read with a [`crate::Reader`].
    pub fn acknowledged_sequence(&self) -> u64 {
        self.shared.queue.lock().acknowledged_sequence
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Number that the next record gets. All records that were appended before have lower ones.
    pub fn next_sequence(&self) -> u64 {
        self.shared.queue.lock().next_sequence
    }

    /// The segment that the next record may go to; records appended before are in it or below.
    pub fn current_segment(&self) -> u64 {
        self.shared.queue.lock().segment
    }

    /// Removes the segments that hold only records below `sequence`, once all those are stored elsewhere. The newest
    /// segment stays (it carries the numbering on); when it could go too, the next record starts a new one. Blocks on
    /// the disk.
    pub fn truncate_before(&self, sequence: u64) -> Result<(), WalError> {
        let Shared { disk, dir, queue, metrics, .. } = &*self.shared;
        let mut removed = false;
        loop {
            let number = {
                let mut queue = queue.lock();
                queue.rotate |= queue.segments.back().is_some_and(|last| last.first_sequence < sequence)
                    && sequence >= queue.next_sequence;
                match (queue.segments.front(), queue.segments.get(1)) {
                    (Some(first), Some(second)) if second.first_sequence <= sequence => first.number,
                    _ => break,
                }
            };
            match disk.remove_file(&dir.join(filenames::segment(number))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(WalError::disk(dir, "remove a segment", &error));
                }
                _ => drop(queue.lock().segments.pop_front()),
            }
            removed = true;
        }
        if removed {
            metrics.truncations.increment(1);
            disk.sync_dir(dir).map_err(|error| WalError::disk(dir, "sync the folder", &error))?;
        }
        Ok(())
    }

    /// Takes no more records if none was appended lately, so that nothing waits and the writer has no thread; tells
    /// whether the log is closed now.
    pub fn close_at_rest(&self) -> bool {
        let queue = &mut *self.shared.queue.lock();
        let is_at_rest = !queue.has_thread && queue.records == 0 && queue.waiters.is_empty();
        if is_at_rest {
            self.shared.close_queue(queue);
        }
        is_at_rest
    }

    /// Takes no more records, writes what waits and ends the writer thread.
    pub async fn close(&self) {
        self.shared.close();
        let mut finished = self.shared.finished.subscribe();
        // It cannot fail: the sender is in what we hold.
        let _ = finished.wait_for(|finished| *finished).await;
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Permit {
    /// Appends `record`; its place in the log is that of this call, the ticket tells when it is durable. Whatever the
    /// ticket says, the record is in the log's order from now on and is written as soon as the disk allows (WAL-3).
    pub fn append(&self, record: &[u8]) -> Ticket {
        let mut scratch = Vec::new();
        match self.prepare(record, &mut scratch) {
            Ok(prepared) => self.append_prepared(&prepared),
            Err(error) => Ticket(Waiting::Failed(error)),
        }
    }

    /// Does what takes long of an append, for those whose others wait meanwhile: the checksum, and compression into
    /// `scratch` if that is worth it.
    pub fn prepare<'r>(&self, record: &'r [u8], scratch: &'r mut Vec<u8>) -> Result<Prepared<'r>, WalError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(WalError::too_large(record.len(), RECORD_BYTES_MAX));
        }
        Ok(Prepared(Payload::new(record, self.0.settings.compress_bytes_min, scratch)))
    }

    /// The rest of an append.
    pub fn append_prepared(&self, prepared: &Prepared<'_>) -> Ticket {
        let shared = &self.0;
        let queue = &mut *shared.queue.lock();
        let unsynced = u32::try_from(queue.next_sequence - queue.durable_sequence).unwrap_or(u32::MAX);
        prepared.0.write(queue.next_sequence, unsynced, &mut queue.frames);
        queue.next_sequence += 1;
        queue.records += 1;
        shared.wait_in(queue)
    }
}

impl Permit {
    /// Like [`Permit::append`] for a record that `encode` appends to the log's own buffer, which saves a copy. Others
    /// wait meanwhile: it is to do nothing but write bytes. Not compressed.
    pub fn append_with(&self, encode: impl FnOnce(&mut Vec<u8>)) -> Ticket {
        let shared = &self.0;
        let queue = &mut *shared.queue.lock();
        let start = queue.frames.len();
        let unsynced = u32::try_from(queue.next_sequence - queue.durable_sequence).unwrap_or(u32::MAX);
        queue.frames.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        encode(&mut queue.frames);
        let bytes = queue.frames.len() - start - FRAME_HEADER_BYTES;
        if bytes > RECORD_BYTES_MAX {
            queue.frames.truncate(start);
            return Ticket(Waiting::Failed(WalError::too_large(bytes, RECORD_BYTES_MAX)));
        }
        frame_in_place(queue.next_sequence, unsynced, &mut queue.frames[start..]);
        queue.next_sequence += 1;
        queue.records += 1;
        shared.wait_in(queue)
    }
}

impl Ticket {
    /// The number of the record that this ticket is for, or, for that of a barrier, of the last record in front of it;
    /// `None` when the log did not take it.
    pub fn sequence(&self) -> Option<u64> {
        match &self.0 {
            Waiting::Failed(_) => None,
            Waiting::Group { sequence, .. } => Some(*sequence),
        }
    }
}

impl Shared {
    /// Gives the writer a thread, if it has none.
    fn start_writer(self: &Arc<Self>, queue: &mut Queue) -> Result<(), WalError> {
        if queue.has_thread {
            return Ok(());
        }
        let end = WriterEnd { shared: Arc::clone(self), is_for_good: true };
        let started = self.tasks.spawn_thread("wal-writer", move || end.after(Writer::run));
        started.map_err(|error| WalError::disk(&self.dir, "start the writer thread", &error))?;
        queue.has_thread = true;
        Ok(())
    }

    /// A ticket for all that is in the queue and before it.
    fn wait_in(self: &Arc<Self>, queue: &mut Queue) -> Ticket {
        if let Some(error) = &queue.broken {
            return Ticket(Waiting::Failed(error.clone()));
        }
        if queue.closed {
            return Ticket(Waiting::Failed(WalError::closed(&self.dir)));
        }
        if let Err(error) = self.start_writer(queue) {
            return Ticket(Waiting::Failed(error));
        }
        let (sender, receiver) = oneshot::channel();
        queue.waiters.push(sender);
        if queue.waiters.len() == 1 || queue.frames.len() >= GROUP_BYTES_ENOUGH {
            self.wake.notify_one();
        }
        let sequence = queue.next_sequence.saturating_sub(1);
        Ticket(Waiting::Group { answer: receiver, sequence, dir: self.dir.clone() })
    }

    pub(crate) fn close(self: &Arc<Self>) {
        self.close_queue(&mut self.queue.lock());
    }

    fn close_queue(self: &Arc<Self>, queue: &mut Queue) {
        queue.closed = true;
        if (!queue.has_thread && queue.records == 0) || self.start_writer(queue).is_err() {
            self.finished.send_replace(true);
        }
        self.wake.notify_one();
        self.admission.notify_waiters();
    }
}

impl Future for Ticket {
    type Output = Result<u64, WalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Waiting::Failed(error) => Poll::Ready(Err(error.clone())),
            Waiting::Group { answer, sequence, dir } => {
                Pin::new(answer).poll(context).map(|answer| match answer {
                    Ok(result) => result.map(|()| *sequence),
                    Err(_) => Err(WalError::closed(dir)),
                })
            }
        }
    }
}

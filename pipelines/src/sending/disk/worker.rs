//! The thread of a queue on disk: reads records back, marks those that are done with, removes what nobody needs.
//!
//! It is the only one that reads the log and writes the marks, so both need no lock. It ends when the queue is ending
//! and no consumer has a batch any more, and leaves as little as possible for the next start to read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wal::Reader;

use super::marks::{Done, Marks};
use super::{READ_AHEAD, SEGMENT_BYTES_MAX, Shared, entry};
use crate::Throttle;

/// How long the disk is left alone after a failed read, and how often a record that is not durable yet is asked for
/// when nobody tells.
const RETRY_WAIT: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    shared: Arc<Shared>,
    reader: Reader,
    marks: Marks,
    /// Marked, and not below everything that is unfinished.
    marked: BTreeSet<u64>,
    /// Bytes read since segments were last removed.
    bytes_read: u64,
    /// What the disk refused: each of it may come many times a second.
    failed: Throttle<Failed>,
}

#[derive(PartialEq, Eq, Hash)]
enum Failed {
    Read,
    Mark,
    Rewrite,
    Remove,
}

enum Work {
    Mark(Vec<u64>),
    Read(u64),
    End,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, marks: Marks, marked: BTreeSet<u64>) -> Self {
        let reader = shared.wal.reader();
        Self { shared, reader, marks, marked, bytes_read: 0, failed: Throttle::default() }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.next_work() {
                Work::Mark(finished) => self.mark(finished),
                Work::Read(sequence) => self.read(sequence),
                Work::End => break,
            }
        }
        self.clean_up();
        self.shared.state.lock().ended = true;
        self.shared.changed.notify_waiters();
    }

    fn next_work(&self) -> Work {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        loop {
            if !state.finished.is_empty() {
                return Work::Mark(std::mem::take(&mut state.finished));
            }
            if state.ending && state.in_flight == 0 {
                return Work::End;
            }
            let next = state.waiting.front().copied();
            let Some(sequence) = next.filter(|_| !state.halted && state.ready.len() < READ_AHEAD) else {
                shared.wake.wait(&mut state);
                continue;
            };
            if sequence < shared.wal.acknowledged_sequence() {
                state.waiting.pop_front();
                state.reading = true;
                return Work::Read(sequence);
            }
            // Its pusher tells when it is durable, unless the pusher went away.
            shared.wake.wait_for(&mut state, RETRY_WAIT);
        }
    }

    /// Reads a record back and puts it where consumers look.
    fn read(&mut self, sequence: u64) {
        let shared = &*self.shared;
        let record = match self.reader.read(sequence) {
            Ok(record) => record.map(Bytes::copy_from_slice),
            Err(error) => {
                if let Some(failures) = self.failed.add(Failed::Read, 1) {
                    tracing::error!(
                        exporter = %shared.id, sequence, failures, %error,
                        "cannot read the queue on disk, trying again; nothing behind this batch is delivered meanwhile"
                    );
                }
                let mut state = shared.state.lock();
                state.waiting.push_front(sequence);
                state.reading = false;
                shared.wake.wait_for(&mut state, RETRY_WAIT);
                return;
            }
        };
        self.bytes_read += record.as_ref().map_or(0, |record| record.len() as u64);
        let batch = record.and_then(|record| entry::decode_queued(record).ok());
        let mut state = shared.state.lock();
        state.reading = false;
        match batch {
            Some(mut batch) => {
                let reserved = shared.budget.reserve_unchecked(batch.payload.len() as u64);
                batch.reservation = Some(Arc::new(reserved));
                state.ready.push_back((sequence, batch));
            }
            None => {
                // Its share of the capacity is unknown; it comes back with the next start.
                tracing::error!(exporter = %shared.id, sequence, "a batch in the queue on disk is damaged");
                shared.lost.increment(1);
                state.unfinished.remove(&sequence);
                state.finished.push(sequence);
            }
        }
        drop(state);
        shared.changed.notify_waiters();
    }

    fn mark(&mut self, finished: Vec<u64>) {
        let added = self.marks.add(&finished);
        self.marked.extend(finished);
        if let Err(error) = added
            && let Some(failures) = self.failed.add(Failed::Mark, 1)
        {
            // Harmless but for what a restart delivers again, unless it goes on.
            tracing::warn!(exporter = %self.shared.id, failures, %error, "cannot mark what was delivered");
        }
        let has_read_enough = self.bytes_read >= SEGMENT_BYTES_MAX;
        if has_read_enough || self.marks.is_large() {
            self.clean_up();
        }
    }

    /// Removes segments that hold nothing unfinished, and writes the marks anew.
    fn clean_up(&mut self) {
        self.bytes_read = 0;
        let below = {
            let state = self.shared.state.lock();
            // Records come into `unfinished` under the same lock as they get their numbers.
            state.unfinished.first().copied().unwrap_or_else(|| self.shared.wal.next_sequence())
        };
        self.marked = self.marked.split_off(&below);
        let done = Done { below, above: self.marked.clone() };
        // First the marks: a segment that is gone needs none, one that stays must not come back.
        let written = self.marks.rewrite(&done);
        if let Err(error) = written
            && let Some(failures) = self.failed.add(Failed::Rewrite, 1)
        {
            tracing::warn!(exporter = %self.shared.id, failures, %error, "cannot write the marks of what was delivered");
        }
        if let Err(error) = self.shared.wal.truncate_before(below)
            && let Some(failures) = self.failed.add(Failed::Remove, 1)
        {
            tracing::warn!(exporter = %self.shared.id, failures, %error, "cannot remove what was delivered from the disk");
        }
    }
}

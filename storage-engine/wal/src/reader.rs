//! Reads durable records of an open log back, mostly one after the other: for a log that is also a queue.
//!
//! A record is in the last segment that starts at or before its number: what a failed write left in an older one was
//! written again there. Cost per record: two reads at an offset and one CRC32C pass; a jump backwards or into another
//! segment walks that segment's frames from its start.

use std::sync::Arc;

use runtime::ReadFile;

use crate::frame::{FRAME_HEADER_BYTES, Frame, SEGMENT_HEADER_BYTES};
use crate::log::{SegmentStart, Shared};
use crate::replay::find_frame;
use crate::settings::RECORD_BYTES_MAX;
use crate::{Wal, WalError, filenames};

/// Reads records of a log by their numbers.
pub struct Reader {
    shared: Arc<Shared>,
    open: Option<OpenSegment>,
    frame: Vec<u8>,
    scratch: Vec<u8>,
}

struct OpenSegment {
    number: u64,
    file: Arc<dyn ReadFile>,
    offset: u64,
    /// All records below this lie before `offset`.
    next_sequence: u64,
}

/// Largest payload of a frame: a record, or its length and an LZ4 block, which is only kept when smaller.
const PAYLOAD_BYTES_MAX: usize = RECORD_BYTES_MAX;

impl Wal {
    /// A reader of this log's records.
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(self.shared()), open: None, frame: Vec::new(), scratch: Vec::new() }
    }

    /// Hands the records from number `from` on that are durable now to `deliver`, in order and each once; what cannot be
    /// read is left out. Nobody may truncate the log meanwhile. Holds a segment in memory. Blocks on the disk.
    pub fn read_from(&self, from: u64, mut deliver: impl FnMut(&[u8])) -> Result<(), WalError> {
        let Shared { disk, dir, queue, .. } = &**self.shared();
        let (segments, end): (Vec<SegmentStart>, u64) = {
            let queue = queue.lock();
            (queue.segments.iter().copied().collect(), queue.acknowledged_sequence)
        };
        let mut next = from;
        for (index, segment) in segments.iter().enumerate() {
            // What a later segment has as well is read there.
            let limit = segments.get(index + 1).map_or(end, |later| later.first_sequence.min(end));
            if limit <= next {
                continue;
            }
            let bytes = disk.read(&dir.join(filenames::segment(segment.number)));
            let bytes = bytes.map_err(|error| WalError::disk(dir, "read a segment", &error))?;
            next = deliver_segment(&bytes, next, limit, &mut deliver);
        }
        Ok(())
    }
}

/// Delivers the records of a segment from `next` on and below `limit`; returns the number behind the last one.
fn deliver_segment(bytes: &[u8], mut next: u64, limit: u64, deliver: &mut impl FnMut(&[u8])) -> u64 {
    let (mut at, mut scratch) = (SEGMENT_HEADER_BYTES, Vec::new());
    while at < bytes.len() {
        let Some((frame, after)) = Frame::read(&bytes[at..]) else {
            match find_frame(bytes, at, Some(next)) {
                Some((found, _)) if found > at => at = found,
                _ => break,
            }
            continue;
        };
        if (next..limit).contains(&frame.sequence) {
            next = frame.sequence + 1;
            if let Some(record) = frame.record(&mut scratch) {
                deliver(record);
            }
        }
        at = bytes.len() - after.len();
    }
    next
}

impl Reader {
    /// The record with this number, which must be durable and not truncated; `None` when it cannot be read because
    /// its bytes are damaged. Blocks on the disk; an error is one of the disk and may pass.
    pub fn read(&mut self, sequence: u64) -> Result<Option<&[u8]>, WalError> {
        self.seek(sequence)?;
        loop {
            match self.next_frame()? {
                Some(found) if found < sequence => {}
                Some(found) if found == sequence => break,
                // Past it, or no whole frame here: look for it behind the bad spot.
                _ => {
                    if !self.search(sequence)? {
                        return Ok(None);
                    }
                    break;
                }
            }
        }
        let frame = Frame::read(&self.frame).map(|(frame, _)| frame);
        Ok(frame.and_then(|frame| frame.record(&mut self.scratch)))
    }

    /// Opens the segment that holds `sequence`, unless it is open and not read past it.
    fn seek(&mut self, sequence: u64) -> Result<(), WalError> {
        let number = {
            let queue = self.shared.queue.lock();
            let holder = queue.segments.iter().rev().find(|segment| segment.first_sequence <= sequence);
            holder.map(|segment| segment.number)
        };
        let Some(number) = number else {
            self.open = None;
            return Ok(());
        };
        if self.open.as_ref().is_some_and(|open| open.number == number && open.next_sequence <= sequence) {
            return Ok(());
        }
        let path = self.shared.dir.join(filenames::segment(number));
        let file = self.shared.disk.open_read(&path);
        let file = file.map_err(|error| WalError::disk(&self.shared.dir, "open a segment", &error))?;
        self.open = Some(OpenSegment { number, file, offset: SEGMENT_HEADER_BYTES as u64, next_sequence: 0 });
        Ok(())
    }

    /// Reads the frame at the place that the reader is at and returns its number; `None` when there is no whole one.
    fn next_frame(&mut self) -> Result<Option<u64>, WalError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let io = |error: std::io::Error| WalError::disk(&self.shared.dir, "read a segment", &error);
        let left = open.file.len().map_err(io)?.saturating_sub(open.offset);
        if left < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        self.frame.resize(FRAME_HEADER_BYTES, 0);
        open.file.read_exact_at(open.offset, &mut self.frame).map_err(io)?;
        let Some((_, len)) = Frame::peek(&self.frame) else { return Ok(None) };
        if len > PAYLOAD_BYTES_MAX || (FRAME_HEADER_BYTES + len) as u64 > left {
            return Ok(None);
        }
        self.frame.resize(FRAME_HEADER_BYTES + len, 0);
        let payload = &mut self.frame[FRAME_HEADER_BYTES..];
        open.file.read_exact_at(open.offset + FRAME_HEADER_BYTES as u64, payload).map_err(io)?;
        let Some((frame, _)) = Frame::read(&self.frame) else { return Ok(None) };
        let sequence = frame.sequence;
        open.offset += self.frame.len() as u64;
        open.next_sequence = sequence + 1;
        Ok(Some(sequence))
    }

    /// Looks for the frame of `sequence` anywhere in the open segment. Only damaged segments come here.
    fn search(&mut self, sequence: u64) -> Result<bool, WalError> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let io = |error: std::io::Error| WalError::disk(&self.shared.dir, "read a segment", &error);
        let len = usize::try_from(open.file.len().map_err(io)?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        open.file.read_exact_at(0, &mut bytes).map_err(io)?;
        let mut from = SEGMENT_HEADER_BYTES.min(len);
        while let Some((at, found)) = find_frame(&bytes, from, Some(sequence)) {
            let Some((_, rest)) = Frame::read(&bytes[at..]) else { break };
            let end = len - rest.len();
            if found == sequence {
                self.frame.clear();
                self.frame.extend_from_slice(&bytes[at..end]);
                open.offset = end as u64;
                open.next_sequence = sequence + 1;
                return Ok(true);
            }
            from = end;
        }
        Ok(false)
    }
}

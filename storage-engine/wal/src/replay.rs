//! Reads the segments of a log at start: every record in order, each once; cuts a torn tail, sets damage aside.
//!
//! A torn tail is what a crash leaves: bytes that were never acknowledged. Damage is a record that was durable once
//! and cannot be read now. They are told apart by what comes later: a whole record behind the bad spot that says, by
//! its `unsynced` count, that the missing one was durable, or a next segment that starts past it.

use std::path::{Path, PathBuf};

use runtime::Disk;

use crate::frame::{FRAME_HEADER_BYTES, Frame, SEGMENT_HEADER_BYTES, read_segment_header};
use crate::log::SegmentStart;
use crate::metrics::WalMetrics;
use crate::{WalError, filenames};

/// A record as it comes back.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Segment that holds it.
    pub segment: u64,
    /// Its number; consecutive, from 0 over the life of the log.
    pub sequence: u64,
    /// The bytes that were appended.
    pub bytes: &'a [u8],
}

/// What replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Segments read.
    pub segments: u64,
    /// Records given back.
    pub records: u64,
    /// Bytes after the last whole record that were never acknowledged and were cut.
    pub torn_bytes: u64,
    /// Places where acknowledged records could not be read.
    pub damage: Vec<Damage>,
}

/// A place where acknowledged records could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: u64,
    /// Where in it the unreadable part starts.
    pub offset: u64,
    /// Bytes that were set aside (`<segment>.damaged`).
    pub bytes: u64,
    /// Records known to be missing.
    pub lost_records: u64,
}

/// What the writer needs to go on.
pub(crate) struct Replayed {
    pub(crate) report: ReplayReport,
    pub(crate) next_sequence: u64,
    pub(crate) next_segment: u64,
    /// Segments on disk, ascending.
    pub(crate) segments: Vec<SegmentStart>,
}

struct Replay<'a, F> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    metrics: &'a WalMetrics,
    deliver: F,
    report: ReplayReport,
    /// Sequence of the next record; `None` before the first segment.
    expected: Option<u64>,
    scratch: Vec<u8>,
}

/// Why reading a segment stopped.
struct Stop {
    offset: usize,
    rest: usize,
    /// Sequence of a later record in the same segment that proves that acknowledged records are missing.
    proof: Option<u64>,
}

/// Reads all segments in `dir`, which may be missing.
pub(crate) fn replay<F: FnMut(Record<'_>)>(
    disk: &dyn Disk,
    dir: &Path,
    metrics: &WalMetrics,
    deliver: F,
) -> Result<Replayed, WalError> {
    let mut numbers = Vec::new();
    if disk.exists(dir) {
        let entries = disk.list(dir).map_err(|error| WalError::disk(dir, "list segments", &error))?;
        numbers.extend(entries.iter().filter_map(|entry| filenames::segment_number(&entry.name)));
        numbers.sort_unstable();
    }
    let report = ReplayReport::default();
    let mut replay = Replay { disk, dir, metrics, deliver, report, expected: None, scratch: Vec::new() };
    let mut unfinished: Option<(u64, Stop, Vec<u8>)> = None;
    let mut segments = Vec::with_capacity(numbers.len());
    for &number in &numbers {
        let path = dir.join(filenames::segment(number));
        let bytes = disk.read(&path).map_err(|error| WalError::disk(dir, "read a segment", &error))?;
        let header = read_segment_header(&bytes);
        replay.settle_gap(unfinished.take(), header, number);
        let first_sequence = header.or(replay.expected).unwrap_or(0);
        segments.push(SegmentStart { number, first_sequence });
        if let Some(stop) = replay.read_segment(number, &bytes) {
            unfinished = Some((number, stop, bytes));
        }
    }
    replay.settle_gap(unfinished.take(), None, 0);
    let report = replay.report;
    Ok(Replayed {
        next_sequence: replay.expected.unwrap_or(0),
        next_segment: numbers.last().map_or(0, |last| last + 1),
        segments,
        report,
    })
}

impl<F: FnMut(Record<'_>)> Replay<'_, F> {
    /// Delivers the records of one segment; tells where it stopped unless that is the end.
    fn read_segment(&mut self, number: u64, bytes: &[u8]) -> Option<Stop> {
        self.report.segments += 1;
        let Some(first) = read_segment_header(bytes) else {
            // Frames carry their own numbers: they tell where the log was if nothing before does.
            if self.expected.is_none() {
                self.expected = find_frame(bytes, 0, |_| true).map(|frame| frame.sequence);
            }
            return Some(self.stop_at(bytes, 0));
        };
        self.expected = Some(self.expected.unwrap_or(first).max(first));
        let mut rest = &bytes[SEGMENT_HEADER_BYTES..];
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let Some((frame, after)) = Frame::read(rest) else { return Some(self.stop_at(bytes, offset)) };
            let expected = self.expected.unwrap_or(first);
            // A lower sequence was written twice: its first write failed after the bytes had reached the file.
            if frame.sequence >= expected {
                if frame.sequence > expected {
                    return Some(self.stop_at(bytes, offset));
                }
                let Some(record) = frame.record(&mut self.scratch) else {
                    return Some(self.stop_at(bytes, offset));
                };
                (self.deliver)(Record { segment: number, sequence: frame.sequence, bytes: record });
                self.report.records += 1;
                self.expected = Some(expected + 1);
            }
            rest = after;
        }
        None
    }

    /// Looks behind a bad spot for a record that proves that the one expected there was durable.
    fn stop_at(&self, bytes: &[u8], offset: usize) -> Stop {
        let expected = self.expected.unwrap_or(0);
        // No more records fit into what is left than one per header.
        let most = ((bytes.len() - offset) / FRAME_HEADER_BYTES) as u64;
        let proof = find_frame(bytes, offset, |sequence| {
            sequence.checked_sub(expected).is_some_and(|distance| distance <= most)
        })
        .filter(|frame| frame.sequence.saturating_sub(u64::from(frame.unsynced)) > expected)
        .map(|frame| frame.sequence);
        Stop { offset, rest: bytes.len() - offset, proof }
    }

    /// Decides, knowing where the next segment starts, what the end of the one before it was.
    fn settle_gap(&mut self, unfinished: Option<(u64, Stop, Vec<u8>)>, next_first: Option<u64>, next: u64) {
        let expected = self.expected;
        let lost_before_next = match (expected, next_first) {
            (Some(expected), Some(first)) => first.saturating_sub(expected),
            _ => 0,
        };
        let Some((number, stop, bytes)) = unfinished else {
            if lost_before_next > 0 {
                self.found_damage(Damage {
                    segment: next,
                    offset: 0,
                    bytes: 0,
                    lost_records: lost_before_next,
                });
            }
            return;
        };
        let path = self.dir.join(filenames::segment(number));
        let damaged = lost_before_next > 0 || stop.proof.is_some();
        if damaged {
            let in_segment = stop.proof.map_or(0, |proof| proof.saturating_sub(expected.unwrap_or(0)));
            self.found_damage(Damage {
                segment: number,
                offset: stop.offset as u64,
                bytes: stop.rest as u64,
                lost_records: lost_before_next.max(in_segment),
            });
        } else {
            self.report.torn_bytes += stop.rest as u64;
            self.metrics.torn_bytes.increment(stop.rest as u64);
        }
        if let Err(error) = self.cut(&path, number, &stop, &bytes, damaged) {
            // Harmless: sequences let the next start read this segment in the same way.
            tracing::warn!(segment = %path.display(), %error, "could not cut the unreadable end of a log segment");
        }
    }

    fn found_damage(&mut self, damage: Damage) {
        tracing::error!(
            dir = %self.dir.display(), segment = damage.segment, offset = damage.offset, bytes = damage.bytes,
            lost_records = damage.lost_records, "acknowledged records of the write-ahead log are unreadable"
        );
        self.metrics.corruptions.increment(1);
        self.report.damage.push(damage);
    }

    fn cut(
        &self,
        path: &Path,
        number: u64,
        stop: &Stop,
        bytes: &[u8],
        set_aside: bool,
    ) -> std::io::Result<()> {
        if set_aside {
            let aside: PathBuf = self.dir.join(filenames::damaged(number));
            self.disk.write_atomically(&aside, &bytes[stop.offset..])?;
        }
        if stop.rest == 0 { Ok(()) } else { self.disk.truncate(path, stop.offset as u64) }
    }
}

/// The first whole frame at or after `from` whose sequence is `plausible` (asked before the checksum is computed).
fn find_frame(bytes: &[u8], from: usize, plausible: impl Fn(u64) -> bool) -> Option<Frame<'_>> {
    (from..bytes.len().saturating_sub(FRAME_HEADER_BYTES)).find_map(|at| {
        let (sequence, len) = Frame::peek(&bytes[at..])?;
        if len > bytes.len() - at - FRAME_HEADER_BYTES || !plausible(sequence) {
            return None;
        }
        Frame::read(&bytes[at..]).map(|(frame, _)| frame)
    })
}

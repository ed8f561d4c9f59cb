//! Reads the segments of a log at start: every record in order, each once; cuts a torn tail, sets damage aside.
//!
//! A torn tail is what a crash leaves at the end of a segment: no whole record lies behind it, and no later segment
//! starts past it. Anything else that cannot be read is damage: the segment is copied aside and kept as it is, and
//! what is readable behind the bad spot is delivered. A crash that kept a later part of an unsynced group and not an
//! earlier one looks the same and is reported too: a false alarm is better than a record that vanishes silently.
//! Bytes with a right checksum and a version or flags that we do not know stop the start before anything is cut.

use std::path::{Path, PathBuf};

use runtime::Disk;

use crate::frame::{FRAME_HEADER_BYTES, Frame, SEGMENT_HEADER_BYTES, read_segment_header, segment_version};
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
    /// Places where records that may have been acknowledged could not be read.
    pub damage: Vec<Damage>,
}

/// A place where records that may have been acknowledged could not be read. The segment is copied to
/// `<segment>.damaged` and stays as it is until its records are stored elsewhere, so every start reports it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: u64,
    /// Where in it the unreadable part starts.
    pub offset: u64,
    /// Bytes that could not be read.
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
    /// Torn tails: the segment and what stays of it.
    cuts: Vec<(PathBuf, u64)>,
    scratch: Vec<u8>,
}

/// Why reading a segment stopped.
struct Stop {
    offset: usize,
    rest: usize,
    /// Nothing behind the offset is a record that is still wanted.
    cut: bool,
}

/// A segment whose end is not settled yet.
struct Unfinished {
    number: u64,
    stop: Stop,
    bytes: Vec<u8>,
}

/// Records are numbered without gaps, but lost segments make some: a number that skips this many is believed.
const SEQUENCE_GAP_MAX: u64 = 1 << 20;

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
    let later = later_starts(disk, dir, &numbers)?;
    let report = ReplayReport::default();
    let (cuts, scratch) = (Vec::new(), Vec::new());
    let mut replay = Replay { disk, dir, metrics, deliver, report, expected: None, cuts, scratch };
    let mut unfinished: Option<Unfinished> = None;
    let mut segments = Vec::with_capacity(numbers.len());
    for (&number, &later) in numbers.iter().zip(&later) {
        let path = dir.join(filenames::segment(number));
        let bytes = disk.read(&path).map_err(|error| WalError::disk(dir, "read a segment", &error))?;
        let header = read_segment_header(&bytes);
        let start = header.or_else(|| find_frame(&bytes, 0, replay.expected).map(|(_, sequence)| sequence));
        replay.settle_gap(unfinished.take(), start.or(later), number)?;
        let first_sequence = header.or(replay.expected).or(start).unwrap_or(0);
        segments.push(SegmentStart { number, first_sequence });
        if let Some(stop) = replay.read_segment(number, &bytes, start, later)? {
            unfinished = Some(Unfinished { number, stop, bytes });
        }
    }
    replay.settle_gap(unfinished.take(), None, 0)?;
    replay.cut_tails();
    let report = replay.report;
    Ok(Replayed {
        next_sequence: replay.expected.unwrap_or(0),
        next_segment: numbers.last().map_or(0, |last| last + 1),
        segments,
        report,
    })
}

/// For each segment, where the next later one with a readable header starts: records from there on are read there.
/// Fails when a segment is of another version.
fn later_starts(disk: &dyn Disk, dir: &Path, numbers: &[u64]) -> Result<Vec<Option<u64>>, WalError> {
    let mut starts = vec![None; numbers.len()];
    let mut later = None;
    for (start, &number) in starts.iter_mut().zip(numbers).rev() {
        *start = later;
        let path = dir.join(filenames::segment(number));
        let io = |error| WalError::disk(dir, "read a segment", &error);
        let file = disk.open_read(&path).map_err(io)?;
        if file.len().map_err(io)? < SEGMENT_HEADER_BYTES as u64 {
            continue;
        }
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(0, &mut header).map_err(io)?;
        if let Some(version) = segment_version(&header).filter(|version| *version != 1) {
            return Err(WalError::version(&path, format!("has version {version}, this program reads 1")));
        }
        later = read_segment_header(&header).or(later);
    }
    Ok(starts)
}

impl<F: FnMut(Record<'_>)> Replay<'_, F> {
    /// Delivers the records of one segment that starts with record `start`; tells where it stopped unless that is the
    /// end. Behind a gap, records from `later` on are left to the segments behind, which have those before them too.
    fn read_segment(
        &mut self,
        number: u64,
        bytes: &[u8],
        start: Option<u64>,
        later: Option<u64>,
    ) -> Result<Option<Stop>, WalError> {
        self.report.segments += 1;
        let mut aside = false;
        let mut at = 0;
        if let Some(start) = start {
            self.expected = Some(self.expected.unwrap_or(start).max(start));
        }
        if read_segment_header(bytes).is_some() {
            at = SEGMENT_HEADER_BYTES;
        }
        while at < bytes.len() {
            let stop = |cut| Some(Stop { offset: at, rest: bytes.len() - at, cut });
            let expected = self.expected.unwrap_or(0);
            let frame = if at == 0 { None } else { Frame::read(&bytes[at..]) };
            let found = match &frame {
                Some((frame, _)) => Some((at, frame.sequence)),
                None => find_frame(bytes, at, self.expected),
            };
            let Some((found_at, sequence)) = found else { return Ok(stop(true)) };
            // A lower sequence was written twice: its first write failed after the bytes had reached the file.
            if found_at > at || sequence > expected {
                if later.is_some_and(|later| sequence >= later) {
                    return Ok(stop(false));
                }
                self.found_damage(Damage {
                    segment: number,
                    offset: at as u64,
                    bytes: (found_at - at) as u64,
                    lost_records: sequence.saturating_sub(expected),
                });
                self.set_aside(number, bytes, &mut aside)?;
                self.expected = Some(sequence);
                at = found_at;
                continue;
            }
            let Some((frame, after)) = frame else { return Ok(stop(true)) };
            let end = bytes.len() - after.len();
            if sequence == expected {
                self.deliver_frame(number, &frame, (at, end), (bytes, &mut aside))?;
            }
            at = end;
        }
        Ok(None)
    }

    /// Delivers one whole frame; one that does not decompress is damage.
    fn deliver_frame(
        &mut self,
        number: u64,
        frame: &Frame<'_>,
        (at, end): (usize, usize),
        (bytes, aside): (&[u8], &mut bool),
    ) -> Result<(), WalError> {
        if let Some(flags) = frame.unknown_flags() {
            let path = self.dir.join(filenames::segment(number));
            return Err(WalError::version(
                &path,
                format!("has a record with unknown flags {flags:#x} at {at}"),
            ));
        }
        self.expected = Some(frame.sequence + 1);
        match frame.record(&mut self.scratch) {
            Some(record) => {
                (self.deliver)(Record { segment: number, sequence: frame.sequence, bytes: record });
                self.report.records += 1;
                Ok(())
            }
            None => {
                let (offset, len) = (at as u64, (end - at) as u64);
                self.found_damage(Damage { segment: number, offset, bytes: len, lost_records: 1 });
                self.set_aside(number, bytes, aside)
            }
        }
    }

    /// Decides, knowing where the next segment starts, what the end of the one before it was.
    fn settle_gap(
        &mut self,
        unfinished: Option<Unfinished>,
        next_first: Option<u64>,
        next: u64,
    ) -> Result<(), WalError> {
        let lost_before_next = match (self.expected, next_first) {
            (Some(expected), Some(first)) => first.saturating_sub(expected),
            _ => 0,
        };
        let Some(Unfinished { number, stop, bytes }) = unfinished else {
            if lost_before_next > 0 {
                let lost_records = lost_before_next;
                self.found_damage(Damage { segment: next, offset: 0, bytes: 0, lost_records });
            }
            return Ok(());
        };
        if lost_before_next > 0 {
            self.found_damage(Damage {
                segment: number,
                offset: stop.offset as u64,
                bytes: stop.rest as u64,
                lost_records: lost_before_next,
            });
            return self.set_aside(number, &bytes, &mut false);
        }
        if stop.rest > 0 {
            // Nobody knows whether this was acknowledged: a crash leaves such an end, a disk that lies one as well.
            tracing::warn!(
                segment = %self.dir.join(filenames::segment(number)).display(), offset = stop.offset, bytes = stop.rest,
                "the end of a log segment holds no whole record and is left out: what a write was cut off in, or damage"
            );
        }
        self.report.torn_bytes += stop.rest as u64;
        self.metrics.torn_bytes.increment(stop.rest as u64);
        if stop.cut && stop.rest > 0 {
            self.cuts.push((self.dir.join(filenames::segment(number)), stop.offset as u64));
        }
        Ok(())
    }

    fn found_damage(&mut self, damage: Damage) {
        tracing::error!(
            dir = %self.dir.display(), segment = damage.segment, offset = damage.offset, bytes = damage.bytes,
            lost_records = damage.lost_records, "a part of the write-ahead log is unreadable"
        );
        self.metrics.corruptions.increment(1);
        self.report.damage.push(damage);
    }

    /// Copies the whole segment, once: flushes remove the segment later, the copy is for a person to look at.
    fn set_aside(&self, number: u64, bytes: &[u8], done: &mut bool) -> Result<(), WalError> {
        let path = self.dir.join(filenames::damaged(number));
        if std::mem::replace(done, true) || self.disk.exists(&path) {
            return Ok(());
        }
        let written = self.disk.write_atomically(&path, bytes);
        written.map_err(|error| WalError::disk(self.dir, "set a damaged segment aside", &error))
    }

    /// Cuts torn tails, when everything was read and nothing refused.
    fn cut_tails(&self) {
        for (path, offset) in &self.cuts {
            if let Err(error) = self.disk.truncate(path, *offset) {
                // Harmless: sequences let the next start read this segment in the same way.
                tracing::warn!(segment = %path.display(), %error, "could not cut the torn end of a log segment");
            }
        }
    }
}

/// Place and sequence of the next whole frame behind a bad spot at `from` that is not known to be read before: by
/// the length that the bad frame claims, else at any byte. Sequences are looked at before the checksum is computed.
pub(crate) fn find_frame(bytes: &[u8], from: usize, expected: Option<u64>) -> Option<(usize, u64)> {
    // No more records fit into what is left than one per header.
    let most = ((bytes.len() - from) / FRAME_HEADER_BYTES) as u64 + SEQUENCE_GAP_MAX;
    let plausible = |sequence: u64| {
        expected.is_none_or(|expected| sequence.checked_sub(expected).is_some_and(|gap| gap <= most))
    };
    let whole = |at: usize| {
        let (sequence, len) = Frame::peek(bytes.get(at..)?)?;
        if len > bytes.len() - at - FRAME_HEADER_BYTES || !plausible(sequence) {
            return None;
        }
        Frame::read(&bytes[at..]).map(|(frame, _)| (at, frame.sequence))
    };
    let claimed = match from {
        0 => Some(SEGMENT_HEADER_BYTES),
        _ => Frame::peek(&bytes[from..]).map(|(_, len)| from + FRAME_HEADER_BYTES + len),
    };
    // The length may be what is damaged: it is believed only when it leads to the very next record.
    let next = |found: &(usize, u64)| {
        expected.is_none_or(|expected| found.1 == expected.saturating_add(u64::from(from > 0)))
    };
    // No frame begins inside the place of the header, whatever the bytes there look like.
    let first = from.max(SEGMENT_HEADER_BYTES);
    claimed.and_then(whole).filter(next).or_else(|| (first..bytes.len()).find_map(whole))
}

//! Counts by stream, minute and level, made while a file is written.

use format::{LogMinuteStart, LogRollup};
use hashbrown::HashMap;
use storage_api::EntryCount;

/// Nanoseconds of a minute.
const MINUTE_NS: i64 = 60_000_000_000;

/// Collects rollups from rows in file order.
#[derive(Debug, Default)]
pub(crate) struct RollupBuilder {
    levels: Vec<String>,
    level_ids: HashMap<Vec<u8>, u32>,
    /// Those of the stream and minute that are being counted, each with its entries at the start of the minute; there
    /// are few levels.
    open: Vec<(LogRollup, EntryCount)>,
    done: Vec<LogRollup>,
    starts: Vec<LogMinuteStart>,
    last_level: u32,
}

impl RollupBuilder {
    /// Counts one row.
    pub(crate) fn add(&mut self, stream: u32, timestamp_ns: i64, level: &[u8], line_bytes: usize) {
        let minute = timestamp_ns.div_euclid(MINUTE_NS);
        if self.open.first().is_none_or(|(open, _)| (open.stream, open.minute) != (stream, minute)) {
            self.close();
        }
        let level = self.level_id(level);
        let bytes = line_bytes as u64;
        let position = self.open.iter().position(|(open, _)| open.level == level).unwrap_or_else(|| {
            let new = LogRollup { stream, minute, level, entries: 0, bytes: 0 };
            self.open.push((new, EntryCount::default()));
            self.open.len() - 1
        });
        let (open, at_start) = &mut self.open[position];
        open.entries += 1;
        open.bytes += bytes;
        if timestamp_ns.rem_euclid(MINUTE_NS) == 0 {
            at_start.entries += 1;
            at_start.bytes += bytes;
        }
    }

    fn level_id(&mut self, level: &[u8]) -> u32 {
        if self.levels.get(self.last_level as usize).is_some_and(|last| last.as_bytes() == level) {
            return self.last_level;
        }
        self.last_level = self.level_ids.get(level).copied().unwrap_or_else(|| {
            let id = self.levels.len() as u32;
            // What other readers call text is text: bytes that came as one.
            self.levels.push(String::from_utf8_lossy(level).into_owned());
            self.level_ids.insert(level.to_owned(), id);
            id
        });
        self.last_level
    }

    fn close(&mut self) {
        self.open.sort_unstable_by_key(|(open, _)| open.level);
        for (open, EntryCount { entries, bytes }) in self.open.drain(..) {
            if entries > 0 {
                self.starts.push(LogMinuteStart { rollup: self.done.len() as u32, entries, bytes });
            }
            self.done.push(open);
        }
    }

    /// The names of levels, the counts, and those of entries at the start of a minute.
    pub(crate) fn finish(mut self) -> (Vec<String>, Vec<LogRollup>, Vec<LogMinuteStart>) {
        self.close();
        (self.levels, self.done, self.starts)
    }
}

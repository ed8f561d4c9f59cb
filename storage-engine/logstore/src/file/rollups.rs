//! Counts by stream, minute and level, made while a file is written.

use format::LogRollup;
use hashbrown::HashMap;

/// Nanoseconds of a minute.
const MINUTE_NS: i64 = 60_000_000_000;

/// Collects rollups from rows in file order.
#[derive(Debug, Default)]
pub(crate) struct RollupBuilder {
    levels: Vec<String>,
    level_ids: HashMap<Vec<u8>, u32>,
    /// Those of the stream and minute that are being counted; there are few levels.
    open: Vec<LogRollup>,
    done: Vec<LogRollup>,
    last_level: u32,
}

impl RollupBuilder {
    /// Counts one row.
    pub(crate) fn add(&mut self, stream: u32, timestamp_ns: i64, level: &[u8], line_bytes: usize) {
        let minute = timestamp_ns.div_euclid(MINUTE_NS);
        if self.open.first().is_none_or(|open| (open.stream, open.minute) != (stream, minute)) {
            self.close();
        }
        let level = self.level_id(level);
        let bytes = line_bytes as u64;
        match self.open.iter_mut().find(|open| open.level == level) {
            Some(open) => {
                open.entries += 1;
                open.bytes += bytes;
            }
            None => self.open.push(LogRollup { stream, minute, level, entries: 1, bytes }),
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
        self.open.sort_unstable_by_key(|open| open.level);
        self.done.append(&mut self.open);
    }

    /// The names of levels, and the counts.
    pub(crate) fn finish(mut self) -> (Vec<String>, Vec<LogRollup>) {
        self.close();
        (self.levels, self.done)
    }
}

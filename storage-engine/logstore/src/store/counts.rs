//! Counts of entries from the files' one-minute rollups: no page is read.
//!
//! Invariant COUNT-1: what a file has of a minute of a stream is counted only when no other place has an entry of the
//! stream between the first and the last of them, so that none can be in two places, and when no entry in it has
//! metadata that would tell it from the others.

use std::sync::Arc;

use format::LogFileIndex;
use hashbrown::HashMap;
use model::{Labels, TimeRange};
use storage_api::{BucketCount, EntryCount, LogCountSelect, StreamCounts};

use super::Inner;
use super::select::{MINUTE_NS, Snapshot};
use super::stop::Stop;
use crate::error::LogStoreResult;
use crate::files::LoadedFile;

/// Metadata name that rollups count by.
const LEVEL_NAME: &str = "detected_level";
/// Metadata name by which an entry says that it is faulty.
const ERROR_NAME: &str = "__error__";

/// Where a stream has entries: the first and the last time of each place, both sorted.
#[derive(Default)]
struct Places {
    firsts: Vec<i64>,
    lasts: Vec<i64>,
}

impl Places {
    fn add(&mut self, range: TimeRange) {
        self.firsts.push(range.min);
        self.lasts.push(range.max);
    }

    fn sort(&mut self) {
        self.firsts.sort_unstable();
        self.lasts.sort_unstable();
    }

    /// Whether one place alone has entries in a range that lies in it.
    fn is_alone(&self, range: (i64, i64)) -> bool {
        let begun = self.firsts.partition_point(|&first| first <= range.1);
        begun - self.lasts.partition_point(|&last| last < range.0) == 1
    }
}

impl Inner {
    /// Blocks on the disk for file indexes that are not in memory.
    pub(super) fn counts(&self, select: &LogCountSelect, stop: &Stop) -> LogStoreResult<Vec<StreamCounts>> {
        let snapshot = self.snapshot(&select.tenant, select.range, &select.matchers, stop)?;
        let places = places(&snapshot);
        let mut streams: HashMap<u32, StreamCounts> = HashMap::new();
        for (data, file) in &snapshot.files {
            // Pages that were set aside are left out when entries are read, so they are when entries are counted.
            if !data.damaged_pages.lock().is_empty() {
                continue;
            }
            count_file(file, &snapshot, &places, select, &mut streams);
        }
        let mut streams: Vec<StreamCounts> = streams.into_values().collect();
        for stream in &mut streams {
            stream.counted.sort_unstable();
            stream
                .buckets
                .sort_by(|left, right| (left.minute, &left.level).cmp(&(right.minute, &right.level)));
            merge_equal(&mut stream.buckets);
        }
        streams.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        Ok(streams)
    }
}

fn places(snapshot: &Snapshot) -> HashMap<u32, Places> {
    let mut places: HashMap<u32, Places> = HashMap::new();
    for (_, file) in &snapshot.files {
        for (stream, id) in file.file.index().streams.iter().zip(&file.stream_ids) {
            if snapshot.selected.contains(*id) {
                places.entry(*id).or_default().add(TimeRange::new(stream.min_ns, stream.max_ns));
            }
        }
    }
    for buffer in &snapshot.buffers {
        for (id, range) in buffer.ranges(&snapshot.selected) {
            places.entry(id).or_default().add(range);
        }
    }
    places.values_mut().for_each(Places::sort);
    places
}

fn count_file(
    file: &LoadedFile,
    snapshot: &Snapshot,
    places: &HashMap<u32, Places>,
    select: &LogCountSelect,
    streams: &mut HashMap<u32, StreamCounts>,
) {
    let index = file.file.index();
    let Some(starts) = &index.minute_starts else { return };
    let levels: Vec<Arc<str>> = index.levels.iter().map(|level| Arc::from(level.as_str())).collect();
    let no_level: Arc<str> = Arc::from("");
    let range = (select.range.min.div_euclid(MINUTE_NS), select.range.max.div_euclid(MINUTE_NS));
    let (mut next_rollup, mut next_start) = (0, 0);
    for (number, stream) in index.streams.iter().enumerate() {
        let first = next_rollup;
        let own = index.rollups[first..].iter().take_while(|rollup| rollup.stream as usize == number);
        next_rollup += own.count();
        let id = file.stream_ids[number];
        let (true, Some(places)) = (snapshot.selected.contains(id), places.get(&id)) else { continue };
        let Some(by_level) = tells_apart(index, &stream.labels, select.by.as_deref()) else { continue };
        let mut counts = StreamCounts::default();
        // Where the file has entries of the stream, as far as it is asked for in whole minutes.
        let asked = (range.0.saturating_mul(MINUTE_NS), last_ns(range.1));
        let extent = (asked.0.max(stream.min_ns), asked.1.min(stream.max_ns));
        if extent.0 > extent.1 {
            continue;
        }
        // A stream that no other place shares is counted whole, minutes without entries included.
        let is_alone = places.is_alone(extent);
        if is_alone {
            counts.counted.push(extent);
        }
        for (position, rollup) in (first..next_rollup).zip(&index.rollups[first..next_rollup]) {
            let minute = rollup.minute;
            if minute < range.0 || minute > range.1 {
                continue;
            }
            if !is_alone {
                let of_minute = (minute.saturating_mul(MINUTE_NS), last_ns(minute));
                let inside = (of_minute.0.max(extent.0), of_minute.1.min(extent.1));
                if !places.is_alone(inside) {
                    continue;
                }
                note_counted(&mut counts.counted, inside, places);
            }
            while starts.get(next_start).is_some_and(|start| (start.rollup as usize) < position) {
                next_start += 1;
            }
            let start = starts.get(next_start).filter(|start| start.rollup as usize == position);
            let at_minute = start.map_or(EntryCount::default(), |start| EntryCount {
                entries: start.entries,
                bytes: start.bytes,
            });
            let since = (minute - select.origin_minute).rem_euclid(select.bucket_minutes.max(1));
            let at_start = if since == 0 { at_minute } else { EntryCount::default() };
            let later = EntryCount {
                entries: rollup.entries - at_start.entries,
                bytes: rollup.bytes - at_start.bytes,
            };
            let level = if by_level { &levels[rollup.level as usize] } else { &no_level };
            add_count(&mut counts.buckets, minute - since, level, at_start, later);
        }
        if !counts.counted.is_empty() {
            let all = streams.entry(id).or_default();
            all.labels = stream.labels.clone();
            all.counted.append(&mut counts.counted);
            all.buckets.append(&mut counts.buckets);
        }
    }
}

/// Whether entries of a stream with these labels have to be told apart by their level; `None` when by something that
/// rollups do not know.
fn tells_apart(index: &LogFileIndex, labels: &Labels, by: Option<&[String]>) -> Option<bool> {
    let names = || index.shapes.iter().flat_map(|shape| &shape.slots).map(|slot| slot.name.as_str());
    let Some(by) = by else {
        return names().next().is_none().then_some(false);
    };
    // Queries show such entries with all that they have.
    if names().any(|name| name == ERROR_NAME) {
        return None;
    }
    let mut by_level = false;
    for wanted in by.iter().filter(|wanted| labels.get(wanted).is_none()) {
        if wanted == LEVEL_NAME {
            let of_level = |shape: &format::LogShape| {
                shape.slots.iter().filter(|slot| reads_as(&slot.name, LEVEL_NAME)).count()
            };
            // A level that comes twice, or that is only read as one, is not the one that was counted.
            let plain = |shape: &format::LogShape| shape.slots.iter().any(|slot| slot.name == LEVEL_NAME);
            if index.shapes.iter().any(|shape| of_level(shape) > usize::from(plain(shape))) {
                return None;
            }
            by_level = true;
        } else if wanted.ends_with("_extracted")
            || wanted.starts_with("__")
            || names().any(|name| reads_as(name, wanted))
        {
            return None;
        }
    }
    Some(by_level)
}

/// Whether queries may know the metadata `name` as the label `wanted`: in labels other characters are underscores.
fn reads_as(name: &str, wanted: &str) -> bool {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    name.chars().map(plain).eq(wanted.chars())
}

/// The last nanosecond of a minute.
fn last_ns(minute: i64) -> i64 {
    minute.saturating_add(1).saturating_mul(MINUTE_NS).saturating_sub(1)
}

/// Adds a range to the stretches, and what lies before it when no other place has entries there.
fn note_counted(counted: &mut Vec<(i64, i64)>, range: (i64, i64), places: &Places) {
    if let Some((first, last)) = counted.last_mut() {
        if *last >= range.1 {
            return;
        }
        if places.is_alone((*first, range.1)) {
            *last = range.1;
            return;
        }
    }
    counted.push(range);
}

fn add_count(
    buckets: &mut Vec<BucketCount>,
    minute: i64,
    level: &Arc<str>,
    at_start: EntryCount,
    later: EntryCount,
) {
    // Rollups come by minute and level: those of a bucket are among the last few.
    let open = buckets.iter_mut().rev().take_while(|bucket| bucket.minute == minute);
    let mut open = open.filter(|bucket| Arc::ptr_eq(&bucket.level, level));
    match open.next() {
        Some(bucket) => {
            add(&mut bucket.at_start, at_start);
            add(&mut bucket.later, later);
        }
        None => buckets.push(BucketCount { minute, level: Arc::clone(level), at_start, later }),
    }
}

fn add(sum: &mut EntryCount, more: EntryCount) {
    sum.entries += more.entries;
    sum.bytes += more.bytes;
}

/// Makes one of buckets that several files have.
fn merge_equal(buckets: &mut Vec<BucketCount>) {
    buckets.dedup_by(|next, kept| {
        let same = (next.minute, &next.level) == (kept.minute, &kept.level);
        if same {
            add(&mut kept.at_start, next.at_start);
            add(&mut kept.later, next.later);
        }
        same
    });
}

//! Fills the head from the records of its checkpoint and its log, one worker per group of shards.
//!
//! A log has one sample of each series in turn, so that every sample would wait for its series to come from memory.
//! Floats are therefore gathered (`gather.rs`) and put into the head series by series: some 35 ns a sample instead of 200.

use format::head_record::{
    CHUNKS, DELETIONS, END, EXEMPLARS, HISTOGRAMS, ItemPlace, NUMBERS, SAMPLES, SERIES, SeriesItem,
    read_chunks, read_deletions, read_end, read_exemplars, read_histogram_items, read_sections, read_series,
};
use format::{ENCODING_XOR, FormatError};
use model::{Exemplar, Labels, TimeRange};

use super::paged::Paged;
use super::series::{Room, Series};
use super::symbols::Symbol;
use super::value::{Value, is_sound};
use super::{Head, Index, Place, SHARDS, append};

mod gather;

use gather::Gathered;

/// Floats that a worker gathers: some 20 of each of 100,000 series, and 16 bytes each of memory, twice for a moment.
const GATHERED_MAX: usize = 1 << 20;

/// Series numbers that may be missing in a row (their records were lost to damage) before a number is taken for
/// nonsense: it would make the head allocate. A checkpoint says up to where there are numbers.
const GAP_MAX: u32 = 1 << 20;

/// What came of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) samples: u64,
    /// Samples and chunks whose series is not known: its record was lost to damage.
    pub(crate) unknown: u64,
    /// Chunks that are not what their record says.
    pub(crate) damaged: u64,
}

impl Restored {
    pub(crate) fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.unknown += other.unknown;
        self.damaged += other.damaged;
    }
}

/// Changes of a shard that are accounted together.
struct Changes {
    bytes: i64,
    chunks: i64,
    range: TimeRange,
    unknown_max: Option<u32>,
    restored: Restored,
}

/// Puts records into some shards of a head, in order. Gathered samples are there once [`Restorer::finish`] returned.
pub(crate) struct Restorer<'a, F> {
    head: &'a Head,
    mine: F,
    /// By shard.
    gathered: Vec<Gathered>,
    /// By shard: numbers below this were given out.
    given: Vec<u32>,
    /// Floats in `gathered`.
    waiting: usize,
    total: Restored,
}

impl<'a, F: Fn(u32) -> bool> Restorer<'a, F> {
    /// Restores the shards for which `mine` says so.
    pub(crate) fn new(head: &'a Head, mine: F) -> Self {
        let gathered = (0..SHARDS).map(|_| Gathered::default()).collect();
        Self { head, mine, gathered, given: vec![0; SHARDS as usize], waiting: 0, total: Restored::default() }
    }

    /// Applies a record, kind byte first. Items of impossible places are left out: the samples that need them are
    /// counted as unknown.
    pub(crate) fn apply(&mut self, record: &[u8]) -> Result<(), FormatError> {
        match record.split_first() {
            Some((&SAMPLES, items)) => {
                let gathered = self.gather(items);
                if self.waiting >= GATHERED_MAX {
                    self.settle();
                }
                gathered
            }
            Some((&HISTOGRAMS, items)) => self.restore_histograms(items),
            Some((&CHUNKS, items)) => self.restore_chunks(items),
            Some((&NUMBERS, items)) => {
                let numbers = read_end(items)?;
                self.given.iter_mut().zip(numbers).for_each(|(given, number)| *given = number);
                Ok(())
            }
            Some((&kind, items)) => {
                if kind == DELETIONS {
                    self.settle();
                }
                let mine = |shard: u32| shard < SHARDS && (self.mine)(shard);
                self.head.restore_names(kind, items, mine, &self.given)
            }
            None => Ok(()),
        }
    }

    /// Puts what waits into the head; tells what came of all records.
    pub(crate) fn finish(mut self) -> Restored {
        self.settle();
        self.total
    }

    fn is_mine(&self, shard: u32) -> bool {
        shard < SHARDS && (self.mine)(shard)
    }

    fn add(&mut self, restored: Restored) {
        self.total.merge(restored);
    }

    fn gather(&mut self, items: &[u8]) -> Result<(), FormatError> {
        let mut damage = None;
        let Self { head, mine, gathered, waiting, total, .. } = self;
        read_sections(items, |section| {
            if section.shard >= SHARDS || !mine(section.shard) {
                return;
            }
            let of_shard = &mut gathered[section.shard as usize];
            let before = of_shard.len();
            let mut at_once = Vec::new();
            let read = section.read(|local, time_ms, value| {
                if of_shard.is_mixed(local) {
                    at_once.push((local, time_ms, value));
                } else {
                    of_shard.push(local, time_ms, value);
                }
            });
            *waiting += of_shard.len() - before;
            if !at_once.is_empty() {
                let restored = head.restore_floats(section.shard, &at_once);
                total.merge(restored);
            }
            damage = damage.take().or(read.err());
        })?;
        damage.map_or(Ok(()), Err)
    }

    /// Puts the gathered floats into the head.
    fn settle(&mut self) {
        for shard in 0..SHARDS {
            let gathered = &mut self.gathered[shard as usize];
            if gathered.len() == 0 {
                continue;
            }
            let restored = self.head.restore_in(shard, |data, changes| {
                let (all, mut room) = data.split(self.head);
                let known = u32::try_from(all.len()).expect("numbers have 32 bits");
                gathered.drain_by_series(known, |local, samples| {
                    let Some(series) = all.get_mut(local) else {
                        changes.restored.unknown += samples.len() as u64;
                        changes.unknown_max = changes.unknown_max.max(Some(local));
                        return;
                    };
                    changes.push_all(series, &mut room, samples);
                });
            });
            self.add(restored);
            self.head.write_closed();
        }
        self.waiting = 0;
    }

    fn restore_histograms(&mut self, items: &[u8]) -> Result<(), FormatError> {
        read_histogram_items(items, |place, histogram| {
            let ItemPlace { shard, local, timestamp_ms } = place;
            if !self.is_mine(shard) {
                return;
            }
            // Only sound ones are written; chunks cannot be made of others.
            if histogram.validate().is_err() {
                self.total.unknown += 1;
                return;
            }
            let mut is_known = false;
            let restored = self.head.restore_in(shard, |data, changes| {
                let (all, mut room) = data.split(self.head);
                let Some(series) = changes.known(all, local) else { return };
                is_known = true;
                changes.insert(series, &mut room, timestamp_ms, &Value::Histogram(histogram.clone()));
                changes.add_time(timestamp_ms);
            });
            if is_known {
                self.gathered[shard as usize].mark_mixed(local);
            }
            self.add(restored);
        })
    }

    fn restore_chunks(&mut self, items: &[u8]) -> Result<(), FormatError> {
        read_chunks(items, |item| {
            if !self.is_mine(item.shard) {
                return;
            }
            let mut is_known = false;
            let restored = self.head.restore_in(item.shard, |data, changes| {
                let (all, mut room) = data.split(self.head);
                let Some(series) = changes.known(all, item.local) else { return };
                is_known = true;
                let range = TimeRange::new(item.min_ms, item.max_ms);
                if !is_sound(item.encoding, item.data, range) {
                    changes.restored.damaged += 1;
                    return;
                }
                let before = (series.memory_bytes(), series.chunks());
                series.restore_chunk(&mut room, range, item.encoding, item.data);
                changes.add_difference(series, before);
                changes.add_time(range.min);
                changes.add_time(range.max);
            });
            if is_known && item.encoding != ENCODING_XOR {
                self.gathered[item.shard as usize].mark_mixed(item.local);
            }
            self.add(restored);
        })
    }
}

impl Head {
    /// Applies a record that holds no samples; `given` numbers of each shard are known to exist.
    fn restore_names(
        &self,
        kind: u8,
        items: &[u8],
        mine: impl Fn(u32) -> bool,
        given: &[u32],
    ) -> Result<(), FormatError> {
        match kind {
            SERIES => {
                let each = |item: SeriesItem<'_>| {
                    if mine(item.shard) {
                        self.restore_one_series(&item, given[item.shard as usize]);
                    }
                };
                read_series(items, each)
            }
            EXEMPLARS => self.restore_exemplars(items, mine),
            DELETIONS => {
                let each = |item: format::head_record::DeletionItem| {
                    let ItemPlace { shard, local, timestamp_ms } = item.place;
                    if mine(shard) {
                        let range = TimeRange::new(timestamp_ms, item.last_ms);
                        if let Err(error) = self.delete_in(Place { shard, local }, range, 0) {
                            tracing::error!(%error, "a deletion in the log is left out");
                        }
                    }
                };
                read_deletions(items, each)
            }
            END => self.restore_end(items, mine),
            _ => Err(FormatError::new("record", "its kind is not known")),
        }
    }

    fn restore_one_series(&self, item: &SeriesItem<'_>, given: u32) {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(2 * item.labels.len());
        self.symbols.intern(item.labels.iter().copied(), &mut symbols);
        let shard = &self.shards[item.shard as usize];
        let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
        let next = u32::try_from(data.series.len()).expect("numbers have 32 bits");
        if index.labels.get(item.local).is_some_and(|known| **known == *symbols) {
            // The checkpoint has it already.
            return;
        }
        if item.local < next || item.local - next > GAP_MAX.max(given.saturating_sub(next)) {
            tracing::warn!(
                shard = item.shard,
                number = item.local,
                expected = next,
                "a series in the log has an impossible number and is left out"
            );
            return;
        }
        // Numbers whose records are lost stay empty for ever: later records may still have samples for them.
        index.labels.skip_to(item.local);
        data.series.skip_to(item.local);
        self.insert(index, data, symbols.into_boxed_slice());
        self.series_count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Puts floats into their series one by one.
    fn restore_floats(&self, shard: u32, samples: &[(u32, i64, f64)]) -> Restored {
        self.restore_in(shard, |data, changes| {
            let (all, mut room) = data.split(self);
            for (local, time_ms, value) in samples {
                let Some(series) = changes.known(all, *local) else { continue };
                changes.push_all(series, &mut room, &[(*time_ms, *value)]);
            }
        })
    }

    fn restore_exemplars(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<(), FormatError> {
        read_exemplars(items, |item| {
            let ItemPlace { shard, local, timestamp_ms } = item.place;
            let place = Place { shard, local };
            let Some(labels) = Labels::try_from_sorted(&item.labels) else { return };
            if !mine(shard) || !self.has(place) {
                return;
            }
            let exemplar = Exemplar { labels, value: item.value, timestamp_ms };
            let labels = self.labels(place);
            // One that is refused now was so when it came.
            let _ = self.exemplars.lock().offer(place, || labels, &exemplar, i64::MAX);
        })
    }

    /// The end of a checkpoint: numbers go on where they ended, and newest chunks grow again.
    fn restore_end(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<(), FormatError> {
        for (number, next) in (0..SHARDS).zip(read_end(items)?).filter(|(number, _)| mine(*number)) {
            let shard = &self.shards[number as usize];
            let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
            index.labels.skip_to(next);
            data.series.skip_to(next);
            let (all, mut room) = data.split(self);
            for local in 0..next {
                if let Some(series) = all.get_mut(local) {
                    let before = series.memory_bytes();
                    series.reopen(&mut room);
                    self.add_memory(append::size(series.memory_bytes()) - append::size(before));
                }
            }
        }
        Ok(())
    }

    /// Runs `change` on a shard and accounts for what it did.
    fn restore_in(&self, shard: u32, change: impl FnOnce(&mut super::Data, &mut Changes)) -> Restored {
        let range = TimeRange::new(i64::MAX, i64::MIN);
        let restored = Restored::default();
        let mut changes = Changes { bytes: 0, chunks: 0, range, unknown_max: None, restored };
        change(&mut self.shards[shard as usize].data.lock(), &mut changes);
        if let Some(local) = changes.unknown_max {
            self.forbid(Place { shard, local });
        }
        self.add_memory(changes.bytes);
        self.add_chunks(changes.chunks);
        if !changes.range.is_empty() {
            self.add_range(changes.range);
        }
        changes.restored
    }

    /// Makes room for a number that samples name although its series record is lost, so that no new series gets it.
    fn forbid(&self, place: Place) {
        let shard = &self.shards[place.shard as usize];
        let (index, data): (&mut Index, _) = (&mut shard.index.write(), &mut *shard.data.lock());
        let next = u32::try_from(data.series.len()).expect("numbers have 32 bits");
        if place.local >= next && place.local - next <= GAP_MAX {
            index.labels.skip_to(place.local + 1);
            data.series.skip_to(place.local + 1);
        }
    }
}

impl Changes {
    /// The series with this number; one that is not known is counted.
    fn known<'a>(&mut self, all: &'a mut Paged<Series>, local: u32) -> Option<&'a mut Series> {
        let series = all.get_mut(local);
        if series.is_none() {
            self.restored.unknown += 1;
            self.unknown_max = self.unknown_max.max(Some(local));
        }
        series
    }

    /// Adds floats to a series: as a rule they ascend and are newer than what it has.
    fn push_all(&mut self, series: &mut Series, room: &mut Room<'_>, samples: &[(i64, f64)]) {
        let before = (series.memory_bytes(), series.chunks());
        for (time_ms, value) in samples {
            if series.last_ms().is_none_or(|last| *time_ms > last) {
                series.push(room, *time_ms, *value, 0);
                self.restored.samples += 1;
            } else {
                let verdict = series.insert(room, *time_ms, &Value::Float(*value), 0);
                self.restored.samples += u64::from(verdict == super::series::Verdict::Stored);
            }
            self.add_time(*time_ms);
        }
        self.add_difference(series, before);
    }

    fn insert(&mut self, series: &mut Series, room: &mut Room<'_>, time_ms: i64, value: &Value) {
        let before = (series.memory_bytes(), series.chunks());
        let verdict = series.insert(room, time_ms, value, 0);
        self.restored.samples += u64::from(verdict == super::series::Verdict::Stored);
        self.add_difference(series, before);
    }

    fn add_difference(&mut self, series: &Series, (bytes, chunks): (usize, usize)) {
        self.bytes += append::size(series.memory_bytes()) - append::size(bytes);
        self.chunks += append::size(series.chunks()) - append::size(chunks);
    }

    fn add_time(&mut self, time_ms: i64) {
        self.range = TimeRange::new(self.range.min.min(time_ms), self.range.max.max(time_ms));
    }
}

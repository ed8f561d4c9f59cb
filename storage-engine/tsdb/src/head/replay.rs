//! Fills the head from the records of its checkpoint and its log, one worker per group of shards.

use format::FormatError;
use format::head_record::{
    CHUNKS, DELETIONS, END, EXEMPLARS, HISTOGRAMS, ItemPlace, SAMPLES, SERIES, SampleSection, SeriesItem,
    read_chunks, read_deletions, read_end, read_exemplars, read_histogram_items, read_sections, read_series,
};
use model::{Exemplar, Labels, TimeRange};

use super::series::Series;
use super::symbols::Symbol;
use super::value::Value;
use super::{Head, Index, Place, SHARDS, append};

/// Series numbers that may be missing in a row (their records were lost to damage) before a number is taken for
/// nonsense: it would make the head allocate. A checkpoint says where its numbers end.
const GAP_MAX: u32 = 1 << 20;

/// What came of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) samples: u64,
    /// Samples and chunks whose series is not known: its record was lost to damage.
    pub(crate) unknown: u64,
}

/// Changes of a shard that are accounted together.
struct Changes {
    bytes: i64,
    chunks: i64,
    range: TimeRange,
    unknown_max: Option<u32>,
    restored: Restored,
}

impl Head {
    /// Applies a record, kind byte first, to the shards for which `mine` says so. Items of impossible places are left
    /// out: the samples that need them are counted as unknown.
    pub(crate) fn restore(&self, record: &[u8], mine: impl Fn(u32) -> bool) -> Result<Restored, FormatError> {
        let mine = |shard: u32| shard < SHARDS && mine(shard);
        let Some((&kind, items)) = record.split_first() else { return Ok(Restored::default()) };
        match kind {
            SERIES => {
                let each = |item: SeriesItem<'_>| {
                    if mine(item.shard) {
                        self.restore_one_series(&item);
                    }
                };
                read_series(items, each).map(|()| Restored::default())
            }
            SAMPLES => self.restore_samples(items, mine),
            HISTOGRAMS => self.restore_histograms(items, mine),
            EXEMPLARS => self.restore_exemplars(items, mine).map(|()| Restored::default()),
            DELETIONS => {
                let each = |item: format::head_record::DeletionItem| {
                    let ItemPlace { shard, local, timestamp_ms } = item.place;
                    if mine(shard) {
                        self.delete_in(Place { shard, local }, TimeRange::new(timestamp_ms, item.last_ms), 0);
                    }
                };
                read_deletions(items, each).map(|()| Restored::default())
            }
            CHUNKS => self.restore_chunks(items, mine),
            END => self.restore_end(items, mine).map(|()| Restored::default()),
            kind => {
                tracing::error!(kind, "a record in the log is of an unknown kind and is left out");
                Ok(Restored::default())
            }
        }
    }

    fn restore_one_series(&self, item: &SeriesItem<'_>) {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(2 * item.labels.len());
        self.symbols.intern(item.labels.iter().copied(), &mut symbols);
        let shard = &self.shards[item.shard as usize];
        let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
        let next = u32::try_from(data.series.len()).expect("numbers have 32 bits");
        if index.labels.get(item.local).is_some_and(|known| **known == *symbols) {
            // The checkpoint has it already.
            return;
        }
        if item.local < next || item.local - next > GAP_MAX {
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

    fn restore_samples(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<Restored, FormatError> {
        let mut restored = Restored::default();
        let mut damage = None;
        read_sections(items, |section| {
            if mine(section.shard) {
                let of_section = self.restore_section(&section, &mut damage);
                restored.samples += of_section.samples;
                restored.unknown += of_section.unknown;
            }
        })?;
        damage.map_or(Ok(restored), Err)
    }

    fn restore_section(&self, section: &SampleSection<'_>, damage: &mut Option<FormatError>) -> Restored {
        let block_ms = self.settings.block_duration_ms;
        let mut walked = Ok(());
        let restored = self.restore_in(section.shard, |data, changes| {
            walked = section.read(|local, time_ms, value| {
                let Some(series) = changes.known(data, local) else { return };
                if series.last_ms().is_none_or(|last| time_ms > last) {
                    let before = series.open_capacity();
                    let cut = series.push(time_ms, value, 0, block_ms);
                    let closed = if cut { series.last_closed_bytes() } else { 0 };
                    changes.bytes += append::size(series.open_capacity() + closed) - append::size(before);
                    changes.chunks += i64::from(cut);
                    changes.restored.samples += 1;
                } else {
                    changes.insert(series, time_ms, &Value::Float(value), block_ms);
                }
                changes.add_time(time_ms);
            });
        });
        *damage = damage.take().or(walked.err());
        restored
    }

    fn restore_histograms(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<Restored, FormatError> {
        let block_ms = self.settings.block_duration_ms;
        let mut total = Restored::default();
        read_histogram_items(items, |place, histogram| {
            let ItemPlace { shard, local, timestamp_ms } = place;
            if !mine(shard) {
                return;
            }
            // Only sound ones are written; chunks cannot be made of others.
            if histogram.validate().is_err() {
                total.unknown += 1;
                return;
            }
            let restored = self.restore_in(shard, |data, changes| {
                let Some(series) = changes.known(data, local) else { return };
                changes.insert(series, timestamp_ms, &Value::Histogram(histogram.clone()), block_ms);
                changes.add_time(timestamp_ms);
            });
            total.samples += restored.samples;
            total.unknown += restored.unknown;
        })?;
        Ok(total)
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

    fn restore_chunks(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<Restored, FormatError> {
        let block_ms = self.settings.block_duration_ms;
        let mut total = Restored::default();
        read_chunks(items, |item| {
            if !mine(item.shard) {
                return;
            }
            let restored = self.restore_in(item.shard, |data, changes| {
                let Some(series) = changes.known(data, item.local) else { return };
                let range = TimeRange::new(item.min_ms, item.max_ms);
                let before = (series.memory_bytes(), series.chunks());
                series.restore_chunk(range, item.encoding, item.data, block_ms);
                changes.add_difference(series, before);
                changes.add_time(range.min);
                changes.add_time(range.max);
            });
            total.unknown += restored.unknown;
        })?;
        Ok(total)
    }

    /// The end of a checkpoint: numbers go on where they ended, and newest chunks grow again.
    fn restore_end(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<(), FormatError> {
        for (number, next) in (0..SHARDS).zip(read_end(items)?).filter(|(number, _)| mine(*number)) {
            let shard = &self.shards[number as usize];
            let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
            index.labels.skip_to(next);
            data.series.skip_to(next);
            for local in 0..next {
                if let Some(series) = data.series.get_mut(local) {
                    let before = series.memory_bytes();
                    series.reopen(self.settings.block_duration_ms);
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
    fn known<'a>(&mut self, data: &'a mut super::Data, local: u32) -> Option<&'a mut Series> {
        let series = data.series.get_mut(local);
        if series.is_none() {
            self.restored.unknown += 1;
            self.unknown_max = self.unknown_max.max(Some(local));
        }
        series
    }

    fn insert(&mut self, series: &mut Series, time_ms: i64, value: &Value, block_ms: i64) {
        let before = (series.memory_bytes(), series.chunks());
        let verdict = series.insert(time_ms, value, 0, block_ms);
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

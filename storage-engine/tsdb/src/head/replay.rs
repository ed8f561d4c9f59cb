//! Fills the head from the records of its log, one worker per group of shards.

use format::FormatError;
use format::head_record::{SeriesItem, read_sections, read_series};

use model::TimeRange;

use super::symbols::Symbol;
use super::{Head, Index, Place, SHARDS};

/// Series numbers that may be missing in a row (their records were lost to damage) before a number is taken for
/// nonsense: it would make the head allocate.
const GAP_MAX: u32 = 1 << 20;

/// What came of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) samples: u64,
    /// Samples whose series is not known: its record was lost to damage.
    pub(crate) unknown: u64,
}

impl Head {
    /// Adds the series of a record that are in shards for which `mine` says so. Items of impossible places are left
    /// out: the samples that need them are counted as unknown.
    pub(crate) fn restore_series(&self, items: &[u8], mine: impl Fn(u32) -> bool) -> Result<(), FormatError> {
        read_series(items, |item| {
            if item.shard < SHARDS && mine(item.shard) {
                self.restore_one_series(&item);
            }
        })
    }

    fn restore_one_series(&self, item: &SeriesItem<'_>) {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(2 * item.labels.len());
        self.symbols.intern(item.labels.iter().copied(), &mut symbols);
        let shard = &self.shards[item.shard as usize];
        let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
        let next = u32::try_from(data.series.len()).expect("numbers have 32 bits");
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
        for _ in next..item.local {
            self.insert_lost(index, data);
        }
        self.insert(index, data, symbols.into_boxed_slice());
        self.series_count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn insert_lost(&self, index: &mut Index, data: &mut super::Data) {
        index.labels.push(Box::default());
        data.series.push(super::Series::default());
        self.add_memory(super::SERIES_BYTES as u64);
    }

    /// Puts the samples of a record into their series, in shards for which `mine` says so.
    pub(crate) fn restore_samples(
        &self,
        items: &[u8],
        mine: impl Fn(u32) -> bool,
    ) -> Result<Restored, FormatError> {
        let mut restored = Restored::default();
        let mut damage = None;
        read_sections(items, |section| {
            if section.shard >= SHARDS || !mine(section.shard) {
                return;
            }
            let shard = &self.shards[section.shard as usize];
            let index = shard.index.read();
            let mut data = shard.data.lock();
            let (mut bytes, mut chunks, mut unknown_max) = (0, 0, None);
            let mut range = TimeRange::new(i64::MAX, i64::MIN);
            let walked = section.read(|local, time_ms, value| {
                let known = index.labels.get(local).is_some_and(|labels| !labels.is_empty());
                let Some(series) = data.series.get_mut(local).filter(|_| known) else {
                    restored.unknown += 1;
                    unknown_max = unknown_max.max(Some(local));
                    return;
                };
                let before = series.open_capacity();
                let (stored, cut) = series.restore(time_ms, value, self.settings.block_duration_ms);
                restored.samples += u64::from(stored);
                range = TimeRange::new(range.min.min(time_ms), range.max.max(time_ms));
                chunks += u64::from(cut);
                let closed = if cut { series.last_closed_bytes() } else { 0 };
                bytes += (series.open_capacity() + closed).saturating_sub(before) as u64;
            });
            drop((index, data));
            if let Some(local) = unknown_max {
                self.forbid(Place { shard: section.shard, local });
            }
            self.add_memory(bytes);
            self.add_chunks(chunks);
            self.add_range(range);
            damage = damage.take().or(walked.err());
        })?;
        damage.map_or(Ok(restored), Err)
    }

    /// Makes room for a number that samples name although its series record is lost, so that no new series gets it.
    fn forbid(&self, place: Place) {
        let shard = &self.shards[place.shard as usize];
        let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
        let next = u32::try_from(data.series.len()).expect("numbers have 32 bits");
        if place.local >= next && place.local - next <= GAP_MAX {
            for _ in next..=place.local {
                self.insert_lost(index, data);
            }
        }
    }
}

//! Appends a batch to the head: a verdict for each sample, what is stored encoded for the log.

use std::cell::RefCell;

use format::head_record::{
    EXEMPLARS, HISTOGRAMS, ItemPlace, SAMPLES, SampleEncoder, put_exemplar, put_histogram,
};
use model::{AppendReport, NativeHistogram, TimeRange};
use storage_api::SampleBatch;

use super::refusals::{Refusals, Why};
use super::series::{Room, Series, Verdict};
use super::value::Value;
use super::{Data, Head, Place, SHARDS};

/// Records of histograms and of exemplars are cut at this size.
const RECORD_BYTES: usize = 1 << 20;

/// Largest native histogram that is taken, as its record's bytes: some 100,000 buckets. A chunk of 120 such ones fits a
/// record of a checkpoint.
const HISTOGRAM_BYTES_MAX: usize = 256 << 10;

/// Result of putting a batch into the head.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) report: AppendReport,
    /// Positions with unknown series.
    pub(crate) stale_refs: Vec<u32>,
    /// Positions that were refused and the index of the reason in the report.
    pub(crate) refused: Vec<(u32, u32)>,
    /// Samples that the head had already, and whose own record may still be on its way to the log.
    pub(crate) duplicates: u64,
    pub(crate) exemplars: AppendReport,
    /// Positions of exemplars with unknown series.
    pub(crate) stale_exemplar_refs: Vec<u32>,
}

impl Applied {
    /// Adds what became of the part of a batch whose samples begin at position `start` and whose exemplars begin at
    /// `first_exemplar`, behind the parts before it.
    pub(crate) fn extend(&mut self, start: usize, first_exemplar: usize, part: Self) {
        let start = u32::try_from(start).expect("a batch has fewer than 2^32 samples");
        let reasons: Vec<_> = part.report.rejected.iter().map(|rejection| rejection.reason).collect();
        self.report.merge(part.report);
        self.stale_refs.extend(part.stale_refs.iter().map(|position| start + position));
        self.refused.extend(part.refused.iter().map(|(position, reason)| {
            let name = reasons[*reason as usize];
            let index = self.report.rejected.iter().position(|rejection| rejection.reason == name);
            let index = index.expect("merged above");
            (start + position, u32::try_from(index).expect("a few reasons"))
        }));
        self.duplicates += part.duplicates;
        self.exemplars.merge(part.exemplars);
        let first = u32::try_from(first_exemplar).expect("a batch has fewer than 2^32 exemplars");
        self.stale_exemplar_refs.extend(part.stale_exemplar_refs.iter().map(|position| first + position));
    }
}

/// Memory that a thread keeps from batch to batch.
#[derive(Default)]
struct Scratch {
    /// Positions of the batch by shard.
    positions: [Vec<u32>; SHARDS as usize],
    encoder: SampleEncoder,
    record: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Counts of a batch.
struct Counts {
    floats: u64,
    histograms: u64,
    late: u64,
    duplicates: u64,
    chunks: i64,
    bytes: i64,
    /// Times of what was stored.
    range: TimeRange,
}

/// Which times a sample may have, all in ms.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// From here on a sample that is newer than the newest of its series is in order.
    in_order_min_ms: i64,
    /// From here on a sample may be late; `i64::MAX` when none may.
    late_min_ms: i64,
    /// Up to here a sample may be ahead of the clock.
    max_ms: i64,
}

impl Head {
    /// Puts the batch into the chunks as part of `epoch`. `record` gets the log records of what was stored, if
    /// anything was; it runs before this returns, so under the caller's hold on `visible`.
    pub(crate) fn apply(
        &self,
        batch: &SampleBatch,
        epoch: u64,
        time_max_ms: i64,
        record: &mut dyn FnMut(&[u8]),
    ) -> Applied {
        let bounds = self.bounds(time_max_ms);
        SCRATCH.with_borrow_mut(|scratch| {
            let mut applied = Applied::default();
            let mut refused = Refusals::default();
            split_by_shard(batch, &mut scratch.positions, &mut applied.stale_refs);
            scratch.record.clear();
            scratch.record.push(SAMPLES);
            let mut histograms = Vec::new();
            let range = TimeRange::new(i64::MAX, i64::MIN);
            let mut counts =
                Counts { floats: 0, histograms: 0, late: 0, duplicates: 0, chunks: 0, bytes: 0, range };
            for shard in 0..SHARDS {
                let positions = &scratch.positions[shard as usize];
                if positions.is_empty() {
                    continue;
                }
                let mut part = Part {
                    rules: Rules { shard, epoch, bounds },
                    counts: &mut counts,
                    refused: &mut refused,
                    stale_refs: &mut applied.stale_refs,
                    encoder: &mut scratch.encoder,
                    histograms: &mut histograms,
                };
                part.apply(self, batch, positions, &mut self.shards[shard as usize].data.lock());
                scratch.encoder.finish(shard, &mut scratch.record);
            }
            if counts.floats > 0 {
                record(&scratch.record);
            }
            histograms.iter().for_each(|histograms| record(histograms));
            // Positions come shard by shard.
            applied.stale_refs.sort_unstable();
            applied.report.stored = counts.floats + counts.histograms + counts.duplicates;
            applied.duplicates = counts.duplicates;
            self.count_appended(&counts);
            refused.report(self, bounds.max_ms, &mut applied.report, &mut applied.refused);
            if !batch.exemplars.is_empty() {
                self.apply_exemplars(batch, time_max_ms, record, &mut applied);
            }
            applied
        })
    }

    /// How many of these times are too long ago for samples in order.
    pub(crate) fn count_late(&self, timestamps_ms: &[i64]) -> usize {
        let bounds = self.bounds(i64::MAX);
        timestamps_ms.iter().filter(|time_ms| **time_ms < bounds.in_order_min_ms).count()
    }

    /// As Prometheus has them (`appendableMinValidTime` and `appendable` in tsdb/head_append.go).
    fn bounds(&self, max_ms: i64) -> Bounds {
        let newest_ms = self.newest_ms();
        let window_ms = self.settings.out_of_order_window_ms;
        let half_block = self.settings.block_duration_ms / 2;
        Bounds {
            in_order_min_ms: newest_ms.saturating_sub(half_block).max(self.flushed_ms()),
            late_min_ms: if window_ms > 0 { newest_ms.saturating_sub(window_ms) } else { i64::MAX },
            max_ms,
        }
    }

    fn count_appended(&self, counts: &Counts) {
        self.add_memory(counts.bytes);
        self.metrics.samples_appended.increment(counts.floats);
        self.metrics.histograms_appended.increment(counts.histograms);
        self.metrics.late_appended.increment(counts.late);
        self.add_chunks(counts.chunks);
        if counts.floats + counts.histograms > 0 {
            self.add_range(counts.range);
        }
    }

    fn apply_exemplars(
        &self,
        batch: &SampleBatch,
        time_max_ms: i64,
        record: &mut dyn FnMut(&[u8]),
        applied: &mut Applied,
    ) {
        let mut log = Vec::new();
        for (position, (series, exemplar)) in (0u32..).zip(&batch.exemplars) {
            let place = Place::of(*series).filter(|place| self.has(*place));
            let Some(place) = place else {
                applied.stale_exemplar_refs.push(position);
                continue;
            };
            let offered = self.exemplars.lock().offer(place, || self.labels(place), exemplar, time_max_ms);
            match offered {
                Ok(is_new) => {
                    applied.exemplars.stored += 1;
                    if is_new {
                        let Place { shard, local } = place;
                        let place = ItemPlace { shard, local, timestamp_ms: exemplar.timestamp_ms };
                        put_exemplar(
                            with_room(&mut log, EXEMPLARS),
                            place,
                            exemplar.value,
                            exemplar.labels.iter(),
                        );
                    }
                }
                Err((reason, message)) => {
                    self.metrics.exemplars_rejected.increment(1);
                    let message = || format!("series {}: {message}", self.labels(place));
                    applied.exemplars.reject(reason, 1, message);
                }
            }
        }
        self.metrics.exemplars_appended.increment(applied.exemplars.stored);
        log.iter().for_each(|exemplars| record(exemplars));
    }
}

/// Sorts positions by shard, keeping their order; positions of impossible references go to `stale`.
fn split_by_shard(batch: &SampleBatch, positions: &mut [Vec<u32>; SHARDS as usize], stale: &mut Vec<u32>) {
    positions.iter_mut().for_each(Vec::clear);
    for (position, series) in (0u32..).zip(&batch.refs) {
        match Place::of(*series) {
            Some(place) => positions[place.shard as usize].push(position),
            None => stale.push(position),
        }
    }
}

#[derive(Clone, Copy)]
struct Rules {
    shard: u32,
    epoch: u64,
    bounds: Bounds,
}

/// One shard's part of a batch.
struct Part<'a> {
    rules: Rules,
    counts: &'a mut Counts,
    refused: &'a mut Refusals,
    stale_refs: &'a mut Vec<u32>,
    encoder: &'a mut SampleEncoder,
    /// Records, each with its kind byte.
    histograms: &'a mut Vec<Vec<u8>>,
}

impl Part<'_> {
    fn apply(&mut self, head: &Head, batch: &SampleBatch, positions: &[u32], data: &mut Data) {
        let Rules { shard, epoch, bounds } = self.rules;
        let (all, mut room) = data.split(head);
        let mut histograms = batch.histograms.as_slice();
        for &position in positions {
            let at = position as usize;
            let (time_ms, value) = (batch.timestamps_ms[at], batch.values[at]);
            let place = Place::of(batch.refs[at]).expect("impossible references were sorted out");
            let Some(series) = all.get_mut(place.local) else {
                self.stale_refs.push(position);
                continue;
            };
            debug_assert_eq!(place.shard, shard);
            if time_ms > bounds.max_ms {
                self.refused.add(Why::Future, position, place, time_ms, bounds.max_ms);
                continue;
            }
            if !histograms.is_empty()
                && let Some(histogram) = take_histogram(&mut histograms, position)
            {
                self.apply_rare(series, &mut room, (position, place, time_ms), Value::Histogram(histogram));
                continue;
            }
            let in_order =
                time_ms >= bounds.in_order_min_ms && series.last_ms().is_none_or(|last| time_ms > last);
            if !in_order {
                self.apply_rare(series, &mut room, (position, place, time_ms), Value::Float(value));
                continue;
            }
            let before = series.open_bytes();
            let cut = series.push(&mut room, time_ms, value, epoch);
            let closed = if cut { series.last_closed_bytes() } else { 0 };
            self.encoder.push(place.local, time_ms, value);
            self.counts.floats += 1;
            self.counts.chunks += i64::from(cut);
            self.counts.bytes += size(series.open_bytes() + closed) - size(before);
            self.counts.add_time(time_ms);
        }
    }

    /// A histogram, or a sample that is not in order.
    #[cold]
    fn apply_rare(&mut self, series: &mut Series, room: &mut Room<'_>, at: (u32, Place, i64), value: Value) {
        let (position, place, time_ms) = at;
        let Rules { epoch, bounds, .. } = self.rules;
        let mut encoded = Vec::new();
        if let Value::Histogram(histogram) = &value {
            if let Err(error) = histogram.validate() {
                return self.refused.add_invalid(position, place, &error);
            }
            let item = ItemPlace { shard: place.shard, local: place.local, timestamp_ms: time_ms };
            put_histogram(&mut encoded, item, histogram);
            if encoded.len() > HISTOGRAM_BYTES_MAX {
                let bytes = encoded.len();
                let fault =
                    format!("a histogram of {bytes} bytes, at most {HISTOGRAM_BYTES_MAX} are allowed");
                return self.refused.add_invalid(position, place, &fault);
            }
        }
        let last = series.last_ms();
        let in_order = time_ms >= bounds.in_order_min_ms && last.is_none_or(|last| time_ms > last);
        if !in_order {
            match series.verdict_of(room, time_ms, &value) {
                Some(Verdict::Duplicate) => {
                    self.counts.duplicates += 1;
                    return;
                }
                Some(verdict) => return self.refuse(verdict, position, place, time_ms),
                None if time_ms < bounds.late_min_ms => {
                    let (why, limit) = bounds.why_too_late(time_ms, last);
                    return self.refused.add(why, position, place, time_ms, limit);
                }
                None => {}
            }
        }
        let (bytes, chunks) = (series.memory_bytes(), series.chunks());
        let verdict = series.insert_absent(room, time_ms, &value, epoch);
        if verdict != Verdict::Stored {
            return self.refuse(verdict, position, place, time_ms);
        }
        self.counts.late += u64::from(!in_order);
        self.counts.bytes += size(series.memory_bytes()) - size(bytes);
        self.counts.chunks += size(series.chunks()) - size(chunks);
        self.counts.add_time(time_ms);
        match &value {
            Value::Float(value) => {
                self.encoder.push(place.local, time_ms, *value);
                self.counts.floats += 1;
            }
            Value::Histogram(_) => {
                with_room(self.histograms, HISTOGRAMS).extend_from_slice(&encoded);
                self.counts.histograms += 1;
            }
        }
    }
}

impl Part<'_> {
    fn refuse(&mut self, verdict: Verdict, position: u32, place: Place, time_ms: i64) {
        let is_unreadable = verdict == Verdict::Unreadable;
        let why = if is_unreadable { Why::Unreadable } else { Why::Conflict };
        self.refused.add(why, position, place, time_ms, time_ms);
    }
}

/// The last of some records of a kind when it has room, else a new one.
fn with_room(records: &mut Vec<Vec<u8>>, kind: u8) -> &mut Vec<u8> {
    if records.last().is_none_or(|record| record.len() >= RECORD_BYTES) {
        records.push(vec![kind]);
    }
    records.last_mut().expect("pushed above when there was none")
}

impl Bounds {
    /// Why a sample that is not in order is not taken, and the time that it is compared with.
    fn why_too_late(&self, time_ms: i64, last_ms: Option<i64>) -> (Why, i64) {
        if self.late_min_ms < i64::MAX {
            return (Why::TooOld, self.late_min_ms);
        }
        match last_ms {
            Some(last_ms) if time_ms >= self.in_order_min_ms => (Why::OutOfOrder, last_ms),
            _ => (Why::OutOfBounds, self.in_order_min_ms),
        }
    }
}

impl Counts {
    #[inline]
    fn add_time(&mut self, time_ms: i64) {
        self.range = TimeRange::new(self.range.min.min(time_ms), self.range.max.max(time_ms));
    }
}

/// The histogram at `position`; those before it are passed over. A stale one has nothing but its sum, as readers see it.
fn take_histogram(histograms: &mut &[(u32, NativeHistogram)], position: u32) -> Option<NativeHistogram> {
    let before = histograms.partition_point(|(other, _)| *other < position);
    *histograms = &histograms[before..];
    let (_, histogram) = histograms.first().filter(|(other, _)| *other == position)?;
    Some(if histogram.is_stale() { histogram.to_bare_stale() } else { histogram.clone() })
}

pub(super) fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("memory is far below 2^63 bytes")
}

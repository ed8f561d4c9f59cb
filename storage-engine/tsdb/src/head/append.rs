//! Appends a batch to the head: a verdict for each sample, what is stored encoded for the log.

use std::cell::RefCell;

use format::head_record::{SAMPLES, SampleEncoder};
use model::{AppendReport, TimeRange};
use storage_api::SampleBatch;

use super::series::Verdict;
use super::{Data, Head, Place, SHARDS};
use crate::metrics::reason;

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
}

impl Applied {
    /// Adds what became of the part of a batch that begins at position `start`, behind the parts before it.
    pub(crate) fn extend(&mut self, start: usize, part: Self) {
        let start = u32::try_from(start).expect("a batch has fewer than 2^32 samples");
        let reasons: Vec<_> = part.report.rejected.iter().map(|rejection| rejection.reason).collect();
        self.report.merge(part.report);
        self.stale_refs.extend(part.stale_refs.iter().map(|position| start + position));
        self.refused.extend(part.refused.iter().map(|(position, reason)| {
            let name = reasons[*reason as usize];
            let index = self.report.rejected.iter().position(|rejection| rejection.reason == name);
            let index = index.expect("merged above");
            (start + position, u32::try_from(index).expect("three reasons"))
        }));
        self.duplicates += part.duplicates;
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

/// Samples that were refused, by reason.
#[derive(Default)]
struct Refused {
    conflict: Refusal,
    out_of_order: Refusal,
    future: Refusal,
}

#[derive(Default)]
struct Refusal {
    positions: Vec<u32>,
    example: Option<Example>,
}

struct Example {
    place: Place,
    time_ms: i64,
    /// Newest sample of the series, ms.
    last_ms: i64,
}

impl Refusal {
    fn add(&mut self, position: u32, place: Place, time_ms: i64, last_ms: i64) {
        self.positions.push(position);
        self.example.get_or_insert(Example { place, time_ms, last_ms });
    }
}

/// Counts of one shard's part of a batch.
struct Counts {
    stored: u64,
    duplicates: u64,
    chunks: u64,
    bytes: u64,
    /// Times of what was stored.
    range: TimeRange,
}

impl Head {
    /// Puts the batch into the chunks as part of `epoch`. `record` gets the log record of what was stored, if
    /// anything was; it runs before this returns, so under the caller's hold on `visible`.
    pub(crate) fn apply(
        &self,
        batch: &SampleBatch,
        epoch: u64,
        time_max_ms: i64,
        record: impl FnOnce(&[u8]),
    ) -> Applied {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut applied = Applied::default();
            let mut refused = Refused::default();
            split_by_shard(batch, &mut scratch.positions, &mut applied.stale_refs);
            scratch.record.clear();
            scratch.record.push(SAMPLES);
            let range = TimeRange::new(i64::MAX, i64::MIN);
            let mut counts = Counts { stored: 0, duplicates: 0, chunks: 0, bytes: 0, range };
            for shard in 0..SHARDS {
                let positions = &scratch.positions[shard as usize];
                if positions.is_empty() {
                    continue;
                }
                let rules = Rules { shard, epoch, time_max_ms, block_ms: self.settings.block_duration_ms };
                let mut part =
                    Part { rules, counts: &mut counts, refused: &mut refused, applied: &mut applied };
                part.apply(
                    batch,
                    positions,
                    &mut self.shards[shard as usize].data.lock(),
                    &mut scratch.encoder,
                );
                scratch.encoder.finish(shard, &mut scratch.record);
            }
            if counts.stored > 0 {
                record(&scratch.record);
            }
            // Positions come shard by shard.
            applied.stale_refs.sort_unstable();
            applied.report.stored = counts.stored + counts.duplicates;
            applied.duplicates = counts.duplicates;
            self.count_appended(&counts);
            self.report_refused(&refused, time_max_ms, &mut applied);
            applied
        })
    }

    fn count_appended(&self, counts: &Counts) {
        self.add_memory(counts.bytes);
        self.metrics.samples_appended.increment(counts.stored);
        self.add_chunks(counts.chunks);
        if counts.stored > 0 {
            self.add_range(counts.range);
        }
    }

    fn report_refused(&self, refused: &Refused, time_max_ms: i64, applied: &mut Applied) {
        let reasons = [
            (reason::DUPLICATE, &refused.conflict),
            (reason::OUT_OF_ORDER, &refused.out_of_order),
            (reason::FUTURE, &refused.future),
        ];
        for (name, refusal) in reasons {
            let Some(example) = &refusal.example else { continue };
            let count = refusal.positions.len() as u64;
            self.metrics.rejected(name, count);
            let index = u32::try_from(applied.report.rejected.len()).expect("three reasons");
            applied.refused.extend(refusal.positions.iter().map(|position| (*position, index)));
            applied.report.reject(name, count, || {
                let labels = self.labels(example.place);
                let Example { time_ms, last_ms, .. } = example;
                match name {
                    reason::DUPLICATE => {
                        format!("series {labels} has another value at {time_ms} ms already")
                    }
                    reason::OUT_OF_ORDER => format!(
                        "series {labels}: the sample at {time_ms} ms is older than the newest one, at {last_ms} ms"
                    ),
                    _ => format!(
                        "series {labels}: the sample at {time_ms} ms is too far in the future, allowed is up to \
                         {time_max_ms} ms"
                    ),
                }
            });
        }
        applied.refused.sort_unstable();
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
    time_max_ms: i64,
    block_ms: i64,
}

/// One shard's part of a batch.
struct Part<'a> {
    rules: Rules,
    counts: &'a mut Counts,
    refused: &'a mut Refused,
    applied: &'a mut Applied,
}

impl Part<'_> {
    fn apply(
        &mut self,
        batch: &SampleBatch,
        positions: &[u32],
        data: &mut Data,
        encoder: &mut SampleEncoder,
    ) {
        let Rules { shard, epoch, time_max_ms, block_ms } = self.rules;
        for &position in positions {
            let at = position as usize;
            let (time_ms, value) = (batch.timestamps_ms[at], batch.values[at]);
            let place = Place::of(batch.refs[at]).expect("impossible references were sorted out");
            let Some(series) = data.series.get_mut(place.local) else {
                self.applied.stale_refs.push(position);
                continue;
            };
            debug_assert_eq!(place.shard, shard);
            if time_ms > time_max_ms {
                self.refused.future.add(position, place, time_ms, time_max_ms);
                continue;
            }
            let before = series.open_capacity();
            let (verdict, cut) = series.append(time_ms, value, epoch, block_ms);
            match verdict {
                Verdict::Stored => {
                    encoder.push(place.local, time_ms, value);
                    self.counts.stored += 1;
                    let range = &mut self.counts.range;
                    *range = TimeRange::new(range.min.min(time_ms), range.max.max(time_ms));
                    self.counts.chunks += u64::from(cut);
                    let closed = if cut { series.last_closed_bytes() } else { 0 };
                    self.counts.bytes += (series.open_capacity() - before + closed) as u64;
                }
                Verdict::Duplicate => self.counts.duplicates += 1,
                Verdict::Conflict => self.refused.conflict.add(position, place, time_ms, time_ms),
                Verdict::OutOfOrder => {
                    let last_ms = series.last_ms().unwrap_or(i64::MIN);
                    self.refused.out_of_order.add(position, place, time_ms, last_ms);
                }
            }
        }
    }
}

//! Native histograms that come in order: chunks are cut as `histogramsAppendPreprocessor` (tsdb/head_append.go) does.

use std::sync::Arc;

use format::{HISTOGRAM_CHUNK_BYTES_TARGET, HISTOGRAM_CHUNK_SAMPLES_MIN, HistogramAppender, HistogramOffer};
use model::{NativeHistogram, TimeRange};

use super::{ClosedChunk, OpenHistogram, Room, Series, block_end, chunk_end, to_f64};
use crate::head::value::Appendable;

impl OpenHistogram {
    /// The stale marker of this kind.
    pub(super) fn stale(&self) -> NativeHistogram {
        match self {
            Self::Integer(_) => NativeHistogram::Integer(Arc::default()).to_bare_stale(),
            Self::Float(_) => NativeHistogram::Float(Arc::default()).to_bare_stale(),
        }
    }
}

impl Series {
    /// Appends a sound histogram that is newer than the newest sample as part of `epoch`; tells whether a chunk was
    /// started.
    pub(crate) fn push_histogram(
        &mut self,
        room: &mut Room<'_>,
        time_ms: i64,
        histogram: &NativeHistogram,
        epoch: u64,
    ) -> bool {
        self.begin_epoch(epoch);
        if self.appender.0.samples() > 0 {
            self.close_chunk(room);
        }
        let full = self.histograms_are_full(time_ms, room.block_ms);
        match histogram {
            NativeHistogram::Integer(histogram) => self.follow(room, time_ms, &**histogram, full),
            NativeHistogram::Float(histogram) => self.follow(room, time_ms, &**histogram, full),
        }
    }

    /// Whether the open chunk of histograms, if there is one, ends before a sample at `time_ms`.
    fn histograms_are_full(&mut self, time_ms: i64, block_ms: i64) -> bool {
        let min_ms = self.open_min_ms;
        let Some(rare) = &mut self.rare else { return false };
        let bytes = rare.open.len();
        let Some(open) = &rare.histogram else { return false };
        let boundary_ms = if rare.cut_predicted { block_end(min_ms, block_ms) } else { self.cut_at_ms };
        if !rare.cut_predicted && bytes >= HISTOGRAM_CHUNK_BYTES_TARGET / 4 {
            let ratio = to_f64_len(HISTOGRAM_CHUNK_BYTES_TARGET) / to_f64_len(bytes);
            self.cut_at_ms = chunk_end(min_ms, open.last_ms(), self.cut_at_ms, ratio);
            rare.cut_predicted = true;
        }
        (time_ms >= self.cut_at_ms || bytes >= 2 * HISTOGRAM_CHUNK_BYTES_TARGET)
            && (open.samples() >= HISTOGRAM_CHUNK_SAMPLES_MIN || time_ms >= boundary_ms)
    }

    /// Appends to the open chunk if the histogram can follow there, else to a new one.
    fn follow<H: Appendable>(
        &mut self,
        room: &mut Room<'_>,
        time_ms: i64,
        histogram: &H,
        full: bool,
    ) -> bool {
        let last_ms = self.last_ms();
        let encoding = self.open_encoding();
        let rare = self.rare.get_or_insert_default();
        let previous = H::take(rare.histogram.take());
        let header = match previous {
            Some(mut appender) if !full => match appender.offer(&mut rare.open, time_ms, histogram) {
                HistogramOffer::Appended | HistogramOffer::Recoded => {
                    rare.histogram = Some(H::open(appender));
                    return false;
                }
                HistogramOffer::NeedsNewChunk(header) => header,
            },
            previous => HistogramAppender::first_header(previous.as_ref(), histogram),
        };
        if let (false, Some(last_ms)) = (rare.open.is_empty(), last_ms) {
            let range = TimeRange::new(self.open_min_ms, last_ms);
            self.closed.push(ClosedChunk::new(room.spill, range, encoding, &rare.open));
        }
        let appender = HistogramAppender::begin(&mut rare.open, time_ms, histogram, header);
        self.open_min_ms = time_ms;
        self.cut_at_ms = block_end(time_ms, room.block_ms);
        rare.histogram = Some(H::open(appender));
        rare.cut_predicted = false;
        true
    }
}

fn to_f64_len(len: usize) -> f64 {
    to_f64(i64::try_from(len).unwrap_or(i64::MAX))
}

//! The head as records: what a checkpoint holds, so that the log in front of it can go.
//!
//! Records are made piece by piece while appends go on; what is appended meanwhile is in the log behind the checkpoint's
//! place and may be in the checkpoint as well, which the reader takes for the same sample.

use format::head_record::{
    CHUNKS, ChunkItem, END, EXEMPLARS, ItemPlace, NUMBERS, SERIES, put_chunk, put_end, put_exemplar,
    put_series,
};

use super::{Head, resolve};
use crate::error::TsdbError;
use model::TimeRange;

/// A record is handed on when it has about this size.
const RECORD_BYTES: usize = 1 << 20;

/// Series whose chunks are copied under one hold of a shard's data lock.
const PIECE_SERIES: usize = 64;

impl Head {
    /// Number that the next record of the log gets, at a moment at which all appends below it are in the head.
    pub(crate) fn log_position(&self, next_sequence: impl FnOnce() -> u64) -> u64 {
        let _no_append = self.visible.write();
        next_sequence()
    }

    /// Hands all series, exemplars and chunks to `write`, as records with their kind byte, and the end.
    pub(crate) fn write_checkpoint<E: From<TsdbError>>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let given = self.shards.iter().map(|shard| number(shard.index.read().labels.len()));
        let mut numbers = vec![NUMBERS];
        put_end(&mut numbers, &given.collect::<Vec<_>>());
        write(&numbers)?;
        let next_locals = self.write_series(&mut write)?;
        self.write_exemplars(&mut write)?;
        self.write_chunks(&next_locals, &mut write)?;
        let mut end = vec![END];
        put_end(&mut end, &next_locals);
        write(&end)
    }

    /// Returns the number of the next series of each shard.
    fn write_series<E>(&self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<Vec<u32>, E> {
        let mut next_locals = Vec::with_capacity(self.shards.len());
        let mut record = vec![SERIES];
        for (number, shard) in (0..).zip(&self.shards) {
            let mut local = 0;
            loop {
                let index = shard.index.read();
                let next = self::number(index.labels.len());
                while local < next && record.len() < RECORD_BYTES {
                    if let Some(symbols) = index.labels.get(local) {
                        let labels = resolve(symbols, &self.symbols.read());
                        put_series(&mut record, number, local, labels.iter());
                    }
                    local += 1;
                }
                drop(index);
                if local == next {
                    next_locals.push(next);
                    break;
                }
                write(&record)?;
                record.truncate(1);
            }
        }
        if record.len() > 1 {
            write(&record)?;
        }
        Ok(next_locals)
    }

    fn write_exemplars<E>(&self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut records = Records::new(EXEMPLARS);
        {
            // 100,000 by default, of some 100 bytes: one hold.
            let exemplars = self.exemplars.lock();
            for (place, exemplar) in exemplars.iter().filter(|(place, _)| self.has(*place)) {
                let place =
                    ItemPlace { shard: place.shard, local: place.local, timestamp_ms: exemplar.timestamp_ms };
                put_exemplar(records.last(), place, exemplar.value, exemplar.labels.iter());
            }
        }
        records.write(write)
    }

    fn write_chunks<E: From<TsdbError>>(
        &self,
        next_locals: &[u32],
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut records = Records::new(CHUNKS);
        let (mut piece, mut buffer) = (Vec::new(), Vec::new());
        for ((number, shard), &next) in (0..).zip(&self.shards).zip(next_locals) {
            for first in (0..next).step_by(PIECE_SERIES) {
                let data = shard.data.lock();
                for local in first..next.min(first.saturating_add(PIECE_SERIES as u32)) {
                    let Some(series) = data.series.get(local) else { continue };
                    // No query ever has the last epoch, so that everything is seen.
                    let chunks = series.snapshot(&data.pieces, &self.spill, TimeRange::ALL, u64::MAX);
                    piece.extend(chunks.into_iter().map(|chunk| (local, chunk)));
                }
                drop(data);
                // Blocks go only after a flush, which does not run meanwhile.
                let view = self.spill.view();
                for (local, chunk) in piece.drain(..) {
                    let data = chunk.data.read(&view, &mut buffer)?;
                    let (encoding, min_ms, max_ms) = (chunk.encoding, chunk.range.min, chunk.range.max);
                    let item = ChunkItem { shard: number, local, encoding, min_ms, max_ms, data };
                    put_chunk(records.last(), &item);
                }
                if records.bytes() >= RECORD_BYTES {
                    std::mem::replace(&mut records, Records::new(CHUNKS)).write(write)?;
                }
            }
        }
        records.write(write)
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("numbers have 32 bits")
}

/// Records of one kind that are gathered under a lock and written without it.
struct Records {
    kind: u8,
    list: Vec<Vec<u8>>,
}

impl Records {
    fn new(kind: u8) -> Self {
        Self { kind, list: Vec::new() }
    }

    /// The record that takes the next item: one with room.
    fn last(&mut self) -> &mut Vec<u8> {
        if self.list.last().is_none_or(|record| record.len() >= RECORD_BYTES) {
            self.list.push(vec![self.kind]);
        }
        self.list.last_mut().expect("pushed above when there was none")
    }

    fn bytes(&self) -> usize {
        self.list.iter().map(Vec::len).sum()
    }

    fn write<E>(self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.list.iter().try_for_each(|record| write(record))
    }
}

//! Closed chunks that cannot be read back from their scratch files, and what comes into their place.
//!
//! The log and the checkpoint still have their samples: a second head is filled from them, beside the first one and with
//! scratch files of its own, and gives its chunks for those that are lost. It costs what a start costs, and happens when
//! a disk damages a file or somebody changes it.

use std::path::PathBuf;
use std::sync::Arc;

use model::TimeRange;
use runtime::Disk;

use super::series::ClosedChunk;
use super::spill::SpillPlace;
use super::value::{decode_values, encode_values};
use super::{Head, Place, append};
use crate::error::TsdbError;
use crate::metrics::HeadMetrics;

/// Series looked at under one hold of a shard's data lock.
const PIECE_SERIES: u32 = 256;

/// A chunk that cannot be read.
pub(crate) struct LostChunk {
    place: Place,
    spilled: SpillPlace,
    range: TimeRange,
    encoding: u8,
}

/// What became of lost chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mended {
    /// Made again.
    pub(crate) made: u64,
    /// Of which neither the log nor the checkpoint has anything: they are gone.
    pub(crate) gone: u64,
}

/// Samples of a chunk in another head.
struct MadeChunk {
    range: TimeRange,
    encoding: u8,
    data: Vec<u8>,
}

impl Head {
    /// Whether a chunk could not be read since the last look for such ones.
    pub(crate) fn is_damaged(&self) -> bool {
        self.spill.is_damaged()
    }

    /// Reads all chunks that are in scratch files; returns those that cannot be read. Blocks on the disk.
    pub(crate) fn lost_chunks(&self) -> Vec<LostChunk> {
        self.spill.begin_mending();
        let (mut lost, mut piece, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        for (shard, next) in (0..).zip(self.next_locals()) {
            for first in (0..next).step_by(PIECE_SERIES as usize) {
                let data = self.shards[shard as usize].data.lock();
                for local in first..next.min(first.saturating_add(PIECE_SERIES)) {
                    let Some(series) = data.series.get(local) else { continue };
                    series.for_each_closed(|chunk, spilled| {
                        let (range, encoding) = (chunk.range(), chunk.encoding);
                        piece.push(LostChunk { place: Place { shard, local }, spilled, range, encoding });
                    });
                }
                drop(data);
                let view = self.spill.view();
                lost.extend(piece.drain(..).filter(|chunk| view.is_unreadable(chunk.spilled, &mut buffer)));
            }
        }
        lost
    }

    /// An empty head for the same series, with scratch files in `folder`, of which nobody hears.
    pub(crate) fn beside(&self, disk: Arc<dyn Disk>, folder: PathBuf) -> Result<Self, TsdbError> {
        let mut head = Self::new(self.tenant.clone(), self.settings.clone(), HeadMetrics::unseen());
        head.spill_to(disk, folder)?;
        Ok(head)
    }

    /// Puts what `other`, which was filled from the log and the checkpoint, has of `lost` into its place.
    pub(crate) fn mend(&self, lost: &[LostChunk], other: &Self) -> Mended {
        let mut mended = Mended::default();
        for chunk in lost {
            let made = other.made_for(chunk);
            // A query that began its epoch reads by positions that change here.
            let _no_query = self.gather.lock();
            let mut data = self.shards[chunk.place.shard as usize].data.lock();
            let Some(series) = data.series.get_mut(chunk.place.local) else { continue };
            let (bytes, count) = (series.memory_bytes(), series.chunks());
            let is_gone = made.is_empty();
            let closed = made.iter().map(|made| made.close(self)).collect();
            if !series.replace_chunk(chunk.spilled, closed) {
                continue;
            }
            self.add_memory(append::size(series.memory_bytes()) - append::size(bytes));
            self.add_chunks(append::size(series.chunks()) - append::size(count));
            *if is_gone { &mut mended.gone } else { &mut mended.made } += 1;
        }
        mended
    }

    /// The samples that this head has in place of a chunk of another one: as the same chunk if it is one here, too.
    fn made_for(&self, lost: &LostChunk) -> Vec<MadeChunk> {
        let data = self.shards[lost.place.shard as usize].data.lock();
        let Some(series) = data.series.get(lost.place.local) else { return Vec::new() };
        // No query ever has the last epoch, so that everything is seen.
        let found = series.snapshot(&data.pieces, &self.spill, lost.range, u64::MAX);
        drop(data);
        let (view, mut buffer) = (self.spill.view(), Vec::new());
        if let [chunk] = found.as_slice()
            && (chunk.range, chunk.encoding) == (lost.range, lost.encoding)
            && let Ok(data) = chunk.data.read(&view, &mut buffer)
        {
            return vec![MadeChunk { range: chunk.range, encoding: chunk.encoding, data: data.to_vec() }];
        }
        let mut values = Vec::new();
        for chunk in found {
            let Ok(data) = chunk.data.read(&view, &mut buffer) else { continue };
            values.extend(decode_values(chunk.encoding, data, chunk.samples).unwrap_or_default());
        }
        values.retain(|(time_ms, _)| lost.range.contains(*time_ms));
        let built = encode_values(&values).into_iter();
        built
            .map(|built| MadeChunk {
                range: built.range,
                encoding: built.appender.encoding(),
                data: built.data,
            })
            .collect()
    }
}

impl MadeChunk {
    fn close(&self, head: &Head) -> ClosedChunk {
        ClosedChunk::new(&head.spill, self.range, self.encoding, &self.data)
    }
}

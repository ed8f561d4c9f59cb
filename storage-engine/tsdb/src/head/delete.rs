//! Deletion of samples that are in the head.

use format::head_record::{DELETIONS, DeletionItem, ItemPlace, put_deletion};
use model::{Matcher, TimeRange};

use super::selection::Selection;
use super::{Head, Place, append};
use crate::error::TsdbError;

/// Series that are rewritten while no append may begin: some milliseconds.
const PIECE_SERIES: usize = 128;

impl Head {
    /// Takes the samples inside `range` of the matching series away; `record` gets what the log has to know, some series at
    /// a time, at moments at which the log has every append that this finds something of. Series of which something
    /// cannot be read stay as they are, and the first of these errors is returned.
    pub(crate) fn delete(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        record: &mut dyn FnMut(&[u8]),
    ) -> Result<(), TsdbError> {
        let _names = self.names.read();
        let (mut selection, mut failed) = (Selection::new(matchers), Ok(()));
        for (number, shard) in (0..).zip(&self.shards) {
            for some in self.matching_locals(shard, &mut selection).chunks(PIECE_SERIES) {
                let mut log = vec![DELETIONS];
                let epoch = self.visible.write();
                for &local in some {
                    match self.delete_in(Place { shard: number, local }, range, *epoch) {
                        Ok(0) => {}
                        Ok(_) => {
                            let place = ItemPlace { shard: number, local, timestamp_ms: range.min };
                            put_deletion(&mut log, DeletionItem { place, last_ms: range.max });
                        }
                        Err(error) => failed = failed.and(Err(error)),
                    }
                }
                if log.len() > 1 {
                    record(&log);
                }
            }
        }
        failed
    }

    /// Takes samples of one series away; tells how many there were.
    pub(super) fn delete_in(&self, place: Place, range: TimeRange, epoch: u64) -> Result<usize, TsdbError> {
        let mut data = self.shards[place.shard as usize].data.lock();
        let (all, mut room) = data.split(self);
        let Some(series) = all.get_mut(place.local) else { return Ok(0) };
        let (bytes, chunks) = (series.memory_bytes(), series.chunks());
        let deleted = series.delete(&mut room, range, epoch)?;
        self.add_memory(append::size(series.memory_bytes()) - append::size(bytes));
        self.add_chunks(append::size(series.chunks()) - append::size(chunks));
        Ok(deleted)
    }
}

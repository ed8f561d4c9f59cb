//! Series without samples leave the head: their numbers are never used again, so that an append with an old reference is
//! told so; their labels and texts give their memory back.

use hashbrown::HashSet;
use rapidhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering;

use super::symbols::Symbol;
use super::{Head, Index, SERIES_BYTES, Shard, append};

impl Head {
    /// Takes the series without samples away, then the texts that nobody uses any more.
    pub(crate) fn forget_empty_series(&self) -> u64 {
        let forgotten: u64 = self.shards.iter().map(|shard| self.forget_in(shard)).sum();
        if forgotten > 0 {
            self.forget_texts();
            self.series_count.fetch_sub(forgotten, Ordering::Relaxed);
            self.metrics.series_removed.increment(forgotten);
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            self.metrics.series.decrement(forgotten as f64);
        }
        forgotten
    }

    fn forget_in(&self, shard: &Shard) -> u64 {
        let _nobody_carries_numbers = self.names.write();
        let (index, data) = (&mut *shard.index.write(), &mut *shard.data.lock());
        let empty = data.series.iter().filter(|(_, series)| series.is_empty());
        let dead: HashSet<u32, RandomState> = empty.map(|(local, _)| local).collect();
        let mut pairs: HashSet<[Symbol; 2], RandomState> = HashSet::default();
        let mut bytes = 0;
        for &local in &dead {
            bytes += data.series.remove(local).map_or(0, |series| series.memory_bytes());
            let Some(labels) = index.labels.get(local) else { continue };
            pairs.extend(labels.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
            bytes += SERIES_BYTES + size_of_val(&**labels) + labels.len() / 2 * 2 * size_of::<u32>();
            let Index { table, hasher, .. } = index;
            if let Ok(entry) = table.find_entry(hasher.hash_one(&**labels), |other| *other == local) {
                entry.remove();
            }
        }
        for &local in &dead {
            index.labels.remove(local);
        }
        let pairs: Vec<Symbol> = pairs.into_iter().flatten().collect();
        bytes += index.postings.remove(&pairs, |local| dead.contains(&local));
        self.add_memory(-append::size(bytes));
        dead.len() as u64
    }

    fn forget_texts(&self) {
        let _nobody_carries_symbols = self.names.write();
        let mut used = vec![false; self.symbols.len()];
        for shard in &self.shards {
            for (_, labels) in shard.index.read().labels.iter() {
                labels.iter().for_each(|symbol| used[*symbol as usize] = true);
            }
        }
        self.symbols.sweep(&used);
    }
}

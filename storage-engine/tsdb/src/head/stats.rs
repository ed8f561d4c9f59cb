//! Figures about the head for people: who has the most series and values (`/api/v1/status/tsdb`).

use hashbrown::HashMap;
use rapidhash::fast::RandomState;
use storage_api::MetricsStats;

use super::symbols::{Interner, Symbol};
use super::{Head, HeadStats};

type Counts = HashMap<Symbol, u64, RandomState>;

impl Head {
    /// Figures, with at most `limit` entries a list (tsdb/index/postings.go, `Stats`).
    pub(crate) fn cardinality(&self, limit: usize) -> MetricsStats {
        let _names = self.names.read();
        let HeadStats { series, chunks, memory_bytes, range } = self.stats();
        let texts = self.symbols.read();
        let metric_name = texts.find(model::METRIC_NAME);
        let mut by_metric = Counts::default();
        let mut bytes_by_name = Counts::default();
        let mut by_pair: HashMap<(Symbol, Symbol), u64, RandomState> = HashMap::default();
        for shard in &self.shards {
            let index = shard.index.read();
            for (name, values) in index.postings.iter() {
                for (value, list) in values.iter() {
                    let count = list.len() as u64;
                    if Some(name) == metric_name {
                        *by_metric.entry(value).or_default() += count;
                    }
                    *bytes_by_name.entry(name).or_default() += texts.text(value).len() as u64 * count;
                    *by_pair.entry((name, value)).or_default() += count;
                }
            }
        }
        let mut values_by_name = Counts::default();
        by_pair.keys().for_each(|(name, _)| *values_by_name.entry(*name).or_default() += 1);
        let pair = |((name, value), count): (&(Symbol, Symbol), &u64)| {
            (format!("{}={}", texts.text(*name), texts.text(*value)), *count)
        };
        // Only the greatest pairs are made into texts.
        let mut greatest: Vec<_> = by_pair.iter().collect();
        greatest.sort_unstable_by(|a, b| b.1.cmp(a.1));
        let least = greatest.get(limit.saturating_sub(1)).map_or(0, |(_, count)| **count);
        let pairs = greatest.into_iter().take_while(|(_, count)| **count >= least).map(pair).collect();
        MetricsStats {
            series,
            label_pairs: by_pair.len() as u64,
            chunks,
            range,
            memory_bytes,
            series_by_metric_name: top(named(&by_metric, &texts), limit),
            values_by_label_name: top(named(&values_by_name, &texts), limit),
            bytes_by_label_name: top(named(&bytes_by_name, &texts), limit),
            series_by_label_pair: top(pairs, limit),
        }
    }
}

fn named(counts: &Counts, texts: &Interner) -> Vec<(String, u64)> {
    counts.iter().map(|(symbol, count)| (texts.text(*symbol).to_owned(), *count)).collect()
}

/// The greatest first, by name where equal.
fn top(mut counts: Vec<(String, u64)>, limit: usize) -> Vec<(String, u64)> {
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(limit);
    counts
}

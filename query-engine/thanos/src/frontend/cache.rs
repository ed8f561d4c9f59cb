//! Answers to range queries in memory: of each query and interval one contiguous run of steps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{Labels, Sample};
use promql::MatrixSeries;

use super::split::Steps;

/// What a histogram takes, about: histograms are shared.
const HISTOGRAM_BYTES: usize = 512;
/// One answer takes at most this part of the memory.
const SHARE_MAX: usize = 4;

/// What an answer is the answer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Whose data, from which stores, how it is merged.
    pub(crate) scope: Arc<str>,
    pub(crate) query: Arc<str>,
    pub(crate) step: i64,
    /// Where the steps are between two multiples of their length.
    pub(crate) phase: i64,
    /// The interval's number from the epoch.
    pub(crate) interval: i64,
}

/// The values of a run of steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values {
    /// Sorted by labels.
    pub(crate) series: Vec<MatrixSeries>,
    /// Notes on the query, each once, in order.
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

/// An answer for some steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) steps: Steps,
    pub(crate) values: Values,
}

/// Answers, the ones that were used last.
#[derive(Debug)]
pub(crate) struct ResultCache {
    bytes_max: usize,
    bytes: usize,
    entries: HashMap<Key, Entry>,
    /// The keys in the order of their last use.
    used: BTreeMap<u64, Key>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    extent: Arc<Extent>,
    bytes: usize,
    used: u64,
}

impl ResultCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, entries: HashMap::new(), used: BTreeMap::new(), uses: 0 }
    }

    pub(crate) fn get(&mut self, key: &Key) -> Option<Arc<Extent>> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        self.used.remove(&entry.used);
        entry.used = self.uses;
        self.used.insert(entry.used, key.clone());
        Some(Arc::clone(&entry.extent))
    }

    /// Takes an answer in; others leave for it.
    pub(crate) fn put(&mut self, key: Key, extent: Extent) {
        let bytes = key.query.len() + key.scope.len() + extent.values.bytes();
        if bytes > self.bytes_max / SHARE_MAX {
            return;
        }
        self.remove(&key);
        self.uses += 1;
        self.used.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { extent: Arc::new(extent), bytes, used: self.uses });
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.used.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.used.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    /// Bytes in memory, about.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Values {
    fn bytes(&self) -> usize {
        let series = self.series.iter().map(|series| {
            size_of::<MatrixSeries>()
                + series.labels.text_bytes()
                + series.floats.len() * size_of::<Sample>()
                + series.histograms.len() * HISTOGRAM_BYTES
        });
        let texts = self.warnings.iter().chain(&self.infos).map(String::len);
        size_of::<Extent>() + series.sum::<usize>() + texts.sum::<usize>()
    }

    /// The values of some of the steps.
    pub(crate) fn between(&self, steps: Steps) -> Self {
        let inside = |time: i64| (steps.first..=steps.last).contains(&time);
        let cut = |series: &MatrixSeries| MatrixSeries {
            labels: series.labels.clone(),
            floats: series.floats.iter().copied().filter(|sample| inside(sample.timestamp_ms)).collect(),
            histograms: series.histograms.iter().filter(|(time, _)| inside(*time)).cloned().collect(),
        };
        let series = self.series.iter().map(cut);
        let series = series.filter(|series| !series.floats.is_empty() || !series.histograms.is_empty());
        Self { series: series.collect(), warnings: self.warnings.clone(), infos: self.infos.clone() }
    }

    /// Several runs of steps, in the order of their times, as one.
    pub(crate) fn join(parts: Vec<Self>) -> Self {
        let mut joined = Self::default();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for part in parts {
            joined.warnings.extend(part.warnings);
            joined.infos.extend(part.infos);
            for series in part.series {
                match places.get(&series.labels) {
                    Some(place) => {
                        joined.series[*place].floats.extend(series.floats);
                        joined.series[*place].histograms.extend(series.histograms);
                    }
                    None => {
                        places.insert(series.labels.clone(), joined.series.len());
                        joined.series.push(series);
                    }
                }
            }
        }
        joined.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        for texts in [&mut joined.warnings, &mut joined.infos] {
            texts.sort_unstable();
            texts.dedup();
        }
        joined
    }
}

#[cfg(test)]
mod tests;

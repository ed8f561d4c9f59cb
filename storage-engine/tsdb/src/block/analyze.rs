//! What of a block costs most: series that come and go, labels with many values, chunks that are small. The figures are
//! those of `promtool tsdb analyze` (cmd/promtool/tsdb.go).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use format::{ChunkSample, ENCODING_XOR, ENCODING_XOR2, chunk_samples, read_chunk_samples};
use model::{METRIC_NAME, Matcher, NativeHistogram, TimeRange};
use storage_api::StorageResult;

use super::damaged;
use super::reader::BlockReader;

/// Series that are read at a time.
const PIECE_SERIES: usize = 256;

/// Figures about the series of a block that match.
#[derive(Clone, Debug, Default)]
pub struct BlockAnalysis {
    /// Series that were looked at.
    pub series: u64,
    /// Label names in them.
    pub names: usize,
    /// Distinct pairs of name and value.
    pub pairs: usize,
    /// Pairs of all series together.
    pub entries: u64,
    /// By pair: for how many blocks' lengths its series are not there, rounded down.
    pub churn_by_pair: Vec<(String, u64)>,
    /// The same by label name.
    pub churn_by_name: Vec<(String, u64)>,
    /// Series by pair.
    pub series_by_pair: Vec<(String, u64)>,
    /// Bytes of all values by label name.
    pub value_bytes_by_name: Vec<(String, u64)>,
    /// Values by label name.
    pub values_by_name: Vec<(String, u64)>,
    /// Series by metric name.
    pub series_by_metric: Vec<(String, u64)>,
    /// What is in the chunks, if that was asked for.
    pub chunks: Option<ChunkAnalysis>,
}

/// A number for each chunk, in the order of the index.
#[derive(Clone, Debug, Default)]
pub struct ChunkAnalysis {
    /// Chunks.
    pub total: usize,
    /// Samples of chunks of floats.
    pub float_samples: Vec<usize>,
    /// Bytes of chunks of floats.
    pub float_bytes: Vec<usize>,
    /// Samples of chunks of native histograms.
    pub histogram_samples: Vec<usize>,
    /// Bytes of chunks of native histograms.
    pub histogram_bytes: Vec<usize>,
    /// Buckets of all samples of chunks of native histograms.
    pub histogram_buckets: Vec<usize>,
}

/// Sums while series come.
#[derive(Default)]
struct Sums {
    /// By name and value: time that is not covered, ms, and series.
    pairs: BTreeMap<(String, String), (u64, u64)>,
    analysis: BlockAnalysis,
}

/// Looks at the series that match; with `with_chunks` at their chunks as well, which are all read then. Blocks on the
/// disk.
pub fn analyze(
    block: &Arc<BlockReader>,
    matchers: &[Matcher],
    with_chunks: bool,
) -> StorageResult<BlockAnalysis> {
    let meta = block.meta();
    let length_ms = meta.max_time.wrapping_sub(meta.min_time).cast_unsigned();
    let (numbers, texts) = (block.matching(matchers)?, block.symbols()?);
    let mut sums = Sums::default();
    let mut chunks = ChunkAnalysis::default();
    for some in numbers.chunks(PIECE_SERIES) {
        for series in block.series_from(some, &texts)? {
            let (Some(first), Some(last)) = (series.chunks.first(), series.chunks.last()) else { continue };
            let covered_ms = last.max_time.wrapping_sub(first.min_time).cast_unsigned();
            let uncovered_ms = length_ms.wrapping_sub(covered_ms);
            sums.analysis.series += 1;
            for (name, value) in series.labels.iter() {
                let sum = sums.pairs.entry((name.to_owned(), value.to_owned())).or_default();
                *sum = (sum.0.wrapping_add(uncovered_ms), sum.1 + 1);
                sums.analysis.entries += 1;
            }
            if with_chunks {
                block.read_chunks(&series.chunks, |_, encoding, data| {
                    chunks.add(encoding, data).map_err(|error| damaged(block.folder(), &error))
                })?;
            }
        }
    }
    let mut analysis = sums.finish(length_ms);
    if matchers.is_empty() {
        // Names that are in the index although no series has them.
        analysis.names = block.label_names(&[], TimeRange::ALL)?.len();
    }
    analysis.chunks = with_chunks.then_some(chunks);
    Ok(analysis)
}

impl Sums {
    fn finish(self, length_ms: u64) -> BlockAnalysis {
        let Self { pairs, mut analysis } = self;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as promtool computes it"
        )]
        let blocks = |uncovered_ms: u64| (uncovered_ms as f64 / length_ms as f64) as u64;
        let names: BTreeSet<&str> = pairs.keys().map(|(name, _)| name.as_str()).collect();
        (analysis.names, analysis.pairs) = (names.len(), pairs.len());
        for name in names {
            let of_name =
                pairs.range((name.to_owned(), String::new())..).take_while(|(pair, _)| pair.0 == name);
            let (mut uncovered_ms, mut bytes, mut values) = (0u64, 0, 0);
            for ((_, value), (of_pair_ms, _)) in of_name {
                uncovered_ms = uncovered_ms.wrapping_add(*of_pair_ms);
                bytes += value.len() as u64;
                values += 1;
            }
            analysis.churn_by_name.push((name.to_owned(), blocks(uncovered_ms)));
            analysis.value_bytes_by_name.push((name.to_owned(), bytes));
            analysis.values_by_name.push((name.to_owned(), values));
        }
        for ((name, value), (uncovered_ms, series)) in pairs {
            let pair = format!("{name}={value}");
            if name == METRIC_NAME {
                analysis.series_by_metric.push((value, series));
            }
            analysis.churn_by_pair.push((pair.clone(), blocks(uncovered_ms)));
            analysis.series_by_pair.push((pair, series));
        }
        for list in [
            &mut analysis.churn_by_pair,
            &mut analysis.churn_by_name,
            &mut analysis.series_by_pair,
            &mut analysis.value_bytes_by_name,
            &mut analysis.values_by_name,
            &mut analysis.series_by_metric,
        ] {
            // Stable: equal ones stay in the order of their names.
            list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        }
        analysis
    }
}

impl ChunkAnalysis {
    fn add(&mut self, encoding: u8, data: &[u8]) -> Result<(), format::FormatError> {
        let samples = usize::from(chunk_samples(encoding, data)?);
        self.total += 1;
        if matches!(encoding, ENCODING_XOR | ENCODING_XOR2) {
            self.float_samples.push(samples);
            self.float_bytes.push(data.len());
            return Ok(());
        }
        let mut buckets = 0;
        read_chunk_samples(encoding, data, |_, sample| {
            if let ChunkSample::Histogram(histogram) = sample {
                buckets += match histogram {
                    NativeHistogram::Integer(it) => it.positive.deltas.len() + it.negative.deltas.len(),
                    NativeHistogram::Float(it) => it.positive.counts.len() + it.negative.counts.len(),
                };
            }
        })?;
        self.histogram_samples.push(samples);
        self.histogram_bytes.push(data.len());
        self.histogram_buckets.push(buckets);
        Ok(())
    }
}

//! Reading everything in a block and holding it against itself: checksums, order, the index against the chunks, the
//! description against both.

use std::sync::Arc;

use format::{Aggregate, AggregateChunk, ChunkMeta, ENCODING_AGGREGATE, FormatError, decode_chunk};
use model::{Labels, SampleColumns, TimeRange};
use storage_api::StorageResult;

use super::damaged;
use super::reader::BlockReader;

/// Faults that are listed; more are only counted.
const FAULTS_MAX: usize = 20;

/// Series that are read at once.
const BATCH_SERIES: usize = 256;

/// What is in a block, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockReport {
    /// Series in the index.
    pub series: u64,
    /// Chunks that could be read.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
    /// What is wrong, the first few.
    pub faults: Vec<String>,
    /// How much is wrong.
    pub fault_count: u64,
}

/// Samples of a chunk; of windows all are read, and those that count the samples are appended.
fn decode_any(encoding: u8, data: &[u8], out: &mut SampleColumns) -> Result<(), FormatError> {
    if encoding != ENCODING_AGGREGATE {
        return decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, out);
    }
    let parts = AggregateChunk::decode(data)?;
    for aggregate in Aggregate::ALL {
        let mut other = SampleColumns::default();
        let to = if aggregate == Aggregate::Count { &mut *out } else { &mut other };
        if let Some((encoding, data)) = parts.get(aggregate) {
            decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, to)?;
        }
    }
    Ok(())
}

impl BlockReport {
    fn fault(&mut self, text: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(text);
        }
    }
}

impl BlockReader {
    /// Reads everything in the block. Damage is in the report; only a failing disk is an error.
    pub fn verify(self: &Arc<Self>) -> StorageResult<BlockReport> {
        let mut report = BlockReport::default();
        match self.verify_into(&mut report) {
            Err(error) if error.kind() != model::ErrorKind::Corrupt => return Err(error),
            Err(error) => report.fault(error.to_string()),
            // Counts that differ because of a fault that is listed say nothing more.
            Ok(()) if report.fault_count == 0 => self.compare_with_meta(&mut report),
            Ok(()) => {}
        }
        Ok(report)
    }

    fn verify_into(&self, report: &mut BlockReport) -> StorageResult<()> {
        let (numbers, texts) = (self.all_series()?, self.symbols()?);
        let mut last: Option<Labels> = None;
        for some in numbers.chunks(BATCH_SERIES) {
            for series in self.series_from(some, &texts)? {
                report.series += 1;
                if last.as_ref() >= Some(&series.labels) {
                    report.fault(format!("series {} is not behind the one before it", series.labels));
                }
                for chunk in &series.chunks {
                    self.verify_chunk(&series.labels, chunk, report)?;
                }
                last = Some(series.labels);
            }
        }
        self.verify_postings(report)
    }

    fn verify_chunk(
        &self,
        labels: &Labels,
        chunk: &ChunkMeta,
        report: &mut BlockReport,
    ) -> StorageResult<()> {
        let mut columns = SampleColumns::default();
        let read = self.read_chunks(std::slice::from_ref(chunk), |_, encoding, data| {
            decode_any(encoding, data, &mut columns).map_err(|error| damaged(self.folder(), &error))
        });
        if let Err(error) = read {
            if error.kind() != model::ErrorKind::Corrupt {
                return Err(error);
            }
            report.fault(format!("{labels}: {error}"));
            return Ok(());
        }
        report.chunks += 1;
        report.samples += columns.len() as u64;
        let times = &columns.timestamps_ms;
        if !times.is_sorted_by(|a, b| a < b) {
            report.fault(format!("{labels}: the times of a chunk do not ascend"));
        }
        let ends = (times.first().copied(), times.last().copied());
        if ends != (Some(chunk.min_time), Some(chunk.max_time)) {
            report.fault(format!(
                "{labels}: a chunk has samples from {:?} to {:?}, the index says {} to {}",
                ends.0, ends.1, chunk.min_time, chunk.max_time
            ));
        }
        Ok(())
    }

    /// The lists of each label name together have as many series as have the label.
    fn verify_postings(&self, report: &mut BlockReport) -> StorageResult<()> {
        let all = self.all_series()?;
        for name in self.index.label_names() {
            let mut places = Vec::new();
            self.index.values(name, |_, at| places.push(at))?;
            let mut listed: Vec<u32> = self.index.lists(&places)?.concat();
            let count = listed.len();
            listed.sort_unstable();
            listed.dedup();
            if listed.len() != count {
                report.fault(format!("a series has two values of label {name}"));
            }
            if listed.iter().any(|number| all.binary_search(number).is_err()) {
                report.fault(format!("a list of label {name} names a series that is not there"));
            }
        }
        Ok(())
    }

    fn compare_with_meta(&self, report: &mut BlockReport) {
        let (meta, counted) = (self.meta(), report.clone());
        for (what, said, found) in [
            ("series", meta.stats.num_series, counted.series),
            ("chunks", meta.stats.num_chunks, counted.chunks),
            ("samples", meta.stats.num_samples, counted.samples),
            ("tombstones", meta.stats.num_tombstones, self.tombstones().len()),
        ] {
            if said != found {
                report.fault(format!("meta.json counts {said} {what}, there are {found}"));
            }
        }
    }
}

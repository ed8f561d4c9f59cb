//! The data folder of a Prometheus that is not running: its blocks, and what only its head has (`head.rs`): log,
//! checkpoint, log of late samples, chunks of the head. Nothing in the folder is changed.

mod head;
mod log;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{BlockMeta, hint};
use model::{AppendReport, Labels, MetricMetadata};
use runtime::Disk;
use storage_api::{SampleBatch, SeriesRef, StorageResult};

use crate::block::{BlockReader, block_folders, failed};

/// A data folder with the blocks that are in it.
pub struct PrometheusFolder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    blocks: Vec<PrometheusBlock>,
}

/// A block of a data folder.
#[derive(Clone, Debug)]
pub struct PrometheusBlock {
    /// Its folder.
    pub folder: PathBuf,
    /// Its description, or what is damaged.
    pub meta: Result<BlockMeta, String>,
    /// Whether another block names it as one that it was made of, so that it is about to be removed.
    pub is_superseded: bool,
}

/// Takes what the head of a Prometheus has.
pub trait PrometheusHeadSink {
    /// A series.
    fn series(&mut self, labels: &Labels) -> StorageResult<SeriesRef>;

    /// Samples and exemplars; tells what was stored and what was refused.
    fn append(&mut self, batch: SampleBatch) -> StorageResult<AppendReport>;

    /// What is known about a metric family.
    fn metadata(&mut self, metric: &str, metadata: &MetricMetadata);
}

/// What was in the head.
#[derive(Clone, Debug, Default)]
pub struct PrometheusHeadReport {
    /// Series.
    pub series: u64,
    /// Floats that were handed on.
    pub floats: u64,
    /// Native histograms that were handed on.
    pub histograms: u64,
    /// Exemplars that were handed on.
    pub exemplars: u64,
    /// Samples that blocks have as well, or the head's own chunks, and that were passed over.
    pub repeated: u64,
    /// Samples that had been deleted.
    pub deleted: u64,
    /// Samples and exemplars whose series is not in the log.
    pub unknown: u64,
    /// Bytes at the ends of the logs that a crash cut.
    pub torn_bytes: u64,
    /// What the sink said.
    pub stored: AppendReport,
    /// What could not be read: file, place and reason.
    pub faults: Vec<String>,
}

impl PrometheusFolder {
    /// Looks at the folder. A block that cannot be opened is listed with its damage.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> StorageResult<Self> {
        let mut blocks = Vec::new();
        for (_, folder) in block_folders(&*disk, dir).map_err(|error| failed(dir, &error))? {
            let meta = BlockReader::open(&*disk, &folder).map(|block| block.meta());
            let meta = meta.map_err(|error| error.to_string());
            blocks.push(PrometheusBlock { folder, meta, is_superseded: false });
        }
        let metas = || blocks.iter().filter_map(|block| block.meta.as_ref().ok());
        let parents: Vec<_> =
            metas().flat_map(|meta| meta.compaction.parents.iter().map(|parent| parent.ulid)).collect();
        for block in &mut blocks {
            block.is_superseded = block.meta.as_ref().is_ok_and(|meta| parents.contains(&meta.ulid));
        }
        Ok(Self { disk, dir: dir.to_owned(), blocks })
    }

    /// The blocks.
    pub fn blocks(&self) -> &[PrometheusBlock] {
        &self.blocks
    }

    /// Hands everything to `sink` that the head has and the blocks do not, as a start of Prometheus would find it.
    /// `progress` hears how many bytes of how many were read. Damage is in the report; only a failing disk and a
    /// failing sink are errors.
    pub fn read_head(
        &self,
        sink: &mut dyn PrometheusHeadSink,
        progress: &mut dyn FnMut(u64, u64),
    ) -> StorageResult<PrometheusHeadReport> {
        head::read(self, sink, progress)
    }

    /// Samples in order before this time are in blocks, ms.
    fn in_blocks_until_ms(&self) -> i64 {
        let partial = [hint::OUT_OF_ORDER, hint::STALE_SERIES, hint::SELECTED_SERIES];
        let sound = self.blocks.iter().filter_map(|block| block.meta.as_ref().ok());
        let whole = sound.filter(|meta| !partial.iter().any(|hint| meta.compaction.has_hint(hint)));
        whole.map(|meta| meta.max_time).max().unwrap_or(i64::MIN)
    }
}

#[cfg(test)]
mod tests;

//! How the compactor behaves. The defaults are Thanos'.

use std::path::PathBuf;

use crate::downsample::{RESOLUTION_1H, RESOLUTION_5M};
use crate::error::{CompactorError, CompactorResult};
use crate::plan::RANGES_MS;

const HOUR_MS: i64 = 3_600_000;

/// Raw blocks are downsampled from this length on, ms: then a series becomes about two chunks.
pub(crate) const SPAN_5M_MS: i64 = 40 * HOUR_MS;

/// Blocks of 5 minutes are downsampled from this length on, ms.
pub(crate) const SPAN_1H_MS: i64 = 240 * HOUR_MS;

/// What becomes of samples of several blocks at the same times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merging {
    /// All are kept; of two at the same time that of the block that comes first.
    #[default]
    OneToOne,
    /// One replica at a time, as queries of Thanos choose; see `penalty.rs`.
    Penalty,
}

/// How the compactor behaves; set by the program from its configuration.
#[derive(Clone, Debug)]
pub struct CompactorSettings {
    /// Where blocks are put together before they are uploaded. Only this compactor uses it.
    pub work_dir: PathBuf,
    /// Lengths that blocks grow to, ms, each a multiple of the one before.
    pub ranges_ms: Vec<i64>,
    /// External labels that tell replicas apart: blocks that differ in nothing else become one.
    pub replica_labels: Vec<String>,
    /// What becomes of samples at the same times.
    pub merging: Merging,
    /// A block is left alone until it is this old, ms: somebody may not be done with it.
    pub consistency_delay_ms: i64,
    /// A block that is marked is removed this much later, ms.
    pub delete_delay_ms: i64,
    /// What is left of an upload that was cut is removed when it is this old, ms.
    pub partial_age_ms: i64,
    /// Whether longer blocks are downsampled.
    pub downsampling: bool,
    /// Blocks of raw samples are removed when they ended this long ago, ms; `None` keeps them.
    pub retention_raw_ms: Option<i64>,
    /// The same of blocks with windows of 5 minutes.
    pub retention_5m_ms: Option<i64>,
    /// The same of blocks with windows of an hour.
    pub retention_1h_ms: Option<i64>,
    /// The largest index that a block may have, bytes.
    pub index_bytes_max: u64,
    /// Memory for reading ahead in the blocks of one plan, bytes.
    pub read_ahead_bytes: u64,
}

impl Default for CompactorSettings {
    fn default() -> Self {
        Self {
            work_dir: PathBuf::from("./tidegate-data/compactor"),
            ranges_ms: RANGES_MS.to_vec(),
            replica_labels: Vec::new(),
            merging: Merging::OneToOne,
            consistency_delay_ms: HOUR_MS / 2,
            delete_delay_ms: 48 * HOUR_MS,
            partial_age_ms: 48 * HOUR_MS,
            downsampling: true,
            retention_raw_ms: None,
            retention_5m_ms: None,
            retention_1h_ms: None,
            index_bytes_max: 64 << 30,
            read_ahead_bytes: 48 << 20,
        }
    }
}

impl CompactorSettings {
    /// Refuses what would lose data or cannot work.
    pub fn validate(&self) -> CompactorResult<()> {
        let is_growing = |pair: &[i64]| pair[1] > pair[0] && pair[1] % pair[0] == 0;
        if self.ranges_ms.first().is_none_or(|first| *first <= 0)
            || !self.ranges_ms.windows(2).all(is_growing)
        {
            let message = format!("ranges {:?}: each must be a multiple of the one before", self.ranges_ms);
            return Err(CompactorError::settings(message));
        }
        if self.downsampling {
            for (name, retention, least) in
                [("raw", self.retention_raw_ms, SPAN_5M_MS), ("5m", self.retention_5m_ms, SPAN_1H_MS)]
            {
                if retention.is_some_and(|retention| retention < least) {
                    let hours = least / HOUR_MS;
                    return Err(CompactorError::settings(format!(
                        "retention.{name} is below {hours}h: blocks would be gone before they are long enough to be \
                         downsampled; give more, 0s to keep them, or downsampling: false"
                    )));
                }
            }
        }
        Ok(())
    }

    /// How long blocks of a resolution are kept, ms.
    pub(crate) fn retention_ms(&self, resolution_ms: i64) -> Option<i64> {
        match resolution_ms {
            0 => self.retention_raw_ms,
            RESOLUTION_5M => self.retention_5m_ms,
            RESOLUTION_1H => self.retention_1h_ms,
            _ => None,
        }
    }
}

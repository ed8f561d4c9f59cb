//! `compactor`: compaction, downsampling and retention of the bucket (`storage.bucket`).

use std::path::PathBuf;
use std::time::Duration;

use compactor::{CompactorSettings, Merging};
use pipelines::ConfigError;
use serde::Deserialize;

use crate::duration;

/// A lease that is shorter could end between two requests that keep it.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// `compactor`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompactorConfig {
    /// Whether this process compacts the bucket. Of several that do, one at a time works. Default false: another program
    /// may do it.
    pub enabled: bool,
    /// Time between two rounds. Default 5m.
    #[serde(deserialize_with = "duration::deserialize")]
    pub wait_interval: Duration,
    /// How long a process that died while it compacted the bucket keeps others away. Default 60s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub lease_duration: Duration,
    /// Which replicas there are, and what becomes of them.
    pub deduplication: DeduplicationConfig,
    /// A block is left alone until it is this old. Default 30m.
    #[serde(deserialize_with = "duration::deserialize")]
    pub consistency_delay: Duration,
    /// A block that is marked is removed this much later. Default 48h.
    #[serde(deserialize_with = "duration::deserialize")]
    pub delete_delay: Duration,
    /// Whether blocks of two days get windows of 5 minutes, and those of two weeks windows of an hour. Default true.
    pub downsampling: bool,
    /// How long blocks are kept after their end.
    pub retention: RetentionConfig,
    /// Bytes of the largest index that a block may have. Default 68719476736.
    pub block_index_bytes_max: u64,
    /// Bytes of memory for reading ahead in the blocks that become one. Default 50331648.
    pub read_ahead_bytes: u64,
}

/// `compactor.deduplication`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeduplicationConfig {
    /// External labels that tell replicas apart: blocks that differ in nothing else become one. Default none.
    pub replica_labels: Vec<String>,
    /// `one-to-one` keeps all samples; `penalty` those of one replica at a time, as queries of Thanos. Default
    /// `one-to-one`.
    pub func: MergingConfig,
}

/// What becomes of samples of several replicas.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MergingConfig {
    /// All samples; of two at the same time one.
    #[default]
    OneToOne,
    /// Those of one replica at a time.
    Penalty,
}

/// `compactor.retention`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Blocks of raw samples. Default 0s: for ever.
    #[serde(deserialize_with = "duration::deserialize")]
    pub raw: Duration,
    /// Blocks with windows of 5 minutes. Default 0s: for ever.
    #[serde(rename = "5m", deserialize_with = "duration::deserialize")]
    pub five_minutes: Duration,
    /// Blocks with windows of an hour. Default 0s: for ever.
    #[serde(rename = "1h", deserialize_with = "duration::deserialize")]
    pub one_hour: Duration,
}

impl Default for CompactorConfig {
    fn default() -> Self {
        let settings = CompactorSettings::default();
        Self {
            enabled: false,
            wait_interval: Duration::from_secs(300),
            lease_duration: Duration::from_secs(60),
            deduplication: DeduplicationConfig::default(),
            consistency_delay: duration_of(settings.consistency_delay_ms),
            delete_delay: duration_of(settings.delete_delay_ms),
            downsampling: settings.downsampling,
            retention: RetentionConfig::default(),
            block_index_bytes_max: settings.index_bytes_max,
            read_ahead_bytes: settings.read_ahead_bytes,
        }
    }
}

impl CompactorConfig {
    /// Refuses what would lose data.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.lease_duration < LEASE_MIN {
            let got = self.lease_duration;
            let message = format!("{got:?} is too short to be kept, at least {LEASE_MIN:?} is allowed");
            return Err(ConfigError::at("compactor.lease_duration", message));
        }
        let settings = self.settings(PathBuf::new());
        settings.validate().map_err(|error| ConfigError::at("compactor", error.to_string()))
    }

    /// What the compactor is made with.
    pub fn settings(&self, work_dir: PathBuf) -> CompactorSettings {
        let kept = |retention: Duration| Some(ms(retention)).filter(|retention| *retention > 0);
        CompactorSettings {
            work_dir,
            replica_labels: self.deduplication.replica_labels.clone(),
            merging: self.deduplication.func.into(),
            consistency_delay_ms: ms(self.consistency_delay),
            delete_delay_ms: ms(self.delete_delay),
            downsampling: self.downsampling,
            retention_raw_ms: kept(self.retention.raw),
            retention_5m_ms: kept(self.retention.five_minutes),
            retention_1h_ms: kept(self.retention.one_hour),
            index_bytes_max: self.block_index_bytes_max,
            read_ahead_bytes: self.read_ahead_bytes,
            ..CompactorSettings::default()
        }
    }
}

impl From<MergingConfig> for Merging {
    fn from(config: MergingConfig) -> Self {
        match config {
            MergingConfig::OneToOne => Self::OneToOne,
            MergingConfig::Penalty => Self::Penalty,
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration_of(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

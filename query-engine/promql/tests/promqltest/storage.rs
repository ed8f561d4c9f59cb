//! The stores that scripts run over: decoded samples in memory, the real store's head, and its blocks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, NativeHistogram, SampleColumns, TenantId};
use runtime::{ManualClock, SimulatedDisk, Tasks};
use storage_api::{MetricsAdmin, MetricsAppender, MetricsQuerier, SampleBatch};
use tsdb::{Tsdb, TsdbSettings};

use super::memory_storage::MemoryStorage;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Later than any sample of a script.
const NOW_NS: i64 = i64::MAX / 2;

/// Which store a script runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Decoded samples.
    Memory,
    /// The real store, everything in its head.
    Head,
    /// The real store, everything flushed to blocks before the first query after a load.
    Blocks,
}

/// A store of one of the kinds.
pub enum Storage {
    Memory(MemoryStorage),
    Real { store: Tsdb, flushes: bool, is_dirty: bool },
}

impl Storage {
    /// An empty store.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Memory => Self::Memory(MemoryStorage::default()),
            Kind::Head | Kind::Blocks => {
                Self::Real { store: open(), flushes: kind == Kind::Blocks, is_dirty: false }
            }
        }
    }

    /// Appends the samples of several series.
    pub async fn load(&mut self, series: &[(Labels, SampleColumns)]) -> Result<(), String> {
        match self {
            Self::Memory(memory) => {
                series.iter().for_each(|(labels, samples)| memory.append(labels.clone(), samples));
                Ok(())
            }
            Self::Real { store, is_dirty, .. } => {
                *is_dirty = true;
                append(store, series).await
            }
        }
    }

    /// To be called before queries.
    pub async fn settle(&mut self) -> Result<(), String> {
        if let Self::Real { store, flushes: true, is_dirty } = self
            && std::mem::take(is_dirty)
        {
            store.flush(&TenantId::default()).await.map_err(|error| error.to_string())?;
            let left = store.head_stats(&TenantId::default());
            if left.range.is_some() {
                return Err(format!("the head still has samples after a flush: {left:?}"));
            }
        }
        Ok(())
    }

    /// What queries read from.
    pub fn querier(&self) -> &dyn MetricsQuerier {
        match self {
            Self::Memory(memory) => memory,
            Self::Real { store, .. } => store,
        }
    }
}

/// A store with blocks of a day, as the one that Prometheus runs its scripts over, which takes samples of any age.
fn open() -> Tsdb {
    let mut settings = TsdbSettings {
        block_duration_ms: DAY_MS,
        retention_ms: None,
        out_of_order_window_ms: 1 << 50,
        ..TsdbSettings::default()
    };
    settings.wal.group_wait = Duration::ZERO;
    settings.wal.free_bytes_min = 0;
    let clock = Arc::new(ManualClock::at_ns(NOW_NS));
    let disk = Arc::new(SimulatedDisk::new(0));
    Tsdb::open(disk, PathBuf::from("/data/metrics"), settings, Tasks::new(), clock).expect("an empty folder")
}

async fn append(store: &Tsdb, series: &[(Labels, SampleColumns)]) -> Result<(), String> {
    let tenant = TenantId::default();
    for (labels, samples) in series {
        if samples.is_empty() {
            continue;
        }
        let number = store.series(&tenant, labels).map_err(|error| error.to_string())?;
        let mut batch = SampleBatch::default();
        let mut histograms = samples.histograms.iter().peekable();
        for (index, (time, value)) in samples.timestamps_ms.iter().zip(&samples.values).enumerate() {
            match histograms.next_if(|(at, _)| *at == index) {
                Some((_, histogram)) => {
                    batch.push_histogram(number, *time, NativeHistogram::Float(Arc::clone(histogram)));
                }
                None => batch.push(number, *time, *value),
            }
        }
        let outcome = store.append(&tenant, batch).await.map_err(|error| error.to_string())?;
        if outcome.report.rejected_count() > 0 {
            return Err(format!("{labels}: samples are refused: {:?}", outcome.report.rejected));
        }
    }
    Ok(())
}

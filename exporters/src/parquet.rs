//! `parquet`: writes telemetry as Parquet files in folders by signal, day and hour (`docs/formats/parquet-v1.md`), on
//! the local disk or in an object store.
//!
//! A delivery becomes one file for each hour that it has rows of, written, synced and renamed before it counts as
//! delivered; so files are as large as the queue's batches, which this exporter makes large by default (`batch` of 32 MiB
//! or 30s, unless the config says otherwise). With `storage` a sender is acknowledged when its data is in the queue on
//! disk; without a queue, when its file is whole (PARQUET-1). After a crash a file may be written twice.

mod columns;
mod files;
mod logs;
mod metrics;
mod origin;
mod traces;

use std::path::PathBuf;
use std::sync::Arc;

use bucket::BucketConfig;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Delivery, Exporter,
    ExporterContext, ExporterFactory, PipelineError, PipelineResult, QueueBatchConfig, Sizer, Stability,
    off_thread, split,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::files::{Folder, Place};
use crate::Stores;
use crate::client::{Attempts, Forwarder, SendingConfig};

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "parquet",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Alpha,
    create,
};

/// Which rows share a file.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum PartitionBy {
    #[default]
    Hour,
    Day,
}

/// The keys of its own; those of the queue are in [`SendingConfig`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Folder of the files; made when it is missing. Either this or `bucket` is required.
    directory: PathBuf,
    /// An object store for the files, in Thanos' notation: `type` (S3, GCS, AZURE, FILESYSTEM), `config`, `prefix`.
    bucket: Option<BucketConfig>,
    /// Rows of which time share a folder: hour (default) or day, UTC.
    partition_by: PartitionBy,
    /// zstd level of the columns, 1 to 22. Default 3.
    compression_level: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            bucket: None,
            partition_by: PartitionBy::Hour,
            compression_level: 3,
        }
    }
}

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        match (&self.bucket, self.directory.as_os_str().is_empty()) {
            (None, true) => {
                return Err(ConfigError::at("directory", "want the path of a folder, or a bucket"));
            }
            (Some(_), false) => {
                return Err(ConfigError::at("bucket", "files go to a directory or a bucket, not to both"));
            }
            (None, false) => {}
            (Some(bucket), true) => bucket.validate().map_err(|error| {
                let path = error.config_path().map_or_else(String::new, |path| format!(".{path}"));
                ConfigError::at(&format!("bucket{path}"), error.message())
            })?,
        }
        if !(1..=22).contains(&self.compression_level) {
            return Err(ConfigError::at("compression_level", "must be between 1 and 22"));
        }
        Ok(())
    }
}

/// What a file is made of unless the config says otherwise.
fn batch_default() -> QueueBatchConfig {
    QueueBatchConfig {
        flush_timeout: ConfigDuration::from_secs(30),
        min_size: 32 << 20,
        max_size: 128 << 20,
        sizer: Sizer::Bytes,
        ..QueueBatchConfig::default()
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id;
    let (sending_part, own_part) = split(config.value, SendingConfig::KEYS);
    let sending: SendingConfig = ComponentConfig { id, value: &sending_part }.parse()?;
    let config: Config = ComponentConfig { id, value: &own_part }.parse()?;
    config.validate()?;
    // Writing a file is not given up half-way: there is nobody at the other end who may have gone.
    let mut settings = sending.settings(ConfigDuration::default())?;
    settings.queue.batch = settings.queue.batch.or_else(|| Some(batch_default()));
    let place = match config.bucket {
        Some(bucket) => Place::bucket(bucket),
        None => Place::Directory(config.directory),
    };
    let folder = Folder::new(place, config.partition_by == PartitionBy::Hour, config.compression_level);
    let attempts = ParquetAttempts {
        id: id.clone(),
        folder: Arc::new(folder),
        tasks: context.tasks.clone(),
        clock: Arc::clone(&context.clock),
    };
    Forwarder::create(id, settings, attempts, CancellationToken::new(), context)
}

/// Single attempts to write a batch.
struct ParquetAttempts {
    id: ComponentId,
    folder: Arc<Folder>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

impl ParquetAttempts {
    async fn write(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let (items, folder) = (batch.items, Arc::clone(&self.folder));
        let delivery = Delivery::current(&*self.clock);
        let id = self.id.clone();
        let write = move || {
            let written = folder.write(&batch, delivery);
            written.map_err(|error| PipelineError::new(error.kind(), format!("exporter {id}: {error}")))
        };
        off_thread(&self.tasks, &self.id, "writing Parquet files", write).await?;
        Ok(AppendReport { stored: items, rejected: Vec::new() })
    }
}

impl Consumer for ParquetAttempts {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.write(batch))
    }
}

impl Attempts for ParquetAttempts {
    fn connect(&self) -> PipelineResult<()> {
        self.folder.prepare(self.clock.now_ns())
    }
}

#[cfg(test)]
mod tests;

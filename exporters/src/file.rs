//! `file`: writes telemetry to a file, as lines of OTLP/JSON or as protobuf messages.
//!
//! Keys and formats: exporter/fileexporter of the collector's contrib repository. JSON is one request a line; protobuf,
//! and anything compressed, is a length (4 bytes, big-endian) and a message each. One thread writes; batches that wait
//! meanwhile share its fsync. Invariant FILE-1: a batch is acknowledged when it is on the disk; one that was not written
//! whole leaves nothing behind.

mod rotation;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, ExporterMetrics, PipelineError, PipelineResult, Stability,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use self::rotation::RotationConfig;
use self::writer::{Job, Writer};
use crate::Stores;
use crate::client::{not_started, unsupported};

pub(crate) const FACTORY: ExporterFactory<Stores> =
    ExporterFactory { kind: "file", aliases: &[], signals: &Signal::ALL, stability: Stability::Beta, create };

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Proto,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The file. Required.
    path: PathBuf,
    /// json (default) or proto.
    format: Format,
    /// zstd, each message by itself; default none.
    compression: String,
    /// How hard to compress.
    compression_params: CompressionParams,
    /// Whether what is in the file stays. Default false: what an earlier process left goes with the
    /// first write; always true with `rotation`.
    append: bool,
    /// When the file is renamed and a new one begun. Default never.
    rotation: Option<RotationConfig>,
    /// Whether the folder is made when it is missing. Default false.
    create_directory: bool,
    /// Read for compatibility, no effect: a batch is on the disk before it is acknowledged.
    flush_interval: ConfigDuration,
    /// Read for compatibility, no effect: the process' umask rules.
    directory_permissions: Value,
    encoding: Option<Value>,
    group_by: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CompressionParams {
    /// Level of zstd; 0, the default, is the codec's own.
    level: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            format: Format::Json,
            compression: String::new(),
            compression_params: CompressionParams::default(),
            append: false,
            rotation: None,
            create_directory: false,
            flush_interval: ConfigDuration::from_secs(1),
            directory_permissions: Value::Null,
            encoding: None,
            group_by: None,
        }
    }
}

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: &str| Err(ConfigError::at(key, message.to_owned()));
        if self.path.as_os_str().is_empty() {
            return at("path", "path must be non-empty");
        }
        if self.path.file_name().is_none() {
            return at("path", "want the path of a file");
        }
        if !matches!(self.compression.as_str(), "" | "none" | "zstd") {
            return at("compression", "compression is not supported: want zstd or none");
        }
        if self.append && (self.rotation.is_some() || self.compression == "zstd") {
            return at(
                "append",
                "append and rotation or compression enabled at the same time is not supported",
            );
        }
        unsupported(&[("encoding", self.encoding.is_some()), ("group_by", self.group_by.is_some())])
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id;
    let config: Config = config.parse()?;
    config.validate()?;
    Ok(Arc::new(FileExporter {
        id: id.clone(),
        config,
        jobs: Mutex::default(),
        metrics: ExporterMetrics::new(id),
        tasks: context.tasks.clone(),
        clock: Arc::clone(&context.clock),
    }))
}

struct FileExporter {
    id: ComponentId,
    config: Config,
    /// To the thread that writes, and its end.
    jobs: Mutex<Option<(mpsc::Sender<Job>, oneshot::Receiver<()>)>>,
    metrics: ExporterMetrics,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

/// Batches that may wait for the thread; further senders wait.
const JOBS_WAITING: usize = 64;

impl FileExporter {
    async fn write(&self, signal: Signal, payload: Bytes, items: u64) -> PipelineResult<AppendReport> {
        let jobs = self.jobs.lock().as_ref().map(|(jobs, _)| jobs.clone());
        let jobs = jobs.ok_or_else(|| not_started(&self.id))?;
        let (done, written) = oneshot::channel();
        let ended = || PipelineError::new(ErrorKind::Unavailable, format!("exporter {} has ended", self.id));
        jobs.send(Job { signal, payload, done }).await.map_err(|_| ended())?;
        written.await.map_err(|_| ended())??;
        Ok(AppendReport { stored: items, rejected: Vec::new() })
    }
}

impl Consumer for FileExporter {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            let (signal, items) = (batch.signal, batch.items);
            let outcome = self.write(signal, batch.payload.clone(), items).await;
            self.metrics.count(signal, items, &outcome);
            outcome
        })
    }
}

impl Exporter for FileExporter {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            let (config, clock) = (self.config.clone(), Arc::clone(&self.clock));
            let open = move || Writer::open(&config, clock);
            let failed = |error: &dyn std::fmt::Display| {
                let text = format!("exporter {}: {}: {error}", self.id, self.config.path.display());
                PipelineError::new(ErrorKind::Invalid, text)
            };
            let opened = self.tasks.spawn_blocking("open file", open).await;
            let writer = opened.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
            let (jobs, waiting) = mpsc::channel(JOBS_WAITING);
            let (end, ended) = oneshot::channel();
            let run = move || {
                writer.run(waiting);
                // Nobody may wait for it any more.
                let _ = end.send(());
            };
            self.tasks.spawn_thread("file exporter", run).map_err(|error| failed(&error))?;
            *self.jobs.lock() = Some((jobs, ended));
            Ok(())
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            let Some((jobs, ended)) = self.jobs.lock().take() else { return Ok(()) };
            drop(jobs);
            // An error means that the thread is gone, which is what we wait for.
            let _ = ended.await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;

//! The thread behind the `file` exporter: encodes, writes, syncs, rotates.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use model::{ErrorKind, Signal};
use pipelines::{PipelineError, PipelineResult};
use runtime::Clock;
use tokio::sync::{mpsc, oneshot};
use wire::compression::Encoding;
use wire::otlp::json;

use super::rotation::Rotation;
use super::{Config, Format};
use crate::client::permanent;

/// A batch to write.
pub(super) struct Job {
    pub(super) signal: Signal,
    pub(super) payload: Bytes,
    pub(super) done: oneshot::Sender<PipelineResult<()>>,
}

pub(super) struct Writer {
    path: PathBuf,
    format: Format,
    is_compressed: bool,
    file: File,
    bytes: u64,
    rotation: Option<Rotation>,
    clock: Arc<dyn Clock>,
}

/// A group of batches this large is synced at once without waiting for more.
const GROUP_BYTES_ENOUGH: usize = 4 << 20;

impl Writer {
    pub(super) fn open(config: &Config, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let path = config.path.clone();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|_| config.create_directory) {
            std::fs::create_dir_all(folder)?;
        }
        let keeps = config.append || config.rotation.is_some();
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        if !keeps {
            file.set_len(0)?;
        }
        sync_folder(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path,
            format: config.format,
            is_compressed: config.compression == "zstd",
            file,
            bytes,
            rotation: config.rotation.clone().map(Rotation::new),
            clock,
        })
    }

    /// Writes until nobody can send any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut group = Vec::new();
            let mut bytes = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next {
                match self.encode(&job, &mut bytes) {
                    Ok(()) => group.push(job.done),
                    // The sender may have gone; then nobody needs the outcome.
                    Err(error) => drop(job.done.send(Err(error))),
                }
                next = if bytes.len() < GROUP_BYTES_ENOUGH { jobs.try_recv().ok() } else { None };
            }
            let written = self.write(&bytes).map_err(|error| {
                let text = format!("cannot write {}: {error}", self.path.display());
                PipelineError::new(ErrorKind::Unavailable, text)
            });
            for done in group {
                let _ = done.send(written.clone());
            }
        }
    }

    fn encode(&self, job: &Job, out: &mut Vec<u8>) -> PipelineResult<()> {
        let message = match self.format {
            Format::Proto => job.payload.clone(),
            Format::Json => {
                let mut text = Vec::with_capacity(2 * job.payload.len());
                let written = json::from_protobuf(job.signal, &job.payload, &mut text);
                written.map_err(|error| permanent(format!("cannot encode the batch: {error}")))?;
                Bytes::from(text)
            }
        };
        let message = if self.is_compressed { Encoding::Zstd.encode(None, &message).into() } else { message };
        if self.format == Format::Json && !self.is_compressed {
            out.extend_from_slice(&message);
            out.push(b'\n');
            return Ok(());
        }
        let len = u32::try_from(message.len())
            .map_err(|_| permanent(format!("a message of {} bytes, 4 GiB are possible", message.len())))?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&message);
        Ok(())
    }

    /// Appends and syncs; after an error the file is as before.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now_ms = self.clock.now_ms();
        if let Some(rotation) = &self.rotation
            && self.bytes > 0
            && rotation.is_due(self.bytes, bytes.len() as u64)
        {
            rotation.rename(&self.path, now_ms)?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = self.file.metadata()?.len();
            sync_folder(&self.path)?;
            rotation.clean_up(&self.path, now_ms);
        }
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            // Half a line would spoil the next one. What cannot be cut is at least behind a whole file.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        written
    }
}

fn sync_folder(path: &std::path::Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(std::path::Path::new(".")))?.sync_all()
}

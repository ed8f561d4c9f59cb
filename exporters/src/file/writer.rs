//! The thread behind the `file` exporter: encodes, writes, syncs, rotates.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hashbrown::HashMap;
use model::{ErrorKind, Signal};
use parking_lot::Mutex;
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

/// Files that writers of this process write to, by path. A reload lets an old and a new one write to the same file for
/// a while.
static PLACES: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<Place>>>>> = LazyLock::new(Mutex::default);

/// A path that this process writes to; held while it is written.
#[derive(Default)]
struct Place {
    /// Whether this process wrote to it. What was there before goes with the first write, unless it is to be kept: not
    /// at the start, which a reload that is refused later comes to as well, and not twice, for what this process
    /// acknowledged stays.
    is_begun: bool,
}

pub(super) struct Writer {
    path: PathBuf,
    format: Format,
    is_compressed: bool,
    /// Level of the compression, unless it is the codec's own.
    level: Option<i32>,
    keeps: bool,
    place: Arc<Mutex<Place>>,
    file: File,
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
        let file = open(&path)?;
        let place = Arc::clone(PLACES.lock().entry(std::path::absolute(&path)?).or_default());
        Ok(Self {
            path,
            format: config.format,
            is_compressed: config.compression == "zstd",
            level: Some(config.compression_params.level).filter(|level| *level != 0),
            keeps: config.append || config.rotation.is_some(),
            place,
            file,
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
                // Without the path, which is nothing for the sender who reads this.
                let text = format!("cannot write the exporter's file: {error}");
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
        let message =
            if self.is_compressed { Encoding::Zstd.encode(self.level, &message).into() } else { message };
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
        let place = Arc::clone(&self.place);
        let mut place = place.lock();
        let mut len = self.len()?;
        if !place.is_begun && !self.keeps {
            self.file.set_len(0)?;
            len = 0;
        }
        let now_ms = self.clock.now_ms();
        if let Some(rotation) = &self.rotation
            && len > 0
            && rotation.is_due(len, bytes.len() as u64)
        {
            rotation.rename(&self.path, now_ms)?;
            self.file = open(&self.path)?;
            len = 0;
            rotation.clean_up(&self.path, now_ms);
        }
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => place.is_begun = true,
            // Half a line would spoil the next one. What cannot be cut is at least behind a whole file.
            Err(_) => drop(self.file.set_len(len)),
        }
        written
    }

    /// The length of what is under the path. That is another file when somebody renamed the one that was written so
    /// far: another writer, another program, or a rotation whose file could not be opened.
    fn len(&mut self) -> io::Result<u64> {
        let own = self.file.metadata()?;
        let is_there = std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if is_there {
            return Ok(own.len());
        }
        self.file = open(&self.path)?;
        Ok(self.file.metadata()?.len())
    }
}

/// Opens the file to append, durably there.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

//! Where files go, and how one comes to be: columns by partition, then a temporary file, sync, rename, sync of the
//! folder, or one object.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use bucket::{Bucket, BucketConfig};
use chrono::DateTime;
use model::{ErrorKind, Signal};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use pipelines::{Batch, Delivery, PipelineError, PipelineResult};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64;

use super::columns::RowGroup;
use super::{logs, metrics, traces};
use crate::client::permanent;

/// Where files go.
pub(super) enum Place {
    /// A folder on the local disk.
    Directory(PathBuf),
    /// An object store, open when the exporter has started.
    Bucket { config: BucketConfig, bucket: OnceLock<Bucket> },
}

/// The folder of all files.
pub(super) struct Folder {
    place: Place,
    by_hour: bool,
    compression_level: i32,
}

/// The rows of one file.
pub(super) trait Rows: Default {
    /// The schema in Parquet's message notation.
    const SCHEMA: &'static str;

    /// Gives every row of `batch` to the rows of the partition of its time; rows without a time get `now_ns`.
    fn fill(batch: &Batch, now_ns: i64, partitions: &mut Partitions<Self>) -> PipelineResult<()>;

    /// Writes the columns in the order of the schema.
    fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> parquet::errors::Result<()>;
}

/// Rows that are in memory before they go into a row group; as many as DuckDB's own row groups have.
const ROWS_MAX: usize = 122_880;

/// What rows share (resource, scope, name, unit, description) is written with each of them: all of it together may be
/// so many times as large as the request, and a little. Records of 10 bytes below a resource of 1.5 kB have 130.
const SHARED_RATIO_MAX: u64 = 1024;
/// The little.
const SHARED_SPARE: u64 = 256 << 20;

/// The rows of a batch by hour.
pub(super) struct Partitions<R> {
    by_hour: bool,
    properties: Arc<WriterProperties>,
    /// Keyed by the first second of the partition; `None` for what is in none of the others.
    parts: BTreeMap<Option<i64>, Part<R>>,
    /// Rows that are in no row group yet.
    waiting: usize,
    /// What may still be written of what rows share.
    shared_left: u64,
}

/// The file of a partition, and the rows that are not in it yet.
struct Part<R> {
    file: SerializedFileWriter<Vec<u8>>,
    rows: R,
    count: usize,
}

/// Partitions of one batch: times all over the place must not make a file for each row.
const PARTITIONS_MAX: usize = 100;

impl<R: Rows> Partitions<R> {
    fn new(by_hour: bool, properties: WriterProperties, batch: &Batch) -> Self {
        let shared_left = batch.payload.len() as u64 * SHARED_RATIO_MAX + SHARED_SPARE;
        Self { by_hour, properties: Arc::new(properties), parts: BTreeMap::new(), waiting: 0, shared_left }
    }

    /// The rows of a time, for one more of them, which shares so much (bytes, and some for each attribute) with others.
    pub(super) fn at(&mut self, time_ns: i64, shared: u64) -> PipelineResult<&mut R> {
        self.shared_left = self.shared_left.checked_sub(shared).ok_or_else(|| {
            permanent(format!(
                "the rows of the batch repeat so much of their resources, scopes and names that it is more than \
                 {SHARED_RATIO_MAX} times as large as the batch"
            ))
        })?;
        if self.waiting >= ROWS_MAX {
            self.end_groups().map_err(|error| unwritable(&error))?;
        }
        let seconds = if self.by_hour { 3600 } else { 86_400 };
        let start = time_ns.div_euclid(1_000_000_000).div_euclid(seconds) * seconds;
        let is_new = !self.parts.contains_key(&Some(start));
        let key = if is_new && self.parts.len() >= PARTITIONS_MAX { None } else { Some(start) };
        let part = match self.parts.entry(key) {
            Entry::Occupied(part) => part.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Part::new(&self.properties).map_err(|error| unwritable(&error))?)
            }
        };
        self.waiting += 1;
        part.count += 1;
        Ok(&mut part.rows)
    }

    /// Writes a row group of all rows of each partition.
    fn end_groups(&mut self) -> Result<(), ParquetError> {
        for part in self.parts.values_mut().filter(|part| part.count > 0) {
            let mut group = part.file.next_row_group()?;
            part.rows.write(&mut RowGroup(&mut group))?;
            group.close()?;
            (part.rows, part.count) = (R::default(), 0);
        }
        self.waiting = 0;
        Ok(())
    }

    /// The files, by the first seconds of their partitions.
    fn into_files(mut self) -> Result<BTreeMap<Option<i64>, Vec<u8>>, ParquetError> {
        self.end_groups()?;
        self.parts.into_iter().map(|(start, part)| Ok((start, part.file.into_inner()?))).collect()
    }
}

impl<R: Rows> Part<R> {
    fn new(properties: &Arc<WriterProperties>) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(R::SCHEMA)?);
        let file = SerializedFileWriter::new(Vec::new(), schema, Arc::clone(properties))?;
        Ok(Self { file, rows: R::default(), count: 0 })
    }
}

fn unwritable(error: &ParquetError) -> PipelineError {
    permanent(format!("cannot write a Parquet file: {error}"))
}

impl Folder {
    pub(super) fn new(place: Place, by_hour: bool, compression_level: i32) -> Self {
        Self { place, by_hour, compression_level }
    }

    /// Makes the folder, or opens the bucket, of which nothing is asked yet: one that is away for now is no reason not
    /// to start. Called from a runtime.
    pub(super) fn prepare(&self, now_ns: i64) -> PipelineResult<()> {
        let failed = |text: String| PipelineError::new(ErrorKind::Invalid, text);
        match &self.place {
            Place::Directory(directory) => make_folder(directory, now_ns)
                .map_err(|error| failed(format!("cannot make the folder {}: {error}", directory.display()))),
            Place::Bucket { config, bucket } => {
                let opened = config.open(Handle::current());
                let opened = opened.map_err(|error| failed(format!("cannot open the bucket: {error}")))?;
                bucket.get_or_init(|| opened);
                Ok(())
            }
        }
    }

    /// Writes the files of a batch; all of them are on the disk when this returns. Blocks.
    pub(super) fn write(&self, batch: &Batch, delivery: Delivery) -> PipelineResult<()> {
        match batch.signal {
            Signal::Metrics => self.write_rows::<metrics::Points>(batch, delivery),
            Signal::Logs => self.write_rows::<logs::Records>(batch, delivery),
            Signal::Traces => self.write_rows::<traces::Spans>(batch, delivery),
        }
    }

    fn write_rows<R: Rows>(&self, batch: &Batch, delivery: Delivery) -> PipelineResult<()> {
        let properties = self.properties(batch).map_err(|error| unwritable(&error))?;
        let mut partitions = Partitions::<R>::new(self.by_hour, properties, batch);
        R::fill(batch, delivery.began_ns, &mut partitions)?;
        // The names are those of the delivery, so that a second attempt replaces what the first one left, and another
        // batch of the same bytes does not. The hash is for processes that write to one place. Every character of a
        // tenant's id may be in a file name.
        let Delivery { began_ns, number } = delivery;
        let number = format!("{:016x}-{began_ns:x}-{number:x}", xxh3_64(&batch.payload));
        for (start, bytes) in partitions.into_files().map_err(|error| unwritable(&error))? {
            let folder = self.partition(batch.signal, start);
            let name = format!("{}-{}-{number}.parquet", start.unwrap_or(0), batch.tenant);
            self.place.put(&folder, &name, bytes).map_err(|error| {
                // To be tried again whatever it is: a disk can be emptied, credentials can be mended, and a queue on
                // disk has acknowledged the data.
                PipelineError::new(ErrorKind::Unavailable, format!("cannot write {folder}/{name}: {error}"))
            })?;
        }
        Ok(())
    }

    /// `<signal>/date=YYYY-MM-DD[/hour=HH]`, as engines that know Hive's partitions expect it.
    fn partition(&self, signal: Signal, start: Option<i64>) -> String {
        let Some(time) = start.and_then(|start| DateTime::from_timestamp(start, 0)) else {
            return format!("{signal}/date=__HIVE_DEFAULT_PARTITION__");
        };
        let folders = if self.by_hour { "date=%Y-%m-%d/hour=%H" } else { "date=%Y-%m-%d" };
        format!("{signal}/{}", time.format(folders))
    }

    fn properties(&self, batch: &Batch) -> Result<WriterProperties, ParquetError> {
        let about = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
        Ok(WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(self.compression_level)?))
            .set_created_by(concat!("Tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![
                about("tidegate.format", "parquet-v1"),
                about("tidegate.tenant", batch.tenant.as_str()),
            ]))
            .build())
    }
}

impl Place {
    pub(super) fn bucket(config: BucketConfig) -> Self {
        Self::Bucket { config, bucket: OnceLock::new() }
    }

    /// Puts a whole file into a folder of this place, durably. Blocks.
    fn put(&self, folder: &str, name: &str, bytes: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Directory(directory) => Ok(put(directory, folder, name, &bytes)?),
            Self::Bucket { bucket, .. } => {
                let bucket = bucket.get().ok_or("the exporter has not started")?;
                Ok(bucket.wait(bucket.put(&format!("{folder}/{name}"), bytes))?)
            }
        }
    }
}

/// The folder of files that are not whole yet, below that of all files; a name that engines pass over.
const UNFINISHED: &str = ".unfinished";

/// After this nobody writes a file any more: it is from a process that ended before its file was whole.
const UNFINISHED_NS_MAX: i64 = 24 * 3600 * 1_000_000_000;

/// Makes the folder of all files, and removes what was never finished.
fn make_folder(directory: &Path, now_ns: i64) -> io::Result<()> {
    let unfinished = directory.join(UNFINISHED);
    std::fs::create_dir_all(&unfinished)?;
    for entry in std::fs::read_dir(&unfinished)? {
        let entry = entry?;
        let Ok(time) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        if now_ns.saturating_sub(time_ns) > UNFINISHED_NS_MAX {
            // Another process that writes here may have been faster.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Puts a whole file into a folder below `directory`, durably, with the folders above it.
fn put(directory: &Path, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    // Engines that read `*.parquet` must not see half a file.
    let (unfinished, folder) = (directory.join(UNFINISHED), directory.join(folder));
    std::fs::create_dir_all(&folder)?;
    std::fs::create_dir_all(&unfinished)?;
    let temporary = unfinished.join(name);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, folder.join(name))
    };
    write().inspect_err(|_| {
        // A disk that is full has room for the next attempt then.
        let _ = std::fs::remove_file(&temporary);
    })?;
    // Signal, day and hour may be new.
    folder.ancestors().take(4).filter(|folder| folder.exists()).try_for_each(|f| File::open(f)?.sync_all())
}

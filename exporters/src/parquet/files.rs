//! Where files go, and how one comes to be: columns by partition, then a temporary file, sync, rename, sync of the
//! folder, or one object.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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
use wire::DecodeError;
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
    fn fill(batch: &Batch, now_ns: i64, partitions: &mut Partitions<Self>) -> Result<(), DecodeError>;

    /// Writes the columns in the order of the schema.
    fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> parquet::errors::Result<()>;
}

/// The rows of a batch by hour.
pub(super) struct Partitions<R> {
    by_hour: bool,
    /// Keyed by the first second of the partition; `None` for what is in none of the others.
    rows: BTreeMap<Option<i64>, R>,
}

/// Partitions of one batch: times all over the place must not make a file for each row.
const PARTITIONS_MAX: usize = 100;

impl<R: Rows> Partitions<R> {
    /// The rows of a time.
    pub(super) fn at(&mut self, time_ns: i64) -> &mut R {
        let seconds = if self.by_hour { 3600 } else { 86_400 };
        let start = time_ns.div_euclid(1_000_000_000).div_euclid(seconds) * seconds;
        let is_new = !self.rows.contains_key(&Some(start));
        let key = if is_new && self.rows.len() >= PARTITIONS_MAX { None } else { Some(start) };
        self.rows.entry(key).or_default()
    }
}

impl Folder {
    pub(super) fn new(place: Place, by_hour: bool, compression_level: i32) -> Self {
        Self { place, by_hour, compression_level }
    }

    /// Makes the folder, or opens the bucket, of which nothing is asked yet: one that is away for now is no reason not
    /// to start. Called from a runtime.
    pub(super) fn prepare(&self) -> PipelineResult<()> {
        let failed = |text: String| PipelineError::new(ErrorKind::Invalid, text);
        match &self.place {
            Place::Directory(directory) => std::fs::create_dir_all(directory)
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
        let mut partitions = Partitions::<R> { by_hour: self.by_hour, rows: BTreeMap::new() };
        R::fill(batch, delivery.began_ns, &mut partitions)?;
        // The names are those of the delivery, so that a second attempt replaces what the first one left, and another
        // batch of the same bytes does not. The hash is for processes that write to one place. Every character of a
        // tenant's id may be in a file name.
        let Delivery { began_ns, number } = delivery;
        let number = format!("{:016x}-{began_ns:x}-{number:x}", xxh3_64(&batch.payload));
        for (start, rows) in &partitions.rows {
            let folder = self.partition(batch.signal, *start);
            let bytes = self.encode(rows, batch);
            let bytes = bytes.map_err(|error| permanent(format!("cannot write a Parquet file: {error}")))?;
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

    fn encode<R: Rows>(&self, rows: &R, batch: &Batch) -> Result<Vec<u8>, ParquetError> {
        let schema = Arc::new(parse_message_type(R::SCHEMA)?);
        let about = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(self.compression_level)?))
            .set_created_by(concat!("Tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![
                about("tidegate.format", "parquet-v1"),
                about("tidegate.tenant", batch.tenant.as_str()),
            ]))
            .build();
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        rows.write(&mut RowGroup(&mut group))?;
        group.close()?;
        file.into_inner()
    }
}

impl Place {
    pub(super) fn bucket(config: BucketConfig) -> Self {
        Self::Bucket { config, bucket: OnceLock::new() }
    }

    /// Puts a whole file into a folder of this place, durably. Blocks.
    fn put(&self, folder: &str, name: &str, bytes: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Directory(directory) => Ok(put(&directory.join(folder), name, &bytes)?),
            Self::Bucket { bucket, .. } => {
                let bucket = bucket.get().ok_or("the exporter has not started")?;
                Ok(bucket.wait(bucket.put(&format!("{folder}/{name}"), bytes))?)
            }
        }
    }
}

/// Puts a whole file into a folder, durably, with the folders above it.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // Engines that read `*.parquet` must not see half a file.
    let (temporary, path) = (folder.join(format!("{name}.tmp")), folder.join(name));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    // Signal, day and hour may be new.
    folder.ancestors().take(4).filter(|folder| folder.exists()).try_for_each(|f| File::open(f)?.sync_all())
}

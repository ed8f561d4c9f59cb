//! A bucket behind the few operations that blocks need.
//!
//! Methods are async; [`Bucket::wait`] runs them from threads that may block, which is where blocks are read and written.
//! Names are relative to the prefix of the configuration. Requests that fail for a while are tried again below, by the
//! object store's client.

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::{Either, select};
use model::ErrorKind;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use runtime::{ReadFile, Tasks};
use tokio::runtime::Handle;

use crate::error::{BucketError, BucketResult};

/// Files larger than this are uploaded in parts of this size, one after the other, so that an upload holds one part.
/// S3 takes 10,000 parts of 5 MiB and more: 160 GB are enough for the largest index.
const PART_BYTES: u64 = 16 << 20;

/// Pauses before a read is tried again.
const READ_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
/// Reads that failed within this time are tried again.
const READ_AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// How long a store may take to forget the parts of an upload that was given up.
const ABORT_PATIENCE: Duration = Duration::from_secs(2);

/// How Thanos calls writes of objects.
const UPLOAD: &str = "upload";
/// Bytes of an upload for which a second more is waited.
const BYTES_OF_SECOND: usize = 1 << 20;

/// An object in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, ms since 1970.
    pub modified_ms: i64,
    /// What changes with the content, if the store has such a thing.
    pub tag: Option<String>,
}

/// An object store. Clones share it.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    shown: Arc<str>,
    handle: Handle,
    patience: Option<Duration>,
    /// With whose end requests end.
    tasks: Option<Tasks>,
}

impl Bucket {
    /// Makes a bucket of a store; `shown` is what errors and logs call it. Requests run on the runtime of `handle`.
    pub fn new(store: Arc<dyn ObjectStore>, shown: &str, handle: Handle) -> Self {
        Self { store, shown: shown.into(), handle, patience: None, tasks: None }
    }

    /// The same bucket; what takes longer than this is given up, uploads a second later for each MiB. One that was given
    /// up may be done all the same. Otherwise only the client below gives up, after minutes.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self.clone() }
    }

    /// The same bucket, for work that is given up when `tasks` end: then a request that has no answer yet, and every
    /// further one, fails as canceled. One that was given up may be done all the same.
    #[must_use]
    pub fn until(&self, tasks: Tasks) -> Self {
        Self { tasks: Some(tasks), ..self.clone() }
    }

    /// What it is called in errors and logs.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Waits for a future. Only on threads that may block: a task of the runtime must await it instead.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// All objects whose names begin with the folder `prefix`, or all, in no order.
    pub async fn list(&self, prefix: Option<&str>) -> BucketResult<Vec<Object>> {
        let path = prefix.map(Path::from);
        let listed = || async {
            let mut stream = self.store.list(path.as_ref());
            let mut found = Vec::new();
            while let Some(meta) = stream.try_next().await? {
                found.push(Object {
                    name: meta.location.to_string(),
                    bytes: meta.size,
                    modified_ms: meta.last_modified.timestamp_millis(),
                    tag: meta.e_tag,
                });
            }
            Ok(found)
        };
        self.read("iter", prefix.unwrap_or_default(), listed).await
    }

    /// The whole of an object of at most `bytes_max`.
    pub async fn get(&self, name: &str, bytes_max: u64) -> BucketResult<Bytes> {
        let location = Path::from(name);
        let got = || async {
            let result = self.store.get(&location).await?;
            if result.meta.size > bytes_max {
                return Ok(None);
            }
            result.bytes().await.map(Some)
        };
        let too_large = || BucketError::corrupt(name, format!("it has more than {bytes_max} bytes"));
        self.read("get", name, got).await?.ok_or_else(too_large)
    }

    /// The same; `None` when there is no such object.
    pub async fn get_if_there(&self, name: &str, bytes_max: u64) -> BucketResult<Option<Bytes>> {
        match self.get(name, bytes_max).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Some bytes of an object; fewer than asked for is an error.
    pub async fn get_range(&self, name: &str, range: Range<u64>) -> BucketResult<Bytes> {
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let location = Path::from(name);
        let get = || self.store.get_range(&location, range.clone());
        let start = Instant::now();
        let bytes = match self.read("get_range", name, get).await {
            // Stores refuse a range that begins behind the end (416), as they do whatever they cannot answer.
            Err(error) if error.kind() == ErrorKind::Unavailable && start.elapsed() < READ_AGAIN_WITHIN => {
                let bytes = self.size(name).await.ok().filter(|bytes| *bytes <= range.start);
                return Err(bytes.map_or(error, |bytes| ends_before(name, range.end, bytes)));
            }
            read => read?,
        };
        if bytes.len() as u64 != wanted {
            return Err(ends_before(name, range.end, range.start + bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// Size of an object.
    pub async fn size(&self, name: &str) -> BucketResult<u64> {
        let options = GetOptions::new().with_head(true);
        Ok(self.count("attributes", name, self.store.get_opts(&Path::from(name), options)).await?.meta.size)
    }

    /// Whether there is such an object.
    pub async fn exists(&self, name: &str) -> BucketResult<bool> {
        match self.size(name).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes an object, whole or not at all; one that is there is replaced.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> BucketResult<()> {
        let patience = self.patience_for(bytes.len());
        let (location, payload) = (Path::from(name), PutPayload::from(bytes));
        self.count(UPLOAD, name, within(patience, self.store.put(&location, payload))).await?;
        Ok(())
    }

    /// Writes an object if there is none of this name; of several who try at once one does. Says whether it did.
    pub async fn put_if_absent(&self, name: &str, bytes: Vec<u8>) -> BucketResult<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let location = Path::from(name);
        let patience = self.patience_for(bytes.len());
        let put = self.store.put_opts(&location, PutPayload::from(bytes), options);
        match self.count(UPLOAD, name, within(patience, put)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes an object; that there is none is no error.
    pub async fn delete(&self, name: &str) -> BucketResult<()> {
        match self.count("delete", name, self.store.delete(&Path::from(name))).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Uploads a file, in parts if it is large, and tells `progress` about the bytes of each. Blocks.
    pub fn put_file(
        &self,
        name: &str,
        path: &std::path::Path,
        file: &dyn ReadFile,
        progress: &mut dyn FnMut(u64),
    ) -> BucketResult<u64> {
        let failed = |error| BucketError::disk(path, error);
        let bytes = file.len().map_err(failed)?;
        let read = |at: u64| {
            let len = usize::try_from(PART_BYTES.min(bytes - at)).expect("a part fits into memory");
            let mut part = vec![0; len];
            file.read_exact_at(at, &mut part).map_err(failed).map(|()| part)
        };
        if bytes <= PART_BYTES {
            self.wait(self.put(name, read(0)?))?;
            progress(bytes);
            return Ok(bytes);
        }
        let location = Path::from(name);
        let mut upload = self.wait(self.count(UPLOAD, name, self.store.put_multipart(&location)))?;
        let mut send = || {
            let mut at = 0;
            while at < bytes {
                let part = read(at)?;
                let len = part.len() as u64;
                self.wait(self.count(UPLOAD, name, upload.put_part(PutPayload::from(part))))?;
                at += len;
                progress(len);
            }
            self.wait(self.count(UPLOAD, name, upload.complete())).map(|_| ())
        };
        if let Err(error) = send() {
            // What stays of an upload that was given up is not listed; stores remove it by their own rules.
            let _ = self.wait(async { tokio::time::timeout(ABORT_PATIENCE, upload.abort()).await });
            return Err(error);
        }
        Ok(bytes)
    }

    /// An operation that changes nothing. One that fails quickly, as by an answer that was cut, which the client below
    /// does not send again, is tried again; one that failed after a while was waited for below.
    async fn read<T, F>(&self, operation: &'static str, name: &str, run: impl Fn() -> F) -> BucketResult<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        for pause in READ_PAUSES {
            let start = Instant::now();
            match self.count(operation, name, run()).await {
                Err(error)
                    if error.kind() == ErrorKind::Unavailable && start.elapsed() < READ_AGAIN_WITHIN =>
                {
                    tracing::debug!(%error, "a read from the bucket is tried again");
                }
                done => return done,
            }
            tokio::time::sleep(pause).await;
        }
        self.count(operation, name, run()).await
    }

    fn patience_for(&self, upload_bytes: usize) -> Option<Duration> {
        let more = Duration::from_secs((upload_bytes / BYTES_OF_SECOND) as u64);
        self.patience.map(|patience| patience + more)
    }

    /// Counts an operation under Thanos' names and gives its error the object's name.
    async fn count<T>(
        &self,
        operation: &'static str,
        name: &str,
        run: impl Future<Output = object_store::Result<T>>,
    ) -> BucketResult<T> {
        let start = Instant::now();
        metrics::counter!("thanos_objstore_bucket_operations_total", "operation" => operation).increment(1);
        // Uploads have a limit of their own by now.
        let run = within(self.patience.filter(|_| operation != UPLOAD), run);
        let result = match &self.tasks {
            None => run.await,
            // The end is looked at first, so that nothing is begun after it.
            Some(tasks) => match select(pin!(tasks.cancelled()), pin!(run)).await {
                Either::Left(_) => return Err(BucketError::canceled(&format!("{}: {name}", self.shown))),
                Either::Right((result, _)) => result,
            },
        };
        match &result {
            Ok(_) => {
                let elapsed = start.elapsed();
                metrics::histogram!("thanos_objstore_bucket_operation_duration_seconds", "operation" => operation)
                    .record(elapsed);
            }
            // That a thing is not there, or already is, is an answer.
            Err(
                object_store::Error::NotFound { .. }
                | object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {}
            Err(_) => {
                metrics::counter!("thanos_objstore_bucket_operation_failures_total", "operation" => operation)
                    .increment(1);
            }
        }
        result.map_err(|source| BucketError::store(&format!("{}: {name}", self.shown), source))
    }
}

/// Waits for a request at most so long.
async fn within<T>(
    patience: Option<Duration>,
    run: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    let Some(patience) = patience else { return run.await };
    tokio::time::timeout(patience, run).await.unwrap_or_else(|_| Err(no_answer(patience)))
}

fn ends_before(name: &str, end: u64, bytes: u64) -> BucketError {
    BucketError::corrupt(name, format!("it ends before byte {end}: it has {bytes}"))
}

fn no_answer(patience: Duration) -> object_store::Error {
    let source = format!("no answer within {} s", patience.as_secs_f64()).into();
    object_store::Error::Generic { store: "bucket", source }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bucket").field(&self.shown).finish()
    }
}

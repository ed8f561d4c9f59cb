//! An object store that fails now and then: before it does something, or after it did it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// Fails one request of `one_in`, by a row of numbers that follows from the seed.
#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: AtomicU64,
    one_in: u64,
    faults: AtomicU64,
    hidden: Mutex<Option<Path>>,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, seed: u64, one_in: u64) -> Self {
        Self {
            inner,
            state: AtomicU64::new(seed),
            one_in,
            faults: AtomicU64::new(0),
            hidden: Mutex::new(None),
        }
    }

    /// Fails nothing; the next read of `location` alone finds nothing, as behind a place that lags.
    pub(super) fn hiding(inner: Arc<dyn ObjectStore>, location: Path) -> Self {
        Self { hidden: Mutex::new(Some(location)), ..Self::new(inner, 0, u64::MAX) }
    }

    /// Requests that failed.
    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    /// The next number (splitmix64).
    fn roll(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut z = self.state.fetch_add(step, Ordering::SeqCst).wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fail(&self) -> Result<()> {
        if !self.roll().is_multiple_of(self.one_in) {
            return Ok(());
        }
        self.faults.fetch_add(1, Ordering::SeqCst);
        Err(Error::Generic { store: "faulty", source: "the request failed".into() })
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.fail()?;
        let put = self.inner.put_opts(location, payload, opts).await?;
        // The answer is lost, what was written is not.
        self.fail()?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fail()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.fail()?;
        if let Some(path) = self.hidden.lock().take_if(|hidden| hidden == location) {
            return Err(Error::NotFound { path: path.to_string(), source: "it lags".into() });
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.fail() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fail() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fail()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.fail()?;
        self.inner.copy_opts(from, to, options).await
    }
}

//! An object as a file that is read at offsets: reads that follow each other are served from a window that was fetched
//! ahead, so that a walk over a file costs one request for each window.

use std::io;

use parking_lot::Mutex;
use runtime::ReadFile;

use crate::Bucket;

/// A file of an index has readers at two places at a time: its postings at the end, its series in front.
const WINDOWS: usize = 2;

/// An object.
pub(crate) struct ObjectFile {
    bucket: Bucket,
    name: String,
    bytes: u64,
    window_bytes: u64,
    /// The window that was used last is first.
    windows: Mutex<Vec<Window>>,
}

struct Window {
    start: u64,
    bytes: bytes::Bytes,
}

impl Window {
    fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}

impl ObjectFile {
    pub(crate) fn new(bucket: Bucket, name: String, bytes: u64, window_bytes: u64) -> Self {
        Self { bucket, name, bytes, window_bytes, windows: Mutex::default() }
    }
}

impl ReadFile for ObjectFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= self.bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut windows = self.windows.lock();
        if let Some(found) = windows.iter().position(|window| window.slice(offset, out.len()).is_some()) {
            out.copy_from_slice(windows[found].slice(offset, out.len()).expect("it was found by this"));
            windows.swap(0, found);
            return Ok(());
        }
        let until = end.max(offset.saturating_add(self.window_bytes).min(self.bytes));
        let bytes = self.bucket.wait(self.bucket.get_range(&self.name, offset..until)).map_err(|error| {
            let kind = match error.kind() {
                model::ErrorKind::NotFound => io::ErrorKind::NotFound,
                model::ErrorKind::Corrupt => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error.to_string())
        })?;
        out.copy_from_slice(&bytes[..out.len()]);
        // One large read is no beginning of a walk: it would only take the memory.
        if (bytes.len() as u64) <= self.window_bytes {
            windows.truncate(WINDOWS - 1);
            windows.insert(0, Window { start: offset, bytes });
        }
        Ok(())
    }
}

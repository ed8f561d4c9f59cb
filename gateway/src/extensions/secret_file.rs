//! A file with credentials that is read again when it changes.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Least time between two looks at the file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Largest file that is read, bytes: some ten thousand users.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A file and what was made of it.
pub(super) struct SecretFile<T> {
    path: PathBuf,
    parse: fn(&str) -> Result<T, String>,
    read: Mutex<Option<Read<T>>>,
}

struct Read<T> {
    looked: Instant,
    stamp: Option<(SystemTime, u64)>,
    parsed: T,
}

impl<T: Clone> SecretFile<T> {
    /// Nothing is read yet.
    pub(super) fn new(path: PathBuf, parse: fn(&str) -> Result<T, String>) -> Self {
        Self { path, parse, read: Mutex::new(None) }
    }

    /// What the file says; of a file that cannot be read any more, what it said last.
    pub(super) fn get(&self) -> Result<T, String> {
        let mut read = self.read.lock();
        if let Some(read) = &*read
            && read.looked.elapsed() < LOOK_INTERVAL
        {
            return Ok(read.parsed.clone());
        }
        let stamp = std::fs::metadata(&self.path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .map_err(|error| format!("{}: {error}", self.path.display()));
        match (stamp, &mut *read) {
            (Err(error), None) => Err(error),
            (Err(error), Some(known)) => {
                tracing::warn!(%error, "a file with credentials cannot be read; what it said last goes on");
                known.looked = Instant::now();
                Ok(known.parsed.clone())
            }
            (Ok(stamp), Some(known)) if known.stamp == Some(stamp) => {
                known.looked = Instant::now();
                Ok(known.parsed.clone())
            }
            (Ok(stamp), known) => match self.load(stamp.1) {
                Ok(parsed) => {
                    *known =
                        Some(Read { looked: Instant::now(), stamp: Some(stamp), parsed: parsed.clone() });
                    Ok(parsed)
                }
                Err(error) => match known {
                    None => Err(error),
                    Some(known) => {
                        tracing::warn!(%error, "a file with credentials changed and cannot be used; what it said last goes on");
                        (known.looked, known.stamp) = (Instant::now(), Some(stamp));
                        Ok(known.parsed.clone())
                    }
                },
            },
        }
    }

    fn load(&self, bytes: u64) -> Result<T, String> {
        let shown = self.path.display();
        if bytes > FILE_BYTES_MAX {
            return Err(format!("{shown}: has {bytes} bytes, at most {FILE_BYTES_MAX} are read"));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|error| format!("{shown}: {error}"))?;
        (self.parse)(&text).map_err(|error| format!("{shown}: {error}"))
    }
}

/// Compares in a time that does not tell where two secrets differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

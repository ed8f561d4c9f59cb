//! An object store in memory that fails on demand, for tests of what is in a bucket after any failure.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{ObjectEntry, ObjectPlace, Objects};
use crate::{Clock, ReadFile};

/// An object store in memory; clones share it, and its failures.
#[derive(Clone)]
pub struct SimulatedObjects(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Arc<Vec<u8>>, i64)>,
    /// Requests until all fail.
    left: Option<u64>,
    /// Whether the first write that fails is done all the same, without an answer.
    is_done: bool,
    requests: u64,
}

/// An object as it was when it was opened.
struct SimulatedObject(SimulatedObjects, String);

impl SimulatedObjects {
    /// An empty store whose objects are as old as `clock` says.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, state: Mutex::default() }))
    }

    /// After `requests` more every one fails, until [`Self::heal`]. `is_done` says whether the first that fails is done
    /// all the same, as when its answer is lost.
    pub fn fail_after(&self, requests: u64, is_done: bool) {
        let state = &mut *self.0.state.lock();
        (state.left, state.is_done) = (Some(requests), is_done);
    }

    /// Ends all failures; says whether there were any.
    pub fn heal(&self) -> bool {
        let state = &mut *self.0.state.lock();
        state.is_done = false;
        state.left.take() == Some(0)
    }

    /// Requests since it was made.
    pub fn requests(&self) -> u64 {
        self.0.state.lock().requests
    }

    /// Names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.0.state.lock().objects.keys().cloned().collect()
    }

    /// Changes one byte of an object: `byte ^= mask`. For tests of damage.
    pub fn damage(&self, name: &str, offset: usize, mask: u8) {
        let state = &mut *self.0.state.lock();
        if let Some((bytes, _)) = state.objects.get_mut(name) {
            Arc::make_mut(bytes)[offset] ^= mask;
        }
    }

    /// Does a request, or fails.
    fn request<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let state = &mut *self.0.state.lock();
        state.requests += 1;
        match &mut state.left {
            None => work(state),
            Some(0) => {
                if std::mem::take(&mut state.is_done) {
                    // Nobody hears how it went.
                    drop(work(state));
                }
                Err(io::Error::new(ErrorKind::TimedOut, "the object store is away"))
            }
            Some(left) => {
                *left -= 1;
                work(state)
            }
        }
    }
}

impl std::fmt::Debug for SimulatedObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedObjects").finish_non_exhaustive()
    }
}

impl Objects for SimulatedObjects {
    fn shown(&self) -> &str {
        "simulated"
    }

    fn list(&self, folder: &str) -> io::Result<Vec<ObjectEntry>> {
        let inside = format!("{folder}/");
        self.request(|state| {
            let found = state.objects.iter().filter(|(name, _)| name.starts_with(&inside));
            let entry = |(name, (bytes, modified_ms)): (&String, &(Arc<Vec<u8>>, i64))| ObjectEntry {
                name: name.clone(),
                bytes: bytes.len() as u64,
                modified_ms: *modified_ms,
            };
            Ok(found.map(entry).collect())
        })
    }

    fn get(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.request(|state| {
            let (bytes, _) = state.objects.get(name).ok_or(ErrorKind::NotFound)?;
            if bytes.len() as u64 > bytes_max {
                return Err(ErrorKind::InvalidData.into());
            }
            Ok(bytes.as_ref().clone())
        })
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let now_ms = self.0.clock.now_ms();
        self.request(|state| {
            state.objects.insert(name.to_owned(), (Arc::new(bytes), now_ms));
            Ok(())
        })
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> io::Result<bool> {
        let now_ms = self.0.clock.now_ms();
        self.request(|state| {
            if state.objects.contains_key(name) {
                return Ok(false);
            }
            state.objects.insert(name.to_owned(), (Arc::new(bytes), now_ms));
            Ok(true)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.request(|state| {
            state.objects.remove(name);
            Ok(())
        })
    }

    fn open_read(&self, object: &ObjectPlace) -> Arc<dyn ReadFile> {
        Arc::new(SimulatedObject(self.clone(), object.name.clone()))
    }

    fn want(&self, _parts: &[(ObjectPlace, Range<u64>)]) {}
}

impl ReadFile for SimulatedObject {
    fn len(&self) -> io::Result<u64> {
        let state = self.0.0.state.lock();
        let (bytes, _) = state.objects.get(&self.1).ok_or(ErrorKind::NotFound)?;
        Ok(bytes.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.request(|state| {
            let (bytes, _) = state.objects.get(&self.1).ok_or(ErrorKind::NotFound)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let part = bytes.get(from..from.saturating_add(out.len())).ok_or(ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(part);
            Ok(())
        })
    }
}

//! An object store behind a small seam: whole writes, writes that one of several wins, reads of parts.
//!
//! Every call may block on the network: use it from blocking threads. Names are paths with `/` between parts. An object
//! that is written is durable and seen by everyone when the call returns; one whose write failed may be there all the
//! same, then or a while later. `SimulatedObjects` keeps everything in memory and fails on demand.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::ReadFile;

mod simulated;

pub use simulated::SimulatedObjects;

/// An object store as a store needs it. Errors: `NotFound` for an object that is not there, `TimedOut` when the store
/// cannot be reached or does not answer as it should, `UnexpectedEof` for an object that is shorter than it must be,
/// `PermissionDenied` when it refuses.
pub trait Objects: Debug + Send + Sync {
    /// What it is called in errors and logs.
    fn shown(&self) -> &str;

    /// All objects below a folder, in no order.
    fn list(&self, folder: &str) -> io::Result<Vec<ObjectEntry>>;

    /// The whole of an object of at most `bytes_max`.
    fn get(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Writes an object; one that is there is replaced.
    fn put(&self, name: &str, bytes: Vec<u8>) -> io::Result<()>;

    /// Writes an object if there is none of this name; of several who try at once one does. `false` says that there is
    /// one, which may have been written by an earlier try of the same call.
    fn create(&self, name: &str, bytes: Vec<u8>) -> io::Result<bool>;

    /// Removes an object; that there is none is no error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// An object whose content never changes, for reads at any offset. Asks nothing of the store.
    fn open_read(&self, object: &ObjectPlace) -> Arc<dyn ReadFile>;

    /// Tells that these parts of objects are about to be read, so that they are fetched together. What cannot be
    /// fetched is an error of the read that follows.
    fn want(&self, parts: &[(ObjectPlace, Range<u64>)]);
}

/// Which object is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPlace {
    /// Its name.
    pub name: String,
    /// Unlike that of any other object of the store; what is kept in memory of it is found by it.
    pub id: u128,
    /// Its size.
    pub bytes: u64,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, ms since 1970, by the store's clock.
    pub modified_ms: i64,
}

//! Who a process is in the object store: a name and the claims of its starts, which its folder keeps.
//!
//! A claim is the upper half of the `commit` of every state that a process writes from one start to the next, and is in
//! the folder before the first of them is written. So a state that bears the name and none of the folder's claims was
//! written from another folder: a copy, or the one that this is an old copy of (SHARED-2).

use std::path::Path;

use format::{LogManifestShared, LogWriter};
use runtime::Disk;
use ulid::Ulid;

use crate::error::{LogStoreError, LogStoreResult};
use crate::filenames;

/// Starts that may follow each other without one whose claim is seen in a state; of more the oldest are forgotten.
const CLAIMS_MAX: usize = 1000;

/// A process in the object store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) id: u128,
    /// Claims whose states may be there or on their way, oldest first; the last is that of this start.
    claims: Vec<u64>,
}

impl Writer {
    /// Who the folder says that it is; somebody new if it does not.
    pub(super) fn of_folder(disk: &dyn Disk, dir: &Path) -> LogStoreResult<Self> {
        let path = filenames::writer(dir);
        if !disk.exists(&path) {
            return Ok(Self::new());
        }
        let bytes = disk.read(&path).map_err(|error| LogStoreError::io("reading", &path, error))?;
        let writer = str::from_utf8(&bytes).ok().and_then(Self::decode);
        writer.ok_or_else(|| LogStoreError::page(&path, 0, "it has no identifier of a writer"))
    }

    fn new() -> Self {
        Self { id: Ulid::generate().0, claims: Vec::new() }
    }

    /// Makes a claim of its own for this start, given what the newest state has of this name. Gives whether another
    /// process wrote that: then this is somebody new.
    pub(super) fn claim(&mut self, entry: Option<LogWriter>) -> bool {
        let mut is_taken = false;
        if let Some(seen) = entry.map(|entry| claim_of(entry.commit)) {
            match self.claims.iter().position(|claim| *claim == seen) {
                // States of earlier claims come too late by now.
                Some(at) => drop(self.claims.drain(..at)),
                // A folder of before claims were kept.
                None if self.claims.is_empty() => self.claims.push(seen),
                None => {
                    *self = Self::new();
                    is_taken = true;
                }
            }
        }
        if self.claims.len() == CLAIMS_MAX {
            // The first may be the one that is there.
            self.claims.remove(1);
        }
        self.claims.push(Ulid::generate().0 as u64);
        is_taken
    }

    /// Makes name and claims durable. Blocks on the disk.
    pub(super) fn keep(&self, disk: &dyn Disk, dir: &Path) -> LogStoreResult<()> {
        let path = filenames::writer(dir);
        disk.create_dir_all(dir).map_err(|error| LogStoreError::io("making", dir, error))?;
        let written = disk.write_atomically(&path, self.encode().as_bytes());
        written.map_err(|error| LogStoreError::io("writing", &path, error))
    }

    /// What marks the state that is the `number`-th of this start.
    pub(super) fn commit(&self, number: u64) -> u128 {
        let claim = self.claims.last().expect("a start claims before it writes");
        u128::from(*claim) << 64 | u128::from(number)
    }

    /// Whether a state was written from this folder.
    pub(super) fn is_own(&self, commit: u128) -> bool {
        self.claims.contains(&claim_of(commit))
    }

    /// What a state has of this name.
    pub(super) fn entry(&self, shared: &LogManifestShared) -> Option<LogWriter> {
        shared.writers.iter().find(|writer| writer.id == self.id).copied()
    }

    fn encode(&self) -> String {
        let mut text = format!("{}\n", Ulid(self.id));
        for claim in &self.claims {
            text.push_str(&format!("{claim:016x}\n"));
        }
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let id = Ulid::from_string(lines.next()?.trim()).ok()?.0;
        let claims = lines.map(|line| u64::from_str_radix(line, 16)).collect::<Result<_, _>>().ok()?;
        Some(Self { id, claims })
    }
}

fn claim_of(commit: u128) -> u64 {
    (commit >> 64) as u64
}

#[cfg(test)]
mod tests;

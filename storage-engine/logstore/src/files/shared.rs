//! Data files and manifests in an object store that several processes share.
//!
//! Each state of the list of files is an object of its own, numbered one above the state before it and written only if
//! there is none of that number: of all who follow a state one does, the others read what it wrote and make their change
//! on top of that, or see that they cannot any more. Invariants:
//! - SHARED-1: a state names the generation that each process has in files, so its write-ahead log and the files never
//!   both have an entry, nor neither.
//! - SHARED-2: a process knows its own states, also those of earlier starts, by a claim that its folder keeps. One that
//!   is not its own was written by another process with its name, a copy of its folder: then it writes nothing more and
//!   takes no entries, and what only its write-ahead log has comes back at its next start under a new name.
//! - SHARED-3: a state or file is removed only when nobody can still need it: states that were followed, and files that
//!   no state names, an hour later. A file waits at most half of that for the state that names it.

mod garbage;
mod manifests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use format::{LogManifestFile, LogManifestShared, LogRemoved, LogWriter};
use hashbrown::{HashMap, HashSet};
use metrics::{Counter, counter};
use model::ErrorKind;
use parking_lot::Mutex;
use runtime::{Clock, Disk, ObjectPlace, Objects, ReadFile};
use ulid::Ulid;

use self::writer::Writer;
use super::place::Change;
use super::{DataFile, FileSet};
use crate::error::{LogStoreError, LogStoreResult};
use crate::filenames;

/// How long what was followed or taken out stays, ms. Clocks may differ by a quarter of it, as S3 allows.
const KEPT_MS: i64 = 3_600_000;
/// How long a file may wait for the state that names it, ms.
const UNNAMED_MAX_MS: i64 = KEPT_MS / 2;
/// How long the state that was the newest is taken for not removed, ms.
const SEEN_MAX_MS: i64 = KEPT_MS / 2;
/// How often a change is made on top of what others wrote before it is given up for now.
const TRIES_MAX: usize = 20;
/// Requests that may fail at a start before it is given up.
const CLAIM_FAILURES_MAX: usize = 3;
/// Indexes that are fetched together, bytes: a part of what is kept of objects in memory.
const WANTED_INDEX_BYTES_MAX: u64 = 16 << 20;

/// A log store's part of an object store, as one process sees it.
pub(crate) struct SharedPlace {
    objects: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    writer: Writer,
    /// Whether another process writes in the name of this one.
    is_taken: AtomicBool,
    known: Mutex<Known>,
    conflicts: Counter,
    garbage: Counter,
}

/// The newest state that this process knows.
struct Known {
    version: u64,
    /// When it was the newest for certain, ms.
    seen_ms: i64,
    shared: LogManifestShared,
    /// States that this process tried to write since its start.
    puts: u64,
}

/// What became of a state that was written.
enum Put {
    Done,
    /// It came in, and others followed.
    DoneBefore(FileSet),
    /// Others were first.
    Behind(FileSet),
}

impl SharedPlace {
    /// The log store in `objects` for the process whose folder is `dir`. From here on it is the only one of its name.
    pub(crate) fn open(
        objects: Arc<dyn Objects>,
        clock: Arc<dyn Clock>,
        disk: &dyn Disk,
        dir: &Path,
    ) -> LogStoreResult<(Self, FileSet)> {
        let mut place = Self {
            objects,
            clock,
            writer: Writer::of_folder(disk, dir)?,
            is_taken: AtomicBool::new(false),
            known: Mutex::new(Known {
                version: 0,
                seen_ms: 0,
                shared: LogManifestShared::default(),
                puts: 0,
            }),
            conflicts: counter!("tidegate_log_store_manifest_conflicts_total"),
            garbage: counter!("tidegate_log_store_garbage_files_total"),
        };
        let set = place.claim(disk, dir)?;
        Ok((place, set))
    }

    /// The newest state with a mark of this process: a state that it wrote before its last start and that is still on
    /// its way comes too late then.
    fn claim(&mut self, disk: &dyn Disk, dir: &Path) -> LogStoreResult<FileSet> {
        let seen_ms = self.clock.now_ms();
        let newest = self.newest()?;
        let entry = newest.as_ref().and_then(|(_, _, shared)| self.writer.entry(shared));
        if self.writer.claim(entry) {
            tracing::error!(
                bucket = self.objects.shown(), folder = %dir.display(), name = %Ulid(self.writer.id),
                "another process wrote under the name of this one: its data folder was copied, or an old copy was put \
                 back. It goes on under this new name, with all that its write-ahead log has"
            );
        }
        match self.writer.keep(disk, dir) {
            // Then the next start takes a new name and all that the write-ahead log has.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "the log store could not keep the claim of this start in its bucket");
            }
            kept => kept?,
        }
        let known = &mut *self.known.lock();
        known.seen_ms = seen_ms;
        let mut set = match newest {
            Some((version, manifest, shared)) => {
                let set = self.file_set(&FileSet::default(), manifest.files, &shared);
                known.accept(version, shared);
                set
            }
            None => {
                self.refuse_lost_manifest()?;
                FileSet::default()
            }
        };
        let mut failures = 0;
        for _ in 0..TRIES_MAX {
            match self.try_put(known, &set, &set, true) {
                Ok(Put::Done) => return Ok(set),
                Ok(Put::DoneBefore(newer)) => return Ok(newer),
                Ok(Put::Behind(newer)) => set = newer,
                // An answer was lost; if the state came in, the next one follows it.
                Err(error) if error.kind() == ErrorKind::Unavailable && failures < CLAIM_FAILURES_MAX => {
                    tracing::warn!(%error, "the log store could not write to its bucket at the start, it tries again");
                    failures += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.busy())
    }

    /// Files without a manifest would all be garbage.
    fn refuse_lost_manifest(&self) -> LogStoreResult<()> {
        let listed = self.objects.list(filenames::SHARED_DATA);
        if self.done("listing", filenames::SHARED_DATA, listed)?.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{}: there are log data files below {} and no manifest below {}: it must be restored",
            self.objects.shown(),
            filenames::SHARED_DATA,
            filenames::SHARED_MANIFESTS
        );
        Err(LogStoreError::shared(ErrorKind::Internal, text))
    }

    pub(super) fn commit(
        &self,
        current: FileSet,
        written: &[Arc<DataFile>],
        change: Change<'_>,
    ) -> LogStoreResult<(FileSet, bool)> {
        let known = &mut *self.known.lock();
        let mut base = current;
        for _ in 0..TRIES_MAX {
            let Some(after) = change(&base) else { return Ok((base, false)) };
            self.refuse_late(written)?;
            match self.try_put(known, &base, &after, false)? {
                Put::Done => return Ok((after, true)),
                Put::DoneBefore(newer) => return Ok((newer, true)),
                Put::Behind(newer) => {
                    self.conflicts.increment(1);
                    base = newer;
                }
            }
        }
        Err(self.busy())
    }

    /// A file that waited long for its state may be garbage to others.
    fn refuse_late(&self, written: &[Arc<DataFile>]) -> LogStoreResult<()> {
        let now_ms = self.clock.now_ms();
        let is_late = |file: &Arc<DataFile>| {
            now_ms.saturating_sub(file.born_ms.load(Ordering::Relaxed)) > UNNAMED_MAX_MS
        };
        if written.iter().any(is_late) {
            let text = format!(
                "{}: writing took more than {} s, it is begun anew",
                self.objects.shown(),
                UNNAMED_MAX_MS / 1000
            );
            return Err(LogStoreError::shared(ErrorKind::Unavailable, text));
        }
        Ok(())
    }

    /// Writes the state after the newest one that is known.
    fn try_put(
        &self,
        known: &mut Known,
        before: &FileSet,
        after: &FileSet,
        is_claim: bool,
    ) -> LogStoreResult<Put> {
        known.puts += 1;
        let commit = self.writer.commit(known.puts);
        let shared = self.next_shared(known, before, after, commit);
        let version = known.version + 1;
        let put = self.create_manifest(version, after, &shared);
        if matches!(put, Ok(true)) && self.is_newest(known, version)? {
            known.accept(version, shared);
            known.seen_ms = self.clock.now_ms();
            return Ok(Put::Done);
        }
        let now_ms = self.clock.now_ms();
        let Some((newest, manifest, shared)) = self.newest()? else {
            put?;
            let text = format!("{}: its manifests are gone", self.objects.shown());
            return Err(LogStoreError::shared(ErrorKind::Internal, text));
        };
        if newest == known.version {
            // Whether it still comes in nobody knows; if it does, it is found to be ours.
            put?;
        }
        let entry = self.writer.entry(&shared);
        let is_in = entry.is_some_and(|entry| entry.commit == commit);
        if !is_claim || entry.is_some() {
            self.refuse_other(&shared)?;
        }
        let set = self.file_set(before, manifest.files, &shared);
        known.accept(newest, shared);
        known.seen_ms = now_ms;
        Ok(if is_in { Put::DoneBefore(set) } else { Put::Behind(set) })
    }

    /// What a state has besides the files.
    fn next_shared(
        &self,
        known: &Known,
        before: &FileSet,
        after: &FileSet,
        commit: u128,
    ) -> LogManifestShared {
        let now_ms = self.clock.now_ms();
        let mut shared = known.shared.clone();
        shared.removed.retain(|removed| now_ms.saturating_sub(removed.at_ms) < KEPT_MS);
        let kept: HashSet<u64> = after.files.iter().map(|file| file.number).collect();
        let gone = before.files.iter().filter(|file| !kept.contains(&file.number));
        let gone = gone.filter_map(|file| filenames::id_of(&file.about.path));
        shared.removed.extend(gone.map(|id| LogRemoved { id, at_ms: now_ms }));
        let id = self.writer.id;
        let mine = LogWriter { id, flushed_generation: after.flushed_generation, commit };
        match shared.writers.iter_mut().find(|writer| writer.id == id) {
            Some(writer) => *writer = mine,
            None => shared.writers.push(mine),
        }
        shared
    }

    /// Refuses a state that another process wrote in the name of this one.
    fn refuse_other(&self, shared: &LogManifestShared) -> LogStoreResult<()> {
        if self.writer.entry(shared).is_some_and(|entry| self.writer.is_own(entry.commit)) {
            return Ok(());
        }
        self.is_taken.store(true, Ordering::Release);
        Err(self.taken(ErrorKind::Conflict))
    }

    fn taken(&self, kind: ErrorKind) -> LogStoreError {
        let text = format!(
            "{}: another process writes as {}, which is this one: its data folder was copied or is used twice. Nothing \
             more is written or taken by this process until it is started again; then it goes on under a new name, with \
             all that it acknowledged",
            self.objects.shown(),
            Ulid(self.writer.id)
        );
        LogStoreError::shared(kind, text)
    }

    /// Refuses entries once another process is known to write in the name of this one: senders keep them then.
    pub(super) fn refuse_taken(&self) -> LogStoreResult<()> {
        match self.is_taken.load(Ordering::Acquire) {
            true => Err(self.taken(ErrorKind::Unavailable)),
            false => Ok(()),
        }
    }

    /// The files that a state names; those that are known stay who they are.
    fn file_set(&self, known: &FileSet, files: Vec<LogManifestFile>, shared: &LogManifestShared) -> FileSet {
        let by_path: HashMap<&Path, &Arc<DataFile>> =
            known.files.iter().map(|file| (file.path.as_path(), file)).collect();
        let file = |about: LogManifestFile| {
            let path = filenames::shared_data_file(&about.tenant, &about.path);
            match by_path.get(Path::new(&path)) {
                Some(file) => Arc::clone(file),
                None => DataFile::at(path.into(), about),
            }
        };
        let flushed = self.writer.entry(shared).map_or(0, |entry| entry.flushed_generation);
        FileSet::new(flushed, files.into_iter().map(file).collect())
    }

    pub(super) fn new_file(&self, about: LogManifestFile) -> Arc<DataFile> {
        let path = filenames::shared_data_file(&about.tenant, &about.path);
        let file = DataFile::at(path.into(), about);
        file.born_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        file
    }

    pub(super) fn put(&self, file: &DataFile, bytes: Vec<u8>) -> LogStoreResult<()> {
        let name = name_of(file);
        self.done("writing", name, self.objects.put(name, bytes))
    }

    pub(super) fn open_read(&self, file: &DataFile) -> Arc<dyn ReadFile> {
        self.objects.open_read(&object_of(file))
    }

    pub(super) fn want_indexes(&self, files: &[&Arc<DataFile>]) {
        let mut bytes = 0;
        let part = |file: &&Arc<DataFile>| {
            let (start, len) = (file.about.index_offset, u64::from(file.about.index_bytes));
            bytes += len;
            (bytes <= WANTED_INDEX_BYTES_MAX).then(|| (object_of(file), start..start.saturating_add(len)))
        };
        let parts: Vec<_> = files.iter().map_while(part).collect();
        if parts.len() > 1 {
            self.objects.want(&parts);
        }
    }

    pub(super) fn discard(&self, written: &[Arc<DataFile>]) {
        for file in written {
            if let Err(error) = self.objects.remove(name_of(file)) {
                tracing::debug!(%error, path = %file.path.display(), "a file that no manifest names stays for now");
            }
        }
    }

    fn busy(&self) -> LogStoreError {
        let text = format!(
            "{}: other processes changed the manifest {TRIES_MAX} times while this one wanted to",
            self.objects.shown()
        );
        LogStoreError::shared(ErrorKind::Unavailable, text)
    }

    /// Gives an error of the object store its place.
    fn done<T>(&self, action: &'static str, name: &str, result: std::io::Result<T>) -> LogStoreResult<T> {
        let path = || PathBuf::from(format!("{}: {name}", self.objects.shown()));
        result.map_err(|error| LogStoreError::io(action, &path(), error))
    }
}

impl Known {
    fn accept(&mut self, version: u64, shared: LogManifestShared) {
        self.version = version;
        self.shared = shared;
    }
}

fn name_of(file: &DataFile) -> &str {
    file.path.to_str().expect("names of objects are made of texts")
}

fn object_of(file: &DataFile) -> ObjectPlace {
    ObjectPlace {
        name: name_of(file).to_owned(),
        // A file of another name than ours is read all the same; its number is no identifier of any object.
        id: filenames::id_of(&file.about.path).unwrap_or(u128::from(file.number)),
        bytes: file.about.file_bytes,
    }
}

//! Reading and writing of the states of the list of files.

use std::io;

use format::{LogManifest, LogManifestShared};
use model::ErrorKind;
use runtime::ObjectEntry;

use super::{FileSet, KEPT_MS, Known, SEEN_MAX_MS, SharedPlace};
use crate::error::{LogStoreError, LogStoreResult};
use crate::filenames;

/// Bytes of a manifest that are read at most: some two million files.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// How often the newest manifest is looked for while others remove what was it.
const LOOKS_MAX: usize = 3;
/// Manifests that are removed at a time.
const REMOVED_AT_ONCE: usize = 200;

impl SharedPlace {
    pub(super) fn create_manifest(
        &self,
        version: u64,
        set: &FileSet,
        shared: &LogManifestShared,
    ) -> LogStoreResult<bool> {
        let manifest = LogManifest {
            flushed_generation: 0,
            files: set.files.iter().map(|file| file.about.clone()).collect(),
            shared: Some(shared.clone()),
        };
        let name = filenames::shared_manifest(version);
        self.done("writing", &name, self.objects.create(&name, manifest.encode()))
    }

    /// Whether a state that was just written is the newest: who slept long may write one anew that was followed and
    /// removed. Such a one is taken away again.
    pub(super) fn is_newest(&self, known: &Known, version: u64) -> LogStoreResult<bool> {
        if self.clock.now_ms().saturating_sub(known.seen_ms) < SEEN_MAX_MS {
            return Ok(true);
        }
        if newest_of(&self.manifests()?) == Some(version) {
            return Ok(true);
        }
        let name = filenames::shared_manifest(version);
        self.done("removing", &name, self.objects.remove(&name))?;
        Ok(false)
    }

    fn manifests(&self) -> LogStoreResult<Vec<ObjectEntry>> {
        let folder = filenames::SHARED_MANIFESTS;
        self.done("listing", folder, self.objects.list(folder))
    }

    /// The newest state.
    pub(super) fn newest(&self) -> LogStoreResult<Option<(u64, LogManifest, LogManifestShared)>> {
        for _ in 0..LOOKS_MAX {
            let Some(version) = newest_of(&self.manifests()?) else { return Ok(None) };
            let name = filenames::shared_manifest(version);
            let bytes = match self.objects.get(&name, MANIFEST_BYTES_MAX) {
                // Followed and removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => self.done("reading", &name, read)?,
            };
            let mut manifest =
                LogManifest::decode(&bytes).map_err(|error| LogStoreError::format(name.as_ref(), error))?;
            let shared = manifest.shared.take().ok_or_else(|| {
                LogStoreError::page(name.as_ref(), 0, "it is the manifest of a store on a local disk")
            })?;
            return Ok(Some((version, manifest, shared)));
        }
        let text = format!("{}: the newest manifest is always gone", self.objects.shown());
        Err(LogStoreError::shared(ErrorKind::Unavailable, text))
    }

    /// What others made of the list of files since this process looked; `None` when nothing changed. Removes states
    /// that nobody needs any more.
    pub(crate) fn refresh(&self, current: &FileSet) -> LogStoreResult<Option<FileSet>> {
        let known = &mut *self.known.lock();
        let now_ms = self.clock.now_ms();
        let listed = self.manifests()?;
        let newest = newest_of(&listed).unwrap_or(0);
        if newest < known.version {
            let text = format!("{}: manifest {} is gone", self.objects.shown(), known.version);
            return Err(LogStoreError::shared(ErrorKind::Internal, text));
        }
        self.remove_followed(&listed, newest, now_ms);
        if newest == known.version {
            known.seen_ms = now_ms;
            return Ok(None);
        }
        let Some((version, manifest, shared)) = self.newest()? else { return Ok(None) };
        self.refuse_other(&shared)?;
        let set = self.file_set(current, manifest.files, &shared);
        known.accept(version, shared);
        known.seen_ms = now_ms;
        Ok(Some(set))
    }

    fn remove_followed(&self, listed: &[ObjectEntry], newest: u64, now_ms: i64) {
        let is_old = |entry: &&ObjectEntry| {
            version_of(&entry.name).is_some_and(|version| version < newest)
                && now_ms.saturating_sub(entry.modified_ms) > KEPT_MS
        };
        for entry in listed.iter().filter(is_old).take(REMOVED_AT_ONCE) {
            if let Err(error) = self.objects.remove(&entry.name) {
                tracing::debug!(%error, "an old manifest of the log store stays for now");
                return;
            }
        }
    }
}

fn version_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.parse().ok()
}

fn newest_of(listed: &[ObjectEntry]) -> Option<u64> {
    listed.iter().filter_map(|entry| version_of(&entry.name)).max()
}

//! The requests to delete lines, durable in one file (`docs/formats/log-deletes-v1.md`).
//!
//! DELETES-1: a request counts only once the file that names it is on the disk. The file is written whole, to a
//! temporary name, and renamed; it has some hundred bytes a request, and their number is limited.
//!
//! DELETES-2: without knowing what is deleted, no line is shown. A file that cannot be understood is set aside and
//! nothing else suffers; logs are not read before somebody decided about it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logql::EntryFilter;
use model::{Labels, LogEntries, TenantId, TimeRange};
use parking_lot::{Mutex, RwLock};
use runtime::Disk;
use serde::{Deserialize, Serialize};
use storage_api::LogMask;

/// Requests of all tenants together: each is tried on every page that a query reads until its lines are gone.
const REQUESTS_MAX: usize = 1000;
/// Requests of one tenant, so that none takes all of them.
const TENANT_REQUESTS_MAX: usize = 250;
const VERSION: u32 = 1;
const MS_NS: i64 = 1_000_000;

/// What went wrong with the requests.
#[derive(Debug, thiserror::Error)]
pub enum DeletesError {
    /// There are too many.
    #[error("there are {max} delete requests{whose}, no more are allowed; cancel some first")]
    TooMany {
        /// How many there may be.
        max: usize,
        /// Whose they are, with a space in front; empty for all tenants together.
        whose: &'static str,
    },
    /// Its query cannot be used.
    #[error("invalid query expression: {0}")]
    Query(String),
    /// It is not known what is deleted, so nothing can be added to it.
    #[error("{0}")]
    Unknown(String),
    /// The file could not be read or written.
    #[error("log delete requests: {doing} {}: {error}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The file is of a version that is not known.
    #[error("log delete requests: {} is of version {version}, this program knows {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file is not what was written.
    #[error("log delete requests: {} cannot be understood: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A request to delete lines.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// Eight hexadecimal digits.
    pub id: String,
    /// Which lines: a log query.
    pub query: String,
    /// Oldest time, milliseconds, included.
    pub start_ms: i64,
    /// Newest time, milliseconds, included.
    pub end_ms: i64,
    /// When it was made, milliseconds.
    pub created_ms: i64,
    /// When the lines were gone from all files, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed_ms: Option<i64>,
}

/// A request that is not made yet.
pub(super) struct NewDelete {
    pub(super) query: String,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    tenants: BTreeMap<String, Vec<DeleteRequest>>,
}

/// All requests of a process.
pub struct DeleteRequests {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cancel_period_ms: i64,
    /// Held while the file is written.
    writing: Mutex<()>,
    state: RwLock<State>,
    /// Why it is not known what is deleted.
    unknown: Option<String>,
}

#[derive(Clone, Default)]
struct State {
    tenants: BTreeMap<TenantId, Vec<Arc<Delete>>>,
    generations: BTreeMap<TenantId, u64>,
}

/// A request, ready to be applied.
pub(super) struct Delete {
    request: DeleteRequest,
    range: TimeRange,
    filter: EntryFilter,
}

impl DeleteRequests {
    /// Reads the requests; without a file there are none. One may be taken back during `cancel_period`; then its lines
    /// go. Blocks on the disk.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, cancel_period: Duration) -> Self {
        let (mut state, mut unknown) = (State::default(), None);
        let damaged = with_ending(&path, ".damaged");
        if disk.exists(&path) {
            match read(&*disk, &path) {
                Ok(read) => state = read,
                Err(error) => {
                    // One that another version wrote is left where that version finds it.
                    if matches!(error, DeletesError::Unreadable { .. }) {
                        set_aside(&*disk, &path, &damaged);
                    }
                    unknown = Some(error.to_string());
                }
            }
        }
        if disk.exists(&damaged) {
            unknown.get_or_insert_with(|| "log delete requests: the file was damaged".to_owned());
        }
        let unknown = unknown.map(|reason| {
            tracing::error!(
                reason, file = %damaged.display(),
                "it is not known which log lines are deleted, so that no query reads logs: restore {} from a backup or \
                 give its requests up, remove the damaged file and start again", path.display()
            );
            let (file, damaged) = (path.display(), damaged.display());
            format!("{reason}; logs are not read until {file} is restored or given up and {damaged} is not there")
        });
        let cancel_period_ms = i64::try_from(cancel_period.as_millis()).unwrap_or(i64::MAX);
        Self { disk, path, cancel_period_ms, writing: Mutex::new(()), state: RwLock::new(state), unknown }
    }

    /// Why it would not be known which lines are deleted with the file as it is, if so. Changes nothing. Blocks on the
    /// disk.
    pub fn fault(disk: &dyn Disk, path: &Path) -> Option<String> {
        let damaged = with_ending(path, ".damaged");
        let unreadable = disk.exists(path).then(|| read(disk, path).err()).flatten();
        let unreadable = unreadable.map(|error| error.to_string());
        unreadable.or_else(|| disk.exists(&damaged).then(|| format!("{} is there", damaged.display())))
    }

    /// Why it is not known which lines are deleted, if so: none may be shown then.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// Requests of a tenant, the oldest first.
    pub fn of_tenant(&self, tenant: &TenantId) -> Vec<DeleteRequest> {
        let state = self.state.read();
        state.tenants.get(tenant).into_iter().flatten().map(|delete| delete.request.clone()).collect()
    }

    /// A number that changes with the tenant's requests; 0 before the first change.
    pub fn generation(&self, tenant: &TenantId) -> u64 {
        self.state.read().generations.get(tenant).copied().unwrap_or(0)
    }

    /// Requests of a tenant that may concern entries in `range`; those aside whose lines are gone.
    pub(super) fn in_range(&self, tenant: &TenantId, range: TimeRange) -> Vec<Arc<Delete>> {
        let state = self.state.read();
        let all = state.tenants.get(tenant).into_iter().flatten();
        let concerned = all.filter(|delete| !delete.is_processed() && delete.range.overlaps(range));
        concerned.map(Arc::clone).collect()
    }

    /// Requests that can no longer be taken back and whose lines are still in files.
    pub(super) fn due(&self, now_ms: i64) -> Vec<(TenantId, Arc<Delete>)> {
        let state = self.state.read();
        let due = |delete: &&Arc<Delete>| {
            !delete.is_processed() && now_ms - delete.request.created_ms >= self.cancel_period_ms
        };
        let of_tenant = |(tenant, requests): (&TenantId, &Vec<Arc<Delete>>)| {
            requests.iter().filter(due).map(|delete| (tenant.clone(), Arc::clone(delete))).collect::<Vec<_>>()
        };
        state.tenants.iter().flat_map(of_tenant).collect()
    }

    /// How long a request may be taken back, milliseconds.
    pub(super) fn cancel_period_ms(&self) -> i64 {
        self.cancel_period_ms
    }

    /// Notes that the lines of a request are gone. Blocks on the disk.
    pub(super) fn mark_processed(
        &self,
        tenant: &TenantId,
        id: &str,
        now_ms: i64,
    ) -> Result<(), DeletesError> {
        let _writing = self.writing.lock();
        let mut state = self.state.read().clone();
        for delete in state.tenants.get_mut(tenant).into_iter().flatten() {
            if delete.request.id == id {
                let request = DeleteRequest { processed_ms: Some(now_ms), ..delete.request.clone() };
                *delete = Arc::new(Delete { request, range: delete.range, filter: delete.filter.clone() });
            }
        }
        self.write(tenant, state)
    }

    /// Adds a request and gives its id. Blocks on the disk.
    pub(super) fn add(&self, tenant: &TenantId, new: NewDelete, now_ms: i64) -> Result<String, DeletesError> {
        let _writing = self.writing.lock();
        let mut state = self.state.read().clone();
        if state.tenants.values().map(Vec::len).sum::<usize>() >= REQUESTS_MAX {
            // Those whose lines are gone are only kept to be shown.
            state.tenants.values_mut().for_each(|requests| requests.retain(|delete| !delete.is_processed()));
        }
        if let Some(own) = state.tenants.get_mut(tenant).filter(|own| own.len() >= TENANT_REQUESTS_MAX) {
            own.retain(|delete| !delete.is_processed());
        }
        if state.tenants.values().map(Vec::len).sum::<usize>() >= REQUESTS_MAX {
            return Err(DeletesError::TooMany { max: REQUESTS_MAX, whose: "" });
        }
        if state.tenants.get(tenant).is_some_and(|own| own.len() >= TENANT_REQUESTS_MAX) {
            return Err(DeletesError::TooMany { max: TENANT_REQUESTS_MAX, whose: " of this tenant" });
        }
        let requests = state.tenants.entry(tenant.clone()).or_default();
        let id = new_id(tenant, &new, now_ms, requests);
        let NewDelete { query, start_ms, end_ms } = new;
        let request =
            DeleteRequest { id: id.clone(), query, start_ms, end_ms, created_ms: now_ms, processed_ms: None };
        let delete = Delete::compile(request).map_err(DeletesError::Query)?;
        requests.push(delete);
        self.write(tenant, state)?;
        Ok(id)
    }

    /// Removes a request. Blocks on the disk.
    pub(super) fn remove(&self, tenant: &TenantId, id: &str) -> Result<(), DeletesError> {
        let _writing = self.writing.lock();
        let mut state = self.state.read().clone();
        if let Some(requests) = state.tenants.get_mut(tenant) {
            requests.retain(|delete| delete.request.id != id);
        }
        state.tenants.retain(|_, requests| !requests.is_empty());
        self.write(tenant, state)
    }

    /// Writes a new state, then lets queries see it.
    fn write(&self, changed: &TenantId, mut state: State) -> Result<(), DeletesError> {
        if let Some(reason) = &self.unknown {
            return Err(DeletesError::Unknown(reason.clone()));
        }
        *state.generations.entry(changed.clone()).or_default() += 1;
        let own =
            |requests: &Vec<Arc<Delete>>| requests.iter().map(|delete| delete.request.clone()).collect();
        let tenants =
            state.tenants.iter().map(|(tenant, requests)| (tenant.to_string(), own(requests))).collect();
        let bytes = serde_json::to_vec_pretty(&File { version: VERSION, tenants });
        let bytes = bytes.expect("texts and numbers are JSON");
        let failed = |error| DeletesError::Io { doing: "writing", path: self.path.clone(), error };
        self.disk.write_atomically(&self.path, &bytes).map_err(failed)?;
        *self.state.write() = state;
        Ok(())
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Reads the file of the requests.
fn read(disk: &dyn Disk, path: &Path) -> Result<State, DeletesError> {
    let bytes = disk.read(path);
    let bytes = bytes.map_err(|error| DeletesError::Io { doing: "reading", path: path.to_owned(), error })?;
    let unreadable = |reason: String| DeletesError::Unreadable { path: path.to_owned(), reason };
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if version.version != VERSION {
        return Err(DeletesError::Version { path: path.to_owned(), version: version.version });
    }
    let file: File = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let mut state = State::default();
    for (tenant, requests) in file.tenants {
        let tenant = TenantId::new(&tenant).map_err(|error| unreadable(error.to_string()))?;
        let compiled = requests.into_iter().map(Delete::compile).collect::<Result<Vec<_>, _>>();
        state.tenants.insert(tenant, compiled.map_err(unreadable)?);
    }
    Ok(state)
}

/// Puts a damaged file out of the way of the next one, for a person to look at. One that is there already stays: it is
/// the older.
fn set_aside(disk: &dyn Disk, path: &Path, damaged: &Path) {
    if disk.exists(damaged) {
        return;
    }
    let moved = disk.rename(path, damaged);
    let moved = moved.and_then(|()| damaged.parent().map_or(Ok(()), |folder| disk.sync_dir(folder)));
    if let Err(error) = moved {
        tracing::error!(%error, file = %path.display(), "the damaged file cannot be set aside");
    }
}

/// An id that no other request of the tenant has.
fn new_id(tenant: &TenantId, new: &NewDelete, now_ms: i64, known: &[Arc<Delete>]) -> String {
    let mut salt = 0u32;
    loop {
        let mut hasher = DefaultHasher::new();
        (tenant.as_str(), &new.query, new.start_ms, new.end_ms, now_ms, salt).hash(&mut hasher);
        let id = format!("{:08x}", hasher.finish() as u32);
        if known.iter().all(|delete| delete.request.id != id) {
            return id;
        }
        salt += 1;
    }
}

impl Delete {
    fn compile(request: DeleteRequest) -> Result<Arc<Self>, String> {
        let filter = EntryFilter::compile(&request.query, request.created_ms.saturating_mul(MS_NS));
        let filter = filter.map_err(|error| format!("{:?}: {error}", request.query))?;
        // Times are kept in milliseconds; the last one is deleted whole.
        let end_ns = request.end_ms.saturating_mul(MS_NS).saturating_add(MS_NS - 1);
        let range = TimeRange::new(request.start_ms.saturating_mul(MS_NS), end_ns);
        Ok(Arc::new(Self { request, range, filter }))
    }

    /// The request.
    pub(super) fn request(&self) -> &DeleteRequest {
        &self.request
    }

    fn is_processed(&self) -> bool {
        self.request.processed_ms.is_some()
    }

    /// Whether it may concern entries of a stream in `range`.
    pub(super) fn concerns(&self, labels: &Labels, range: TimeRange) -> bool {
        self.range.overlaps(range) && self.filter.selects_stream(labels)
    }

    /// Whether it deletes every entry of such a stream in `range`.
    pub(super) fn takes_all_in(&self, range: TimeRange) -> bool {
        self.filter.takes_all() && self.range.contains(range.min) && self.range.contains(range.max)
    }

    /// Marks the entries of a stream that it deletes.
    pub(super) fn mark(&self, labels: &Labels, entries: &LogEntries, gone: &mut [bool]) {
        let mut selected = Vec::new();
        self.filter.select(labels, entries, &mut selected);
        for at in selected {
            let at = at as usize;
            gone[at] |= self.range.contains(entries.timestamps_ns()[at]);
        }
    }
}

impl LogMask for Delete {
    fn concerns(&self, labels: &Labels, range: TimeRange) -> bool {
        Self::concerns(self, labels, range)
    }

    fn mark(&self, labels: &Labels, entries: &LogEntries, gone: &mut [bool]) {
        Self::mark(self, labels, entries, gone);
    }
}

//! A disk in memory that loses power, fills up and fails on demand, for tests of what is on disk.
//!
//! Model: a file has synced bytes and appends since; a power loss keeps a random part of those appends, a torn piece
//! or garbage in their place included. Names behave likewise per folder: changes since the last `sync_dir` survive as
//! a random prefix, in order (as journaled file systems do it). Everything random follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{AppendFile, Disk, DiskEntry, ReadFile};

/// Which operations fail, until the fault is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Appends fail with EIO after writing a random part.
    FailAppends,
    /// `sync_data` fails with EIO; what it should have synced may be lost.
    FailSyncs,
    /// New files cannot be made (EIO).
    FailCreates,
}

/// A file system in memory; clones share it.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: SplitMix,
    /// Names as programs see them, and as they would be after a power loss.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that no `sync_dir` covered yet, oldest first.
    name_changes: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    files: Vec<FileState>,
    faults: Vec<DiskFault>,
    capacity_bytes: u64,
    /// Changing operations until the power goes off by itself.
    operations_left: Option<u64>,
    power: bool,
    /// Grows with every power loss; handles from before are dead.
    boot: u64,
    reads: u64,
}

#[derive(Debug, Default)]
struct FileState {
    bytes: Vec<u8>,
    /// How much of `bytes` is synced.
    synced: usize,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough randomness for faults, no dependency.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..=max`.
    fn up_to(&mut self, max: usize) -> usize {
        usize::try_from(self.next() % (max as u64 + 1)).expect("not above max")
    }
}

impl NameChange {
    /// The folder whose sync makes the change durable.
    fn dir(&self) -> &Path {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path)) = self;
        path.parent().unwrap_or(Path::new(""))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to) => {
                let moved: Vec<_> = names.keys().filter(|name| name.starts_with(from)).cloned().collect();
                for name in moved {
                    let rest = name.strip_prefix(from).expect("filtered by this prefix").to_owned();
                    let file = names.remove(&name).expect("a key of the map");
                    let target = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    names.insert(target, file);
                }
            }
        }
    }
}

impl SimulatedDisk {
    /// An empty disk; everything random on it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: SplitMix(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            dirs: BTreeSet::new(),
            files: Vec::new(),
            faults: Vec::new(),
            capacity_bytes: u64::MAX,
            operations_left: None,
            power: true,
            boot: 0,
            reads: 0,
        })))
    }

    /// How often a file was read.
    pub fn reads(&self) -> u64 {
        self.0.lock().reads
    }

    /// Cuts the power after `operations` more changing operations; the last one may be done in part. Until
    /// [`SimulatedDisk::power_loss`] every operation then fails.
    pub fn cut_power_after(&self, operations: u64) {
        self.0.lock().operations_left = Some(operations);
    }

    /// Whether the power is on.
    pub fn has_power(&self) -> bool {
        self.0.lock().power
    }

    /// Loses the power (if that did not happen yet) and turns it on again: un-synced appends and name changes are
    /// kept, dropped or torn at random, faults are gone, handles from before are dead.
    pub fn power_loss(&self) {
        let state = &mut *self.0.lock();
        state.settle();
        state.faults.clear();
        state.operations_left = None;
        state.power = true;
        state.boot += 1;
    }

    /// Starts a fault; it lasts until [`SimulatedDisk::heal`].
    pub fn inject(&self, fault: DiskFault) {
        self.0.lock().faults.push(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.0.lock().faults.clear();
    }

    /// Limits the bytes of all files together; appends past it fail with `StorageFull` after writing what fits.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Changes one byte of a file in place, durably: `byte ^= mask`. For tests of damage.
    pub fn damage(&self, path: &Path, offset: usize, mask: u8) {
        let state = &mut *self.0.lock();
        let file = state.names[path];
        state.files[file].bytes[offset] ^= mask;
    }
}

impl State {
    /// Accounts one changing operation; fails when the power is off or goes off with it.
    fn operate(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.operations_left {
            if *left == 0 {
                self.power = false;
            }
            *left = left.saturating_sub(1);
        }
        self.check_power()
    }

    fn check_power(&self) -> io::Result<()> {
        if self.power { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.check_power()?;
        self.names.get(path).copied().ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|&file| self.files[file].bytes.len() as u64).sum()
    }

    fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let had_power = self.power;
        let powered = self.operate();
        let free = self.capacity_bytes.saturating_sub(self.used_bytes());
        let fits = bytes.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        let kept = if self.faults.contains(&DiskFault::FailAppends) || (had_power && !self.power) {
            self.random.up_to(fits)
        } else {
            fits
        };
        if had_power {
            self.files[file].bytes.extend_from_slice(&bytes[..kept]);
        }
        powered?;
        if self.faults.contains(&DiskFault::FailAppends) {
            return Err(io::Error::other("injected: input/output error"));
        }
        if fits < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        self.operate()?;
        if self.faults.contains(&DiskFault::FailSyncs) {
            return Err(io::Error::other("injected: input/output error"));
        }
        let file = &mut self.files[file];
        file.synced = file.bytes.len();
        Ok(())
    }

    /// What a power loss leaves.
    fn settle(&mut self) {
        let mut prefixes: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for change in &self.name_changes {
            *prefixes.entry(change.dir().to_owned()).or_default() += 1;
        }
        for count in prefixes.values_mut() {
            *count = self.random.up_to(*count);
        }
        for change in std::mem::take(&mut self.name_changes) {
            let left = prefixes.get_mut(change.dir()).expect("counted above");
            if *left > 0 {
                *left -= 1;
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        for file in &mut self.files {
            let unsynced = file.bytes.len() - file.synced;
            if unsynced == 0 {
                continue;
            }
            file.bytes.truncate(file.synced + self.random.up_to(unsynced));
            // Blocks of one write may reach the disk in any order: a grown file with a hole of zeros in it.
            let kept = file.bytes.len() - file.synced;
            if kept > 0 && self.random.next().is_multiple_of(4) {
                let from = file.synced + self.random.up_to(kept - 1);
                let to = (from + 1 + self.random.up_to(4095)).min(file.bytes.len());
                file.bytes[from..to].fill(0);
            }
            file.synced = file.bytes.len();
        }
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
    boot: u64,
}

impl SimulatedFile {
    fn check_boot(&self, state: &State) -> io::Result<()> {
        if state.boot == self.boot { Ok(()) } else { Err(io::Error::other("opened before the power loss")) }
    }
}

impl AppendFile for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.disk.0.lock();
        self.check_boot(state)?;
        state.append(self.file, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let state = &mut *self.disk.0.lock();
        self.check_boot(state)?;
        state.sync(self.file)
    }
}

impl ReadFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        self.check_boot(&state)?;
        Ok(state.files[self.file].bytes.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = &mut *self.disk.0.lock();
        self.check_boot(state)?;
        state.check_power()?;
        state.reads += 1;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start
            .checked_add(out.len())
            .and_then(|end| state.files[self.file].bytes.get(start..end))
            .ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let state = &mut *self.0.lock();
        state.operate()?;
        if state.faults.contains(&DiskFault::FailCreates) {
            return Err(io::Error::other("injected: input/output error"));
        }
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|dir| dir.as_os_str().is_empty() || state.dirs.contains(dir)) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = state.files.len();
        state.files.push(FileState::default());
        state.change_name(NameChange::Link(path.to_owned(), file));
        Ok(Box::new(SimulatedFile { disk: self.clone(), file, boot: state.boot }))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let state = self.0.lock();
        Ok(Box::new(SimulatedFile { disk: self.clone(), file: state.find(path)?, boot: state.boot }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let state = self.0.lock();
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file: state.find(path)?, boot: state.boot }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let state = self.0.lock();
        state.check_power()?;
        if !state.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let name = |path: &Path| path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let files = state.names.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(path, &file)| {
            DiskEntry { name: name(path), is_dir: false, bytes: state.files[file].bytes.len() as u64 }
        });
        let dirs = state.dirs.iter().filter(|path| path.parent() == Some(dir));
        let dirs = dirs.map(|path| DiskEntry { name: name(path), is_dir: true, bytes: 0 });
        let mut entries: Vec<_> = files.chain(dirs).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        state.dirs.extend(dir.ancestors().filter(|d| !d.as_os_str().is_empty()).map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        let (synced, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.name_changes).into_iter().partition(|change| change.dir() == dir);
        state.name_changes = pending;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        if state.dirs.contains(from) {
            let moved: Vec<_> = state.dirs.iter().filter(|d| d.starts_with(from)).cloned().collect();
            for dir in moved {
                let rest = dir.strip_prefix(from).expect("filtered by this prefix").to_owned();
                state.dirs.remove(&dir);
                state.dirs.insert(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) });
            }
        } else {
            state.find(from)?;
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        if state.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = state.find(from)?;
        state.change_name(NameChange::Link(to.to_owned(), file));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        state.find(path)?;
        state.change_name(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        let files: Vec<_> = state.names.keys().filter(|name| name.starts_with(dir)).cloned().collect();
        for path in files {
            state.change_name(NameChange::Unlink(path));
        }
        state.dirs.retain(|d| !d.starts_with(dir));
        Ok(())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.operate()?;
        let file = state.find(path)?;
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let file = &mut state.files[file];
        file.bytes.resize(len, 0);
        file.synced = len;
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()))
    }

    fn exists(&self, path: &Path) -> bool {
        let state = self.0.lock();
        state.names.contains_key(path) || state.dirs.contains(path)
    }
}

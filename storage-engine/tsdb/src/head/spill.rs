//! Closed chunks outside of the process' memory: gathered in blocks, which go to scratch files once there are enough.
//!
//! The log and the checkpoint are the truth; the files only hold what can be made again, so that they are never synced,
//! are removed on a start, and may fail: what cannot be written stays in memory and is counted, and what cannot be read
//! is counted and made again (`mend.rs`). A chunk is
//! named by its [`SpillPlace`] for ever and has a checksum, as in a block's files. Blocks that no chunk of the head needs
//! any more are taken away after a flush ([`Spill::retain`]); readers hold a [`SpillView`], with which what they found
//! stays readable. Sketch: a chunk in a file costs its place in the list of its series, 32 bytes; one read each.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use format::{put_chunk, take_chunk};
use hashbrown::HashSet;
use metrics::Counter;
use parking_lot::{Mutex, RwLock};
use runtime::{AppendFile, Disk, ReadFile};

use crate::error::TsdbError;
use crate::filenames;
use crate::metrics::HeadMetrics;

/// Blocks that wait in memory until they are written together: few writes, little memory.
const BLOCKS_WAITING: usize = 4;

/// A file that reached this size is followed by another one: it goes when the last of its chunks does.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// After a write failed, the next attempt comes so much later.
const RETRY_WAIT: Duration = Duration::from_secs(10);

/// Where a chunk lies: number of its block, offset and length there. 28, 20 and 16 bits; length 0 for one that has a
/// block for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpillPlace(u64);

/// Largest block of more than one chunk, bytes.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 20;

const BLOCKS_MAX: u32 = 1 << 28;

impl SpillPlace {
    fn new(block: u32, offset: usize, len: usize) -> Self {
        let len = if len < 1 << 16 { len as u64 } else { 0 };
        Self(u64::from(block) << 36 | (offset as u64) << 16 | len)
    }

    fn block(self) -> u32 {
        u32::try_from(self.0 >> 36).expect("28 bits are left")
    }

    fn offset(self) -> usize {
        usize::try_from(self.0 >> 16 & 0xf_ffff).expect("20 bits are left")
    }

    fn len(self) -> Option<usize> {
        let len = usize::try_from(self.0 & 0xffff).expect("16 bits are left");
        (len > 0).then_some(len)
    }
}

/// The chunks of a head.
pub(crate) struct Spill {
    /// Where the files go, and how much is to be left free there; without it everything stays in memory.
    folder: Option<(Arc<dyn Disk>, PathBuf, u64)>,
    block_bytes: usize,
    open: Mutex<Vec<u8>>,
    /// Number of the block that is open.
    open_number: AtomicU32,
    table: RwLock<Arc<Table>>,
    /// Bytes of full blocks that are in memory.
    waiting_bytes: AtomicUsize,
    /// Whether somebody writes, or is about to.
    is_claimed: AtomicBool,
    files: Mutex<Files>,
    /// Whether a chunk could not be read since somebody looked for such ones.
    is_damaged: Arc<AtomicBool>,
    metrics: HeadMetrics,
}

/// Full blocks as they were at a moment.
#[derive(Clone)]
pub(crate) struct SpillView {
    table: Arc<Table>,
    is_damaged: Arc<AtomicBool>,
    unreadable: Counter,
}

#[derive(Clone, Default)]
struct Table {
    /// Number of the first of `blocks`.
    first: u32,
    /// `None` for those that nobody needs.
    blocks: Vec<Option<Arc<Block>>>,
}

struct Block {
    len: usize,
    held: RwLock<Held>,
}

#[derive(Clone)]
enum Held {
    Memory(Arc<Vec<u8>>),
    File { file: Arc<File>, offset: u64 },
}

struct File {
    path: PathBuf,
    reader: Arc<dyn ReadFile>,
}

#[derive(Default)]
struct Files {
    /// Those that exist.
    all: Vec<Arc<File>>,
    /// The newest one, while it is written to, with its bytes so far.
    open: Option<(Box<dyn AppendFile>, u64)>,
    /// Files so far.
    count: u64,
    /// Blocks below this are written or not needed.
    written_to: u32,
    failed: Option<Instant>,
}

impl Spill {
    /// One that keeps everything in memory until [`Spill::set_folder`].
    pub(crate) fn new(block_bytes: usize, metrics: HeadMetrics) -> Self {
        Self {
            folder: None,
            block_bytes: block_bytes.min(BLOCK_BYTES_MAX),
            open: Mutex::default(),
            open_number: AtomicU32::new(0),
            table: RwLock::default(),
            waiting_bytes: AtomicUsize::new(0),
            is_claimed: AtomicBool::new(false),
            files: Mutex::default(),
            is_damaged: Arc::default(),
            metrics,
        }
    }

    /// Lets it write to `folder`, as long as the disk has more than `free_bytes_min` left. What lies there is removed.
    pub(crate) fn set_folder(
        &mut self,
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        free_bytes_min: u64,
    ) -> Result<(), TsdbError> {
        if disk.exists(&folder) {
            disk.remove_dir_all(&folder).map_err(|error| TsdbError::disk(&folder, error))?;
        }
        self.folder = Some((disk, folder, free_bytes_min));
        Ok(())
    }

    /// Takes a chunk; `None` when there are no numbers any more.
    pub(crate) fn add(&self, encoding: u8, data: &[u8]) -> Option<SpillPlace> {
        let open = &mut *self.open.lock();
        let room = data.len() + format::CHUNK_FRAME_BYTES_MAX;
        // One whose length has no room in its place has a block for itself.
        if !open.is_empty() && (open.len() + room > self.block_bytes || room >= 1 << 16) {
            self.finish(open);
        }
        let number = self.open_number.load(Ordering::Relaxed);
        if number >= BLOCKS_MAX {
            return None;
        }
        if open.capacity() == 0 {
            // Most tenants have a few chunks: the first block grows as it must.
            open.reserve_exact(if number == 0 { room } else { self.block_bytes.max(room) });
        }
        let offset = open.len();
        put_chunk(open, encoding, data);
        let place = SpillPlace::new(number, offset, open.len() - offset);
        if place.len().is_none() || open.len() >= self.block_bytes {
            self.finish(open);
        }
        Some(place)
    }

    /// Ends the open block.
    fn finish(&self, open: &mut Vec<u8>) {
        let mut bytes = std::mem::take(open);
        bytes.shrink_to_fit();
        let len = bytes.len();
        self.waiting_bytes.fetch_add(len, Ordering::Relaxed);
        let block = Block { len, held: RwLock::new(Held::Memory(Arc::new(bytes))) };
        let table = &mut *self.table.write();
        Arc::make_mut(table).blocks.push(Some(Arc::new(block)));
        self.open_number.fetch_add(1, Ordering::Release);
    }

    /// The chunk's bytes if its block is still open; else a view that is taken from now on has it.
    pub(crate) fn copy_if_open(&self, place: SpillPlace) -> Option<Vec<u8>> {
        if place.block() != self.open_number.load(Ordering::Acquire) {
            return None;
        }
        let open = self.open.lock();
        if place.block() != self.open_number.load(Ordering::Relaxed) {
            return None;
        }
        let (_, data) = take_chunk(&mut &open[place.offset()..]).expect("it was put there a moment ago");
        Some(data.to_vec())
    }

    /// A chunk's bytes.
    pub(crate) fn read(&self, place: SpillPlace) -> Result<Vec<u8>, TsdbError> {
        if let Some(data) = self.copy_if_open(place) {
            return Ok(data);
        }
        let mut buffer = Vec::new();
        let data = self.view().read(place, &mut buffer)?;
        Ok(data.to_vec())
    }

    /// Whether a chunk could not be read since the last call of [`Spill::begin_mending`].
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Before a look for chunks that cannot be read: what is written from now on goes to another file.
    pub(crate) fn begin_mending(&self) {
        self.is_damaged.store(false, Ordering::Relaxed);
        self.files.lock().open = None;
    }

    /// What can be read now, beside the open block.
    pub(crate) fn view(&self) -> SpillView {
        SpillView {
            table: Arc::clone(&self.table.read()),
            is_damaged: Arc::clone(&self.is_damaged),
            unreadable: self.metrics.scratch_damage.clone(),
        }
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.open.lock().capacity() + self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Whether enough waits to be written.
    pub(crate) fn is_due(&self) -> bool {
        self.folder.is_some()
            && self.waiting_bytes.load(Ordering::Relaxed) >= BLOCKS_WAITING * self.block_bytes
    }

    /// Whether the caller is to see to it that [`Spill::write`] runs; only one is told so.
    pub(crate) fn claim(&self) -> bool {
        self.is_due() && !self.is_claimed.swap(true, Ordering::Acquire)
    }

    /// Writes what waits, behind the one who does so now. Blocks on the disk.
    pub(crate) fn write(&self) {
        if let Some((disk, folder, free_bytes_min)) = &self.folder {
            let files = &mut *self.files.lock();
            if files.failed.is_none_or(|at| at.elapsed() >= RETRY_WAIT) {
                let written = self.write_waiting(&**disk, folder, *free_bytes_min, files);
                if let Err(error) = &written {
                    // What is in the file beside whole blocks is not used.
                    files.open = None;
                    self.metrics.scratch_failed.increment(1);
                    tracing::warn!(path = %folder.display(), %error, "closed chunks stay in memory");
                }
                files.failed = written.is_err().then(Instant::now);
            }
        }
        // Also when it was not claimed: whoever did it writes what comes until then.
        self.is_claimed.store(false, Ordering::Release);
    }

    fn write_waiting(
        &self,
        disk: &dyn Disk,
        folder: &std::path::Path,
        free_bytes_min: u64,
        files: &mut Files,
    ) -> std::io::Result<()> {
        let view = self.view();
        let end = view.table.first + u32::try_from(view.table.blocks.len()).expect("numbers have 28 bits");
        for number in files.written_to..end {
            let Some(block) = view.table.get(number) else { continue };
            let Held::Memory(bytes) = block.held.read().clone() else { continue };
            if files.open.as_ref().is_none_or(|(_, len)| *len >= FILE_BYTES_MAX) {
                disk.create_dir_all(folder)?;
                if disk.free_bytes(folder)? < free_bytes_min.saturating_add(FILE_BYTES_MAX) {
                    return Err(std::io::ErrorKind::StorageFull.into());
                }
                files.count += 1;
                let path = folder.join(filenames::scratch_file(files.count));
                files.open = Some((disk.create(&path)?, 0));
                let reader = disk.open_read(&path)?;
                files.all.push(Arc::new(File { path, reader }));
            }
            let (Some((file, len)), Some(newest)) = (&mut files.open, files.all.last()) else { continue };
            file.append(&bytes)?;
            *block.held.write() = Held::File { file: Arc::clone(newest), offset: *len };
            *len += bytes.len() as u64;
            self.waiting_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
            files.written_to = number + 1;
        }
        Ok(())
    }

    /// Begins a look at which blocks are needed: those from the returned number on are, whatever the look finds.
    pub(crate) fn begin_retain(&self) -> u32 {
        let open = &mut *self.open.lock();
        if !open.is_empty() {
            self.finish(open);
        }
        self.open_number.load(Ordering::Relaxed)
    }

    /// Lets the blocks below `end` go that are not among `needed`, and files without blocks. Nobody may be between
    /// finding a place and taking a view.
    pub(crate) fn retain(&self, end: u32, needed: &HashSet<u32>) {
        let files = &mut *self.files.lock();
        {
            let table = &mut *self.table.write();
            let Table { first, blocks } = Arc::make_mut(table);
            for (number, block) in (*first..end).zip(blocks.iter_mut()) {
                if needed.contains(&number) {
                    continue;
                }
                let gone = block.take();
                if let Some(gone) = gone.filter(|gone| matches!(*gone.held.read(), Held::Memory(_))) {
                    self.waiting_bytes.fetch_sub(gone.len, Ordering::Relaxed);
                }
            }
            let front = blocks.iter().take_while(|block| block.is_none()).count();
            blocks.drain(..front);
            *first += u32::try_from(front).expect("numbers have 28 bits");
        }
        let Some((disk, ..)) = &self.folder else { return };
        let view = self.view();
        let is_used = |file: &Arc<File>| {
            view.table.blocks.iter().flatten().any(|block| match &*block.held.read() {
                Held::File { file: of_block, .. } => Arc::ptr_eq(file, of_block),
                Held::Memory(_) => false,
            })
        };
        let (used, unused): (Vec<_>, Vec<_>) = files.all.drain(..).partition(is_used);
        files.all = used;
        for file in unused {
            // The newest one may have been among them.
            files.open = None;
            if let Err(error) = disk.remove_file(&file.path) {
                tracing::warn!(path = %file.path.display(), %error, "a scratch file could not be removed");
            }
        }
    }

    /// The block of a place.
    pub(crate) fn block_of(place: SpillPlace) -> u32 {
        place.block()
    }
}

impl Table {
    fn get(&self, number: u32) -> Option<&Arc<Block>> {
        self.blocks.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?.as_ref()
    }
}

impl SpillView {
    /// The data of a chunk, which may be read into `buffer`. One that cannot be read is counted and mended soon.
    pub(crate) fn read<'b>(&self, place: SpillPlace, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], TsdbError> {
        self.get(place, buffer).inspect_err(|_| {
            self.unreadable.increment(1);
            self.is_damaged.store(true, Ordering::Relaxed);
        })
    }

    /// Whether a chunk is in a block that was full when this was taken, and cannot be read.
    pub(crate) fn is_unreadable(&self, place: SpillPlace, buffer: &mut Vec<u8>) -> bool {
        let full = u64::from(self.table.first) + self.table.blocks.len() as u64;
        u64::from(place.block()) < full && self.get(place, buffer).is_err()
    }

    fn get<'b>(&self, place: SpillPlace, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], TsdbError> {
        let fail = |error: String| TsdbError::Scratch { error };
        let block = self.table.get(place.block()).ok_or_else(|| fail("its block is gone".to_owned()))?;
        let len = place.len().unwrap_or(block.len);
        let held = block.held.read().clone();
        buffer.clear();
        match held {
            Held::Memory(bytes) => {
                let frame = bytes.get(place.offset()..place.offset() + len);
                buffer.extend_from_slice(frame.ok_or_else(|| fail("its block is shorter".to_owned()))?);
            }
            Held::File { file, offset } => {
                buffer.resize(len, 0);
                let read = file.reader.read_exact_at(offset + place.offset() as u64, buffer);
                read.map_err(|error| fail(format!("{}: {error}", file.path.display())))?;
            }
        }
        let (_, data) = take_chunk(&mut buffer.as_slice()).map_err(|error| fail(error.to_string()))?;
        Ok(data)
    }
}

#[cfg(test)]
mod tests;

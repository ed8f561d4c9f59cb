//! Buffers of decoded bodies that are used again.
//!
//! A body is decoded on one thread and dropped on another one. As allocations of half a megabyte, which come and go a
//! hundred times a second, they are clear pages each time, and the allocator of each thread holds some of them back:
//! 5 MiB with four connections, and the kernel's work for new pages. A few are kept instead, for whoever comes next.

use bytes::Bytes;
use parking_lot::Mutex;

/// Smaller ones come cheap from the allocator.
const BYTES_MIN: usize = 64 << 10;

/// Larger ones are rare and not kept.
const BYTES_MAX: usize = 1 << 20;

/// Buffers that are kept while nobody uses them: about as many as requests that are stored at a time; 4 MiB at most.
const KEPT_MAX: usize = 4;

/// A buffer is only used for a body that leaves less than this share of it free, so that it holds little more than was
/// reserved.
const FREE_SHARE: usize = 4;

/// Those of the process.
pub(super) static BUFFERS: Buffers = Buffers::new();

/// Buffers that nobody uses.
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Bytes to decode into. Dropped, it may be kept.
pub(super) struct Buffer {
    home: &'static Buffers,
    /// All of them are initialised.
    bytes: Vec<u8>,
    len: usize,
}

impl Buffers {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// A buffer of `len` bytes of whatever value.
    pub(super) fn take(&'static self, len: usize) -> Buffer {
        let fits = |kept: &Vec<u8>| (len..=len + len / FREE_SHARE).contains(&kept.len());
        let found = (BYTES_MIN..=BYTES_MAX).contains(&len).then(|| {
            let mut kept = self.0.lock();
            kept.iter().position(fits).map(|at| kept.swap_remove(at))
        });
        let bytes = found.flatten().unwrap_or_else(|| vec![0; len]);
        Buffer { home: self, bytes, len }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return;
        }
        let mut kept = self.0.lock();
        if kept.len() == KEPT_MAX {
            // Sizes change over time: the oldest one goes.
            kept.remove(0);
        }
        kept.push(bytes);
    }

    /// Gives up the buffers that nobody uses.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Buffer {
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Its first `len` bytes.
    pub(super) fn into_bytes(mut self, len: usize) -> Bytes {
        self.len = len.min(self.len);
        if self.bytes.len() < BYTES_MIN {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.truncate(self.len);
            return bytes.into();
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests;

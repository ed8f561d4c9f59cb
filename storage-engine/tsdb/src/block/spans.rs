//! Reading many small things that lie close together from a file with few reads.

use std::io;

use runtime::ReadFile;

/// Gaps up to this are read over: a read costs about as much as copying them.
const GAP_BYTES: u64 = 4 << 10;

/// A read is not made longer than this for the sake of what follows.
const READ_BYTES_MAX: u64 = 256 << 10;

/// A window on a file.
pub(crate) struct SpanReader<'a> {
    file: &'a dyn ReadFile,
    /// Nothing is read from here on.
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> SpanReader<'a> {
    pub(crate) fn new(file: &'a dyn ReadFile, end: u64) -> Self {
        Self { file, end, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `places[index]` on, `bytes_min` of them or all up to the end. Of the places behind it, which
    /// ascend, those close by are read in the same go, each with about `bytes_each`.
    pub(crate) fn at(
        &mut self,
        places: impl Fn(usize) -> Option<u64>,
        index: usize,
        bytes_min: u64,
        bytes_each: u64,
    ) -> io::Result<&[u8]> {
        let at = places(index).unwrap_or(self.end);
        let wanted = bytes_min.min(self.end.saturating_sub(at));
        if !self.holds(at, wanted) {
            let mut last = at;
            for next in (index + 1..).map_while(&places) {
                if next < last || next - last > GAP_BYTES.max(bytes_each) || next - at > READ_BYTES_MAX {
                    break;
                }
                last = next;
            }
            let len = wanted.max(last - at + bytes_each).min(self.end.saturating_sub(at));
            self.fill(at, len)?;
        }
        Ok(self.held(at))
    }

    /// The `len` bytes at `at`, or an error when the file has fewer before its end.
    pub(crate) fn exactly(&mut self, at: u64, len: u64) -> io::Result<&[u8]> {
        if at.saturating_add(len) > self.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !self.holds(at, len) {
            self.fill(at, len)?;
        }
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(&self.held(at)[..len])
    }

    fn holds(&self, at: u64, len: u64) -> bool {
        !self.bytes.is_empty()
            && self.start <= at
            && at.saturating_add(len) <= self.start + self.bytes.len() as u64
    }

    fn held(&self, at: u64) -> &[u8] {
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.get(from..).unwrap_or(&[])
    }

    fn fill(&mut self, at: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.bytes.clear();
        self.bytes.resize(len, 0);
        self.start = at;
        self.file.read_exact_at(at, &mut self.bytes).inspect_err(|_| self.bytes.clear())
    }
}

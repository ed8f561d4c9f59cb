//! The bytes of chunks that grow, in pieces of one size that all series of a shard share.
//!
//! Chunks that grow as allocations of their own would move from one size to the next, all series at about the same time,
//! and leave the memory of every smaller size behind them, a fifth of what the head takes. Pieces never move. A chunk is
//! a chain of them; only its last piece is written to.

use format::XorAppender;

/// Bytes of a piece that hold data: a cache line with the number of the next piece. Two of them would leave 40 bytes more of a
/// series empty, half a chunk of a value that does not change.
const PIECE_BYTES: usize = 60;

/// Pieces of a page: 128 KiB.
const PAGE: usize = 2048;

/// Bytes in front of a chunk's samples: their number.
const HEADER_BYTES: usize = 2;

/// Names no piece.
const NONE: u32 = u32::MAX;

/// Pieces of a shard.
pub(crate) struct Pieces {
    pages: Vec<Page>,
    /// Pages that have free pieces, each once.
    with_room: Vec<u32>,
    /// A page that may be unused and keeps its memory all the same, so that one piece that comes and goes costs no page
    /// each time.
    spare: u32,
    /// The end of a chunk while a sample is put behind it.
    scratch: Vec<u8>,
}

#[derive(Default)]
struct Page {
    /// Empty when no piece of it is used.
    pieces: Box<[Piece]>,
    /// The first free piece; the others follow by `Piece::next`.
    free: u32,
    used: usize,
}

#[derive(Clone)]
struct Piece {
    /// The next piece of the chain.
    next: u32,
    bytes: [u8; PIECE_BYTES],
}

/// A chunk of floats that grows. Whoever drops it gives its pieces back before ([`Chain::clear`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }
}

impl Pieces {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), with_room: Vec::new(), spare: NONE, scratch: Vec::with_capacity(64) }
    }

    fn take(&mut self) -> u32 {
        let number = match self.with_room.last() {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.pages.len()).expect("memory ends long before 2^32 pages");
                self.pages.push(Page::default());
                self.with_room.push(number);
                number
            }
        };
        let page = &mut self.pages[number as usize];
        if page.pieces.is_empty() {
            let next = 1..=PAGE as u32;
            page.pieces = next.map(|next| Piece { next, bytes: [0; PIECE_BYTES] }).collect();
            page.free = 0;
        }
        let index = page.free;
        page.free = page.pieces[index as usize].next;
        page.used += 1;
        if page.used == PAGE {
            self.with_room.pop();
        }
        number * PAGE as u32 + index
    }

    fn give_back(&mut self, piece: u32) {
        let (number, index) = (piece / PAGE as u32, piece % PAGE as u32);
        let page = &mut self.pages[number as usize];
        page.pieces[index as usize].next = page.free;
        page.free = index;
        page.used -= 1;
        if page.used == PAGE - 1 {
            self.with_room.push(number);
        }
        if page.used > 0 || self.spare == number {
            return;
        }
        let spare = self.pages.get(self.spare as usize);
        if spare.is_some_and(|spare| spare.used == 0 && !spare.pieces.is_empty()) {
            self.pages[number as usize].pieces = Box::default();
        } else {
            self.spare = number;
        }
    }

    #[inline]
    fn piece(&self, piece: u32) -> &Piece {
        &self.pages[piece as usize / PAGE].pieces[piece as usize % PAGE]
    }

    #[inline]
    fn piece_mut(&mut self, piece: u32) -> &mut Piece {
        &mut self.pages[piece as usize / PAGE].pieces[piece as usize % PAGE]
    }
}

impl Chain {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the pieces.
    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.len().div_ceil(PIECE_BYTES) * size_of::<Piece>()
    }

    /// Appends a sample to the chunk that `appender` has written so far.
    #[inline]
    pub(crate) fn append(
        &mut self,
        pieces: &mut Pieces,
        appender: &mut XorAppender,
        time_ms: i64,
        value: f64,
    ) {
        let mut scratch = std::mem::take(&mut pieces.scratch);
        scratch.clear();
        if self.is_empty() {
            appender.append(&mut scratch, time_ms, value);
            self.extend(pieces, &scratch);
        } else {
            // An appender looks at the chunk's last byte, which may have room for some bits, and at its header.
            let at = (self.len() - 1) % PIECE_BYTES;
            let last = self.last;
            scratch.extend_from_slice(&[0; HEADER_BYTES]);
            scratch.push(pieces.piece(last).bytes[at]);
            appender.append(&mut scratch, time_ms, value);
            pieces.piece_mut(last).bytes[at] = scratch[HEADER_BYTES];
            self.extend(pieces, &scratch[HEADER_BYTES + 1..]);
        }
        pieces.scratch = scratch;
    }

    /// Puts bytes behind those there are.
    #[inline]
    pub(crate) fn extend(&mut self, pieces: &mut Pieces, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = self.len() % PIECE_BYTES;
            if at == 0 {
                let piece = pieces.take();
                pieces.piece_mut(piece).next = NONE;
                match self.last {
                    NONE => self.first = piece,
                    last => pieces.piece_mut(last).next = piece,
                }
                self.last = piece;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - at));
            pieces.piece_mut(self.last).bytes[at..at + now.len()].copy_from_slice(now);
            self.len += u32::try_from(now.len()).expect("at most a piece");
            bytes = later;
        }
    }

    /// Puts the chunk, which has `samples`, behind what is in `out`.
    pub(crate) fn copy_to(&self, pieces: &Pieces, samples: u16, out: &mut Vec<u8>) {
        let (start, mut left, mut piece) = (out.len(), self.len(), self.first);
        while left > 0 {
            let of_chain = pieces.piece(piece);
            let now = left.min(PIECE_BYTES);
            out.extend_from_slice(&of_chain.bytes[..now]);
            left -= now;
            piece = of_chain.next;
        }
        if let Some(header) = out.get_mut(start..start + HEADER_BYTES) {
            // Appending does not touch the first piece.
            header.copy_from_slice(&samples.to_be_bytes());
        }
    }

    /// Gives the pieces back.
    pub(crate) fn clear(&mut self, pieces: &mut Pieces) {
        let mut piece = self.first;
        while piece != NONE {
            let next = pieces.piece(piece).next;
            pieces.give_back(piece);
            piece = next;
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;

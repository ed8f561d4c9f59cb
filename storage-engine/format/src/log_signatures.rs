//! Page signatures: which pages of a log file may hold a text, from the 4-grams of their lines.
//!
//! A gram is four neighbouring bytes of one line, ASCII letters in lower case, hashed once to a slot. Each page has as many
//! slots as its own grams want: pages of ids have ten times as many as pages of stack traces, and with one number for all
//! the former let every search through and the latter waste space. Pages of one number of slots lie together (`sliced`).
//! Invariant SIG-1: a page that holds the needle in some line, in any ASCII case, is never ruled out. Grams do not cross
//! lines. Building costs less than a nanosecond a line byte; a needle under four bytes rules nothing out.

mod sliced;

use self::sliced::{SlicedSignatures, put_sliced};
use std::ops::RangeInclusive;

use crate::log_cursor::{Cursor, put_varint};
use crate::log_error::LogFormatResult;

const UNIT: &str = "log page signatures";
/// First byte of this layout. The one before has one number of slots for all pages, and starts with it.
const LAYOUT: u8 = 1;
/// Slots of that layout, as powers of two.
const OLD_BITS: RangeInclusive<u8> = 8..=18;
/// Bytes of a gram. Of 3 bytes too few are rare; 5 need more than twice the bits.
const GRAM_BYTES: usize = 4;
/// Slots of a page, as powers of two.
const BITS_MIN: u32 = 6;
const BITS_MAX: u32 = 18;
/// Slots of the first page while it is built, as a power of two. The others start with twice those of the page before.
const BITS_FIRST: u32 = 16;

/// Collects the grams of a file's lines, page by page.
#[derive(Debug)]
pub struct SignatureBuilder {
    /// For each page, its slots as a power of two.
    bits: Vec<u8>,
    /// The tables of all pages.
    tables: Vec<u8>,
    /// Slots that the next page starts with, as a power of two.
    next_bits: u32,
    /// The lines of a page in lower case.
    folded: Vec<u8>,
    /// A byte a slot while a page is looked at: setting one waits for nothing, as setting a bit does for the word that it
    /// is in (0.63 ns a line byte for 0.95).
    marks: Vec<u8>,
    spare_marks: Vec<u8>,
}

impl Default for SignatureBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Signatures of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSignatures(Vec<Group>);

/// The pages of a file with the same number of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// Positions in the file.
    pages: Vec<u32>,
    signatures: SlicedSignatures,
}

/// The slot of a gram among `2^bits`, at least 2.
fn slot(gram: u32, bits: u32) -> usize {
    // Fibonacci hashing; the highest bits are the best, and folding keeps them.
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

/// The grams of a text.
fn grams(text: &[u8]) -> Vec<u32> {
    let gram = |bytes: &[u8]| {
        bytes.iter().fold(0, |gram: u32, byte| gram << 8 | u32::from(byte.to_ascii_lowercase()))
    };
    text.windows(GRAM_BYTES).map(gram).collect()
}

impl SignatureBuilder {
    /// Without a page.
    pub fn new() -> Self {
        Self {
            bits: Vec::new(),
            tables: Vec::new(),
            next_bits: BITS_FIRST,
            folded: Vec::new(),
            marks: Vec::new(),
            spare_marks: Vec::new(),
        }
    }

    /// Adds a page of lines, given as one text and the length of each.
    pub fn add_page(&mut self, text: &[u8], lengths: impl Iterator<Item = usize> + Clone) {
        // One pass that the compiler vectorises, so that the next has nothing to decide for each byte.
        self.folded.clear();
        self.folded.extend(text.iter().map(u8::to_ascii_lowercase));
        let mut bits = self.next_bits;
        self.mark(bits, lengths.clone());
        let mut set = set_slots(&self.marks);
        while bits < BITS_MAX && is_crowded(set, bits) {
            bits += 1;
            self.mark(bits, lengths.clone());
            set = set_slots(&self.marks);
        }
        while bits > BITS_MIN && has_room(set, bits) {
            bits -= 1;
            self.spare_marks.clear();
            self.spare_marks.extend(self.marks.as_chunks().0.iter().map(|[left, right]| left | right));
            std::mem::swap(&mut self.marks, &mut self.spare_marks);
            set = set_slots(&self.marks);
        }
        self.tables.extend(self.marks.as_chunks().0.iter().map(|marks| byte_of(*marks)));
        self.bits.push(bits as u8);
        self.next_bits = (bits + 1).min(BITS_MAX);
    }

    /// Marks the slots of the folded lines' grams among `2^bits`.
    fn mark(&mut self, bits: u32, lengths: impl Iterator<Item = usize>) {
        self.marks.clear();
        self.marks.resize(1 << bits, 0);
        let marks = &mut self.marks[..];
        let mut rest = &self.folded[..];
        for length in lengths {
            let (line, after) = rest.split_at(length);
            rest = after;
            for gram in line.windows(GRAM_BYTES) {
                let gram = u32::from_be_bytes(gram.try_into().expect("windows are of this size"));
                marks[slot(gram, bits)] = 1;
            }
        }
    }

    /// The signatures as bytes.
    pub fn finish(self) -> Vec<u8> {
        let mut out = vec![LAYOUT];
        put_varint(self.bits.len() as u64, &mut out);
        out.extend_from_slice(&self.bits);
        let mut pages = Vec::with_capacity(self.bits.len());
        let mut rest = &self.tables[..];
        for &bits in &self.bits {
            let (table, after) = rest.split_at(1 << (bits - 3));
            pages.push(table);
            rest = after;
        }
        for bits in BITS_MIN..=BITS_MAX {
            let group: Vec<&[u8]> =
                pages.iter().copied().filter(|page| page.len() == 1 << (bits - 3)).collect();
            if !group.is_empty() {
                put_sliced(&group, &mut out);
            }
        }
        out
    }
}

impl PageSignatures {
    /// Reads signatures of a file with `pages` pages.
    pub fn decode(bytes: &[u8], pages: usize) -> LogFormatResult<Self> {
        let mut cursor = Cursor::new(UNIT, bytes);
        let layout = cursor.u8()?;
        if layout != LAYOUT && !OLD_BITS.contains(&layout) {
            return Err(cursor.damaged("a layout that is never written"));
        }
        if cursor.varint_usize()? != pages {
            return Err(cursor.damaged("its count of pages is not that of its file"));
        }
        let old;
        let bits_of = match layout {
            LAYOUT => cursor.bytes(pages)?,
            bits => {
                old = vec![bits; pages];
                &old
            }
        };
        if bits_of.iter().any(|&bits| !(BITS_MIN..=BITS_MAX).contains(&u32::from(bits))) {
            return Err(cursor.damaged("a number of slots that is never written"));
        }
        let mut groups = Vec::new();
        for bits in BITS_MIN..=BITS_MAX {
            let numbered = bits_of.iter().zip(0u32..);
            let pages: Vec<u32> =
                numbered.filter(|(of, _)| u32::from(**of) == bits).map(|(_, number)| number).collect();
            if !pages.is_empty() {
                let signatures = SlicedSignatures::decode(bits, pages.len(), &mut cursor)?;
                groups.push(Group { pages, signatures });
            }
        }
        cursor.finish()?;
        Ok(Self(groups))
    }

    /// Takes out of `pages` (one for each page of the file) those that cannot hold `needle` in a line.
    pub fn rule_out(&self, needle: &str, pages: &mut [bool]) {
        let grams = grams(needle.as_bytes());
        let mut left = Vec::new();
        for group in &self.0 {
            left.clear();
            left.extend(group.pages.iter().map(|&page| pages[page as usize]));
            group.signatures.rule_out(&grams, &mut left);
            group.pages.iter().zip(&left).for_each(|(&page, &left)| pages[page as usize] = left);
        }
    }

    /// Takes out of `pages` those that can hold none of the `needles`; without needles none.
    pub fn rule_out_all(&self, needles: &[String], pages: &mut [bool]) {
        match needles {
            [] => {}
            [needle] => self.rule_out(needle, pages),
            needles => {
                let mut some = vec![false; pages.len()];
                for needle in needles {
                    // What another text kept stays whatever this one says.
                    let mut with: Vec<bool> =
                        pages.iter().zip(&some).map(|(page, some)| *page && !some).collect();
                    self.rule_out(needle, &mut with);
                    some.iter_mut().zip(with).for_each(|(some, with)| *some |= with);
                }
                pages.copy_from_slice(&some);
            }
        }
    }
}

/// How many marks are set.
fn set_slots(marks: &[u8]) -> usize {
    marks.chunks(255).map(|marks| usize::from(marks.iter().sum::<u8>())).sum()
}

/// More than three slots in five are set: a page of so many grams wants more of them.
fn is_crowded(set: usize, bits: u32) -> bool {
    set * 5 > 3 << bits
}

/// At most a third of the slots is set: of half as many it is about one half.
fn has_room(set: usize, bits: u32) -> bool {
    set * 3 <= 1 << bits
}

/// A bit for each of 8 bytes that are 0 or 1.
fn byte_of(marks: [u8; 8]) -> u8 {
    /// Brings the lowest bit of byte `i` to bit 56 + `i`; no two bits meet on the way.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    (u64::from_le_bytes(marks).wrapping_mul(GATHER) >> 56) as u8
}

#[cfg(test)]
mod tests;

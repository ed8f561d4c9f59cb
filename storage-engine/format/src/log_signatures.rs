//! Page signatures: which pages of a log file may hold a text, from the 4-grams of their lines.
//!
//! A gram is four neighbouring bytes of one line, ASCII letters in lower case, hashed once to a slot. Each slot has a bit
//! a page, all pages of a slot together (bit-sliced), so a needle of n bytes looks at n − 3 slots only and an absent one
//! is known as such from a few hundred bytes. Slots that three pages in four have are left out: they tell nothing.
//! Invariant SIG-1: a page that holds the needle in some line, in any ASCII case, is never ruled out. Grams do not
//! cross lines. Building costs less than a nanosecond a line byte; a needle under four bytes rules nothing out.

use crate::log_cursor::{Cursor, put_varint};
use crate::log_error::LogFormatResult;

const UNIT: &str = "log page signatures";
/// Bytes of a gram. Of 3 bytes too few are rare; 5 need more than twice the bits.
const GRAM_BYTES: usize = 4;
/// Slots at most, as a power of two, and while the first page of a file is built: the others take what that one needs.
const BITS_MAX: u32 = 18;
const BITS_MIN: u32 = 8;
/// By so much the slots while pages are built pass those that the first page asked for, and how many they are at
/// least, as powers of two: other pages may have more grams.
const BUILD_BITS_SPARE: u32 = 2;
const BUILD_BITS_MIN: u32 = 16;

/// No page has the slot.
const NO_PAGE: u8 = 0;
/// The slot has a row of bits.
const SOME_PAGES: u8 = 1;
/// So many pages have the slot that it was left out.
const MOST_PAGES: u8 = 2;

/// Collects the grams of a file's lines, page by page.
#[derive(Debug)]
pub struct SignatureBuilder {
    /// Slots of the pages, as a power of two.
    bits: u32,
    /// A bit a slot.
    pages: Vec<Vec<u64>>,
    /// The lines of a page in lower case.
    folded: Vec<u8>,
    /// A byte a slot while a page is looked at: setting one waits for nothing, as setting a bit does for the word that it
    /// is in (0.63 ns a line byte for 0.95).
    marks: Vec<u8>,
}

impl Default for SignatureBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Signatures of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSignatures {
    slot_bits: u32,
    pages: usize,
    /// Two bits a slot.
    kinds: Vec<u8>,
    /// How many slots with a row there are before each group of `RANK_SLOTS` slots.
    ranks: Vec<u32>,
    rows: Vec<u8>,
}

/// Slots between two counts of rows.
const RANK_SLOTS: usize = 256;

fn slot(gram: u32, bits: u32) -> usize {
    // Fibonacci hashing; the highest bits are the best, and folding keeps them.
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

/// Calls `each` with the grams of a text.
fn grams(text: &[u8], mut each: impl FnMut(u32)) {
    let Some((head, tail)) = text.split_at_checked(GRAM_BYTES - 1) else { return };
    let push = |gram: u32, byte: u8| gram << 8 | u32::from(byte.to_ascii_lowercase());
    let mut gram = head.iter().fold(0, |gram, &byte| push(gram, byte));
    for &byte in tail {
        gram = push(gram, byte);
        each(gram);
    }
}

impl SignatureBuilder {
    /// Without a page.
    pub fn new() -> Self {
        Self { bits: BITS_MAX, pages: Vec::new(), folded: Vec::new(), marks: Vec::new() }
    }

    /// Adds a page of lines, given as one text and the length of each.
    pub fn add_page(&mut self, text: &[u8], lengths: impl Iterator<Item = usize>) {
        // One pass that the compiler vectorises, so that the next has nothing to decide for each byte.
        self.folded.clear();
        self.folded.extend(text.iter().map(u8::to_ascii_lowercase));
        self.marks.clear();
        self.marks.resize(1 << self.bits, 0);
        let marks = &mut self.marks[..];
        let mut rest = &self.folded[..];
        for length in lengths {
            let (line, after) = rest.split_at(length);
            rest = after;
            for gram in line.windows(GRAM_BYTES) {
                let gram = u32::from_be_bytes(gram.try_into().expect("windows are of this size"));
                marks[slot(gram, self.bits)] = 1;
            }
        }
        let mut slots: Vec<u64> = self.marks.chunks_exact(64).map(word_of).collect();
        if self.pages.is_empty() {
            let bits = (bits_for(count_ones(&slots)) + BUILD_BITS_SPARE).clamp(BUILD_BITS_MIN, BITS_MAX);
            slots = folded(&slots, self.bits - bits);
            self.bits = bits;
        }
        self.pages.push(slots);
    }

    /// The signatures as bytes.
    pub fn finish(self) -> Vec<u8> {
        let pages = self.pages.len();
        let grams: u64 = self.pages.iter().map(|page| count_ones(page)).sum();
        let bits = bits_for(grams / (pages.max(1) as u64)).clamp(BITS_MIN, self.bits);
        let row_bytes = pages.div_ceil(8);
        let mut rows = vec![0u8; row_bytes << bits];
        // Eight pages at a time fill one byte of each row, so that few cache lines are at work.
        for (group, eight) in self.pages.chunks(8).enumerate() {
            for word_number in 0..(1usize << self.bits) / 64 {
                for (number, page) in eight.iter().enumerate() {
                    let mut rest = page[word_number];
                    while rest != 0 {
                        let slot = (word_number * 64 + rest.trailing_zeros() as usize) >> (self.bits - bits);
                        rows[slot * row_bytes + group] |= 1 << number;
                        rest &= rest - 1;
                    }
                }
            }
        }
        let count = |row: &[u8]| row.iter().map(|byte| byte.count_ones()).sum::<u32>();
        let counts: Vec<u32> = match row_bytes {
            0 => vec![0; 1 << bits],
            _ => rows.chunks(row_bytes).map(count).collect(),
        };
        let mut out = vec![bits as u8];
        put_varint(pages as u64, &mut out);
        let kind = |count: u32| match count as usize {
            0 => NO_PAGE,
            count if count * 4 >= pages * 3 => MOST_PAGES,
            _ => SOME_PAGES,
        };
        for four in counts.chunks(4) {
            out.push(four.iter().enumerate().fold(0, |byte, (at, &count)| byte | kind(count) << (2 * at)));
        }
        for (slot, &count) in counts.iter().enumerate() {
            if kind(count) == SOME_PAGES {
                out.extend_from_slice(&rows[slot * row_bytes..(slot + 1) * row_bytes]);
            }
        }
        out
    }
}

impl PageSignatures {
    /// Reads signatures of a file with `pages` pages.
    pub fn decode(bytes: &[u8], pages: usize) -> LogFormatResult<Self> {
        let mut cursor = Cursor::new(UNIT, bytes);
        let slot_bits = u32::from(cursor.u8()?);
        if !(BITS_MIN..=BITS_MAX).contains(&slot_bits) {
            return Err(cursor.damaged("a number of slots that is never written"));
        }
        if cursor.varint_usize()? != pages {
            return Err(cursor.damaged("its count of pages is not that of its file"));
        }
        let kinds = cursor.bytes((1 << slot_bits) / 4)?.to_vec();
        let mut ranks = Vec::with_capacity(kinds.len() * 4 / RANK_SLOTS);
        let mut rank = 0;
        for group in kinds.chunks(RANK_SLOTS / 4) {
            ranks.push(rank);
            rank += group.iter().map(|&byte| rows_of(byte)).sum::<u32>();
        }
        let rows = cursor.rest().to_vec();
        if rows.len() != rank as usize * pages.div_ceil(8) {
            return Err(cursor.damaged("its rows do not fit its slots"));
        }
        Ok(Self { slot_bits, pages, kinds, ranks, rows })
    }

    /// Takes out of `pages` (one for each page of the file) those that cannot hold `needle` in a line.
    pub fn rule_out(&self, needle: &str, pages: &mut [bool]) {
        grams(needle.as_bytes(), |gram| {
            let slot = slot(gram, self.slot_bits);
            match self.kind(slot) {
                NO_PAGE => pages.fill(false),
                SOME_PAGES => {
                    let row_bytes = self.pages.div_ceil(8);
                    let start = self.rank(slot) * row_bytes;
                    let row = &self.rows[start..start + row_bytes];
                    for (number, page) in pages.iter_mut().enumerate() {
                        *page &= row.get(number / 8).is_none_or(|byte| byte >> (number % 8) & 1 == 1);
                    }
                }
                _ => {}
            }
        });
    }

    /// Takes out of `pages` those that can hold none of the `needles`; without needles none.
    pub fn rule_out_all(&self, needles: &[String], pages: &mut [bool]) {
        match needles {
            [] => {}
            [needle] => self.rule_out(needle, pages),
            needles => {
                let mut some = vec![false; pages.len()];
                for needle in needles {
                    let mut with = vec![true; pages.len()];
                    self.rule_out(needle, &mut with);
                    some.iter_mut().zip(with).for_each(|(some, with)| *some |= with);
                }
                pages.iter_mut().zip(some).for_each(|(page, some)| *page &= some);
            }
        }
    }

    /// Bytes of memory that they take, about.
    pub fn memory_bytes(&self) -> usize {
        self.kinds.len() + self.ranks.len() * 4 + self.rows.len()
    }

    fn kind(&self, slot: usize) -> u8 {
        self.kinds[slot / 4] >> (2 * (slot % 4)) & 3
    }

    /// How many slots before this one have a row.
    fn rank(&self, slot: usize) -> usize {
        let group = slot / RANK_SLOTS;
        let whole: u32 = self.kinds[group * RANK_SLOTS / 4..slot / 4].iter().map(|&byte| rows_of(byte)).sum();
        let before = (slot / 4 * 4..slot).filter(|&slot| self.kind(slot) == SOME_PAGES).count();
        self.ranks[group] as usize + whole as usize + before
    }
}

/// One to two slots a gram of a page: half of the slots set at most. As a power of two.
fn bits_for(grams: u64) -> u32 {
    (2 * grams).max(1).ilog2()
}

/// A bit for each of 64 bytes that are 0 or 1.
fn word_of(marks: &[u8]) -> u64 {
    /// Brings the lowest bit of byte `i` to bit 56 + `i`; no two bits meet on the way.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    marks.chunks_exact(8).enumerate().fold(0, |word, (at, eight)| {
        let eight = u64::from_le_bytes(eight.try_into().expect("chunks are of this size"));
        word | (eight.wrapping_mul(GATHER) >> 56) << (8 * at)
    })
}

fn count_ones(page: &[u64]) -> u64 {
    page.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// A page's slots, every `2^by` neighbours as one.
fn folded(page: &[u64], by: u32) -> Vec<u64> {
    let mut out = vec![0u64; page.len() >> by];
    for (word_number, &word) in page.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            let slot = (word_number * 64 + rest.trailing_zeros() as usize) >> by;
            out[slot / 64] |= 1 << (slot % 64);
            rest &= rest - 1;
        }
    }
    out
}

/// How many of the four slots in a byte have a row.
fn rows_of(kinds: u8) -> u32 {
    const { assert!(SOME_PAGES == 1 && NO_PAGE == 0 && MOST_PAGES == 2) };
    // Low bit set and high bit not.
    (kinds & 0x55 & !(kinds >> 1)).count_ones()
}

#[cfg(test)]
mod tests;

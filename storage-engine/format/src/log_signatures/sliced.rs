//! Signatures of pages with the same number of slots.
//!
//! Each slot has a bit a page, all pages of a slot together (bit-sliced), so a needle of n bytes looks at n − 3 slots only.
//! Slots that no page has, or that three pages in five have, are left out: the latter tell little and are a third of all.

use super::slot;
use crate::log_cursor::Cursor;
use crate::log_error::LogFormatResult;

/// No page has the slot.
const NO_PAGE: u8 = 0;
/// The slot has a row of bits.
const SOME_PAGES: u8 = 1;
/// So many pages have the slot that it was left out.
pub(super) const MOST_PAGES: u8 = 2;

/// Slots between two counts of rows.
const RANK_SLOTS: usize = 256;

/// Signatures of some pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlicedSignatures {
    slot_bits: u32,
    pages: usize,
    /// Two bits a slot.
    kinds: Vec<u8>,
    /// How many slots with a row there are before each group of `RANK_SLOTS` slots.
    ranks: Vec<u32>,
    rows: Vec<u8>,
}

/// Appends the signatures of pages, each given as a bit a slot, lowest first.
pub(super) fn put_sliced(pages: &[&[u8]], out: &mut Vec<u8>) {
    let row_bytes = pages.len().div_ceil(8);
    let slots = 8 * pages.first().map_or(0, |page| page.len());
    let mut rows = vec![0u8; row_bytes * slots];
    for (group, eight) in pages.chunks(8).enumerate() {
        for (at, rows) in rows.chunks_exact_mut(8 * row_bytes).enumerate() {
            let mut square = [0; 8];
            square.iter_mut().zip(eight).for_each(|(byte, page)| *byte = page[at]);
            let square = transposed(u64::from_le_bytes(square)).to_le_bytes();
            rows.chunks_exact_mut(row_bytes).zip(square).for_each(|(row, byte)| row[group] = byte);
        }
    }
    let kind = |row: &[u8]| match row.iter().map(|byte| byte.count_ones() as usize).sum::<usize>() {
        0 => NO_PAGE,
        count if count * 5 >= pages.len() * 3 => MOST_PAGES,
        _ => SOME_PAGES,
    };
    let kinds: Vec<u8> = rows.chunks_exact(row_bytes.max(1)).map(kind).collect();
    out.extend(kinds.chunks(4).map(|four| four.iter().rev().fold(0, |byte, kind| byte << 2 | kind)));
    for (row, _) in rows.chunks_exact(row_bytes.max(1)).zip(kinds).filter(|(_, kind)| *kind == SOME_PAGES) {
        out.extend_from_slice(row);
    }
}

/// Eight bytes of eight bits, bit `b` of byte `a` put where bit `a` of byte `b` was (Hacker's Delight, 7-3).
fn transposed(mut square: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)]
    {
        let differing = (square ^ (square >> shift)) & mask;
        square ^= differing ^ (differing << shift);
    }
    square
}

impl SlicedSignatures {
    /// Reads those of so many pages with `2^slot_bits` slots each.
    pub(super) fn decode(slot_bits: u32, pages: usize, cursor: &mut Cursor<'_>) -> LogFormatResult<Self> {
        let kinds = cursor.bytes((1 << slot_bits) / 4)?.to_vec();
        let mut ranks = Vec::with_capacity(kinds.len() * 4 / RANK_SLOTS);
        let mut rank = 0;
        for group in kinds.chunks(RANK_SLOTS / 4) {
            ranks.push(rank);
            rank += group.iter().map(|&byte| rows_of(byte)).sum::<u32>();
        }
        let rows = cursor.bytes((rank as usize).saturating_mul(pages.div_ceil(8)))?.to_vec();
        Ok(Self { slot_bits, pages, kinds, ranks, rows })
    }

    /// Takes out of `pages` those that lack one of the grams.
    pub(super) fn rule_out(&self, grams: &[u32], pages: &mut [bool]) {
        for &gram in grams {
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
        }
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

/// How many of the four slots in a byte have a row.
fn rows_of(kinds: u8) -> u32 {
    const { assert!(SOME_PAGES == 1 && NO_PAGE == 0 && MOST_PAGES == 2) };
    // Low bit set and high bit not.
    (kinds & 0x55 & !(kinds >> 1)).count_ones()
}

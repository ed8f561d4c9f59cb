//! Bit streams as Prometheus' chunks have them (tsdb/chunkenc/bstream.go): most significant bit first.
//!
//! The writer appends to the caller's byte buffer and keeps only the number of unused bits of its last byte. The
//! reader looks through a 64-bit window that is refilled eight bytes at a time, so no loop runs per bit.

/// Appends the low `count` bits of `value` to `out`, whose last byte has `free` unused low bits.
#[inline]
pub(crate) fn write_bits(out: &mut Vec<u8>, free: &mut u8, value: u64, count: u32) {
    debug_assert!((1..=64).contains(&count));
    // Left-align, so that what is to be written next is always on top.
    let mut left = value << (64 - count);
    let mut count = count;
    if *free > 0 {
        let last = out.last_mut().expect("unused bits are those of a last byte");
        *last |= u8::try_from(left >> (64 - u32::from(*free))).expect("at most eight bits are left");
        if count <= u32::from(*free) {
            *free -= u8::try_from(count).expect("at most 8");
            return;
        }
        left <<= *free;
        count -= u32::from(*free);
    }
    let whole = count.div_ceil(8);
    out.extend_from_slice(&left.to_be_bytes()[..whole as usize]);
    *free = u8::try_from(8 * whole - count).expect("below 8");
}

/// Reads bits from the front of a slice.
pub struct BitReader<'a> {
    data: &'a [u8],
    /// Next byte of `data` that is not wholly in the window.
    at: usize,
    /// Unread bits, left-aligned; those below the first `bits` may be there already.
    window: u64,
    bits: u32,
}

/// The stream ended inside a value.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfBits;

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, window: 0, bits: 0 }
    }

    /// Fills the window to at least 56 bits, or to all that is left.
    #[inline]
    fn refill(&mut self) {
        if let Some(eight) = self.data.get(self.at..self.at + 8) {
            self.window |= u64::from_be_bytes(eight.try_into().expect("eight bytes")) >> self.bits;
            let taken = (63 - self.bits) >> 3;
            self.at += taken as usize;
            self.bits += taken * 8;
            return;
        }
        while self.bits <= 56 && self.at < self.data.len() {
            self.window |= u64::from(self.data[self.at]) << (56 - self.bits);
            self.at += 1;
            self.bits += 8;
        }
    }

    /// The next `count` bits, at most 56, without taking them; zeros stand in for bits past the end.
    #[inline]
    pub(crate) fn peek(&mut self, count: u32) -> u64 {
        debug_assert!((1..=56).contains(&count));
        if self.bits < count {
            self.refill();
        }
        self.window >> (64 - count)
    }

    /// Bits that were not taken yet.
    pub(crate) fn left(&self) -> usize {
        (self.data.len() - self.at) * 8 + self.bits as usize
    }

    /// Takes `count` bits that were peeked.
    #[inline]
    pub(crate) fn skip(&mut self, count: u32) -> Result<(), OutOfBits> {
        if self.bits < count {
            return Err(OutOfBits);
        }
        self.window <<= count;
        self.bits -= count;
        Ok(())
    }

    /// Takes `count` bits, 1 to 64.
    #[inline]
    pub(crate) fn read(&mut self, count: u32) -> Result<u64, OutOfBits> {
        if count > 56 {
            return self.read_wide(count);
        }
        let value = self.peek(count);
        self.skip(count)?;
        Ok(value)
    }

    /// Takes more bits than the window is sure to have. Rare, and apart from [`BitReader::read`] so that that one is
    /// inlined.
    #[cold]
    fn read_wide(&mut self, count: u32) -> Result<u64, OutOfBits> {
        let high = self.peek(count - 32);
        self.skip(count - 32)?;
        let low = self.peek(32);
        self.skip(32)?;
        Ok(high << 32 | low)
    }
}

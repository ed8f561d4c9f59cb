//! A float as the XOR with the one before it, shared by all chunk encodings: `0` when nothing changed, else the changed
//! bits inside a window of leading and trailing zeros that is kept while it fits (tsdb/chunkenc/xor.go).

use crate::bits::{BitReader, OutOfBits, write_bits};

/// `leading` before the first window (the sentinel of xor.go).
const NO_WINDOW: u8 = 0xff;

/// The writer's window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteWindow {
    leading: u8,
    trailing: u8,
}

impl WriteWindow {
    /// Before the first changed value.
    pub(crate) const NONE: Self = Self { leading: NO_WINDOW, trailing: 0 };

    /// Appends `prefix` (`prefix_bits` of it, at most 24) and then `change`, the XOR of the value with the one before.
    #[inline]
    pub(crate) fn write(
        &mut self,
        out: &mut Vec<u8>,
        free: &mut u8,
        prefix: u64,
        prefix_bits: u32,
        change: u64,
    ) {
        if change == 0 {
            write_bits(out, free, prefix << 1, prefix_bits + 1);
            return;
        }
        // Five bits hold the count of leading zeros.
        let leading = u8::try_from(change.leading_zeros().min(31)).expect("at most 31");
        let trailing = u8::try_from(change.trailing_zeros()).expect("at most 63");
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            write_bits(out, free, prefix << 2 | 0b10, prefix_bits + 2);
        } else {
            *self = Self { leading, trailing };
            let significant = u64::from(64 - leading - trailing);
            // 64 significant bits are written as 0 in six bits; 0 cannot occur.
            let window = 0b11 << 11 | u64::from(leading) << 6 | (significant & 63);
            write_bits(out, free, prefix << 13 | window, prefix_bits + 13);
        }
        let significant = u32::from(64 - self.leading - self.trailing);
        write_bits(out, free, change >> self.trailing, significant);
    }
}

/// The reader's window. Before the first one of the stream it is all 64 bits: a writer that took up a chunk again
/// after a restart starts from there (`Appender` in xor.go).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadWindow {
    shift: u8,
    significant: u8,
}

impl ReadWindow {
    pub(crate) const WHOLE: Self = Self { shift: 0, significant: 64 };

    /// The XOR of the next value with the one before.
    #[inline]
    pub(crate) fn read(&mut self, bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
        let head = bits.peek(13);
        if head >> 12 == 0 {
            bits.skip(1)?;
            return Ok(0);
        }
        if head >> 11 == 0b10 {
            bits.skip(2)?;
        } else {
            bits.skip(13)?;
            self.set(head & 0x7ff)?;
        }
        self.read_within(bits)
    }

    /// Changed bits inside the window as it is.
    #[inline]
    pub(crate) fn read_within(&self, bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
        Ok(bits.read(u32::from(self.significant))? << self.shift)
    }

    /// A new window and the changed bits inside it.
    #[inline]
    pub(crate) fn read_new(&mut self, bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
        let head = bits.read(11)?;
        self.set(head)?;
        self.read_within(bits)
    }

    /// The window that eleven bits describe.
    #[inline]
    fn set(&mut self, head: u64) -> Result<(), OutOfBits> {
        let leading = u8::try_from(head >> 6).expect("five bits");
        let significant = u8::try_from(head & 63).expect("six bits");
        self.significant = if significant == 0 { 64 } else { significant };
        // A sum over 64 is damage; no writer makes it.
        self.shift = 64u8.checked_sub(leading + self.significant).ok_or(OutOfBits)?;
        Ok(())
    }
}

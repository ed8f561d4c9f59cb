//! Start timestamps between the samples of encodings 4 to 6 (tsdb/chunkenc/st.go), read past: the model has no place
//! for them yet.

use crate::bits::{BitReader, OutOfBits};
use crate::varbit::{read_uvarint, read_varbit_int};

/// Which samples carry a start timestamp.
pub(crate) struct StartTimes {
    is_first_known: bool,
    /// Sample from which on every one carries it; 0 when none does.
    first_change: u16,
}

impl StartTimes {
    /// From the header byte of a chunk.
    pub(crate) fn new(header: u8) -> Self {
        Self { is_first_known: header & 0x80 != 0, first_change: u16::from(header & 0x7f) }
    }

    /// A chunk without start timestamps.
    pub(crate) fn none() -> Self {
        Self::new(0)
    }

    /// Skips what follows sample `index`, from 0.
    #[inline]
    pub(crate) fn skip(&mut self, index: u16, bits: &mut BitReader<'_>) -> Result<(), OutOfBits> {
        if index == 0 {
            return if self.is_first_known { read_uvarint(bits).map(|_| ()) } else { Ok(()) };
        }
        if self.first_change > 0 && index >= self.first_change {
            read_varbit_int(bits)?;
        }
        Ok(())
    }
}

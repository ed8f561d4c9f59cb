//! Chunks of Thanos' downsampled blocks, encoding 0xff: up to five chunks in one, an aggregate each (`AggrChunk` in
//! Thanos' pkg/compact/downsample/aggr.go).
//!
//! For count, sum, min, max and counter in this order: a length as uvarint, 0 for an aggregate that is not there, else
//! one byte of encoding, which the length does not count, and the chunk. Of floats all five are XOR chunks; of native
//! histograms the count is one, sum and counter are float histograms, and min and max are not there.

use crate::FormatError;
use crate::varint::{put_uvarint, take_uvarint};

/// Number of the encoding of these chunks.
pub const ENCODING_AGGREGATE: u8 = 0xff;

/// What of the samples of a window is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many there were.
    Count,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Their running total, counter resets taken out. Its first sample is the first raw one at its own time, its last
    /// the last raw one, at the time of the sample before it.
    Counter,
}

impl Aggregate {
    /// All, in the order in which they are stored.
    pub const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Counter];
}

/// The parts of a chunk: encoding and data of each aggregate that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateChunk<'a> {
    parts: [Option<(u8, &'a [u8])>; 5],
}

impl<'a> AggregateChunk<'a> {
    /// Takes a chunk apart. The chunks inside are not looked at.
    pub fn decode(chunk: &'a [u8]) -> Result<Self, FormatError> {
        let mut rest = chunk;
        let mut parts = [None; 5];
        for part in &mut parts {
            let cut = || FormatError::chunk("an aggregate in it is cut");
            let len = usize::try_from(take_uvarint(&mut rest).ok_or_else(cut)?).map_err(|_| cut())?;
            if len > 0 {
                let (encoding, data) = rest.split_first().ok_or_else(cut)?;
                let (data, behind) = data.split_at_checked(len).ok_or_else(cut)?;
                *part = Some((*encoding, data));
                rest = behind;
            }
        }
        if !rest.is_empty() {
            return Err(FormatError::chunk("it has bytes behind its aggregates"));
        }
        Ok(Self { parts })
    }

    /// Encoding and data of an aggregate, if it is there.
    pub fn get(&self, aggregate: Aggregate) -> Option<(u8, &'a [u8])> {
        self.parts[aggregate as usize]
    }

    /// Puts an aggregate in. An empty chunk is none.
    pub fn set(&mut self, aggregate: Aggregate, encoding: u8, data: &'a [u8]) {
        self.parts[aggregate as usize] = (!data.is_empty()).then_some((encoding, data));
    }

    /// Appends the chunk's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for part in &self.parts {
            put_uvarint(out, part.map_or(0, |(_, data)| data.len() as u64));
            if let Some((encoding, data)) = part {
                out.push(*encoding);
                out.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Aggregate, AggregateChunk};

    #[test]
    fn a_chunk_has_the_bytes_of_the_format_and_reads_back() {
        let mut chunk = AggregateChunk::default();
        chunk.set(Aggregate::Count, 1, b"abc");
        chunk.set(Aggregate::Counter, 3, b"z");
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        assert_eq!(bytes, b"\x03\x01abc\x00\x00\x00\x01\x03z");
        let read = AggregateChunk::decode(&bytes).expect("it is one");
        assert_eq!(read.get(Aggregate::Count), Some((1, b"abc".as_slice())));
        assert_eq!(read.get(Aggregate::Min), None);
        assert_eq!(read.get(Aggregate::Counter), Some((3, b"z".as_slice())));
    }

    #[test]
    fn every_cut_and_every_byte_too_many_is_refused() {
        let whole = b"\x03\x01abc\x00\x00\x00\x01\x03z";
        for len in 0..whole.len() {
            assert!(AggregateChunk::decode(&whole[..len]).is_err(), "{len} bytes");
        }
        assert!(AggregateChunk::decode(b"\0\0\0\0\0\0").is_err());
        assert!(AggregateChunk::decode(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0").is_err());
    }
}

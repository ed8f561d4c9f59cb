//! What was deleted from a block but is still in its chunks: time ranges by series (tsdb/tombstones/tombstones.go).
//!
//! The checksum covers the stones only, not the magic number and the version in front of them.

use std::collections::BTreeMap;

use model::TimeRange;

use crate::FormatError;
use crate::varint::{put_uvarint, put_varint, take_uvarint, take_varint};

const MAGIC: [u8; 4] = [0x01, 0x30, 0xba, 0x30];
const VERSION: u8 = 1;

/// Deleted ranges of one series: ascending, and neither touching nor overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<TimeRange>);

impl Intervals {
    /// Adds a range (both ends included); those that it touches become one with it.
    pub fn add(&mut self, range: TimeRange) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|have| have.max < range.min.saturating_sub(1));
        let last = self.0.partition_point(|have| have.min <= range.max.saturating_add(1));
        let mut merged = range;
        for have in &self.0[first..last] {
            merged = TimeRange::new(merged.min.min(have.min), merged.max.max(have.max));
        }
        self.0.splice(first..last, [merged]);
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[TimeRange] {
        &self.0
    }

    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a sample of this time was deleted.
    pub fn contains(&self, timestamp_ms: i64) -> bool {
        let next = self.0.partition_point(|have| have.max < timestamp_ms);
        self.0.get(next).is_some_and(|have| have.contains(timestamp_ms))
    }

    /// Whether some time in `range` was deleted.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        let next = self.0.partition_point(|have| have.max < range.min);
        self.0.get(next).is_some_and(|have| have.overlaps(range))
    }

    /// Whether everything in `range` was deleted.
    pub fn covers(&self, range: TimeRange) -> bool {
        self.0.iter().any(|have| have.min <= range.min && range.max <= have.max)
    }
}

/// Deleted ranges by the number of the series in its block's index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    series: BTreeMap<u64, Intervals>,
}

impl Tombstones {
    /// Adds a range to a series.
    pub fn add(&mut self, series: u64, range: TimeRange) {
        if !range.is_empty() {
            self.series.entry(series).or_default().add(range);
        }
    }

    /// Deleted ranges of a series.
    pub fn get(&self, series: u64) -> Option<&Intervals> {
        self.series.get(&series)
    }

    /// Number of ranges over all series, as meta.json counts them.
    pub fn len(&self) -> u64 {
        self.series.values().map(|intervals| intervals.0.len() as u64).sum()
    }

    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        let checked = out.len();
        for (series, intervals) in &self.series {
            for range in &intervals.0 {
                put_uvarint(&mut out, *series);
                put_varint(&mut out, range.min);
                put_varint(&mut out, range.max);
            }
        }
        let checksum = crc32c::crc32c(&out[checked..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    /// Reads the bytes of the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let fault = |reason| FormatError::new("tombstones", reason);
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| fault("they do not begin with 0130BA30"))?;
        let (version, rest) = rest.split_first().ok_or_else(|| fault("they have no version"))?;
        if *version != VERSION {
            return Err(fault("their version is not 1"));
        }
        let (mut stones, checksum) =
            rest.split_last_chunk::<4>().ok_or_else(|| fault("they have no checksum"))?;
        if crc32c::crc32c(stones) != u32::from_be_bytes(*checksum) {
            return Err(fault("their checksum is wrong"));
        }
        let mut tombstones = Self::default();
        while !stones.is_empty() {
            let mut stone = || {
                let series = take_uvarint(&mut stones)?;
                Some((series, TimeRange::new(take_varint(&mut stones)?, take_varint(&mut stones)?)))
            };
            let (series, range) = stone().ok_or_else(|| fault("they end inside a stone"))?;
            tombstones.add(series, range);
        }
        Ok(tombstones)
    }
}

#[cfg(test)]
mod tests {
    use model::TimeRange;

    use super::{Intervals, Tombstones};

    #[test]
    fn an_empty_file_has_the_nine_bytes_of_prometheus() {
        let bytes = [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0];
        assert_eq!(Tombstones::default().encode(), bytes);
        assert_eq!(Tombstones::decode(&bytes), Ok(Tombstones::default()));
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let merged = |ranges: &[(i64, i64)]| {
            let mut intervals = Intervals::default();
            ranges.iter().for_each(|(min, max)| intervals.add(TimeRange::new(*min, *max)));
            intervals.as_slice().iter().map(|range| (range.min, range.max)).collect::<Vec<_>>()
        };
        assert_eq!(merged(&[(5, 9), (1, 2)]), [(1, 2), (5, 9)]);
        assert_eq!(merged(&[(1, 2), (3, 4)]), [(1, 4)]);
        assert_eq!(merged(&[(1, 2), (4, 5), (8, 9), (2, 7)]), [(1, 9)]);
        assert_eq!(merged(&[(1, 9), (3, 4)]), [(1, 9)]);
        assert_eq!(merged(&[(9, 1)]), []);
        assert_eq!(merged(&[(i64::MIN, 0), (1, i64::MAX)]), [(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn questions_about_times_are_answered_at_the_edges() {
        let mut intervals = Intervals::default();
        intervals.add(TimeRange::new(10, 20));
        intervals.add(TimeRange::new(30, 40));
        let times: Vec<i64> = (8..44).filter(|time| intervals.contains(*time)).collect();
        assert_eq!(times, (10..=20).chain(30..=40).collect::<Vec<_>>());
        assert!(intervals.overlaps(TimeRange::new(20, 25)) && !intervals.overlaps(TimeRange::new(21, 29)));
        assert!(intervals.covers(TimeRange::new(30, 40)) && !intervals.covers(TimeRange::new(15, 35)));
    }

    #[test]
    fn stones_read_back_and_every_flipped_bit_and_cut_is_noticed() {
        let mut tombstones = Tombstones::default();
        tombstones.add(7, TimeRange::new(-5, 5));
        tombstones.add(7, TimeRange::new(100, 200));
        tombstones.add(1 << 40, TimeRange::ALL);
        let bytes = tombstones.encode();
        assert_eq!(Tombstones::decode(&bytes), Ok(tombstones.clone()));
        assert_eq!(tombstones.len(), 3);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Tombstones::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}

//! Time ranges of queries and files.

/// A range of timestamps, both ends included. The unit (ms for metrics, ns for logs) is the user's of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First timestamp inside.
    pub min: i64,
    /// Last timestamp inside.
    pub max: i64,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self { min: i64::MIN, max: i64::MAX };

    /// The range `[min, max]`.
    pub fn new(min: i64, max: i64) -> Self {
        Self { min, max }
    }

    /// Whether no timestamp is inside.
    pub fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// Whether `timestamp` is inside.
    pub fn contains(self, timestamp: i64) -> bool {
        self.min <= timestamp && timestamp <= self.max
    }

    /// Whether some timestamp is inside both.
    pub fn overlaps(self, other: Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

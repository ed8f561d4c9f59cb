//! Which entries of a flush go into one file: pure planning over counts by hour.
//!
//! A file holds one hour, so that retention drops whole files. Hours with little in them are joined with the next of
//! the same day, so that a sender of very old and scattered times cannot make a file an entry.

/// Nanoseconds of an hour.
pub(crate) const HOUR_NS: i64 = 3_600_000_000_000;
const HOURS_OF_DAY: i64 = 24;
/// Hours with fewer bytes than this are joined with the next.
const PARTITION_BYTES_MIN: u64 = 4 << 20;

/// Times of one file: from `from_ns` to before `until_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) from_ns: i64,
    pub(crate) until_ns: i64,
}

/// Hour of a time, counted from the Unix epoch.
pub(crate) fn hour_of(timestamp_ns: i64) -> i64 {
    timestamp_ns.div_euclid(HOUR_NS)
}

/// Joins hours, given in ascending order with their bytes, into partitions.
pub(crate) fn plan(hours: impl IntoIterator<Item = (i64, u64)>) -> Vec<Partition> {
    let mut planned: Vec<(i64, i64, u64)> = Vec::new();
    for (hour, bytes) in hours {
        match planned.last_mut() {
            Some((first, last, held))
                if *held < PARTITION_BYTES_MIN
                    && first.div_euclid(HOURS_OF_DAY) == hour.div_euclid(HOURS_OF_DAY) =>
            {
                *last = hour;
                *held += bytes;
            }
            _ => planned.push((hour, hour, bytes)),
        }
    }
    let partition = |(first, last, _): (i64, i64, u64)| Partition {
        from_ns: first.saturating_mul(HOUR_NS),
        until_ns: last.saturating_add(1).saturating_mul(HOUR_NS),
    };
    planned.into_iter().map(partition).collect()
}

#[cfg(test)]
mod tests {
    use super::{HOUR_NS, plan};

    #[test]
    fn small_hours_of_a_day_share_a_file_and_days_never_do() {
        let mib = 1 << 20;
        let check = |hours: &[(i64, u64)], expected: &[(i64, i64)]| {
            let found: Vec<_> = plan(hours.iter().copied())
                .into_iter()
                .map(|partition| (partition.from_ns / HOUR_NS, partition.until_ns / HOUR_NS))
                .collect();
            assert_eq!(found, expected);
        };
        check(&[], &[]);
        check(&[(48, 9 * mib), (49, 9 * mib)], &[(48, 49), (49, 50)]);
        check(&[(48, mib), (49, 9 * mib), (50, 1)], &[(48, 50), (50, 51)]);
        check(&[(40, 1), (47, 1), (48, 1), (71, 1)], &[(40, 48), (48, 72)]);
        check(&[(-1, 1), (0, 1)], &[(-1, 0), (0, 1)]);
    }
}

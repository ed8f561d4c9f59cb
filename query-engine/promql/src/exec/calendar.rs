//! Points in time taken apart, in UTC.

use model::civil_date;

/// Seconds from the year -292277022399, where Go's `time` counts from, to the Unix epoch: a whole number of days.
const UNIX_TO_ABSOLUTE: i64 = 9_223_372_028_741_760_000;

/// A point in time, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// 0 is Sunday.
    pub(crate) weekday: i64,
    /// 1 is the first of January.
    pub(crate) year_day: i64,
}

impl Civil {
    pub(crate) fn from_unix_seconds(seconds: i64) -> Self {
        // Times that no calendar has, such as those of infinite values, wrap around as in Go.
        let absolute = seconds.wrapping_add(UNIX_TO_ABSOLUTE).cast_unsigned();
        let days = (absolute / 86_400).cast_signed() - UNIX_TO_ABSOLUTE / 86_400;
        let of_day = (absolute % 86_400).cast_signed();
        let (year, month, day) = civil_date(days);
        let before: i64 = (1..month).map(|m| days_in_month(year, m)).sum();
        Self {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day % 3600 / 60,
            second: of_day % 60,
            weekday: (days + 4).rem_euclid(7),
            year_day: before + day,
        }
    }

    pub(crate) fn days_in_month(self) -> i64 {
        days_in_month(self.year, self.month)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

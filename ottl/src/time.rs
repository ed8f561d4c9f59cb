//! Points in time, and durations in Go's notation.

mod layout;
mod zone;

use chrono::{DateTime, Datelike, FixedOffset, TimeZone, Timelike, Utc};

pub(crate) use layout::{Layout, layout};
pub(crate) use zone::Zone;

/// A point in time and the offset of the place that it is told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// Nanoseconds since the Unix epoch.
    pub(crate) unix_ns: i64,
    /// Seconds east of UTC.
    pub(crate) offset: i32,
}

/// A time's parts on the calendar and the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) year: i32,
    pub(crate) month: u32,
    pub(crate) day: u32,
    /// Days since Sunday.
    pub(crate) weekday: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    pub(crate) nanosecond: u32,
}

impl Time {
    pub(crate) fn utc(unix_ns: i64) -> Self {
        Self { unix_ns, offset: 0 }
    }

    pub(crate) fn plus(self, ns: i64) -> Self {
        Self { unix_ns: self.unix_ns.saturating_add(ns), ..self }
    }

    fn local(self) -> DateTime<FixedOffset> {
        let utc: DateTime<Utc> = Utc.timestamp_nanos(self.unix_ns);
        let offset = FixedOffset::east_opt(self.offset).or_else(|| FixedOffset::east_opt(0));
        utc.with_timezone(&offset.expect("no offset is an offset"))
    }

    pub(crate) fn parts(self) -> Parts {
        let local = self.local();
        Parts {
            year: local.year(),
            month: local.month(),
            day: local.day(),
            weekday: local.weekday().num_days_from_sunday(),
            hour: local.hour(),
            minute: local.minute(),
            second: local.second(),
            nanosecond: local.nanosecond(),
        }
    }

    /// RFC 3339 with as many digits of the second as there are.
    pub(crate) fn rfc3339(self) -> String {
        let parts = self.parts();
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second
        );
        text.push_str(&layout::fraction(parts.nanosecond, 9, '.'));
        match self.offset {
            0 => text.push('Z'),
            offset => text.push_str(&layout::offset_text(offset, true, false)),
        }
        text
    }

    /// The time rounded down to a multiple of `ns` since the year 1, as `time.Truncate` of Go does.
    pub(crate) fn truncate(self, ns: i64) -> Self {
        /// Seconds from January 1 of the year 1 to the Unix epoch.
        const EPOCH_SECS: i128 = 62_135_596_800;
        if ns <= 0 {
            return self;
        }
        let since_year_1 = i128::from(self.unix_ns) + EPOCH_SECS * 1_000_000_000;
        let rest = since_year_1.rem_euclid(i128::from(ns)) as i64;
        Self { unix_ns: self.unix_ns.saturating_sub(rest), ..self }
    }
}

/// Reads a duration as `time.ParseDuration` of Go does: nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_f64;
    let mut whole = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let unit_ns: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        match number.split_once('.') {
            None => whole += i128::from(number.parse::<i64>().ok()?) * i128::from(unit_ns),
            Some((integer, part)) if !(integer.is_empty() && part.is_empty()) => {
                let integer: i64 = if integer.is_empty() { 0 } else { integer.parse().ok()? };
                whole += i128::from(integer) * i128::from(unit_ns);
                if !part.is_empty() {
                    if !part.bytes().all(|b| b.is_ascii_digit()) {
                        return None;
                    }
                    total += format!("0.{part}").parse::<f64>().ok()? * unit_ns as f64;
                }
            }
            Some(_) => return None,
        }
        rest = after;
    }
    let ns = whole + total as i128;
    i64::try_from(if is_negative { -ns } else { ns }).ok()
}

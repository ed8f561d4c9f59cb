//! Times in texts for people.

use model::civil_date;

/// The second of a time, ns since 1970, as RFC 3339 writes it.
pub(crate) fn shown_utc(at_ns: i64) -> String {
    let seconds = at_ns.div_euclid(1_000_000_000);
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let (hours, minutes) = (seconds.rem_euclid(86_400) / 3600, seconds.rem_euclid(3600) / 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{:02}Z", seconds.rem_euclid(60))
}

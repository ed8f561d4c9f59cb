//! Numbers and times as Go prints them: `%f`, `%v` and `time.Time.String()`.

use std::fmt::Write as _;

use chrono::DateTime;

/// `%f`: six decimals.
pub(super) fn fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { special(value) }
}

/// `%v` of a float: shortest digits, an exponent of at least two digits below 1e-4 and from 1e6 on.
pub(super) fn shortest(value: f64) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("the format above writes an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn special(value: f64) -> String {
    let text = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    };
    text.to_owned()
}

/// Nanoseconds since the Unix epoch as `2006-01-02 15:04:05.999999999 +0000 UTC`.
pub(super) fn time(unix_nano: u64) -> String {
    // Go keeps the number in an int64 too, so times past 2262 wrap in the same way.
    let time = DateTime::from_timestamp_nanos(unix_nano as i64);
    let mut text = time.format("%Y-%m-%d %H:%M:%S").to_string();
    let nanos = time.timestamp_subsec_nanos();
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push_str(" +0000 UTC");
    text
}

/// Bytes of an id in lower-case hex; an absent or all-zero id is empty.
pub(super) fn hex(id: &[u8]) -> String {
    if id.iter().all(|&byte| byte == 0) {
        return String::new();
    }
    id.iter().fold(String::with_capacity(2 * id.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

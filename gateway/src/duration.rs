//! Durations as users write them: `200ms`, `1h30m`, `1.5s`, `15d`, `1w2d`.
//!
//! One reader for the config (Go's units plus Prometheus' days, weeks and years) and one for the query APIs, which
//! take Prometheus' strict form.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Units with their length in nanoseconds, longest name first among those that share a start.
const UNITS: [(&str, f64); 11] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
    ("y", 31_536_000e9),
    ("μs", 1e3),
];

/// Reads a config duration: numbers with units, added up; `0` needs no unit. `None` for anything else and for more
/// than 290 years.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total_ns = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, unit_ns) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        total_ns += number * unit_ns;
        rest = &rest[letters..];
    }
    if text.is_empty() || total_ns > i64::MAX as f64 {
        return None;
    }
    Some(Duration::from_nanos(total_ns.round() as u64))
}

/// Writes a duration as Prometheus does (common/model/time.go): years, weeks and days only where nothing is left.
pub fn prometheus_text(duration: Duration) -> String {
    const ORDER: [(&str, u128, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, true),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    let mut left_ms = duration.as_millis();
    let mut text = String::new();
    for (unit, unit_ms, whole_only) in ORDER {
        if left_ms >= unit_ms && (!whole_only || left_ms.is_multiple_of(unit_ms)) {
            text.push_str(&format!("{}{unit}", left_ms / unit_ms));
            left_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a duration by Prometheus' rules (common/model/time.go): whole numbers, units `y w d h m s ms` in that order,
/// each at most once; `0` needs no unit. In milliseconds.
pub fn parse_prometheus_ms(text: &str) -> Option<i64> {
    const ORDER: [(&str, i64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(0);
    }
    if text.is_empty() {
        return None;
    }
    let mut total_ms = 0_i64;
    let mut rest = text;
    let mut units = ORDER.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let position = units.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        total_ms = number.checked_mul(units[position].1)?.checked_add(total_ms)?;
        units = &units[position + 1..];
        rest = &rest[letters..];
    }
    Some(total_ms)
}

/// For `#[serde(deserialize_with)]` on a [`Duration`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| de::Error::custom(refusal(&text)))
}

/// For `#[serde(deserialize_with)]` on an optional [`Duration`]; null is `None`.
pub fn deserialize_optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| de::Error::custom(refusal(&text)))
}

fn refusal(text: &str) -> String {
    format!("invalid duration {text:?}, want numbers with units of ns, us, ms, s, m, h, d, w, y, e.g. 1h30m")
}

/// Milliseconds as Go's `time.Duration` prints them: `1h2m3.5s`.
pub fn go_text(ms: i64) -> String {
    let ms = ms.max(0);
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let mut seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse, parse_prometheus_ms};

    /// What `model.Duration.String` of Prometheus gives.
    #[test]
    fn prometheus_text_is_its_own() {
        for (ms, want) in [
            (0, "0s"),
            (1, "1ms"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (36 * 3_600_000, "36h"),
            (15 * 86_400_000, "15d"),
            (14 * 86_400_000, "2w"),
            (365 * 86_400_000, "1y"),
        ] {
            assert_eq!(super::prometheus_text(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn go_text_is_as_go_prints_durations() {
        for (ms, want) in [
            (0, "0s"),
            (15, "15ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (60_000, "1m0s"),
            (61_250, "1m1.25s"),
            (3_600_000, "1h0m0s"),
            (90_061_007, "25h1m1.007s"),
        ] {
            assert_eq!(super::go_text(ms), want);
        }
    }

    #[test]
    fn config_durations_take_go_and_prometheus_units() {
        for (text, want) in [
            ("0", Some(Duration::ZERO)),
            ("200ms", Some(Duration::from_millis(200))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("2µs", Some(Duration::from_micros(2))),
            ("15d", Some(Duration::from_secs(15 * 86_400))),
            ("", None),
            ("5", None),
            ("s", None),
            ("1x", None),
            ("1..5s", None),
            ("-1s", None),
            ("999999y", None),
        ] {
            assert_eq!(parse(text), want, "{text:?}");
        }
    }

    #[test]
    fn prometheus_durations_are_strict() {
        for (text, want) in [
            ("5m", Some(300_000)),
            ("1w2d3h4m5s6ms", Some(604_800_000 + 2 * 86_400_000 + 3 * 3_600_000 + 4 * 60_000 + 5006)),
            ("0", Some(0)),
            ("1.5s", None),
            ("1s1m", None),
            ("1m1m", None),
            ("", None),
            ("99999999999999999y", None),
        ] {
            assert_eq!(parse_prometheus_ms(text), want, "{text:?}");
        }
    }
}

//! Numbers and durations: reading them as Prometheus does, and printing them as Go does.

/// Milliseconds of the units of a duration, in the only order in which they may be written.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Largest duration, ms: Prometheus keeps nanoseconds in 64 bits.
const DURATION_MS_MAX: i64 = i64::MAX / 1_000_000;

/// Reads a duration like `1h30m` (common/model.ParseDuration) as milliseconds; the error is Prometheus' text.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let bad = || format!("not a valid duration string: {}", super::quote::quote(text));
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(bad());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) && !unit.is_empty() {
            let (unit, text) = (super::quote::quote(unit), super::quote::quote(text));
            return Err(format!("unknown unit {unit} in duration {text}"));
        }
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(bad)?;
        total = number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(*unit_ms))
            .and_then(|ms| ms.checked_add(total))
            .filter(|ms| *ms <= DURATION_MS_MAX)
            .ok_or("duration out of range")?;
        rest = tail;
    }
    Ok(total)
}

/// Prints a duration as Prometheus does: years and weeks only where they leave no rest.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut rest = ms.unsigned_abs();
    let mut out = if ms < 0 { "-".to_owned() } else { String::new() };
    for (unit, unit_ms) in UNITS {
        let unit_ms = unit_ms.unsigned_abs();
        if matches!(unit, "y" | "w") && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        if rest / unit_ms > 0 {
            out.push_str(&format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    out
}

/// Reads a number literal: Go integers of any base, else a float; underscores between digits; `Inf` and `NaN`.
pub fn parse_number(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match lower.trim_start_matches(['+', '-']) {
        "inf" => return Some(if lower.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let plain: String = lower.chars().filter(|c| *c != '_').collect();
    if let Some(hex) = plain.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    // A leading zero means octal to Go, unless it does not parse as such.
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return i64::from_str_radix(&plain, 8).ok().map(|value| value as f64);
    }
    if plain.is_empty() || !plain.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value}")
    }
}

/// Go's `%g`: the shortest form, with an exponent below 1e-4 and from 1e21 on.
pub(crate) fn format_float_g(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || value == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return format_float(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("the e format has an exponent");
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

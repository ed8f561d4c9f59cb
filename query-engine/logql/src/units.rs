//! Durations and byte sizes as LogQL reads and prints them: Prometheus' and Go's durations, go-humanize's sizes.
//!
//! All durations are nanoseconds. Texts of errors are Go's, because they come back in `__error_details__`.

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Units of `model.ParseDuration` in Prometheus' common library, from large to small.
const PROMETHEUS_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * NS_PER_SECOND),
    ("w", 7 * 24 * 3600 * NS_PER_SECOND),
    ("d", 24 * 3600 * NS_PER_SECOND),
    ("h", 3600 * NS_PER_SECOND),
    ("m", 60 * NS_PER_SECOND),
    ("s", NS_PER_SECOND),
    ("ms", 1_000_000),
];

/// Units of Go's `time.ParseDuration`.
const GO_UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", NS_PER_SECOND),
    ("m", 60 * NS_PER_SECOND),
    ("h", 3600 * NS_PER_SECOND),
];

/// Reads a Prometheus duration such as `1h30m`: whole numbers, units from large to small, each once.
pub(crate) fn parse_prometheus_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("not a valid duration string: {text:?}");
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let mut rest = text;
    let mut total = 0u64;
    let mut units_left = &PROMETHEUS_UNITS[..];
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_bytes = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(unit_bytes);
        rest = tail;
        if unit.is_empty() {
            return Err(invalid());
        }
        if !PROMETHEUS_UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        }
        let position = units_left.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let scale = units_left[position].1;
        units_left = &units_left[position + 1..];
        total = number
            .checked_mul(scale)
            .and_then(|part| total.checked_add(part))
            .filter(|&sum| sum <= i64::MAX as u64)
            .ok_or("duration out of range")?;
    }
    Ok(total.cast_signed())
}

/// Reads a Go duration such as `-1.5h` or `300ms`.
pub(crate) fn parse_go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        let whole_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after_whole = &rest[whole_digits..];
        let fraction_digits = match after_whole.strip_prefix('.') {
            Some(fraction) => fraction.bytes().take_while(u8::is_ascii_digit).count(),
            None => 0,
        };
        if whole_digits + fraction_digits == 0 {
            return Err(invalid());
        }
        let dot = usize::from(after_whole.starts_with('.'));
        let number = &rest[..whole_digits + dot + fraction_digits];
        rest = &rest[number.len()..];
        let unit_bytes = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(unit_bytes);
        rest = tail;
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, scale)) = GO_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        let part = scaled(number, whole_digits, *scale).ok_or_else(invalid)?;
        total = total.checked_add(part).filter(|&sum| sum <= 1 << 63).ok_or_else(invalid)?;
    }
    if negative {
        return Ok(total.wrapping_neg().cast_signed());
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// `number` (`12.25`) times `scale`, the fraction cut off below one unit as Go does.
fn scaled(number: &str, whole_digits: usize, scale: u64) -> Option<u64> {
    let whole: u64 = if whole_digits == 0 { 0 } else { number[..whole_digits].parse().ok()? };
    let mut value = whole.checked_mul(scale)?;
    let fraction = number.get(whole_digits + 1..).unwrap_or("");
    // Eighteen digits are below one nanosecond of an hour; more cannot change the result.
    let kept = &fraction[..fraction.len().min(18)];
    if !kept.is_empty() {
        let digits: u64 = kept.parse().ok()?;
        let divisor = 10u128.pow(u32::try_from(kept.len()).expect("at most 18 digits were kept"));
        let part = u128::from(digits) * u128::from(scale) / divisor;
        value = value.checked_add(u64::try_from(part).ok()?)?;
    }
    Some(value)
}

/// A duration in seconds with the rounding of Go's `Duration.Seconds`.
pub(crate) fn go_seconds(ns: i64) -> f64 {
    const NS: i64 = 1_000_000_000;
    (ns / NS) as f64 + (ns % NS) as f64 / 1e9
}

/// Reads a duration literal of a query: Prometheus' units first, Go's if those do not fit.
pub(crate) fn parse_duration_literal(text: &str) -> Option<i64> {
    parse_prometheus_duration(text).or_else(|_| parse_go_duration(text)).ok()
}

/// Prints a non-negative duration as Prometheus does: `1h30m`, `90ms`, `0s`.
pub(crate) fn format_prometheus_duration(ns: i64) -> String {
    let mut milliseconds = ns / 1_000_000;
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    if milliseconds < 0 {
        text.push('-');
        milliseconds = -milliseconds;
    }
    for (position, (unit, scale)) in PROMETHEUS_UNITS.iter().enumerate() {
        let scale = (scale / 1_000_000).cast_signed();
        // Years, weeks and days are only used when they divide the whole, so that 30d does not print as 4w2d.
        if position < 3 && milliseconds % scale != 0 {
            continue;
        }
        if milliseconds >= scale {
            text.push_str(&format!("{}{unit}", milliseconds / scale));
            milliseconds %= scale;
        }
    }
    text
}

/// Prints a duration as Go's `time.Duration.String` does: `1h0m0s`, `1.5s`, `250ms`.
pub(crate) fn format_go_duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    if ns == 0 {
        return "0s".to_owned();
    }
    let fraction = |value: u64, scale: u64, unit: &str| {
        let digits = scale.ilog10() as usize;
        let whole = value / scale;
        let rest = format!("{:0digits$}", value % scale);
        match rest.trim_end_matches('0') {
            "" => format!("{whole}{unit}"),
            rest => format!("{whole}.{rest}{unit}"),
        }
    };
    let text = match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => fraction(ns, 1_000, "\u{b5}s"),
        1_000_000..NS_PER_SECOND => fraction(ns, 1_000_000, "ms"),
        _ => {
            let minutes = ns / (60 * NS_PER_SECOND);
            let seconds = fraction(ns % (60 * NS_PER_SECOND), NS_PER_SECOND, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// Names of go-humanize's `ParseBytes`, lower case.
const BYTE_UNITS: [(&str, u64); 26] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("k", 1_000),
    ("mb", 1_000_000),
    ("m", 1_000_000),
    ("gb", 1_000_000_000),
    ("g", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("t", 1_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("p", 1_000_000_000_000_000),
    ("eb", 1_000_000_000_000_000_000),
    ("e", 1_000_000_000_000_000_000),
    ("kib", 1 << 10),
    ("ki", 1 << 10),
    ("mib", 1 << 20),
    ("mi", 1 << 20),
    ("gib", 1 << 30),
    ("gi", 1 << 30),
    ("tib", 1 << 40),
    ("ti", 1 << 40),
    ("pib", 1 << 50),
    ("pi", 1 << 50),
    ("eib", 1 << 60),
    ("ei", 1 << 60),
];

/// Reads a byte size such as `1.5 KiB` or `42MB` (dustin/go-humanize `ParseBytes`).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let number_bytes =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_bytes);
    let value = parse_go_float(&number.replace(',', ""))?;
    let unit = unit.trim().to_lowercase();
    let Some((_, scale)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unhandled size name: {unit}"));
    };
    let bytes = value * *scale as f64;
    if bytes >= u64::MAX as f64 {
        return Err(format!("too large: {text}"));
    }
    Ok(bytes as u64)
}

/// Prints a byte size as Loki does (`2.5kB`); where that rounds, the exact number of bytes, so that a printed query
/// means the same as the one that was read.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let mut text = format!("{bytes}B");
    for (scale, unit) in [(1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"), (1e15, "PB")].into_iter().rev()
    {
        if bytes as f64 >= scale {
            let value = (bytes as f64 / scale * 10.0 + 0.5).floor() / 10.0;
            text = if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") };
            break;
        }
    }
    if parse_bytes(&text) == Ok(bytes) { text } else { format!("{bytes}B") }
}

/// Reads a float as Go's `strconv.ParseFloat` does (without hexadecimal floats), with its error texts.
pub(crate) fn parse_go_float(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_infinite() && text.contains(|c: char| c.is_ascii_digit()) => {
            Err(format!("strconv.ParseFloat: parsing {text:?}: value out of range"))
        }
        Ok(value) => Ok(value),
        Err(_) => Err(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests;

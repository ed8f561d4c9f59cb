//! Numbers as texts in Go's notation.

/// A finite float as `encoding/json` of Go writes it: shortest digits, with an exponent below 1e-6 and from 1e21 on.
pub(crate) fn go_float(double: f64) -> String {
    let size = double.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{double:e}");
        let exponent_sign = if size >= 1.0 { "e+" } else { "e" };
        return text.replacen('e', exponent_sign, 1);
    }
    format!("{double}")
}

/// A float as `%v` of Go writes it: shortest digits, with an exponent below 1e-4 and from 1e21 on.
pub(crate) fn go_verb_v(double: f64) -> String {
    if double.is_nan() {
        return "NaN".to_owned();
    }
    if double.is_infinite() {
        return if double > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = double.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{double:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{double}")
}

/// Reads a float as `strconv.ParseFloat` does, without its hexadecimal form and underscores.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    match bare.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        "nan" => Some(f64::NAN),
        _ if bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            text.parse().ok().filter(|double: &f64| double.is_finite())
        }
        _ => None,
    }
}

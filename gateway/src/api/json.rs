//! JSON text, appended to a buffer, with the number forms of Prometheus and Loki.
//!
//! Results have many small numbers and few keys, so they are written straight into the answer's buffer, without a tree.

use std::io::Write;

use model::Labels;

/// Whether `<`, `>` and `&` are written as escapes, as Go's encoder does by default and Loki's answers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Html {
    /// As they are.
    Plain,
    /// As `\u003c`, `\u003e`, `\u0026`.
    Escaped,
}

/// A quoted string.
pub fn string(out: &mut Vec<u8>, text: &str, html: Html) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Most texts are written as they are, and the compiler makes vectors of this test.
    let is_plain = |&byte: &u8| byte > 0x1f && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    if bytes.iter().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            b'<' if html == Html::Escaped => b"\\u003c",
            b'>' if html == Html::Escaped => b"\\u003e",
            b'&' if html == Html::Escaped => b"\\u0026",
            0..=0x1f => {
                out.extend_from_slice(&bytes[done..at]);
                done = at + 1;
                write!(out, "\\u{byte:04x}").expect("a Vec takes all that is written");
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(escape);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// A whole number.
pub fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `{"name":"value",…}`.
pub fn labels(out: &mut Vec<u8>, labels: &Labels, html: Html) {
    pairs(out, labels.iter(), html);
}

/// An object of texts.
pub fn pairs<'a>(out: &mut Vec<u8>, pairs: impl IntoIterator<Item = (&'a str, &'a str)>, html: Html) {
    out.push(b'{');
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, name, html);
        out.push(b':');
        string(out, value, html);
    }
    out.push(b'}');
}

/// `["a","b"]`.
pub fn strings<'a>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a str>, html: Html) {
    out.push(b'[');
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, text, html);
    }
    out.push(b']');
}

/// A sample's value without quotes: shortest digits, `e` notation below 1e-6 and from 1e21 on (util/jsonutil
/// MarshalFloat in Prometheus).
pub fn float(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) && value.is_finite() {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').expect("the `e` format has an exponent");
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        write!(out, "{mantissa}e{sign}{digits:0>2}").expect("a Vec takes all that is written");
    } else {
        plain_float(out, value);
    }
}

/// A sample's value without quotes, never in `e` notation, as Loki writes it (`strconv.FormatFloat(v, 'f', -1, 64)`).
pub fn plain_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.fract() == 0.0 && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
        // Most values are whole numbers, for which this is several times as fast.
        integer(out, value as i64);
    } else {
        write!(out, "{value}").expect("a Vec takes all that is written");
    }
}

/// A timestamp in seconds: whole, or with exactly three decimals (MarshalTimestamp in Prometheus).
pub fn timestamp(out: &mut Vec<u8>, timestamp_ms: i64) {
    let magnitude = timestamp_ms.unsigned_abs();
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    integer(out, magnitude / 1000);
    if !magnitude.is_multiple_of(1000) {
        write!(out, ".{:03}", magnitude % 1000).expect("a Vec takes all that is written");
    }
}

/// A timestamp in seconds with as many decimals as it needs (`model.Time` in common/model, which Loki uses).
pub fn short_timestamp(out: &mut Vec<u8>, timestamp_ms: i64) {
    timestamp(out, timestamp_ms);
    if timestamp_ms % 1000 != 0 {
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Html, float, plain_float, short_timestamp, string, timestamp};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn floats_have_the_forms_of_prometheus() {
        for (value, want, plain) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-42.0, "-42", "-42"),
            (0.1, "0.1", "0.1"),
            (1e-6, "0.000001", "0.000001"),
            (1e-7, "1e-07", "0.0000001"),
            (1.5e21, "1.5e+21", "1500000000000000000000"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1e100, "1e+100", &format!("1{}", "0".repeat(100))),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (5e-324, "5e-324", &format!("0.{}5", "0".repeat(323))),
        ] {
            assert_eq!(text(|out| float(out, value)), want);
            assert_eq!(text(|out| plain_float(out, value)), plain);
        }
    }

    #[test]
    fn timestamps_have_the_forms_of_prometheus_and_loki() {
        for (ms, prometheus, loki) in [
            (0, "0", "0"),
            (1_000, "1", "1"),
            (1_500, "1.500", "1.5"),
            (1_001, "1.001", "1.001"),
            (-1, "-0.001", "-0.001"),
            (-1_500, "-1.500", "-1.5"),
        ] {
            assert_eq!(text(|out| timestamp(out, ms)), prometheus);
            assert_eq!(text(|out| short_timestamp(out, ms)), loki);
        }
    }

    #[test]
    fn strings_are_escaped() {
        let raw = "a\"b\\c\nd\u{1}<é>&";
        assert_eq!(text(|out| string(out, raw, Html::Plain)), r#""a\"b\\c\nd\u0001<é>&""#);
        assert_eq!(text(|out| string(out, raw, Html::Escaped)), r#""a\"b\\c\nd\u0001\u003cé\u003e\u0026""#);
    }
}

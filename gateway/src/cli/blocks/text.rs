//! Labels and samples as `promtool tsdb dump` prints them, which is as Go prints them.

use std::fmt::Write;

use model::{Bucket, FloatHistogram, Labels, NativeHistogram};
use tsdb::block::ChunkSample;

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// `{__name__="up", job="x"}`; names that are no plain ones are quoted.
pub(super) fn labels(labels: &Labels) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            text.push_str(name);
        } else {
            quote(&mut text, name);
        }
        text.push('=');
        quote(&mut text, value);
    }
    text.push('}');
    text
}

/// As `strconv.Quote` does it.
fn quote(out: &mut String, text: &str) {
    let all = "a String takes all that is written";
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)).expect(all),
            // What Rust does not print as it is, Go does not either.
            _ if c.escape_debug().count() > 1 && c != '\'' => match u32::from(c) {
                code @ ..=0xffff => write!(out, "\\u{code:04x}").expect(all),
                code => write!(out, "\\U{code:08x}").expect(all),
            },
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// A value.
pub(super) fn sample(sample: &ChunkSample) -> String {
    match sample {
        ChunkSample::Float(value) => float(*value),
        ChunkSample::Histogram(NativeHistogram::Float(value)) => histogram(value, float),
        ChunkSample::Histogram(NativeHistogram::Integer(value)) => {
            // Counts are whole numbers and printed as such; those over 2^53 are rounded.
            histogram(&value.to_float(), |count| format!("{count}"))
        }
    }
}

/// `{count:3, sum:5, [-1,1]:1, (1,2]:2}`, buckets without observations left out.
fn histogram(value: &FloatHistogram, count: impl Fn(f64) -> String) -> String {
    let mut text = format!("{{count:{}, sum:{}", count(value.count), float(value.sum));
    let negative: Vec<Bucket> = value.negative_buckets().filter(|bucket| bucket.count != 0.0).collect();
    let zero = (value.zero_count != 0.0).then(|| value.zero_bucket());
    let positive = value.positive_buckets().filter(|bucket| bucket.count != 0.0);
    for bucket in negative.into_iter().rev().chain(zero).chain(positive) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (float(bucket.lower), float(bucket.upper));
        write!(text, ", {open}{lower},{upper}{close}:{}", count(bucket.count))
            .expect("a String takes all that is written");
    }
    text.push('}');
    text
}

/// As `%g` prints it: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("the e format has an exponent");
    let power: i32 = exponent.parse().expect("it is a number");
    if (-4..6).contains(&power) {
        return value.to_string();
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.abs())
}

#[cfg(test)]
mod tests {
    use super::{float, labels};
    use model::Labels;

    #[test]
    fn floats_are_those_of_go() {
        // What fmt.Printf("%g") of Go 1.26 prints.
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (100_000.0, "100000"),
            (123_456.5, "123456.5"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1_700_006_400.5, "1.7000064005e+09"),
            (1e20, "1e+20"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn labels_are_quoted_as_go_does() {
        let pairs = [("__name__", "up"), ("a.b", "x\"y\\z\n\u{1}"), ("é", "ü'\u{200b}")];
        let expected = r#"{__name__="up", "a.b"="x\"y\\z\n\x01", "é"="ü'\u200b"}"#;
        assert_eq!(labels(&Labels::from_pairs(pairs)), expected);
    }
}

//! Converters of texts.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::convert::to_hex;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::number_format::go_verb_v;
use crate::value::{ELEMENTS_MAX, VALUE_BYTES_MAX, Value, check_count, too_large};

pub(super) const TABLE: &[Function] = &[
    converter("Concat", &[need("vals", Kind::TextLikes), need("delimiter", Kind::Text)], concat),
    converter(
        "ConvertCase",
        &[need("target", Kind::Text), need("to_case", Kind::LiteralText)],
        |args, frame| {
            let text = args.text(0, frame)?;
            Ok(Value::text(match args.literal_text(1) {
                Some("lower") => lower(&text),
                Some("upper") => upper(&text),
                Some("snake") => snake(&text),
                _ => camel(&text),
            }))
        },
    )
    .prepared(|args| match args.literal_text(1) {
        Some("lower" | "upper" | "snake" | "camel") => Ok(Prepared::Nothing),
        other => Err(format!(
            "invalid case: {}, allowed cases are: lower, upper, snake, camel",
            other.unwrap_or_default()
        )),
    }),
    converter("ToLowerCase", &[need("target", Kind::Text)], |args, frame| {
        Ok(Value::text(lower(&args.text(0, frame)?)))
    }),
    converter("ToUpperCase", &[need("target", Kind::Text)], |args, frame| {
        Ok(Value::text(upper(&args.text(0, frame)?)))
    }),
    converter("ToSnakeCase", &[need("target", Kind::Text)], |args, frame| {
        Ok(Value::text(snake(&args.text(0, frame)?)))
    }),
    converter("ToCamelCase", &[need("target", Kind::Text)], |args, frame| {
        Ok(Value::text(camel(&args.text(0, frame)?)))
    }),
    converter("HasPrefix", &[need("target", Kind::Text), need("prefix", Kind::Text)], |args, frame| {
        Ok(Value::Bool(args.text(0, frame)?.starts_with(&*args.text(1, frame)?)))
    }),
    converter("HasSuffix", &[need("target", Kind::Text), need("suffix", Kind::Text)], |args, frame| {
        Ok(Value::Bool(args.text(0, frame)?.ends_with(&*args.text(1, frame)?)))
    }),
    converter("Trim", &[need("target", Kind::Text), may("replacement", Kind::LiteralText)], |args, frame| {
        let cut = args.literal_text(1).unwrap_or(" ");
        Ok(Value::text(args.text(0, frame)?.trim_matches(|c| cut.contains(c))))
    }),
    converter("TrimPrefix", &[need("target", Kind::Text), need("prefix", Kind::Text)], |args, frame| {
        let (text, prefix) = (args.text(0, frame)?, args.text(1, frame)?);
        Ok(Value::text(text.strip_prefix(&*prefix).unwrap_or(&text)))
    }),
    converter("TrimSuffix", &[need("target", Kind::Text), need("suffix", Kind::Text)], |args, frame| {
        let (text, suffix) = (args.text(0, frame)?, args.text(1, frame)?);
        Ok(Value::text(text.strip_suffix(&*suffix).unwrap_or(&text)))
    }),
    converter("Split", &[need("target", Kind::Text), need("delimiter", Kind::Text)], |args, frame| {
        let (text, delimiter) = (args.text(0, frame)?, args.text(1, frame)?);
        // One more than there may be tells that there are too many.
        let parts: Vec<&str> = match delimiter.is_empty() {
            true => text.split("").filter(|part| !part.is_empty()).take(ELEMENTS_MAX + 1).collect(),
            false => text.split(&*delimiter).take(ELEMENTS_MAX + 1).collect(),
        };
        check_count(parts.len())?;
        Ok(Value::List(parts.into_iter().map(Value::text).collect()))
    }),
    converter(
        "Substring",
        &[
            need("target", Kind::Text),
            need("start", Kind::Int),
            need("length", Kind::Int),
            may("utf8_safe", Kind::LiteralBool),
        ],
        substring,
    ),
    converter("Format", &[need("format", Kind::LiteralText), need("vals", Kind::Values)], |args, frame| {
        let mut values = Vec::new();
        for arg in args.elements(1) {
            values.push(arg.value(frame)?);
        }
        sprintf(args.literal_text(0).unwrap_or_default(), &values).map(Value::text)
    }),
    converter("Base64Decode", &[need("target", Kind::Text)], |args, frame| {
        decoded(&STANDARD_STRICT, args.text(0, frame)?.as_bytes())
    }),
    converter("Base64Encode", &[need("target", Kind::Text), may("variant", Kind::Text)], |args, frame| {
        let text = args.text(0, frame)?;
        let variant = if args.is_given(1) { args.text(1, frame)? } else { "base64".into() };
        let engine = match &*variant {
            "base64" => STANDARD,
            "base64-raw" => STANDARD_NO_PAD,
            "base64-url" => URL_SAFE,
            "base64-raw-url" => URL_SAFE_NO_PAD,
            other => return Err(RunError::new(format!("unsupported base64 variant: {other}"))),
        };
        Ok(Value::text(engine.encode(text.as_bytes())))
    }),
    converter("Decode", &[need("target", Kind::Value), need("encoding", Kind::Text)], decode).prepared(
        |args| match args.literal_text(1) {
            Some(name) if !is_encoding(name) => {
                Err(format!("the encoding {name:?} is not supported; have {}", ENCODINGS.join(", ")))
            }
            _ => Ok(Prepared::Nothing),
        },
    ),
    converter("Hex", &[need("target", Kind::BytesLike)], |args, frame| {
        let bytes = args.value(0, frame)?.into_bytes_like()?.unwrap_or_default();
        Ok(Value::text(to_hex(&bytes)))
    }),
];

/// Go's decoder takes no unused bits for granted.
const STANDARD_STRICT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
const URL_LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
const NO_PAD: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
const STANDARD_RAW: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, NO_PAD);
const URL_RAW: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD);

fn decoded<'p>(engine: &GeneralPurpose, text: &[u8]) -> Eval<Value<'p>> {
    let plain: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let bytes =
        engine.decode(plain).map_err(|error| RunError::new(format!("illegal base64 data: {error}")))?;
    Ok(Value::text(String::from_utf8_lossy(&bytes).into_owned()))
}

const ENCODINGS: [&str; 9] =
    ["base64", "base64-raw", "base64-url", "base64-raw-url", "utf-8", "utf8", "ascii", "us-ascii", "nop"];

fn is_encoding(name: &str) -> bool {
    ENCODINGS.contains(&name.to_lowercase().as_str())
}

fn decode<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let bytes = match args.value(0, frame)? {
        Value::Bytes(bytes) => bytes.into_owned(),
        Value::Text(text) => text.into_owned().into_bytes(),
        other => {
            return Err(RunError::new(format!(
                "unsupported type provided to Decode function: {}",
                other.type_name()
            )));
        }
    };
    match &*args.text(1, frame)?.to_lowercase() {
        "base64" => decoded(&STANDARD_STRICT, &bytes),
        "base64-raw" => decoded(&STANDARD_RAW, &bytes),
        "base64-url" => decoded(&URL_LENIENT, &bytes),
        "base64-raw-url" => decoded(&URL_RAW, &bytes),
        "ascii" | "us-ascii" => {
            let one = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' };
            Ok(Value::text(bytes.iter().map(one).collect::<String>()))
        }
        name if is_encoding(name) => Ok(Value::text(String::from_utf8_lossy(&bytes).into_owned())),
        other => Err(RunError::new(format!("the encoding {other:?} is not supported"))),
    }
}

fn concat<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let delimiter = args.text(1, frame)?;
    let mut out = String::new();
    for (index, arg) in args.elements(0).iter().enumerate() {
        if index > 0 {
            out.push_str(&delimiter);
        }
        match arg.value(frame)?.into_text_like()? {
            Some(text) => out.push_str(&text),
            None => out.push_str("<nil>"),
        }
        if out.len() > VALUE_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(Value::text(out))
}

fn substring<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let start = args.int(1, frame)?;
    if start < 0 {
        let message = format!("invalid start for substring function, {start} cannot be negative");
        return Err(RunError::new(message));
    }
    let length = args.int(2, frame)?;
    if length <= 0 {
        let message = format!("invalid length for substring function, {length} cannot be negative or zero");
        return Err(RunError::new(message));
    }
    let text = args.text(0, frame)?;
    let len = text.len() as i64;
    if start > len || length > len - start {
        return Err(RunError::new(format!(
            "invalid range for substring function, start({start})+length({length}) cannot be greater than the length \
             of target string({len})"
        )));
    }
    let (mut start, mut end) = (start as usize, (start + length) as usize);
    if args.literal_bool(3) == Some(true) {
        start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0).max(start);
    }
    // Half a character has no form in a text.
    Ok(Value::text(String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()))
}

/// Upper case character by character, as Go maps it: what has no single upper-case character stays.
fn upper(text: &str) -> String {
    let single = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(upper), None) => upper,
            _ => c,
        }
    };
    text.chars().map(single).collect()
}

/// Lower case character by character, as Go maps it.
fn lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// `strcase.ToSnake` of github.com/iancoleman/strcase.
fn snake(text: &str) -> String {
    let bytes = text.trim().as_bytes();
    let is_cap = |b: u8| b.is_ascii_uppercase();
    let is_low = |b: u8| b.is_ascii_lowercase();
    let is_num = |b: u8| b.is_ascii_digit();
    let mut out = Vec::with_capacity(bytes.len() + 4);
    for (index, &byte) in bytes.iter().enumerate() {
        let lower = byte.to_ascii_lowercase();
        if let Some(&next) = bytes.get(index + 1) {
            let changes = (is_cap(byte) && (is_low(next) || is_num(next)))
                || (is_low(byte) && (is_cap(next) || is_num(next)))
                || (is_num(byte) && (is_cap(next) || is_low(next)));
            if changes {
                if is_cap(byte) && is_low(next) && index > 0 && is_cap(bytes[index - 1]) {
                    out.push(b'_');
                }
                out.push(lower);
                if is_low(byte) || is_num(byte) || is_num(next) {
                    out.push(b'_');
                }
                continue;
            }
        }
        out.push(if matches!(lower, b' ' | b'_' | b'-' | b'.') { b'_' } else { lower });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `strcase.ToCamel` of github.com/iancoleman/strcase.
fn camel(text: &str) -> String {
    let text = if text == "ID" { "Id" } else { text };
    let mut out = String::with_capacity(text.len());
    let (mut starts_word, mut was_cap) = (true, false);
    for byte in text.trim().bytes() {
        let is_cap = byte.is_ascii_uppercase();
        let letter = match byte {
            byte if starts_word => byte.to_ascii_uppercase(),
            byte if was_cap && is_cap => byte.to_ascii_lowercase(),
            byte => byte,
        };
        was_cap = is_cap;
        if letter.is_ascii_alphabetic() {
            out.push(char::from(letter));
            starts_word = false;
        } else if letter.is_ascii_digit() {
            out.push(char::from(letter));
            starts_word = true;
        } else {
            starts_word = matches!(letter, b'_' | b' ' | b'-' | b'.');
        }
    }
    out
}

/// `fmt.Sprintf` of Go with the verbs that values have: `%s %d %v %f %g %e %x %X %q %t %%`, flags `-`, `+`, `0`, width and
/// precision.
fn sprintf(format: &str, values: &[Value<'_>]) -> Eval<String> {
    /// Widths and precisions are capped, as a format comes from a config and runs for every record.
    const WIDTH_MAX: usize = 1000;
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            flags.push(flag);
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits.parse::<usize>().ok().map(|number| number.min(WIDTH_MAX))
        };
        let width = number(&mut chars);
        let precision = chars.next_if_eq(&'.').map(|_| number(&mut chars).unwrap_or(0));
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let text = verb_text(verb, &flags, precision, value)?;
        pad(&mut out, &text, width.unwrap_or(0), &flags, value);
    }
    let rest: Vec<String> = values
        .map(|value| Ok(format!("{}={}", value.type_name(), verb_text('v', "", None, value)?)))
        .collect::<Eval<_>>()?;
    if !rest.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
    Ok(out)
}

fn pad(out: &mut String, text: &str, width: usize, flags: &str, value: &Value<'_>) {
    let missing = width.saturating_sub(text.chars().count());
    if flags.contains('-') {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if flags.contains('0') && matches!(value, Value::Int(_) | Value::Double(_)) {
        let (sign, digits) = match text.strip_prefix(['-', '+']) {
            Some(digits) => (&text[..1], digits),
            None => ("", text),
        };
        out.push_str(sign);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(digits);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(text);
    }
}

fn verb_text(verb: char, flags: &str, precision: Option<usize>, value: &Value<'_>) -> Eval<String> {
    let bad = || -> Eval<String> {
        if value.is_nil() {
            return Ok(format!("%!{verb}(<nil>)"));
        }
        Ok(format!("%!{verb}({}={})", value.type_name(), verb_text('v', "", None, value)?))
    };
    let plus = |text: String, is_negative: bool| {
        if flags.contains('+') && !is_negative { format!("+{text}") } else { text }
    };
    Ok(match (verb, value) {
        ('v' | 's', Value::Text(text)) => match precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.clone().into_owned(),
        },
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('x', Value::Text(text)) => to_hex(text.as_bytes()),
        ('x', Value::Bytes(bytes)) => to_hex(bytes),
        ('X', Value::Text(text)) => to_hex(text.as_bytes()).to_uppercase(),
        ('v' | 'd', Value::Int(int) | Value::Duration(int)) => plus(int.to_string(), *int < 0),
        ('x', Value::Int(int)) => hex_int(*int),
        ('X', Value::Int(int)) => hex_int(*int).to_uppercase(),
        ('b', Value::Int(int)) => format!("{int:b}"),
        ('o', Value::Int(int)) => format!("{int:o}"),
        ('f' | 'F', Value::Double(double)) if double.is_finite() => {
            plus(format!("{double:.*}", precision.unwrap_or(6)), *double < 0.0)
        }
        ('e', Value::Double(double)) if double.is_finite() => {
            let text = format!("{double:.*e}", precision.unwrap_or(6));
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            plus(format!("{digits}e{sign}{:02}", exponent.abs()), *double < 0.0)
        }
        ('v' | 'g' | 'f' | 'F' | 'e', Value::Double(double)) => plus(go_verb_v(*double), *double < 0.0),
        ('v' | 't', Value::Bool(flag)) => flag.to_string(),
        ('v', Value::Nil) => "<nil>".to_owned(),
        ('v', Value::List(list)) => {
            let texts: Vec<String> =
                list.iter().map(|v| verb_text('v', "", None, &v.resolved()?)).collect::<Eval<_>>()?;
            format!("[{}]", texts.join(" "))
        }
        ('v', Value::Raw(_)) => verb_text('v', flags, precision, &value.resolved()?)?,
        ('v' | 's', Value::Map(_) | Value::Bytes(_)) => value.as_text()?,
        ('s' | 'v', Value::TraceId(id)) => to_hex(id),
        ('s' | 'v', Value::SpanId(id)) => to_hex(id),
        ('s' | 'v', Value::Time(time)) => time.rfc3339(),
        _ => return bad(),
    })
}

fn hex_int(int: i64) -> String {
    if int < 0 { format!("-{:x}", int.unsigned_abs()) } else { format!("{int:x}") }
}

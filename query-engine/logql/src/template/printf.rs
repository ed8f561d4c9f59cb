//! `printf` as Go's `fmt.Sprintf` does it, for the types that templates know.

use super::Value;
use super::execute::OUTPUT_BYTES_MAX;
use super::value::{format_float, go_exponent};

/// Most digits of a float after its point. The exact value of none has more than 1074, and std panics past 65,535.
const FLOAT_PRECISION_MAX: usize = 1000;

/// Flags, width and precision of a verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats `arguments`; a wrong verb or count is shown in the text, as in Go.
pub(super) fn format(format: &str, arguments: &[Value<'_>]) -> Result<String, String> {
    let mut out = String::with_capacity(format.len() + 16);
    let mut rest = format;
    let mut next = arguments.iter();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let spec = spec(&mut rest, &mut next)?;
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            return Ok(out);
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let is_float = matches!(verb, 'e' | 'f' | 'F' | 'g');
        if let Some(precision) = spec.precision.filter(|&digits| is_float && digits > FLOAT_PRECISION_MAX) {
            return Err(format!("precision {precision} is over {FLOAT_PRECISION_MAX}"));
        }
        match next.next() {
            Some(value) => pad(&mut out, &one(verb, &spec, value), &spec, value),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("the result would be longer than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    out.push_str(rest);
    let extra = next.len();
    for (position, value) in next.enumerate() {
        out.push_str(if position == 0 { "%!(EXTRA " } else { ", " });
        out.push_str(value.type_name());
        out.push('=');
        value.print_inner(&mut out);
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("the result would be longer than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    if extra > 0 {
        out.push(')');
    }
    Ok(out)
}

fn spec<'v, 'a: 'v>(rest: &mut &str, next: &mut impl Iterator<Item = &'v Value<'a>>) -> Result<Spec, String> {
    let mut spec = Spec::default();
    loop {
        match rest.as_bytes().first() {
            Some(b'-') => spec.minus = true,
            Some(b'+') => spec.plus = true,
            Some(b'0') => spec.zero = true,
            Some(b' ') => spec.space = true,
            Some(b'#') => spec.sharp = true,
            _ => break,
        }
        *rest = &rest[1..];
    }
    spec.width = number(rest, next)?.unwrap_or(0);
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        spec.precision = Some(number(rest, next)?.unwrap_or(0));
    }
    Ok(spec)
}

/// A width or precision: digits, or `*` for the next argument.
fn number<'v, 'a: 'v>(
    rest: &mut &str,
    next: &mut impl Iterator<Item = &'v Value<'a>>,
) -> Result<Option<usize>, String> {
    const MAX: usize = 1 << 16;
    let value = if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        match next.next() {
            Some(Value::Int(value)) => usize::try_from(*value).ok(),
            _ => return Err("bad width or precision".to_owned()),
        }
    } else {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value = rest[..digits].parse().ok();
        *rest = &rest[digits..];
        value
    };
    match value {
        Some(value) if value > MAX => Err(format!("width {value} is over {MAX}")),
        value => Ok(value),
    }
}

/// One value without padding.
fn one(verb: char, spec: &Spec, value: &Value<'_>) -> String {
    let wrong = || format!("%!{verb}({}={})", value.type_name(), value.to_text());
    match (verb, value) {
        ('v', Value::Int(number)) => signed(number.to_string(), *number >= 0, spec),
        ('v', Value::Float(number)) => signed(format_float(*number), *number >= 0.0, spec),
        ('v', value) => truncated(&value.to_text(), spec),
        ('T', value) => value.type_name().to_owned(),
        ('s', Value::Text(text)) => truncated(text, spec),
        ('s', Value::Time(time)) => time.to_string(),
        ('q', Value::Text(text)) => crate::syntax::quoted(&truncated(text, spec)),
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('d', Value::Int(number)) => signed(number.to_string(), *number >= 0, spec),
        ('x' | 'X' | 'o' | 'b', Value::Int(number)) => signed(radix(verb, *number, spec), *number >= 0, spec),
        ('c', Value::Int(number)) => {
            u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
        }
        ('f' | 'F', Value::Float(number)) => {
            signed(format!("{number:.*}", spec.precision.unwrap_or(6)), *number >= 0.0, spec)
        }
        ('e', Value::Float(number)) => {
            signed(go_exponent(&format!("{number:.*e}", spec.precision.unwrap_or(6))), *number >= 0.0, spec)
        }
        ('g', Value::Float(number)) => match spec.precision {
            None => signed(format_float(*number), *number >= 0.0, spec),
            Some(precision) => signed(general(*number, precision.max(1)), *number >= 0.0, spec),
        },
        _ => wrong(),
    }
}

fn truncated(text: &str, spec: &Spec) -> String {
    match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    }
}

fn signed(text: String, positive: bool, spec: &Spec) -> String {
    match (positive, spec.plus, spec.space) {
        (true, true, _) => format!("+{text}"),
        (true, false, true) => format!(" {text}"),
        _ => text,
    }
}

fn radix(verb: char, number: i64, spec: &Spec) -> String {
    let magnitude = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'o' => ("0", format!("{magnitude:o}")),
        _ => ("0b", format!("{magnitude:b}")),
    };
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}{digits}", if spec.sharp { prefix } else { "" })
}

/// `%.3g`: so many significant digits, with an exponent when it is short of -4 or reaches the precision.
fn general(number: f64, precision: usize) -> String {
    let scientific = format!("{number:.*e}", precision - 1);
    let exponent: i32 =
        scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return go_exponent(&format!("{}e{exponent}", trim(digits)));
    }
    let decimals = usize::try_from(i32::try_from(precision).unwrap_or(i32::MAX) - 1 - exponent).unwrap_or(0);
    trim(&format!("{number:.decimals$}"))
}

fn pad(out: &mut String, text: &str, spec: &Spec, value: &Value<'_>) {
    let missing = spec.width.saturating_sub(text.chars().count());
    let numeric = matches!(value, Value::Int(_) | Value::Float(_));
    if spec.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if spec.zero && (numeric || matches!(value, Value::Text(_))) {
        let sign = if numeric && text.starts_with(['+', '-']) { &text[..1] } else { "" };
        out.push_str(sign);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(&text[sign.len()..]);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(text);
    }
}

//! Functions on texts.

use regex::Regex;

use super::{Arguments, Outcome, checked_size, from_json, int, one, text, three, two};
use crate::template::Value;
use crate::template::patterns::Patterns;

/// Calls a function on texts; `None` when there is none of this name.
pub(super) fn call<'a>(name: &str, arguments: Arguments<'_, 'a>, patterns: &Patterns) -> Option<Outcome<'a>> {
    Some(match name {
        "ToLower" | "lower" => map(arguments, |text| Ok(text.to_lowercase())),
        "ToUpper" | "upper" => map(arguments, |text| Ok(text.to_uppercase())),
        "TrimSpace" | "trim" => map(arguments, |text| Ok(text.trim().to_owned())),
        "title" => map(arguments, |text| Ok(title(text))),
        "b64enc" => map(arguments, |text| Ok(base64::encode(text.as_bytes()))),
        "b64dec" => map(arguments, |text| {
            Ok(match base64::decode(text) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(position) => format!("illegal base64 data at input byte {position}"),
            })
        }),
        "urlencode" => map(arguments, |text| Ok(query_escape(text))),
        "urldecode" => map(arguments, query_unescape),
        "Replace" => replace_count(arguments),
        // The old functions take the text first, those of sprig take it last.
        "Trim" => map_two(arguments, |text, set| Ok(text.trim_matches(|c| set.contains(c)).to_owned())),
        "TrimLeft" => {
            map_two(arguments, |text, set| Ok(text.trim_start_matches(|c| set.contains(c)).to_owned()))
        }
        "TrimRight" => {
            map_two(arguments, |text, set| Ok(text.trim_end_matches(|c| set.contains(c)).to_owned()))
        }
        "TrimPrefix" => {
            map_two(arguments, |text, prefix| Ok(text.strip_prefix(prefix).unwrap_or(text).to_owned()))
        }
        "TrimSuffix" => {
            map_two(arguments, |text, suffix| Ok(text.strip_suffix(suffix).unwrap_or(text).to_owned()))
        }
        "trimAll" => map_two(arguments, |set, text| Ok(text.trim_matches(|c| set.contains(c)).to_owned())),
        "trimPrefix" => {
            map_two(arguments, |prefix, text| Ok(text.strip_prefix(prefix).unwrap_or(text).to_owned()))
        }
        "trimSuffix" => {
            map_two(arguments, |suffix, text| Ok(text.strip_suffix(suffix).unwrap_or(text).to_owned()))
        }
        "contains" => test(arguments, |part, text| text.contains(part)),
        "hasPrefix" => test(arguments, |part, text| text.starts_with(part)),
        "hasSuffix" => test(arguments, |part, text| text.ends_with(part)),
        "replace" => map_three(arguments, |old, new, source| {
            checked_size(source.len().saturating_mul(new.len() + 1))?;
            Ok(source.replace(old, new))
        }),
        "regexReplaceAll" => map_three(arguments, |pattern, source, replacement| {
            patterns.with(pattern, |regex| replace_matches(regex, source, replacement, true))
        }),
        "regexReplaceAllLiteral" => map_three(arguments, |pattern, source, replacement| {
            patterns.with(pattern, |regex| replace_matches(regex, source, replacement, false))
        }),
        "count" => two(arguments).and_then(|(pattern, source)| {
            let source = text(source);
            patterns.with(text(pattern)?, |regex| Ok(Value::Int(regex.find_iter(source?).count() as i64)))
        }),
        "fromJson" => one(arguments)
            .and_then(|value| Ok(serde_json::from_str(text(value)?).map_or(Value::Nil, from_json))),
        "default" => two(arguments)
            .map(|(default, given)| if given.is_true() { given.clone() } else { default.clone() }),
        _ => return call_sized(name, arguments),
    })
}

/// Calls a function of a text and of how much of it there is to be.
fn call_sized<'a>(name: &str, arguments: Arguments<'_, 'a>) -> Option<Outcome<'a>> {
    Some(match name {
        "trunc" => sized(arguments, trunc),
        "repeat" => sized(arguments, |count, text| {
            let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())?;
            checked_size(text.len().saturating_mul(count))?;
            Ok(text.repeat(count))
        }),
        "indent" => sized(arguments, indent),
        "nindent" => sized(arguments, |count, text| Ok(format!("\n{}", indent(count, text)?))),
        "alignLeft" => sized(arguments, |count, text| align(count, text, true)),
        "alignRight" => sized(arguments, |count, text| align(count, text, false)),
        "substr" => three(arguments)
            .and_then(|[start, end, source]| substr(int(start)?, int(end)?, text(source)?).map(Value::text)),
        _ => return None,
    })
}

/// `strings.Replace(text, old, new, n)`
fn replace_count<'a>(arguments: Arguments<'_, 'a>) -> Outcome<'a> {
    let [source, old, new, count] = arguments else {
        return Err(format!("wrong number of args for Replace: want 4 got {}", arguments.len()));
    };
    let (source, old, new, count) = (text(source)?, text(old)?, text(new)?, int(count)?);
    checked_size(source.len().saturating_mul(new.len() + 1))?;
    Ok(Value::text(match usize::try_from(count) {
        Ok(count) => source.replacen(old, new, count),
        Err(_) => source.replace(old, new),
    }))
}

/// Every match replaced, where `expands` with what `$1` and `${name}` in the replacement stand for.
fn replace_matches(regex: &Regex, source: &str, replacement: &str, expands: bool) -> Result<String, String> {
    let references = if expands { replacement.matches('$').count() } else { 0 };
    let (mut out, mut end) = (String::new(), 0);
    for captures in regex.captures_iter(source) {
        let whole = captures.get_match();
        // No group is longer than the match.
        let added = replacement.len().saturating_add(references.saturating_mul(whole.len()));
        checked_size(out.len().saturating_add(whole.start() - end).saturating_add(added))?;
        out.push_str(&source[end..whole.start()]);
        if expands {
            captures.expand(replacement, &mut out);
        } else {
            out.push_str(replacement);
        }
        end = whole.end();
    }
    out.push_str(&source[end..]);
    Ok(out)
}

fn map<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(&str) -> Result<String, String>) -> Outcome<'a> {
    f(text(one(arguments)?)?).map(Value::text)
}

fn map_two<'a>(
    arguments: Arguments<'_, 'a>,
    f: impl Fn(&str, &str) -> Result<String, String>,
) -> Outcome<'a> {
    let (a, b) = two(arguments)?;
    f(text(a)?, text(b)?).map(Value::text)
}

fn map_three<'a>(
    arguments: Arguments<'_, 'a>,
    f: impl Fn(&str, &str, &str) -> Result<String, String>,
) -> Outcome<'a> {
    let [a, b, c] = three(arguments)?;
    f(text(a)?, text(b)?, text(c)?).map(Value::text)
}

fn test<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(&str, &str) -> bool) -> Outcome<'a> {
    let (part, whole) = two(arguments)?;
    Ok(Value::Bool(f(text(part)?, text(whole)?)))
}

/// A function of a number and a text.
fn sized<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(i64, &str) -> Result<String, String>) -> Outcome<'a> {
    let (count, source) = two(arguments)?;
    f(int(count)?, text(source)?).map(Value::text)
}

/// `strings.Title`: the first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let in_word = before == '_' || before == '\'' || before.is_alphanumeric();
        if in_word {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        before = c;
    }
    out
}

/// Bytes, as in sprig; a cut character becomes U+FFFD.
fn bytes_of(text: &str, start: usize, end: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()
}

fn trunc(count: i64, text: &str) -> Result<String, String> {
    let length = text.len() as i64;
    Ok(if count < 0 && length + count > 0 {
        bytes_of(text, (length + count) as usize, text.len())
    } else if count >= 0 && length > count {
        bytes_of(text, 0, count as usize)
    } else {
        text.to_owned()
    })
}

fn substr(start: i64, end: i64, text: &str) -> Result<String, String> {
    let length = text.len() as i64;
    let (from, to) = if start < 0 {
        (0, end)
    } else if end < 0 || end > length {
        (start, length)
    } else {
        (start, end)
    };
    if from > to || to > length || to < 0 {
        return Err(format!("slice bounds out of range [{from}:{to}] with length {length}"));
    }
    Ok(bytes_of(text, from as usize, to as usize))
}

fn indent(count: i64, text: &str) -> Result<String, String> {
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())?;
    let lines = text.matches('\n').count() + 1;
    checked_size(text.len().saturating_add(lines.saturating_mul(count)))?;
    let pad = " ".repeat(count);
    Ok(format!("{pad}{}", text.replace('\n', &format!("\n{pad}"))))
}

fn align(count: i64, text: &str, left: bool) -> Result<String, String> {
    let length = text.chars().count();
    let Ok(count) = usize::try_from(count) else { return Ok(text.to_owned()) };
    if count > length {
        checked_size(text.len().saturating_add(count - length))?;
        let pad = " ".repeat(count - length);
        return Ok(if left { format!("{text}{pad}") } else { format!("{pad}{text}") });
    }
    Ok(if left { text.chars().take(count).collect() } else { text.chars().skip(length - count).collect() })
}

/// `url.QueryEscape`
pub(super) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `url.QueryUnescape`
fn query_unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(value) = value else {
                    let shown = String::from_utf8_lossy(&after[..after.len().min(2)]);
                    return Err(format!("invalid URL escape \"%{shown}\""));
                };
                out.push(value);
                rest = &after[2..];
            }
            byte => out.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Standard base64 with padding.
mod base64 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for position in 0..4 {
                let index = group >> (18 - 6 * position) & 63;
                out.push(if position <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
            }
        }
        out
    }

    /// The bytes, or the position of the first that is wrong.
    pub(super) fn decode(text: &str) -> Result<Vec<u8>, usize> {
        let digits = text.trim_end_matches('=').as_bytes();
        if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
            return Err(text.len());
        }
        let mut out = Vec::with_capacity(digits.len() * 3 / 4);
        for (chunk_index, chunk) in digits.chunks(4).enumerate() {
            let mut group = 0u32;
            for (position, digit) in chunk.iter().enumerate() {
                let value =
                    ALPHABET.iter().position(|known| known == digit).ok_or(chunk_index * 4 + position)?;
                group |= (value as u32) << (18 - 6 * position);
            }
            out.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
        }
        Ok(out)
    }
}

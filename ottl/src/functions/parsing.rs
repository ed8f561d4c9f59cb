//! Converters that take texts apart: JSON, key-value pairs, CSV, numbers, severities, URLs.

use std::borrow::Cow;

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::value::{ELEMENTS_MAX, Filling, Map, Value, check_count};

pub(super) const TABLE: &[Function] = &[
    converter("ParseJSON", &[need("target", Kind::Text)], |args, frame| {
        let text = args.text(0, frame)?;
        check_json_size(&text)?;
        let json =
            serde_json::from_str(&text).map_err(|error| RunError::new(format!("invalid json: {error}")))?;
        match from_json(json, 1)? {
            value @ (Value::Map(_) | Value::List(_)) => Ok(value),
            other => Err(RunError::new(format!(
                "could not convert parsed value of type {} to JSON object",
                other.type_name()
            ))),
        }
    }),
    converter("ParseInt", &[need("target", Kind::Text), need("base", Kind::Int)], parse_int),
    converter(
        "ParseKeyValue",
        &[
            need("target", Kind::Text),
            may("delimiter", Kind::LiteralText),
            may("pair_delimiter", Kind::LiteralText),
        ],
        parse_key_value,
    )
    .prepared(check_delimiters),
    converter(
        "ToKeyValueString",
        &[
            need("target", Kind::Map),
            may("delimiter", Kind::LiteralText),
            may("pair_delimiter", Kind::LiteralText),
            may("sort_output", Kind::LiteralBool),
        ],
        to_key_value,
    )
    .prepared(check_delimiters),
    converter(
        "ParseCSV",
        &[
            need("target", Kind::Text),
            need("header", Kind::Text),
            may("delimiter", Kind::LiteralText),
            may("header_delimiter", Kind::LiteralText),
            may("mode", Kind::LiteralText),
        ],
        parse_csv,
    )
    .prepared(|args| {
        for (index, name) in [(2, "delimiter"), (3, "header_delimiter")] {
            if args.literal_text(index).is_some_and(|text| text.chars().count() != 1) {
                return Err(format!("invalid arguments: {name} must be a single character"));
            }
        }
        match args.literal_text(4) {
            None | Some("strict" | "lazyQuotes" | "ignoreQuotes") => Ok(Prepared::Nothing),
            Some(other) => Err(format!("unknown mode: {other}")),
        }
    }),
    converter("ParseSeverity", &[need("target", Kind::Value), need("mapping", Kind::Map)], parse_severity)
        .prepared(severity_levels),
    converter("URL", &[need("uri", Kind::Text)], |args, frame| url(&args.text(0, frame)?).map(Value::Map)),
];

/// Deepest nesting of parsed JSON: what travels in a pipeline nests 64 levels at most, attributes around it included.
const JSON_DEPTH_MAX: usize = 60;

/// Refuses JSON that would become too large a value before anything is made of it. Every value but the first comes after a
/// comma or a bracket that opens.
fn check_json_size(text: &str) -> Eval<()> {
    if text.len() <= ELEMENTS_MAX {
        return Ok(());
    }
    let (mut values, mut in_string, mut is_escaped) = (1, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'"' => in_string = !in_string,
            b'\\' => is_escaped = in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    check_count(values)
}

/// JSON as a value; every number is a float, as in Go.
fn from_json(json: serde_json::Value, depth: usize) -> Eval<Value<'static>> {
    use serde_json::Value as Json;
    if depth > JSON_DEPTH_MAX {
        return Err(RunError::new(format!("json nests deeper than {JSON_DEPTH_MAX}")));
    }
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::text(text),
        Json::Array(list) => {
            Value::List(list.into_iter().map(|element| from_json(element, depth + 1)).collect::<Eval<_>>()?)
        }
        Json::Object(object) => {
            let entries =
                object.into_iter().map(|(key, value)| Ok((Cow::Owned(key), from_json(value, depth + 1)?)));
            Value::Map(Map(entries.collect::<Eval<_>>()?))
        }
    })
}

/// `strconv.ParseInt` of Go: base 0 reads the base from the text.
fn parse_int<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let text = args.text(0, frame)?;
    if text.is_empty() {
        return Err(RunError::new("invalid target value for ParseInt function, target cannot be empty"));
    }
    let base = args.int(1, frame)?;
    if base < 0 {
        return Err(RunError::new(format!(
            "invalid base value: {base} for ParseInt function, base cannot be negative"
        )));
    }
    let invalid = || RunError::new(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match base {
        0 => {
            let prefixed = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
            let found =
                prefixed.iter().find(|(prefix, _)| lower.starts_with(prefix) && lower.len() > prefix.len());
            match found {
                Some((prefix, base)) => (*base, lower[prefix.len()..].replace('_', "")),
                None => (10, lower.replace('_', "")),
            }
        }
        2..=36 => (base as u32, lower),
        other => {
            return Err(RunError::new(format!("strconv.ParseInt: parsing {text:?}: invalid base {other}")));
        }
    };
    if digits.starts_with(['+', '-']) {
        return Err(invalid());
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).map(Value::Int).map_err(|_| invalid())
}

fn check_delimiters(args: &Args) -> Result<Prepared, String> {
    if args.literal_text(1) == Some("") {
        return Err("delimiter cannot be set to an empty string".to_owned());
    }
    if args.literal_text(2) == Some("") {
        return Err("pair delimiter cannot be set to an empty string".to_owned());
    }
    let (delimiter, pairs) = delimiters(args);
    if delimiter == pairs {
        return Err(format!("pair delimiter {pairs:?} cannot be equal to delimiter {delimiter:?}"));
    }
    Ok(Prepared::Nothing)
}

fn delimiters(args: &Args) -> (&str, &str) {
    (args.literal_text(1).unwrap_or("="), args.literal_text(2).unwrap_or(" "))
}

fn parse_key_value<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let (delimiter, pair_delimiter) = delimiters(args);
    let text = args.text(0, frame)?;
    if text.is_empty() {
        return Err(RunError::new("cannot parse from empty target"));
    }
    let mut map = Filling::default();
    let mut failures = Vec::new();
    for pair in split_quoted(&text, pair_delimiter)? {
        match pair.split_once(delimiter) {
            Some((key, value)) => {
                map.put(Cow::Owned(key.trim().to_owned()), Value::text(value.trim()));
            }
            None => failures.push(format!("cannot split {pair:?} into 2 items, got 1 item(s)")),
        }
    }
    match failures.is_empty() {
        true => Ok(Value::Map(map.finish())),
        false => {
            Err(RunError::new(format!("failed to split pairs into key-values: {}", failures.join("; "))))
        }
    }
}

/// Splits at a delimiter outside of quotes; the outer quotes go, empty parts too.
fn split_quoted(text: &str, delimiter: &str) -> Eval<Vec<String>> {
    let mut parts = Vec::new();
    let mut current = String::new();
    let (mut quote, mut is_escaped) = (None, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if quote.is_none() && rest.starts_with(delimiter) {
            if !current.is_empty() {
                parts.push(std::mem::take(&mut current));
                check_count(parts.len())?;
            }
            rest = &rest[delimiter.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if is_escaped {
            is_escaped = false;
        } else if quote.is_none() && (c == '"' || c == '\'') {
            quote = Some(c);
            continue;
        } else if quote == Some(c) {
            quote = None;
            continue;
        } else {
            is_escaped = c == '\\';
        }
        current.push(c);
    }
    if quote.is_some() {
        return Err(RunError::new(format!(
            "splitting source {text:?} into pairs failed: never reached the end of a quoted value"
        )));
    }
    if !current.is_empty() {
        parts.push(current);
    }
    Ok(parts)
}

fn to_key_value<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let (delimiter, pair_delimiter) = delimiters(args);
    let quoted = |text: &str| {
        let text = text.replace('"', "\\\"");
        match text.contains(pair_delimiter) || text.contains(delimiter) {
            true => format!("\"{text}\""),
            false => text,
        }
    };
    let mut entries = args.map(0, frame)?.0;
    if args.literal_bool(3) == Some(true) {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    let mut out = String::new();
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            out.push_str(pair_delimiter);
        }
        out.push_str(&quoted(key));
        out.push_str(delimiter);
        out.push_str(&quoted(&value.as_text()?));
    }
    Ok(Value::text(out))
}

fn parse_csv<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let text = args.text(0, frame)?;
    let header = args.text(1, frame)?;
    if header.is_empty() {
        return Err(RunError::new("headers must not be an empty string"));
    }
    let delimiter = args.literal_text(2).unwrap_or(",");
    let headers = header.split(args.literal_text(3).unwrap_or(delimiter)).take(ELEMENTS_MAX + 1);
    let headers: Vec<&str> = headers.collect();
    check_count(headers.len())?;
    let comma = delimiter.chars().next().unwrap_or(',');
    let fields: Vec<String> = match args.literal_text(4) {
        Some("ignoreQuotes") => text.split(comma).take(ELEMENTS_MAX + 1).map(str::to_owned).collect(),
        mode => csv_row(&text, comma, mode == Some("lazyQuotes"))?,
    };
    check_count(fields.len())?;
    if fields.len() != headers.len() {
        return Err(RunError::new(format!(
            "map csv headers: wrong number of fields: expected {}, found {}",
            headers.len(),
            fields.len()
        )));
    }
    let mut map = Filling::default();
    for (header, field) in headers.into_iter().zip(fields) {
        map.put(Cow::Owned(header.to_owned()), Value::text(field));
    }
    Ok(Value::Map(map.finish()))
}

/// One row, whose fields may hold line breaks, quoted or not (encoding/csv of Go and parseutils.ReadCSVRow).
fn csv_row(text: &str, comma: char, is_lazy: bool) -> Eval<Vec<String>> {
    if text.trim_end_matches(['\r', '\n']).is_empty() {
        return Err(RunError::new("no csv lines found"));
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        check_count(fields.len())?;
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted, comma, is_lazy)?;
            fields.push(field);
            match after.strip_prefix(comma) {
                Some(next) => rest = next,
                None => break,
            }
            continue;
        }
        let end = rest.find(comma).unwrap_or(rest.len());
        if !is_lazy && rest[..end].contains('"') {
            // What stands before the bare quote is what Go's reader hands out with its error.
            if fields.is_empty() {
                return Err(RunError::new("read csv line: bare \" in non-quoted field"));
            }
            return Ok(fields);
        }
        fields.push(rest[..end].to_owned());
        if end == rest.len() {
            break;
        }
        rest = &rest[end + comma.len_utf8()..];
    }
    if let Some(last) = fields.last_mut() {
        let len = last.strip_suffix('\n').map_or(last.len(), str::len);
        last.truncate(len);
    }
    Ok(fields)
}

/// A field after its opening quote, and what follows its closing one.
fn quoted_field(text: &str, comma: char, is_lazy: bool) -> Eval<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else {
            return match is_lazy {
                true => Ok((field + rest, "")),
                false => Err(RunError::new("read csv line: extraneous or missing \" in quoted-field")),
            };
        };
        field.push_str(&rest[..end]);
        let after = &rest[end + 1..];
        match after.chars().next() {
            Some('"') => {
                field.push('"');
                rest = &after[1..];
            }
            None => return Ok((field, after)),
            Some(c) if c == comma || c == '\n' => return Ok((field, after)),
            Some(_) if is_lazy => {
                field.push('"');
                rest = after;
            }
            Some(_) => {
                return Err(RunError::new("read csv line: extraneous or missing \" in quoted-field"));
            }
        }
    }
}

/// A severity and what stands for it.
#[derive(Debug)]
pub(crate) struct Level {
    name: String,
    texts: Vec<String>,
    ranges: Vec<(i64, i64)>,
}

fn severity_levels(args: &Args) -> Result<Prepared, String> {
    let Some(Value::Map(mapping)) = args.values[1].literal() else {
        return Err("severity mapping must be a literal PMap".to_owned());
    };
    let mut levels = Vec::new();
    for (name, criteria) in &mapping.0 {
        let Value::List(criteria) = criteria else {
            return Err("severity mapping criteria must be []any".to_owned());
        };
        let mut level = Level { name: name.to_string(), texts: Vec::new(), ranges: Vec::new() };
        for criterion in criteria {
            let Value::Map(criterion) = criterion else {
                return Err("severity mapping criteria items must be map[string]any".to_owned());
            };
            add_criterion(&mut level, criterion)
                .map_err(|reason| format!("invalid severity mapping criteria: {reason}"))?;
        }
        levels.push(level);
    }
    Ok(Prepared::Levels(levels))
}

fn add_criterion(level: &mut Level, criterion: &Map<'_>) -> Result<(), String> {
    match criterion.get("equals") {
        None => {}
        Some(Value::List(texts)) => {
            for text in texts {
                let Value::Text(text) = text else { return Err("equals values must be strings".to_owned()) };
                level.texts.push(text.to_string());
            }
        }
        Some(_) => return Err("equals must be a list".to_owned()),
    }
    match criterion.get("range") {
        None => {}
        Some(Value::Map(range)) => {
            let bound = |name: &str| match range.get(name) {
                Some(Value::Int(int)) => Ok(*int),
                Some(_) => Err(format!("{name} must be an int64")),
                None => Err(format!("range must have a {name} value")),
            };
            level.ranges.push((bound("min")?, bound("max")?));
        }
        Some(Value::Text(name)) => {
            let hundreds = match &**name {
                "2xx" => 200,
                "3xx" => 300,
                "4xx" => 400,
                "5xx" => 500,
                other => return Err(format!("unknown range placeholder: {other}")),
            };
            level.ranges.push((hundreds, hundreds + 99));
        }
        Some(_) => return Err("range must be a map or a known placeholder string".to_owned()),
    }
    Ok(())
}

fn parse_severity<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let Prepared::Levels(levels) = &args.prepared else {
        return Err(RunError::new("severity mapping must be a literal PMap"));
    };
    let value = args.value(0, frame)?;
    let found = match &value {
        Value::Text(text) => levels.iter().find(|level| level.texts.iter().any(|known| known == text)),
        Value::Int(int) => {
            let is_in = |level: &&Level| level.ranges.iter().any(|(min, max)| (min..=max).contains(&int));
            levels.iter().find(is_in)
        }
        other => {
            return Err(RunError::new(format!(
                "could not map log level: could not evaluate log level of value: unsupported value type: {}",
                other.type_name()
            )));
        }
    };
    match found {
        Some(level) => Ok(Value::text(level.name.clone())),
        None => Err(RunError::new("could not map log level: no matching log level found")),
    }
}

/// The parts of a URL under the names of the semantic conventions (parseutils.ParseURI).
fn url(text: &str) -> Eval<Map<'static>> {
    if text.is_empty() {
        return Err(RunError::new("url cannot be empty"));
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(RunError::new(format!("parse {text:?}: invalid control character in URL")));
    }
    let mut map = Map::default();
    let mut put = |key: &'static str, value: Value<'static>| map.put(Cow::Borrowed(key), value);
    let (rest, fragment) = text.split_once('#').map_or((text, None), |(rest, f)| (rest, Some(f)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, q)| (rest, Some(q)));
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, after))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            (Some(scheme), after)
        }
        _ => (None, rest),
    };
    if scheme.is_none() && rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
        return Err(RunError::new(format!("parse {text:?}: first path segment in URL cannot contain colon")));
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(after) => after.find('/').map_or((Some(after), ""), |at| (Some(&after[..at]), &after[at..])),
        None => (None, rest),
    };
    let (decoded, escaped) = both_paths(path)
        .ok_or_else(|| RunError::new(format!("parse {text:?}: invalid URL escape in its path")))?;
    let before = text.find(['?', '#']).unwrap_or(text.len());
    let (head, tail) = (&text[..before - path.len()], &text[before..]);
    put("url.original", Value::text(format!("{head}{escaped}{tail}")));
    let mut domain = String::new();
    if let Some(authority) = authority {
        let (user, host) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
            Some((_, port)) if !host.ends_with(']') => {
                return Err(RunError::new(format!("parse {text:?}: invalid port \":{port}\" after host")));
            }
            _ => (host, None),
        };
        domain = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if let Some(port) = port.and_then(|port| port.parse::<i64>().ok()) {
            put("url.port", Value::Int(port));
        }
        if let Some(user) = user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            put("url.username", Value::text(name));
            put("url.password", Value::text(password));
            put("url.user_info", Value::text(user));
        }
    }
    put("url.domain", Value::text(domain));
    put("url.scheme", Value::text(scheme.unwrap_or_default().to_lowercase()));
    put("url.path", Value::text(decoded.clone()));
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        put("url.query", Value::text(query));
    }
    if let Some(fragment) = fragment.filter(|fragment| !fragment.is_empty()) {
        put("url.fragment", Value::text(fragment));
    }
    let file = decoded.rsplit('/').next().unwrap_or_default();
    if let Some((_, extension)) = file.rsplit_once('.') {
        put("url.extension", Value::text(extension));
    }
    Ok(map)
}

/// A path decoded, and as `url.EscapedPath` of Go writes it: as it came where it is escaped in full, otherwise escaped.
fn both_paths(path: &str) -> Option<(String, String)> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte == b'%' {
            let code = tail.get(..2).and_then(|code| str::from_utf8(code).ok())?;
            bytes.extend(crate::convert::from_hex(code)?);
            rest = &tail[2..];
        } else {
            bytes.push(*byte);
            rest = tail;
        }
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte);
    let decoded = String::from_utf8_lossy(&bytes).into_owned();
    if path.bytes().all(|byte| is_plain(byte) || b"%!'()*[]".contains(&byte)) {
        return Some((decoded, path.to_owned()));
    }
    let mut out = String::with_capacity(path.len() + 8);
    for byte in bytes {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Some((decoded, out))
}

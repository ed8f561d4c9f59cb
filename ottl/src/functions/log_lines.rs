//! Converters of whole log lines, in the context `log` only: the common log format and LEEF
//! (processor/transformprocessor/internal/logparsingfuncs of the collector's contrib repository).

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::context::Context;
use crate::convert::from_hex;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::value::{Filling, Map, Value};

pub(super) const TABLE: &[Function] = &[
    converter("ParseCLF", &[need("target", Kind::Text), may("format", Kind::LiteralText)], |args, frame| {
        parse_clf(&args.text(0, frame)?, args.literal_text(1).unwrap_or("clf")).map(Value::Map)
    })
    .prepared(|args| match args.literal_text(1) {
        None | Some("clf" | "combined") => Ok(Prepared::Nothing),
        Some(other) => Err(format!("invalid format {other:?}: must be \"clf\" or \"combined\"")),
    })
    .only(Context::Log),
    converter("ParseLEEF", &[need("target", Kind::Text)], parse_leef).only(Context::Log),
];

/// Host, identity, user, date, request, status, bytes; then referer and user agent. Quotes may be escaped in a field.
static CLF: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    let quoted = r#""((?:[^"\\]|\\.)*)""#;
    let plain = format!(r"^(\S+) (\S+) (\S+) \[([^\]]+)\] {quoted} (\S+) (\S+)");
    [format!("{plain}$"), format!("{plain} {quoted} {quoted}$")]
        .map(|pattern| Regex::new(&pattern).expect("the patterns are valid"))
});

fn parse_clf(line: &str, format: &str) -> Eval<Map<'static>> {
    if line.is_empty() {
        return Err(RunError::new("cannot parse empty CLF message"));
    }
    let is_combined = format == "combined";
    let Some(found) = CLF[usize::from(is_combined)].captures(line.trim()) else {
        return Err(RunError::new(format!("invalid CLF message: does not match expected {format:?} format")));
    };
    let mut map = Map::default();
    let mut put = |key: &'static str, text: &str| map.put(Cow::Borrowed(key), Value::text(text));
    put("clf.remote_host", &found[1]);
    put("clf.rfc931", &found[2]);
    put("clf.auth_user", &found[3]);
    put("clf.timestamp", &found[4]);
    let request = unescaped(&found[5]);
    put("clf.request", &request);
    if let [method, uri, protocol] = request.splitn(3, ' ').collect::<Vec<_>>()[..] {
        put("clf.method", method);
        put("clf.request_uri", uri);
        put("clf.protocol", protocol);
    }
    let int = |text: &str, what: &str| {
        text.parse::<i64>().map(Value::Int).map_err(|_| RunError::new(format!("invalid {what} {text:?}")))
    };
    map.put("clf.status".into(), int(&found[6], "status code")?);
    if &found[7] != "-" {
        map.put("clf.bytes".into(), int(&found[7], "bytes value")?);
    }
    if is_combined {
        map.put("clf.referer".into(), Value::text(unescaped(&found[8])));
        map.put("clf.user_agent".into(), Value::text(unescaped(&found[9])));
    }
    Ok(map)
}

/// A field without the escapes of Apache's mod_log_config; what is no escape stays.
fn unescaped(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let Some((next, after)) = rest.split_first().filter(|_| *byte == b'\\') else {
            out.push(*byte);
            continue;
        };
        rest = after;
        match next {
            b'\\' | b'"' => out.push(*next),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'x' => {
                let code = rest.get(..2).and_then(|code| str::from_utf8(code).ok()).and_then(from_hex);
                match code {
                    Some(bytes) => {
                        out.extend(bytes);
                        rest = &rest[2..];
                    }
                    None => out.extend(b"\\x"),
                }
            }
            other => out.extend([b'\\', *other]),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parse_leef<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let line = args.text(0, frame)?;
    if line.is_empty() {
        return Err(RunError::new("cannot parse empty LEEF message"));
    }
    let Some((_, message)) = line.split_once("LEEF:") else {
        return Err(RunError::new("invalid LEEF message: 'LEEF:' not found"));
    };
    let Some((version, rest)) = message.split_once('|') else {
        return Err(RunError::new("invalid LEEF message: missing pipe delimiter in header"));
    };
    let fields_max = match version {
        "1.0" => 5,
        "2.0" => 6,
        other => {
            let message = format!("unsupported LEEF version: {other} (supported: 1.0, 2.0)");
            return Err(RunError::new(message));
        }
    };
    let mut parts: Vec<&str> = rest.splitn(fields_max, '|').collect();
    if parts.len() < 4 {
        return Err(RunError::new(format!(
            "invalid LEEF {version} header: expected at least 4 fields (vendor, product, version, eventID), got {}",
            parts.len()
        )));
    }
    let mut delimiter = Cow::Borrowed("\t");
    let attributes = match (version, parts.get(4)) {
        // Without a delimiter the fifth field is the first attribute.
        ("2.0", Some(spec)) if !spec.contains('=') => {
            delimiter = leef_delimiter(spec)
                .map_err(|reason| RunError::new(format!("invalid LEEF 2.0 delimiter: {reason}")))?;
            parts.get(5).copied().unwrap_or_default()
        }
        _ => {
            parts = rest.splitn(5, '|').collect();
            parts.get(4).copied().unwrap_or_default()
        }
    };
    let mut found = Filling::default();
    for pair in attributes.split(&*delimiter) {
        if let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) {
            found.put(Cow::Owned(key.to_owned()), Value::text(value));
        }
    }
    let mut map = Map::default();
    map.put("leef.version".into(), Value::text(version));
    let names = ["leef.vendor", "leef.product.name", "leef.product.version", "leef.event.id"];
    for (name, part) in names.into_iter().zip(&parts) {
        map.put(name.into(), Value::text(*part));
    }
    map.put("leef.attributes".into(), Value::Map(found.finish()));
    Ok(Value::Map(map))
}

fn leef_delimiter(spec: &str) -> Result<Cow<'static, str>, String> {
    if spec.is_empty() {
        return Ok("\t".into());
    }
    if let Some(hex) = spec.strip_prefix("0x").or_else(|| spec.strip_prefix("0X")) {
        if hex.is_empty() {
            return Err("empty hex value".to_owned());
        }
        return match from_hex(hex).as_deref() {
            Some([byte]) if byte.is_ascii() => Ok(char::from(*byte).to_string().into()),
            Some([byte]) => Err(format!("hex delimiter {byte:#x} is no character of a text")),
            Some(bytes) => {
                Err(format!("hex delimiter must decode to a single byte, got {} bytes", bytes.len()))
            }
            None => Err(format!("invalid hex delimiter {spec:?}")),
        };
    }
    match spec.len() {
        1 => Ok(spec.to_owned().into()),
        _ => Err(format!("delimiter must be a single character or 0x-prefixed hex value, got {spec:?}")),
    }
}

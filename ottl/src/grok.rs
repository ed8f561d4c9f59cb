//! Grok: regular expressions put together from named patterns, `%{SYNTAX:field:type}`.
//!
//! Names, what they match and which names a match leaves behind are those of github.com/elastic/go-grok, which the
//! collector uses; of its sets the default one, httpd, syslog, java and redis are here. A name may stand in an expression
//! many times: of equal ones the last that is not empty counts.

mod patterns;

use std::borrow::Cow;
use std::collections::HashMap;

use model::go_regex;
use regex::Regex;

use crate::error::{Eval, RunError};
use crate::number_format::parse_float;
use crate::value::{Filling, Map, Value};

/// Deepest nesting of patterns, which no sensible set reaches; it also ends circles.
const DEPTH_MAX: usize = 32;
/// Longest expression after all names are replaced.
const EXPANDED_BYTES_MAX: usize = 256 << 10;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Grok {
    regex: Regex,
    /// The field that each numbered group of ours fills.
    fields: Vec<String>,
    /// The types of fields that name one.
    types: HashMap<String, String>,
}

/// An expression being put together.
struct Expansion<'a> {
    own: &'a [(String, String)],
    named_only: bool,
    fields: Vec<String>,
    types: HashMap<String, String>,
    out: String,
}

/// The names of the groups that are made here; no field can be called so.
const GROUP: &str = "__";

impl Grok {
    /// Compiles an expression, with patterns of one's own in front of the known ones. The error is a reason.
    pub(crate) fn compile(text: &str, named_only: bool, own: &[(String, String)]) -> Result<Self, String> {
        let (fields, types) = (Vec::new(), HashMap::new());
        let mut expansion = Expansion { own, named_only, fields, types, out: String::new() };
        expansion.put(text, 0)?;
        let regex = go_regex::compile(&expansion.out)?;
        Ok(Self { regex, fields: expansion.fields, types: expansion.types })
    }

    /// Whether a match leaves anything behind.
    pub(crate) fn has_fields(&self) -> bool {
        self.regex.capture_names().flatten().next().is_some()
    }

    /// The fields of the first match, none without one.
    pub(crate) fn parse(&self, text: &str) -> Eval<Map<'static>> {
        let mut map = Filling::default();
        let Some(found) = self.regex.captures(text) else { return Ok(map.finish()) };
        for name in self.regex.capture_names().flatten() {
            let Some(part) = found.name(name).map(|part| part.as_str()).filter(|part| !part.is_empty())
            else {
                continue;
            };
            let number = name.strip_prefix(GROUP).and_then(|number| number.parse::<usize>().ok());
            let field = number.and_then(|number| self.fields.get(number)).map_or(name, String::as_str);
            map.put(Cow::Owned(field.to_owned()), self.typed(field, part)?);
        }
        Ok(map.finish())
    }

    fn typed(&self, field: &str, part: &str) -> Eval<Value<'static>> {
        let invalid =
            |function: &str| RunError::new(format!("strconv.{function}: parsing {part:?}: invalid syntax"));
        match self.types.get(field).map_or("string", String::as_str) {
            "string" => Ok(Value::text(part)),
            "double" | "float" => parse_float(part).map(Value::Double).ok_or_else(|| invalid("ParseFloat")),
            "int" | "long" => part.parse().map(Value::Int).map_err(|_| invalid("Atoi")),
            "bool" | "boolean" => {
                let flag = Value::text(part).into_bool_like()?;
                Ok(flag.map_or(Value::Nil, Value::Bool))
            }
            _ => Err(RunError::new(format!("invalid type for {field}: type not specified"))),
        }
    }
}

impl Expansion<'_> {
    fn put(&mut self, pattern: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("pattern definitions nest deeper than {DEPTH_MAX}"));
        }
        let mut rest = pattern;
        while let Some(start) = rest.find("%{") {
            self.out.push_str(&rest[..start]);
            rest = &rest[start..];
            match reference(rest) {
                Some((parts, len)) => {
                    self.put_reference(&parts, depth)?;
                    rest = &rest[len..];
                }
                None => {
                    self.out.push_str("%{");
                    rest = &rest[2..];
                }
            }
            if self.out.len() > EXPANDED_BYTES_MAX {
                return Err(format!(
                    "the expression is longer than {EXPANDED_BYTES_MAX} bytes with its patterns"
                ));
            }
        }
        self.out.push_str(rest);
        Ok(())
    }

    fn put_reference(&mut self, parts: &[&str], depth: usize) -> Result<(), String> {
        let name = parts[0];
        let own = self.own.iter().rev().find(|(known, _)| known == name).map(|(_, pattern)| pattern.clone());
        let pattern = own.or_else(|| patterns::find(name).map(str::to_owned)).ok_or_else(|| {
            format!(
                "pattern definition {name:?} unknown: parsing failed; it can be given in pattern_definitions"
            )
        })?;
        let field = parts.get(1).copied().unwrap_or(name);
        if let Some(kind) = parts.get(2) {
            self.types.insert(field.to_owned(), (*kind).to_owned());
        }
        if self.named_only && parts.len() == 1 {
            self.out.push('(');
        } else {
            self.out.push_str(&format!("(?P<{GROUP}{}>", self.fields.len()));
            self.fields.push(field.to_owned());
        }
        self.put(&pattern, depth + 1)?;
        self.out.push(')');
        Ok(())
    }
}

/// The parts of `%{SYNTAX}`, `%{SYNTAX:field}` or `%{SYNTAX:field:type}` at the start of a text, and its length.
fn reference(text: &str) -> Option<(Vec<&str>, usize)> {
    let inner = text.strip_prefix("%{")?;
    let len = inner.find('}')?;
    let parts: Vec<&str> = inner[..len].split(':').collect();
    let is_word =
        |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_field = |part: &&str| is_word(&part.replace('.', "_").as_str());
    let is_it = match &parts[..] {
        [name] => is_word(name),
        [name, field] => is_word(name) && is_field(field),
        [name, field, kind] => is_word(name) && is_field(field) && is_word(kind),
        _ => false,
    };
    is_it.then_some((parts, len + 3))
}

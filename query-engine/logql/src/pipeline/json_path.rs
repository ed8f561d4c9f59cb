//! `json a="x.y[0]"` and `unpack`: single members of a line.

use super::entry_labels::{CLASH_SUFFIX, EntryLabels, StageError};
use super::json::{JsonKind, JsonStop, Members, skip_blanks, string_end, string_value, unescape, value_at};
use super::names::push_sanitized;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The way to one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads `a.b[0]["c d"]`.
    pub(crate) fn parse(expression: &str) -> Result<Self, String> {
        let fail = |reason: &str| format!("cannot parse expression [{expression}]: {reason}");
        let mut steps = Vec::new();
        let mut rest = expression.trim_matches([' ', '\t', '\n']);
        if rest.is_empty() {
            return Err(fail("syntax error: unexpected $end"));
        }
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (inside, tail) = after
                    .split_once(']')
                    .ok_or_else(|| fail("syntax error: unexpected $end, expecting STRING or INDEX"))?;
                let inside = inside.trim();
                let quoted = inside.strip_prefix('"').map(|key| key.strip_suffix('"').unwrap_or(key));
                steps.push(match quoted {
                    Some(key) => Step::Key(key.to_owned()),
                    None if inside.contains('.') => {
                        return Err(fail("syntax error: unexpected $end, expecting STRING or INDEX"));
                    }
                    None => Step::Index(inside.parse().map_err(|_| fail("unexpected token in index"))?),
                });
                rest = tail;
                continue;
            }
            if !steps.is_empty() {
                rest = rest.strip_prefix('.').ok_or_else(|| fail("syntax error: unexpected FIELD"))?;
            }
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if length == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                let c = rest.chars().next().map_or("end".to_owned(), |c| format!("char {c}"));
                return Err(fail(&format!("unexpected {c}")));
            }
            steps.push(Step::Key(rest[..length].to_owned()));
            rest = &rest[length..];
        }
        Ok(Self(steps))
    }

    /// The value at the path; `None` when it is missing or the line is damaged before it. An error when the line is
    /// damaged inside of it.
    fn find<'a>(&self, line: &'a str) -> Found<'a> {
        // An unclosed object is searched as far as it goes.
        let mut found = value_at(line).map_or((JsonKind::Object, line), |(kind, value, _)| (kind, value));
        for (number, step) in self.0.iter().enumerate() {
            let next = match step {
                Step::Key(key) => member(found.1, key, number + 1 == self.0.len())?,
                Step::Index(index) => element(found.1, *index),
            };
            let Some(next) = next else { return Ok(None) };
            found = next;
        }
        Ok(Some(found))
    }
}

/// A value, `None` where there is none, or what is wrong with it.
type Found<'a> = Result<Option<(JsonKind, &'a str)>, JsonStop>;

fn member<'a>(object: &'a str, wanted: &str, is_last: bool) -> Found<'a> {
    let Ok(mut members) = Members::new(object) else { return Ok(None) };
    let mut buffer = String::new();
    loop {
        match members.next() {
            Ok(Some((key, kind, value))) => match unescape(key, &mut buffer) {
                Some(key) if key == wanted => return Ok(Some((kind, value))),
                Some(_) => {}
                None => return Ok(None),
            },
            Ok(None) => return Ok(None),
            // The line ends inside of an object: what it has of it is searched too.
            Err(_) => {
                let Some((key, rest)) = members.unfinished() else { return Ok(None) };
                if unescape(key, &mut buffer) != Some(wanted) {
                    return Ok(None);
                }
                return match rest.as_bytes().first() {
                    _ if is_last => value_at(rest).map(|(kind, value, _)| Some((kind, value))),
                    Some(b'{') => Ok(Some((JsonKind::Object, rest))),
                    Some(b'[') => Ok(Some((JsonKind::Array, rest))),
                    _ => Ok(None),
                };
            }
        }
    }
}

/// Whether a line that is no object begins with a member.
fn is_bare_member(line: &str) -> bool {
    let after = line.strip_prefix('"').and_then(|rest| Some(&rest[string_end(rest)? + 1..]));
    after.is_some_and(|after| skip_blanks(after).starts_with(':'))
}

fn element(array: &str, wanted: usize) -> Option<(JsonKind, &str)> {
    let mut rest = skip_blanks(array).strip_prefix('[')?;
    for index in 0.. {
        if skip_blanks(rest).starts_with(']') {
            return None;
        }
        let (kind, value, after) = value_at(rest).ok()?;
        if index == wanted {
            return Some((kind, value));
        }
        rest = skip_blanks(after).strip_prefix(',')?;
    }
    None
}

/// The `json` parser with expressions.
#[derive(Clone, Debug)]
pub(crate) struct JsonExpressions {
    paths: Vec<(String, JsonPath)>,
    value: String,
}

impl JsonExpressions {
    pub(crate) fn new(paths: Vec<(String, JsonPath)>) -> Self {
        Self { paths, value: String::new() }
    }

    /// Sets one label per expression; missing values and nulls give an empty label.
    pub(crate) fn parse(&mut self, line: &str, labels: &mut EntryLabels) {
        if line.is_empty() || labels.needs_nothing() {
            return;
        }
        if !line.starts_with(['"', '{', '[']) {
            labels.set_parser_error(StageError::Json, "");
            return;
        }
        if is_bare_member(line) {
            labels.set_parser_error(StageError::Json, "Malformed JSON error");
        }
        for (label, path) in &self.paths {
            let found = path.find(line).unwrap_or_else(|stop| {
                if let JsonStop::Malformed(reason) = stop {
                    labels.set_parser_error(StageError::Json, reason);
                }
                None
            });
            let Some((kind, value)) = found else {
                if labels.get(label).is_none() {
                    labels.set_parsed(label, "");
                }
                continue;
            };
            let text = match kind {
                JsonKind::Null => "",
                JsonKind::Object => value,
                _ => string_value(value, &mut self.value),
            };
            if labels.clashes(label) {
                labels.set_parsed(&format!("{label}{CLASH_SUFFIX}"), text);
            } else {
                labels.set_parsed(label, text);
            }
        }
    }
}

/// Member that replaces the line when it is unpacked.
const PACKED_ENTRY: &str = "_entry";

/// The `unpack` parser: string members become labels and `_entry` the line. Returns whether `out` has a new line.
pub(crate) fn unpack(line: &str, labels: &mut EntryLabels, out: &mut String) -> bool {
    if line.is_empty() || labels.needs_nothing() {
        return false;
    }
    if !line.starts_with('{') {
        labels.set_parser_error(StageError::Json, "expecting json object(6), but it is not");
        return false;
    }
    match unpack_members(line, labels, out) {
        Ok(packed) => packed,
        Err(JsonStop::Enough | JsonStop::Refused) => false,
        Err(JsonStop::Malformed(reason)) => {
            labels.set_parser_error(StageError::Json, reason);
            false
        }
    }
}

fn unpack_members(line: &str, labels: &mut EntryLabels, out: &mut String) -> Result<bool, JsonStop> {
    let bad_escape = JsonStop::Malformed("Encountered an invalid escape sequence in a string");
    let mut members = Members::new(line)?;
    let mut found: Vec<(String, String)> = Vec::new();
    let mut packed = false;
    let mut buffer = String::new();
    while let Some((key, kind, value)) = members.next()? {
        if kind != JsonKind::String {
            continue;
        }
        if key == PACKED_ENTRY {
            out.clear();
            let text = unescape(value, &mut buffer).ok_or(bad_escape)?;
            out.push_str(text);
            packed = true;
            continue;
        }
        let mut name = unescape(key, &mut buffer).ok_or(bad_escape)?.to_owned();
        if labels.clashes(&name) {
            name.push_str(CLASH_SUFFIX);
        }
        if labels.wanted().should_extract(&name) && !labels.is_extracted(&name) {
            let mut label = String::new();
            push_sanitized(&name, &mut label);
            found.push((label, string_value(value, &mut buffer).to_owned()));
        }
    }
    if packed {
        for (name, value) in &found {
            labels.set_parsed(name, value);
        }
    }
    Ok(packed)
}

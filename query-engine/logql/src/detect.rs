//! What fields the lines of an answer have: names, types, how many values, which parser finds them
//! (pkg/querier/queryrange/detected_fields.go).
//!
//! Each line is tried as JSON, then as logfmt. A field's type is the narrowest one that holds all its values. Memory is
//! bounded by the answer, which has at most some thousand lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use model::LogEntries;
use xxhash_rust::xxh3::xxh3_64;

use crate::output::{ResultEntry, Streams};
use crate::pipeline::{CLASH_SUFFIX, EntryLabels, JsonParser, LogfmtParser, Wanted, push_member_name};
use crate::units::{parse_bytes, parse_go_duration, parse_go_float};

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Truth values, as Go's `strconv.ParseBool` reads them.
    Boolean,
    /// Go durations.
    Duration,
    /// Sizes such as `3KB`.
    Bytes,
    /// Anything else.
    String,
}

/// A field that lines have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedField {
    /// Its label name.
    pub label: String,
    /// Its type.
    pub field_type: FieldType,
    /// Number of different values seen.
    pub cardinality: usize,
    /// `json`, `logfmt`; empty for structured metadata and for labels that the query itself made.
    pub parsers: Vec<&'static str>,
    /// For JSON: the keys that lead to it.
    pub json_path: Vec<String>,
}

/// The fields of an answer's lines, sorted by name; the first `limit` that are met. `None` when `goes_on`, which is asked
/// before each line, says that nobody waits for them any more. Takes time: not for the async threads.
pub fn detect_fields(
    streams: &Streams,
    limit: usize,
    goes_on: &dyn Fn() -> bool,
) -> Option<Vec<DetectedField>> {
    let mut fields: BTreeMap<String, Seen> = BTreeMap::new();
    // Names that a line has as the first one, to be looked for in it together.
    let mut sought: Vec<(&ResultEntry, String)> = Vec::new();
    visit(streams, goes_on, |entry, name, value, parser| {
        if !fields.contains_key(name) {
            if fields.len() >= limit {
                return true;
            }
            fields.insert(name.to_owned(), Seen::default());
        }
        let seen = fields.get_mut(name).expect("it was put in if it was not there");
        seen.add(value);
        if let Some(parser) = parser
            && !seen.parsers.contains(&parser)
        {
            seen.parsers.push(parser);
            if parser == JSON {
                sought.push((entry, name.to_owned()));
            }
        }
        true
    })?;
    for of_line in sought.chunk_by(|(entry, _), (other, _)| std::ptr::eq(*entry, *other)) {
        if !goes_on() {
            return None;
        }
        for (name, path) in json_paths(&of_line[0].0.line, of_line.iter().map(|(_, name)| name.as_str())) {
            let seen = fields.get_mut(name).expect("it is a field's name");
            if seen.json_path.is_empty() {
                seen.json_path = path;
            }
        }
    }
    let field = |(label, seen): (String, Seen)| DetectedField {
        label,
        field_type: seen.field_type.unwrap_or(FieldType::String),
        cardinality: seen.values.len(),
        parsers: seen.parsers,
        json_path: seen.json_path,
    };
    Some(fields.into_iter().map(field).collect())
}

/// The values of one field of an answer's lines in the order in which they are met, at most `limit`; `None` as with
/// [`detect_fields`].
pub fn detect_values(
    streams: &Streams,
    name: &str,
    limit: usize,
    goes_on: &dyn Fn() -> bool,
) -> Option<Vec<String>> {
    let mut known = HashSet::new();
    let mut values = Vec::new();
    visit(streams, goes_on, |_, found, value, _| {
        if found == name && known.insert(xxh3_64(value.as_bytes())) {
            values.push(value.to_owned());
        }
        values.len() < limit
    })?;
    Some(values)
}

const JSON: &str = "json";
const LOGFMT: &str = "logfmt";

#[derive(Default)]
struct Seen {
    field_type: Option<FieldType>,
    values: HashSet<u64>,
    parsers: Vec<&'static str>,
    json_path: Vec<String>,
}

impl Seen {
    fn add(&mut self, value: &str) {
        if !self.values.insert(xxh3_64(value.as_bytes())) {
            return;
        }
        let found = type_of(value);
        self.field_type = Some(match self.field_type {
            None => found,
            Some(known) if known == found => known,
            Some(FieldType::Int | FieldType::Float) if matches!(found, FieldType::Int | FieldType::Float) => {
                FieldType::Float
            }
            Some(_) => FieldType::String,
        });
    }
}

fn type_of(value: &str) -> FieldType {
    let is_whole = value.parse::<i64>().is_ok();
    if is_whole {
        FieldType::Int
    } else if parse_go_float(value).is_ok() {
        FieldType::Float
    } else if matches!(value, "t" | "T" | "true" | "TRUE" | "True" | "f" | "F" | "false" | "FALSE" | "False")
    {
        FieldType::Boolean
    } else if parse_go_duration(value).is_ok() {
        FieldType::Duration
    } else if parse_bytes(value).is_ok() {
        FieldType::Bytes
    } else {
        FieldType::String
    }
}

/// Calls `field` with every field of every entry, its value and its parser, until it returns `false`. `None` when
/// `goes_on` ended it.
fn visit<'a>(
    streams: &'a Streams,
    goes_on: &dyn Fn() -> bool,
    mut field: impl FnMut(&'a ResultEntry, &str, &str, Option<&'static str>) -> bool,
) -> Option<()> {
    let mut labels = EntryLabels::new(Arc::new(Wanted::everything()));
    let mut json = JsonParser::default();
    let mut logfmt = LogfmtParser::new(false, false, Vec::new());
    for entry in &streams.entries {
        if !goes_on() {
            return None;
        }
        for (name, value) in &entry.structured_metadata {
            if !field(entry, name, value, None) {
                return Some(());
            }
        }
        let mut row = LogEntries::new();
        let metadata = entry.structured_metadata.iter();
        row.push(0, "", metadata.map(|(name, value)| (name.as_str(), value.as_str())));
        labels.set_stream(&entry.stream);
        let mut parser = None;
        labels.reset(row.metadata(0));
        json.parse(&entry.line, &mut labels);
        if !labels.has_error() {
            parser = Some(JSON);
        } else {
            labels.reset(row.metadata(0));
            logfmt.parse(&entry.line, &mut labels);
            if !labels.has_error() {
                parser = Some(LOGFMT);
            }
        }
        if parser.is_some() {
            if !labels.parsed().all(|(name, value)| field(entry, name, value, parser)) {
                return Some(());
            }
        } else {
            // Neither form: what the query's own stages found.
            let own = entry.parsed.iter().filter(|(name, _)| !name.starts_with("__error"));
            for (name, value) in own {
                if !field(entry, name, value, None) {
                    return Some(());
                }
            }
        }
    }
    Some(())
}

/// The keys that lead to the members that the `json` parser calls so; those of the first where several are called the
/// same. One walk through the line, however many names there are.
fn json_paths<'a>(line: &str, names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Vec<String>)> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return Vec::new() };
    let names: Vec<&str> = names.collect();
    let mut sought: HashMap<&str, &str> = names.iter().map(|name| (*name, *name)).collect();
    for name in &names {
        if let Some(stem) = name.strip_suffix(CLASH_SUFFIX) {
            sought.entry(stem).or_insert(name);
        }
    }
    let mut walk = PathWalk { sought, path: Vec::new(), found: Vec::new() };
    walk.members(&value, &mut String::new());
    walk.found
}

/// A walk through a line. Its depth is bounded by that which `serde_json` reads.
struct PathWalk<'a> {
    /// Names that were not met yet, as members have them; with those that fields have.
    sought: HashMap<&'a str, &'a str>,
    path: Vec<String>,
    found: Vec<(&'a str, Vec<String>)>,
}

impl PathWalk<'_> {
    /// Looks at the members of `value`, whose own name is `name`.
    fn members(&mut self, value: &serde_json::Value, name: &mut String) {
        let Some(members) = value.as_object() else { return };
        let own_len = name.len();
        for (key, member) in members {
            if self.sought.is_empty() {
                return;
            }
            push_member_name(key, name);
            self.path.push(key.clone());
            if member.is_object() {
                self.members(member, name);
            } else if let Some(field) = self.sought.remove(name.as_str()) {
                self.found.push((field, self.path.clone()));
            }
            self.path.pop();
            name.truncate(own_len);
        }
    }
}

#[cfg(test)]
mod tests;

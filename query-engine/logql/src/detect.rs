//! What fields the lines of an answer have: names, types, how many values, which parser finds them
//! (pkg/querier/queryrange/detected_fields.go).
//!
//! Each line is tried as JSON, then as logfmt. A field's type is the narrowest one that holds all its values. Memory is
//! bounded by the answer, which has at most some thousand lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;
use model::LogEntries;
use xxhash_rust::xxh3::xxh3_64;

use crate::output::{ResultEntry, Streams};
use crate::pipeline::{EntryLabels, JsonParser, LogfmtParser, Wanted, sanitized_name};
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

/// The fields of an answer's lines, sorted by name; the first `limit` that are met.
pub fn detect_fields(streams: &Streams, limit: usize) -> Vec<DetectedField> {
    let mut fields: BTreeMap<String, Seen> = BTreeMap::new();
    visit(streams, |entry, name, value, parser| {
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
                seen.json_path = json_path(&entry.line, name);
            }
        }
        true
    });
    let field = |(label, seen): (String, Seen)| DetectedField {
        label,
        field_type: seen.field_type.unwrap_or(FieldType::String),
        cardinality: seen.values.len(),
        parsers: seen.parsers,
        json_path: seen.json_path,
    };
    fields.into_iter().map(field).collect()
}

/// The values of one field of an answer's lines in the order in which they are met, at most `limit`.
pub fn detect_values(streams: &Streams, name: &str, limit: usize) -> Vec<String> {
    let mut known = HashSet::new();
    let mut values = Vec::new();
    visit(streams, |_, found, value, _| {
        if found == name && known.insert(xxh3_64(value.as_bytes())) {
            values.push(value.to_owned());
        }
        values.len() < limit
    });
    values
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

/// Calls `field` with every field of every entry, its value and its parser, until it returns `false`.
fn visit<'a>(
    streams: &'a Streams,
    mut field: impl FnMut(&'a ResultEntry, &str, &str, Option<&'static str>) -> bool,
) {
    let mut labels = EntryLabels::new(Arc::new(Wanted::everything()));
    let mut json = JsonParser::default();
    let mut logfmt = LogfmtParser::new(false, false, Vec::new());
    for entry in &streams.entries {
        for (name, value) in &entry.structured_metadata {
            if !field(entry, name, value, None) {
                return;
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
                return;
            }
        } else {
            // Neither form: what the query's own stages found.
            let own = entry.parsed.iter().filter(|(name, _)| !name.starts_with("__error"));
            for (name, value) in own {
                if !field(entry, name, value, None) {
                    return;
                }
            }
        }
    }
}

/// The keys that lead to the member that the `json` parser calls `name`.
fn json_path(line: &str, name: &str) -> Vec<String> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return Vec::new() };
    let name = name.strip_suffix("_extracted").unwrap_or(name);
    let mut path = Vec::new();
    if find(&value, "", name, &mut path) { path } else { Vec::new() }
}

fn find(value: &serde_json::Value, prefix: &str, name: &str, path: &mut Vec<String>) -> bool {
    let Some(members) = value.as_object() else { return false };
    for (key, member) in members {
        let joined = sanitized_name(prefix, key);
        if !name.starts_with(&joined) {
            continue;
        }
        path.push(key.clone());
        if (joined == name && !member.is_object()) || find(member, &joined, name, path) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests;

//! Prints entries, one a line.

use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use super::OutputFormat;

/// An entry of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) timestamp_ns: i64,
    /// Those of the stream; of a server that does not tell them apart, all.
    pub(super) labels: Map<String, Value>,
    /// Structured metadata.
    pub(super) metadata: Map<String, Value>,
    /// Labels that the query made.
    pub(super) parsed: Map<String, Value>,
    pub(super) line: String,
}

impl Entry {
    /// All that has a name, as a query sees it.
    fn all_labels(&self) -> Value {
        let all = self.labels.iter().chain(&self.metadata).chain(&self.parsed);
        Value::Object(all.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The entry as a row of `--output json`, which `import` takes.
    fn row(&self, time: &str) -> Value {
        let mut row = json!({"labels": self.labels, "line": self.line, "timestamp": time});
        for (name, pairs) in [(METADATA, &self.metadata), ("parsed", &self.parsed)] {
            if !pairs.is_empty() {
                row[name] = Value::Object(pairs.clone());
            }
        }
        row
    }
}

/// Name of an entry's structured metadata, in the answers of Loki and in our rows.
pub(super) const METADATA: &str = "structuredMetadata";

/// The entries of streams in JSON.
pub(super) fn entries(streams: &Value) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for stream in streams.as_array().context("the answer has no list of streams")? {
        for value in stream["values"].as_array().into_iter().flatten() {
            let time = value[0].as_str().and_then(|text| text.parse().ok());
            let pairs = |of: &Value| of.as_object().cloned().unwrap_or_default();
            found.push(Entry {
                timestamp_ns: time.context("an entry of the answer has no time")?,
                labels: pairs(&stream["stream"]),
                metadata: pairs(&value[2][METADATA]),
                parsed: pairs(&value[2]["parsed"]),
                line: value[1].as_str().context("an entry of the answer has no line")?.to_owned(),
            });
        }
    }
    Ok(found)
}

/// Prints entries in one form.
pub(super) struct Printer {
    format: OutputFormat,
}

impl Printer {
    pub(super) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    pub(super) fn print(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut text = String::new();
        for entry in entries {
            let time = DateTime::from_timestamp_nanos(entry.timestamp_ns);
            let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            match self.format {
                OutputFormat::Raw => text.push_str(entry.line.trim_end_matches('\n')),
                OutputFormat::Default => {
                    text.push_str(&format!("{time} {} {}", labels_text(&entry.all_labels()), entry.line));
                }
                OutputFormat::Json => text.push_str(&entry.row(&time).to_string()),
            }
            text.push('\n');
        }
        crate::cli::print(&text)
    }
}

/// `{name="value", …}`.
pub(super) fn labels_text(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

pub(super) fn print_lines<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    crate::cli::print(&lines.map(|line| line.to_owned() + "\n").collect::<String>())
}

pub(super) fn print_json(value: &Value) -> anyhow::Result<()> {
    crate::cli::print(&(serde_json::to_string_pretty(value)? + "\n"))
}

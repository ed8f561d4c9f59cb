//! Prints entries, one a line.

use std::io::Write;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::OutputFormat;

/// An entry of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) timestamp_ns: i64,
    pub(super) labels: Value,
    pub(super) line: String,
}

/// The entries of streams in JSON.
pub(super) fn entries(streams: &Value) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for stream in streams.as_array().context("the answer has no list of streams")? {
        for value in stream["values"].as_array().into_iter().flatten() {
            let time = value[0].as_str().and_then(|text| text.parse().ok());
            found.push(Entry {
                timestamp_ns: time.context("an entry of the answer has no time")?,
                labels: stream["stream"].clone(),
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
                    text.push_str(&format!("{time} {} {}", labels_text(&entry.labels), entry.line));
                }
                OutputFormat::Json => {
                    let row = json!({"labels": entry.labels, "line": entry.line, "timestamp": time});
                    text.push_str(&row.to_string());
                }
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

/// Tells the user something that is no output.
pub(super) fn note(text: &str) {
    // Nothing can be done when even this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

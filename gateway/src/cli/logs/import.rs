//! Pushes the lines of a file, batch by batch.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, bail};
use chrono::DateTime;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::client::{LokiClient, now_ns};
use super::output::{self, METADATA};

/// Entries and bytes of one push.
const BATCH_ENTRIES: usize = 5000;
const BATCH_BYTES: usize = 1 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// A line of text for each entry; its time is now.
    Plain,
    /// A JSON object for each entry: `line`, `timestamp` (RFC 3339 or nanoseconds), `labels` and `structuredMetadata`, as
    /// `--output json` prints them. Labels that the query made (`parsed`) are left out.
    #[value(alias = "json", alias = "jsonl")]
    Ndjson,
}

/// An entry to push.
#[derive(Debug)]
struct Entry {
    labels: Map<String, Value>,
    metadata: Map<String, Value>,
    at_ns: i64,
    line: String,
}

/// Entries by their labels.
#[derive(Default)]
struct Batch {
    streams: BTreeMap<String, (Value, Vec<Value>)>,
    entries: usize,
    bytes: usize,
    /// The first and the last line of the file that it has entries of, counted from 1.
    lines: (u64, u64),
}

/// What became of the entries of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Imported {
    /// Entries of pushes that were taken as a whole.
    pub(super) entries: u64,
    /// Entries of pushes of which the server refused some: it stored the others.
    pub(super) in_refused_pushes: u64,
}

impl Imported {
    /// Prints the counts; an error when entries were refused.
    pub(super) fn tell(&self) -> anyhow::Result<()> {
        let mut counts = json!({"entries": self.entries});
        if self.in_refused_pushes == 0 {
            return output::print_json(&counts);
        }
        counts["in_refused_pushes"] = self.in_refused_pushes.into();
        output::print_json(&counts)?;
        bail!(
            "the server refused entries; of {} in the pushes with one it stored those that it did not refuse, of {} in \
             the others all",
            self.in_refused_pushes,
            self.entries
        );
    }

    /// Sends a batch. What the server refuses of it for good is told and does not keep the rest of the file from coming.
    async fn push(&mut self, client: &LokiClient, batch: Batch) -> anyhow::Result<()> {
        let (entries, (first, last)) = (batch.entries as u64, batch.lines);
        if entries == 0 {
            return Ok(());
        }
        let lines = || format!("lines {first} to {last} of the file");
        match client.push(&batch.body()).await.with_context(lines)? {
            None => self.entries += entries,
            Some(refusal) => {
                self.in_refused_pushes += entries;
                crate::cli::note(&format!("{}: refused in part: {refusal}", lines()));
            }
        }
        Ok(())
    }
}

/// Pushes a file and counts in `imported`. Lines that come before a wrong one are pushed.
pub(super) async fn run(
    client: &LokiClient,
    file: &Path,
    labels: &[String],
    format: FileFormat,
    imported: &mut Imported,
) -> anyhow::Result<()> {
    let mut own = Map::new();
    for label in labels {
        let (name, value) =
            label.split_once('=').with_context(|| format!("label {label:?}: want NAME=VALUE"))?;
        own.insert(name.to_owned(), value.into());
    }
    if own.is_empty() && format == FileFormat::Plain {
        bail!("plain lines need a label: --label NAME=VALUE");
    }
    if file == Path::new("-") {
        return push_all(client, std::io::stdin().lock(), &own, format, imported).await;
    }
    let opened = std::fs::File::open(file).with_context(|| format!("opening {}", file.display()))?;
    push_all(client, BufReader::new(opened), &own, format, imported).await
}

/// Reading may block: nothing else runs in this process.
async fn push_all(
    client: &LokiClient,
    mut reader: impl BufRead,
    own: &Map<String, Value>,
    format: FileFormat,
    imported: &mut Imported,
) -> anyhow::Result<()> {
    let (mut batch, mut number) = (Batch::default(), 0u64);
    let mut row = Vec::new();
    let mut last_ns = 0;
    loop {
        row.clear();
        if reader.read_until(b'\n', &mut row).context("reading the file")? == 0 {
            break;
        }
        number += 1;
        let text = String::from_utf8_lossy(row.strip_suffix(b"\n").unwrap_or(&row)).into_owned();
        if format == FileFormat::Ndjson && text.trim().is_empty() {
            continue;
        }
        // Times rise from line to line, so that the file's order is kept.
        last_ns = now_ns().max(last_ns + 1);
        let entry = match format {
            FileFormat::Plain => {
                Ok(Entry { labels: own.clone(), metadata: Map::new(), at_ns: last_ns, line: text })
            }
            FileFormat::Ndjson => entry_of(&text, own, last_ns).with_context(|| format!("line {number}")),
        };
        match entry {
            Ok(entry) => batch.add(number, entry),
            Err(wrong) => {
                imported.push(client, batch).await?;
                return Err(wrong);
            }
        }
        if batch.entries >= BATCH_ENTRIES || batch.bytes >= BATCH_BYTES {
            imported.push(client, std::mem::take(&mut batch)).await?;
        }
    }
    imported.push(client, batch).await
}

/// The entry of a JSON row.
fn entry_of(text: &str, own: &Map<String, Value>, default_ns: i64) -> anyhow::Result<Entry> {
    let row: Map<String, Value> = serde_json::from_str(text).context("not a JSON object")?;
    let row = Value::Object(row);
    let line = row["line"].as_str().context("no text named \"line\"")?.to_owned();
    let mut labels = match &row["labels"] {
        Value::Null => Map::new(),
        Value::Object(pairs) if pairs.values().all(Value::is_string) => pairs.clone(),
        _ => bail!("\"labels\" is no object of texts"),
    };
    labels.extend(own.clone());
    if labels.is_empty() {
        bail!("no labels: give some with --label NAME=VALUE");
    }
    let metadata = match &row[METADATA] {
        Value::Null => Map::new(),
        Value::Object(pairs) if pairs.values().all(Value::is_string) => pairs.clone(),
        _ => bail!("{METADATA:?} is no object of texts"),
    };
    let at_ns = match &row["timestamp"] {
        Value::Null => default_ns,
        Value::Number(number) => {
            number.as_i64().context("\"timestamp\" is no whole number of nanoseconds")?
        }
        Value::String(text) => match text.parse() {
            Ok(ns) => ns,
            Err(_) => {
                let time = DateTime::parse_from_rfc3339(text)
                    .context("\"timestamp\" is neither RFC 3339 nor nanoseconds")?;
                time.timestamp_nanos_opt().context("\"timestamp\" is outside the years 1678 to 2262")?
            }
        },
        _ => bail!("\"timestamp\" is neither a text nor a number"),
    };
    Ok(Entry { labels, metadata, at_ns, line })
}

impl Batch {
    /// Adds the entry of a line of the file.
    fn add(&mut self, number: u64, Entry { labels, metadata, at_ns, line }: Entry) {
        self.lines = (if self.entries == 0 { number } else { self.lines.0 }, number);
        self.entries += 1;
        self.bytes += line.len();
        let labels = Value::Object(labels);
        let (_, values) = self.streams.entry(labels.to_string()).or_insert_with(|| (labels, Vec::new()));
        values.push(match metadata.is_empty() {
            true => json!([at_ns.to_string(), line]),
            false => json!([at_ns.to_string(), line, metadata]),
        });
    }

    fn body(self) -> Value {
        let stream = |(labels, values)| json!({"stream": labels, "values": values});
        let streams: Vec<Value> = self.streams.into_values().map(stream).collect();
        json!({"streams": streams})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::entry_of;

    #[test]
    fn rows_have_labels_a_time_and_a_line() {
        let own = json!({"job": "import"}).as_object().cloned().unwrap_or_default();
        for (row, want) in [
            (
                json!({"labels": {"app": "x"}, "line": "a", "timestamp": "1970-01-01T00:00:01.5Z"}),
                Ok((json!({"app": "x", "job": "import"}), json!({}), 1_500_000_000)),
            ),
            (json!({"line": "a", "timestamp": "7"}), Ok((json!({"job": "import"}), json!({}), 7))),
            (json!({"line": "a", "timestamp": 8}), Ok((json!({"job": "import"}), json!({}), 8))),
            (
                json!({"line": "a", "structuredMetadata": {"trace_id": "ab"}, "parsed": {"x": "y"}}),
                Ok((json!({"job": "import"}), json!({"trace_id": "ab"}), 9)),
            ),
            (json!({"line": 5}), Err("no text named \"line\"")),
            (json!(["line"]), Err("not a JSON object")),
            (json!({"line": "a", "labels": {"a": 1}}), Err("\"labels\" is no object of texts")),
            (
                json!({"line": "a", "structuredMetadata": {"a": 1}}),
                Err("\"structuredMetadata\" is no object of texts"),
            ),
            (
                json!({"line": "a", "timestamp": "soon"}),
                Err("\"timestamp\" is neither RFC 3339 nor nanoseconds"),
            ),
        ] {
            match (entry_of(&row.to_string(), &own, 9), want) {
                (Ok(entry), Ok((labels, metadata, at_ns))) => {
                    let got = (Value::Object(entry.labels), Value::Object(entry.metadata), entry.at_ns);
                    assert_eq!((got, entry.line.as_str()), ((labels, metadata, at_ns), "a"));
                }
                (Err(error), Err(want)) => assert_eq!(error.to_string(), want),
                (got, want) => panic!("{got:?} and not {want:?}"),
            }
        }
    }

    #[test]
    fn a_row_without_labels_is_told_what_is_wrong_with_its_line_first() {
        for (row, want) in [
            (r#"{"line":5}"#, "no text named \"line\""),
            (r#"{"line":"a"}"#, "no labels: give some with --label NAME=VALUE"),
        ] {
            assert_eq!(entry_of(row, &Map::new(), 9).expect_err("a bad row").to_string(), want, "{row}");
        }
    }
}

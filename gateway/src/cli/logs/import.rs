//! Pushes the lines of a file, batch by batch.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, bail};
use chrono::DateTime;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::client::{LokiClient, now_ns};
use super::output::METADATA;

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
}

/// Pushes a file and gives the number of its entries. Lines that come before a wrong one are pushed.
pub(super) async fn run(
    client: &LokiClient,
    file: &Path,
    labels: &[String],
    format: FileFormat,
) -> anyhow::Result<u64> {
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
        return push_all(client, std::io::stdin().lock(), &own, format).await;
    }
    let opened = std::fs::File::open(file).with_context(|| format!("opening {}", file.display()))?;
    push_all(client, BufReader::new(opened), &own, format).await
}

/// Reading may block: nothing else runs in this process.
async fn push_all(
    client: &LokiClient,
    mut reader: impl BufRead,
    own: &Map<String, Value>,
    format: FileFormat,
) -> anyhow::Result<u64> {
    let (mut batch, mut pushed, mut number) = (Batch::default(), 0, 0u64);
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
                Entry { labels: own.clone(), metadata: Map::new(), at_ns: last_ns, line: text }
            }
            FileFormat::Ndjson => entry_of(&text, own, last_ns).with_context(|| format!("line {number}"))?,
        };
        batch.add(entry);
        if batch.entries >= BATCH_ENTRIES || batch.bytes >= BATCH_BYTES {
            pushed += std::mem::take(&mut batch).push(client).await?;
        }
    }
    Ok(pushed + batch.push(client).await?)
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
    fn add(&mut self, Entry { labels, metadata, at_ns, line }: Entry) {
        self.entries += 1;
        self.bytes += line.len();
        let labels = Value::Object(labels);
        let (_, values) = self.streams.entry(labels.to_string()).or_insert_with(|| (labels, Vec::new()));
        values.push(match metadata.is_empty() {
            true => json!([at_ns.to_string(), line]),
            false => json!([at_ns.to_string(), line, metadata]),
        });
    }

    async fn push(self, client: &LokiClient) -> anyhow::Result<u64> {
        if self.entries == 0 {
            return Ok(0);
        }
        let stream = |(labels, values)| json!({"stream": labels, "values": values});
        let streams: Vec<Value> = self.streams.into_values().map(stream).collect();
        client.push(&json!({"streams": streams})).await?;
        Ok(self.entries as u64)
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

//! The JSON of clients from before Loki 1.0, `/api/prom/push` (pkg/util/unmarshal/legacy): labels as one text, entries with
//! RFC 3339 times and without metadata.

use std::borrow::Cow;

use chrono::DateTime;
use model::LogEntries;
use serde::Deserialize;
use wire::loki_push::{PushRequest, PushStream, decode_json, parse_labels};

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, default)]
    streams: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    labels: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    line: Cow<'a, str>,
}

/// Reads such a body; `None` when it is none, because no stream has labels as one text. The error is a message.
pub(super) fn decode(body: &[u8]) -> Result<Option<PushRequest>, String> {
    let push: Push<'_> = match serde_json::from_slice(body) {
        Ok(push) => push,
        Err(error) => {
            // What is wrong in the newer form is told in Loki's words; what is nothing in it is wrong in this one.
            let newer = decode_json(body);
            let is_newer =
                newer.is_ok_and(|push| push.streams.iter().any(|stream| !stream.entries.is_empty()));
            return if is_newer { Ok(None) } else { Err(format!("json: {error}")) };
        }
    };
    if push.streams.iter().all(|stream| stream.labels.is_none()) {
        return Ok(None);
    }
    let streams = push.streams.iter().map(|stream| {
        let labels =
            parse_labels(stream.labels.as_deref().unwrap_or("{}")).map_err(|error| error.to_string())?;
        let mut entries = LogEntries::new();
        for entry in &stream.entries {
            let time = DateTime::parse_from_rfc3339(&entry.ts).ok();
            let time_ns = time.and_then(|time| time.timestamp_nanos_opt());
            let time_ns = time_ns.ok_or_else(|| format!("json: {:?} is no time in RFC 3339", entry.ts))?;
            entries.push(time_ns, &entry.line, []);
        }
        Ok(PushStream { labels, entries })
    });
    streams.collect::<Result<_, String>>().map(|streams| Some(PushRequest { streams }))
}

//! Loki push requests: protobuf (pkg/push/push.proto) and JSON v1, and the label strings inside.
//!
//! A body without snappy or gzip around it comes in, streams with their entries come out, as columns: see
//! `compression` for what is around a body, `loki_to_otlp` for what becomes of the streams. Times are nanoseconds;
//! names and values are as they were pushed.
//!
//! - PUSH-1: a request costs a small multiple of its bytes.
//!
//! Messages of refused JSON say where it is wrong, what is there and what is expected.

mod labels;

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::{Labels, LogEntries};

pub use self::labels::parse_labels;
use crate::DecodeError;
use crate::json::{JsonError, Lexer};
use crate::otlp_to_loki::Pairs;
use crate::protobuf::{self, Fields};

/// Answer to a request without streams; Loki sends it with status 422.
pub const NO_STREAMS: &str = "error at least one valid stream is required for ingestion";

/// Longest label string of a stream, bytes (`maxStreamLabelsSize` in pkg/loghttp/push/push.go).
pub const STREAM_LABELS_BYTES_MAX: usize = 16 << 20;

const NOT_A_TIME: &str = "a timestamp is no whole number of nanoseconds that fits 64 bits";
const TOO_LARGE: &str = "a stream has more than 4 GiB of text in one request";

/// Streams to store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// In the order of the request; a label set may come more than once.
    pub streams: Vec<PushStream>,
}

/// Entries of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushStream {
    /// The stream's labels.
    pub labels: Labels,
    /// Its entries, in any order of time.
    pub entries: LogEntries,
}

/// Reads an uncompressed `logproto.PushRequest`.
///
/// Loki does not look at the encoding of text: in lines and metadata, bytes that are not UTF-8 become U+FFFD here,
/// which is how its API shows them.
pub fn decode_proto(message: &[u8]) -> Result<PushRequest, DecodeError> {
    let streams = sent_streams(message).map(|stream| taken_apart(stream?));
    Ok(PushRequest { streams: streams.collect::<Result<_, _>>()? })
}

/// Reads a JSON body of `/loki/api/v1/push`.
pub fn decode_json(body: &[u8]) -> Result<PushRequest, DecodeError> {
    let mut lexer = Lexer::new(body)?;
    let mut streams = Vec::new();
    lexer.object(|lexer, name| match name {
        "streams" => {
            streams.clear();
            lexer.array(|lexer| {
                streams.push(json_stream(lexer)?);
                Ok(())
            })
        }
        _ => lexer.skip(),
    })?;
    lexer.end()?;
    let streams = streams.into_iter().map(|(labels, entries)| {
        let labels = labels::of_map(&labels)?;
        Ok(PushStream { labels, entries })
    });
    Ok(PushRequest { streams: streams.collect::<Result<_, DecodeError>>()? })
}

/// Writes an uncompressed `logproto.PushRequest`.
pub fn encode_proto(request: &PushRequest) -> Vec<u8> {
    let mut out = Vec::new();
    for stream in &request.streams {
        protobuf::put_message(&mut out, 1, |out| {
            protobuf::put_bytes_field(out, 1, labels::to_text(&stream.labels).as_bytes());
            for entry in stream.entries.iter() {
                protobuf::put_message(out, 2, |out| {
                    let seconds = entry.timestamp_ns.div_euclid(NS_PER_S);
                    let nanos = entry.timestamp_ns.rem_euclid(NS_PER_S);
                    protobuf::put_message(out, 1, |out| {
                        protobuf::put_varint_field(out, 1, seconds as u64);
                        protobuf::put_varint_field(out, 2, nanos as u64);
                    });
                    protobuf::put_bytes_field(out, 2, entry.line.as_bytes());
                    for (name, value) in entry.metadata {
                        protobuf::put_message(out, 3, |out| {
                            protobuf::put_bytes_field(out, 1, name.as_bytes());
                            protobuf::put_bytes_field(out, 2, value.as_bytes());
                        });
                    }
                });
            }
        });
    }
    out
}

const NS_PER_S: i64 = 1_000_000_000;

fn taken_apart(sent: SentStream<'_>) -> Result<PushStream, DecodeError> {
    let mut stream = PushStream { labels: sent.labels()?, entries: LogEntries::new() };
    let mut metadata = Pairs::default();
    for entry in sent.entries() {
        let entry = entry?;
        metadata.clear();
        for pair in entry.metadata() {
            let (name, value) = pair?;
            metadata.push(&name, &value);
        }
        if !stream.entries.has_room_for(entry.line.len(), metadata.text_bytes()) {
            return Err(DecodeError::invalid(TOO_LARGE));
        }
        stream.entries.push(entry.timestamp_ns, &entry.line, metadata.iter());
    }
    Ok(stream)
}

/// The streams of an uncompressed `logproto.PushRequest`, where they lie.
pub(crate) fn sent_streams(message: &[u8]) -> impl Iterator<Item = Result<SentStream<'_>, DecodeError>> {
    let streams = Fields::new(message).filter(|field| field.as_ref().map_or(true, |field| field.number == 1));
    streams.map(|field| SentStream::new(field?.bytes()?))
}

/// A stream in its wire form.
#[derive(Clone, Copy)]
pub(crate) struct SentStream<'a> {
    labels: &'a [u8],
    message: &'a [u8],
}

impl<'a> SentStream<'a> {
    fn new(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut labels: &[u8] = &[];
        for field in Fields::new(message) {
            let field = field?;
            if field.number == 1 {
                labels = field.bytes()?;
            }
        }
        if labels.len() > STREAM_LABELS_BYTES_MAX {
            return Err(DecodeError::invalid(format!(
                "stream labels size {} bytes exceeds limit of {STREAM_LABELS_BYTES_MAX} bytes",
                labels.len()
            )));
        }
        Ok(Self { labels, message })
    }

    pub(crate) fn labels(&self) -> Result<Labels, DecodeError> {
        parse_labels(protobuf::text(self.labels)?)
    }

    pub(crate) fn entries(self) -> impl Iterator<Item = Result<SentEntry<'a>, DecodeError>> {
        let entries = Fields::new(self.message);
        let entries = entries.filter(|field| field.as_ref().map_or(true, |field| field.number == 2));
        entries.map(|field| SentEntry::new(field?.bytes()?))
    }
}

/// An entry in its wire form.
pub(crate) struct SentEntry<'a> {
    pub(crate) timestamp_ns: i64,
    pub(crate) line: Cow<'a, str>,
    /// Nothing when the entry has no metadata.
    message: &'a [u8],
}

impl<'a> SentEntry<'a> {
    fn new(message: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut line, mut timestamp, mut has_metadata): (&[u8], &[u8], _) = (&[], &[], false);
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => timestamp = field.bytes()?,
                2 => line = field.bytes()?,
                3 => has_metadata = true,
                _ => {}
            }
        }
        let message = if has_metadata { message } else { &[] };
        Ok(Self { timestamp_ns: proto_timestamp_ns(timestamp)?, line: shown(line), message })
    }

    pub(crate) fn metadata(&self) -> impl Iterator<Item = Result<(Cow<'a, str>, Cow<'a, str>), DecodeError>> {
        let pairs = Fields::new(self.message);
        pairs.filter(|field| field.as_ref().map_or(true, |field| field.number == 3)).map(|field| {
            let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
            for field in Fields::new(field?.bytes()?) {
                let field = field?;
                match field.number {
                    1 => name = field.bytes()?,
                    2 => value = field.bytes()?,
                    _ => {}
                }
            }
            Ok((shown(name), shown(value)))
        })
    }
}

/// Text as Loki's API shows it: what is not UTF-8 is U+FFFD. Nearly all is UTF-8, which is seen several bytes at a time.
fn shown(text: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed)
}

/// `google.protobuf.Timestamp` as nanoseconds since the Unix epoch.
fn proto_timestamp_ns(message: &[u8]) -> Result<i64, DecodeError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i32 as i64,
            _ => {}
        }
    }
    if !(0..NS_PER_S).contains(&nanos) {
        return Err(DecodeError::invalid(format!("timestamp: {nanos} nanos not in range [0, 1e9)")));
    }
    let ns = seconds.checked_mul(NS_PER_S).and_then(|ns| ns.checked_add(nanos));
    ns.ok_or_else(|| {
        DecodeError::invalid(format!("entry timestamp of {seconds} s does not fit 64 bits of nanoseconds"))
    })
}

fn json_stream(lexer: &mut Lexer<'_>) -> Result<(BTreeMap<String, String>, LogEntries), JsonError> {
    let mut labels = BTreeMap::new();
    let mut entries = LogEntries::new();
    let mut scratch = (String::new(), Pairs::default());
    lexer.object(|lexer, name| match name {
        "stream" => {
            labels.clear();
            lexer.object(|lexer, name| {
                labels.insert(name.to_owned(), lexer.string()?.to_owned());
                Ok(())
            })
        }
        "values" => {
            entries.clear();
            lexer.array(|lexer| json_entry(lexer, &mut scratch, &mut entries))
        }
        _ => lexer.skip(),
    })?;
    Ok((labels, entries))
}

/// `["<ns>", "<line>", {"<name>": "<value>", …}]`
fn json_entry(
    lexer: &mut Lexer<'_>,
    (line, metadata): &mut (String, Pairs),
    entries: &mut LogEntries,
) -> Result<(), JsonError> {
    if lexer.take_null()? {
        return Ok(());
    }
    let (mut timestamp_ns, mut index) = (0, 0);
    line.clear();
    metadata.clear();
    lexer.array(|lexer| {
        match index {
            0 => {
                let parsed = lexer.string()?.parse::<i64>();
                timestamp_ns = parsed.map_err(|_| lexer.error(NOT_A_TIME))?;
            }
            1 => line.push_str(lexer.string()?),
            2 if lexer.peek() != Some(b'{') => return Err(lexer.unexpected("an object")),
            2 => lexer.object(|lexer, name| {
                metadata.push(name, lexer.string()?);
                Ok(())
            })?,
            _ => lexer.skip()?,
        }
        index += 1;
        Ok(())
    })?;
    // Without a line it is an empty one.
    if index == 0 {
        return Err(lexer.error("an entry has no elements, a timestamp and a line are needed"));
    }
    if !entries.has_room_for(line.len(), metadata.text_bytes()) {
        return Err(lexer.error(TOO_LARGE));
    }
    entries.push(timestamp_ns, line, metadata.iter());
    Ok(())
}

#[cfg(test)]
mod tests;

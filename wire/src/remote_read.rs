//! Prometheus remote read (prompb/remote.proto): reading requests, writing both kinds of answers.
//!
//! `SAMPLES` is one message of decoded samples in a snappy block; `STREAMED_XOR_CHUNKS` is a stream of frames with encoded
//! chunks: length as a varint, big-endian CRC-32C, message (storage/remote/chunked.go).

use model::{Labels, MatchOp, Matcher, Sample, SampleColumns, TimeRange};

use crate::DecodeError;
use crate::protobuf::{Fields, put_bytes_field, put_len_header, put_message, put_varint, put_varint_field};
use crate::remote_write::{SeriesParts, put_series};

/// Content-Type of an answer with samples.
pub const SAMPLES_TYPE: &str = "application/x-protobuf";
/// Content-Type of a streamed answer.
pub const STREAMED_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Most matchers and queries of a request: each costs far more than its bytes.
const MATCHERS_MAX: usize = 1000;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    /// Decoded samples.
    Samples,
    /// Encoded chunks, of all encodings.
    StreamedChunks,
}

/// One query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Milliseconds, both ends included.
    pub range: TimeRange,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The queries, answered in order.
    pub queries: Vec<Query>,
    /// The form of the answer: the first of those that the client takes.
    pub response_type: ResponseType,
}

impl ReadRequest {
    /// Reads a request without the snappy around it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut queries = Vec::new();
        let mut accepted = Vec::new();
        let mut fields = Fields::new(bytes);
        let mut matchers = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => {
                    let query = Query::decode(field.bytes()?)?;
                    matchers += 1 + query.matchers.len();
                    if matchers > MATCHERS_MAX {
                        return Err(DecodeError::invalid(format!(
                            "the request has more than {MATCHERS_MAX} queries and matchers"
                        )));
                    }
                    queries.push(query);
                }
                2 => field.varints(|number| accepted.push(number))?,
                _ => {}
            }
        }
        let known = accepted.iter().find_map(|number| match number {
            0 => Some(ResponseType::Samples),
            1 => Some(ResponseType::StreamedChunks),
            _ => None,
        });
        match known {
            Some(response_type) => Ok(Self { queries, response_type }),
            None if accepted.is_empty() => Ok(Self { queries, response_type: ResponseType::Samples }),
            None => Err(DecodeError::invalid(format!(
                "server does not support any of the requested response types: {accepted:?}; supported: [0, 1]"
            ))),
        }
    }
}

impl Query {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut query = Self { range: TimeRange::new(0, 0), matchers: Vec::new() };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => query.range.min = field.varint()? as i64,
                2 => query.range.max = field.varint()? as i64,
                3 => query.matchers.push(matcher(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(query)
    }
}

fn matcher(bytes: &[u8]) -> Result<Matcher, DecodeError> {
    let (mut op, mut name, mut value) = (0, "", "");
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => op = field.varint()?,
            2 => name = field.str()?,
            3 => value = field.str()?,
            _ => {}
        }
    }
    let op = match op {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(DecodeError::invalid("invalid matcher type")),
    };
    Matcher::new(name, op, value).map_err(|error| DecodeError::invalid(error.to_string()))
}

/// An answer with samples, written series by series.
#[derive(Clone, Debug, Default)]
pub struct SamplesWriter {
    out: Vec<u8>,
    result: Vec<u8>,
}

impl SamplesWriter {
    /// Appends a series to the result of the query at hand.
    pub fn put_series(&mut self, labels: &Labels, samples: &SampleColumns) {
        let mut histograms = samples.histograms.iter().peekable();
        let (mut floats, mut natives) = (Vec::with_capacity(samples.len()), Vec::new());
        for (index, (&timestamp_ms, &value)) in samples.timestamps_ms.iter().zip(&samples.values).enumerate()
        {
            match histograms.next_if(|(at, _)| *at == index) {
                Some((_, histogram)) => {
                    natives.push((timestamp_ms, model::NativeHistogram::Float(histogram.clone())));
                }
                None => floats.push(Sample { timestamp_ms, value }),
            }
        }
        let parts = SeriesParts { samples: &floats, histograms: &natives, exemplars: &[] };
        put_series(&mut self.result, labels, parts);
    }

    /// Ends the result of a query; the next one begins.
    pub fn end_query(&mut self) {
        put_bytes_field(&mut self.out, 1, &self.result);
        self.result.clear();
    }

    /// Bytes that are written by now.
    pub fn len(&self) -> usize {
        self.out.len() + self.result.len()
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `ReadResponse`.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// An encoded chunk.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Time of the first and last sample, ms.
    pub range: TimeRange,
    /// Number of the encoding (tsdb/chunkenc/chunk.go).
    pub encoding: u8,
    /// The chunk without length, encoding and checksum.
    pub data: &'a [u8],
}

/// Appends the frames of one series, each of about `frame_bytes_max`; a chunk is never cut.
pub fn put_frames<'a>(
    out: &mut Vec<u8>,
    query_index: u64,
    labels: &Labels,
    chunks: impl IntoIterator<Item = Chunk<'a>>,
    frame_bytes_max: usize,
) {
    let mut head = Vec::new();
    for (name, value) in labels.iter() {
        put_message(&mut head, 1, |out| {
            put_bytes_field(out, 1, name.as_bytes());
            put_bytes_field(out, 2, value.as_bytes());
        });
    }
    let mut series = head.clone();
    for chunk in chunks {
        put_message(&mut series, 2, |out| {
            put_varint_field(out, 1, chunk.range.min as u64);
            put_varint_field(out, 2, chunk.range.max as u64);
            put_varint_field(out, 3, u64::from(chunk.encoding));
            put_bytes_field(out, 4, chunk.data);
        });
        if series.len() >= frame_bytes_max {
            put_frame(out, query_index, &series);
            series.truncate(head.len());
        }
    }
    if series.len() > head.len() {
        put_frame(out, query_index, &series);
    }
}

fn put_frame(out: &mut Vec<u8>, query_index: u64, series: &[u8]) {
    let mut message = Vec::with_capacity(series.len() + 16);
    put_len_header(&mut message, 1, series.len());
    message.extend_from_slice(series);
    if query_index > 0 {
        put_varint_field(&mut message, 2, query_index);
    }
    put_varint(out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
}

#[cfg(test)]
mod tests;

//! Views of log records (`opentelemetry/proto/logs/v1/logs.proto`).

use super::views::{AnyValue, Attributes, Run, View};
use crate::DecodeError;
use crate::protobuf::{Fields, text};

/// One log record.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// When the event happened, nanoseconds since the Unix epoch; 0 is unknown.
    pub time_unix_nano: u64,
    /// When the event was seen, nanoseconds since the Unix epoch; 0 is unknown.
    pub observed_time_unix_nano: u64,
    /// 0 (unspecified), 1–4 trace, 5–8 debug, 9–12 info, 13–16 warn, 17–20 error, 21–24 fatal; others are not checked.
    pub severity_number: i32,
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The low eight bits are the W3C trace flags.
    pub flags: u32,
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    severity_text: &'a [u8],
    body: &'a [u8],
    event_name: &'a [u8],
}

impl<'a> LogRecord<'a> {
    /// The severity as the source wrote it.
    pub fn severity_text(&self) -> Result<&'a str, DecodeError> {
        text(self.severity_text)
    }

    /// The body; [`AnyValue::Empty`] when there is none.
    pub fn body(&self) -> Result<AnyValue<'a>, DecodeError> {
        AnyValue::parse(self.body)
    }

    /// The encoded `AnyValue` of the body.
    pub fn body_bytes(&self) -> &'a [u8] {
        self.body
    }

    /// The name of the event, when the record is one.
    pub fn event_name(&self) -> Result<&'a str, DecodeError> {
        text(self.event_name)
    }
}

impl<'a> View<'a> for LogRecord<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut record = Self {
            time_unix_nano: 0,
            observed_time_unix_nano: 0,
            severity_number: 0,
            attributes: Attributes::new(bytes, 6, Run::default()),
            dropped_attributes_count: 0,
            flags: 0,
            trace_id: &[],
            span_id: &[],
            severity_text: &[],
            body: &[],
            event_name: &[],
        };
        let mut attributes = Run::default();
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => record.time_unix_nano = field.fixed64()?,
                2 => record.severity_number = field.varint()? as i32,
                3 => record.severity_text = field.bytes()?,
                5 => record.body = field.bytes()?,
                6 => attributes.add(start, fields.offset()),
                7 => record.dropped_attributes_count = field.varint()? as u32,
                8 => record.flags = field.fixed32()?,
                9 => record.trace_id = field.bytes()?,
                10 => record.span_id = field.bytes()?,
                11 => record.observed_time_unix_nano = field.fixed64()?,
                12 => record.event_name = field.bytes()?,
                _ => (),
            }
            start = fields.offset();
        }
        record.attributes = Attributes::new(bytes, 6, attributes);
        Ok(record)
    }
}

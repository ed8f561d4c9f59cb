//! Views of spans (`opentelemetry/proto/trace/v1/trace.proto`).

use super::views::{Attributes, Run, View, Views};
use crate::DecodeError;
use crate::protobuf::{Fields, text};

/// One span.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    /// 8 bytes, or none for a root.
    pub parent_span_id: &'a [u8],
    /// The low eight bits are the W3C trace flags.
    pub flags: u32,
    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer; others are not checked.
    pub kind: i32,
    /// Nanoseconds since the Unix epoch.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_time_unix_nano: u64,
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// Events the sender left out.
    pub dropped_events_count: u32,
    /// Links the sender left out.
    pub dropped_links_count: u32,
    name: &'a [u8],
    trace_state: &'a [u8],
    status: &'a [u8],
    events: &'a [u8],
    links: &'a [u8],
}

impl<'a> Span<'a> {
    /// The name of the operation.
    pub fn name(&self) -> Result<&'a str, DecodeError> {
        text(self.name)
    }

    /// The W3C trace state.
    pub fn trace_state(&self) -> Result<&'a str, DecodeError> {
        text(self.trace_state)
    }

    /// The status; code 0 without message when there is none.
    pub fn status(&self) -> Result<SpanStatus<'a>, DecodeError> {
        SpanStatus::parse(self.status)
    }

    /// The events.
    pub fn events(&self) -> Views<'a, SpanEvent<'a>> {
        Views::new(self.events, 11)
    }

    /// The links.
    pub fn links(&self) -> Views<'a, SpanLink<'a>> {
        Views::new(self.links, 13)
    }
}

impl<'a> View<'a> for Span<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut span = Self {
            trace_id: &[],
            span_id: &[],
            parent_span_id: &[],
            flags: 0,
            kind: 0,
            start_time_unix_nano: 0,
            end_time_unix_nano: 0,
            attributes: Attributes::new(bytes, 9, Run::default()),
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
            name: &[],
            trace_state: &[],
            status: &[],
            events: &[],
            links: &[],
        };
        let (mut attributes, mut events, mut links) = (Run::default(), Run::default(), Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => span.trace_id = field.bytes()?,
                2 => span.span_id = field.bytes()?,
                3 => span.trace_state = field.bytes()?,
                4 => span.parent_span_id = field.bytes()?,
                5 => span.name = field.bytes()?,
                6 => span.kind = field.varint()? as i32,
                7 => span.start_time_unix_nano = field.fixed64()?,
                8 => span.end_time_unix_nano = field.fixed64()?,
                9 => attributes.add(start, fields.offset()),
                10 => span.dropped_attributes_count = field.varint()? as u32,
                11 => events.add(start, fields.offset()),
                12 => span.dropped_events_count = field.varint()? as u32,
                13 => links.add(start, fields.offset()),
                14 => span.dropped_links_count = field.varint()? as u32,
                15 => span.status = field.bytes()?,
                16 => span.flags = field.fixed32()?,
                _ => (),
            }
            start = fields.offset();
        }
        span.attributes = Attributes::new(bytes, 9, attributes);
        span.events = events.of(bytes);
        span.links = links.of(bytes);
        Ok(span)
    }
}

/// How a span ended.
#[derive(Clone, Copy, Debug)]
pub struct SpanStatus<'a> {
    /// 0 unset, 1 ok, 2 error; others are not checked.
    pub code: i32,
    message: &'a [u8],
}

impl<'a> SpanStatus<'a> {
    /// What went wrong.
    pub fn message(&self) -> Result<&'a str, DecodeError> {
        text(self.message)
    }
}

impl<'a> View<'a> for SpanStatus<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut status = Self { code: 0, message: &[] };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => status.message = field.bytes()?,
                3 => status.code = field.varint()? as i32,
                _ => (),
            }
        }
        Ok(status)
    }
}

/// Something that happened during a span.
#[derive(Clone, Copy, Debug)]
pub struct SpanEvent<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes_count: u32,
    name: &'a [u8],
}

impl<'a> SpanEvent<'a> {
    /// The event's name.
    pub fn name(&self) -> Result<&'a str, DecodeError> {
        text(self.name)
    }
}

impl<'a> View<'a> for SpanEvent<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut time_unix_nano, mut dropped_attributes_count) = (0, 0);
        let (mut name, mut attributes): (&[u8], _) = (&[], Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => time_unix_nano = field.fixed64()?,
                2 => name = field.bytes()?,
                3 => attributes.add(start, fields.offset()),
                4 => dropped_attributes_count = field.varint()? as u32,
                _ => (),
            }
            start = fields.offset();
        }
        let attributes = Attributes::new(bytes, 3, attributes);
        Ok(Self { time_unix_nano, attributes, dropped_attributes_count, name })
    }
}

/// A pointer from a span to another one.
#[derive(Clone, Copy, Debug)]
pub struct SpanLink<'a> {
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The low eight bits are the W3C trace flags.
    pub flags: u32,
    trace_state: &'a [u8],
}

impl<'a> SpanLink<'a> {
    /// The W3C trace state.
    pub fn trace_state(&self) -> Result<&'a str, DecodeError> {
        text(self.trace_state)
    }
}

impl<'a> View<'a> for SpanLink<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut trace_id, mut span_id, mut trace_state): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let (mut attributes, mut dropped_attributes_count, mut flags) = (Run::default(), 0, 0);
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => trace_id = field.bytes()?,
                2 => span_id = field.bytes()?,
                3 => trace_state = field.bytes()?,
                4 => attributes.add(start, fields.offset()),
                5 => dropped_attributes_count = field.varint()? as u32,
                6 => flags = field.fixed32()?,
                _ => (),
            }
            start = fields.offset();
        }
        let attributes = Attributes::new(bytes, 4, attributes);
        Ok(Self { trace_id, span_id, attributes, dropped_attributes_count, flags, trace_state })
    }
}

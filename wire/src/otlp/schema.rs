//! The OTLP messages as tables: what `check` proves, and what `json` reads and writes.
//!
//! Source: the `.proto` files of opentelemetry-proto 1.x (common, resource, metrics, logs, trace and the collector
//! services). Dictionary fields of the profiles signal (`string_value_strindex`, `key_strindex`) are not listed, so
//! they count as unknown. A field is one row; nothing else has to change for it.

use model::Signal;

/// One message type.
#[derive(Debug)]
pub(super) struct Message {
    /// What its field numbers mean, in ascending order.
    pub(super) fields: &'static [Field],
    /// `index[number]` is the position in `fields` plus one, 0 for none: a look-up without a search.
    index: [u8; NUMBER_MAX + 1],
    /// What is special about it.
    pub(super) role: Role,
}

/// Highest field number that is listed.
const NUMBER_MAX: usize = 16;

/// What is special about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Plain,
    /// A data point, log record or span: counted, and refused by itself when an id in it is wrong.
    Item,
    /// Left out by itself when an id in it is wrong.
    Exemplar,
    /// Holds the points of one type in one of several fields.
    Metric,
    /// `KeyValue`, the most frequent message.
    KeyValue,
    /// Nests, under a cap.
    AnyValue,
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// The name in JSON, lowerCamelCase.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) label: Label,
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Once; absent and default are the same.
    Implicit,
    /// Once; absent and default differ (`optional`, messages).
    Explicit,
    /// A member of the one oneof of its message, of which the last that is given counts.
    Member,
    /// Any number of times.
    Repeated,
}

/// A field's type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    String,
    Bytes,
    /// Bytes that are hex in JSON and have this length or none.
    Id(usize),
    Bool,
    Double,
    Fixed32,
    Fixed64,
    Sfixed64,
    Uint32,
    Uint64,
    Int64,
    Sint32,
    /// Names by number, without the prefix that all of them share.
    Enum(&'static Enum),
    Message(&'static Message),
}

/// An enum's names: `prefix` + `names[number]`.
#[derive(Debug)]
pub(super) struct Enum {
    pub(super) prefix: &'static str,
    pub(super) names: &'static [&'static str],
}

impl Message {
    const fn new(role: Role, fields: &'static [Field]) -> Self {
        let mut index = [0; NUMBER_MAX + 1];
        let mut position = 0;
        while position < fields.len() {
            index[fields[position].number as usize] = position as u8 + 1;
            position += 1;
        }
        Self { fields, index, role }
    }

    /// The field with this number, if it is known.
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        let position = *self.index.get(number as usize)?;
        self.fields.get((position as usize).wrapping_sub(1))
    }

    /// The field with this JSON name, lowerCamelCase or snake_case.
    pub(super) fn field_named(&self, name: &str) -> Option<&'static Field> {
        let exact = self.fields.iter().find(|field| field.name == name);
        if exact.is_some() || !name.contains('_') {
            return exact;
        }
        self.fields.iter().find(|field| is_snake_case_of(name, field.name))
    }
}

/// Whether `snake` is the snake_case form of the lowerCamelCase name `camel`.
fn is_snake_case_of(snake: &str, camel: &str) -> bool {
    let mut snake = snake.bytes();
    camel.bytes().all(|c| match c.is_ascii_uppercase() {
        true => snake.next() == Some(b'_') && snake.next() == Some(c.to_ascii_lowercase()),
        false => snake.next() == Some(c),
    }) && snake.next().is_none()
}

/// The request message of a signal.
pub(super) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Metrics => &METRICS_REQUEST,
        Signal::Logs => &LOGS_REQUEST,
        Signal::Traces => &TRACE_REQUEST,
    }
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::Implicit }
}

const fn opt(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::Explicit }
}

const fn member(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::Member }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, label: Label::Repeated }
}

/// A singular message field; a present empty message differs from an absent one.
const fn msg(number: u32, name: &'static str, message: &'static Message) -> Field {
    opt(number, name, Kind::Message(message))
}

const fn msgs(number: u32, name: &'static str, message: &'static Message) -> Field {
    many(number, name, Kind::Message(message))
}

const TRACE_ID: Kind = Kind::Id(16);
const SPAN_ID: Kind = Kind::Id(8);

static ANY_VALUE: Message = Message::new(
    Role::AnyValue,
    &[
        member(1, "stringValue", Kind::String),
        member(2, "boolValue", Kind::Bool),
        member(3, "intValue", Kind::Int64),
        member(4, "doubleValue", Kind::Double),
        member(5, "arrayValue", Kind::Message(&ARRAY_VALUE)),
        member(6, "kvlistValue", Kind::Message(&KEY_VALUE_LIST)),
        member(7, "bytesValue", Kind::Bytes),
    ],
);
static ARRAY_VALUE: Message = Message::new(Role::Plain, &[msgs(1, "values", &ANY_VALUE)]);
static KEY_VALUE_LIST: Message = Message::new(Role::Plain, &[msgs(1, "values", &KEY_VALUE)]);
static KEY_VALUE: Message =
    Message::new(Role::KeyValue, &[one(1, "key", Kind::String), msg(2, "value", &ANY_VALUE)]);
static ENTITY_REF: Message = Message::new(
    Role::Plain,
    &[
        one(1, "schemaUrl", Kind::String),
        one(2, "type", Kind::String),
        many(3, "idKeys", Kind::String),
        many(4, "descriptionKeys", Kind::String),
    ],
);
static RESOURCE: Message = Message::new(
    Role::Plain,
    &[
        msgs(1, "attributes", &KEY_VALUE),
        one(2, "droppedAttributesCount", Kind::Uint32),
        msgs(3, "entityRefs", &ENTITY_REF),
    ],
);
static SCOPE: Message = Message::new(
    Role::Plain,
    &[
        one(1, "name", Kind::String),
        one(2, "version", Kind::String),
        msgs(3, "attributes", &KEY_VALUE),
        one(4, "droppedAttributesCount", Kind::Uint32),
    ],
);

static LOGS_REQUEST: Message = Message::new(Role::Plain, &[msgs(1, "resourceLogs", &RESOURCE_LOGS)]);
static RESOURCE_LOGS: Message = Message::new(
    Role::Plain,
    &[msg(1, "resource", &RESOURCE), msgs(2, "scopeLogs", &SCOPE_LOGS), one(3, "schemaUrl", Kind::String)],
);
static SCOPE_LOGS: Message = Message::new(
    Role::Plain,
    &[msg(1, "scope", &SCOPE), msgs(2, "logRecords", &LOG_RECORD), one(3, "schemaUrl", Kind::String)],
);
static LOG_RECORD: Message = Message::new(
    Role::Item,
    &[
        one(1, "timeUnixNano", Kind::Fixed64),
        one(2, "severityNumber", Kind::Enum(&SEVERITY_NUMBER)),
        one(3, "severityText", Kind::String),
        msg(5, "body", &ANY_VALUE),
        msgs(6, "attributes", &KEY_VALUE),
        one(7, "droppedAttributesCount", Kind::Uint32),
        one(8, "flags", Kind::Fixed32),
        one(9, "traceId", TRACE_ID),
        one(10, "spanId", SPAN_ID),
        one(11, "observedTimeUnixNano", Kind::Fixed64),
        one(12, "eventName", Kind::String),
    ],
);
static SEVERITY_NUMBER: Enum = Enum {
    prefix: "SEVERITY_NUMBER_",
    names: &[
        "UNSPECIFIED",
        "TRACE",
        "TRACE2",
        "TRACE3",
        "TRACE4",
        "DEBUG",
        "DEBUG2",
        "DEBUG3",
        "DEBUG4",
        "INFO",
        "INFO2",
        "INFO3",
        "INFO4",
        "WARN",
        "WARN2",
        "WARN3",
        "WARN4",
        "ERROR",
        "ERROR2",
        "ERROR3",
        "ERROR4",
        "FATAL",
        "FATAL2",
        "FATAL3",
        "FATAL4",
    ],
};

static METRICS_REQUEST: Message = Message::new(Role::Plain, &[msgs(1, "resourceMetrics", &RESOURCE_METRICS)]);
static RESOURCE_METRICS: Message = Message::new(
    Role::Plain,
    &[
        msg(1, "resource", &RESOURCE),
        msgs(2, "scopeMetrics", &SCOPE_METRICS),
        one(3, "schemaUrl", Kind::String),
    ],
);
static SCOPE_METRICS: Message = Message::new(
    Role::Plain,
    &[msg(1, "scope", &SCOPE), msgs(2, "metrics", &METRIC), one(3, "schemaUrl", Kind::String)],
);
static METRIC: Message = Message::new(
    Role::Metric,
    &[
        one(1, "name", Kind::String),
        one(2, "description", Kind::String),
        one(3, "unit", Kind::String),
        member(5, "gauge", Kind::Message(&GAUGE)),
        member(7, "sum", Kind::Message(&SUM)),
        member(9, "histogram", Kind::Message(&HISTOGRAM)),
        member(10, "exponentialHistogram", Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        member(11, "summary", Kind::Message(&SUMMARY)),
        msgs(12, "metadata", &KEY_VALUE),
    ],
);
static TEMPORALITY: Enum =
    Enum { prefix: "AGGREGATION_TEMPORALITY_", names: &["UNSPECIFIED", "DELTA", "CUMULATIVE"] };
static GAUGE: Message = Message::new(Role::Plain, &[msgs(1, "dataPoints", &NUMBER_POINT)]);
static SUM: Message = Message::new(
    Role::Plain,
    &[
        msgs(1, "dataPoints", &NUMBER_POINT),
        one(2, "aggregationTemporality", Kind::Enum(&TEMPORALITY)),
        one(3, "isMonotonic", Kind::Bool),
    ],
);
static HISTOGRAM: Message = Message::new(
    Role::Plain,
    &[msgs(1, "dataPoints", &HISTOGRAM_POINT), one(2, "aggregationTemporality", Kind::Enum(&TEMPORALITY))],
);
static EXPONENTIAL_HISTOGRAM: Message = Message::new(
    Role::Plain,
    &[
        msgs(1, "dataPoints", &EXPONENTIAL_HISTOGRAM_POINT),
        one(2, "aggregationTemporality", Kind::Enum(&TEMPORALITY)),
    ],
);
static SUMMARY: Message = Message::new(Role::Plain, &[msgs(1, "dataPoints", &SUMMARY_POINT)]);
static NUMBER_POINT: Message = Message::new(
    Role::Item,
    &[
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        member(4, "asDouble", Kind::Double),
        msgs(5, "exemplars", &EXEMPLAR),
        member(6, "asInt", Kind::Sfixed64),
        msgs(7, "attributes", &KEY_VALUE),
        one(8, "flags", Kind::Uint32),
    ],
);
static HISTOGRAM_POINT: Message = Message::new(
    Role::Item,
    &[
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        opt(5, "sum", Kind::Double),
        many(6, "bucketCounts", Kind::Fixed64),
        many(7, "explicitBounds", Kind::Double),
        msgs(8, "exemplars", &EXEMPLAR),
        msgs(9, "attributes", &KEY_VALUE),
        one(10, "flags", Kind::Uint32),
        opt(11, "min", Kind::Double),
        opt(12, "max", Kind::Double),
    ],
);
static EXPONENTIAL_HISTOGRAM_POINT: Message = Message::new(
    Role::Item,
    &[
        msgs(1, "attributes", &KEY_VALUE),
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        opt(5, "sum", Kind::Double),
        one(6, "scale", Kind::Sint32),
        one(7, "zeroCount", Kind::Fixed64),
        msg(8, "positive", &BUCKETS),
        msg(9, "negative", &BUCKETS),
        one(10, "flags", Kind::Uint32),
        msgs(11, "exemplars", &EXEMPLAR),
        opt(12, "min", Kind::Double),
        opt(13, "max", Kind::Double),
        one(14, "zeroThreshold", Kind::Double),
    ],
);
static BUCKETS: Message =
    Message::new(Role::Plain, &[one(1, "offset", Kind::Sint32), many(2, "bucketCounts", Kind::Uint64)]);
static SUMMARY_POINT: Message = Message::new(
    Role::Item,
    &[
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        one(5, "sum", Kind::Double),
        msgs(6, "quantileValues", &QUANTILE_VALUE),
        msgs(7, "attributes", &KEY_VALUE),
        one(8, "flags", Kind::Uint32),
    ],
);
static QUANTILE_VALUE: Message =
    Message::new(Role::Plain, &[one(1, "quantile", Kind::Double), one(2, "value", Kind::Double)]);
static EXEMPLAR: Message = Message::new(
    Role::Exemplar,
    &[
        one(2, "timeUnixNano", Kind::Fixed64),
        member(3, "asDouble", Kind::Double),
        one(4, "spanId", SPAN_ID),
        one(5, "traceId", TRACE_ID),
        member(6, "asInt", Kind::Sfixed64),
        msgs(7, "filteredAttributes", &KEY_VALUE),
    ],
);

static TRACE_REQUEST: Message = Message::new(Role::Plain, &[msgs(1, "resourceSpans", &RESOURCE_SPANS)]);
static RESOURCE_SPANS: Message = Message::new(
    Role::Plain,
    &[msg(1, "resource", &RESOURCE), msgs(2, "scopeSpans", &SCOPE_SPANS), one(3, "schemaUrl", Kind::String)],
);
static SCOPE_SPANS: Message = Message::new(
    Role::Plain,
    &[msg(1, "scope", &SCOPE), msgs(2, "spans", &SPAN), one(3, "schemaUrl", Kind::String)],
);
static SPAN: Message = Message::new(
    Role::Item,
    &[
        one(1, "traceId", TRACE_ID),
        one(2, "spanId", SPAN_ID),
        one(3, "traceState", Kind::String),
        one(4, "parentSpanId", SPAN_ID),
        one(5, "name", Kind::String),
        one(6, "kind", Kind::Enum(&SPAN_KIND)),
        one(7, "startTimeUnixNano", Kind::Fixed64),
        one(8, "endTimeUnixNano", Kind::Fixed64),
        msgs(9, "attributes", &KEY_VALUE),
        one(10, "droppedAttributesCount", Kind::Uint32),
        msgs(11, "events", &EVENT),
        one(12, "droppedEventsCount", Kind::Uint32),
        msgs(13, "links", &LINK),
        one(14, "droppedLinksCount", Kind::Uint32),
        msg(15, "status", &STATUS),
        one(16, "flags", Kind::Fixed32),
    ],
);
static SPAN_KIND: Enum = Enum {
    prefix: "SPAN_KIND_",
    names: &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"],
};
static EVENT: Message = Message::new(
    Role::Plain,
    &[
        one(1, "timeUnixNano", Kind::Fixed64),
        one(2, "name", Kind::String),
        msgs(3, "attributes", &KEY_VALUE),
        one(4, "droppedAttributesCount", Kind::Uint32),
    ],
);
static LINK: Message = Message::new(
    Role::Plain,
    &[
        one(1, "traceId", TRACE_ID),
        one(2, "spanId", SPAN_ID),
        one(3, "traceState", Kind::String),
        msgs(4, "attributes", &KEY_VALUE),
        one(5, "droppedAttributesCount", Kind::Uint32),
        one(6, "flags", Kind::Fixed32),
    ],
);
static STATUS: Message =
    Message::new(Role::Plain, &[one(2, "message", Kind::String), one(3, "code", Kind::Enum(&STATUS_CODE))]);
static STATUS_CODE: Enum = Enum { prefix: "STATUS_CODE_", names: &["UNSET", "OK", "ERROR"] };

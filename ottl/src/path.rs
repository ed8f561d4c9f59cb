//! Paths: which field of which message a text such as `resource.attributes["a"]` means, settled when a config is read.
//!
//! Rules and texts: contexts/internal/ctx*/ and functions.go of `pkg/ottl`.

use crate::ast;
use crate::compile::Compiler;
use crate::context::Context;
use crate::error::ParseError;
use crate::expression::Expr;
use crate::frame::Level;

/// A path that is settled.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) level: Level,
    pub(crate) access: Access,
    pub(crate) keys: Vec<Key>,
}

/// What stands in brackets.
#[derive(Debug)]
pub(crate) enum Key {
    Text(String),
    Int(i64),
    Expr(Expr),
}

/// How a field is read and set. Numbers are of protobuf fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Text(u32),
    /// An unsigned 32-bit number.
    Uint32(u32),
    /// An enum.
    Enum(u32),
    /// Flags, fixed 32 bits.
    Fixed32(u32),
    /// A time in nanoseconds, as a number.
    Nanoseconds(u32),
    /// A time.
    Time(u32),
    TraceId(u32),
    TraceIdText(u32),
    SpanId(u32),
    SpanIdText(u32),
    /// Key-value pairs.
    Pairs(u32),
    Body,
    BodyText,
    TraceState,
    KindText,
    KindDeprecatedText,
    /// A repeated message and its Go type.
    Messages(u32, &'static str),
    Status,
    StatusCode,
    StatusMessage,
    EventIndex,
    Cache,
    SenderAddress,
    SenderMetadata,
    MetricType,
    Temporality,
    IsMonotonic,
    DataPoints,
    Point(Point),
}

/// A part of a data point, whose field depends on the kind of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Attributes,
    StartNanoseconds,
    Nanoseconds,
    Start,
    Time,
    Double,
    Int,
    Exemplars,
    Flags,
    Count,
    Sum,
    BucketCounts,
    Bounds,
    Scale,
    ZeroCount,
    /// Positive or negative buckets whole, their offset, their counts.
    Buckets(u32),
    BucketsOffset(u32),
    BucketsCounts(u32),
    Quantiles,
}

/// The context and the segments that a path means.
fn split<'a>(
    compiler: &Compiler<'_>,
    path: &'a ast::Path,
) -> Result<(Context, &'a [ast::Segment]), ParseError> {
    let own = compiler.context;
    let first = path.segments[0].name.as_str();
    // The scope's own context does not know its old name where names are required.
    let is_old_name = own == Context::Scope && first == "instrumentation_scope" && compiler.needs_names();
    let named = Context::named(first).filter(|context| own.reaches(*context) && !is_old_name);
    if let (Some(context), true) = (named, path.has_context()) {
        return Ok((context, &path.segments[1..]));
    }
    if compiler.needs_names() {
        return Err(ParseError::new(if path.has_context() {
            format!(
                "context {first:?} from path {:?} is not valid, it must be replaced by one of: {}",
                path.text,
                own.path_names()
            )
        } else {
            format!(
                "missing context name for path {:?}, possibly valid options are: {}",
                path.text,
                own.path_names()
            )
        }));
    }
    Ok((own, &path.segments))
}

/// Settles a path.
pub(crate) fn settle(compiler: &Compiler<'_>, path: &ast::Path) -> Result<Path, ParseError> {
    if path.has_context() && path.segments[0].name == "otelcol" {
        return settle_around(compiler, path);
    }
    let (context, segments) = split(compiler, path)?;
    let names: Vec<&str> = segments.iter().map(|segment| segment.name.as_str()).collect();
    let unknown = |segment: &str| {
        ParseError::new(format!(
            "segment {segment:?} from path {:?} is not a valid path nor a valid OTTL keyword for the {} context",
            path.text,
            context.name()
        ))
    };
    if names[0] == "cache" && context != compiler.context {
        return Err(ParseError::new(format!(
            "access to \"{}\" is not allowed from the {} context: the cache belongs to its own context",
            path.text,
            compiler.context.name()
        )));
    }
    let found = match names[0] {
        "cache" => Some((Level::Record, Access::Cache, 1)),
        _ => find(context, &names),
    };
    let Some((level, access, used)) = found else { return Err(unknown(names[0])) };
    if let Some(extra) = names.get(used) {
        if used == 1 && has_parts(access) {
            return Err(unknown(extra));
        }
        return Err(ParseError::new(format!(
            "the path section {extra:?} was not used by the context - this likely means you are using extra path sections"
        )));
    }
    let last = &segments[used - 1];
    if let Some(keyed) = segments[..used - 1].iter().find(|segment| !segment.keys.is_empty()) {
        return Err(not_indexable(&keyed.name));
    }
    if !last.keys.is_empty() && !is_indexable(access) {
        return Err(not_indexable(&last.name));
    }
    if access == Access::TraceState && last.keys.len() > 1 {
        return Err(ParseError::new("must provide exactly 1 key when accessing trace_state"));
    }
    let keys = compiler.keys(&last.keys)?;
    Ok(Path { level, access, keys })
}

/// Settles a path of the context `otelcol` (ctxotelcol).
fn settle_around(compiler: &Compiler<'_>, path: &ast::Path) -> Result<Path, ParseError> {
    let segments = &path.segments[1..];
    let names: Vec<&str> = segments.iter().map(|segment| segment.name.as_str()).collect();
    let unknown = |segment: &str| {
        ParseError::new(format!(
            "segment {segment:?} from path {:?} is not a valid path nor a valid OTTL keyword for the otelcol context",
            path.text
        ))
    };
    let access = match names[..] {
        ["client", "addr"] => Access::SenderAddress,
        ["client", "metadata"] => Access::SenderMetadata,
        ["client", "auth", "attributes"] | ["grpc", "metadata"] => {
            return Err(ParseError::new(format!(
                "the path {:?} is not supported: requests carry no such values here; otelcol.client.metadata has those \
                 of receivers with include_metadata",
                path.text
            )));
        }
        ["client", "addr" | "metadata", extra, ..] | ["client", extra, ..] => return Err(unknown(extra)),
        [first, ..] => return Err(unknown(first)),
        [] => return Err(unknown("")),
    };
    let (last, before) = segments.split_last().expect("two segments were matched");
    if let Some(keyed) = before.iter().find(|segment| !segment.keys.is_empty()) {
        return Err(not_indexable(&keyed.name));
    }
    if access == Access::SenderAddress && !last.keys.is_empty() {
        return Err(unknown(&last.name));
    }
    Ok(Path { level: Level::Group, access, keys: compiler.keys(&last.keys)? })
}

fn not_indexable(name: &str) -> ParseError {
    ParseError::new(format!(
        "the keys indexing {name:?} were not used by the context - this likely means you are trying to index a path that does not support indexing"
    ))
}

fn is_indexable(access: Access) -> bool {
    matches!(
        access,
        Access::Pairs(_)
            | Access::Body
            | Access::Cache
            | Access::TraceState
            | Access::Point(Point::Attributes)
    )
}

/// Whether the field has named parts, of which an unknown one was asked for.
fn has_parts(access: Access) -> bool {
    matches!(
        access,
        Access::Body
            | Access::TraceId(_)
            | Access::SpanId(_)
            | Access::Enum(6)
            | Access::Status
            | Access::Point(Point::Buckets(_))
    )
}

/// The message and access of a path, and how many segments it takes.
fn find(context: Context, names: &[&str]) -> Option<(Level, Access, usize)> {
    let second = names.get(1).copied();
    let at = |level: Level, access: Access| Some((level, access, 1));
    match context {
        Context::Resource => match names[0] {
            "attributes" => at(Level::Resource, Access::Pairs(1)),
            "dropped_attributes_count" => at(Level::Resource, Access::Uint32(2)),
            "schema_url" => at(Level::Group, Access::Text(3)),
            _ => None,
        },
        Context::Scope => match names[0] {
            "name" => at(Level::Scope, Access::Text(1)),
            "version" => at(Level::Scope, Access::Text(2)),
            "attributes" => at(Level::Scope, Access::Pairs(3)),
            "dropped_attributes_count" => at(Level::Scope, Access::Uint32(4)),
            "schema_url" => at(Level::ScopeGroup, Access::Text(3)),
            _ => None,
        },
        Context::Log => find_log(names[0], second).map(|(access, used)| (Level::Record, access, used)),
        Context::Span => find_span(names[0], second).map(|(access, used)| (Level::Record, access, used)),
        Context::SpanEvent => match names[0] {
            "time_unix_nano" => at(Level::Item, Access::Nanoseconds(1)),
            "time" => at(Level::Item, Access::Time(1)),
            "name" => at(Level::Item, Access::Text(2)),
            "attributes" => at(Level::Item, Access::Pairs(3)),
            "dropped_attributes_count" => at(Level::Item, Access::Uint32(4)),
            "event_index" => at(Level::Item, Access::EventIndex),
            _ => None,
        },
        Context::Metric => match names[0] {
            "name" => at(Level::Record, Access::Text(1)),
            "description" => at(Level::Record, Access::Text(2)),
            "unit" => at(Level::Record, Access::Text(3)),
            "metadata" => at(Level::Record, Access::Pairs(12)),
            "type" => at(Level::Data, Access::MetricType),
            "aggregation_temporality" => at(Level::Data, Access::Temporality),
            "is_monotonic" => at(Level::Data, Access::IsMonotonic),
            "data_points" => at(Level::Data, Access::DataPoints),
            _ => None,
        },
        Context::DataPoint => {
            find_point(names[0], second).map(|(point, used)| (Level::Item, Access::Point(point), used))
        }
    }
}

fn find_log(name: &str, part: Option<&str>) -> Option<(Access, usize)> {
    let access = match (name, part) {
        ("body", Some("string")) => return Some((Access::BodyText, 2)),
        ("trace_id", Some("string")) => return Some((Access::TraceIdText(9), 2)),
        ("span_id", Some("string")) => return Some((Access::SpanIdText(10), 2)),
        ("time_unix_nano", _) => Access::Nanoseconds(1),
        ("observed_time_unix_nano", _) => Access::Nanoseconds(11),
        ("time", _) => Access::Time(1),
        ("observed_time", _) => Access::Time(11),
        ("severity_number", _) => Access::Enum(2),
        ("severity_text", _) => Access::Text(3),
        ("body", _) => Access::Body,
        ("attributes", _) => Access::Pairs(6),
        ("dropped_attributes_count", _) => Access::Uint32(7),
        ("flags", _) => Access::Fixed32(8),
        ("trace_id", _) => Access::TraceId(9),
        ("span_id", _) => Access::SpanId(10),
        ("event_name", _) => Access::Text(12),
        _ => return None,
    };
    Some((access, 1))
}

fn find_span(name: &str, part: Option<&str>) -> Option<(Access, usize)> {
    let access = match (name, part) {
        ("trace_id", Some("string")) => return Some((Access::TraceIdText(1), 2)),
        ("span_id", Some("string")) => return Some((Access::SpanIdText(2), 2)),
        ("parent_span_id", Some("string")) => return Some((Access::SpanIdText(4), 2)),
        ("kind", Some("string")) => return Some((Access::KindText, 2)),
        ("kind", Some("deprecated_string")) => return Some((Access::KindDeprecatedText, 2)),
        ("status", Some("code")) => return Some((Access::StatusCode, 2)),
        ("status", Some("message")) => return Some((Access::StatusMessage, 2)),
        ("trace_id", _) => Access::TraceId(1),
        ("span_id", _) => Access::SpanId(2),
        ("trace_state", _) => Access::TraceState,
        ("parent_span_id", _) => Access::SpanId(4),
        ("name", _) => Access::Text(5),
        ("kind", _) => Access::Enum(6),
        ("start_time_unix_nano", _) => Access::Nanoseconds(7),
        ("end_time_unix_nano", _) => Access::Nanoseconds(8),
        ("start_time", _) => Access::Time(7),
        ("end_time", _) => Access::Time(8),
        ("attributes", _) => Access::Pairs(9),
        ("dropped_attributes_count", _) => Access::Uint32(10),
        ("events", _) => Access::Messages(11, "ptrace.SpanEventSlice"),
        ("dropped_events_count", _) => Access::Uint32(12),
        ("links", _) => Access::Messages(13, "ptrace.SpanLinkSlice"),
        ("dropped_links_count", _) => Access::Uint32(14),
        ("status", _) => Access::Status,
        ("flags", _) => Access::Fixed32(16),
        _ => return None,
    };
    Some((access, 1))
}

fn find_point(name: &str, part: Option<&str>) -> Option<(Point, usize)> {
    let buckets = match name {
        "positive" => Some(8),
        "negative" => Some(9),
        _ => None,
    };
    let point = match (name, buckets, part) {
        (_, Some(number), Some("offset")) => return Some((Point::BucketsOffset(number), 2)),
        (_, Some(number), Some("bucket_counts")) => return Some((Point::BucketsCounts(number), 2)),
        (_, Some(number), _) => Point::Buckets(number),
        ("attributes", ..) => Point::Attributes,
        ("start_time_unix_nano", ..) => Point::StartNanoseconds,
        ("time_unix_nano", ..) => Point::Nanoseconds,
        ("start_time", ..) => Point::Start,
        ("time", ..) => Point::Time,
        ("value_double", ..) => Point::Double,
        ("value_int", ..) => Point::Int,
        ("exemplars", ..) => Point::Exemplars,
        ("flags", ..) => Point::Flags,
        ("count", ..) => Point::Count,
        ("sum", ..) => Point::Sum,
        ("bucket_counts", ..) => Point::BucketCounts,
        ("explicit_bounds", ..) => Point::Bounds,
        ("scale", ..) => Point::Scale,
        ("zero_count", ..) => Point::ZeroCount,
        ("quantile_values", ..) => Point::Quantiles,
        _ => return None,
    };
    Some((point, 1))
}

/// Fields of a metric that hold its points.
pub(crate) const GAUGE: u32 = 5;
pub(crate) const SUM: u32 = 7;
pub(crate) const HISTOGRAM: u32 = 9;
pub(crate) const EXPONENTIAL: u32 = 10;
pub(crate) const SUMMARY: u32 = 11;

/// The Go type of a metric's points.
pub(crate) fn points_kind(data: u32) -> &'static str {
    match data {
        HISTOGRAM => "pmetric.HistogramDataPointSlice",
        EXPONENTIAL => "pmetric.ExponentialHistogramDataPointSlice",
        SUMMARY => "pmetric.SummaryDataPointSlice",
        _ => "pmetric.NumberDataPointSlice",
    }
}

impl Point {
    /// The field in points of the metric whose points are in field `data`; `None` when such points have no such part
    /// (opentelemetry/proto/metrics/v1/metrics.proto).
    pub(crate) fn field(self, data: u32) -> Option<u32> {
        let is_number = matches!(data, GAUGE | SUM);
        match self {
            Self::Attributes => Some(match data {
                HISTOGRAM => 9,
                EXPONENTIAL => 1,
                _ => 7,
            }),
            Self::StartNanoseconds | Self::Start => Some(2),
            Self::Nanoseconds | Self::Time => Some(3),
            Self::Double => is_number.then_some(4),
            Self::Int => is_number.then_some(6),
            Self::Exemplars => match data {
                HISTOGRAM => Some(8),
                EXPONENTIAL => Some(11),
                SUMMARY => None,
                _ => Some(5),
            },
            Self::Flags => Some(match data {
                HISTOGRAM | EXPONENTIAL => 10,
                _ => 8,
            }),
            Self::Count => (!is_number).then_some(4),
            Self::Sum => (!is_number).then_some(5),
            Self::BucketCounts => (data == HISTOGRAM).then_some(6),
            Self::Bounds => (data == HISTOGRAM).then_some(7),
            Self::Scale => (data == EXPONENTIAL).then_some(6),
            Self::ZeroCount => (data == EXPONENTIAL).then_some(7),
            Self::Buckets(number) | Self::BucketsOffset(number) | Self::BucketsCounts(number) => {
                (data == EXPONENTIAL).then_some(number)
            }
            Self::Quantiles => (data == SUMMARY).then_some(6),
        }
    }
}

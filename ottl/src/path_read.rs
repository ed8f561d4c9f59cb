//! Reading a path.

use std::borrow::Cow;

use wire::protobuf::zigzag_decode;

use crate::convert::to_hex;
use crate::error::{Eval, RunError};
use crate::frame::{Frame, Level};
use crate::message::Message;
use crate::path::{Access, EXPONENTIAL, GAUGE, HISTOGRAM, Key, Path, Point, SUM, SUMMARY, points_kind};
use crate::sender;
use crate::time::Time;
use crate::value::{Messages, Value};

/// What a metric says of itself beside its texts, by which kind of data it has.
fn metric_part<'p>(access: Access, message: &Message<'p>, data: u32) -> Value<'p> {
    match (access, data) {
        (Access::MetricType, _) => {
            let kinds = [GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY];
            Value::Int(kinds.iter().position(|kind| *kind == data).map_or(0, |at| at as i64 + 1))
        }
        (Access::Temporality, SUM | HISTOGRAM | EXPONENTIAL) => Value::Int(i64::from(message.bits(2) as i32)),
        (Access::IsMonotonic, SUM) => Value::Bool(message.bits(3) != 0),
        (Access::DataPoints, 1..) => {
            Value::Messages(Messages { kind: points_kind(data), items: message.all_bytes(1) })
        }
        _ => Value::Nil,
    }
}

/// A key after its expression ran.
#[derive(Clone, Debug)]
pub(crate) enum Index<'p> {
    Text(Cow<'p, str>),
    Int(i64),
}

impl Path {
    /// The value; nothing when there is none.
    pub(crate) fn get<'p>(&'p self, frame: &Frame<'p>) -> Eval<Value<'p>> {
        let message = frame.message(self.level);
        Ok(match self.access {
            Access::Text(number) => Value::Text(message.text(number)?),
            Access::Uint32(number) => Value::Int(i64::from(message.bits(number) as u32)),
            Access::Enum(number) => Value::Int(i64::from(message.bits(number) as i32)),
            Access::Fixed32(number) => Value::Int(message.bits(number) as i64),
            Access::Nanoseconds(number) => Value::Int(message.bits(number) as i64),
            Access::Time(number) => Value::Time(Time::utc(message.bits(number) as i64)),
            Access::TraceId(number) => Value::TraceId(id(message, number)),
            Access::TraceIdText(number) => Value::text(to_hex(&id::<16>(message, number))),
            Access::SpanId(number) => Value::SpanId(id(message, number)),
            Access::SpanIdText(number) => Value::text(to_hex(&id::<8>(message, number))),
            Access::Pairs(number) => self.pairs(message, number, frame)?,
            Access::Cache => match self.keys.split_first() {
                None => Value::Map(frame.cache.clone()),
                Some((first, rest)) => match frame.cache.get(&map_key(first, frame)?) {
                    Some(value) => inside(value.resolved()?, rest, frame)?,
                    None => Value::Nil,
                },
            },
            Access::SenderAddress => sender::address(frame),
            Access::SenderMetadata => sender::metadata(&self.keys, frame)?,
            Access::Body => self.body(message, frame)?,
            Access::BodyText => Value::text(message.body()?.as_text()?),
            Access::TraceState => trace_state(&self.keys, message)?,
            Access::KindText => Value::Text(Cow::Borrowed(kind_name(message.bits(6) as i32))),
            Access::KindDeprecatedText => {
                let name = match message.bits(6) as i32 {
                    number @ 0..=5 => {
                        format!("SPAN_KIND_{}", kind_name(number).to_uppercase())
                    }
                    _ => String::new(),
                };
                Value::text(name)
            }
            Access::Messages(number, kind) => {
                Value::Messages(Messages { kind, items: message.all_bytes(number) })
            }
            Access::Status => {
                Value::Messages(Messages { kind: "ptrace.Status", items: vec![message.bytes(15)] })
            }
            Access::StatusCode => {
                Value::Int(i64::from(part(&message.bytes(15), |status| Ok(status.bits(3)))? as i32))
            }
            Access::StatusMessage => {
                let text = part(&message.bytes(15), |status| Ok(status.text(2)?.into_owned()))?;
                Value::text(text)
            }
            Access::EventIndex => Value::Int(frame.event_index),
            Access::MetricType | Access::Temporality | Access::IsMonotonic | Access::DataPoints => {
                metric_part(self.access, message, frame.data_number)
            }
            Access::Point(point) => self.point(point, message, frame)?,
        })
    }

    fn pairs<'p>(&'p self, message: &Message<'p>, number: u32, frame: &Frame<'p>) -> Eval<Value<'p>> {
        match self.keys.split_first() {
            None => Ok(Value::Map(message.map(number)?)),
            Some((first, rest)) => match message.pair(number, &map_key(first, frame)?)? {
                Some(value) => inside(value, rest, frame),
                None => Ok(Value::Nil),
            },
        }
    }

    fn body<'p>(&'p self, message: &Message<'p>, frame: &Frame<'p>) -> Eval<Value<'p>> {
        let body = message.body()?;
        if self.keys.is_empty() {
            return Ok(body);
        }
        match body {
            Value::Map(_) | Value::List(_) => inside(body, &self.keys, frame),
            other => {
                Err(RunError::new(format!("log bodies of type {} cannot be indexed", other.any_type_name())))
            }
        }
    }

    fn point<'p>(&'p self, point: Point, message: &Message<'p>, frame: &Frame<'p>) -> Eval<Value<'p>> {
        let Some(number) = point.field(frame.data_number) else { return Ok(Value::Nil) };
        let bits = || message.bits(number);
        let ints = |bits: Vec<u64>| Value::List(bits.into_iter().map(|n| Value::Int(n as i64)).collect());
        Ok(match point {
            Point::Attributes => self.pairs(message, number, frame)?,
            Point::StartNanoseconds | Point::Nanoseconds => Value::Int(bits() as i64),
            Point::Start | Point::Time => Value::Time(Time::utc(bits() as i64)),
            Point::Double | Point::Sum => Value::Double(f64::from_bits(bits())),
            Point::Int | Point::Count | Point::ZeroCount => Value::Int(bits() as i64),
            Point::Flags => Value::Int(i64::from(bits() as u32)),
            Point::Scale => Value::Int(zigzag_decode(bits())),
            Point::Exemplars => {
                Value::Messages(Messages { kind: "pmetric.ExemplarSlice", items: message.all_bytes(number) })
            }
            Point::Quantiles => Value::Messages(Messages {
                kind: "pmetric.SummaryDataPointValueAtQuantileSlice",
                items: message.all_bytes(number),
            }),
            Point::BucketCounts => ints(message.repeated(number, true)?),
            Point::Bounds => {
                let bounds = message.repeated(number, true)?.into_iter();
                Value::List(bounds.map(|bits| Value::Double(f64::from_bits(bits))).collect())
            }
            Point::Buckets(_) => Value::Messages(Messages {
                kind: "pmetric.ExponentialHistogramDataPointBuckets",
                items: vec![message.bytes(number)],
            }),
            Point::BucketsOffset(_) => {
                let offset = part(&message.bytes(number), |buckets| Ok(buckets.bits(1)))?;
                Value::Int(zigzag_decode(offset))
            }
            Point::BucketsCounts(_) => {
                ints(part(&message.bytes(number), |buckets| buckets.repeated(2, false))?)
            }
        })
    }
}

/// Looks into a nested message.
fn part<T>(bytes: &[u8], look: impl FnOnce(&Message<'_>) -> Eval<T>) -> Eval<T> {
    let mut message = Message::default();
    message.load(bytes, |_| false)?;
    look(&message)
}

/// An id; zeros when it is not there.
fn id<const N: usize>(message: &Message<'_>, number: u32) -> [u8; N] {
    message.bytes(number).as_ref().try_into().unwrap_or([0; N])
}

/// A span kind as `ptrace.SpanKind.String` names it.
pub(crate) fn kind_name(kind: i32) -> &'static str {
    match kind {
        0 => "Unspecified",
        1 => "Internal",
        2 => "Server",
        3 => "Client",
        4 => "Producer",
        5 => "Consumer",
        _ => "",
    }
}

impl Key {
    /// The key's value, its expression run.
    pub(crate) fn index<'p>(&'p self, frame: &Frame<'p>) -> Eval<Index<'p>> {
        match self {
            Self::Text(text) => Ok(Index::Text(Cow::Borrowed(text))),
            Self::Int(int) => Ok(Index::Int(*int)),
            Self::Expr(expr) => match expr.eval(frame)? {
                Value::Text(text) => Ok(Index::Text(text)),
                Value::Int(int) => Ok(Index::Int(int)),
                other => Err(RunError::new(format!(
                    "could not resolve key for map/slice, got {}",
                    other.type_name()
                ))),
            },
        }
    }
}

/// A key of a map.
pub(crate) fn map_key<'p>(key: &'p Key, frame: &Frame<'p>) -> Eval<Cow<'p, str>> {
    match key.index(frame)? {
        Index::Text(text) => Ok(text),
        Index::Int(_) => Err(RunError::new("unable to resolve a string index in map: invalid key type")),
    }
}

/// The value that the keys lead to, from `value` on. A key that a map does not have leads to nothing.
fn inside<'p>(value: Value<'p>, keys: &'p [Key], frame: &Frame<'p>) -> Eval<Value<'p>> {
    let mut value = value;
    for key in keys {
        value = match value {
            Value::Map(map) => match map.get(&map_key(key, frame)?) {
                Some(found) => found.resolved()?,
                None => return Ok(Value::Nil),
            },
            Value::List(list) => list[list_index(key, list.len(), frame)?].resolved()?,
            other => {
                return Err(RunError::new(format!(
                    "type {} does not support string indexing",
                    other.any_type_name()
                )));
            }
        };
    }
    Ok(value)
}

/// An index of a list of `len` elements.
pub(crate) fn list_index(key: &Key, len: usize, frame: &Frame<'_>) -> Eval<usize> {
    match key_index(key, frame)? {
        Some(int) => match usize::try_from(int) {
            Ok(index) if index < len => Ok(index),
            _ => Err(RunError::new(format!("index {int} out of bounds"))),
        },
        None => Err(RunError::new("unable to resolve an integer index in slice: invalid key type")),
    }
}

fn key_index(key: &Key, frame: &Frame<'_>) -> Eval<Option<i64>> {
    // An index borrows nothing, so that the frame may be looked at for a shorter time than its payload lives.
    match key {
        Key::Text(_) => Ok(None),
        Key::Int(int) => Ok(Some(*int)),
        Key::Expr(expr) => match expr.eval(frame)? {
            Value::Int(int) => Ok(Some(int)),
            _ => Ok(None),
        },
    }
}

/// The trace state, or one of its members (W3C trace context).
fn trace_state<'p>(keys: &[Key], message: &Message<'p>) -> Eval<Value<'p>> {
    let state = message.text(3)?;
    match keys.first() {
        None => Ok(Value::Text(state)),
        Some(Key::Text(wanted)) => {
            let members = state.split(',').filter_map(|member| member.trim().split_once('='));
            let found = members.into_iter().find(|(key, _)| key == wanted).map_or("", |(_, value)| value);
            Ok(Value::text(found))
        }
        Some(_) => Err(RunError::new("trace_state indexing type must be a string")),
    }
}

/// Which level's attributes a path without keys names, if any: what editors may change in place.
pub(crate) fn pairs_in_place(path: &Path, frame: &Frame<'_>) -> Option<(Level, u32)> {
    if !path.keys.is_empty() {
        return None;
    }
    match path.access {
        Access::Pairs(number) => Some((path.level, number)),
        Access::Point(Point::Attributes) => {
            Point::Attributes.field(frame.data_number).map(|number| (path.level, number))
        }
        _ => None,
    }
}

//! Setting a path.

use std::borrow::Cow;

use wire::protobuf::zigzag_encode;

use crate::convert::from_hex;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::message::{Message, Scalar};
use crate::path::{Access, EXPONENTIAL, HISTOGRAM, Path, Point, SUM, points_kind};
use crate::path_read::{Index, kind_name, map_key, pairs_in_place};
use crate::value::{Map, Messages, Value};

fn expects<T>(what: &str, got: &Value<'_>) -> Eval<T> {
    Err(RunError::new(format!("expects {what} but got {}", got.type_name())))
}

fn int(value: &Value<'_>) -> Eval<i64> {
    match value {
        Value::Int(int) => Ok(*int),
        other => expects("int64", other),
    }
}

fn double(value: &Value<'_>) -> Eval<f64> {
    match value {
        Value::Double(double) => Ok(*double),
        other => expects("float64", other),
    }
}

fn text<'a>(value: &'a Value<'_>) -> Eval<&'a str> {
    match value {
        Value::Text(text) => Ok(text),
        other => expects("string", other),
    }
}

fn time(value: &Value<'_>) -> Eval<u64> {
    match value {
        Value::Time(time) => Ok(time.unix_ns as u64),
        other => expects("time.Time", other),
    }
}

fn bool_bits(value: &Value<'_>) -> Eval<u64> {
    match value {
        Value::Bool(flag) => Ok(u64::from(*flag)),
        other => expects("bool", other),
    }
}

fn hex_id(text: &str, len: usize, what: &str) -> Eval<Vec<u8>> {
    if text.len() != len * 2 {
        return Err(RunError::new(format!("{what} ids must be {} hex characters", len * 2)));
    }
    from_hex(text).ok_or_else(|| RunError::new(format!("{text:?} is not hex")))
}

impl Path {
    /// Sets the value. A nil value is the caller's to leave out.
    pub(crate) fn set<'p>(&'p self, frame: &mut Frame<'p>, value: Value<'p>) -> Eval<()> {
        value.check_size()?;
        let data = frame.data_number;
        match self.access {
            Access::Pairs(_) | Access::Cache | Access::Body | Access::Point(Point::Attributes) => {
                return self.set_inside(frame, value);
            }
            Access::Point(point) => return set_point(point, &mut frame.item, data, value),
            Access::EventIndex => return Err(RunError::new("event_index cannot be set")),
            Access::SenderAddress => return Err(read_only("otelcol.client.addr")),
            Access::SenderMetadata => return Err(read_only("otelcol.client.metadata")),
            Access::MetricType | Access::Temporality | Access::IsMonotonic | Access::DataPoints => {
                return set_metric_part(self.access, frame.message_mut(self.level), data, value);
            }
            _ => {}
        }
        self.set_field(frame.message_mut(self.level), value)
    }

    /// Sets what is one field of a message or a part of one.
    fn set_field<'p>(&'p self, message: &mut Message<'p>, value: Value<'p>) -> Eval<()> {
        match self.access {
            Access::Text(number) => message.set(number, Scalar::Bytes(text(&value)?.as_bytes().to_vec())),
            Access::Uint32(number) => message.set(number, Scalar::Varint(u64::from(int(&value)? as u32))),
            Access::Enum(number) => {
                message.set(number, Scalar::Varint(i64::from(int(&value)? as i32) as u64));
            }
            Access::Fixed32(number) => {
                let flags = int(&value)?;
                if number == 16 && u32::try_from(flags).is_err() {
                    return Err(RunError::new(format!("value {flags} is out of range for uint32")));
                }
                message.set(number, Scalar::Fixed32(flags as u32));
            }
            Access::Nanoseconds(number) => message.set(number, Scalar::Fixed64(int(&value)? as u64)),
            Access::Time(number) => message.set(number, Scalar::Fixed64(time(&value)?)),
            Access::TraceId(number) => match value {
                Value::TraceId(id) => message.set(number, Scalar::Bytes(id.to_vec())),
                other => return expects("pcommon.TraceID", &other),
            },
            Access::SpanId(number) => match value {
                Value::SpanId(id) => message.set(number, Scalar::Bytes(id.to_vec())),
                other => return expects("pcommon.SpanID", &other),
            },
            Access::TraceIdText(number) => {
                message.set(number, Scalar::Bytes(hex_id(text(&value)?, 16, "trace")?));
            }
            Access::SpanIdText(number) => {
                message.set(number, Scalar::Bytes(hex_id(text(&value)?, 8, "span")?));
            }
            Access::BodyText => {
                let text = text(&value)?.to_owned();
                *message.body_mut()? = Value::text(text);
            }
            Access::TraceState => self.set_trace_state(message, text(&value)?)?,
            Access::KindText | Access::KindDeprecatedText => self.set_kind(message, text(&value)?)?,
            Access::Messages(number, kind) => message.set_all(number, messages(value, kind)?),
            Access::Status => {
                let status = messages(value, "ptrace.Status")?.into_iter().next().unwrap_or_default();
                message.set(15, Scalar::Bytes(status.into_owned()));
            }
            Access::StatusCode => {
                let code = i64::from(int(&value)? as i32) as u64;
                edit_part(message, 15, |status| status.set(3, Scalar::Varint(code)))?;
            }
            Access::StatusMessage => {
                let text = text(&value)?.as_bytes().to_vec();
                edit_part(message, 15, |status| status.set(2, Scalar::Bytes(text)))?;
            }
            // Those that `set` has dealt with.
            Access::Pairs(_)
            | Access::Cache
            | Access::Body
            | Access::Point(_)
            | Access::EventIndex
            | Access::SenderAddress
            | Access::SenderMetadata
            | Access::MetricType
            | Access::Temporality
            | Access::IsMonotonic
            | Access::DataPoints => {}
        }
        Ok(())
    }

    /// Sets attributes, the cache or a body, or what keys lead to in them.
    fn set_inside<'p>(&'p self, frame: &mut Frame<'p>, value: Value<'p>) -> Eval<()> {
        // The keys first: their expressions look at the whole frame.
        let mut keys = Vec::with_capacity(self.keys.len());
        for (position, key) in self.keys.iter().enumerate() {
            let is_map = position == 0 && self.access != Access::Body;
            keys.push(if is_map { Index::Text(map_key(key, frame)?) } else { key.index(frame)? });
        }
        if self.access == Access::Body {
            if !keys.is_empty() {
                let body = frame.message(self.level).body()?;
                if !matches!(body, Value::Map(_) | Value::List(_)) {
                    return Err(RunError::new(format!(
                        "log bodies of type {} cannot be indexed",
                        body.any_type_name()
                    )));
                }
            }
            return set_value(frame.message_mut(self.level).body_mut()?, &keys, value);
        }
        if keys.is_empty() && !matches!(value, Value::Map(_)) {
            let message =
                format!("unsupported type provided for setting a pcommon.Map: {}", value.type_name());
            return Err(RunError::new(message));
        }
        let map = self.map_mut(frame)?;
        match (keys.split_first(), value) {
            (None, Value::Map(new)) => *map = storable(new)?,
            (Some((Index::Text(key), rest)), value) => set_value(map.entry(key), rest, value)?,
            _ => {}
        }
        Ok(())
    }

    /// The map that this path names, its keys left aside.
    fn map_mut<'a, 'p>(&self, frame: &'a mut Frame<'p>) -> Eval<&'a mut Map<'p>> {
        let number = match self.access {
            Access::Pairs(number) => number,
            Access::Cache => return Ok(&mut frame.cache),
            Access::Point(point) => match point.field(frame.data_number) {
                Some(number) => number,
                None => return Err(RunError::new("unsupported data point type")),
            },
            _ => return Err(RunError::new("the path is not a map")),
        };
        frame.message_mut(self.level).map_mut(number)
    }

    /// Runs an edit on the map at this path: in place where the path is a whole map, otherwise on a copy that is set
    /// again.
    pub(crate) fn edit_map<'p>(
        &'p self,
        frame: &mut Frame<'p>,
        edit: impl FnOnce(&mut Map<'p>) -> Eval<()>,
    ) -> Eval<()> {
        if self.keys.is_empty() && (self.access == Access::Cache || pairs_in_place(self, frame).is_some()) {
            return edit(self.map_mut(frame)?);
        }
        let mut map = self.get(frame)?.into_map()?;
        edit(&mut map)?;
        self.set(frame, Value::Map(map))
    }

    fn set_trace_state(&self, message: &mut Message<'_>, value: &str) -> Eval<()> {
        use crate::path::Key;
        let state = match self.keys.first() {
            None => value.to_owned(),
            Some(Key::Text(key)) => {
                let known = message.text(3)?;
                let mut state = format!("{key}={value}");
                for member in known.split(',').map(str::trim).filter(|member| !member.is_empty()) {
                    if member.split_once('=').is_none_or(|(name, _)| name != key) {
                        state.push(',');
                        state.push_str(member);
                    }
                }
                state
            }
            Some(_) => return Err(RunError::new("trace_state indexing type must be a string")),
        };
        message.set(3, Scalar::Bytes(state.into_bytes()));
        Ok(())
    }

    fn set_kind(&self, message: &mut Message<'_>, name: &str) -> Eval<()> {
        let is_name = |kind: &i32| match self.access {
            Access::KindText => kind_name(*kind) == name,
            _ => name.strip_prefix("SPAN_KIND_").is_some_and(|n| n == kind_name(*kind).to_uppercase()),
        };
        match (0..=5).find(is_name) {
            Some(kind) => {
                message.set(6, Scalar::Varint(kind as u64));
                Ok(())
            }
            None => Err(RunError::new(format!("unknown span kind string, {name}"))),
        }
    }
}

/// Checks that attributes can hold what is in a map.
fn storable(map: Map<'_>) -> Eval<Map<'_>> {
    match map.0.iter().find(|(_, value)| !value.is_storable()) {
        Some((_, value)) => {
            Err(RunError::new(format!("unsupported type {} for set operation", value.type_name())))
        }
        None => Ok(map),
    }
}

/// Sets what the keys lead to from `target` on, making maps and lists where there is nothing.
fn set_value<'p>(target: &mut Value<'p>, keys: &[Index<'p>], value: Value<'p>) -> Eval<()> {
    /// A list is made at most this long by setting one of its elements.
    const LIST_LEN_MAX: i64 = 1 << 16;
    let Some((key, rest)) = keys.split_first() else {
        if !value.is_storable() {
            return Err(RunError::new(format!(
                "unsupported type {} for set operation; current value type is {}",
                value.type_name(),
                target.any_type_name()
            )));
        }
        *target = value;
        return Ok(());
    };
    match (target.resolve_in_place()?, key) {
        (Value::Map(map), Index::Text(key)) => set_value(map.entry(key), rest, value),
        (Value::List(list), Index::Int(int)) => {
            match usize::try_from(*int).ok().and_then(|index| list.get_mut(index)) {
                Some(element) => set_value(element, rest, value),
                None => Err(RunError::new(format!("index {int} out of bounds"))),
            }
        }
        (empty @ Value::Nil, Index::Text(key)) => {
            let mut inner = Value::Nil;
            set_value(&mut inner, rest, value)?;
            *empty = Value::Map(Map(vec![(Cow::Owned(key.clone().into_owned()), inner)]));
            Ok(())
        }
        (empty @ Value::Nil, Index::Int(int)) => {
            if *int > LIST_LEN_MAX {
                return Err(RunError::new(format!("index {int} out of bounds: at most {LIST_LEN_MAX}")));
            }
            let mut list = vec![Value::Nil; usize::try_from(*int).unwrap_or(0) + 1];
            if let Some(last) = list.last_mut() {
                set_value(last, rest, value)?;
            }
            *empty = Value::List(list);
            Ok(())
        }
        (Value::Map(_), Index::Int(_)) => {
            Err(RunError::new("unable to resolve a string index in map: invalid key type"))
        }
        (Value::List(_), Index::Text(_)) => {
            Err(RunError::new("unable to resolve an integer index in slice: invalid key type"))
        }
        (other, _) => {
            Err(RunError::new(format!("type {} does not support string indexing", other.any_type_name())))
        }
    }
}

fn messages<'p>(value: Value<'p>, kind: &str) -> Eval<Vec<Cow<'p, [u8]>>> {
    match value {
        Value::Messages(Messages { kind: known, items }) if known == kind => Ok(items),
        other => expects(kind, &other),
    }
}

/// Edits a nested message in field `number`.
fn edit_part<'p>(
    message: &mut Message<'p>,
    number: u32,
    edit: impl for<'a> FnOnce(&mut Message<'a>),
) -> Eval<()> {
    let bytes = message.bytes(number).into_owned();
    let mut part = Message::default();
    part.load(&bytes, |_| false)?;
    edit(&mut part);
    let mut out = Vec::with_capacity(bytes.len() + 16);
    part.write(&mut out)?;
    message.set(number, Scalar::Bytes(out));
    Ok(())
}

/// Sets a part of a metric's data; what data of this kind does not have stays unset, as upstream.
fn set_metric_part<'p>(access: Access, message: &mut Message<'p>, data: u32, value: Value<'p>) -> Eval<()> {
    match access {
        Access::Temporality => {
            let temporality = i64::from(int(&value)? as i32) as u64;
            if matches!(data, SUM | HISTOGRAM | EXPONENTIAL) {
                message.set(2, Scalar::Varint(temporality));
            }
        }
        Access::IsMonotonic => {
            let flag = bool_bits(&value)?;
            if data == SUM {
                message.set(3, Scalar::Varint(flag));
            }
        }
        Access::DataPoints if data != 0 => message.set_all(1, messages(value, points_kind(data))?),
        // The type has no effect when it is set.
        _ => {}
    }
    Ok(())
}

fn read_only(path: &str) -> RunError {
    RunError::new(format!("{path:?} is read-only and cannot be modified"))
}

fn set_point<'p>(point: Point, message: &mut Message<'p>, data: u32, value: Value<'p>) -> Eval<()> {
    let number = || point.field(data).ok_or_else(|| RunError::new("unsupported data point type"));
    match point {
        Point::Attributes => {}
        Point::StartNanoseconds | Point::Nanoseconds => {
            message.set(number()?, Scalar::Fixed64(int(&value)? as u64));
        }
        Point::Start | Point::Time => message.set(number()?, Scalar::Fixed64(time(&value)?)),
        Point::Double => {
            let bits = double(&value)?.to_bits();
            let number = number()?;
            // A point has one value, of either type.
            message.remove(6);
            message.set(number, Scalar::Fixed64(bits));
        }
        Point::Int => {
            let bits = int(&value)? as u64;
            let number = number()?;
            message.remove(4);
            message.set(number, Scalar::Fixed64(bits));
        }
        Point::Sum => message.set(number()?, Scalar::Fixed64(double(&value)?.to_bits())),
        Point::Count | Point::ZeroCount => message.set(number()?, Scalar::Fixed64(int(&value)? as u64)),
        Point::Flags => message.set(number()?, Scalar::Varint(u64::from(int(&value)? as u32))),
        Point::Scale => {
            let scale = zigzag_encode(i64::from(int(&value)? as i32));
            message.set(number()?, Scalar::Varint(scale));
        }
        Point::Exemplars => message.set_all(number()?, messages(value, "pmetric.ExemplarSlice")?),
        Point::Quantiles => {
            message.set_all(number()?, messages(value, "pmetric.SummaryDataPointValueAtQuantileSlice")?);
        }
        Point::BucketCounts => message.set(number()?, Scalar::Bytes(packed_fixed(ints(value)?))),
        Point::Bounds => {
            let bounds = list(value)?;
            let bounds: Vec<u64> =
                bounds.iter().map(|value| double(value).map(f64::to_bits)).collect::<Eval<_>>()?;
            message.set(number()?, Scalar::Bytes(packed_fixed(bounds)));
        }
        Point::Buckets(_) => {
            let buckets = messages(value, "pmetric.ExponentialHistogramDataPointBuckets")?;
            let buckets = buckets.into_iter().next().unwrap_or_default().into_owned();
            message.set(number()?, Scalar::Bytes(buckets));
        }
        Point::BucketsOffset(_) => {
            let offset = zigzag_encode(i64::from(int(&value)? as i32));
            edit_part(message, number()?, |buckets| buckets.set(1, Scalar::Varint(offset)))?;
        }
        Point::BucketsCounts(_) => {
            let mut packed = Vec::new();
            ints(value)?.into_iter().for_each(|count| wire::protobuf::put_varint(&mut packed, count));
            edit_part(message, number()?, |buckets| buckets.set(2, Scalar::Bytes(packed)))?;
        }
    }
    Ok(())
}

fn list(value: Value<'_>) -> Eval<Vec<Value<'_>>> {
    match value {
        Value::List(list) => list.into_iter().map(Value::resolve).collect(),
        other => Err(RunError::new(format!("cannot set a slice from a value type: {}", other.type_name()))),
    }
}

fn ints(value: Value<'_>) -> Eval<Vec<u64>> {
    list(value)?.iter().map(|value| int(value).map(|int| int as u64)).collect()
}

fn packed_fixed(bits: Vec<u64>) -> Vec<u8> {
    bits.into_iter().flat_map(u64::to_le_bytes).collect()
}

//! Converters that ask for or change a value's type.

use std::net::{IpAddr, Ipv4Addr};

use wire::otlp::{KeyValue, View};
use wire::protobuf::Fields;

use super::{Args, Function, Kind, Prepared, converter, need};
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::path::Point;
use crate::value::{Messages, Value};

pub(super) const TABLE: &[Function] = &[
    converter("IsString", &[need("target", Kind::Value)], |args, frame| {
        is(args, frame, |v| v.into_text().map(drop))
    }),
    converter("IsInt", &[need("target", Kind::Value)], |args, frame| {
        is(args, frame, |v| v.into_int().map(drop))
    }),
    converter("IsDouble", &[need("target", Kind::Value)], |args, frame| {
        is(args, frame, |v| v.into_double().map(drop))
    }),
    converter("IsBool", &[need("target", Kind::Value)], |args, frame| {
        is(args, frame, |v| v.into_bool().map(drop))
    }),
    converter("IsMap", &[need("target", Kind::Value)], |args, frame| {
        is(args, frame, |v| v.into_map().map(drop))
    }),
    converter("IsList", &[need("target", Kind::Value)], |args, frame| {
        Ok(Value::Bool(match args.value(0, frame)? {
            Value::List(_) => true,
            Value::Messages(messages) => messages.kind.ends_with("Slice"),
            _ => false,
        }))
    }),
    converter("String", &[need("target", Kind::TextLike)], |args, frame| {
        Ok(args.text_like(0, frame)?.map_or(Value::Nil, Value::Text))
    }),
    converter("Int", &[need("target", Kind::IntLike)], |args, frame| {
        Ok(args.value(0, frame)?.into_int_like()?.map_or(Value::Nil, Value::Int))
    }),
    converter("Double", &[need("target", Kind::DoubleLike)], |args, frame| {
        Ok(args.value(0, frame)?.into_double_like()?.map_or(Value::Nil, Value::Double))
    }),
    converter("Bool", &[need("target", Kind::BoolLike)], |args, frame| {
        Ok(args.value(0, frame)?.into_bool_like()?.map_or(Value::Nil, Value::Bool))
    }),
    converter("Log", &[need("target", Kind::DoubleLike)], |args, frame| {
        match args.value(0, frame)?.into_double_like()? {
            None => Err(RunError::new("invalid input: <nil>")),
            Some(number) if number <= 0.0 => Err(RunError::new(format!(
                "invalid input: expected number greater than zero but got {number}"
            ))),
            Some(number) => Ok(Value::Double(number.ln())),
        }
    }),
    converter("Len", &[need("target", Kind::Value)], len),
    converter("IsValidLuhn", &[need("target", Kind::TextLike)], |args, frame| {
        match args.text_like(0, frame)? {
            None => Err(RunError::new("invalid input: <nil>")),
            Some(text) => luhn(&text).map(Value::Bool),
        }
    }),
    converter("IsInCIDR", &[need("target", Kind::Text), need("networks", Kind::Texts)], is_in_cidr).prepared(
        |args| {
            if args.elements(1).iter().any(|arg| arg.literal().is_none()) {
                return Ok(Prepared::Nothing);
            }
            let networks = args.literal_texts(1).into_iter().map(Network::parse);
            networks.collect::<Result<_, _>>().map(Prepared::Networks)
        },
    ),
    converter("IsRootSpan", &[], |_, frame| {
        Ok(Value::Bool(frame.record.bytes(4).iter().all(|byte| *byte == 0)))
    })
    .only(Context::Span),
    converter("HasAttrKeyOnDatapoint", &[need("key", Kind::LiteralText)], |args, frame| {
        has_attribute(frame, args.literal_text(0).unwrap_or_default(), None)
    })
    .only(Context::Metric),
    converter(
        "HasAttrOnDatapoint",
        &[need("key", Kind::LiteralText), need("expected_val", Kind::LiteralText)],
        |args, frame| has_attribute(frame, args.literal_text(0).unwrap_or_default(), args.literal_text(1)),
    )
    .only(Context::Metric),
];

/// Whether a value is of a type; other errors than of the type stay errors.
fn is<'p>(args: &'p Args, frame: &Frame<'p>, as_type: impl FnOnce(Value<'p>) -> Eval<()>) -> Eval<Value<'p>> {
    match args.value(0, frame).and_then(as_type) {
        Ok(()) => Ok(Value::Bool(true)),
        Err(error) if error.is_type() => Ok(Value::Bool(false)),
        Err(error) => Err(error),
    }
}

fn len<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let len = match args.value(0, frame)? {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.0.len(),
        Value::Messages(Messages { kind, items }) if kind.ends_with("Slice") => items.len(),
        other => {
            return Err(RunError::new(format!(
                "Len: unsupported target type {}. target arg must be of type string, []any, map[string]any, pcommon.Map, \
                 pcommon.Slice, or pcommon.Value (of type String, Map, Slice)",
                other.type_name()
            )));
        }
    };
    Ok(Value::Int(len as i64))
}

fn luhn(text: &str) -> Eval<bool> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| {
            let bad = || RunError::new(format!("strconv.Atoi: parsing {:?}: invalid syntax", c.to_string()));
            c.to_digit(10).ok_or_else(bad)
        })
        .collect::<Eval<_>>()?;
    let Some((check, digits)) = digits.split_last() else { return Ok(false) };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2 == 0, digit * 2) {
            (false, _) => *digit,
            (true, doubled) if doubled > 9 => doubled - 9,
            (true, doubled) => doubled,
        })
        .sum();
    Ok((10 - sum % 10) % 10 == *check)
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    /// The address as 128 bits, IPv4 mapped into IPv6.
    bits: u128,
    mask: u128,
    is_v4: bool,
}

impl Network {
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid CIDR address: {text}");
        let (address, len) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let len: u32 = len.parse().map_err(|_| invalid())?;
        let (is_v4, len_max) = match address {
            IpAddr::V4(_) => (true, 32),
            IpAddr::V6(_) => (false, 128),
        };
        if len > len_max {
            return Err(invalid());
        }
        let host_bits = len_max - len;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Ok(Self { bits: bits(address).0 & mask, mask, is_v4 })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address);
        is_v4 == self.is_v4 && bits & self.mask == self.bits
    }
}

/// An address as bits; a mapped IPv4 address counts as IPv4.
fn bits(address: IpAddr) -> (u128, bool) {
    let mapped = |v4: Ipv4Addr| u128::from(v4.to_ipv6_mapped());
    match address {
        IpAddr::V4(v4) => (mapped(v4), true),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (mapped(v4), true),
            None => (u128::from(v6), false),
        },
    }
}

fn is_in_cidr<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let Ok(address) = args.text(0, frame)?.parse::<IpAddr>() else { return Ok(Value::Bool(false)) };
    if let Prepared::Networks(networks) = &args.prepared {
        return Ok(Value::Bool(networks.iter().any(|network| network.contains(address))));
    }
    for arg in args.elements(1) {
        let text = arg.value(frame)?.into_text()?;
        if Network::parse(&text).map_err(RunError::new)?.contains(address) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// Whether a point of the metric has the attribute. With a value, the first point that has the attribute decides, as
/// upstream.
fn has_attribute<'p>(frame: &Frame<'p>, key: &str, expected: Option<&str>) -> Eval<Value<'p>> {
    let Some(number) = Point::Attributes.field(frame.data_number) else { return Ok(Value::Bool(false)) };
    for point in frame.data.all_bytes(1) {
        let mut fields = Fields::new(&point);
        while let Some(field) = fields.next_field()? {
            if field.number != number {
                continue;
            }
            let pair = KeyValue::parse(field.bytes()?)?;
            if pair.key_bytes() == key.as_bytes() {
                let is_it = match (expected, Value::decode(pair.value_bytes())?) {
                    (None, _) => true,
                    (Some(expected), Value::Text(text)) => text == expected,
                    (Some(expected), _) => expected.is_empty(),
                };
                return Ok(Value::Bool(is_it));
            }
        }
    }
    Ok(Value::Bool(false))
}

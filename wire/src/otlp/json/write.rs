//! Protobuf to JSON, for debugging and for peers that take nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Signal;

use crate::DecodeError;
use crate::json::put_string;
use crate::otlp::schema::{self, Field, Kind, Label, Message, Role};
use crate::otlp::views::{ANY_VALUE_DEPTH_MAX, too_deep};
use crate::protobuf::{self, Fields, Value, text, zigzag_decode};

/// Appends the JSON form of an export request of `signal` to `out`. Fields come in the order of their numbers.
pub fn from_protobuf(signal: Signal, payload: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    put_object(payload, schema::request(signal), ANY_VALUE_DEPTH_MAX, out)
}

fn put_object(
    bytes: &[u8],
    message: &'static Message,
    depth: u8,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let depth = match message.role {
        Role::AnyValue => depth.checked_sub(1).ok_or_else(too_deep)?,
        _ => depth,
    };
    // Of each known field the last occurrence, by its position in the table.
    let mut last: [Option<protobuf::Field<'_>>; 16] = [None; 16];
    let mut last_member = None;
    for field in Fields::new(bytes) {
        let field = field?;
        let Some(position) = message.fields.iter().position(|known| known.number == field.number) else {
            continue;
        };
        if message.fields[position].label == Label::Member
            && let Some(before) = last_member.replace(position)
        {
            last[before] = None;
        }
        last[position] = Some(field);
    }
    out.push(b'{');
    let mut first = true;
    for (known, field) in message.fields.iter().zip(last) {
        let Some(field) = field else { continue };
        let written = out.len();
        if !first {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(known.name.as_bytes());
        out.extend_from_slice(b"\":");
        let kept = match known.label {
            Label::Repeated => put_array(bytes, known, depth, out)?,
            label => put_value(field, known, depth, out)? || label != Label::Implicit,
        };
        if kept {
            first = false;
        } else {
            out.truncate(written);
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes all occurrences of a repeated field; says whether there are elements.
fn put_array(
    message: &[u8],
    known: &'static Field,
    depth: u8,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let mut first = true;
    let mut separate = |out: &mut Vec<u8>| {
        out.push(if first { b'[' } else { b',' });
        first = false;
    };
    for field in Fields::new(message) {
        let field = field?;
        if field.number != known.number {
            continue;
        }
        match known.kind {
            Kind::Uint64 => field.varints(|value| {
                separate(out);
                put_quoted(out, value);
            })?,
            Kind::Fixed64 => field.fixed64s(|value| {
                separate(out);
                put_quoted(out, value);
            })?,
            Kind::Double => field.fixed64s(|value| {
                separate(out);
                put_double(out, f64::from_bits(value));
            })?,
            _ => {
                separate(out);
                put_value(field, known, depth, out)?;
            }
        }
    }
    if first {
        return Ok(false);
    }
    out.push(b']');
    Ok(true)
}

/// Writes one value; says whether it differs from the default.
fn put_value(
    field: protobuf::Field<'_>,
    known: &'static Field,
    depth: u8,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    match (known.kind, field.value) {
        (Kind::Message(message), Value::Bytes(bytes)) => {
            put_object(bytes, message, depth, out).map_err(|error| error.within(known.name))?;
            return Ok(true);
        }
        (Kind::String, Value::Bytes(bytes)) => put_string(out, text(bytes)?),
        (Kind::Bytes, Value::Bytes(bytes)) => put_base64(out, bytes),
        (Kind::Id(_), Value::Bytes(bytes)) => put_hex(out, bytes),
        (Kind::Bool, Value::Varint(value)) => {
            out.extend_from_slice(if value != 0 { b"true" } else { b"false" });
        }
        (Kind::Double, Value::Fixed64(bits)) => put_double(out, f64::from_bits(bits)),
        (Kind::Fixed64, Value::Fixed64(value)) => put_quoted(out, value),
        (Kind::Sfixed64, Value::Fixed64(value)) => put_quoted(out, value as i64),
        (Kind::Fixed32, Value::Fixed32(value)) => put_plain(out, value),
        (Kind::Uint32, Value::Varint(value)) => put_plain(out, value as u32),
        (Kind::Uint64, Value::Varint(value)) => put_quoted(out, value),
        (Kind::Int64, Value::Varint(value)) => put_quoted(out, value as i64),
        (Kind::Sint32, Value::Varint(value)) => put_plain(out, zigzag_decode(value) as i32),
        (Kind::Enum(_), Value::Varint(value)) => put_plain(out, value as i32),
        _ => return Err(field.wrong_type("another").within(known.name)),
    }
    Ok(match field.value {
        Value::Varint(value) | Value::Fixed64(value) => value != 0,
        Value::Fixed32(value) => value != 0,
        Value::Bytes(bytes) | Value::Group(bytes) => !bytes.is_empty(),
    })
}

fn put_plain(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_quoted(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.push(b'"');
    put_plain(out, value);
    out.push(b'"');
}

fn put_double(out: &mut Vec<u8>, value: f64) {
    let text = if value.is_nan() {
        "\"NaN\""
    } else if value == f64::INFINITY {
        "\"Infinity\""
    } else if value == f64::NEG_INFINITY {
        "\"-Infinity\""
    } else {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        return;
    };
    out.extend_from_slice(text.as_bytes());
}

fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[digit as usize]));
    out.push(b'"');
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("four bytes hold three");
    out.truncate(start + written);
    out.push(b'"');
}

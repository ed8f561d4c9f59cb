//! The key of a resource's messages: the hash of its attributes that the collector has (`MapHash` in pkg/pdatautil of its
//! contrib repository), so that gateways of both kinds put a resource into the same partition.

use wire::DecodeError;
use wire::otlp::{AnyValue, Attributes, KeyValue, Resource, View};
use xxhash_rust::xxh64::xxh64;

/// What stands before a key and before each kind of value.
const KEY: u8 = 0xf4;
const EMPTY: u8 = 0xf5;
const BYTES: u8 = 0xf6;
const TEXT: u8 = 0xf7;
const TRUE: u8 = 0xf8;
const FALSE: u8 = 0xf9;
const INT: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;
const MAP: [u8; 2] = [0xfc, 0xfd];
const LIST: [u8; 2] = [0xfe, 0xff];
/// What stands behind everything for the second half of the hash.
const SECOND: u8 = 0xf3;

/// 16 bytes, the same for the same attributes in any order; zeros without attributes.
pub(super) fn resource_key(resource: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let attributes = Resource::parse(resource)?.attributes;
    if attributes.is_empty() {
        return Ok(vec![0; 16]);
    }
    let mut text = Vec::with_capacity(resource.len());
    put_map(&mut text, &attributes)?;
    let first = xxh64(&text, 0);
    text.push(SECOND);
    let second = xxh64(&text, 0);
    Ok([first.to_le_bytes(), second.to_le_bytes()].concat())
}

fn put_map(out: &mut Vec<u8>, map: &Attributes<'_>) -> Result<(), DecodeError> {
    let mut pairs: Vec<KeyValue<'_>> = map.iter().collect::<Result<_, _>>()?;
    // Stable: of a key that comes twice the first value counts, both times.
    pairs.sort_by_key(KeyValue::key_bytes);
    for same in pairs.chunk_by(|a, b| a.key_bytes() == b.key_bytes()) {
        for pair in same {
            out.push(KEY);
            out.extend_from_slice(pair.key_bytes());
            put_value(out, &same[0].value()?)?;
        }
    }
    Ok(())
}

fn put_value(out: &mut Vec<u8>, value: &AnyValue<'_>) -> Result<(), DecodeError> {
    let mut put = |kind: u8, content: &[u8]| {
        out.push(kind);
        out.extend_from_slice(content);
    };
    match value {
        AnyValue::Empty => put(EMPTY, &[]),
        AnyValue::String(text) => put(TEXT, text.as_bytes()),
        AnyValue::Bool(true) => put(TRUE, &[]),
        AnyValue::Bool(false) => put(FALSE, &[]),
        AnyValue::Int(int) => put(INT, &int.to_le_bytes()),
        AnyValue::Double(double) => put(DOUBLE, &double.to_bits().to_le_bytes()),
        AnyValue::Bytes(bytes) => put(BYTES, bytes),
        AnyValue::Map(map) => {
            out.push(MAP[0]);
            put_map(out, map)?;
            out.push(MAP[1]);
        }
        AnyValue::Array(list) => {
            out.push(LIST[0]);
            for element in list.iter() {
                put_value(out, &element?)?;
            }
            out.push(LIST[1]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

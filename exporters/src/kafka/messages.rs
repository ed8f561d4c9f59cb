//! The messages of a batch: parted by key, each at most as large as allowed, encoded.

use bytes::Bytes;
use model::Signal;
use wire::DecodeError;
use wire::otlp::{Part, json, split, split_by_resource, split_by_trace};
use xxhash_rust::xxh3::xxh3_128;

use super::KafkaEncoding;

/// What the keys of messages are, and so which items go to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// No key: one message for a batch.
    None,
    /// The trace id in hexadecimal.
    Trace,
    /// A hash of the resource's attributes.
    Resource,
}

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Bytes,
    pub(super) items: u64,
}

/// The messages of a payload. One that is larger than `bytes_max` is split, down to single items.
pub(super) fn messages(
    signal: Signal,
    payload: &Bytes,
    items: u64,
    encoding: KafkaEncoding,
    keys: Keys,
    bytes_max: usize,
) -> Result<Vec<Message>, DecodeError> {
    let mut out = Vec::new();
    let mut put = |key: Option<Vec<u8>>, payload: &Bytes, items| {
        append(signal, key.as_deref(), payload, items, (encoding, bytes_max), &mut out)
    };
    match keys {
        Keys::None => put(None, payload, items)?,
        Keys::Trace => {
            for Part { key, payload, items } in split_by_trace(payload)? {
                put(Some(hex(&key)), &payload, items)?;
            }
        }
        Keys::Resource => {
            for Part { key, payload, items } in split_by_resource(signal, payload)? {
                put(Some(resource_key(&key)?), &payload, items)?;
            }
        }
    }
    Ok(out)
}

fn append(
    signal: Signal,
    key: Option<&[u8]>,
    payload: &Bytes,
    items: u64,
    (encoding, bytes_max): (KafkaEncoding, usize),
    out: &mut Vec<Message>,
) -> Result<(), DecodeError> {
    let encoded = match encoding {
        KafkaEncoding::OtlpProto => payload.clone(),
        KafkaEncoding::OtlpJson => {
            let mut text = Vec::with_capacity(2 * payload.len());
            json::from_protobuf(signal, payload, &mut text)?;
            Bytes::from(text)
        }
    };
    let overhead = key.map_or(0, <[u8]>::len);
    if encoded.len() + overhead <= bytes_max || items <= 1 {
        out.push(Message { key: key.map(<[u8]>::to_vec), payload: encoded, items });
        return Ok(());
    }
    let share = items.saturating_mul(bytes_max as u64) / encoded.len() as u64;
    for (part, part_items) in split(signal, payload, share.clamp(1, items - 1))? {
        append(signal, key, &part, part_items, (encoding, bytes_max), out)?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

/// The same for the same attributes in any order.
fn resource_key(resource: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut fields = wire::protobuf::Fields::new(resource);
    let mut attributes = Vec::new();
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            attributes.push(field.bytes()?);
        }
    }
    attributes.sort_unstable();
    let mut canonical = Vec::with_capacity(resource.len());
    for attribute in attributes {
        wire::protobuf::put_bytes_field(&mut canonical, 1, attribute);
    }
    Ok(xxh3_128(&canonical).to_be_bytes().to_vec())
}

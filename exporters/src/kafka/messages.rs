//! The messages of a batch: parted by key, each at most as large as allowed, encoded.

use bytes::Bytes;
use model::Signal;
use wire::DecodeError;
use wire::otlp::{Part, PartsRoom, json, split_by_resource, split_by_trace, split_within};
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
    let room = PartsRoom::of(payload.len());
    let mut writer = Writer { signal, encoding, bytes_max, room, out: Vec::new() };
    match keys {
        Keys::None => writer.put(None, payload, items)?,
        Keys::Trace => {
            for Part { key, payload, items } in split_by_trace(payload, &mut writer.room)? {
                writer.put(Some(&hex(&key)), &payload, items)?;
            }
        }
        Keys::Resource => {
            for Part { key, payload, items } in split_by_resource(signal, payload)? {
                writer.put(Some(&resource_key(&key)?), &payload, items)?;
            }
        }
    }
    Ok(writer.out)
}

struct Writer {
    signal: Signal,
    encoding: KafkaEncoding,
    bytes_max: usize,
    /// For all parts of the payload.
    room: PartsRoom,
    out: Vec<Message>,
}

impl Writer {
    fn put(&mut self, key: Option<&[u8]>, payload: &Bytes, items: u64) -> Result<(), DecodeError> {
        let encoded = match self.encoding {
            KafkaEncoding::OtlpProto => payload.clone(),
            KafkaEncoding::OtlpJson => {
                let mut text = Vec::with_capacity(2 * payload.len());
                json::from_protobuf(self.signal, payload, &mut text)?;
                Bytes::from(text)
            }
        };
        let overhead = key.map_or(0, <[u8]>::len);
        if encoded.len() + overhead <= self.bytes_max || items <= 1 {
            self.out.push(Message { key: key.map(<[u8]>::to_vec), payload: encoded, items });
            return Ok(());
        }
        let share = items.saturating_mul(self.bytes_max as u64) / encoded.len() as u64;
        let share = share.clamp(1, items - 1);
        for (part, part_items) in split_within(self.signal, payload, share, &mut self.room)? {
            self.put(key, &part, part_items)?;
        }
        Ok(())
    }
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

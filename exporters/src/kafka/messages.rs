//! The messages of a batch: parted by topic and by key, each at most as large as allowed, encoded.

use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use wire::DecodeError;
use wire::otlp::{
    AnyValue, Part, PartsRoom, Resource, View, json, split_by_resource, split_by_trace, split_logs_by_trace,
    split_within,
};

use super::KafkaEncoding;
use super::resource_key::resource_key;

/// What the keys of messages are, and so which items go to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// No key: one message for a batch.
    None,
    /// The trace id in hexadecimal.
    Trace,
    /// A hash of the resource's attributes, as the collector has it.
    Resource,
}

/// How a batch becomes messages.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) signal: Signal,
    pub(super) encoding: KafkaEncoding,
    pub(super) keys: Keys,
    /// The key of all messages if `keys` is none.
    pub(super) key: Option<Vec<u8>>,
    /// Resource attribute with the topic; asked for at each resource.
    pub(super) topic_attribute: Option<String>,
    /// Largest message.
    pub(super) bytes_max: usize,
}

impl Recipe {
    /// Whether there is one message, which is the payload.
    pub(super) fn is_plain(&self, payload: &Bytes) -> bool {
        self.encoding == KafkaEncoding::OtlpProto
            && self.keys == Keys::None
            && self.topic_attribute.is_none()
            && payload.len() + self.key.as_ref().map_or(0, Vec::len) <= self.bytes_max
    }
}

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// From the data; without one the batch's topic is meant.
    pub(super) topic: Option<Arc<str>>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Bytes,
    pub(super) items: u64,
}

/// The messages of a payload. One that is larger than `bytes_max` is split, down to single items.
pub(super) fn messages(recipe: &Recipe, payload: &Bytes, items: u64) -> Result<Vec<Message>, DecodeError> {
    let mut writer = Writer { recipe, topic: None, room: PartsRoom::of(payload.len()), out: Vec::new() };
    match &recipe.topic_attribute {
        None => writer.put_keyed(payload, items)?,
        Some(attribute) => {
            for Part { key: resource, payload, items } in split_by_resource(recipe.signal, payload)? {
                writer.topic = topic_of(&resource, attribute)?;
                writer.put_keyed(&payload, items)?;
            }
        }
    }
    Ok(writer.out)
}

/// The text of a resource's attribute, if it has one.
fn topic_of(resource: &[u8], attribute: &str) -> Result<Option<Arc<str>>, DecodeError> {
    Ok(match Resource::parse(resource)?.attributes.get(attribute)? {
        Some(AnyValue::String(topic)) if !topic.is_empty() => Some(topic.into()),
        _ => None,
    })
}

struct Writer<'a> {
    recipe: &'a Recipe,
    /// Of what is being written.
    topic: Option<Arc<str>>,
    /// For all parts of the payload.
    room: PartsRoom,
    out: Vec<Message>,
}

impl Writer<'_> {
    /// Parts a payload by key.
    fn put_keyed(&mut self, payload: &Bytes, items: u64) -> Result<(), DecodeError> {
        let signal = self.recipe.signal;
        match self.recipe.keys {
            Keys::None => self.put(self.recipe.key.as_deref(), payload, items)?,
            Keys::Trace if signal == Signal::Logs => {
                for Part { key, payload, items } in split_logs_by_trace(payload, &mut self.room)? {
                    // Records of no trace have nothing in common.
                    let key = (!is_empty_id(&key)).then(|| hex(&key));
                    self.put(key.as_deref(), &payload, items)?;
                }
            }
            Keys::Trace => {
                for Part { key, payload, items } in split_by_trace(payload, &mut self.room)? {
                    self.put(Some(&hex(&key)), &payload, items)?;
                }
            }
            Keys::Resource => {
                for Part { key, payload, items } in split_by_resource(signal, payload)? {
                    self.put(Some(&resource_key(&key)?), &payload, items)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Option<&[u8]>, payload: &Bytes, items: u64) -> Result<(), DecodeError> {
        let Recipe { signal, encoding, bytes_max, .. } = *self.recipe;
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
            let (topic, key) = (self.topic.clone(), key.map(<[u8]>::to_vec));
            self.out.push(Message { topic, key, payload: encoded, items });
            return Ok(());
        }
        let share = items.saturating_mul(bytes_max as u64) / encoded.len() as u64;
        let share = share.clamp(1, items - 1);
        for (part, part_items) in split_within(signal, payload, share, &mut self.room)? {
            self.put(key, &part, part_items)?;
        }
        Ok(())
    }
}

/// An id of zeros means that there is none.
fn is_empty_id(id: &[u8]) -> bool {
    id.iter().all(|byte| *byte == 0)
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

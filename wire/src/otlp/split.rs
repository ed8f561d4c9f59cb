//! Batching on bytes: count, join and split payloads without decoding an item.
//!
//! The top level of a request is one repeated field, so joining is concatenation. Splitting goes down to single data
//! points and repeats the headers around them (everything of a resource group, scope group or metric that is not its
//! children); whole runs of groups stay slices of the payload.
//!
//! - SPLIT-1: the parts hold every item once, in order, each part at most as many as asked for. Envelopes without
//!   items may be left out of a payload that is split, as the OTLP specification allows forwarders to do.
//! - SPLIT-2: headers that are repeated are counted: a small payload whose parts together would be large is refused.

use bytes::Bytes;
use model::Signal;
use smallvec::SmallVec;

use super::edit::copy_fields;
use crate::DecodeError;
use crate::protobuf::{Fields, OpenMessage, begin_message};

/// Which fields lead to the items, from the request down: those of the last level are the items.
type Levels = &'static [&'static [u32]];

const METRIC_LEVELS: Levels = &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]];
const RECORD_LEVELS: Levels = &[&[1], &[2], &[2]];

fn levels(signal: Signal) -> Levels {
    match signal {
        Signal::Metrics => METRIC_LEVELS,
        Signal::Logs | Signal::Traces => RECORD_LEVELS,
    }
}

/// The number of data points, log records or spans in a payload.
pub fn item_count(signal: Signal, payload: &[u8]) -> Result<u64, DecodeError> {
    count(payload, levels(signal))
}

fn count(message: &[u8], levels: Levels) -> Result<u64, DecodeError> {
    let [numbers, below @ ..] = levels else { return Ok(1) };
    let mut items = 0;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        if numbers.contains(&field.number) {
            let child = field.bytes()?;
            items += if below.is_empty() { 1 } else { count(child, below)? };
        }
    }
    Ok(items)
}

/// Joins payloads of one signal into one that holds all their groups.
pub fn merge(payloads: &[Bytes]) -> Bytes {
    match payloads {
        [] => Bytes::new(),
        [one] => one.clone(),
        many => many.concat().into(),
    }
}

/// How many bytes the parts of one payload may have together, over all its splits: those of a part are split again.
#[derive(Debug)]
pub struct PartsRoom {
    bytes_max: usize,
    left: usize,
}

impl PartsRoom {
    /// Room for the parts of a payload of `bytes`: far more than honest headers need, and a small multiple of a large
    /// payload.
    pub fn of(bytes: usize) -> Self {
        let bytes_max = bytes.saturating_mul(8).saturating_add(64 << 20);
        Self { bytes_max, left: bytes_max }
    }

    /// Takes `bytes` of it, before they are written.
    pub fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(DecodeError::invalid(format!(
                "the parts of the payload would have more than {} bytes together, because each repeats what is around \
                 its items; send smaller resources, scopes and metrics, or fewer items",
                self.bytes_max
            ))),
        }
    }
}

/// What a part costs beside its bytes.
pub(super) const PART_BYTES: usize = 64;

/// Splits a payload into parts of at most `items_max` items (0: no limit), with the count of each. All parts but the
/// last are full. A payload that needs no split comes back as it is.
pub fn split(signal: Signal, payload: &Bytes, items_max: u64) -> Result<Vec<(Bytes, u64)>, DecodeError> {
    split_within(signal, payload, items_max, &mut PartsRoom::of(payload.len()))
}

/// The same of a payload that is itself a part, within the room that is left for all parts.
pub fn split_within(
    signal: Signal,
    payload: &Bytes,
    items_max: u64,
    room: &mut PartsRoom,
) -> Result<Vec<(Bytes, u64)>, DecodeError> {
    let levels = levels(signal);
    let items = count(payload, levels)?;
    if items_max == 0 || items <= items_max {
        return Ok(vec![(payload.clone(), items)]);
    }
    let mut splitter = Splitter {
        payload,
        items_max,
        room,
        parts: Vec::new(),
        items: 0,
        whole: (0, 0),
        out: Vec::new(),
        path: SmallVec::new(),
        open: SmallVec::new(),
    };
    splitter.message(payload, levels)?;
    splitter.finish_part()?;
    Ok(splitter.parts)
}

struct Splitter<'a> {
    payload: &'a Bytes,
    items_max: u64,
    room: &'a mut PartsRoom,
    parts: Vec<(Bytes, u64)>,
    /// Items of the part being made.
    items: u64,
    /// While the part is nothing but a run of whole groups: that run of the payload, and `out` is empty.
    whole: (usize, usize),
    out: Vec<u8>,
    /// The messages around the place that is read.
    path: SmallVec<[Envelope; 4]>,
    /// Those of `path` that are begun in `out`.
    open: SmallVec<[OpenMessage; 4]>,
}

struct Envelope {
    number: u32,
    /// All its fields but those that lead to items.
    header: Vec<u8>,
}

impl<'a> Splitter<'a> {
    fn message(&mut self, message: &'a [u8], levels: Levels) -> Result<(), DecodeError> {
        let [numbers, below @ ..] = levels else { return Ok(()) };
        let mut fields = Fields::new(message);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            let end = fields.offset();
            if numbers.contains(&field.number) {
                let content = field.bytes()?;
                let items = if below.is_empty() { 1 } else { count(content, below)? };
                if self.items == self.items_max && items > 0 {
                    self.finish_part()?;
                }
                if self.items + items <= self.items_max {
                    if items > 0 {
                        self.take(message, start, end)?;
                        self.items += items;
                    }
                } else if let [children, ..] = below {
                    let mut header = Vec::new();
                    copy_fields(content, &mut header, |number| !children.contains(&number))?;
                    self.path.push(Envelope { number: field.number, header });
                    self.message(content, below)?;
                    self.path.pop();
                    if self.open.len() > self.path.len()
                        && let Some(open) = self.open.pop()
                    {
                        open.end(&mut self.out);
                    }
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Takes the whole field at `start..end` of `message` into the part.
    fn take(&mut self, message: &'a [u8], start: usize, end: usize) -> Result<(), DecodeError> {
        if self.path.is_empty() && self.out.is_empty() {
            if self.whole.0 == self.whole.1 {
                self.whole = (start, end);
                return Ok(());
            }
            if self.whole.1 == start {
                self.whole.1 = end;
                return Ok(());
            }
        }
        let (whole_start, whole_end) = std::mem::take(&mut self.whole);
        let headers = self.path[self.open.len()..].iter().map(|envelope| envelope.header.len());
        self.room.take(whole_end - whole_start + headers.sum::<usize>() + end - start)?;
        self.out.extend_from_slice(&self.payload[whole_start..whole_end]);
        for envelope in &self.path[self.open.len()..] {
            self.open.push(begin_message(&mut self.out, envelope.number));
            self.out.extend_from_slice(&envelope.header);
        }
        self.out.extend_from_slice(&message[start..end]);
        Ok(())
    }

    fn finish_part(&mut self) -> Result<(), DecodeError> {
        while let Some(open) = self.open.pop() {
            open.end(&mut self.out);
        }
        let items = std::mem::take(&mut self.items);
        let (start, end) = std::mem::take(&mut self.whole);
        let part = match self.out.is_empty() {
            true => self.payload.slice(start..end),
            false => std::mem::take(&mut self.out).into(),
        };
        if items > 0 {
            self.room.take(PART_BYTES)?;
            self.parts.push((part, items));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

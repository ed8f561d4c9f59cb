//! Records of one resource and scope, to entries.
//!
//! Records come with the same attribute keys in the same order nearly always. What follows from these (names, where
//! the level comes from, what all of them share) is kept as a `Kind`, so that a record of a known kind costs one
//! comparison a key and one copy a value; the others are taken apart in full.

use std::sync::Arc;

use model::{LogEntries, MetadataShape};
use smallvec::SmallVec;

use super::level::{self, DETECTED_LEVEL, LevelField, LevelSource, SHAPE_NUMBERS};
use super::metadata::{append_hex, append_text};
use super::{OUTPUT_RATIO_MAX, Pairs, ResourceStream, Settings};
use crate::DecodeError;
use crate::otlp::{AnyValue, KeyValue, LogRecord, ScopeGroup};

/// Kinds that are kept for a resource and scope.
const KINDS_MAX: usize = 16;

/// A kind with more text than this is made again each time.
const KIND_BYTES_MAX: usize = 16 << 10;

/// Attributes of a record that are looked at without an allocation.
const ATTRIBUTES_INLINE: usize = 16;

/// What the records of a resource and scope have in common.
#[derive(Debug)]
pub(super) struct Records {
    resource: Arc<ResourceStream>,
    /// Metadata that the scope gives.
    scope: Pairs,
    scope_level: LevelField,
    discover_levels: bool,
    /// The one that was used last comes first.
    kinds: Vec<Kind>,
    cached_bytes: usize,
}

/// Memory that is used again for each record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    own: Pairs,
    values: String,
    value_ends: Vec<u32>,
}

/// Records with the same attribute keys and the same fields.
#[derive(Debug)]
struct Kind {
    /// Keys as they were sent, one after the other.
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    fields: Present,
    /// Names of the own metadata.
    names: MetadataShape,
    level: LevelSource,
    /// Names and what all entries share, by the number of their level.
    shapes: [Option<Arc<MetadataShape>>; SHAPE_NUMBERS],
}

/// Which fields of a record become metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Present {
    observed_time: bool,
    severity_number: bool,
    severity_text: bool,
    dropped_attributes: bool,
    flags: bool,
    trace_id: bool,
    span_id: bool,
}

type Attributes<'a> = SmallVec<[KeyValue<'a>; ATTRIBUTES_INLINE]>;
/// Why a record is refused: a reason and its sentence.
type Refusal = (&'static str, DecodeError);

impl Records {
    pub(super) fn new(
        group: &ScopeGroup<'_>,
        resource: &Arc<ResourceStream>,
        settings: &Settings,
    ) -> Result<Self, DecodeError> {
        let (scope, scope_level) = scope_metadata(group)?;
        let cached_bytes = size_of::<Self>() + scope.text_bytes();
        Ok(Self {
            resource: Arc::clone(resource),
            scope,
            scope_level,
            discover_levels: settings.discover_log_levels,
            kinds: Vec::new(),
            cached_bytes,
        })
    }

    /// Bytes that are kept for records to come. They only grow.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// Appends one record to its stream.
    pub(super) fn append(
        &mut self,
        record: &LogRecord<'_>,
        now_ns: i64,
        scratch: &mut Scratch,
        entries: &mut LogEntries,
        bytes_left: &mut usize,
    ) -> Result<(), Refusal> {
        let invalid_metadata = |error| ("invalid_metadata", error);
        let mut unknown;
        let kind = match self.find(record, scratch).map_err(invalid_metadata)? {
            Some(()) => &mut self.kinds[0],
            None => match self.take_apart(record, scratch).map_err(invalid_metadata)? {
                Some(kind) => {
                    unknown = kind;
                    &mut unknown
                }
                None => &mut self.kinds[0],
            },
        };
        let body = record.body().map_err(|error| ("invalid_body", error))?;
        let made;
        let line = match body {
            AnyValue::String(text) => text,
            AnyValue::Empty => "",
            _ => {
                let mut text = String::new();
                body.append_as_string(&mut text).map_err(|error| ("invalid_body", error))?;
                made = text;
                &made
            }
        };
        let Scratch { values, value_ends, .. } = scratch;
        let own = |position: usize| {
            let start = if position == 0 { 0 } else { value_ends[position - 1] as usize };
            &values[start..value_ends[position] as usize]
        };
        let level = kind.level.level(own, line);
        let number = level::shape_number(level);
        let other_level = level.filter(|_| number == SHAPE_NUMBERS - 1).map(str::to_owned);
        let shape = &*kind.shapes[number].get_or_insert_with(|| {
            let shape = shape(&kind.names, &self.resource.metadata, &self.scope, number);
            self.cached_bytes += shape.memory_bytes();
            Arc::new(shape)
        });
        if let Some(level) = other_level {
            values.push_str(&level);
            value_ends.push(values.len() as u32);
        }
        let size = line.len() + values.len() + shape.text_bytes();
        *bytes_left = bytes_left.checked_sub(size).ok_or_else(|| ("request_too_large", too_large()))?;
        if !entries.has_room_for(line.len(), size) {
            return Err(("request_too_large", too_large()));
        }
        entries.push_shaped(timestamp_ns(record, now_ns), line, shape, values, value_ends);
        Ok(())
    }

    /// Puts the record's kind first and its values into `scratch`, if it is of a known kind.
    fn find(&mut self, record: &LogRecord<'_>, scratch: &mut Scratch) -> Result<Option<()>, DecodeError> {
        let fields = Present::of(record)?;
        if !record.event_name()?.is_empty() {
            return Ok(None);
        }
        let Some(last) = self.kinds.first() else { return Ok(None) };
        if !last.take(record, fields, scratch)? {
            let attributes: Attributes<'_> = record.attributes.iter().collect::<Result<_, _>>()?;
            let Some(position) = self.kinds.iter().position(|kind| kind.fits(&attributes, fields)) else {
                return Ok(None);
            };
            self.kinds.swap(0, position);
            if !self.kinds[0].take(record, fields, scratch)? {
                return Ok(None);
            }
        }
        scratch.push_fields(record, fields)?;
        Ok(Some(()))
    }

    /// Puts the values of a record of any kind into `scratch`. Its kind is put first if it can be known again, else
    /// given back.
    fn take_apart(
        &mut self,
        record: &LogRecord<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<Kind>, DecodeError> {
        let Scratch { own, values, value_ends } = scratch;
        own.clear();
        append_record(record, own)?;
        values.clear();
        value_ends.clear();
        for (_, value) in own.iter() {
            values.push_str(value);
            value_ends.push(values.len() as u32);
        }
        let level = if self.discover_levels {
            let field = LevelField::of(own.iter()).or(&self.resource.metadata_level).or(&self.scope_level);
            let names = own.iter().map(|(name, _)| name);
            let shared = self.resource.metadata.iter().chain(self.scope.iter());
            LevelSource::new(self.resource.label_level.as_deref(), &field, names, shared)
        } else {
            LevelSource::Nowhere
        };
        let mut kind = Kind {
            keys: Vec::new(),
            key_ends: Vec::new(),
            fields: Present::of(record)?,
            names: MetadataShape::new(own.iter().map(|(name, _)| (name, None))),
            level,
            shapes: [const { None }; SHAPE_NUMBERS],
        };
        // Known again by its keys only when each of them is one name, and its value goes there as it is.
        let mut plain = record.event_name()?.is_empty() && own.iter().all(|(name, _)| name != DETECTED_LEVEL);
        for attribute in record.attributes.iter() {
            let attribute = attribute?;
            plain &= !matches!(attribute.value()?, AnyValue::Map(_));
            kind.keys.extend_from_slice(attribute.key_bytes());
            kind.key_ends.push(kind.keys.len());
        }
        let bytes = size_of::<Kind>() + kind.keys.len() + 8 * kind.key_ends.len() + kind.names.memory_bytes();
        if !plain || bytes > KIND_BYTES_MAX {
            return Ok(Some(kind));
        }
        self.kinds.truncate(KINDS_MAX - 1);
        self.kinds.insert(0, kind);
        self.cached_bytes += bytes;
        Ok(None)
    }
}

impl Kind {
    /// Puts the values of the record's attributes into `scratch`, if it is of this kind and none is a map.
    #[inline]
    fn take(
        &self,
        record: &LogRecord<'_>,
        fields: Present,
        scratch: &mut Scratch,
    ) -> Result<bool, DecodeError> {
        scratch.clear();
        if self.fields != fields {
            return Ok(false);
        }
        let (mut start, mut ends) = (0, self.key_ends.iter());
        for attribute in record.attributes.iter() {
            let attribute = attribute?;
            let Some(&end) = ends.next() else { return Ok(false) };
            if attribute.key_bytes() != &self.keys[start..end] {
                return Ok(false);
            }
            start = end;
            match attribute.value()? {
                AnyValue::Map(_) => return Ok(false),
                AnyValue::String(text) => append_text(text, &mut scratch.values),
                other => other.append_as_string(&mut scratch.values)?,
            }
            scratch.end_value();
        }
        Ok(ends.next().is_none())
    }

    fn fits(&self, attributes: &[KeyValue<'_>], fields: Present) -> bool {
        if self.fields != fields || self.key_ends.len() != attributes.len() {
            return false;
        }
        let mut start = 0;
        attributes.iter().zip(&self.key_ends).all(|(attribute, &end)| {
            let key = &self.keys[start..end];
            start = end;
            attribute.key_bytes() == key
        })
    }
}

impl Present {
    #[inline]
    fn of(record: &LogRecord<'_>) -> Result<Self, DecodeError> {
        let is_set = |id: &[u8]| id.iter().any(|byte| *byte != 0);
        Ok(Self {
            observed_time: record.time_unix_nano != 0 && record.observed_time_unix_nano != 0,
            severity_number: record.severity_number != 0,
            severity_text: !record.severity_text()?.is_empty(),
            dropped_attributes: record.dropped_attributes_count != 0,
            flags: record.flags != 0,
            trace_id: is_set(record.trace_id),
            span_id: is_set(record.span_id),
        })
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.values.clear();
        self.value_ends.clear();
    }

    fn end_value(&mut self) {
        // A request has far less than 4 GiB.
        self.value_ends.push(self.values.len() as u32);
    }

    fn push_number(&mut self, value: i64) {
        self.values.push_str(itoa::Buffer::new().format(value));
        self.end_value();
    }

    /// The values of the fields, in the order of [`append_record`].
    fn push_fields(&mut self, record: &LogRecord<'_>, fields: Present) -> Result<(), DecodeError> {
        if fields.observed_time {
            self.push_number(record.observed_time_unix_nano as i64);
        }
        if fields.severity_number {
            self.push_number(record.severity_number.into());
        }
        if fields.severity_text {
            append_text(record.severity_text()?, &mut self.values);
            self.end_value();
        }
        if fields.dropped_attributes {
            self.push_number(record.dropped_attributes_count.into());
        }
        if fields.flags {
            self.push_number(record.flags.into());
        }
        for (present, id) in [(fields.trace_id, record.trace_id), (fields.span_id, record.span_id)] {
            if present {
                append_hex(id, &mut self.values);
                self.end_value();
            }
        }
        Ok(())
    }
}

/// The shape of entries with these names, with what the resource, the scope and the level give.
fn shape(names: &MetadataShape, resource: &Pairs, scope: &Pairs, number: usize) -> MetadataShape {
    let own = (0..names.len()).map(|slot| (names.name(slot), None));
    let shared = resource.iter().chain(scope.iter()).map(|(name, value)| (name, Some(value)));
    // Numbered 0 are entries without a level; one that is not shared is the last own value.
    let level = (number > 0).then(|| (DETECTED_LEVEL, level::shared_level(number)));
    MetadataShape::new(own.chain(shared).chain(level))
}

fn timestamp_ns(record: &LogRecord<'_>, now_ns: i64) -> i64 {
    match (record.time_unix_nano, record.observed_time_unix_nano) {
        (0, 0) => now_ns,
        (0, observed) => observed as i64,
        (time, _) => time as i64,
    }
}

/// Attributes and fields of a record, in Loki's order.
fn append_record(record: &LogRecord<'_>, out: &mut Pairs) -> Result<(), DecodeError> {
    const EVENT_NAME: &str = "event_name";
    let event_name = record.event_name()?;
    for attribute in record.attributes.iter() {
        let attribute = attribute?;
        out.push_attribute(attribute.key()?, attribute.value()?)?;
        // The field beats an attribute of its name.
        if !event_name.is_empty() && out.last_name() == Some(EVENT_NAME) {
            out.pop();
        }
    }
    if record.time_unix_nano != 0 && record.observed_time_unix_nano != 0 {
        out.push_number("observed_timestamp", record.observed_time_unix_nano as i64);
    }
    if record.severity_number != 0 {
        out.push_number(level::SEVERITY_NUMBER, record.severity_number.into());
    }
    let severity_text = record.severity_text()?;
    if !severity_text.is_empty() {
        out.push("severity_text", severity_text);
    }
    if record.dropped_attributes_count != 0 {
        out.push_number("dropped_attributes_count", record.dropped_attributes_count.into());
    }
    if record.flags != 0 {
        out.push_number("flags", record.flags.into());
    }
    for (name, id) in [("trace_id", record.trace_id), ("span_id", record.span_id)] {
        if id.iter().any(|byte| *byte != 0) {
            out.push_hex(name, id);
        }
    }
    if !event_name.is_empty() {
        out.push(EVENT_NAME, event_name);
    }
    Ok(())
}

/// Attributes and fields of a scope, and what they say about the level.
fn scope_metadata(group: &ScopeGroup<'_>) -> Result<(Pairs, LevelField), DecodeError> {
    let scope = group.scope()?;
    let mut out = Pairs::default();
    for attribute in scope.attributes.iter() {
        let attribute = attribute?;
        out.push_attribute(attribute.key()?, attribute.value()?)?;
    }
    for (name, text) in [("scope_name", scope.name()?), ("scope_version", scope.version()?)] {
        if !text.is_empty() {
            out.push(name, text);
        }
    }
    if scope.dropped_attributes_count != 0 {
        out.push_number("scope_dropped_attributes_count", scope.dropped_attributes_count.into());
    }
    let level = LevelField::of(out.iter());
    Ok((out, level))
}

#[cold]
fn too_large() -> DecodeError {
    DecodeError::invalid(format!(
        "the records of the request repeat so much metadata that they are more than {OUTPUT_RATIO_MAX} times as large"
    ))
}

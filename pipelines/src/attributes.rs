//! Attribute actions: insert, update, upsert, delete, hash, extract, convert, on the wire bytes of a message that has
//! attributes.
//!
//! Semantics and error texts: internal/coreinternal/attraction of the collector's contrib repository (`hash` is SHA-256
//! there since v0.75). Attributes that no action touches keep their bytes, and a message that none changes is not
//! written anew.

use std::borrow::Cow;
use std::fmt::Write as _;

use model::go_regex;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use wire::DecodeError;
use wire::otlp::edit::{self, Edited};
use wire::otlp::{AnyValue, KeyValue, View};
use wire::protobuf::{self, Fields};

use crate::{ClientMetadata, ConfigError};

/// One entry of `attributes:` / `actions:`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ActionConfig {
    /// The attribute to act on.
    key: String,
    /// insert, update, upsert, delete, hash, extract or convert, in any case.
    action: String,
    /// A fixed value: text, number, boolean, list or map.
    value: Option<Json>,
    /// Takes the value of this attribute; nothing happens when it is absent.
    from_attribute: String,
    /// Takes what is known about the sender: `client.address`, `metadata.<key>`.
    from_context: String,
    /// Taken when the source above has nothing.
    default_value: Option<Json>,
    /// Target of convert: int, double or string.
    converted_type: String,
    /// delete, hash: acts on every key that this expression matches too. extract: the named groups to take.
    pattern: String,
}

/// A checked list of actions.
#[derive(Clone, Debug)]
pub(crate) struct Actions(Vec<Action>);

#[derive(Clone, Debug)]
struct Action {
    key: String,
    verb: Verb,
}

#[derive(Clone, Debug)]
enum Verb {
    Insert(Source),
    Update(Source),
    Upsert(Source),
    Delete(Option<Regex>),
    Hash(Option<Regex>),
    Extract(Regex),
    Convert(Target),
}

/// Where a value comes from.
#[derive(Clone, Debug)]
struct Source {
    origin: Origin,
    /// An encoded `AnyValue` for when the origin has nothing.
    default: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Origin {
    Nowhere,
    /// An encoded `AnyValue`.
    Fixed(Vec<u8>),
    Attribute(String),
    ClientAddress,
    Metadata(String),
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Int,
    Double,
    String,
}

impl Actions {
    /// Checks a list of actions.
    pub(crate) fn new(list: &[ActionConfig]) -> Result<Self, ConfigError> {
        let checked = list.iter().enumerate().map(|(index, config)| {
            action(index, config)
                .map_err(|message| ConfigError::at("", format!("error creating AttrProc {message}")))
        });
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the outcome depends on the sender.
    pub(crate) fn depends_on_client(&self) -> bool {
        self.0.iter().any(|action| match &action.verb {
            Verb::Insert(source) | Verb::Update(source) | Verb::Upsert(source) => {
                matches!(source.origin, Origin::ClientAddress | Origin::Metadata(_))
            }
            Verb::Delete(_) | Verb::Hash(_) | Verb::Extract(_) | Verb::Convert(_) => false,
        })
    }

    /// Applies the actions to `message`, whose attributes are the `KeyValue`s in field `attributes_field`, and appends
    /// the new message to `out`. Nothing is appended when nothing changes.
    pub(crate) fn apply(
        &self,
        message: &[u8],
        attributes_field: u32,
        client: &ClientMetadata,
        out: &mut Vec<u8>,
    ) -> Result<Edited, DecodeError> {
        let mut attributes = Attributes::read(message, attributes_field)?;
        for action in &self.0 {
            action.apply(&mut attributes, client)?;
        }
        if !attributes.changed {
            return Ok(Edited::Unchanged);
        }
        attributes.write(out)?;
        Ok(Edited::Replaced)
    }
}

fn action(index: usize, config: &ActionConfig) -> Result<Action, String> {
    let at = format!("at the {index}-th action");
    let name = config.action.to_lowercase();
    let verb = match name.as_str() {
        "insert" => Verb::Insert(source(config, &at)?),
        "update" => Verb::Update(source(config, &at)?),
        "upsert" => Verb::Upsert(source(config, &at)?),
        "delete" | "hash" => {
            if config.key.is_empty() && config.pattern.is_empty() {
                return Err(format!(
                    "due to missing required field (at least one of \"key\" and \"pattern\" have to be used) {at}"
                ));
            }
            unused(config, &name, &["value", "from_attribute", "from_context", "converted_type"], &at)?;
            let pattern = if config.pattern.is_empty() { None } else { Some(pattern(config, &at)?) };
            if name == "delete" { Verb::Delete(pattern) } else { Verb::Hash(pattern) }
        }
        "extract" => {
            unused(config, &name, &["value", "from_attribute", "from_context", "converted_type"], &at)?;
            Verb::Extract(extract_pattern(config, &at)?)
        }
        "convert" => {
            unused(config, &name, &["value", "from_attribute", "from_context", "pattern"], &at)?;
            Verb::Convert(match config.converted_type.as_str() {
                "int" => Target::Int,
                "double" => Target::Double,
                "string" => Target::String,
                "" => return Err(format!("due to missing required field \"converted_type\" {at}")),
                other => {
                    return Err(format!(
                        "due to invalid value \"{other}\" in field \"converted_type\" {at}: want int, double or string"
                    ));
                }
            })
        }
        other => {
            return Err(format!(
                "due to unsupported action \"{other}\" {at}: want insert, update, upsert, delete, hash, extract or convert"
            ));
        }
    };
    if config.key.is_empty() && !matches!(verb, Verb::Delete(_) | Verb::Hash(_)) {
        return Err(format!("due to missing required field \"key\" {at}"));
    }
    Ok(Action { key: config.key.clone(), verb })
}

/// Refuses fields that an action has no use for.
fn unused(config: &ActionConfig, action: &str, fields: &[&str], at: &str) -> Result<(), String> {
    for &field in fields {
        let set = match field {
            "value" => config.value.is_some(),
            "from_attribute" => !config.from_attribute.is_empty(),
            "from_context" => !config.from_context.is_empty(),
            "pattern" => !config.pattern.is_empty(),
            _ => !config.converted_type.is_empty(),
        };
        if set {
            return Err(format!(
                "due to action \"{action}\" not using the \"{field}\" field, which is set {at}"
            ));
        }
    }
    Ok(())
}

fn source(config: &ActionConfig, at: &str) -> Result<Source, String> {
    unused(config, &config.action, &["pattern", "converted_type"], at)?;
    let set = [config.value.is_some(), !config.from_attribute.is_empty(), !config.from_context.is_empty()];
    let count = set.into_iter().filter(|&set| set).count();
    if count > 1 {
        return Err(format!("due to multiple value sources being set {at}"));
    }
    if count == 0 && config.default_value.is_none() {
        return Err(format!(
            "because one of \"value\", \"from_attribute\", \"from_context\" or \"default_value\" must be specified {at}"
        ));
    }
    Ok(Source { origin: origin(config, at)?, default: config.default_value.as_ref().map(encoded) })
}

fn origin(config: &ActionConfig, at: &str) -> Result<Origin, String> {
    if let Some(value) = &config.value {
        return Ok(Origin::Fixed(encoded(value)));
    }
    if !config.from_attribute.is_empty() {
        return Ok(Origin::Attribute(config.from_attribute.clone()));
    }
    let context = config.from_context.as_str();
    if context.is_empty() {
        return Ok(Origin::Nowhere);
    }
    if context == "client.address" {
        return Ok(Origin::ClientAddress);
    }
    if context.starts_with("auth.") {
        return Err(format!(
            "because \"from_context: {context}\" needs an authenticator, which is not supported yet, {at}"
        ));
    }
    // A key without prefix is metadata too, as in old configs.
    Ok(Origin::Metadata(context.strip_prefix("metadata.").unwrap_or(context).to_lowercase()))
}

/// A config value as an encoded `AnyValue`.
pub(crate) fn encoded(value: &Json) -> Vec<u8> {
    let mut encoded = Vec::new();
    put_json(&mut encoded, value);
    encoded
}

fn pattern(config: &ActionConfig, at: &str) -> Result<Regex, String> {
    let text = &config.pattern;
    go_regex::compile(text)
        .map_err(|error| format!("due to field \"pattern\" with invalid pattern \"{text}\" {at}: {error}"))
}

fn extract_pattern(config: &ActionConfig, at: &str) -> Result<Regex, String> {
    if config.pattern.is_empty() {
        return Err(format!("due to missing required field \"pattern\" for action \"extract\" {at}"));
    }
    let pattern = pattern(config, at)?;
    let mut groups = pattern.capture_names().skip(1).peekable();
    if groups.peek().is_none() {
        return Err(format!("due to field \"pattern\" containing no named matcher groups {at}"));
    }
    if groups.any(|name| name.is_none()) {
        return Err(format!("due to field \"pattern\" containing at least one unnamed matcher group {at}"));
    }
    Ok(pattern)
}

impl Action {
    fn apply(&self, attributes: &mut Attributes<'_>, client: &ClientMetadata) -> Result<(), DecodeError> {
        let key = self.key.as_str();
        match &self.verb {
            Verb::Insert(source) => {
                if attributes.position(key).is_none()
                    && let Some(value) = source.value(attributes, client)
                {
                    attributes.put(key, value);
                }
            }
            Verb::Update(source) => {
                if attributes.position(key).is_some()
                    && let Some(value) = source.value(attributes, client)
                {
                    attributes.put(key, value);
                }
            }
            Verb::Upsert(source) => {
                if let Some(value) = source.value(attributes, client) {
                    attributes.put(key, value);
                }
            }
            Verb::Delete(pattern) => {
                attributes.remove(|name| name == key || pattern.as_ref().is_some_and(|p| p.is_match(name)));
            }
            Verb::Hash(pattern) => {
                // The key first and then the pattern, as upstream: a key that the pattern matches too is hashed twice.
                if let Some(index) = attributes.position(key) {
                    attributes.replace(index, |value| Ok(Some(hash(value)?)))?;
                }
                if let Some(pattern) = pattern {
                    for index in 0..attributes.list.len() {
                        if pattern.is_match(&attributes.list[index].key) {
                            attributes.replace(index, |value| Ok(Some(hash(value)?)))?;
                        }
                    }
                }
            }
            Verb::Extract(pattern) => extract(key, pattern, attributes)?,
            Verb::Convert(target) => {
                if let Some(index) = attributes.position(key) {
                    attributes.replace(index, |value| convert(value, *target))?;
                }
            }
        }
        Ok(())
    }
}

impl Source {
    /// The value as an encoded `AnyValue`, or `None` when there is none.
    fn value(&self, attributes: &Attributes<'_>, client: &ClientMetadata) -> Option<Vec<u8>> {
        let found = match &self.origin {
            Origin::Nowhere => None,
            Origin::Fixed(value) => Some(value.clone()),
            Origin::Attribute(key) => {
                attributes.position(key).map(|index| attributes.list[index].value.to_vec())
            }
            Origin::ClientAddress => client.address.as_deref().map(text_value),
            Origin::Metadata(key) => {
                let values = client.metadata.iter().filter(|(name, _)| name == key);
                let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
                if values.is_empty() { None } else { Some(text_value(&values.join(";"))) }
            }
        };
        found.or_else(|| self.default.clone())
    }
}

/// The attributes of a message, taken apart.
struct Attributes<'a> {
    list: SmallVec<[Attribute<'a>; 12]>,
    message: &'a [u8],
    field: u32,
    changed: bool,
}

struct Attribute<'a> {
    key: Cow<'a, str>,
    /// An encoded `AnyValue`.
    value: Cow<'a, [u8]>,
    /// The whole `KeyValue` as it came, as long as it is unchanged.
    raw: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    fn read(message: &'a [u8], field: u32) -> Result<Self, DecodeError> {
        let mut found = Self { list: SmallVec::new(), message, field, changed: false };
        let mut fields = Fields::new(message);
        while let Some(next) = fields.next_field()? {
            if next.number == field {
                let raw = next.bytes()?;
                let pair = KeyValue::parse(raw)?;
                let (key, value) = (Cow::Borrowed(pair.key()?), Cow::Borrowed(pair.value_bytes()));
                found.list.push(Attribute { key, value, raw: Some(raw) });
            }
        }
        Ok(found)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        for attribute in &self.list {
            match attribute.raw {
                Some(raw) => protobuf::put_bytes_field(out, self.field, raw),
                None => edit::put_key_value(out, self.field, &attribute.key, &attribute.value),
            }
        }
        edit::copy_fields(self.message, out, |number| number != self.field)
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.list.iter().position(|attribute| attribute.key == key)
    }

    fn put(&mut self, key: &str, value: Vec<u8>) {
        match self.position(key) {
            Some(index) => self.set(index, value),
            None => {
                let (key, value) = (Cow::Owned(key.to_owned()), Cow::Owned(value));
                self.list.push(Attribute { key, value, raw: None });
                self.changed = true;
            }
        }
    }

    fn set(&mut self, index: usize, value: Vec<u8>) {
        let attribute = &mut self.list[index];
        if *attribute.value != *value {
            attribute.value = Cow::Owned(value);
            attribute.raw = None;
            self.changed = true;
        }
    }

    fn replace(
        &mut self,
        index: usize,
        with: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, DecodeError>,
    ) -> Result<(), DecodeError> {
        if let Some(value) = with(&self.list[index].value)? {
            self.set(index, value);
        }
        Ok(())
    }

    fn remove(&mut self, doomed: impl Fn(&str) -> bool) {
        let before = self.list.len();
        self.list.retain(|attribute| !doomed(&attribute.key));
        self.changed |= self.list.len() < before;
    }
}

fn text_value(text: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len() + 4);
    protobuf::put_bytes_field(&mut encoded, 1, text.as_bytes());
    encoded
}

fn int_value(value: i64) -> Vec<u8> {
    let mut encoded = Vec::new();
    protobuf::put_varint_field(&mut encoded, 3, value as u64);
    encoded
}

fn double_value(value: f64) -> Vec<u8> {
    let mut encoded = Vec::new();
    protobuf::put_double_field(&mut encoded, 4, value);
    encoded
}

/// Appends a config value as the content of an `AnyValue` (`pcommon.Value.FromRaw`).
fn put_json(out: &mut Vec<u8>, value: &Json) {
    match value {
        Json::Null => {}
        Json::String(text) => protobuf::put_bytes_field(out, 1, text.as_bytes()),
        Json::Bool(value) => protobuf::put_varint_field(out, 2, u64::from(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(int) => protobuf::put_varint_field(out, 3, int as u64),
            None => protobuf::put_double_field(out, 4, number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::Array(list) => protobuf::put_message(out, 5, |out| {
            for value in list {
                protobuf::put_message(out, 1, |out| put_json(out, value));
            }
        }),
        Json::Object(map) => protobuf::put_message(out, 6, |out| {
            for (key, value) in map {
                protobuf::put_message(out, 1, |out| {
                    protobuf::put_bytes_field(out, 1, key.as_bytes());
                    protobuf::put_message(out, 2, |out| put_json(out, value));
                });
            }
        }),
    }
}

/// SHA-256 of a value's text or little-endian number, in hex; values of other types, and empty texts, become "".
fn hash(encoded: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let digest = |bytes: &[u8]| match bytes {
        [] => String::new(),
        bytes => Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
            hex
        }),
    };
    let hex = match AnyValue::parse(encoded)? {
        AnyValue::String(text) => digest(text.as_bytes()),
        AnyValue::Bool(value) => digest(&[u8::from(value)]),
        AnyValue::Int(value) => digest(&value.to_le_bytes()),
        AnyValue::Double(value) => digest(&value.to_bits().to_le_bytes()),
        AnyValue::Empty | AnyValue::Array(_) | AnyValue::Map(_) | AnyValue::Bytes(_) => String::new(),
    };
    Ok(text_value(&hex))
}

fn extract(key: &str, pattern: &Regex, attributes: &mut Attributes<'_>) -> Result<(), DecodeError> {
    let Some(index) = attributes.position(key) else { return Ok(()) };
    let encoded = attributes.list[index].value.to_vec();
    let AnyValue::String(text) = AnyValue::parse(&encoded)? else { return Ok(()) };
    let Some(found) = pattern.captures(text) else { return Ok(()) };
    for name in pattern.capture_names().flatten() {
        let part = found.name(name).map_or("", |part| part.as_str());
        attributes.put(name, text_value(part));
    }
    Ok(())
}

/// The converted value, or `None` when it stays as it is.
fn convert(encoded: &[u8], target: Target) -> Result<Option<Vec<u8>>, DecodeError> {
    let value = AnyValue::parse(encoded)?;
    Ok(match (target, value) {
        (Target::String, AnyValue::String(_))
        | (Target::Int, AnyValue::Int(_))
        | (Target::Double, AnyValue::Double(_)) => None,
        (Target::String, _) => {
            let mut text = String::new();
            value.append_as_string(&mut text)?;
            Some(text_value(&text))
        }
        (Target::Int, AnyValue::Double(double)) => Some(int_value(ottl::go_int(double))),
        (Target::Int, AnyValue::Bool(flag)) => Some(int_value(i64::from(flag))),
        (Target::Int, AnyValue::String(text)) => text.parse().ok().map(int_value),
        (Target::Double, AnyValue::Int(int)) => Some(double_value(int as f64)),
        (Target::Double, AnyValue::Bool(flag)) => Some(double_value(f64::from(u8::from(flag)))),
        (Target::Double, AnyValue::String(text)) => text.parse().ok().map(double_value),
        (_, AnyValue::Empty | AnyValue::Array(_) | AnyValue::Map(_) | AnyValue::Bytes(_)) => None,
    })
}

#[cfg(test)]
mod tests;

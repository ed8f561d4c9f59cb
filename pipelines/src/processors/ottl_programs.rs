//! What processors with OTTL programs share: the two ways to write a group in a config, the error mode, and a log of
//! failures that cannot flood.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ottl::{Context, ErrorMode, ParseError, RunError};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::{ComponentId, ConfigError};

/// A group of conditions or statements.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Group {
    /// What it is about: `resource`, `scope`, `log`, `span`, `spanevent`, `metric`, `datapoint`. Told from the paths when
    /// left out.
    pub(super) context: Option<ContextName>,
    /// Conditions; of a filter what goes, of a transform where the statements run.
    pub(super) conditions: Vec<String>,
    /// Statements, in order.
    pub(super) statements: Vec<String>,
    /// `ignore`, `silent` or `propagate`; the processor's when left out.
    pub(super) error_mode: Option<Mode>,
}

/// A context by its name in configs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextName(pub(super) Context);

impl<'de> Deserialize<'de> for ContextName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?.to_lowercase();
        if name == "profile" {
            return Err(D::Error::custom(
                "the profiles signal is not supported; supported are metrics, logs and traces",
            ));
        }
        let context = Context::named(&name).filter(|context| context.name() == name);
        context.map(Self).ok_or_else(|| D::Error::custom(format!("unknown context {name}")))
    }
}

/// An error mode by its name in configs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mode(pub(crate) ErrorMode);

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        ErrorMode::parse(&name).map(Self).map_err(D::Error::custom)
    }
}

/// Groups as configs write them: maps, or texts that make one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// The groups; the texts are the last one.
    pub(super) maps: Vec<Group>,
    /// Plain texts.
    pub(super) texts: Vec<String>,
    /// Whether the key is there.
    pub(super) is_given: bool,
}

/// Why maps and texts in one list are refused.
pub(super) const MIXED: &str = "configuring multiple configuration styles is not supported, please use only Basic \
                                configuration or only Advanced configuration";

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Text(String),
    Map(serde_json::Map<String, serde_json::Value>),
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(items) = Option::<Vec<Item>>::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        let mut groups = Self { is_given: true, ..Self::default() };
        for item in items {
            match item {
                Item::Text(text) => groups.texts.push(text),
                Item::Map(_) if !groups.texts.is_empty() => return Err(D::Error::custom(MIXED)),
                Item::Map(map) => {
                    let group = serde_json::from_value(serde_json::Value::Object(map));
                    groups.maps.push(group.map_err(D::Error::custom)?);
                }
            }
        }
        Ok(groups)
    }
}

impl Groups {
    /// The groups, with the texts put where `place` says.
    pub(super) fn all(&self, place: impl FnOnce(Vec<String>) -> Group) -> Vec<Group> {
        let mut groups = self.maps.clone();
        if !self.texts.is_empty() {
            groups.push(place(self.texts.clone()));
        }
        groups
    }
}

/// A fault of a program, with its place in the section.
pub(super) fn at(path: impl fmt::Display) -> impl FnOnce(ParseError) -> ConfigError {
    move |error| ConfigError::at(&path.to_string(), error.to_string())
}

/// Logs failures of programs, at most one a second; says how many it left out.
#[derive(Debug)]
pub(crate) struct FailureLog {
    id: String,
    next_ns: AtomicI64,
    left_out: AtomicU64,
}

impl FailureLog {
    pub(crate) fn new(id: &ComponentId) -> Self {
        Self { id: id.to_string(), next_ns: AtomicI64::new(i64::MIN), left_out: AtomicU64::new(0) }
    }

    /// Hears of a failure at `now_ns`.
    pub(crate) fn hear(&self, now_ns: i64, text: &str, error: &RunError) {
        const EVERY_NS: i64 = 1_000_000_000;
        let next = self.next_ns.load(Ordering::Relaxed);
        let is_due = now_ns >= next
            && self
                .next_ns
                .compare_exchange(next, now_ns.saturating_add(EVERY_NS), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_due {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        tracing::warn!(processor = self.id, %error, text, left_out, "failed to execute");
    }
}

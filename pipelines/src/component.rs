//! How components are named, configured and made.
//!
//! A component is one file with a `FACTORY` and one row in its crate's registry, a plain const table.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::Signal;
use runtime::{Clock, MemoryBudget, Tasks};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Consumer, Extensions, PipelineResult};

/// A component's id in a config: `type` or `type/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId {
    /// The type: file name, registry row, folder of its example.
    pub kind: String,
    /// The part after the slash, or "".
    pub name: String,
}

/// An id breaks the rules of `component.ID` in the collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid component id {0:?}: want type or type/name, the type being a letter and then letters, digits or _"
)]
pub struct ComponentIdError(String);

impl ComponentId {
    /// Reads `type[/name]`.
    pub fn parse(id: &str) -> Result<Self, ComponentIdError> {
        let refuse = || ComponentIdError(id.to_owned());
        let (kind, name) = match id.split_once('/') {
            Some((kind, name)) => (kind.trim(), name.trim()),
            None => (id.trim(), ""),
        };
        if id.contains('/') && name.is_empty() {
            return Err(refuse());
        }
        let mut chars = kind.chars();
        let first_ok = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
        if !first_ok || kind.len() > 63 || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(refuse());
        }
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.name.is_empty() {
            write!(f, "/{}", self.name)?;
        }
        Ok(())
    }
}

/// A component's section of the config: fully expanded, not yet typed.
#[derive(Clone, Copy, Debug)]
pub struct ComponentConfig<'a> {
    /// Whose section.
    pub id: &'a ComponentId,
    /// The section; null means "all defaults".
    pub value: &'a Value,
}

/// What is wrong with a config, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", path.join("::"), if path.is_empty() { "" } else { ": " })]
pub struct ConfigError {
    /// Keys from the section (or the root) down to the fault.
    pub path: Vec<String>,
    /// What is wrong, what is allowed.
    pub message: String,
}

impl ConfigError {
    /// A fault at `path`, keys joined by `.`.
    pub fn at(path: &str, message: impl Into<String>) -> Self {
        let path = path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        Self { path, message: message.into() }
    }

    /// The same fault seen from a level above.
    pub fn under(mut self, keys: &[&str]) -> Self {
        self.path.splice(0..0, keys.iter().map(|key| (*key).to_owned()));
        self
    }
}

/// A section in two: the entries whose keys are in `keys`, and the others. What is no map has none.
pub fn split(section: &Value, keys: &[&str]) -> (Value, Value) {
    let Value::Object(map) = section else { return (Value::Null, section.clone()) };
    let (inside, outside): (Map<_, _>, Map<_, _>) =
        map.clone().into_iter().partition(|(key, _)| keys.contains(&key.as_str()));
    (Value::Object(inside), Value::Object(outside))
}

impl ComponentConfig<'_> {
    /// Types the section. `T` refuses unknown keys by `#[serde(deny_unknown_fields, default)]`.
    pub fn parse<T: DeserializeOwned + Default>(&self) -> Result<T, ConfigError> {
        if self.value.is_null() {
            return Ok(T::default());
        }
        serde_path_to_error::deserialize(self.value.clone()).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            ConfigError::at(&path, error.into_inner().to_string())
        })
    }
}

/// How far a component is, in the collector's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Works, may change.
    Alpha,
    /// Works, settled.
    Beta,
    /// Relied on.
    Stable,
}

impl fmt::Display for Stability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpha => "Alpha",
            Self::Beta => "Beta",
            Self::Stable => "Stable",
        })
    }
}

/// What a processor may use of its surroundings.
#[derive(Clone)]
pub struct ProcessorContext {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its tasks live.
    pub tasks: Tasks,
    /// The process' one memory budget.
    pub budget: Arc<MemoryBudget>,
}

/// A row of the processor registry.
pub struct ProcessorFactory {
    /// The type in configs.
    pub kind: &'static str,
    /// Signals that it takes.
    pub signals: &'static [Signal],
    /// How far it is.
    pub stability: Stability,
    /// Checks the config and puts the processor in front of `next`. Spawns nothing until the first batch or a start.
    #[expect(clippy::type_complexity, reason = "a row of a plain table")]
    pub create: fn(
        &ComponentConfig<'_>,
        Signal,
        &ProcessorContext,
        Arc<dyn Consumer>,
    ) -> Result<Arc<dyn Processor>, ConfigError>,
}

/// A processor: a consumer with an end.
pub trait Processor: Consumer {
    /// Starts tasks that work without batches. Called once, before the first batch.
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends on what it holds and takes nothing more. Called after everything in front of it ended.
    /// Most hold nothing.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What an exporter may use of its surroundings.
#[derive(Clone)]
pub struct ExporterContext {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its tasks live.
    pub tasks: Tasks,
    /// The process' one memory budget.
    pub budget: Arc<MemoryBudget>,
    /// The extensions that its config may name.
    pub extensions: Extensions,
}

/// A destination. One instance serves every pipeline that names its id.
pub trait Exporter: Consumer {
    /// Opens connections and starts tasks. Called once, before the first batch.
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>>;

    /// Delivers what is queued, at most until the deadline that the caller sets, and ends its tasks.
    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>>;

    /// What it shows over HTTP, if it does.
    fn page(&self) -> Option<Page> {
        None
    }
}

/// Keys of a section that are about the listener of a page: those of config/confighttp in the collector.
pub const PAGE_SERVER_KEYS: &[&str] = &[
    "endpoint",
    "transport",
    "tls",
    "cors",
    "auth",
    "response_headers",
    "keep_alives_enabled",
    "read_timeout",
    "read_header_timeout",
    "write_timeout",
    "idle_timeout",
    "max_request_body_size",
    "compression_algorithms",
    "include_metadata",
    "middlewares",
];

/// A text that an exporter shows to whoever asks. The process listens for it, so that the page outlives an exchange of
/// the exporter and its listener has the limits of all others.
#[derive(Clone)]
pub struct Page {
    /// The exporter.
    pub id: ComponentId,
    /// `host:port` to listen on.
    pub endpoint: String,
    /// Those of [`PAGE_SERVER_KEYS`] that its section has.
    pub server: Value,
    /// Where the page is there.
    pub path: &'static str,
    /// The text's `Content-Type`.
    pub content_type: &'static str,
    /// Makes the text; `None` when the process ends.
    pub render: Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>,
}

/// A row of an exporter registry; `S` is what the surroundings offer (the stores).
pub struct ExporterFactory<S: 'static> {
    /// The type in configs.
    pub kind: &'static str,
    /// Other names of the type that configs in the field use.
    pub aliases: &'static [&'static str],
    /// Signals that it takes.
    pub signals: &'static [Signal],
    /// How far it is.
    pub stability: Stability,
    /// Checks the config and makes the exporter. No side effects before `start`.
    #[expect(clippy::type_complexity, reason = "a row of a plain table")]
    pub create: fn(&ComponentConfig<'_>, &ExporterContext, &S) -> Result<Arc<dyn Exporter>, ConfigError>,
}

//! The part of a collector config that draws pipelines, checked for references and duplicates.
//!
//! Rules and error texts: otelcol/config.go, service/pipelines/config.go and internal/configunmarshaler of the
//! collector.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::Signal;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{ComponentId, ConfigError};

/// A pipeline's id: `metrics`, `logs/audit`, …
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineId {
    /// What flows through it.
    pub signal: Signal,
    /// The part after the slash, or "".
    pub name: String,
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signal.name())?;
        if !self.name.is_empty() {
            write!(f, "/{}", self.name)?;
        }
        Ok(())
    }
}

impl PipelineId {
    /// Reads `signal[/name]`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        pipeline_id(text)
    }
}

/// A pipeline: who feeds it, what happens inside, where it leads. Ids are in the order of the config, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Receivers that feed it.
    pub receivers: Vec<ComponentId>,
    /// Processors, in the order in which a batch meets them.
    pub processors: Vec<ComponentId>,
    /// Exporters at its end.
    pub exporters: Vec<ComponentId>,
}

/// Everything that [`crate::Graph::build`] needs of a config. Every reference leads to a configured component.
#[derive(Clone, Debug, Default)]
pub struct PipelinesConfig {
    /// Ids of the configured receivers; their sections are the receivers' business.
    pub receivers: BTreeSet<ComponentId>,
    /// Sections of the configured processors.
    pub processors: BTreeMap<ComponentId, Value>,
    /// Sections of the configured exporters.
    pub exporters: BTreeMap<ComponentId, Value>,
    /// Sections of the configured connectors, which pipelines name as receivers and exporters.
    pub connectors: BTreeMap<ComponentId, Value>,
    /// The pipelines.
    pub pipelines: BTreeMap<PipelineId, PipelineConfig>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PipelineSection {
    receivers: Option<Vec<String>>,
    processors: Option<Vec<String>>,
    exporters: Option<Vec<String>>,
}

impl PipelinesConfig {
    /// Reads the sections `receivers`, `processors`, `exporters`, `connectors` and `service::pipelines` of a whole config, expanded
    /// and merged; other sections are not looked at.
    pub fn parse(root: &Value) -> Result<Self, ConfigError> {
        let receivers = components(root, "receivers")?;
        let processors = components(root, "processors")?;
        let exporters = components(root, "exporters")?;
        if receivers.is_empty() {
            return Err(ConfigError::at("", "no receiver configuration specified in config"));
        }
        if exporters.is_empty() {
            return Err(ConfigError::at("", "no exporter configuration specified in config"));
        }
        let connectors = components(root, "connectors")?;
        for id in connectors.keys() {
            for (kind, is_there) in
                [("receiver", receivers.contains_key(id)), ("exporter", exporters.contains_key(id))]
            {
                if is_there {
                    let message = format!(
                        "ambiguous ID: Found both \"{id}\" {kind} and \"{id}\" connector. Change one of the components' \
                         IDs to eliminate ambiguity (e.g. rename \"{id}\" connector to \"{id}/connector\")"
                    );
                    return Err(ConfigError::at("", message).under(&["connectors", &id.to_string()]));
                }
            }
        }
        let pipelines = root.get("service").and_then(|service| service.get("pipelines"));
        let pipelines = pipelines.unwrap_or(&Value::Null);
        let mut config = Self {
            receivers: receivers.into_keys().collect(),
            processors,
            exporters,
            connectors,
            pipelines: BTreeMap::new(),
        };
        for (id, section) in map(pipelines, "service.pipelines")? {
            config.add_pipeline(id, section).map_err(|error| error.under(&["service", "pipelines"]))?;
        }
        if config.pipelines.is_empty() {
            return Err(ConfigError::at("service.pipelines", "service must have at least one pipeline"));
        }
        Ok(config)
    }

    fn add_pipeline(&mut self, text: &str, section: &Value) -> Result<(), ConfigError> {
        let under = |error: ConfigError| error.under(&[text]);
        let id = pipeline_id(text).map_err(under)?;
        let section: PipelineSection = if section.is_null() {
            PipelineSection::default()
        } else {
            serde_path_to_error::deserialize(section).map_err(|error| {
                let path = error.path().to_string();
                under(ConfigError::at(if path == "." { "" } else { &path }, error.into_inner().to_string()))
            })?
        };
        let pipeline = self.check(section).map_err(under)?;
        if self.pipelines.insert(id, pipeline).is_some() {
            return Err(under(ConfigError::at("", "duplicate name")));
        }
        Ok(())
    }

    fn check(&self, section: PipelineSection) -> Result<PipelineConfig, ConfigError> {
        let receivers = ids(section.receivers.unwrap_or_default(), "receivers")?;
        let processors = ids(section.processors.unwrap_or_default(), "processors")?;
        let exporters = ids(section.exporters.unwrap_or_default(), "exporters")?;
        let fault = |message: String| Err(ConfigError::at("", message));
        if receivers.is_empty() {
            return fault("must have at least one receiver".to_owned());
        }
        if exporters.is_empty() {
            return fault("must have at least one exporter".to_owned());
        }
        for (index, id) in processors.iter().enumerate() {
            if processors[..index].contains(id) {
                return fault(format!("references processor \"{id}\" multiple times"));
            }
        }
        let missing = |kind: &str, id: &ComponentId| {
            fault(format!("references {kind} \"{id}\" which is not configured"))
        };
        let is_connector = |id: &ComponentId| self.connectors.contains_key(id);
        if let Some(id) = receivers.iter().find(|id| !self.receivers.contains(id) && !is_connector(id)) {
            return missing("receiver", id);
        }
        if let Some(id) = processors.iter().find(|id| !self.processors.contains_key(id)) {
            return missing("processor", id);
        }
        if let Some(id) = exporters.iter().find(|id| !self.exporters.contains_key(id) && !is_connector(id)) {
            return missing("exporter", id);
        }
        Ok(PipelineConfig { receivers: once_each(receivers), processors, exporters: once_each(exporters) })
    }
}

fn map<'a>(
    value: &'a Value,
    path: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, ConfigError> {
    match value {
        Value::Null => Ok(None.into_iter().flatten()),
        Value::Object(map) => Ok(Some(Map::iter(map)).into_iter().flatten()),
        _ => Err(ConfigError::at(path, "want a map of ids to sections")),
    }
}

fn components(root: &Value, kind: &str) -> Result<BTreeMap<ComponentId, Value>, ConfigError> {
    let mut found = BTreeMap::new();
    for (text, section) in map(root.get(kind).unwrap_or(&Value::Null), kind)? {
        let id = ComponentId::parse(text).map_err(|error| ConfigError::at(kind, error.to_string()))?;
        if found.insert(id, section.clone()).is_some() {
            return Err(ConfigError::at(kind, format!("duplicate name {text}")));
        }
    }
    Ok(found)
}

fn pipeline_id(text: &str) -> Result<PipelineId, ConfigError> {
    let id = ComponentId::parse(text).map_err(|error| ConfigError::at("", error.to_string()))?;
    match Signal::ALL.into_iter().find(|signal| signal.name() == id.kind) {
        Some(signal) => Ok(PipelineId { signal, name: id.name }),
        None if id.kind == "profiles" => {
            let message = "signal \"profiles\" is not supported; supported are metrics, logs and traces";
            Err(ConfigError::at("", message).under(&[text]))
        }
        None => Err(ConfigError::at("", format!("pipeline {text:?}: unknown signal {:?}", id.kind))),
    }
}

fn ids(texts: Vec<String>, kind: &str) -> Result<Vec<ComponentId>, ConfigError> {
    texts
        .iter()
        .map(|text| ComponentId::parse(text).map_err(|error| ConfigError::at(kind, error.to_string())))
        .collect()
}

/// The collector's graph has one node for an id however often a pipeline lists it.
fn once_each(ids: Vec<ComponentId>) -> Vec<ComponentId> {
    let mut seen = BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}

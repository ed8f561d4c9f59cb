//! The config: an OpenTelemetry Collector config plus our own sections `server`, `storage`, `query`, `compactor`,
//! `store_gateway` and `receive`.
//!
//! `load` reads, merges and expands; [`Config`] types it. Every fault names its path, file and line. Nothing here opens
//! a port or a data file.

pub mod error;
pub mod expand;
pub mod load;
pub mod node;
pub mod redact;
pub mod types;
pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use pipelines::ConfigError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use error::ConfigFault;
use load::LoadedConfig;
use node::Node;
use types::{
    CompactorConfig, QueryConfig, ReceiveConfig, ServerConfig, ServiceConfig, StorageConfig,
    StoreGatewayConfig,
};

/// What runs when no config is given: everything that exists, bound to localhost. Traces are in no pipeline, because
/// nothing stores them and an acknowledgement would be a lie. There is no `batch`: the stores
/// share fsyncs by themselves, and an acknowledgement waits for its batch.
pub const DEFAULT_CONFIG: &str = include_str!("config/default.yaml");

/// The sections at the top of a config.
const SECTIONS: [&str; 12] = [
    "receivers",
    "processors",
    "exporters",
    "connectors",
    "extensions",
    "service",
    "server",
    "storage",
    "query",
    "compactor",
    "store_gateway",
    "receive",
];

/// Keys that later versions have. Naming them in a config is an error that says so.
const NOT_YET: [&[&str]; 2] = [&["rules"], &["service", "telemetry", "traces"]];

/// A whole config.
#[derive(Clone, Debug)]
pub struct Config {
    /// The tree with places, for errors.
    root: Node,
    /// The same as JSON; what components read.
    value: Value,
    /// Texts of expanded references that were typed as something else than text.
    originals: BTreeMap<Vec<String>, String>,
    /// What to tell the user.
    pub warnings: Vec<String>,
    /// `service`.
    pub service: ServiceConfig,
    /// `server`.
    pub server: ServerConfig,
    /// `storage`.
    pub storage: StorageConfig,
    /// `query`.
    pub query: QueryConfig,
    /// `compactor`.
    pub compactor: CompactorConfig,
    /// `store_gateway`.
    pub store_gateway: StoreGatewayConfig,
    /// `receive`.
    pub receive: ReceiveConfig,
}

impl Config {
    /// Types a loaded config and checks what needs no component.
    pub fn new(loaded: LoadedConfig) -> Result<Self, ConfigFault> {
        let (config, faults) = Self::with_faults(loaded);
        ConfigFault::all(faults).map_or(Ok(config), Err)
    }

    /// The same with all faults beside a config that has defaults in the place of what is faulty: for looking at the rest.
    pub fn with_faults(loaded: LoadedConfig) -> (Self, Vec<ConfigFault>) {
        let LoadedConfig { root, warnings } = loaded;
        let mut faults = section_faults(&root);
        let (value, originals) = root.to_json_with_originals();
        let mut config = Self {
            root,
            value,
            originals,
            warnings,
            service: ServiceConfig::default(),
            server: ServerConfig::default(),
            storage: StorageConfig::default(),
            query: QueryConfig::default(),
            compactor: CompactorConfig::default(),
            store_gateway: StoreGatewayConfig::default(),
            receive: ReceiveConfig::default(),
        };
        config.service = config.section("service", &mut faults);
        config.server = config.section("server", &mut faults);
        config.storage = config.section("storage", &mut faults);
        config.query = config.section("query", &mut faults);
        config.compactor = config.section("compactor", &mut faults);
        faults.extend(config.server.validate().err().map(|error| config.fault(error)));
        config.store_gateway = config.section("store_gateway", &mut faults);
        config.receive = config.section("receive", &mut faults);
        let has_metrics = config.has_exporter(&["metrics_store"]);
        faults.extend(config.receive.validate(has_metrics).err().map(|error| config.fault(error)));
        let storage = config.storage.validate(has_metrics);
        faults.extend(storage.err().map(|error| config.fault(error)));
        faults.extend(config.query.frontend.validate().err().map(|error| config.fault(error)));
        let store_gateway = config.store_gateway.validate(config.storage.bucket.is_some());
        faults.extend(store_gateway.err().map(|error| config.fault(error)));
        faults.extend(config.compactor.validate().err().map(|error| config.fault(error)));
        (config, faults)
    }

    /// Whether a pipeline leads to an exporter of one of these types.
    pub fn has_exporter(&self, kinds: &[&str]) -> bool {
        let pipelines = self.value.pointer("/service/pipelines").and_then(Value::as_object);
        let mut exporters = pipelines
            .into_iter()
            .flat_map(|pipelines| pipelines.values())
            .filter_map(|pipeline| pipeline.get("exporters")?.as_array())
            .flatten()
            .filter_map(|id| id.as_str()?.split('/').next());
        exporters.any(|kind| kinds.contains(&kind.trim()))
    }

    /// The config as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// A fault of a component or section, with its place.
    pub fn fault(&self, error: ConfigError) -> ConfigFault {
        ConfigFault::located(&self.root, error)
    }

    /// Gives the whole config to `read`. A text field that got a number or bool from an expanded reference gets the
    /// reference's text instead, as in the collector, and `read` is asked again; so `read` must not have effects.
    pub fn read<T>(&self, read: impl Fn(&Value) -> Result<T, ConfigError>) -> Result<T, ConfigFault> {
        let mut changed: Option<Value> = None;
        let mut tried = BTreeSet::new();
        loop {
            let error = match read(changed.as_ref().unwrap_or(&self.value)) {
                Ok(typed) => return Ok(typed),
                Err(error) => error,
            };
            let path = plain_path(&error.path);
            let original = self.originals.get(&path).filter(|_| wants_text(&error.message));
            let (Some(original), true) = (original, tried.insert(path.clone())) else {
                return Err(self.fault(error));
            };
            let value = changed.get_or_insert_with(|| self.value.clone());
            if let Some(slot) = slot(value, &path) {
                *slot = Value::String(original.clone());
            }
        }
    }

    /// A typed section; one that cannot be typed is a fault more and has its defaults.
    fn section<T: DeserializeOwned + Default>(&self, name: &str, faults: &mut Vec<ConfigFault>) -> T {
        let section = self.read(|value| match value.get(name) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(section) => serde_path_to_error::deserialize(section).map_err(|error| {
                let path = error.path().to_string();
                let path = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
                ConfigError::at(&path, error.into_inner().to_string())
            }),
        });
        section.unwrap_or_else(|fault| {
            faults.push(fault);
            T::default()
        })
    }
}

/// Sections and keys that no version or not this one has.
fn section_faults(root: &Node) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for path in NOT_YET {
        let mut node = root;
        let mut place = None;
        let found = path.iter().all(|key| match node.get(key) {
            Some(entry) => {
                node = &entry.node;
                place = Some(&entry.place);
                true
            }
            None => false,
        });
        if let (true, Some(place)) = (found, place) {
            faults.push(ConfigFault::at(place, "is not supported by this version").with_path(path));
        }
    }
    for entry in root.entries().unwrap_or_default() {
        if !SECTIONS.contains(&entry.key.as_str()) {
            faults.push(ConfigFault::at(
                &entry.place,
                format!("unknown section {:?}, have {}", entry.key, SECTIONS.join(", ")),
            ));
        }
    }
    faults
}

/// Serde's words for "this field is text".
fn wants_text(message: &str) -> bool {
    message.contains("expected a string") || message.contains("expected string")
}

/// `a[0].b` of an error's path as `a`, `0`, `b`.
fn plain_path(path: &[String]) -> Vec<String> {
    let mut plain = Vec::new();
    for segment in path {
        let mut parts = segment.split('[');
        plain.extend(parts.next().filter(|key| !key.is_empty()).map(str::to_owned));
        plain.extend(parts.map(|index| index.trim_end_matches(']').to_owned()));
    }
    plain
}

fn slot<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(list) => list.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests;

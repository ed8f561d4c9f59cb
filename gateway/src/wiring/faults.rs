//! Every fault of a config that has one, so that its author mends them all before the next try.
//!
//! Making components stops at the first fault, so each component and each pipeline is looked at by itself, in a config
//! made of nothing else.

use std::sync::Arc;

use pipelines::{ConfigError, GraphContext, PipelinesConfig};
use serde_json::{Map, Value, json};

use super::build;
use crate::api::process::ProcessInfo;
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::stores::OpenStores;

/// A receiver and an exporter that nobody writes, for configs of one component.
const RECEIVER: &str = "otlp/_alone";
const EXPORTER: &str = "nop/_alone";

/// `first` with all others behind it.
pub(super) fn all(
    config: &Config,
    first: ConfigFault,
    context: &GraphContext,
    process: &Arc<ProcessInfo>,
) -> ConfigFault {
    let stores = OpenStores::not_opened();
    let make = |root: &Value| build::make(root, &stores, context, process, None).map(drop);
    let mut faults = vec![first];
    let mut sound = Map::new();
    for key in keys(config.value(), "extensions") {
        let made = config.read(|value| make(&alone(value, "extensions", &key, &Map::new())));
        match made {
            Ok(()) => _ = sound.insert(key.clone(), config.value()["extensions"][&key].clone()),
            Err(fault) => faults.push(fault),
        }
    }
    for kind in ["receivers", "processors", "exporters"] {
        for key in keys(config.value(), kind) {
            faults.extend(config.read(|value| make(&alone(value, kind, &key, &sound))).err());
        }
    }
    // A connector is on both sides of pipelines, none of which says anything by itself.
    if keys(config.value(), "connectors").is_empty() {
        for id in keys(&config.value()["service"], "pipelines") {
            faults.extend(config.read(|value| pipeline(value, &id)).err());
        }
    }
    ConfigFault::all(faults).expect("the first one is there")
}

fn keys(value: &Value, section: &str) -> Vec<String> {
    let map = value.get(section).and_then(Value::as_object);
    map.map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// A config that can run if the component `key` can; components refer to `extensions`.
fn alone(root: &Value, kind: &str, key: &str, extensions: &Map<String, Value>) -> Value {
    let mut mini = json!({
        "receivers": {RECEIVER: {"protocols": {"grpc": null}}},
        "exporters": {EXPORTER: null},
        "processors": {},
        "service": {"pipelines": {"logs": {"receivers": [RECEIVER], "exporters": [EXPORTER]}}},
    });
    mini["extensions"] = Value::Object(extensions.clone());
    mini["service"]["extensions"] = extensions.keys().map(|key| Value::String(key.clone())).collect();
    mini[kind][key] = root[kind][key].clone();
    mini
}

/// Whether one pipeline refers to what is there.
fn pipeline(root: &Value, id: &str) -> Result<(), ConfigError> {
    let mut mini = root.clone();
    let mut only = Map::new();
    only.insert(id.to_owned(), root["service"]["pipelines"][id].clone());
    mini["service"]["pipelines"] = Value::Object(only);
    PipelinesConfig::parse(&mini).map(drop)
}

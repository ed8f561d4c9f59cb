//! From a config to components: extensions, pipelines, receivers. Nothing here opens or starts anything.

use std::sync::Arc;

use exporters::{EXPORTERS, Stores};
use model::Signal;
use pipelines::{
    ComponentConfig, ComponentId, ConfigError, Graph, GraphContext, PROCESSORS, PipelinesConfig, Registries,
};
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::Value;

use crate::api::process::{Described, ProcessInfo};
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::extensions::{self, ExtensionContext, Made};
use crate::receivers::{ApiServer, Entries, Listener, RECEIVERS, Receiver, ReceiverContext, Worker};
use crate::server::listen;
use crate::stores::OpenStores;

use super::faults;
use super::wanted::page_listener;

/// Everything that a config asks for, made and not started.
pub(super) struct Parts {
    pub(super) extensions: Made,
    pub(super) graph: Graph,
    /// The pages of its exporters.
    pub(super) pages: Vec<Listener>,
    /// Those that pipelines name.
    pub(super) receivers: Vec<Receiver>,
}

impl Parts {
    /// The parts of receivers that fetch by themselves.
    pub(super) fn take_workers(&mut self) -> Vec<Arc<dyn Worker>> {
        self.receivers.iter_mut().flat_map(|receiver| receiver.workers.drain(..)).collect()
    }
}

/// Makes every component of a config without starting anything.
pub fn check(config: &Config) -> Result<(), ConfigFault> {
    made_only(config).map(drop)
}

/// What speaks at each endpoint that a process with this config opens. Opens nothing.
pub fn endpoints(config: &Config) -> Result<Vec<(&'static str, String)>, ConfigFault> {
    let parts = made_only(config)?;
    Ok(super::wanted::endpoints(config, &parts, super::needs_stores(config), config.store_gateway.enabled))
}

/// Every component of a config, of a process that will not start.
fn made_only(config: &Config) -> Result<Parts, ConfigFault> {
    let context = GraphContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
        extensions: pipelines::Extensions::default(),
    };
    let (process, _requests) = ProcessInfo::new(0, None, Described::default());
    let made = build(config, &OpenStores::not_opened(), &context, &process, None);
    made.map_err(|first| faults::all(config, first, &context, &process))
}

/// Makes the components of a config; exporters that `running` has in the same form are taken over.
pub(super) fn build(
    config: &Config,
    stores: &Stores,
    context: &GraphContext,
    process: &Arc<ProcessInfo>,
    running: Option<&Graph>,
) -> Result<Parts, ConfigFault> {
    config.read(|value| make(value, stores, context, process, running))
}

/// The same of the config as JSON.
pub(super) fn make(
    value: &Value,
    stores: &Stores,
    context: &GraphContext,
    process: &Arc<ProcessInfo>,
    running: Option<&Graph>,
) -> Result<Parts, ConfigError> {
    let extensions = extensions::make(value, &ExtensionContext { process: Arc::clone(process) })?;
    let context = GraphContext { extensions: extensions.offers.clone(), ..context.clone() };
    let registries = Registries { processors: PROCESSORS, exporters: EXPORTERS, stores };
    let graph = Graph::build_beside(&pipelines(value)?, &registries, &context, running)?;
    let receivers = receivers(value, &graph, &context, &extensions)?;
    let pages = graph.pages().map(|page| page_listener(page, &extensions.auths)).collect::<Result<_, _>>()?;
    Ok(Parts { extensions, graph, pages, receivers })
}

/// The pipelines. A process that only serves or compacts a bucket or routes writes has none, which the collector would refuse.
fn pipelines(value: &Value) -> Result<PipelinesConfig, ConfigError> {
    let is_on = |section: &str| value.pointer(section).and_then(Value::as_bool).unwrap_or_default();
    let has_none = ["receivers", "exporters", "connectors"].iter().all(|key| value.get(key).is_none())
        && value.pointer("/service/pipelines").is_none();
    let is_router =
        value.pointer("/receive/endpoint").and_then(Value::as_str).is_some_and(|at| !at.is_empty());
    if has_none && (is_on("/store_gateway/enabled") || is_on("/compactor/enabled") || is_router) {
        return Ok(PipelinesConfig::default());
    }
    PipelinesConfig::parse(value)
}

/// The keys that lead to the `endpoint` with this text.
fn path_to(section: &Value, endpoint: &str) -> Option<Vec<String>> {
    let inside = |(key, value): (&String, &Value)| {
        if key == "endpoint" && value.as_str() == Some(endpoint) {
            return Some(vec![key.clone()]);
        }
        let mut path = path_to(value, endpoint)?;
        path.insert(0, key.clone());
        Some(path)
    };
    section.as_object()?.iter().find_map(inside)
}

fn receivers(
    value: &Value,
    graph: &Graph,
    context: &GraphContext,
    extensions: &Made,
) -> Result<Vec<Receiver>, ConfigError> {
    let Some(Value::Object(sections)) = value.get("receivers") else { return Ok(Vec::new()) };
    let mut made = Vec::new();
    let mut mounted: Vec<(ApiServer, &'static str)> = Vec::new();
    for (key, section) in sections {
        let at = |error: ConfigError| error.under(&["receivers", key]);
        let id = ComponentId::parse(key).map_err(|error| at(ConfigError::at("", error.to_string())))?;
        let Some(row) = RECEIVERS.iter().find(|row| row.kind == id.kind) else {
            let known: Vec<&str> = RECEIVERS.iter().map(|row| row.kind).collect();
            let message =
                format!("unknown type: {:?} for id: \"{id}\" (valid values: [{}])", id.kind, known.join(" "));
            return Err(at(ConfigError::at("", message)));
        };
        let unknown =
            |(signal, named): &(Signal, &ComponentId)| **named == id && !row.signals.contains(signal);
        if let Some((signal, _)) = graph.receivers().find(unknown) {
            let message =
                format!("receiver \"{id}\" does not produce {signal}: telemetry type is not supported");
            return Err(at(ConfigError::at("", message)));
        }
        let receiver_context = ReceiverContext {
            entries: Entries::new(|signal| graph.entry(signal, &id)),
            budget: Arc::clone(&context.budget),
            tasks: context.tasks.clone(),
            auths: extensions.auths.clone(),
        };
        let receiver =
            (row.create)(&ComponentConfig { id: &id, value: section }, &receiver_context).map_err(at)?;
        for Listener { endpoint, settings, .. } in &receiver.listeners {
            let fault = |fault| {
                at(ConfigError { path: path_to(section, endpoint).unwrap_or_default(), message: fault })
            };
            listen::check(endpoint, settings.transport).map_err(fault)?;
        }
        for path in
            receiver.mounts.iter().flat_map(|mount| mount.paths.iter().map(|path| (mount.server, *path)))
        {
            if mounted.contains(&path) {
                return Err(at(ConfigError::at("", format!("another receiver already serves {}", path.1))));
            }
            mounted.push(path);
        }
        // As in the collector, a receiver that no pipeline names is checked and not started.
        if graph.receivers().any(|(_, named)| *named == id) {
            made.push(receiver);
        }
    }
    Ok(made)
}

//! Extensions: one file each, and the table of them.
//!
//! An extension serves the process and no signal: authentication, health, folders for queues. Making one opens nothing,
//! so that `validate` can make them all; its start comes before that of the pipelines.

mod basicauth;
mod bearertokenauth;
mod file_storage;
mod health_check;
mod secret_file;
mod zpages;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use pipelines::{ComponentConfig, ComponentId, ConfigError, Extensions, Offer, Stability};
use serde_json::Value;

use crate::api::process::ProcessInfo;
use crate::receivers::Listener;
use crate::server::auth::{ServerAuth, ServerAuths};
use crate::server::section::HttpSection;

/// Every extension: the types that `extensions:` may name.
pub const EXTENSIONS: &[ExtensionFactory] = &[
    basicauth::FACTORY,
    bearertokenauth::FACTORY,
    file_storage::FACTORY,
    health_check::FACTORY,
    zpages::FACTORY,
];

/// Extensions of the collector that are refused with a reason of their own.
const NOT_HERE: [(&str, &str); 1] =
    [("pprof", "pprof serves profiles of Go's runtime, which this program does not have; leave it out")];

/// A row of the extension table.
pub struct ExtensionFactory {
    /// The type in configs.
    pub kind: &'static str,
    /// How far it is.
    pub stability: Stability,
    /// Checks the config and makes the extension. Opens and spawns nothing.
    pub create: fn(&ComponentConfig<'_>, &ExtensionContext) -> Result<Extension, ConfigError>,
}

/// What an extension may use of its surroundings.
#[derive(Clone)]
pub struct ExtensionContext {
    /// What the process knows about itself.
    pub process: Arc<ProcessInfo>,
}

/// Reads what an extension needs; an error stops the start of the process.
pub type Start = Box<dyn Fn() -> anyhow::Result<()> + Send + Sync>;

/// An extension that is ready to be started.
#[derive(Default)]
pub struct Extension {
    /// What it offers to exporters.
    pub offer: Offer,
    /// What it offers to servers.
    pub server_auth: Option<Arc<dyn ServerAuth>>,
    /// What it shows at a listener of its own.
    pub page: Option<OwnPage>,
    /// Its start, if it has one.
    pub start: Option<Start>,
}

/// What an extension shows over HTTP. Another extension may decide who may see it, so that the listener is made when all
/// are there.
pub struct OwnPage {
    /// What speaks there.
    pub what: &'static str,
    /// Where to listen.
    pub endpoint: String,
    /// How to listen.
    pub server: HttpSection,
    /// What is shown.
    pub routes: Router,
}

/// The extensions that a config runs.
pub struct Made {
    /// What exporters may ask for.
    pub offers: Extensions,
    /// What servers may ask for.
    pub auths: ServerAuths,
    /// Listeners of all of them.
    pub listeners: Vec<Listener>,
    /// Starts of those that have one, in the order of the config.
    pub starts: Vec<(ComponentId, Start)>,
}

/// Makes the extensions of a config. Those that `service::extensions` does not name are checked and left aside, as in
/// the collector.
pub fn make(root: &Value, context: &ExtensionContext) -> Result<Made, ConfigError> {
    let named = named(root)?;
    let mut made = Vec::new();
    let sections = root.get("extensions").and_then(Value::as_object);
    for (key, section) in sections.into_iter().flatten() {
        let at = |error: ConfigError| error.under(&["extensions", key]);
        let id = ComponentId::parse(key).map_err(|error| at(ConfigError::at("", error.to_string())))?;
        let row = row(&id).map_err(at)?;
        let extension = (row.create)(&ComponentConfig { id: &id, value: section }, context).map_err(at)?;
        if named.contains(&id) {
            made.push((id, extension));
        }
    }
    if let Some((index, id)) = named.iter().enumerate().find(|(_, id)| made.iter().all(|(m, _)| m != *id)) {
        let message = format!("references extension \"{id}\" which is not configured");
        return Err(ConfigError::at(&format!("service.extensions.{index}"), message));
    }
    made.sort_by_key(|(id, _)| named.iter().position(|named| named == id));
    let mut all = Made {
        offers: Extensions::new(made.iter().map(|(id, extension)| (id.clone(), extension.offer.clone()))),
        auths: ServerAuths::new(made.iter().map(|(id, e)| (id.clone(), e.server_auth.clone()))),
        listeners: Vec::new(),
        starts: Vec::new(),
    };
    for (id, extension) in made {
        if let Some(OwnPage { what, endpoint, server, routes }) = extension.page {
            let listener = server.listener(what, endpoint, routes, &all.auths);
            all.listeners.push(listener.map_err(|error| error.under(&["extensions", &id.to_string()]))?);
        }
        all.starts.extend(extension.start.map(|start| (id, start)));
    }
    Ok(all)
}

/// The ids of `service::extensions`, in order.
fn named(root: &Value) -> Result<Vec<ComponentId>, ConfigError> {
    let list = root.get("service").and_then(|service| service.get("extensions")).and_then(Value::as_array);
    let mut seen = BTreeSet::new();
    let mut ids = Vec::new();
    for (index, text) in list.into_iter().flatten().enumerate() {
        let at = |message: String| ConfigError::at(&format!("service.extensions.{index}"), message);
        let text = text.as_str().ok_or_else(|| at(format!("want the id of an extension, got {text}")))?;
        let id = ComponentId::parse(text).map_err(|error| at(error.to_string()))?;
        if !seen.insert(id.clone()) {
            return Err(at(format!("references extension \"{id}\" multiple times")));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn row(id: &ComponentId) -> Result<&'static ExtensionFactory, ConfigError> {
    if let Some((_, why)) = NOT_HERE.iter().find(|(kind, _)| *kind == id.kind) {
        return Err(ConfigError::at("", *why));
    }
    EXTENSIONS.iter().find(|row| row.kind == id.kind).ok_or_else(|| {
        let known: Vec<&str> = EXTENSIONS.iter().map(|row| row.kind).collect();
        let message =
            format!("unknown type: {:?} for id: \"{id}\" (valid values: [{}])", id.kind, known.join(" "));
        ConfigError::at("", message)
    })
}

#[cfg(test)]
mod tests;
